"""One layer over a few time steps, for all lanes of a tile.

Everything is in the lane layout, in the tile's scratch memory: `x` is a block (steps * inputs,
lanes); `h` is a row of slots, each (hidden units, lanes), slot s the hidden state before step s;
`c` is one such slot. Weights come as a panel in just the order in which they are read here
(`packing.pack_layer`).

The order of summation is part of the library's contract: fused multiply-adds over blocks of
`BLOCK` terms, whose sums are added to the bias in order; inputs first, a new block at the first
hidden unit. Passes over the units only choose which blocks are added while they are in cache.
"""

from __future__ import annotations

from typing import Any

from fastlstm.engine.activations import sigmoid, sigmoid_denominator, tanh, tanh_fraction
from fastlstm.engine.blocks import BLOCK
from fastlstm.engine.constants import constant
from fastlstm.engine.jit import helper
from fastlstm.engine.vectors import (
    fma,
    join,
    lane_count,
    load,
    load_splat,
    prefetch,
    store,
    third,
    vector_lanes,
    zeros,
)


@helper
def add_block(z: Any, panel: Any, p: int, x: Any, at: int, n: int, like: Any) -> Any:
    """Add one block of `n` products to the four pre-activations of a unit."""
    zi, zf, zg, zo = z
    i, f, g, o = zeros(like), zeros(like), zeros(like), zeros(like)
    for k in range(n):
        v = load(x, at + k * lane_count(like), like)
        w = p + 4 * k
        i = fma(load_splat(panel, w, like), v, i)
        f = fma(load_splat(panel, w + 1, like), v, f)
        g = fma(load_splat(panel, w + 2, like), v, g)
        o = fma(load_splat(panel, w + 3, like), v, o)
    return zi + i, zf + f, zg + g, zo + o


@helper
def next_state(z: Any, c: Any, like: Any) -> Any:
    """Return h and c from the pre-activations of the gates and the last cell state.

    The three sigmoids go together: their interleaved chains hide each other's latency (25 %
    of the whole at one hidden unit).
    """
    i, f, g, o = z
    d = sigmoid_denominator(join(i, f, o))
    numerator, denominator = tanh_fraction(g)
    c = fma(constant("1", like) / third(d, 1), c, numerator / (third(d, 0) * denominator))
    numerator, denominator = tanh_fraction(c)
    return numerator / (third(d, 2) * denominator), c


@helper
def store_gates(scratch: Any, at: int, stride: int, z: Any, c: Any) -> None:
    """Write the activated gates i f g o and the cell state, `stride` numbers apart."""
    store(scratch, at, sigmoid(z[0]))
    store(scratch, at + stride, sigmoid(z[1]))
    store(scratch, at + 2 * stride, tanh(z[2]))
    store(scratch, at + 3 * stride, sigmoid(z[3]))
    store(scratch, at + 4 * stride, c)


@helper
def load_four(array: Any, at: int, stride: int, like: Any) -> Any:
    """Return four packs, `stride` numbers apart."""
    return (
        load(array, at, like),
        load(array, at + stride, like),
        load(array, at + 2 * stride, like),
        load(array, at + 3 * stride, like),
    )


@helper
def splat_four(panel: Any, p: int, like: Any) -> Any:
    """Return four packs, each filled with one of the panel's next numbers."""
    return (
        load_splat(panel, p, like),
        load_splat(panel, p + 1, like),
        load_splat(panel, p + 2, like),
        load_splat(panel, p + 3, like),
    )


@helper
def slot(s: int, keep: int) -> int:
    """Return the slot of the hidden state before step s: all are kept, or two take turns."""
    return s if keep else s & 1


