"""Weighted sums over windows of numbers: convolutions, and dense layers, whose window is a row.

    y[o] = activation(b[o] + sum over k of w[o, k] * x[k])        k = tap * inputs + input

A window has a number of *taps*, which begin equally far apart; at each, as many numbers as there
are inputs lie side by side. The order of summation is that of `sums`, over all taps: blocks of 64
terms do not begin anew at a tap. With several groups, each output reads the inputs of its own
group only.

There are two layouts with the same bits. With windows in the lanes, numbers are transposed on the
way in and out, and four outputs are summed up at a time. With outputs in the lanes, some windows
are summed up at a time, and are read and written as they lie: faster, unless there are few outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastlstm.engine import cpu
from fastlstm.engine.compiling import compiled_once
from fastlstm.engine.jit import compile_entry, helper
from fastlstm.engine.kernel.normalise import LOG_SOFTMAX, SOFTMAX, log_softmax, softmax
from fastlstm.engine.kernel.pointwise import activate_all
from fastlstm.engine.kernel.sums import BLOCK, add_products
from fastlstm.engine.simd.activations import FUNCTIONS
from fastlstm.engine.simd.arithmetic import empty_pack, lane_count, zeros
from fastlstm.engine.simd.gates import fma_rows, repeat, splat_gates
from fastlstm.engine.simd.memory import align_stack, load, pointer_of, store
from fastlstm.engine.simd.transpose import lanes_to_rows, rows_to_lanes, store_row_packs

# With windows in the lanes: vectors of them; with four outputs, eight sums are in flight.
VECTORS = 2
# With outputs in the lanes: the windows that are read while a group of weights is in the L1 cache.
CHUNK = 96
# After alpha and beta: a whole number of vectors, so that weights do not cross cache lines.
FIRST_PANEL = 16

# With windows in the lanes, these are computed there; elsewhere, of whole rows afterwards.
OVER_OUTPUTS = {SOFTMAX: softmax, LOG_SOFTMAX: log_softmax}


class Shape(NamedTuple):
    """What a kernel for windows is specialised for."""

    outputs_in_lanes: bool
    vectors: int  # in the lanes
    rows: int  # that are summed up together: outputs, or windows

    def __str__(self) -> str:
        lanes = "outputs" if self.outputs_in_lanes else "windows"
        return f"{lanes}_{self.vectors}x{self.rows}"


@helper
def add_terms(
    s: Any, values: Any, starts: Any, at: int, n: int, panel: Any, p: int, like: Any
) -> Any:
    """Add n products to the sums of every row: s[r] += values[starts[r] + at + k] * panel."""
    size = lane_count(like)
    k = 0
    while k + 4 <= n:
        s = fma_rows(values, starts, at + k, load(panel, p, like), s)
        s = fma_rows(values, starts, at + k + 1, load(panel, p + size, like), s)
        s = fma_rows(values, starts, at + k + 2, load(panel, p + 2 * size, like), s)
        s = fma_rows(values, starts, at + k + 3, load(panel, p + 3 * size, like), s)
        p += 4 * size
        k += 4
    while k < n:
        s = fma_rows(values, starts, at + k, load(panel, p, like), s)
        p += size
        k += 1
    return s


@helper
def add_windows(
    z: Any, values: Any, starts: Any, at: int, n_taps: int, tap_step: int, n_inputs: int,
    panel: Any, p: int, like: Any,
) -> Any:  # fmt: skip
    """Add the products of whole windows to `z`, in the order of `sums`."""
    s, room = zeros(z), BLOCK
    for tap in range(n_taps):
        k = 0
        while k < n_inputs:
            n = min(n_inputs - k, room)
            s = add_terms(s, values, starts, at + tap * tap_step + k, n, panel, p, like)
            k += n
            p += n * lane_count(like)
            room -= n
            if room == 0:
                z, s, room = z + s, zeros(z), BLOCK
    if room < BLOCK:
        z = z + s
    return z


def make_outputs_kernel(lanes: int, shape: Shape, activation: str) -> Callable[..., None]:
    """Return the kernel's Python function with outputs in the lanes."""
    activate, activated = FUNCTIONS[activation], activation != "linear"
    vectors, together = shape.vectors, shape.rows
    count, chunk = vectors * together, CHUNK // together * together

    def run_windows(
        n_rows, n_taps, tap_step, n_inputs, n_groups, n_outputs, panels, values, starts, out,
        memory, tables,
    ):  # fmt: skip
        panel, x, y = pointer_of(panels), pointer_of(values), pointer_of(out)
        like = empty_pack(panel, lanes, vectors)
        sums = empty_pack(panel, lanes, count)
        align_stack(like)
        size = lane_count(like)
        start, target = pointer_of(tables), pointer_of(tables[chunk:])
        panel_size = size * (1 + n_taps * n_inputs)
        pitch, width = n_taps * n_inputs * n_groups, n_groups * n_outputs
        for first in range(0, n_rows, chunk):
            n = min(chunk, n_rows - first)
            filled = (n + together - 1) // together * together
            for i in range(filled):  # beyond the last row it is computed again
                row = first + min(i, n - 1)
                start[i] = starts[row] if starts.size else row * pitch
                target[i] = row * width
            p = FIRST_PANEL
            for group in range(n_groups):
                for output in range(0, n_outputs, size):
                    bias = repeat(load(panel, p, like), sums)
                    for i in range(0, filled, together):
                        z = add_windows(
                            bias, x, pointer_of(tables[i:]), group * n_inputs, n_taps, tap_step,
                            n_inputs, panel, p + size, like,
                        )  # fmt: skip
                        at = group * n_outputs + output
                        store_row_packs(y, target, i, at, n_outputs - output, z, like)
                    p += panel_size
            if activated:
                activate_all(activate, y, first * width, n * width, panel, empty_pack(x, lanes, 2))

    return run_windows


