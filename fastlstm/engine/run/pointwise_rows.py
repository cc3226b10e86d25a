"""Affine maps, activations and PReLU as the engine runs them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.engine import cpu
from fastlstm.engine.kernel.cells import alpha_beta
from fastlstm.engine.kernel.pointwise import AFFINE, PLAIN, PRELU, VECTORS, pointwise_kernel
from fastlstm.engine.plan.plan import aligned_empty
from fastlstm.network.activations import LINEAR, Activation, as_activation

__all__ = ["PointwiseRows"]

# Numbers between two runs of the kernel's inner loop, and so in the tables of short rows.
LEAST_PERIOD = 1024

Array = npt.NDArray[Any]


class PointwiseRows:
    """What is computed of every number of rows (R, K) by itself. See `kernel.pointwise`.

    Parameters
    ----------
    size
        K, the numbers of a row.
    dtype
        float32 or float64.
    center, scale, shift (K,)
        For fma(x - center, scale, shift): all three, or none.
    slope (K,)
        For PReLU, instead of these three.
    activation
        Of the result.
    """

    def __init__(
        self,
        size: int,
        dtype: npt.DTypeLike,
        *,
        center: Array | None = None,
        scale: Array | None = None,
        shift: Array | None = None,
        slope: Array | None = None,
        activation: Activation | str = LINEAR,
    ) -> None:
        self.size, self.dtype = size, np.dtype(dtype)
        self.activation = as_activation(activation)
        self.numbers = np.array(alpha_beta(self.activation), self.dtype)
        affine = [k for k in (center, scale, shift) if k is not None]
        self.what, features = PLAIN, affine
        if slope is not None:
            self.what, features = PRELU, [slope]
        elif affine:
            self.what = AFFINE
        if len(affine) not in (0, 3) or (affine and slope is not None):
            raise ValueError("expected center, scale and shift, or slope, or none of them")
        self.period = math.lcm(size, VECTORS * cpu.lanes(self.dtype.name))
        self.period *= -(-LEAST_PERIOD // self.period)
        table = [np.resize(np.asarray(k, self.dtype), self.period) for k in features]
        self.table = aligned_empty(sum(map(len, table)), self.dtype)
        if table:
            np.concatenate(table, out=self.table)

    def compile(self) -> Any:
        """Return the compiled kernel."""
        return pointwise_kernel(self.dtype.name, self.what, self.activation.name)

    def run(self, values: Array, out: Array) -> None:
        """Fill `out` (R * K,) from `values` (R * K,), which may be the same array."""
        self.compile()(len(out), self.period, self.numbers, self.table, values, out)
