"""The workloads of `compare`, small enough for pytest-benchmark: `pytest bench`.

It is for a quick look while a kernel is being changed: everything runs in one process, so a figure
says less than one of `python -m bench`. Every figure carries its error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bench.harness.accuracy import errors, float64_outputs
from bench.harness.internals import predict_by_reference, trace_by_reference
from bench.harness.workload import WORKLOADS, Workload

Array = npt.NDArray[Any]

WORK = 1e9  # operations a call: some milliseconds
SHARE = 192  # sequences are a multiple of it: whole tiles of any size, on two threads
MOST_ERROR = {"float32": 2e-6, "float64": 4e-15}


@pytest.fixture(params=["float32", "float64"])
def workload(request: pytest.FixtureRequest, name: str) -> Workload:
    whole = Workload.named(name, request.param)
    shares = int(WORK / whole.work_a_sequence) // SHARE
    return whole.with_sequences(min(whole.N, SHARE * max(1, shares)))


def measure(benchmark: Any, workload: Workload, call: Callable[[Array], Array], group: str) -> None:
    """Time a call on the workload's input, and hold its results against float64."""
    x = workload.inputs()
    outputs = call(x)  # compiles
    checked = np.linspace(0, workload.N - 1, 16).astype(int)
    found = errors(outputs[checked], float64_outputs(workload, checked))
    benchmark.group = f"{group} {workload.name} {workload.dtype}"
    benchmark.extra_info.update(N=workload.N, T=workload.T, I=workload.I, H=workload.H, **found)
    benchmark(call, x)
    assert found["max_error"] <= MOST_ERROR[workload.dtype]


@pytest.mark.parametrize("name", WORKLOADS)
def test_predict(benchmark, workload):
    measure(benchmark, workload, workload.model().predict, "last hidden state,")


@pytest.mark.parametrize("name", WORKLOADS)
def test_numpy_loop(benchmark, workload):
    model = workload.model()
    measure(benchmark, workload, lambda x: predict_by_reference(model, x), "last hidden state,")


@pytest.mark.parametrize("name", ["seed", "tiny"])
def test_trace(benchmark, workload):
    model = workload.model()
    measure(benchmark, workload, lambda x: model.trace(x).hidden_state[:, -1], "all values,")


@pytest.mark.parametrize("name", ["seed", "tiny"])
def test_numpy_trace(benchmark, workload):
    model = workload.model()
    measure(benchmark, workload, lambda x: trace_by_reference(model, x), "all values,")
