"""What the parts of a network give: the shape of each value, and how many steps it has.

Value i is what part i gives; value -1 is the network's inputs. A part reads the value before its
own, unless it is a joint, which says what it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.network.joints import AddInputs, From, Join
from fastlstm.network.steps import Flatten, Repeat, Unflatten

__all__ = ["Shape", "Steps", "input_size_of", "referenced", "shapes_of"]

Integers = npt.NDArray[np.int64]


class Shape(NamedTuple):
    """The shape of a value."""

    every: bool  # a sequence (N, T, K), with a vector at every step; or a vector (N, K)
    size: int  # K

    def __str__(self) -> str:
        return f"a {'sequence' if self.every else 'vector'} of {self.size} numbers"


def referenced(parts: Sequence[Any]) -> set[int]:
    """Return the numbers of the values that joints read."""
    return {value for part in parts if isinstance(part, From | Join) for value in part.values}


def input_size_of(parts: Sequence[Any]) -> int:
    """Return how many numbers a step of the network's inputs has: what the first parts expect.

    Raises
    ------
    ValueError
        If none of them says.
    """
    inputs = Fraction(1)  # how often a value has all the numbers of a step of the inputs
    times: list[Fraction | None] = []  # the same of each part's value; None if not known yet
    for part in parts:
        below = times[-1] if times else inputs
        size = getattr(part, "input_size", None)
        if size is not None and below is not None:
            return max(1, int(size / below))  # if it is not whole, the part is refused later
        if isinstance(part, From | Join):
            below = _times(part, [inputs if k < 0 else times[k] for k in part.values])
        elif hasattr(part, "output_size"):
            below = None
        elif isinstance(part, Flatten) and below is not None:
            below *= part.n_steps
        elif isinstance(part, Unflatten) and below is not None:
            below /= part.n_steps
        times.append(below)
    raise ValueError("expected a part that says how many inputs the network has, got none")


def _times(part: From | Join, values: list[Fraction | None]) -> Fraction | None:
    """How often a joined value has all the numbers of the inputs; None if it is not known."""
    known = [k for k in values if k is not None]
    if len(known) < len(values) or getattr(part, "how", "") == "dot":
        return None
    if getattr(part, "how", "") == "concatenate":
        return sum(known, Fraction(0))
    return known[0] if len(set(known)) == 1 else None


def shapes_of(parts: Sequence[Any], input_size: int) -> tuple[Shape, ...]:
    """Return the shape of the value that each part gives.

    Raises
    ------
    ValueError
        If a part does not fit the values that it reads.
    """
    shapes: list[Shape] = []
    inputs = Shape(True, input_size)
    for i, part in enumerate(parts):
        below = shapes[-1] if shapes else inputs
        try:
            if isinstance(part, From | Join):
                if max(part.values) >= i:
                    raise ValueError(f"reads value {max(part.values)}, which comes later")
                read = [inputs if k < 0 else shapes[k] for k in part.values]
                shapes.append(read[0] if isinstance(part, From) else _joined(part, read))
            else:
                shapes.append(_given(part, below, inputs))
        except ValueError as error:
            raise ValueError(f"part {i}, {type(part).__name__}: {error}") from None
    return tuple(shapes)


def _given(part: Any, below: Shape, inputs: Shape) -> Shape:
    size = getattr(part, "input_size", None)
    if size is not None and size != below.size:
        raise ValueError(f"expected {size} numbers, got {below}")
    if isinstance(part, AddInputs) and not part.size == below.size <= inputs.size:
        raise ValueError(
            f"expected one of the {inputs.size} inputs for each of the {below.size} outputs, "
            f"got {part.size}"
        )
    every = below.every if part.gives == "either" else part.gives == "sequence"
    if isinstance(part, Flatten):
        return Shape(every, below.size * part.n_steps)
    if isinstance(part, Unflatten):
        if below.size % part.n_steps:
            raise ValueError(f"{below} cannot be divided into {part.n_steps} steps")
        return Shape(every, below.size // part.n_steps)
    return Shape(every, getattr(part, "output_size", below.size))


def _joined(join: Join, read: list[Shape]) -> Shape:
    every = any(shape.every for shape in read)
    sizes = [shape.size for shape in read]
    if join.how == "concatenate":
        return Shape(every, sum(sizes))
    size = max(sizes)
    alone = {size} if join.how == "dot" else {1, size}
    if not set(sizes) <= alone:
        raise ValueError(f"cannot {join.how} values of {sizes} numbers")
    return Shape(every, 1 if join.how == "dot" else size)


class Steps:
    """How many steps each value has, for sequences of given lengths.

    Parameters
    ----------
    parts
        The parts of a network.
    lengths : array (N,) of int
        The steps of the inputs.

    Attributes
    ----------
    of_values : list of array (N,) or None
        The steps of each part's value; None if it is a vector.
    refused : array (N,) of bool
        The sequences that the network does not take: their number of steps does not fit, or a part
        leaves no step of one that has some.
    why : str or None
        Of the first part that refuses some.
    """

    def __init__(self, parts: Sequence[Any], lengths: Integers) -> None:
        self.lengths = lengths
        self.of_values: list[Integers | None] = []
        self.refused = np.zeros(len(lengths), bool)
        self.why: str | None = None
        for i, part in enumerate(parts):
            self.of_values.append(self._given(i, part))

    def value(self, number: int) -> Integers | None:
        """Return the steps of a value."""
        return self.of_values[number] if number >= 0 else self.lengths

    def check(self, what: str = "sequence") -> None:
        """Refuse the sequences that the network does not take.

        Raises
        ------
        ValueError
            If there are some; the first is named.
        """
        if self.why is None:
            return
        at = int(np.argmax(self.refused))
        n = int(self.refused.sum())
        others = f" (and {n - 1} others)" if n > 1 else ""
        raise ValueError(f"{self.why}: {what} {at}{others} has {int(self.lengths[at])} steps")

    def _given(self, i: int, part: Any) -> Integers | None:
        below = self.value(i - 1)
        name = f"part {i}, {type(part).__name__},"
        if isinstance(part, From | Join):
            read = [self.value(k) for k in part.values]
            sequences = [steps for steps in read if steps is not None]
            for other in sequences[1:]:
                self._refuse(sequences[0] != other, f"{name} joins values of unequal steps")
            return sequences[0] if sequences else None
        if isinstance(part, Flatten):
            assert below is not None
            unfit = below != part.n_steps
            got = int(below[np.argmax(unfit)]) if unfit.any() else 0
            self._refuse(unfit, f"{name} takes exactly {part.n_steps} steps, and gets {got}")
            return None
        if isinstance(part, Repeat | Unflatten):
            return np.full_like(self.lengths, part.n_steps)
        if part.gives == "vector" or below is None:
            return None
        if not hasattr(part, "steps"):
            return below
        steps: Integers = part.steps(below)
        self._refuse((steps < 1) & (self.lengths > 0), f"{name} leaves no step of a short sequence")
        return steps

    def _refuse(self, refused: npt.NDArray[np.bool_], why: str) -> None:
        if refused.any():
            self.refused |= refused
            self.why = self.why or why
