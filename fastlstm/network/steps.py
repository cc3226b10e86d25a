"""Parts that move steps about, and that make a sequence of a vector or a vector of a sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from fastlstm.network.weights import Weights
from fastlstm.network.windows import as_count

__all__ = ["PAD_MODES", "Flatten", "Pad", "Repeat", "Slice", "Unflatten", "Upsample"]

Integers = npt.NDArray[np.int64]

LARGE: Final = (1 << 63) - 1  # what some formats write for the end of a sequence
PAD_MODES: Final = ("zeros", "edge", "reflect")


@dataclass(frozen=True, eq=False)
class Pad(Weights):
    """Put steps in front of a sequence and behind it.

    Parameters
    ----------
    before, after : int
        How many.
    mode : {"zeros", "edge", "reflect"}
        What they are: zeros, the first or last step again, or the steps mirrored at the first or
        last one (which is not repeated).

    Raises
    ------
    TypeError, ValueError
        If an option has another value.
    """

    takes: ClassVar = "sequence"
    gives: ClassVar = "sequence"

    before: int
    after: int
    mode: str = "zeros"

    def __post_init__(self) -> None:
        for name in ("before", "after"):
            object.__setattr__(self, name, as_count(name, getattr(self, name), least=0))
        if self.mode not in PAD_MODES:
            raise ValueError(f"mode: expected one of {PAD_MODES}, got {self.mode!r}")

    def steps(self, steps: Integers) -> Integers:
        """Return how many steps sequences of these steps become; 0 for one that is too short."""
        least = max(self.before, self.after) + 1 if self.mode == "reflect" else 1
        return np.where(steps >= least, steps + self.before + self.after, 0)


@dataclass(frozen=True, eq=False)
class Slice(Weights):
    """Some steps of a sequence, as Python's ``steps[start:stop:step]`` of each sequence alone.

    ``Slice(None, None, -1)`` reverses it, ``Slice(None, None, 2)`` takes every second step,
    ``Slice(-5, None)`` the last five, and ``Slice(3, -3)`` crops it.

    Parameters
    ----------
    start, stop, step : int, optional
        As in Python.

    Raises
    ------
    TypeError
        If one of them is neither an integer nor None.
    ValueError
        If `step` is zero.
    """

    takes: ClassVar = "sequence"
    gives: ClassVar = "sequence"

    start: int | None
    stop: int | None
    step: int | None = None

    def __post_init__(self) -> None:
        for name in ("start", "stop", "step"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, as_count(name, value, -LARGE - 1, LARGE))
        if self.step == 0:
            raise ValueError("step: expected an integer other than 0")

    @property
    def slice(self) -> slice:
        """The same as Python's own."""
        return slice(self.start, self.stop, self.step)

    def steps(self, steps: Integers) -> Integers:
        """Return how many steps are left of sequences of these steps."""
        left = {n: len(range(n)[self.slice]) for n in np.unique(steps).tolist()}
        found: Integers = np.vectorize(left.__getitem__, otypes=[np.int64])(steps)
        return found


@dataclass(frozen=True, eq=False)
class Upsample(Weights):
    """Repeat each step (Keras' ``UpSampling1D``).

    Parameters
    ----------
    times : int
        How many steps each becomes.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer of at least 1.
    """

    takes: ClassVar = "sequence"
    gives: ClassVar = "sequence"

    times: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", as_count("times", self.times))

    def steps(self, steps: Integers) -> Integers:
        """Return how many steps sequences of these steps become."""
        return steps * self.times


@dataclass(frozen=True, eq=False)
class _FixedSteps(Weights):
    n_steps: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_steps", as_count("n_steps", self.n_steps))

    def steps(self, steps: Integers) -> Integers:
        """Return `n_steps`, for each of the sequences."""
        return np.full_like(steps, self.n_steps)


class Repeat(_FixedSteps):
    """Make a vector every step of a sequence (Keras' ``RepeatVector``).

    Parameters
    ----------
    n_steps : int
        The steps of the sequence.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer of at least 1.
    """

    takes: ClassVar = "vector"
    gives: ClassVar = "sequence"


class Unflatten(_FixedSteps):
    """Divide a vector (T * K,) into the steps of a sequence (T, K), one after the other.

    Parameters
    ----------
    n_steps : int
        T.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer of at least 1.
    """

    takes: ClassVar = "vector"
    gives: ClassVar = "sequence"


class Flatten(_FixedSteps):
    """Join the steps of a sequence (T, K) to a vector (T * K,), one after the other.

    Parameters
    ----------
    n_steps : int
        T. Sequences of any other number of steps are refused.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer of at least 1.
    """

    takes: ClassVar = "sequence"
    gives: ClassVar = "vector"
