"""What is computed over the steps of a sequence, for each of its K numbers apart.

    sum, mean    x_0 + x_1 + ... in the order of steps, one addition after the other, beginning
                 with x_0 as it is; for the mean, divided by the number of steps
    max          the largest; NaN if any number is NaN
    softmax      y_t = exp(x_t - most) / (sum of exp(x_t - most)), added in the order of steps

With a weight for each step, the rounded products take the place of the numbers. Only the real steps
of a sequence count. Without any, the sum is 0, and mean and maximum are NaN; past the last step a
softmax is 0.

There are two layouts with the same bits: with many numbers at a step they are in the lanes, with
few numbers the sequences are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastlstm.engine import cpu
from fastlstm.engine.compiling import compiled_once
from fastlstm.engine.jit import compile_entry, helper
from fastlstm.engine.simd.activations import exp_of_minus
from fastlstm.engine.simd.arithmetic import (
    at_least,
    empty_pack,
    lane_count,
    one_vector,
    where_at_most,
    zeros,
)
from fastlstm.engine.simd.constants import constant
from fastlstm.engine.simd.memory import (
    align_stack,
    load,
    load_first,
    load_splat,
    pointer_of,
    store,
    store_first,
)
from fastlstm.engine.simd.transpose import lanes_to_rows, rows_to_lanes

MAX, MEAN, SUM, SOFTMAX = "max", "mean", "sum", "softmax"
VECTORS = 4  # of numbers, or of sequences: additions wait for each other four cycles


@helper
def add(total: Any, x: Any) -> Any:
    return total + x


@helper
def larger(total: Any, x: Any) -> Any:
    """Return the larger of two numbers, or the one that is NaN."""
    return where_at_most(x, x, at_least(total, x), x)


@helper
def load_all(array: Any, at: int, some: int, like: Any) -> Any:
    """Load a whole pack, as `load_first` loads some of a vector."""
    return load(array, at, like)


@helper
def store_all(array: Any, at: int, some: int, value: Any) -> None:
    """Store a whole pack, as `store_first` stores some of a vector."""
    store(array, at, value)


# --- numbers in the lanes -----------------------------------------------------------------------


def make_reduce_numbers(lanes: int, how: str, weighted: bool) -> Callable[..., None]:
    """Return the kernel's Python function, with the numbers of a step in the lanes."""
    join, mean = larger if how == MAX else add, how == MEAN
    nothing = 0.0 if how == SUM else np.nan

    @helper
    def reduce(
        read: Any, write: Any, some: int, x: Any, at: int, step: int, w: Any, first: int, n: int,
        count: Any, y: Any, to: int, like: Any,
    ) -> None:  # fmt: skip
        total = read(x, at, some, like)
        if weighted:
            total = total * load_splat(w, first, like)
        for t in range(1, n):
            now = read(x, at + t * step, some, like)
            if weighted:
                now = now * load_splat(w, first + t, like)
            total = join(total, now)
        if mean:
            total = total / load_splat(count, 0, like)
        write(y, to, some, total)

    def run_steps(n_rows, n_steps, size, lengths, values, weights, out, memory, tables):
        x, w = pointer_of(values), pointer_of(weights)
        y, count = pointer_of(out), pointer_of(memory)
        like = empty_pack(x, lanes, VECTORS)
        align_stack(like)
        whole, vector = lane_count(like), one_vector(like)
        for row in range(n_rows):
            n, k = lengths[row], 0
            at, first, to = row * n_steps * size, row * n_steps, row * size
            if n == 0:
                for k in range(size):
                    y[to + k] = nothing
                continue
            count[0] = n
            while k + whole <= size:
                reduce(
                    load_all, store_all, whole, x, at + k, size, w, first, n, count, y, to + k, like
                )
                k += whole
            while k < size:
                some = min(lanes, size - k)
                reduce(
                    load_first, store_first, some, x, at + k, size, w, first, n, count, y, to + k,
                    vector,
                )  # fmt: skip
                k += some

    return run_steps


def make_softmax_numbers(lanes: int) -> Callable[..., None]:
    """Return the kernel's Python function of a softmax, with the numbers of a step in the lanes."""

    @helper
    def softmax(
        read: Any, write: Any, some: int, x: Any, y: Any, at: int, step: int, n: int, like: Any
    ) -> None:
        most, total = read(x, at, some, like), zeros(like)
        for t in range(1, n):
            most = at_least(read(x, at + t * step, some, like), most)
        for t in range(n):
            e = exp_of_minus(most - read(x, at + t * step, some, like))
            write(y, at + t * step, some, e)
            total = total + e
        for t in range(n):
            write(y, at + t * step, some, read(y, at + t * step, some, like) / total)

    def run_steps(n_rows, n_steps, size, lengths, values, weights, out, memory, tables):
        x, y = pointer_of(values), pointer_of(out)
        like = empty_pack(x, lanes, VECTORS)
        align_stack(like)
        whole, vector = lane_count(like), one_vector(like)
        for row in range(n_rows):
            n, k, at = lengths[row], 0, row * n_steps * size
            while k + whole <= size and n:
                softmax(load_all, store_all, whole, x, y, at + k, size, n, like)
                k += whole
            while k < size and n:
                some = min(lanes, size - k)
                softmax(load_first, store_first, some, x, y, at + k, size, n, vector)
                k += some
            for i in range(n * size, n_steps * size):
                y[at + i] = 0

    return run_steps


# --- sequences in the lanes ---------------------------------------------------------------------


