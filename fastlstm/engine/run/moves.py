"""Which step a step comes from, if a part moves them: padding, slices, repetition."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.network.steps import Pad, Slice, Upsample
from fastlstm.network.windows import Window

__all__ = ["NOWHERE", "come_from"]

Integers = npt.NDArray[np.int64]

NOWHERE = -1


@singledispatch
def come_from(part: Any, lengths: Integers, to: Integers) -> Integers:
    """Return the step that each step comes from, or `NOWHERE`.

    Parameters
    ----------
    part
        What moves the steps.
    lengths (rows, 1)
        How many steps each row has.
    to (steps,)
        The steps in question: 0, 1, ...

    Returns
    -------
    array (rows, steps)
        The numbers of steps; for a step that a row does not have, any number.
    """
    raise TypeError(f"a {type(part).__name__} moves no steps")


@come_from.register(Window)
def _(window: Window, lengths: Integers, to: Integers) -> Integers:
    before, _ = window.padded(lengths)
    return _within(to - before, lengths)


@come_from.register(Pad)
def _(pad: Pad, lengths: Integers, to: Integers) -> Integers:
    found: Integers = to - np.full_like(lengths, pad.before)
    if pad.mode == "zeros":
        return _within(found, lengths)
    if pad.mode == "edge":
        return np.clip(found, 0, lengths - 1)
    last = lengths - 1
    return last - np.abs(last - np.abs(found))


@come_from.register(Slice)
def _(part: Slice, lengths: Integers, to: Integers) -> Integers:
    first = [range(n)[part.slice].start for n in lengths[:, 0].tolist()]
    step = 1 if part.step is None else part.step
    return np.array(first, np.int64)[:, np.newaxis] + to * step


@come_from.register(Upsample)
def _(part: Upsample, lengths: Integers, to: Integers) -> Integers:
    found: Integers = to // np.full_like(lengths, part.times)
    return found


def _within(found: Integers, lengths: Integers) -> Integers:
    return np.where((found >= 0) & (found < lengths), found, NOWHERE)
