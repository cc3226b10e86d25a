"""Joints: parts that read other values than that of the part before them.

Value i of a network is what its part i gives, and value -1 its inputs.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from fastlstm.network.weights import Weights

__all__ = ["JOINS", "AddInputs", "From", "Join"]

JOINS: Final = ("add", "multiply", "concatenate", "dot")


@dataclass(frozen=True, eq=False)
class From(Weights):
    """Continue from an earlier value: the beginning of a branch.

    Parameters
    ----------
    value : int
        The number of the part that gives it, or -1 for the inputs.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is less than -1.
    """

    value: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _as_value("value", self.value))

    @property
    def values(self) -> tuple[int, ...]:
        """The numbers of the values that it reads."""
        return (self.value,)


@dataclass(frozen=True, eq=False)
class Join(Weights):
    """Join earlier values, of the same steps.

    If sequences are joined with vectors, a vector stands at every step.

    Parameters
    ----------
    how : {"add", "multiply", "concatenate", "dot"}
        Add or multiply number by number, in the order of `values`; the only number of a value of
        size 1 is added to, or multiplied by, all of the others. Put them side by side. Or add up
        the products of the numbers of two values, which gives one number.
    values : sequence of int
        The numbers of the parts that give them, or -1 for the inputs.

    Raises
    ------
    TypeError, ValueError
        If an argument has another value.
    """

    how: str
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.how not in JOINS:
            raise ValueError(f"how: expected one of {JOINS}, got {self.how!r}")
        values = tuple(_as_value("values", k) for k in self.values)
        if len(values) < 2 or (self.how == "dot" and len(values) != 2):
            wanted = "two values" if self.how == "dot" else "two values or more"
            raise ValueError(f"values: expected {wanted}, got {len(values)}")
        object.__setattr__(self, "values", values)


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


def _as_value(name: str, value: Any) -> int:
    number = _as_integer(name, value)
    if number < -1:
        raise ValueError(f"{name}: expected -1 or the number of a part, got {number}")
    return number


def _as_integer(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"expected {name} to be an integer, got {type(value).__name__}") from None
