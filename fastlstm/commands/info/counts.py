"""How many steps the values of a network have, as people write it: ``(T - 4) // 2``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastlstm.network.convolution import Conv
from fastlstm.network.joints import From, Join
from fastlstm.network.pooling import Pool
from fastlstm.network.steps import Flatten, Pad, Repeat, Slice, Unflatten, Upsample
from fastlstm.network.windows import Window

__all__ = ["Count", "counts_of"]


@dataclass(frozen=True)
class Count:
    """A number of steps, ``(factor * of + plus) // divisor``.

    A floor of a floor is a floor again, so that windows over windows stay in this form.
    """

    of: str  # such as T
    factor: int = 1
    plus: int = 0
    divisor: int = 1

    def more(self, steps: int) -> Count:
        """Return so many steps more."""
        return Count(self.of, self.factor, self.plus + steps * self.divisor, self.divisor)

    def divided(self, by: int) -> Count:
        """Return the steps divided by a number and rounded down."""
        return Count(self.of, self.factor, self.plus, self.divisor * by)

    def times(self, factor: int) -> Count:
        """Return so many times the steps."""
        if self._whole:
            whole = self._whole
            return Count(whole.of, whole.factor * factor, whole.plus * factor)
        return Count(f"({self})", factor)

    @property
    def _whole(self) -> Count | None:
        """The same without a division, if it has none."""
        if self.factor % self.divisor:
            return None
        return Count(self.of, self.factor // self.divisor, self.plus // self.divisor)

    def __str__(self) -> str:
        if self._whole and self.divisor > 1:
            return str(self._whole)
        if not self.factor:
            return str(self.plus)
        times = "" if self.factor == 1 else f"{self.factor} * "
        plus = f" {'+' if self.plus > 0 else '-'} {abs(self.plus)}" if self.plus else ""
        total = f"{times}{self.of}{plus}"
        if self.divisor == 1:
            return total
        return f"({total}) // {self.divisor}" if times or plus else f"{total} // {self.divisor}"


def counts_of(parts: Sequence[Any], steps: int | None = None) -> list[Count | None]:
    """Return the steps of every value of a network; None for a vector.

    Parameters
    ----------
    parts
        The parts of the network.
    steps : int, optional
        The steps of the inputs; by default, any number T.

    Returns
    -------
    list of Count or None
        Where they cannot be said simply, those of part 3 are called ``T3``.
    """
    inputs = Count("T") if steps is None else _number(steps)
    counts: list[Count | None] = []
    for i, part in enumerate(parts):
        below = counts[-1] if counts else inputs
        if isinstance(part, From | Join):
            read = [counts[k] if k >= 0 else inputs for k in part.values]
            counts.append(next((k for k in read if k is not None), None))
        elif isinstance(part, Repeat | Unflatten):
            counts.append(_number(part.n_steps))
        elif part.gives == "vector" or isinstance(part, Flatten) or below is None:
            counts.append(None)
        else:
            counts.append(_moved(part, below) or Count(f"T{i}"))
    return counts


def _number(steps: int) -> Count:
    return Count("", 0, steps)


def _moved(part: Any, below: Count) -> Count | None:
    """The steps that a part gives, or None if they cannot be said simply."""
    if not below.factor and hasattr(part, "steps"):
        return _number(int(part.steps(np.array([int(str(below))]))[0]))
    if isinstance(part, Conv | Pool):
        return _windows(part.window, below)
    if isinstance(part, Pad):
        return below.more(part.before + part.after)
    if isinstance(part, Upsample):
        return below.times(part.times)
    return _sliced(part, below) if isinstance(part, Slice) else below


def _windows(window: Window, below: Count) -> Count | None:
    stride, reach = window.stride, window.reach
    if window.padding == "same":
        return below.more(stride - 1).divided(stride)
    before, after = reach - 1, 0
    if window.padding != "causal":
        before, after = (0, 0) if window.padding == "valid" else window.padding
    spare = 0
    if window.ceil:
        if after or stride > reach:  # a window that would begin behind the sequence is left out
            return None
        spare = stride - 1
    return below.more(before + after - reach + spare).divided(stride).more(1)


def _sliced(part: Slice, below: Count) -> Count | None:
    start, stop, step = part.start or 0, part.stop, part.step or 1
    if step < 0:
        whole = part.start in (None, -1) and stop is None
        return below.more(-step - 1).divided(-step) if whole else None
    if start >= 0 and (stop is None or stop < 0):
        left = below.more((stop or 0) - start)
    elif start < 0 and stop is None:
        left = Count(f"min({below}, {-start})")
    elif start == 0 and stop is not None:
        left = Count(f"min({below}, {stop})")
    elif start >= 0 and stop is not None and stop > start:
        left = Count(f"min({below.more(-start)}, {stop - start})")
    else:
        return None
    return left.more(step - 1).divided(step)
