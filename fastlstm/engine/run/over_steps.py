"""Sums, means, maxima and softmax over the steps of sequences, as the engine runs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.engine import cpu
from fastlstm.engine.kernel.over_steps import SOFTMAX, VECTORS, steps_kernel

__all__ = ["prepare_steps", "reduce_steps", "softmax_steps"]

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

# With sequences in the lanes, all steps of a tile should stay in the L2 cache.
MOST_IN_LANES = 512 * 1024


def prepare_steps(
    what: str, dtype: npt.DTypeLike, steps: int, size: int, weighted: bool = False
) -> Any:
    """Return the compiled kernel for sequences of (steps, size) numbers.

    Parameters
    ----------
    what
        "max", "mean", "sum" or "softmax".
    dtype
        float32 or float64.
    steps, size
        T and K.
    weighted
        Whether each step has a weight.
    """
    dtype = np.dtype(dtype)
    return steps_kernel(dtype.name, what, weighted, _sequences_in_lanes(what, dtype, steps, size))


def reduce_steps(
    how: str,
    values: Array,
    weights: Array | None,
    lengths: Integers,
    n: int,
    steps: int,
    size: int,
    out: Array,
) -> None:
    """Fill `out` with the maximum, mean or sum over the real steps of each sequence.

    Parameters
    ----------
    how
        "max", "mean" or "sum", in the order that `kernel.over_steps` describes.
    values (n * T * K,)
        The sequences, flat.
    weights (n * T,)
        What the numbers of each step are multiplied with, flat; None for nothing.
    lengths (n,)
        The real steps of each sequence, at most T.
    n, steps, size
        The number of sequences, T and K.
    out (n * K,)
        Where to write the results. Without a real step they are NaN, and for "sum" 0.
    """
    _run(how, values, weights, lengths, n, steps, size, out)


def softmax_steps(
    values: Array, lengths: Integers, n: int, steps: int, size: int, out: Array
) -> None:
    """Fill `out` with the softmax over the real steps of each sequence, for K numbers apart.

    The parameters are those of `reduce_steps`, but `out` is as large as `values`, and may be the
    same array. Past the last real step it is 0.
    """
    _run(SOFTMAX, values, None, lengths, n, steps, size, out)


def _run(
    what: str,
    values: Array,
    weights: Array | None,
    lengths: Integers,
    n: int,
    steps: int,
    size: int,
    out: Array,
) -> None:
    dtype, places = values.dtype, VECTORS * cpu.lanes(values.dtype.name)
    memory = 1
    if _sequences_in_lanes(what, dtype, steps, size):
        memory = ((steps + 1) * (size + 1) + 4 * places) * places
    kernel = prepare_steps(what, dtype, steps, size, weights is not None)
    kernel(
        n, steps, size, lengths, values, values[:0] if weights is None else weights, out,
        np.empty(memory, dtype), np.empty(2 * places, np.int64),
    )  # fmt: skip


def _sequences_in_lanes(what: str, dtype: np.dtype[Any], steps: int, size: int) -> bool:
    """Whether that is faster: measured, a softmax gains more from whole vectors than a sum."""
    lanes = cpu.lanes(dtype.name)
    few = size < (lanes if what == SOFTMAX else lanes // 4)
    return few and steps * size * VECTORS * lanes * dtype.itemsize <= MOST_IN_LANES
