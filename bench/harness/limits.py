"""What bounds any engine: arithmetic, reading and writing memory, reading a file."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness.engine import Engine, Ready
from bench.harness.internals import build_multiply_adds
from bench.harness.workload import Workload

Array = npt.NDArray[Any]

PEAK, READ, FILL, READ_FILE = "peak", "read", "fill", "read file"
LIMITS = (PEAK, READ, FILL, READ_FILE)

PEAK_FLOPS = 4e10  # a tenth of a second on two cores with AVX-512
READ_BYTES = 2**31  # far more than a cache holds
BUFFER = 2**20  # bytes of a file that are read at a time

# Independent chains of multiply-adds. Twelve and the factor fit into the 16 registers of AVX2, and
# hide four cycles of latency on two ports (8 chains reach 4 % less).
CHAINS = 12


def build_peak(workload: Workload, x: Array, threads: int) -> Ready:
    return Ready(multiply_adds(workload.dtype, threads, PEAK_FLOPS))


def build_read(workload: Workload, x: Array, threads: int) -> Ready:
    return Ready(reading(threads, READ_BYTES))


def build_fill(workload: Workload, x: Array, threads: int) -> Ready:
    """Only write as many numbers as a trace holds, to fresh memory, with NumPy."""

    def fill() -> None:
        np.empty((6, len(x), workload.T, workload.H), workload.dtype).fill(1)

    return Ready(fill)


def build_read_file(workload: Any, path: Path, threads: int) -> Ready:
    """Only read the file of a `FileWorkload`, into the same memory again and again."""
    source, buffer = workload.source(path), bytearray(BUFFER)

    def call() -> None:
        with open(source, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass

    return Ready(call, f"readinto() of {BUFFER // 2**20} MiB")


def multiply_adds(dtype: str, threads: int, flops: float) -> Callable[[], None]:
    """A function that does this many operations, as fast as the threads can."""
    multiply_add, size = build_multiply_adds(dtype, CHAINS)
    numbers = [np.full(1 + size, 0.5, dtype) for _ in range(threads)]
    rounds = round(flops / (2 * size * threads))
    multiply_add(numbers[0], 1)
    pool = ThreadPoolExecutor(threads)

    def run() -> None:
        for _ in pool.map(lambda own: multiply_add(own, rounds), numbers):
            pass

    return run


def reading(threads: int, size: int) -> Callable[[], None]:
    """A function that reads this many bytes of memory once, as fast as the threads can."""
    import numba

    @numba.njit(nogil=True, fastmath=True)  # the sum may become several, in vectors
    def total(numbers):
        answer = np.int64(0)
        for number in numbers:
            answer += number
        return answer

    stretches = np.split(np.ones(size // 8 // threads * threads, np.int64), threads)
    total(stretches[0][:1])
    pool = ThreadPoolExecutor(threads)

    def run() -> None:
        for _ in pool.map(total, stretches):
            pass

    return run


ENGINES = (
    Engine(PEAK, build_peak, flops=PEAK_FLOPS, steady=True),
    Engine(READ, build_read),
    Engine(FILL, build_fill),
    Engine(READ_FILE, build_read_file, from_file=True),
)
