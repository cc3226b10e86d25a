"""The kernel: one thread takes tile after tile and walks each through all its time steps.

A tile is the sequences that are walked together, one in each lane. All layers of a tile run
over a few time steps before the next few, so that what passes between them stays in cache.
Tiles do not depend on each other: threads share nothing but the counter they draw from.

Sequences of unequal length share a tile too. When a lane's sequence ends, its state is put
aside; from then on the lane repeats the longest sequence of its tile, and nobody looks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastlstm.engine.jit import function
from fastlstm.engine.kernel.cells import make_cell
from fastlstm.engine.kernel.forms import Form
from fastlstm.engine.kernel.records import (
    GATE_COLUMN,
    GATE_STRIDE,
    GATES_AT,
    HIDDEN,
    INPUTS,
    OUT_COLUMN,
    OUT_STRIDE,
    REVERSED,
    TABLE_WIDTH,
    WIDTH,
    X_AT,
)
from fastlstm.engine.kernel.sequence_rows import (
    FIRST,
    aim,
    look_up,
    seat_rows,
    set_aside,
    start_state,
    to_first_slot,
    write_gates,
    write_last,
    write_state,
    write_steps,
)
from fastlstm.engine.kernel.sequences_in_lanes import run_cell, run_layer
from fastlstm.engine.simd.arithmetic import empty_pack, lane_count
from fastlstm.engine.simd.memory import align_stack, fetch_add
from fastlstm.engine.simd.transpose import rows_to_block

# The counter's array counts drawn tiles at 0, and here the kernels that have finished. Waiting
# for the last of them takes a tenth of a millisecond at most; being woken up takes longer.
FINISHED, MOST_SPINS = 8, 20_000

# A counter from here on tells the kernels to leave even the tiles that they have begun.
STOPPED = 1 << 62


@function
def finish(counter: Any, others: int) -> None:
    """Count the calling kernel as finished, and wait a moment for `others` more."""
    finished = fetch_add(counter[FINISHED:], 1)
    spins = 0
    while finished < others and spins < MOST_SPINS:
        finished = fetch_add(counter[FINISHED:], 0) - 1
        spins += 1


def make_kernel(
    vector_lanes: int, vectors: int, units: int, traced: bool, form: Form
) -> Callable[..., None]:
    """Return the kernel's Python function for one shape of tile.

    Parameters
    ----------
    vector_lanes, vectors
        A tile has `vector_lanes * vectors` lanes.
    units
        How many hidden units (1 or 2) share the loads of what they sum over.
    traced
        Write the last layer's gates i f g o and its cell states at every step to `gate_arrays`,
        beside the hidden states in `sequence`.
    form
        What the layers have in common.
    """
    # both units' states at once hide more latency, but three vectors of each do not fit
    state_vectors = vectors * units if vectors <= 2 else vectors
    next_state, scalar = make_cell(form.cell), form.scalar
    embedded, projected = form.embedded, form.projected

    def run_tiles(
        counter, others, n_tiles, n_rows, n_steps, block_steps, layers, plan, panels,
        values, ids, starts, lengths, order, out_rows, out_steps, first_step,
        start_h, start_c, end_h, end_c, last, sequence, gate_arrays, scratch, lane_table,
    ):  # fmt: skip
        like = empty_pack(scratch, vector_lanes, vectors)
        states = empty_pack(scratch, vector_lanes, state_vectors)
        align_stack(like)
        lanes = lane_count(like)
        start, length = lane_table[:lanes], lane_table[lanes : 2 * lanes]
        row, target = lane_table[2 * lanes : 3 * lanes], lane_table[3 * lanes : 4 * lanes]
        n_layers, width, reverse = layers.shape[0], plan[WIDTH], plan[REVERSED]
        x_size = (plan[TABLE_WIDTH] if embedded else width) * lanes

        tile = fetch_add(counter, 1)
        next_tile = tile + 1  # a guess, for the prefetches: threads take turns
        while tile < n_tiles:
            valid = min(lanes, n_rows - tile * lanes)
            shortest, longest, longest_lane = seat_rows(
                tile * lanes, valid, order, starts, lengths, plan, n_steps, row, start, length
            )
            uneven = shortest < longest
            start_state(layers, start_h, start_c, row, target, scratch, like)
            t = FIRST
            while True:
                stop = min(t + block_steps, longest)
                if uneven:
                    for lane in range(lanes):
                        if length[lane] == t:
                            set_aside(layers, lane, lanes, scratch)
                            start[lane] = start[longest_lane]
                        elif length[lane] > t:
                            stop = min(stop, length[lane])
                n = stop - t
                if n <= 0 or counter[0] >= STOPPED:  # all walked, or the caller was interrupted
                    break
                x, x_step = layers[0, X_AT], x_size
                if embedded:
                    look_up(values, ids, start, t, n, plan, target, scratch, x, like)
                elif reverse:
                    rows_to_block(values, start, -(t + n) * width, n * width, scratch, x, like)
                    x, x_step = x + (n - 1) * x_size, -x_size
                else:
                    rows_to_block(values, start, t * width, n * width, scratch, x, like)
                stride = 0  # between the gates' blocks; 0 where nothing is traced
                for i in range(n_layers):
                    layer = layers[i]
                    gates = -1
                    if traced and i == n_layers - 1:
                        gates, stride = plan[GATES_AT], (n * layer[HIDDEN] + 1) * lanes
                    if i:
                        x, x_step = layer[X_AT], layer[INPUTS] * lanes
                    if scalar:
                        run_cell(
                            next_state, panels, layer, scratch, x, x_step, n, gates, stride,
                            values, (next_tile * n_steps + t) * lanes, like,
                        )  # fmt: skip
                    else:
                        run_layer(
                            next_state, units, embedded, projected, panels, layer, scratch,
                            x, x_step, n, gates, stride, like, states,
                        )  # fmt: skip
                if traced:
                    aim(
                        row, length, valid, t, out_rows, out_steps, first_step, plan,
                        plan[GATE_STRIDE], plan[GATE_COLUMN], target,
                    )  # fmt: skip
                    write_gates(layers, plan, n, gate_arrays, stride, target, scratch, like)
                if sequence.size:
                    aim(
                        row, length, valid, t, out_rows, out_steps, first_step, plan,
                        plan[OUT_STRIDE], plan[OUT_COLUMN], target,
                    )  # fmt: skip
                    write_steps(layers, plan, panels, n, sequence, target, scratch, like)
                to_first_slot(layers, n, scratch, like)
                t = stop

            if end_h.size:
                write_state(layers, uneven, valid, end_h, end_c, row, target, scratch, like)
            if last.size:
                for lane in range(lanes):
                    r = out_rows[row[lane]] if out_rows.size else row[lane]
                    at = r * plan[OUT_STRIDE] + plan[OUT_COLUMN]
                    target[lane] = at if lane < valid else -1
                write_last(layers, plan, panels, uneven, last, target, scratch, like)
            drawn = fetch_add(counter, 1)
            next_tile = 2 * drawn - tile
            tile = drawn
        finish(counter, others)

    return run_tiles
