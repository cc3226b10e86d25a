"""The order of summation, which all layouts and layers share.

The library promises it: fused multiply-adds over blocks of `BLOCK` terms, whose sums are added to
the bias in order; first the inputs, then the hidden units, which begin a new block. A change here
changes the last bits of every score.
"""

from __future__ import annotations

from typing import Any

from fastlstm.engine.jit import helper
from fastlstm.engine.simd.arithmetic import lane_count, zeros
from fastlstm.engine.simd.gates import fma_gates
from fastlstm.engine.simd.memory import load

BLOCK = 64


@helper
def add_products(
    z: Any, numbers: Any, at: int, step: int, stride: int, vectors: Any, v: int, n: int, like: Any
) -> Any:
    """Add `n` products to each gate of `z`, in the order above: z += W x.

    Term k adds to gate r the number at `at + k * step + r * stride` times the k-th pack, of the
    shape of `like`, from `v` on. Which of the two is the weight depends on the layout.
    """
    size = lane_count(like)
    for first in range(0, n, BLOCK):
        s = zeros(z)
        last = min(first + BLOCK, n)
        k = first
        while k + 4 <= last:
            a, b = at + k * step, v + k * size
            s = fma_gates(numbers, a, stride, load(vectors, b, like), s)
            s = fma_gates(numbers, a + step, stride, load(vectors, b + size, like), s)
            s = fma_gates(numbers, a + 2 * step, stride, load(vectors, b + 2 * size, like), s)
            s = fma_gates(numbers, a + 3 * step, stride, load(vectors, b + 3 * size, like), s)
            k += 4
        while k < last:
            a, b = at + k * step, v + k * size
            s = fma_gates(numbers, a, stride, load(vectors, b, like), s)
            k += 1
        z = z + s
    return z