@helper
def seat(
    first: int, n_rows: int, steps: int, lengths: Any, start: Any, counts: Any, like: Any
) -> int:
    """Fill the tables of where each lane's sequence begins, in steps, and of how long it is.

    Lanes beyond the last sequence repeat it. Returns the longest length.
    """
    longest = 0
    for lane in range(lane_count(like)):
        row = min(first + lane, n_rows - 1)
        start[lane] = row * steps
        counts[lane] = lengths[row]
        longest = max(longest, lengths[row])
    return longest


@helper
def aim(first: int, n_rows: int, start: Any, target: Any, size: int, pitch: int, like: Any) -> None:
    """Fill `target` with where each lane's numbers are, and where to write those of its own."""
    for lane in range(lane_count(like)):
        target[lane] = start[lane] * size
        start[lane] = (first + lane) * pitch if first + lane < n_rows else -1


def make_reduce_sequences(lanes: int, how: str, weighted: bool) -> Callable[..., None]:
    """Return the kernel's Python function, with sequences in the lanes."""
    join, mean, add_nothing = larger if how == MAX else add, how == MEAN, how == SUM

    def run_steps(n_rows, n_steps, size, lengths, values, weights, out, memory, tables):
        x, w = pointer_of(values), pointer_of(weights)
        y, scratch = pointer_of(out), pointer_of(memory)
        like = empty_pack(x, lanes, VECTORS)
        align_stack(like)
        places = lane_count(like)
        start, target = pointer_of(tables), pointer_of(tables[places:])
        w_at = (n_steps * size + places) * places
        y_at = w_at + (n_steps + places) * places
        counts = pointer_of(memory[y_at + (size + places) * places :])
        one = constant("1", like)
        none = zeros(like) if add_nothing else zeros(like) / zeros(like)
        for first in range(0, n_rows, places):
            longest = seat(first, n_rows, n_steps, lengths, start, counts, like)
            count = load(counts, 0, like)
            if weighted:
                rows_to_lanes(w, start, 0, longest, scratch, w_at, like)
            aim(first, n_rows, start, target, size, size, like)
            rows_to_lanes(x, target, 0, longest * size, scratch, 0, like)
            for k in range(size):
                total, number = none, zeros(like)  # the number of the step, from 1 on
                for t in range(longest):
                    now = load(scratch, (t * size + k) * places, like)
                    if weighted:
                        now = now * load(scratch, w_at + t * places, like)
                    number = number + one
                    joined = now if t == 0 else join(total, now)
                    total = where_at_most(number, count, joined, total)
                if mean:
                    total = total / count
                store(scratch, y_at + k * places, total)
            lanes_to_rows(scratch, y_at, size, y, start, 0, like)

    return run_steps


def make_softmax_sequences(lanes: int) -> Callable[..., None]:
    """Return the kernel's Python function of a softmax, with sequences in the lanes."""

    def run_steps(n_rows, n_steps, size, lengths, values, weights, out, memory, tables):
        x, y, scratch = pointer_of(values), pointer_of(out), pointer_of(memory)
        like = empty_pack(x, lanes, VECTORS)
        align_stack(like)
        places = lane_count(like)
        start, target = pointer_of(tables), pointer_of(tables[places:])
        counts = pointer_of(memory[(n_steps * size + places) * places :])
        one, step = constant("1", like), size * places
        for first in range(0, n_rows, places):
            longest = seat(first, n_rows, n_steps, lengths, start, counts, like)
            count = load(counts, 0, like)
            aim(first, n_rows, start, target, size, n_steps * size, like)
            rows_to_lanes(x, target, 0, longest * size, scratch, 0, like)
            for k in range(size):
                at = k * places
                most, number = load(scratch, at, like), one
                for t in range(1, longest):
                    number = number + one
                    now = at_least(load(scratch, at + t * step, like), most)
                    most = where_at_most(number, count, now, most)
                total, number = zeros(like), zeros(like)
                for t in range(longest):
                    number = number + one
                    e = exp_of_minus(most - load(scratch, at + t * step, like))
                    e = where_at_most(number, count, e, zeros(like))
                    store(scratch, at + t * step, e)
                    total = total + e
                number = zeros(like)
                for t in range(longest):
                    number = number + one
                    share = load(scratch, at + t * step, like) / total
                    store(scratch, at + t * step, where_at_most(number, count, share, zeros(like)))
                for t in range(longest, n_steps):
                    store(scratch, at + t * step, zeros(like))
            lanes_to_rows(scratch, 0, n_steps * size, y, start, 0, like)

    return run_steps


@compiled_once
def steps_kernel(dtype: str, what: str, weighted: bool, sequences_in_lanes: bool) -> Any:
    """Return the compiled kernel for what is computed over steps."""
    from numba import from_dtype, types

    lanes = cpu.lanes(dtype)
    if what == SOFTMAX:
        make = make_softmax_sequences if sequences_in_lanes else make_softmax_numbers
        run_steps = make(lanes)
    elif sequences_in_lanes:
        run_steps = make_reduce_sequences(lanes, what, weighted)
    else:
        run_steps = make_reduce_numbers(lanes, what, weighted)
    number = types.Array(from_dtype(np.dtype(dtype)), 1, "C")
    integers = types.Array(types.int64, 1, "C")
    signature = (types.int64,) * 3 + (integers,) + (number,) * 4 + (integers,)
    variant = "_".join(
        [
            *(dtype, str(lanes), what),
            *(["weighted"] if weighted else []),
            "sequences" if sequences_in_lanes else "numbers",
        ]
    )
    return compile_entry(run_steps, variant, signature)
