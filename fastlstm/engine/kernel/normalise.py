"""What is computed of all the numbers of a row together: layer norm, and softmax of two kinds.

    layer norm     mean = (sum of x) / K,  variance = (sum of (x - mean)^2) / K
                   y = fma((x - mean) / sqrt(variance + epsilon), scale, shift)
    RMS norm       the same with a mean of zero
    softmax        y = exp(x - most) / (sum of exp(x - most))
    log softmax    y = (x - most) - log(sum of exp(x - most))

The sums of a norm are those of `sums`: blocks of 64 terms, each added (or, if they are squares,
multiplied and added in one) to the block's sum in order; the sums of the blocks are added in order,
beginning with zero. The exponentials of a softmax are all added in order, without blocks.

Rows are in the lanes, so that each row is summed up by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastlstm.engine import cpu
from fastlstm.engine.compiling import compiled_once
from fastlstm.engine.jit import compile_entry, function, helper
from fastlstm.engine.kernel.sums import BLOCK
from fastlstm.engine.simd.activations import exp_of_minus, log
from fastlstm.engine.simd.arithmetic import (
    at_least,
    empty_pack,
    fma,
    lane_count,
    square_root,
    zeros,
)
from fastlstm.engine.simd.memory import align_stack, load, load_splat, pointer_of, store
from fastlstm.engine.simd.transpose import lanes_to_rows, rows_to_lanes

VECTORS = 4  # of rows: as many as additions wait for each other
LAYER_NORM, RMS_NORM, SOFTMAX, LOG_SOFTMAX = "layer_norm", "rms_norm", "softmax", "log_softmax"
EPSILON, COUNT, FIRST_SCALE = 0, 1, 2  # in the table of numbers; then K scales and K shifts


@function
def softmax(memory: Any, n: int, numbers: Any, like: Any) -> None:
    """Replace the numbers of every lane by exp(y) / sum(exp(y))."""
    lanes = lane_count(like)
    most = largest(memory, n, like)
    total = zeros(like)
    for k in range(n):
        e = exp_of_minus(most - load(memory, k * lanes, like))
        store(memory, k * lanes, e)
        total = total + e
    for k in range(n):
        store(memory, k * lanes, load(memory, k * lanes, like) / total)


@function
def log_softmax(memory: Any, n: int, numbers: Any, like: Any) -> None:
    """Replace the numbers of every lane by the logarithm of that."""
    lanes = lane_count(like)
    most = largest(memory, n, like)
    total = zeros(like)
    for k in range(n):
        total = total + exp_of_minus(most - load(memory, k * lanes, like))
    total = log(total)
    for k in range(n):
        store(memory, k * lanes, (load(memory, k * lanes, like) - most) - total)


@helper
def largest(memory: Any, n: int, like: Any) -> Any:
    """Return the largest number of every lane."""
    lanes = lane_count(like)
    most = load(memory, 0, like)
    for k in range(1, n):
        most = at_least(load(memory, k * lanes, like), most)
    return most


@function
def layer_norm(memory: Any, n: int, numbers: Any, like: Any) -> None:
    """Subtract the mean of every lane's numbers and normalise the rest, in memory."""
    norm_lanes(memory, 0, 0, n, numbers, 0, like)


@function
def norm_lanes(memory: Any, at: int, to: int, n: int, numbers: Any, p: int, like: Any) -> None:
    """Do that with the numbers of every lane from `at` on, into memory from `to` on.

    The table of numbers begins at `p`.
    """
    lanes, total = lane_count(like), zeros(like)
    for first in range(0, n, BLOCK):
        s = zeros(like)
        for k in range(first, min(first + BLOCK, n)):
            s = s + load(memory, at + k * lanes, like)
        total = total + s
    mean = total / load_splat(numbers, p + COUNT, like)
    for k in range(n):
        store(memory, to + k * lanes, load(memory, at + k * lanes, like) - mean)
    rms_lanes(memory, to, n, numbers, p, like)


@function
def rms_norm(memory: Any, n: int, numbers: Any, like: Any) -> None:
    """Divide every lane's numbers by the square root of the mean of their squares, in memory."""
    rms_lanes(memory, 0, n, numbers, 0, like)


