"""Widening weights of any float type to those that networks compute in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.errors import UnsupportedModelError

__all__ = ["from_bfloat16", "widened"]

Array = npt.NDArray[Any]


def widened(name: str, weights: Array) -> Array:
    """Return weights as ``float32`` or ``float64``; narrower floats become ``float32``.

    Parameters
    ----------
    name : str
        What an error message calls them.
    weights : array
        The weights.

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
    """Return ``bfloat16`` numbers, given as ``uint16``, as ``float32``: they are its upper half."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
