"""Pointwise parts as the engine runs them: from rows (R, K) to rows (R, O)."""

from __future__ import annotations

from functools import singledispatch
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fastlstm.engine.run.normalise_rows import NormRows, SoftmaxRows
from fastlstm.engine.run.pointwise_rows import PointwiseRows
from fastlstm.engine.run.window_rows import DenseRows
from fastlstm.network.dense import Dense
from fastlstm.network.normalisation import Affine, LayerNorm
from fastlstm.network.pointwise import OVER_NUMBERS, Activate, PReLU

__all__ = ["Rows", "rows_of"]

Array = npt.NDArray[Any]


class Rows(Protocol):
    """A part as the engine runs it."""

    def compile(self) -> Any:
        """Return the compiled kernel."""

    def run(self, values: Array, out: Array) -> None:
        """Fill `out` (R * O,) from `values` (R * K,), both flat and of the part's dtype."""


@singledispatch
def rows_of(part: Any, size: int, dtype: np.dtype[Any]) -> Rows:
    """Return a part as the engine runs it, on rows of `size` numbers of a dtype."""
    raise TypeError(f"no code is known for a {type(part).__name__}")


@rows_of.register(Dense)
def _(part: Dense, size: int, dtype: np.dtype[Any]) -> Rows:
    return DenseRows(part)


@rows_of.register(Affine)
def _(part: Affine, size: int, dtype: np.dtype[Any]) -> Rows:
    return PointwiseRows(size, dtype, center=part.center, scale=part.scale, shift=part.shift)


@rows_of.register(LayerNorm)
def _(part: LayerNorm, size: int, dtype: np.dtype[Any]) -> Rows:
    return NormRows(part.scale, part.shift, part.epsilon, centered=part.centered)


@rows_of.register(Activate)
def _(part: Activate, size: int, dtype: np.dtype[Any]) -> Rows:
    if part.activation in OVER_NUMBERS:
        return SoftmaxRows(size, dtype, logarithm=part.activation == "log_softmax")
    return PointwiseRows(size, dtype, activation=part.activation)


@rows_of.register(PReLU)
def _(part: PReLU, size: int, dtype: np.dtype[Any]) -> Rows:
    return PointwiseRows(size, dtype, slope=part.slope)
