"""Dense layers over contiguous rows of numbers: y = activation(W x + b).

A single linear head is part of the kernel that walks tiles. This kernel is for all other heads, for
dense layers at every step, and for the sums over the inputs that an embedding looks up. The order
of summation is that of `sums`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastlstm.engine import cpu
from fastlstm.engine.compiling import compiled_once
from fastlstm.engine.jit import compile_kernel, function, helper
from fastlstm.engine.kernel.sums import add_products
from fastlstm.engine.simd.activations import FUNCTIONS, exp_of_minus
from fastlstm.engine.simd.arithmetic import at_least, empty_pack, lane_count, zeros
from fastlstm.engine.simd.gates import splat_gates
from fastlstm.engine.simd.memory import align_stack, load, load_splat, pointer_of, store
from fastlstm.engine.simd.transpose import lanes_to_rows, rows_to_lanes
from fastlstm.network.dense import SOFTMAX

VECTORS = 2  # of rows: with four outputs at a time, eight sums are in flight
FIRST_PANEL = 2  # after alpha and beta


@function
def softmax(scratch: Any, y: int, n_outputs: int, like: Any) -> None:
    """Replace the outputs of every lane by exp(y) / sum(exp(y)), in the order of the outputs."""
    lanes = lane_count(like)
    most = load(scratch, y, like)
    for k in range(1, n_outputs):
        most = at_least(load(scratch, y + k * lanes, like), most)
    total = zeros(like)
    for k in range(n_outputs):
        e = exp_of_minus(most - load(scratch, y + k * lanes, like))
        store(scratch, y + k * lanes, e)
        total = total + e
    for k in range(n_outputs):
        store(scratch, y + k * lanes, load(scratch, y + k * lanes, like) / total)


@helper
def linear(z: Any, alpha: Any, beta: Any) -> Any:
    return z


def make_dense_kernel(vector_lanes: int, activation: str) -> Callable[..., None]:
    """Return the kernel's Python function for one activation."""
    activate = linear if activation == SOFTMAX else FUNCTIONS[activation]
    normalise = activation == SOFTMAX

    def run_rows(n_rows, n_inputs, n_outputs, panels, inputs, outputs, memory, tables):
        panel, values, out = pointer_of(panels), pointer_of(inputs), pointer_of(outputs)
        scratch = pointer_of(memory)
        like = empty_pack(scratch, vector_lanes, VECTORS)
        align_stack(like)
        lanes = lane_count(like)
        start, target = pointer_of(tables), pointer_of(tables[lanes:])
        y = (n_inputs + lanes) * lanes
        for first in range(0, n_rows, lanes):
            for lane in range(lanes):
                row = min(first + lane, n_rows - 1)
                start[lane] = row * n_inputs
                target[lane] = row * n_outputs if first + lane < n_rows else -1
            rows_to_lanes(values, start, 0, n_inputs, scratch, 0, like)
            p = FIRST_PANEL
            for output in range(0, n_outputs, 4):
                z = splat_gates(panel, p, 1, like)
                z = add_products(z, panel, p + 4, 4, 1, scratch, 0, n_inputs, like)
                z = activate(z, load_splat(panel, 0, z), load_splat(panel, 1, z))
                store(scratch, y + output * lanes, z)
                p += 4 + 4 * n_inputs
            if normalise:
                softmax(scratch, y, n_outputs, like)
            lanes_to_rows(scratch, y, n_outputs, out, target, 0, like)

    return run_rows


@compiled_once
def dense_kernel(dtype: str, activation: str) -> Any:
    """Return the compiled kernel for dense layers of a dtype and an activation."""
    from numba import from_dtype, types

    number = types.Array(from_dtype(np.dtype(dtype)), 1, "C")
    integers = types.Array(types.int64, 1, "C")
    lanes = cpu.lanes(dtype)
    signature = (types.int64,) * 3 + (number,) * 4 + (integers,)
    run_rows = make_dense_kernel(lanes, activation)
    return compile_kernel(run_rows, f"{dtype}_{lanes}x{VECTORS}_{activation}", signature)
