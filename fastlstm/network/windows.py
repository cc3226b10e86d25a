"""Which steps an output of a convolution or of pooling reads, and how many outputs there are."""

from __future__ import annotations

import operator
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["PADDINGS", "Padding", "Window", "as_count", "as_padding"]

Integers = npt.NDArray[np.int64]

MOST: Final = (1 << 31) - 1  # so that products of numbers of steps fit in 64 bits
PADDINGS: Final = ("valid", "same", "causal")
Padding = Literal["valid", "same", "causal"] | tuple[int, int]


class Window:
    """Windows of `size` taps, `dilation` steps apart, the next of them `stride` steps later.

    Parameters
    ----------
    size, stride, dilation : int
        All at least 1.
    padding : str or (int, int)
        As in `Conv`.
    ceil : bool
        Whether a last window that is not whole counts, if it begins within the sequence or in front
        of it (torch's ``ceil_mode``).

    Raises
    ------
    TypeError, ValueError
        If one of them has another value.
    """

    def __init__(
        self, size: int, stride: int, dilation: int, padding: Padding, ceil: bool = False
    ) -> None:
        self.size = as_count("size", size)
        self.stride = as_count("stride", stride)
        self.dilation = as_count("dilation", dilation)
        self.padding, self.ceil = padding, ceil

    @property
    def pads(self) -> bool:
        """Whether it may read steps that are not there."""
        return self.padding not in ("valid", (0, 0)) or self.ceil

    @property
    def reach(self) -> int:
        """The steps from the first to the last one that a window reads."""
        return (self.size - 1) * self.dilation + 1

    def padded(self, steps: Integers) -> tuple[Integers, Integers]:
        """Return how many steps of padding stand in front of and behind sequences of these steps.

        The padding behind is that which windows read, so that the windows of the padded sequence
        are its ``"valid"`` ones.
        """
        before, after = self.padding_of(steps)
        whole = steps + before + after
        outputs = self._outputs(steps, before, whole)
        return before, np.maximum((outputs - 1) * self.stride + self.reach - steps - before, 0)

    def steps(self, steps: Integers) -> Integers:
        """Return how many outputs sequences of these steps have; 0 if there is no window."""
        before, after = self.padding_of(steps)
        return self._outputs(steps, before, steps + before + after)

    def padding_of(self, steps: Integers) -> tuple[Integers, Integers]:
        """Return how many steps the padding puts in front of and behind such sequences."""
        zeros = np.zeros_like(steps)
        if self.padding == "valid":
            return zeros, zeros
        if self.padding == "causal":
            return zeros + (self.reach - 1), zeros
        if self.padding == "same":
            outputs = -(-steps // self.stride)
            total = np.maximum((outputs - 1) * self.stride + self.reach - steps, 0)
            return total // 2, total - total // 2
        before, after = self.padding
        return zeros + int(before), zeros + int(after)

    def _outputs(self, steps: Integers, before: Integers, whole: Integers) -> Integers:
        outputs = (whole - self.reach) // self.stride + 1
        if self.ceil:
            outputs = -(-(whole - self.reach) // self.stride) + 1
            outputs -= (outputs - 1) * self.stride >= steps + before
        return np.where(steps > 0, np.maximum(outputs, 0), 0)

    def __str__(self) -> str:
        dilation = "" if self.dilation == 1 else f", dilation {self.dilation}"
        ceil = ", ceil" if self.ceil else ""
        return f"{self.size} taps, stride {self.stride}{dilation}, {self.padding}{ceil}"


def as_padding(padding: Any) -> Padding:
    """Return a padding by its name, or as a pair of integers.

    Raises
    ------
    TypeError, ValueError
        If it is neither.
    """
    if isinstance(padding, str):
        if padding not in PADDINGS:
            raise ValueError(f"padding: expected one of {PADDINGS} or two numbers, got {padding!r}")
        return padding  # type: ignore[return-value]
    if not isinstance(padding, (tuple, list)) or len(padding) != 2:
        raise TypeError(f"padding: expected one of {PADDINGS} or two numbers, got {padding!r:.80}")
    before, after = (as_count("padding", k, least=0) for k in padding)
    return before, after


def as_count(name: str, value: Any, least: int = 1, most: int = MOST) -> int:
    """Return a number that counts something.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is less than `least` or more than `most`.
    """
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}") from None
    if count < least:
        raise ValueError(f"{name}: expected at least {least}, got {count}")
    if count > most:
        raise ValueError(f"{name}: expected at most {most}, got {count}")
    return count
