"""Layer norm and softmax as the engine runs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.engine import cpu
from fastlstm.engine.kernel.normalise import (
    LAYER_NORM,
    LOG_SOFTMAX,
    RMS_NORM,
    SOFTMAX,
    VECTORS,
    normalise_kernel,
)

__all__ = ["NormRows", "SoftmaxRows"]

Array = npt.NDArray[Any]


class _Rows:
    """What is computed of all the numbers of each row (R, K) together. See `kernel.normalise`."""

    def __init__(self, what: str, size: int, dtype: npt.DTypeLike, table: Array) -> None:
        self.what, self.size, self.dtype, self.table = what, size, np.dtype(dtype), table
        self.lanes = VECTORS * cpu.lanes(self.dtype.name)

    def compile(self) -> Any:
        """Return the compiled kernel."""
        return normalise_kernel(self.dtype.name, self.what)

    def run(self, values: Array, out: Array) -> None:
        """Fill `out` (R * K,) from `values` (R * K,), which may be the same array."""
        scratch = np.empty((self.size + self.lanes) * self.lanes, self.dtype)
        lane_table = np.empty(2 * self.lanes, np.int64)
        self.compile()(
            len(out) // self.size, self.size, self.table, values, out, scratch, lane_table
        )


class SoftmaxRows(_Rows):
    """Softmax over the K numbers of a row, or its logarithm.

    Parameters
    ----------
    size
        K.
    dtype
        float32 or float64.
    logarithm
        Whether the logarithm is wanted.
    """

    def __init__(self, size: int, dtype: npt.DTypeLike, *, logarithm: bool = False) -> None:
        super().__init__(LOG_SOFTMAX if logarithm else SOFTMAX, size, dtype, np.empty(0, dtype))


class NormRows(_Rows):
    """Layer norm, or with `centered=False` RMS norm, over the K numbers of a row.

    Parameters
    ----------
    scale, shift (K,)
        What the normalised numbers are multiplied with, and what is added then.
    epsilon
        What is added to the variance.
    centered
        Whether the mean is subtracted first.
    """

    def __init__(
        self, scale: Array, shift: Array, epsilon: float, *, centered: bool = True
    ) -> None:
        table = np.concatenate([np.array([epsilon, len(scale)], scale.dtype), scale, shift])
        super().__init__(LAYER_NORM if centered else RMS_NORM, len(scale), scale.dtype, table)
