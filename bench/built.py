"""What an engine is to the benchmarks, and the choice among several ways to use one."""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.rows import Row

Array = npt.NDArray[Any]
Call = Callable[[], "Array | Parts | None"]  # to (N, ...), or None: nothing to compare

MOST_APART = 1e-4  # between the results of two ways
MOST_SECONDS = 1.0  # for the trial of one way, after its first call


class Parts(list[Array]):
    """Results of parts of a batch, which are put together only where they are compared."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.concatenate(self).astype(dtype, copy=False)


class Built(NamedTuple):
    """An engine that is ready for its turns."""

    call: Call
    settings: str = ""


class Engine(NamedTuple):
    """One way to do a row's work. `build` imports what it needs."""

    build: Callable[[Any, Any, int], Built]  # for a row, its input (N, T, I), and threads
    needs: tuple[str, ...] = ()  # modules that have to be installed
    most_work: float = math.inf  # operations a call: of a longer row, only some sequences ...
    share: int = 1  # ... a multiple of so many
    flops: float | None = None  # of a call, if they are not the row's
    dtypes: tuple[str, ...] = ("float32", "float64")
    from_file: bool = False  # `build` takes the file of the input, not an array
    most_sequences: float = math.inf  # that are timed

    def sequences(self, row: Row) -> int:
        """How many of the row's sequences are timed; the times are scaled to all of them."""
        if self.most_sequences < row.N:
            return int(self.most_sequences)
        if row.N * row.work_a_sequence <= self.most_work:
            return row.N
        shares = int(self.most_work / row.work_a_sequence) // self.share
        return min(row.N, self.share * max(1, shares))

    def missing(self) -> list[str]:
        """The modules that it needs and that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


def fastest(ways: Mapping[str, Callable[[], Call]]) -> Built:
    """Build each way, call it a few times, and keep the fastest; its name is the settings.

    A way that is slower is let go before the next is built: inputs and results may be large.

    Raises
    ------
    ValueError
        A way gives another result than the first one.
    """
    best: tuple[float, Built] | None = None
    expected: Array | None = None
    for name, build in ways.items():
        call = build()
        found = np.array(call())  # compiles, allocates
        expected = found if expected is None else expected
        if not np.allclose(found, expected, rtol=0, atol=MOST_APART):
            raise ValueError(f"{name}: expected the result of {next(iter(ways))}, got another")
        seconds = quickest(call)
        if best is None or seconds < best[0]:
            best = seconds, Built(call, name)
    assert best is not None
    return best[1]


def quickest(call: Call) -> float:
    """Seconds of the fastest of three calls, or of as many as `MOST_SECONDS` allow."""
    times: list[float] = []
    while len(times) < 3 and sum(times) < MOST_SECONDS:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def time_first(x: Array) -> Array:
    """``(N, T, ...)`` as a fresh array ``(T, N, ...)``."""
    return np.ascontiguousarray(x.swapaxes(0, 1))


def batch_first(y: Array) -> Array:
    """``(T, N, K)`` as a view ``(N, T, K)``; one result a sequence, ``(N, K)``, as it is."""
    return y.swapaxes(0, 1) if y.ndim == 3 else y


def part_size(N: int, most: int = 1024, least: int = 8192) -> int | None:
    """Into equal parts of how many sequences a large batch is cut: then it stays in cache."""
    if least > N:
        return None
    return next(size for size in range(most, 0, -1) if N % size == 0)
