"""One layer over a few time steps, for all lanes of a tile.

Everything is in the lane layout, in the tile's scratch memory: `x` is a block (steps * inputs,
lanes); `h` is a row of slots, each (hidden units, lanes), slot s the hidden state before step s;
`c` is one such slot. Weights come as a panel in just the order in which they are read here
(`packing.pack_layer`).

The order of summation is part of the library's contract: fused multiply-adds over blocks of
`BLOCK` terms, whose sums are added to the bias in order; inputs first, a new block at the first
hidden unit.
"""

from __future__ import annotations

from typing import Any

from fastlstm.engine.jit import function, helper
from fastlstm.engine.kernel.blocks import BLOCK
from fastlstm.engine.kernel.cells import PEEPHOLES
from fastlstm.engine.kernel.records import (
    C_AT,
    CELL_OUTPUT_AT,
    CELL_PANEL,
    H_AT,
    HIDDEN,
    INPUTS,
    KEEP,
    OUTPUTS,
    PANEL,
    PROJECTION_PANEL,
)
from fastlstm.engine.simd.arithmetic import lane_count, vector_lanes, zeros
from fastlstm.engine.simd.gates import fma_rows, gate_packs, splat_parts, splat_rows
from fastlstm.engine.simd.memory import load, prefetch, store


@helper
def add_products(
    z: Any, numbers: Any, at: int, step: int, stride: int, vectors: Any, v: int, n: int, like: Any
) -> Any:
    """Add `n` products of weights and inputs to the pre-activations `z`, in the blocked order.

    Term k adds to row r the number at `at + k * step + r * stride`, times the k-th pack of the
    shape of `like` from `v` on. Which of them is the weight depends on what the lanes hold.
    """
    size = lane_count(like)
    for first in range(0, n, BLOCK):
        s = zeros(z)
        last = min(first + BLOCK, n)
        k = first
        while k + 4 <= last:
            a, b = at + k * step, v + k * size
            s = fma_rows(numbers, a, stride, load(vectors, b, like), s)
            s = fma_rows(numbers, a + step, stride, load(vectors, b + size, like), s)
            s = fma_rows(numbers, a + 2 * step, stride, load(vectors, b + 2 * size, like), s)
            s = fma_rows(numbers, a + 3 * step, stride, load(vectors, b + 3 * size, like), s)
            k += 4
        while k < last:
            a, b = at + k * step, v + k * size
            s = fma_rows(numbers, a, stride, load(vectors, b, like), s)
            k += 1
        z = z + s
    return z


@helper
def splat_peepholes(panel: Any, cell: int, unit: int, like: Any, states: Any) -> Any:
    """Return the peepholes i f o of one or two units, each of the shape of their states."""
    p = cell + PEEPHOLES + 3 * unit
    return (
        splat_parts(panel, p, 3, like, states),
        splat_parts(panel, p + 1, 3, like, states),
        splat_parts(panel, p + 2, 3, like, states),
    )


@helper
def finish_units(
    next_state: Any, z: Any, panel: Any, cell: int, unit: int, scratch: Any, c: int, h: int,
    gates: int, at: int, stride: int, like: Any, states: Any,
) -> None:  # fmt: skip
    """Write the new state of one or two units, and their gates if `gates` >= 0."""
    gates_at = gates + at if gates >= 0 else gates
    peepholes = splat_peepholes(panel, cell, unit, like, states)
    h_new, c_new = next_state(
        z, load(scratch, c, states), peepholes, panel, cell, scratch, gates_at, stride, states
    )
    store(scratch, c, c_new)
    store(scratch, h, h_new)


@helper
def slot(s: int, keep: int) -> int:
    """Return the slot of the hidden state before step s: all are kept, or two take turns."""
    return s if keep else s & 1


