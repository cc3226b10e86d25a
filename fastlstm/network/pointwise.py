"""Activations by themselves, of each number or over some of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from fastlstm.network.activations import Activation, as_activation
from fastlstm.network.weights import Weights, as_floats, freeze

__all__ = ["OVER_NUMBERS", "Activate", "PReLU", "StepSoftmax"]

Array = npt.NDArray[Any]

OVER_NUMBERS: Final = ("softmax", "log_softmax")  # over the K numbers, so no `Activation`


@dataclass(frozen=True, eq=False)
class Activate(Weights):
    """An activation of the numbers of each step or vector.

    Parameters
    ----------
    activation : str, Activation or (name, alpha, beta)
        ``"softmax"`` or ``"log_softmax"`` over the K numbers, or one of those that `Activation`
        lists, of each number.

    Raises
    ------
    TypeError, ValueError, UnsupportedModelError
        As `Activation`.
    """

    takes: ClassVar = "either"
    gives: ClassVar = "either"

    activation: Activation | str

    def __post_init__(self) -> None:
        if self.activation not in OVER_NUMBERS:
            object.__setattr__(self, "activation", as_activation(self.activation))


@dataclass(frozen=True, eq=False, repr=False)
class PReLU(Weights):
    """``x if x >= 0 else slope * x``, with a slope for each of K numbers (He et al., 2015).

    Parameters
    ----------
    slope : array (K,), float32 or float64
        The slopes.

    Raises
    ------
    TypeError
        If the array is neither float32 nor float64.
    ValueError
        If it has another shape, or a slope is NaN or infinite.
    """

    takes: ClassVar = "either"
    gives: ClassVar = "either"

    slope: Array  # (K,)

    def __post_init__(self) -> None:
        slope = as_floats("slope", self.slope)
        if slope.ndim != 1 or not slope.size:
            raise ValueError(f"slope: expected shape (K,) for K >= 1 numbers, got {slope.shape}")
        freeze(self, {"slope": slope})

    @property
    def input_size(self) -> int:
        """K."""
        return int(self.slope.size)

    output_size = input_size

    @property
    def dtype(self) -> np.dtype[Any]:
        """``float32`` or ``float64``."""
        return self.slope.dtype

    def __repr__(self) -> str:
        return f"PReLU({self.input_size}, {self.dtype})"


@dataclass(frozen=True, eq=False)
class StepSoftmax(Weights):
    """Softmax over the real steps of a sequence, for each of its K numbers apart.

    The weights of an attention over steps: they are positive, and those of a sequence add up to 1.
    """

    takes: ClassVar = "sequence"
    gives: ClassVar = "sequence"
