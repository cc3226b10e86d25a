"""What a call has checked is what it uses, or nothing that could harm: memory may change meanwhile.

Another thread, or another process by a mapped file, may write to the caller's arrays between the
check and the kernel. What was checked first is then spoilt on purpose, right behind the check.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits

from fastlstm import LSTM, Bidirectional, Embedding, Layer, Ragged
from fastlstm.calls import call
from fastlstm.calls import sources as inputs
from fastlstm.calls.windows import Windows

V = 10
NO_IDS = np.array([V, 1 << 40, -1, -(1 << 62), (1 << 63) - 1, -(1 << 63)])


def make_model(width, both=False):
    rng = np.random.default_rng(0)

    def random(*shape):
        return rng.normal(size=shape).astype(np.float32)

    def layer(**options):
        return Layer(random(12, width), random(12, 3), random(12), **options)

    top = Bidirectional(layer(), layer(direction="reverse")) if both else layer()
    return LSTM([Embedding(random(V, width)), top])


@pytest.mark.parametrize("both", [False, True], ids=["alone", "both directions"])
@pytest.mark.parametrize("width", [2, 24], ids=["vectors", "sums"])
@pytest.mark.parametrize("rows", [2, 70], ids=["units in the lanes", "sequences in the lanes"])
@pytest.mark.parametrize("dtype", [np.int64, np.int32], ids=["in place", "converted"])
@pytest.mark.usefixtures("few_kernels")
def test_ids_that_change_behind_the_check(dtype, rows, width, both, monkeypatch):
    """They stand for the last id: no other memory is read, and no other row changes."""
    network = make_model(width, both)
    ids = np.random.default_rng(1).integers(0, V, (rows, 9)).astype(dtype)
    spoilt, as_last = ids.copy(), ids.copy()
    spoilt[1, 2:8] = NO_IDS.astype(dtype)
    as_last[1, 2:8] = V - 1
    if dtype == np.int32:  # of which some are ids again
        as_last[1, 2:8] = np.where(np.isin(spoilt[1, 2:8], range(V)), spoilt[1, 2:8], V - 1)
    expected = network.predict(as_last)
    check = call.as_ids

    def check_then_spoil(x, *args):
        source = check(x, *args)
        x[...] = spoilt
        return source

    monkeypatch.setattr(call, "as_ids", check_then_spoil)
    assert_same_bits(network.predict(ids), expected)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"expected ids in 0 \.\.\. 9"):
        network.predict(spoilt)


def test_lengths_are_copied_before_they_are_checked(monkeypatch):
    lengths = np.array([3, 4])
    find = np.flatnonzero

    def find_then_spoil(wrong):
        lengths[...] = 1 << 40
        return find(wrong)

    monkeypatch.setattr(inputs.np, "flatnonzero", find_then_spoil)
    source = inputs.as_source(np.zeros((2, 5, 1), np.float32), lengths, 1, 1)
    assert source.lengths.tolist() == [3, 4]


def test_offsets_and_starts_are_copies_that_nobody_writes_to():
    offsets, starts = np.array([0, 2, 5]), np.array([0, 3])
    ragged, windows = Ragged(np.zeros(5), offsets), Windows(np.zeros(6), starts, 2)
    for given, kept in ((offsets, ragged.offsets), (starts, windows.starts)):
        before = kept.tolist()
        given[...] = 1 << 40
        assert kept.tolist() == before
        with pytest.raises(ValueError, match="WRITEABLE"):
            kept.setflags(write=True)
