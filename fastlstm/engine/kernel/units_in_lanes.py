"""One layer for few sequences: a hidden unit in each lane, instead of a sequence.

What depends on the inputs alone is computed first, for all time steps of a block at once; what
is left for each step is `w_hh` times the last hidden state. The order of summation is that of
`layers`, so the bits are too: a call may take whichever is faster.

In scratch memory, for S sequences and hidden units filled up to whole groups of vectors
(`padded`), a group being the hidden units that are summed up together:

- x: (steps * S, inputs), or the hidden states of the layer below
- z: (steps * S, vectors of units, gates i f g o, lanes), the sums over the inputs
- h: (slots, S, padded outputs), slot s the hidden state before step s
- c: (groups, S, units of a group)
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
    HIDDEN_PANEL,
    KEEP,
    OUTPUTS,
    PADDED,
    PADDED_OUTPUTS,
    PROJECTION_PANEL,
)
from fastlstm.engine.kernel.sequences_in_lanes import add_products, slot
from fastlstm.engine.simd.arithmetic import fma, lane_count, zeros
from fastlstm.engine.simd.gates import (
    gate_packs,
    load_strided_rows,
    repeat_rows,
    store_strided_rows,
)
from fastlstm.engine.simd.memory import load, load_splat, store


@helper
def run_inputs(
    panel: Any, p: int, n_inputs: int, n_vectors: int, scratch: Any, x: int, stride: int,
    n_rows: int, z: int, gates: Any, rows: Any, count: int,
) -> None:  # fmt: skip
    """Write the bias and the sums over the inputs to `z`, for `n_rows` rows of inputs.

    `count` rows are done together, the last ones beyond `n_rows` too.
    """
    size = lane_count(gates)
    for v in range(n_vectors):
        bias = repeat_rows(load(panel, p, gates), rows)
        p += size
        for r in range(0, n_rows, count):
            at = x + r * stride
            sums = add_products(bias, scratch, at, 1, stride, panel, p, n_inputs, gates)
            store_strided_rows(
                scratch, z + (r * n_vectors + v) * size, n_vectors * size, sums, gates
            )
        p += size * n_inputs


@helper
def run_steps(
    next_state: Any, projected: bool, panels: Any, layer: Any, scratch: Any, z: int,
    n_sequences: int, steps: int, gates: int, stride: int,
    units: Any, group: Any, rows: Any, like: Any, vector: Any,
) -> None:  # fmt: skip
    """Run `steps` time steps of a layer whose sums over the inputs are at `z`.

    `units` has the shape of a group's hidden units, `group` that of their gates; `like` and
    `rows` are the same for the sequences that are summed up together. The rest of the tile's
    sequences follow while the group's weights are in the L1 cache. With `gates` >= 0 the
    activated gates and cell states are written there, `stride` numbers apart, in the order of c.
    """
    n_units, size = lane_count(units), lane_count(like)
    n_outputs, padded, wide = layer[OUTPUTS], layer[PADDED], layer[PADDED_OUTPUTS]
    together = size // n_units
    for s in range(steps):
        h_last = layer[H_AT] + slot(s, layer[KEEP]) * n_sequences * wide
        h_next = layer[H_AT] + slot(s + 1, layer[KEEP]) * n_sequences * wide
        to = layer[CELL_OUTPUT_AT] if projected else h_next
        gates_now = gates + s * n_sequences * padded if gates >= 0 else gates
        w, c_now, cell = layer[HIDDEN_PANEL], layer[C_AT], layer[CELL_PANEL]
        p = cell + PEEPHOLES
        for unit in range(0, padded, n_units):
            peepholes = (
                repeat_rows(load(panels, p + unit, units), like),
                repeat_rows(load(panels, p + padded + unit, units), like),
                repeat_rows(load(panels, p + 2 * padded + unit, units), like),
            )
            for first in range(0, n_sequences, together):
                at = z + 4 * (first * padded + unit)
                sums = load_strided_rows(scratch, at, 4 * padded, group, rows)
                sums = add_products(
                    sums, scratch, h_last + first * wide, 1, wide, panels, w, n_outputs, group
                )
                h_new, c_new = next_state(
                    gate_packs(sums, 0, vector, like), load(scratch, c_now, like), peepholes,
                    panels, cell, scratch, gates_now, stride, like,
                )  # fmt: skip
                store(scratch, c_now, c_new)
                # `to` has rows as wide as c: padded hidden units, the same without a projection
                store_strided_rows(scratch, to + first * padded + unit, padded, h_new, units)
                c_now += size
                if gates_now >= 0:
                    gates_now += size
            w += lane_count(group) * n_outputs
        if projected:
            for sequence in range(n_sequences):
                run_row_dense(
                    panels, layer[PROJECTION_PANEL], layer[HIDDEN], n_outputs, scratch,
                    to + sequence * padded, h_next + sequence * wide, vector,
                )  # fmt: skip
        z += n_sequences * 4 * padded


@function
def run_row_dense(
    panel: Any, p: int, n_inputs: int, n_outputs: int, scratch: Any, x: int, y: int, vector: Any
) -> None:
    """Write `bias + weight @ x` of the row at `x` to `y`, in the blocked order.

    A vector of outputs is computed at a time, the last ones beyond `n_outputs` too.
    """
    lanes = lane_count(vector)
    for output in range(0, n_outputs, lanes):
        total = load(panel, p, vector)
        p += lanes
        for first in range(0, n_inputs, BLOCK):
            s = zeros(vector)
            for k in range(first, min(first + BLOCK, n_inputs)):
                s = fma(load_splat(scratch, x + k, vector), load(panel, p, vector), s)
                p += lanes
            total = total + s
        store(scratch, y + output, total)
