"""Weights of any kind of float as those that a network computes in: ``float32`` or ``float64``."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.errors import UnsupportedModelError

__all__ = ["from_bfloat16", "widened"]

Array = npt.NDArray[Any]


def widened(name: str, weights: Array) -> Array:
    """Weights as ``float32`` or ``float64``: narrower floats become ``float32``.

    Parameters
    ----------
    name : str
        What an error calls them.
    weights : array

    Raises
    ------
    UnsupportedModelError
        If they are not floats, as quantised ones are not.
    """
    if weights.dtype.name in ("float16", "bfloat16"):  # the latter is ml_dtypes'
        return weights.astype(np.float32)
    if weights.dtype.name not in ("float32", "float64"):
        raise UnsupportedModelError(
            f"{name}: expected float64, float32, float16 or bfloat16, got {weights.dtype}"
        )
    return weights


def from_bfloat16(bits: Array) -> Array:
    """``bfloat16`` numbers, given as ``uint16``, as ``float32``, whose upper half they are."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
