"""The choice among several ways to use an engine, and the forms of a batch that they take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness.engine import Call, Ready

Array = npt.NDArray[Any]

# Layouts: the order of the axes of sequences N, steps T and numbers K.
STEPS_FIRST, STEPS_SECOND, STEPS_LAST = "TNK", "NTK", "NKT"
VECTOR = "NK"

MOST_APART = 1e-4  # between the results of two ways
MOST_SECONDS = 1.0  # for the trial of one way, after its first call


def fastest_way(ways: Mapping[str, Callable[[], Call]]) -> Ready:
    """Build each way, call it a few times, and keep the fastest; its name is the settings.

    Inputs and results may be large, so the slower of two ways is dropped before the next is built.

    Raises
    ------
    ValueError
        The result of a way differs from that of the first one.
    """
    best: tuple[float, Ready] | None = None
    expected: Array | None = None
    for name, build in ways.items():
        call = build()
        found = np.array(call())  # compiles, allocates
        expected = found if expected is None else expected
        if not np.allclose(found, expected, rtol=0, atol=MOST_APART):
            raise ValueError(f"{name}: expected the result of {next(iter(ways))}, got another")
        seconds = trial(call)
        if best is None or seconds < best[0]:
            best = seconds, Ready(call, name)
    assert best is not None
    return best[1]


def trial(call: Call) -> float:
    """Seconds of the fastest of three calls, or of as many as `MOST_SECONDS` allow."""
    times: list[float] = []
    while len(times) < 3 and sum(times) < MOST_SECONDS:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def laid_out(x: Array, layout: str) -> Array:
    """``(N, T, K)``, or ids ``(N, T)``, as a fresh array with its axes in another order."""
    order = [STEPS_SECOND.index(axis) for axis in layout[: x.ndim]]
    return np.array(x.transpose(order), order="C")


def time_first(x: Array) -> Array:
    """``(N, T, ...)`` as a fresh array ``(T, N, ...)``."""
    return laid_out(x, STEPS_FIRST)


def batch_first(y: Array) -> Array:
    """``(T, N, K)`` as a view ``(N, T, K)``; one result a sequence, ``(N, K)``, as it is."""
    return y.swapaxes(0, 1) if y.ndim == 3 else y


def slice_size(N: int, most: int = 1024, least: int = 2048) -> int | None:
    """How many sequences each slice of a large batch gets, so that it stays in cache.

    All slices are equal. None for a batch of fewer than `least` sequences.
    """
    if least > N:
        return None
    return next(size for size in range(most, 0, -1) if N % size == 0)


def slice_sizes(N: int, threads: int) -> list[int]:
    """The sizes to try where as many slices run at once as there are threads, on one each."""
    if threads == 1:
        return []
    sizes = [N // threads if N % threads == 0 else None, slice_size(N)]
    return list(dict.fromkeys(size for size in sizes if size))