@function
def rms_lanes(memory: Any, at: int, n: int, numbers: Any, p: int, like: Any) -> None:
    """Do that with the numbers of every lane from `at` on; the table of numbers begins at `p`."""
    lanes, total = lane_count(like), zeros(like)
    for first in range(0, n, BLOCK):
        s = zeros(like)
        for k in range(first, min(first + BLOCK, n)):
            x = load(memory, at + k * lanes, like)
            s = fma(x, x, s)
        total = total + s
    variance = total / load_splat(numbers, p + COUNT, like)
    size = square_root(variance + load_splat(numbers, p + EPSILON, like))
    for k in range(n):
        scale = load_splat(numbers, p + FIRST_SCALE + k, like)
        shift = load_splat(numbers, p + FIRST_SCALE + n + k, like)
        x = load(memory, at + k * lanes, like)
        store(memory, at + k * lanes, fma(x / size, scale, shift))


@function
def norm_row(
    memory: Any, at: int, to: int, n: int, numbers: Any, p: int, wide: int, vector: Any
) -> None:
    """Do the same with n numbers side by side, for which there is room for `wide`.

    So many scales and shifts are in the table, which begins at `p`. Sums are added up in order, in
    all lanes of a vector alike.
    """
    lanes, total = lane_count(vector), zeros(vector)
    for first in range(0, n, BLOCK):
        s = zeros(vector)
        for k in range(first, min(first + BLOCK, n)):
            s = s + load_splat(memory, at + k, vector)
        total = total + s
    mean = total / load_splat(numbers, p + COUNT, vector)
    for k in range(0, n, lanes):
        store(memory, to + k, load(memory, at + k, vector) - mean)
    total = zeros(vector)
    for first in range(0, n, BLOCK):
        s = zeros(vector)
        for k in range(first, min(first + BLOCK, n)):
            x = load_splat(memory, to + k, vector)
            s = fma(x, x, s)
        total = total + s
    variance = total / load_splat(numbers, p + COUNT, vector)
    size = square_root(variance + load_splat(numbers, p + EPSILON, vector))
    for k in range(0, n, lanes):
        scale = load(numbers, p + FIRST_SCALE + k, vector)
        shift = load(numbers, p + FIRST_SCALE + wide + k, vector)
        store(memory, to + k, fma(load(memory, to + k, vector) / size, scale, shift))


FUNCTIONS = {
    LAYER_NORM: layer_norm,
    RMS_NORM: rms_norm,
    SOFTMAX: softmax,
    LOG_SOFTMAX: log_softmax,
}


def make_normalise_kernel(lanes: int, what: str) -> Callable[..., None]:
    """Return the kernel's Python function."""
    normalise = FUNCTIONS[what]

    def run_rows(n_rows, n, table, values, out, memory, tables):
        x, y, scratch = pointer_of(values), pointer_of(out), pointer_of(memory)
        like, numbers = empty_pack(scratch, lanes, VECTORS), pointer_of(table)
        align_stack(like)
        size = lane_count(like)
        start, target = pointer_of(tables), pointer_of(tables[size:])
        for first in range(0, n_rows, size):
            for lane in range(size):
                row = min(first + lane, n_rows - 1) * n
                start[lane] = row
                target[lane] = row if first + lane < n_rows else -1
            rows_to_lanes(x, start, 0, n, scratch, 0, like)
            normalise(scratch, n, numbers, like)
            lanes_to_rows(scratch, 0, n, y, target, 0, like)

    return run_rows


@compiled_once
def normalise_kernel(dtype: str, what: str) -> Any:
    """Return the compiled kernel for what is computed of whole rows."""
    from numba import from_dtype, types

    number = types.Array(from_dtype(np.dtype(dtype)), 1, "C")
    integers = types.Array(types.int64, 1, "C")
    lanes = cpu.lanes(dtype)
    signature = (types.int64,) * 2 + (number,) * 4 + (integers,)
    run_rows = make_normalise_kernel(lanes, what)
    return compile_entry(run_rows, f"{dtype}_{lanes}x{VECTORS}_{what}", signature)
