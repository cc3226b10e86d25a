"""The table's rows, small enough for pytest-benchmark: `pytest bench`.

Everything runs in one process, so that a figure here is worth less than one of `python -m bench`;
it is the quick look while a kernel is being changed. Every figure carries its error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bench.measure import errors, float64_outputs
from bench.rows import BENCHMARK_ROWS, Row
from fastlstm import reference

Array = npt.NDArray[Any]

WORK = 1e9  # operations a call: some milliseconds
SHARE = 192  # sequences are a multiple of it: whole tiles of any size, on two threads
MOST_ERROR = {"float32": 2e-6, "float64": 4e-15}


@pytest.fixture(params=["float32", "float64"])
def row(request: pytest.FixtureRequest, name: str) -> Row:
    whole = Row.named(name, request.param)
    shares = int(WORK / whole.work_a_sequence) // SHARE
    return whole.with_sequences(min(whole.N, SHARE * max(1, shares)))


def measure(benchmark: Any, row: Row, call: Callable[[Array], Array], group: str) -> None:
    """Time a call on the row's input, and hold its results against float64."""
    x = row.inputs()
    outputs = call(x)  # compiles
    checked = np.linspace(0, row.N - 1, 16).astype(int)
    found = errors(outputs[checked], float64_outputs(row, checked))
    benchmark.group = f"{group} {row.name} {row.dtype}"
    benchmark.extra_info.update(N=row.N, T=row.T, I=row.I, H=row.H, **found)
    benchmark(call, x)
    assert found["max_error"] <= MOST_ERROR[row.dtype]


@pytest.mark.parametrize("name", BENCHMARK_ROWS)
def test_predict(benchmark, row):
    measure(benchmark, row, row.model().predict, "last hidden state,")


@pytest.mark.parametrize("name", BENCHMARK_ROWS)
def test_numpy_loop(benchmark, row):
    layers = row.model().layers
    measure(benchmark, row, lambda x: reference.predict(layers, x), "last hidden state,")


@pytest.mark.parametrize("name", ["seed", "tiny"])
def test_trace(benchmark, row):
    model = row.model()
    measure(benchmark, row, lambda x: model.trace(x).hidden_state[:, -1], "all values,")


@pytest.mark.parametrize("name", ["seed", "tiny"])
def test_numpy_trace(benchmark, row):
    layers = row.model().layers
    measure(benchmark, row, lambda x: reference.trace(layers, x).h[:, -1], "all values,")
