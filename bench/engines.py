"""What is timed: every engine takes a row and gives a call from input to last hidden states.

An engine imports what it needs when it is built, in the process that it then has for itself.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.rows import Row

Array = npt.NDArray[Any]
Call = Callable[[Array], Array | None]  # x (N, T, I) to (N, H), or None: nothing to compare

# What the libraries below take their number of threads from, when they are first imported.
THREAD_VARIABLES = (
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

PEAK_FLOPS = 4e10  # a tenth of a second on two cores with AVX-512


class Engine(NamedTuple):
    """One way to do a row's work."""

    build: Callable[[Row, int], Call]  # for a row and a number of threads
    most_work: float = math.inf  # operations a call: of a longer row, only some sequences ...
    share: int = 1  # ... a multiple of so many
    flops: float | None = None  # of a call, if they are not the row's

    def sequences(self, row: Row) -> int:
        """How many of the row's sequences are timed; the times are scaled to all of them."""
        if row.N * row.work_a_sequence <= self.most_work:
            return row.N
        shares = int(self.most_work / row.work_a_sequence) // self.share
        return min(row.N, self.share * max(1, shares))


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """Let processes that are started within use so many threads."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def build_fastlstm(row: Row, threads: int) -> Call:
    model = row.model()
    return lambda x: model.predict(x, threads=threads)


def build_one_thread(row: Row, threads: int) -> Call:
    return build_fastlstm(row, 1)


def build_numpy(row: Row, threads: int) -> Call:
    from fastlstm import reference

    layers = row.model().layers
    return lambda x: reference.predict(layers, x)


def build_prange(row: Row, threads: int) -> Call:
    from bench.naive import last_hidden

    (layer,) = row.model().layers
    return lambda x: last_hidden(x, layer.w_ih, layer.w_hh, layer.bias)


def build_python(row: Row, threads: int) -> Call:
    from bench import plain

    (layer,) = row.model().layers
    if row.I == row.H == 1:
        params = plain.tutorial_params(layer)
        return lambda x: np.array(
            [[plain.scalar_last_hidden(params, series)] for series in x[:, :, 0].tolist()]
        )
    weights = layer.w_ih.tolist(), layer.w_hh.tolist(), layer.bias.tolist()
    return lambda x: np.array([plain.last_hidden(*weights, sequence) for sequence in x.tolist()])


def build_trace(row: Row, threads: int) -> Call:
    model = row.model()
    return lambda x: model.trace(x, threads=threads).hidden_state[:, -1]


def build_fill(row: Row, threads: int) -> Call:
    """Only write as many numbers as a trace holds, to fresh memory, with NumPy."""

    def fill(x: Array) -> None:
        np.empty((6, len(x), row.T, row.H), row.dtype).fill(1)

    return fill


def build_peak(row: Row, threads: int) -> Call:
    from bench import peak

    run = peak.build_peak(row.dtype, threads, PEAK_FLOPS)
    return lambda x: run()


ENGINES = {
    "fastlstm": Engine(build_fastlstm),
    "fastlstm, 1 thread": Engine(build_one_thread),
    "numpy": Engine(build_numpy),
    "prange": Engine(build_prange, most_work=4e9, share=16),
    "python": Engine(build_python, most_work=2e7),
    "trace": Engine(build_trace),
    "fill": Engine(build_fill),
    "peak": Engine(build_peak, flops=PEAK_FLOPS),
}
