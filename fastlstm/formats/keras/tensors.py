"""Keras' tensors as values of a network: which axis is that of the steps, and which of the numbers.

A value of a network is a sequence (N, T, K) or a vector (N, K). Keras moves axes about: it
permutes them, adds axes of size 1, and repeats vectors. Most of that computes nothing, and what it
comes to can be told when the next layer reads the tensor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from fastlstm.errors import UnsupportedModelError

__all__ = ["BOTH", "NUMBERS", "STEPS", "Axis", "Tensor", "as_axis", "without"]

STEPS: Final = "steps"
NUMBERS: Final = "numbers"
BOTH: Final = "steps and numbers"  # of a flattened sequence, the numbers of a step together

Axis = str | int  # an int: so many copies of the same


@dataclass(frozen=True)
class Tensor:
    """A tensor of a Keras model: a value of the network, and what its axes are.

    Attributes
    ----------
    value : int
        The number of the value in the network, -1 for the inputs.
    every : bool
        Whether the value is a sequence.
    size : int or None
        How many numbers the value has at each step; None if that is not known yet.
    steps : int or None
        How many steps a sequence has, if that is fixed.
    axes : tuple of Axis
        Its axes behind the first. A value of size 1 has no axis of numbers, but one of 1 copy.
    mask : bool
        Whether Keras hands a mask on with it.
    loose : bool
        Whether what Keras has at masked steps is not what the network has there.
    shared : bool
        Whether several layers read the value.
    """

    value: int
    every: bool
    size: int | None
    axes: tuple[Axis, ...]
    steps: int | None = None
    mask: bool = False
    loose: bool = False
    shared: bool = False

    @property
    def rank(self) -> int:
        """How many axes it has behind the first."""
        return len(self.axes)

    @property
    def hidden(self) -> bool:
        """Whether it is one step of a sequence, as a TimeDistributed layer sees it."""
        return self.every and STEPS not in self.axes and BOTH not in self.axes

    def length(self, axis: Axis) -> int | None:
        """Return the size of an axis, if it is known."""
        if isinstance(axis, int):
            return axis
        if axis == STEPS:
            return self.steps
        if axis == NUMBERS:
            return self.size
        return None if None in (self.steps, self.size) else self.steps * self.size  # type: ignore[operator]

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The sizes of its axes."""
        return tuple(map(self.length, self.axes))

    def having(self, *axes: Axis) -> Tensor:
        """Return it with other axes."""
        return replace(self, axes=axes)

    def __str__(self) -> str:
        return f"a tensor of shape ({', '.join(str(k) for k in ('N', *self.shape))})"


def as_axis(where: object, value: Any, rank: int) -> int:
    """Return which axis behind the first Keras' number of an axis means.

    Raises
    ------
    UnsupportedModelError
        If it is not the number of one axis behind the first.
    """
    if isinstance(value, (list, tuple)) and len(value) == 1:
        (value,) = value
    if type(value) is not int or not (1 <= value <= rank or -rank <= value < 0):
        raise UnsupportedModelError(f"{where}: axis={value!r:.80} is not computed")
    return value - 1 if value > 0 else value + rank


def without(axes: tuple[Axis, ...], k: int, *others: Axis) -> tuple[Axis, ...]:
    """Return the axes with others instead of one of them."""
    return (*axes[:k], *others, *axes[k + 1 :])