def make_windows_kernel(lanes: int, shape: Shape, activation: str) -> Callable[..., None]:
    """Return the kernel's Python function with windows in the lanes."""
    normalised, over_outputs = activation in OVER_OUTPUTS, OVER_OUTPUTS.get(activation, softmax)
    activate = FUNCTIONS["linear" if normalised else activation]
    activated = not normalised and activation != "linear"
    vectors, units, together = shape.vectors, shape.rows // 4, shape.rows

    def run_windows(
        n_rows, n_taps, tap_step, n_inputs, n_groups, n_outputs, panels, values, starts, out,
        memory, tables,
    ):  # fmt: skip
        panel, x, y = pointer_of(panels), pointer_of(values), pointer_of(out)
        scratch = pointer_of(memory)
        like = empty_pack(scratch, lanes, vectors)
        align_stack(like)
        size, width = lane_count(like), n_groups * n_inputs
        start, target = pointer_of(tables), pointer_of(tables[size:])
        terms = n_taps * n_inputs
        pieces, piece = n_taps, width
        if tap_step == width:  # taps lie side by side
            pieces, piece = 1, n_taps * width
        of_group = 0
        if n_groups > 1:
            of_group = (n_taps * width + size) * size
        z_at = of_group + (terms + size) * size
        for first in range(0, n_rows, size):
            for lane in range(size):
                row = min(first + lane, n_rows - 1)
                start[lane] = starts[row] if starts.size else row * n_taps * width
                target[lane] = row * n_groups * n_outputs if first + lane < n_rows else -1
            for k in range(pieces):
                rows_to_lanes(x, start, k * tap_step, piece, scratch, k * piece * size, like)
            p = FIRST_PANEL
            for group in range(n_groups):
                if n_groups > 1:
                    to = of_group
                    for tap in range(n_taps):
                        at = (tap * width + group * n_inputs) * size
                        for k in range(n_inputs):
                            store(scratch, to, load(scratch, at + k * size, like))
                            to += size
                for output in range(0, n_outputs, together):
                    z = splat_gates(panel, p, units, like)
                    z = add_products(
                        z, panel, p + together, together, 1, scratch, of_group, terms, like
                    )
                    store(scratch, z_at + output * size, z)
                    p += together * (1 + terms)
                if normalised:
                    over_outputs(pointer_of(memory[z_at:]), n_outputs, panel, like)
                lanes_to_rows(scratch, z_at, n_outputs, y, target, group * n_outputs, like)
            if activated:
                n = min(size, n_rows - first) * n_groups * n_outputs
                activate_all(activate, y, first * n_groups * n_outputs, n, panel, like)

    return run_windows


@compiled_once
def windows_kernel(dtype: str, shape: Shape, activation: str) -> Any:
    """Return the compiled kernel for windows."""
    from numba import from_dtype, types

    number = types.Array(from_dtype(np.dtype(dtype)), 1, "C")
    integers = types.Array(types.int64, 1, "C")
    make = make_outputs_kernel if shape.outputs_in_lanes else make_windows_kernel
    lanes = cpu.lanes(dtype)
    signature = (types.int64,) * 6 + (number, number, integers, number, number, integers)
    run_windows = make(lanes, shape, activation)
    return compile_entry(run_windows, f"{dtype}_{lanes}_{shape}_{activation}", signature)
