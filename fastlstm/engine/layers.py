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

from fastlstm.engine.activations import sigmoid, sigmoid_denominator, tanh_fraction
from fastlstm.engine.arithmetic import any_below, fma, lane_count, vector_lanes, zeros
from fastlstm.engine.blocks import BLOCK
from fastlstm.engine.constants import constant
from fastlstm.engine.jit import helper
from fastlstm.engine.memory import load, load_splat, prefetch, store
from fastlstm.engine.rows import fma_rows, gate_packs, join, splat_rows, take_row


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
def next_state(z: Any, c: Any, scratch: Any, gates: int, stride: int, like: Any) -> Any:
    """Return h and c from the pre-activations i f g o and the last cell state.

    With `gates` >= 0 the activated gates i f g o and the cell state are written there, `stride`
    numbers apart. The three sigmoids go together: their interleaved chains hide each other's
    latency (25 % of the whole at one hidden unit).
    """
    i, f, g, o = z
    one = constant("1", like)
    d = sigmoid_denominator(join(i, f, o))
    d_i, d_f, d_o = take_row(d, 0, like), take_row(d, 1, like), take_row(d, 2, like)
    n_g, d_g = tanh_fraction(g)
    f_gate = one / d_f
    c = fma(f_gate, c, n_g / (d_i * d_g))
    n_c, d_c = tanh_fraction(c)
    if gates >= 0:
        i_gate, o_gate = one / d_i, one / d_o
        if any_below(join(i, f, o), constant("-limit", join(i, f, o))):
            i_gate, f_gate, o_gate = sigmoid(i), sigmoid(f), sigmoid(o)
        store(scratch, gates, i_gate)
        store(scratch, gates + stride, f_gate)
        store(scratch, gates + 2 * stride, n_g / d_g)
        store(scratch, gates + 3 * stride, o_gate)
        store(scratch, gates + 4 * stride, c)
    return n_c / (d_o * d_c), c


@helper
def finish_units(
    z: Any, scratch: Any, c: int, h: int, gates: int, at: int, stride: int, like: Any
) -> None:
    """Write the new state of one or two units, and their gates if `gates` >= 0."""
    gates_at = gates + at if gates >= 0 else gates
    h_new, c_new = next_state(z, load(scratch, c, like), scratch, gates_at, stride, like)
    store(scratch, c, c_new)
    store(scratch, h, h_new)


@helper
def slot(s: int, keep: int) -> int:
    """Return the slot of the hidden state before step s: all are kept, or two take turns."""
    return s if keep else s & 1


@helper
def run_layer(
    units: int, panel: Any, p: int, n_inputs: int, n_hidden: int,
    scratch: Any, x: int, h: int, keep: int, c: int,
    steps: int, gates: int, stride: int, like: Any, states: Any,
) -> None:  # fmt: skip
    """Run `steps` time steps of one layer, `units` hidden units (1 or 2, a constant) at a time.

    `states` has the shape of the states of one unit or of both, which are then finished together.
    Where the last unit has no second, one more is computed and written beyond the layer's own.
    With `gates` >= 0 the activated gates and cell states are written there, `stride` numbers
    apart.
    """
    lanes, rows = lane_count(like), 4 * units
    size = n_hidden * lanes
    for s in range(steps):
        h_last, h_next = h + slot(s, keep) * size, h + slot(s + 1, keep) * size
        gates_now = gates + s * size if gates >= 0 else gates
        w = p
        for u in range(0, n_hidden, units):
            z = splat_rows(panel, w, units, like)
            w += rows
            for part in range(2):  # one copy of the code for both: half the compile time
                at, n = (h_last, n_hidden) if part else (x + s * n_inputs * lanes, n_inputs)
                z = add_products(z, panel, w, rows, 1, scratch, at, n, like)
                w += rows * n
            at = u * lanes
            z_first = gate_packs(z, 0, like, states)
            finish_units(z_first, scratch, c + at, h_next + at, gates_now, at, stride, states)
            if lane_count(states) < units * lanes:
                z_second = gate_packs(z, 1, like, states)
                at += lanes
                finish_units(z_second, scratch, c + at, h_next + at, gates_now, at, stride, states)


@helper
def run_cell(
    panel: Any, p: int, scratch: Any, x: int, h: int, keep: int, c: int,
    steps: int, gates: int, stride: int, values: Any, ahead: int, like: Any,
) -> None:  # fmt: skip
    """Run `steps` time steps of a layer with one input and one hidden unit.

    The state stays in registers. Every block has one term, so that the sums are those of
    `run_layer`. A step of a tile takes some 80 nanoseconds, too few for the hardware to foresee
    the next tile's rows: `values[ahead:]` is prefetched, a step's worth in every step (25 %
    faster than none; in one burst it is slower than none).
    """
    lanes = lane_count(like)
    h_now, c_now = load(scratch, h, like), load(scratch, c, like)
    bias = splat_rows(panel, p, 1, like)
    nothing = zeros(bias)
    for s in range(steps):
        for line in range(0, lanes, vector_lanes(like)):
            prefetch(values, ahead + s * lanes + line)
        x_now = load(scratch, x + s * lanes, like)
        z = bias + fma_rows(panel, p + 4, 1, x_now, nothing)
        z = z + fma_rows(panel, p + 8, 1, h_now, nothing)
        gates_now = gates + s * lanes if gates >= 0 else gates
        h_now, c_now = next_state(
            gate_packs(z, 0, like, like), c_now, scratch, gates_now, stride, like
        )
        if keep:
            store(scratch, h + (s + 1) * lanes, h_now)
    store(scratch, h + slot(steps, keep) * lanes, h_now)
    store(scratch, c, c_now)


@helper
def run_dense(
    panel: Any, p: int, n_inputs: int, n_outputs: int, scratch: Any, x: int, y: int, like: Any
) -> None:
    """Write `bias + weight @ x` of the lanes at `x` to `y`, in the blocked order."""
    lanes = lane_count(like)
    for output in range(n_outputs):
        total = load_splat(panel, p, like)
        p += 1
        for first in range(0, n_inputs, BLOCK):
            s = zeros(like)
            for k in range(first, min(first + BLOCK, n_inputs)):
                s = fma(load_splat(panel, p, like), load(scratch, x + k * lanes, like), s)
                p += 1
            total = total + s
        store(scratch, y + output * lanes, total)
