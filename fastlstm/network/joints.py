"""Joints: parts that read more than the output of the part before them."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, ClassVar

from fastlstm.network.weights import Weights

__all__ = ["AddInputs"]


@dataclass(frozen=True, eq=False)
class AddInputs(Weights):
    """Add the network's first inputs to its outputs (a skip connection).

    Outputs of every step get the inputs of the same step; a vector gets the inputs of the last
    real step.

    Parameters
    ----------
    size : int
        How many inputs are added, one for each output.

    Raises
    ------
    TypeError
        If it is not an integer.
    """

    takes: ClassVar = "either"
    gives: ClassVar = "either"

    size: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _as_integer("skip", self.size))


def _as_integer(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"expected {name} to be an integer, got {type(value).__name__}") from None
