"""The ceilings of any engine: the most fused multiply-adds, and the most bytes from memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from fastlstm.engine import cpu
from fastlstm.engine.simd.arithmetic import empty_pack, fma
from fastlstm.engine.simd.memory import load, load_splat, store

# Independent chains. With the factor they fit the 16 registers of AVX2, and hide four cycles of
# latency on two ports (8 chains reach 4 % less).
CHAINS = 12


def build_peak(dtype: str, threads: int, flops: float) -> Callable[[], None]:
    """Return a function that does so many operations as fast as `threads` threads can."""
    lanes, chains = cpu.lanes(dtype), CHAINS

    @numba.njit(nogil=True, error_model="numpy")
    def multiply_add(numbers, rounds):
        like = empty_pack(numbers, lanes, chains)
        half, value = load_splat(numbers, 0, like), load(numbers, 1, like)
        for _ in range(rounds):
            value = fma(value, half, half)  # stays at 1
        store(numbers, 1, value)

    parts = [np.full(1 + lanes * chains, 0.5, dtype) for _ in range(threads)]
    rounds = round(flops / (2 * lanes * chains * threads))
    multiply_add(parts[0], 1)
    pool = ThreadPoolExecutor(threads)

    def run() -> None:
        for _ in pool.map(lambda numbers: multiply_add(numbers, rounds), parts):
            pass

    return run


def build_read(threads: int, size: int) -> Callable[[], None]:
    """Return a function that reads so many bytes of memory once, as fast as `threads` can."""

    @numba.njit(nogil=True, fastmath=True)  # so that the sum becomes several of vectors
    def total(numbers):
        answer = np.int64(0)
        for number in numbers:
            answer += number
        return answer

    parts = np.split(np.ones(size // 8 // threads * threads, np.int64), threads)
    total(parts[0][:1])
    pool = ThreadPoolExecutor(threads)

    def run() -> None:
        for _ in pool.map(total, parts):
            pass

    return run
