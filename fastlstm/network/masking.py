"""Masking: steps that change no state."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from fastlstm.network.weights import Weights

__all__ = ["Masking"]


@dataclass(frozen=True, eq=False)
class Masking(Weights):
    """Mask the steps whose inputs all have one value (Keras' ``Masking``).

    A masked step changes no state. The output of a layer there is that of the step before, or zeros
    if the layer has two directions.

    Parameters
    ----------
    value : float
        The value that all inputs of a masked step have.

    Raises
    ------
    TypeError
        If it is not a number.
    ValueError
        If it is NaN or infinite.
    """

    takes: ClassVar = "sequence"
    gives: ClassVar = "sequence"

    value: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _as_float("mask_value", self.value))
        if not math.isfinite(self.value):
            raise ValueError(f"mask_value: expected a finite number, got {self.value!r}")


def _as_float(name: str, value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError(
            f"{name}: expected a number that fits in float64, got a larger integer"
        ) from None
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}") from None
