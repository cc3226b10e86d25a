"""Results beside the NumPy loop in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness.internals import predict_by_reference
from bench.harness.workload import Workload

Array = npt.NDArray[Any]

MOST_CHECK_WORK = 4e10  # operations that the comparison may take ...
LEAST_CHECKED = 32  # ... unless fewer than these sequences would be compared
# An engine with a larger error computes something else: bfloat16 is at 1e-3 and above.
MOST_ERROR = {"float32": 1e-4, "float64": 1e-11}


def checked_sequences(workload: Workload) -> Array:
    """Which sequences are compared with float64: some that are evenly spread over the batch."""
    affordable = max(LEAST_CHECKED, int(MOST_CHECK_WORK / workload.work_a_sequence))
    count = min(workload.N, workload.most_checked, affordable)
    return np.linspace(0, workload.N - 1, count).astype(int)


def float64_outputs(workload: Workload, checked: Array, x: Array | None = None) -> Array:
    """The NumPy loop's results in float64, with the workload's own weights and input."""
    some = (workload.inputs() if x is None else x)[checked]
    lengths = None if workload.lengths == "full" else workload.real_lengths()[checked]
    return predict_by_reference(
        workload.model().astype("float64"),
        some.astype("float64") if some.dtype.kind == "f" else some,  # ids stay ids
        lengths,
    )


def errors(outputs: Array | None, exact: Array) -> dict[str, Any]:
    """How many sequences were compared, and the largest and root-mean-square difference."""
    if outputs is None:
        return {}
    apart = outputs.astype("float64") - exact[: len(outputs)]
    return {
        "checked": len(outputs),
        "max_error": float(np.abs(apart).max()),
        "rms_error": float(np.sqrt(np.square(apart).mean())),
    }


def computes_the_same(dtype: str, engine: dict[str, Any]) -> bool:
    """Whether a stored engine's error is no more than rounding; an error of NaN is more."""
    return bool(engine.get("max_error", 0.0) <= MOST_ERROR[dtype])
