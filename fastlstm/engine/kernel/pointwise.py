"""What is computed of every number by itself: affine maps, activations and PReLU.

    y = activation(fma(x - center, scale, shift))      or      y = x if x >= 0 else slope * x

Nothing is summed, so there is no order. Numbers are read as they lie, whole vectors at a time. What
differs from feature to feature comes repeated until a period is a whole number of vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastlstm.engine import cpu
from fastlstm.engine.compiling import compiled_once
from fastlstm.engine.jit import compile_entry, helper
from fastlstm.engine.simd.activations import FUNCTIONS
from fastlstm.engine.simd.arithmetic import (
    empty_pack,
    fma,
    lane_count,
    one_vector,
    where_at_most,
    zeros,
)
from fastlstm.engine.simd.memory import (
    align_stack,
    load,
    load_first,
    load_splat,
    pointer_of,
    store,
    store_first,
)

VECTORS = 2  # at a time: their chains hide each other's latency
AFFINE, PRELU, PLAIN = "affine", "prelu", "plain"  # what is done before the activation


@helper
def activate_all(activate: Any, y: Any, at: int, n: int, numbers: Any, like: Any) -> None:
    """Apply an activation to `y[at : at + n]`; its alpha and beta are the first of `numbers`."""
    size, vector = lane_count(like), one_vector(like)
    alpha, beta = load_splat(numbers, 0, like), load_splat(numbers, 1, like)
    end = at + n
    while at + size <= end:
        store(y, at, activate(load(y, at, like), alpha, beta))
        at += size
    alpha_1, beta_1 = load_splat(numbers, 0, vector), load_splat(numbers, 1, vector)
    while at < end:
        some = min(lane_count(vector), end - at)
        store_first(y, at, some, activate(load_first(y, at, some, vector), alpha_1, beta_1))
        at += some


@helper
def affine(x: Any, features: Any, at: int, period: int) -> Any:
    """Return fma(x - center, scale, shift)."""
    scale = load(features, period + at, x)
    return fma(x - load(features, at, x), scale, load(features, 2 * period + at, x))


@helper
def prelu(x: Any, features: Any, at: int, period: int) -> Any:
    """Return x, or slope * x where x is negative."""
    return where_at_most(x, zeros(x), load(features, at, x) * x, x)


@helper
def plain(x: Any, features: Any, at: int, period: int) -> Any:
    """Return x."""
    return x


def make_pointwise_kernel(lanes: int, what: str, activation: str) -> Callable[..., None]:
    """Return the kernel's Python function."""
    of_feature = {AFFINE: affine, PRELU: prelu, PLAIN: plain}[what]
    activate = FUNCTIONS[activation]

    def run_numbers(n, period, numbers, table, values, out):
        x, y, features = pointer_of(values), pointer_of(out), pointer_of(table)
        like = empty_pack(x, lanes, VECTORS)
        align_stack(like)
        size, vector = lane_count(like), one_vector(like)
        alpha, beta = load_splat(numbers, 0, like), load_splat(numbers, 1, like)
        alpha_1, beta_1 = load_splat(numbers, 0, vector), load_splat(numbers, 1, vector)
        for first in range(0, n, period):
            end = min(n - first, period)
            at = 0
            while at + size <= end:
                z = of_feature(load(x, first + at, like), features, at, period)
                store(y, first + at, activate(z, alpha, beta))
                at += size
            while at < end:
                some = min(lane_count(vector), end - at)
                z = of_feature(load_first(x, first + at, some, vector), features, at, period)
                store_first(y, first + at, some, activate(z, alpha_1, beta_1))
                at += some

    return run_numbers


@compiled_once
def pointwise_kernel(dtype: str, what: str, activation: str) -> Any:
    """Return the compiled kernel for what is computed of every number by itself."""
    from numba import from_dtype, types

    number = types.Array(from_dtype(np.dtype(dtype)), 1, "C")
    lanes = cpu.lanes(dtype)
    signature = (types.int64,) * 2 + (number,) * 4
    run_numbers = make_pointwise_kernel(lanes, what, activation)
    return compile_entry(run_numbers, f"{dtype}_{lanes}_{what}_{activation}", signature)
