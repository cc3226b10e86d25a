"""The reference, `fastlstm/reference.py`: a plain NumPy time loop over the whole batch."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from bench.harness.engine import Engine, Ready
from bench.harness.internals import predict_by_reference
from bench.harness.workload import Workload

Array = npt.NDArray[Any]


def build(workload: Workload, x: Array, threads: int) -> Ready:
    model = workload.model()
    return Ready(lambda: predict_by_reference(model, x), "the reference loop")


NUMPY: dict[str, Any] = {"versions": ("numpy", "BLAS of NumPy"), "steady": True}
ENGINES = (
    Engine("numpy", build, enters=("compare", "loop", "first call"), **NUMPY),
    # With two directions it keeps all values of every step: on all sequences, that is slow.
    Engine("NumPy", build, enters=("networks",), most_work=1e9, share=64, **NUMPY),
)
