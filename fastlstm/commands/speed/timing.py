"""The engine and the NumPy loop, timed in turn on the same sequences."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm import reference
from fastlstm.engine.compiling import clock
from fastlstm.model import LSTM

__all__ = ["Timing", "quartiles", "time_both", "timed"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Timing:
    """The seconds of each run of both, and how far apart their results are."""

    engine: tuple[float, ...]
    loop: tuple[float, ...]
    largest_difference: float

    @property
    def gain(self) -> float:
        """How many times as fast the engine is, by the medians."""
        return median(self.loop) / median(self.engine)


def time_both(
    model: LSTM,
    x: Array,
    threads: int | None = None,
    *,
    fewest: int,
    seconds: float = 0.0,
) -> Timing:
    """Time `predict` and the NumPy loop in turn: when the machine slows down, it slows both.

    What the first run compiles is not counted.

    Parameters
    ----------
    model : LSTM
    x : array (N, T, I), or (N, T) ids
    threads : int, optional
        Of the engine; NumPy's matrix products use as many as NumPy was set to.
    fewest : int
        Run each at least this many times.
    seconds : float
        Go on until the runs have taken this long together.
    """
    engine: list[float] = []
    loop: list[float] = []
    while len(engine) < fewest or sum(engine) + sum(loop) < seconds:
        took, by_engine = timed(lambda: model.predict(x, threads=threads), clock)
        engine.append(took)
        took, by_loop = timed(lambda: reference.predict(model.network, x))
        loop.append(took)
    return Timing(tuple(engine), tuple(loop), _largest_difference(by_engine, by_loop))


def quartiles(values: tuple[float, ...]) -> tuple[float, float]:
    """The lower and the upper quartile."""
    lower, _, upper = quantiles(values, n=4, method="inclusive")
    return lower, upper


def timed(
    call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter
) -> tuple[float, Any]:
    """Call, and return the seconds that it took and what it returned."""
    started = clock()
    result = call()
    return clock() - started, result


def _largest_difference(a: Array, b: Array) -> float:
    """Return the largest difference: NaN if only one is NaN; equal infinities do not differ."""
    differ = (a != b) & ~(np.isnan(a) & np.isnan(b))
    return float(np.abs(a[differ] - b[differ]).max(initial=0.0))
