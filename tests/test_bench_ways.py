"""The choice of the fastest way to use an engine, and slices of a batch."""

from __future__ import annotations

import bench_results  # noqa: F401  # makes `bench` importable
import numpy as np
import pytest

from bench.harness import ways
from bench.harness.engine import Slices


def test_the_fastest_way_is_kept(monkeypatch):
    seconds = {"slow": 3.0, "fast": 1.0, "middle": 2.0}
    monkeypatch.setattr(ways, "trial", lambda call: float(call()[0]))
    monkeypatch.setattr(ways, "MOST_APART", 9.0)
    built = {name: lambda s=s: lambda: np.array([s]) for name, s in seconds.items()}
    found = ways.fastest_way(built)
    assert (found.settings, found.call()) == ("fast", 1.0)


def test_ways_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"b: expected the result of a, got another"):
        ways.fastest_way({"a": lambda: lambda: np.zeros(2), "b": lambda: lambda: np.array([0, 1])})


def test_large_batches_are_cut_into_equal_slices():
    assert ways.slice_size(100_000) == 1_000
    assert ways.slice_size(8_192) == 1_024
    assert ways.slice_size(2_047) is None


def test_slices_at_once_are_one_a_thread_or_small_ones():
    assert ways.slice_sizes(10_000, 2) == [5_000, 1_000]
    assert ways.slice_sizes(1_000, 2) == [500]
    assert ways.slice_sizes(1_001, 2) == []
    assert ways.slice_sizes(10_000, 1) == []


def test_slices_are_put_together_where_they_are_compared():
    y = np.arange(12.0).reshape(2, 3, 2)  # (T, N, K)
    both = np.asarray(Slices([ways.batch_first(y[:, :2]), ways.batch_first(y[:, 2:])]))
    np.testing.assert_array_equal(both, y.swapaxes(0, 1))