@helper
def run_step(
    panel: Any, p: int, n_inputs: int, n_hidden: int, pass_blocks: int,
    scratch: Any, x: int, h_last: int, h_next: int, c: int, sums: int,
    gates: int, gate_stride: int, like: Any,
) -> None:  # fmt: skip
    """Run one time step of one layer; with `gates` >= 0 write what `trace` shows there."""
    lanes = lane_count(like)
    input_blocks = (n_inputs + BLOCK - 1) // BLOCK
    blocks = input_blocks + (n_hidden + BLOCK - 1) // BLOCK
    for first in range(0, blocks, pass_blocks):
        end = min(first + pass_blocks, blocks)
        for u in range(n_hidden):
            at = u * lanes
            if first == 0:
                z = splat_four(panel, p, like)
                p += 4
            else:
                z = load_four(scratch, sums + 4 * at, lanes, like)
            for b in range(first, end):
                if b < input_blocks:
                    k = b * BLOCK
                    n = min(BLOCK, n_inputs - k)
                    source = x + k * lanes
                else:
                    k = (b - input_blocks) * BLOCK
                    n = min(BLOCK, n_hidden - k)
                    source = h_last + k * lanes
                z = add_block(z, panel, p, scratch, source, n, like)
                p += 4 * n
            if end == blocks:
                h_new, c_new = next_state(z, load(scratch, c + at, like), like)
                store(scratch, c + at, c_new)
                store(scratch, h_next + at, h_new)
                if gates >= 0:
                    store_gates(scratch, gates + at, gate_stride, z, c_new)
            else:
                store(scratch, sums + 4 * at, z[0])
                store(scratch, sums + 4 * at + lanes, z[1])
                store(scratch, sums + 4 * at + 2 * lanes, z[2])
                store(scratch, sums + 4 * at + 3 * lanes, z[3])


@helper
def run_layer(
    panel: Any, p: int, n_inputs: int, n_hidden: int, pass_blocks: int,
    scratch: Any, x: int, h: int, keep: int, c: int, sums: int,
    steps: int, gates: int, gate_stride: int, like: Any,
) -> None:  # fmt: skip
    """Run `steps` time steps of one layer."""
    lanes = lane_count(like)
    row = n_hidden * lanes
    for s in range(steps):
        run_step(
            panel, p, n_inputs, n_hidden, pass_blocks,
            scratch, x + s * n_inputs * lanes, h + slot(s, keep) * row,
            h + slot(s + 1, keep) * row, c, sums,
            gates + s * row if gates >= 0 else gates, gate_stride, like,
        )  # fmt: skip


@helper
def run_cell(
    panel: Any, p: int, scratch: Any, x: int, h: int, keep: int, c: int,
    steps: int, gates: int, gate_stride: int, values: Any, ahead: int, like: Any,
) -> None:  # fmt: skip
    """Run `steps` time steps of a layer with one input and one hidden unit.

    The state stays in registers. Every block has one term, so that the sums are those of
    `run_step`. A step of a tile takes a third of a microsecond, too short for the hardware to
    foresee the next tile's rows: `values[ahead:]` is prefetched, a step's worth in every step
    (25 % faster than none; in one burst it is slower than none).
    """
    lanes = lane_count(like)
    h_now, c_now = load(scratch, h, like), load(scratch, c, like)
    nothing = zeros(like)
    for s in range(steps):
        for line in range(0, lanes, vector_lanes(like)):
            prefetch(values, ahead + s * lanes + line)
        v = load(scratch, x + s * lanes, like)
        b, w, u = splat_four(panel, p, like), splat_four(panel, p + 4, like), splat_four(panel, p + 8, like)
        z = (
            (b[0] + fma(w[0], v, nothing)) + fma(u[0], h_now, nothing),
            (b[1] + fma(w[1], v, nothing)) + fma(u[1], h_now, nothing),
            (b[2] + fma(w[2], v, nothing)) + fma(u[2], h_now, nothing),
            (b[3] + fma(w[3], v, nothing)) + fma(u[3], h_now, nothing),
        )
        h_now, c_now = next_state(z, c_now, like)
        if keep:
            store(scratch, h + (s + 1) * lanes, h_now)
        if gates >= 0:
            store_gates(scratch, gates + s * lanes, gate_stride, z, c_now)
    store(scratch, h + slot(steps, keep) * lanes, h_now)
    store(scratch, c, c_now)


@helper
def run_dense(
    panel: Any, p: int, n_inputs: int, n_outputs: int, scratch: Any, x: int, y: int, like: Any
) -> None:
    """Write `bias + weight @ x` of the lanes at `x` to `y`, in the blocked order."""
    lanes = lane_count(like)
    for row in range(n_outputs):
        total = load_splat(panel, p, like)
        p += 1
        for first in range(0, n_inputs, BLOCK):
            s = zeros(like)
            for k in range(first, min(first + BLOCK, n_inputs)):
                s = fma(load_splat(panel, p, like), load(scratch, x + k * lanes, like), s)
                p += 1
            total = total + s
        store(scratch, y + row * lanes, total)