@helper
def run_layer(
    next_state: Any, units: int, embedded: bool, projected: bool, panels: Any, layer: Any,
    scratch: Any, x: int, x_step: int, steps: int, gates: int, stride: int, like: Any, states: Any,
) -> None:  # fmt: skip
    """Run `steps` time steps of one layer, `units` hidden units (1 or 2, a constant) at a time.

    The inputs of step s are at `x + s * x_step`; of an `embedded` layer, whose inputs are none,
    the sums over them. `states` has the shape of the states of one unit or of both, which are
    then finished together. Where the last unit has no second, one more is computed and written
    beyond the layer's own. With `gates` >= 0 the activated gates and cell states are written
    there, `stride` numbers apart.
    """
    n_inputs, n_hidden, n_outputs = layer[INPUTS], layer[HIDDEN], layer[OUTPUTS]
    lanes, rows = lane_count(like), 4 * units
    size = n_outputs * lanes
    for s in range(steps):
        h_last = layer[H_AT] + slot(s, layer[KEEP]) * size
        h_next = layer[H_AT] + slot(s + 1, layer[KEEP]) * size
        to = layer[CELL_OUTPUT_AT] if projected else h_next
        gates_now = gates + s * n_hidden * lanes if gates >= 0 else gates
        w, cell, c = layer[PANEL], layer[CELL_PANEL], layer[C_AT]
        for u in range(0, n_hidden, units):
            z = splat_rows(panels, w, units, like)
            if embedded and n_inputs == 0:
                z = load(scratch, x + s * x_step + 4 * u * lanes, z)
            w += rows
            for part in range(2):  # one copy of the code for both: half the compile time
                at, n = (h_last, n_outputs) if part else (x + s * x_step, n_inputs)
                z = add_products(z, panels, w, rows, 1, scratch, at, n, like)
                w += rows * n
            at = u * lanes
            finish_units(
                next_state, gate_packs(z, 0, like, states), panels, cell, u, scratch, c + at,
                to + at, gates_now, at, stride, like, states,
            )  # fmt: skip
            if lane_count(states) < units * lanes:
                at += lanes
                finish_units(
                    next_state, gate_packs(z, 1, like, states), panels, cell, u + 1, scratch,
                    c + at, to + at, gates_now, at, stride, like, states,
                )  # fmt: skip
        if projected:
            run_dense(
                panels, layer[PROJECTION_PANEL], n_hidden, n_outputs, scratch, to, h_next, like
            )


@helper
def run_cell(
    next_state: Any, panel: Any, layer: Any, scratch: Any, x: int, x_step: int,
    steps: int, gates: int, stride: int, values: Any, ahead: int, like: Any,
) -> None:  # fmt: skip
    """Run `steps` time steps of a layer with one input and one hidden unit.

    The state stays in registers. Every block has one term, so that the sums are those of
    `run_layer`. A step of a tile takes some 80 nanoseconds, too few for the hardware to foresee
    the next tile's rows: `values[ahead:]` is prefetched, a step's worth in every step (25 %
    faster than none; in one burst it is slower than none).
    """
    lanes, p, cell = lane_count(like), layer[PANEL], layer[CELL_PANEL]
    h, c, keep = layer[H_AT], layer[C_AT], layer[KEEP]
    h_now, c_now = load(scratch, h, like), load(scratch, c, like)
    bias = splat_rows(panel, p, 1, like)
    nothing, peepholes = zeros(bias), splat_peepholes(panel, cell, 0, like, like)
    for s in range(steps):
        for line in range(0, lanes, vector_lanes(like)):
            prefetch(values, ahead + s * lanes + line)
        x_now = load(scratch, x + s * x_step, like)
        z = bias + fma_rows(panel, p + 4, 1, x_now, nothing)
        z = z + fma_rows(panel, p + 8, 1, h_now, nothing)
        gates_now = gates + s * lanes if gates >= 0 else gates
        h_now, c_now = next_state(
            gate_packs(z, 0, like, like), c_now, peepholes, panel, cell, scratch,
            gates_now, stride, like,
        )  # fmt: skip
        if keep:
            store(scratch, h + (s + 1) * lanes, h_now)
    store(scratch, h + slot(steps, keep) * lanes, h_now)
    store(scratch, c, c_now)


@function
def run_dense(
    panel: Any, p: int, n_inputs: int, n_outputs: int, scratch: Any, x: int, y: int, like: Any
) -> None:
    """Write `bias + weight @ x` of the lanes at `x` to `y`, in the blocked order.

    Four outputs are computed at a time, the last ones beyond `n_outputs` too.
    """
    lanes = lane_count(like)
    for output in range(0, n_outputs, 4):
        z = splat_rows(panel, p, 1, like)
        z = add_products(z, panel, p + 4, 4, 1, scratch, x, n_inputs, like)
        store(scratch, y + output * lanes, z)
        p += 4 + 4 * n_inputs
