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
from fastlstm.engine.layers import run_cell, run_dense, run_layer, slot
from fastlstm.engine.transpose import block_to_rows, rows_to_block
from fastlstm.engine.vectors import empty_pack, fetch_add, lane_count, load, store, zeros

# Columns of the table of layers, in numbers (not bytes) where they are offsets.
INPUTS, HIDDEN, PANEL, KEEP = 0, 1, 2, 3
X_AT, H_AT, C_AT, FINAL_H_AT, FINAL_C_AT, STATE_AT = 4, 5, 6, 7, 8, 9
LAYER_COLUMNS = 10

# Columns of the one row that describes the rest.
GATES_AT, Y_AT, HEAD_PANEL, HEAD_OUTPUTS = 0, 1, 2, 3
PLAN_COLUMNS = 4


@function
def copy_block(scratch: Any, source: int, target: int, n: int, like: Any) -> None:
    """Copy `n` rows of a block."""
    lanes = lane_count(like)
    for k in range(n):
        store(scratch, target + k * lanes, load(scratch, source + k * lanes, like))


@function
def start_state(layers: Any, state_h: Any, state_c: Any, lane_row: Any, target: Any, scratch: Any, like: Any) -> None:
    """Fill slot 0 of every layer's h, and c, from the state that came in, or with zeros."""
    lanes = lane_count(like)
    for layer in range(layers.shape[0]):
        n, h, c = layers[layer, HIDDEN], layers[layer, H_AT], layers[layer, C_AT]
        if state_h.size:
            for lane in range(lanes):
                target[lane] = layers[layer, STATE_AT] + lane_row[lane] * n
            rows_to_block(state_h, target, 0, n, scratch, h, like)
            rows_to_block(state_c, target, 0, n, scratch, c, like)
        else:
            for k in range(n):
                store(scratch, h + k * lanes, zeros(like))
                store(scratch, c + k * lanes, zeros(like))


@function
def set_aside(layers: Any, lane: int, lanes: int, scratch: Any) -> None:
    """Keep the state of a lane whose sequence has ended."""
    for layer in range(layers.shape[0]):
        for k in range(layers[layer, HIDDEN]):
            at = k * lanes + lane
            scratch[layers[layer, FINAL_H_AT] + at] = scratch[layers[layer, H_AT] + at]
            scratch[layers[layer, FINAL_C_AT] + at] = scratch[layers[layer, C_AT] + at]


def make_kernel(
    vector_lanes: int, vectors: int, units: int, cell: bool, traced: bool
) -> Callable[..., None]:
    """Return the kernel's Python function for one shape of tile.

    Parameters
    ----------
    vector_lanes, vectors
        A tile has `vector_lanes * vectors` lanes.
    units
        How many hidden units (1 or 2) share the loads of what they sum over.
    cell
        One layer with one input and one hidden unit: its state stays in registers.
    traced
        Write the last layer's gates i f g o and its cell states at every step to `gate_arrays`,
        beside the hidden states in `sequence`.
    """

    def run_tiles(
        counter, n_tiles, n_rows, n_steps, block_steps, layers, plan, panels,
        values, starts, lengths, order, out_rows, out_steps, first_step,
        start_h, start_c, end_h, end_c, last, sequence, gate_arrays, scratch, lane_table,
    ):  # type: ignore[no-untyped-def]  # fmt: skip
        like = empty_pack(scratch, vector_lanes, vectors)
        lanes = lane_count(like)
        start, length = lane_table[:lanes], lane_table[lanes : 2 * lanes]
        row, target = lane_table[2 * lanes : 3 * lanes], lane_table[3 * lanes : 4 * lanes]
        n_layers = layers.shape[0]
        top = layers[n_layers - 1]
        n_inputs, n_outputs = layers[0, INPUTS], top[HIDDEN]
        if plan[HEAD_OUTPUTS]:
            n_outputs = plan[HEAD_OUTPUTS]

        tile = fetch_add(counter, 1)
        while tile < n_tiles:
            next_tile = fetch_add(counter, 1)  # known now, so that its rows can be prefetched

            # who is in the tile; lanes beyond the last row repeat it and are not written
            first_row = tile * lanes
            valid = min(lanes, n_rows - first_row)
            longest, shortest, longest_lane = n_steps, n_steps, 0
            for lane in range(lanes):
                row[lane] = first_row + min(lane, valid - 1)
            if order.size:
                for lane in range(lanes):
                    row[lane] = order[row[lane]]
            for lane in range(lanes):
                start[lane] = row[lane] * n_steps * n_inputs
                length[lane] = n_steps
            if starts.size:
                for lane in range(lanes):
                    start[lane] = starts[row[lane]]
            if lengths.size:
                longest = 0
                for lane in range(lanes):
                    length[lane] = lengths[row[lane]]
                    shortest = min(shortest, length[lane])
                    if length[lane] > longest:
                        longest, longest_lane = length[lane], lane
            uneven = shortest < longest

            start_state(layers, start_h, start_c, row, target, scratch, like)
            t = 0
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
                if n <= 0:
                    break

                rows_to_block(values, start, t * n_inputs, n * n_inputs, scratch, layers[0, X_AT], like)
                gates, stride = -1, 0
                for i in range(n_layers):
                    layer = layers[i]
                    if traced and i == n_layers - 1:
                        gates, stride = plan[GATES_AT], n * layer[HIDDEN] * lanes
                    if cell:
                        run_cell(
                            panels, layer[PANEL], scratch, layer[X_AT], layer[H_AT], layer[KEEP],
                            layer[C_AT], n, gates, stride,
                            values, (next_tile * n_steps + t) * lanes, like,
                        )  # fmt: skip
                    else:
                        run_layer(
                            units, panels, layer[PANEL], layer[INPUTS], layer[HIDDEN], scratch,
                            layer[X_AT], layer[H_AT], layer[KEEP], layer[C_AT],
                            n, gates, stride, like,
                        )  # fmt: skip

                if sequence.size:
                    size = top[HIDDEN] * lanes
                    for lane in range(lanes):
                        r = out_rows[row[lane]] if out_rows.size else row[lane]
                        target[lane] = (r * out_steps + first_step + t) * n_outputs
                        if lane >= valid or length[lane] <= t:
                            target[lane] = -1
                    if traced:
                        for gate in range(5):
                            block_to_rows(
                                scratch, gates + gate * stride, n * n_outputs,
                                gate_arrays[gate], target, 0, like,
                            )  # fmt: skip
                    if plan[HEAD_OUTPUTS]:
                        for s in range(n):
                            run_dense(
                                panels, plan[HEAD_PANEL], top[HIDDEN], n_outputs, scratch,
                                top[H_AT] + (s + 1) * size, plan[Y_AT] + s * n_outputs * lanes, like,
                            )  # fmt: skip
                        block_to_rows(scratch, plan[Y_AT], n * n_outputs, sequence, target, 0, like)
                    else:
                        block_to_rows(scratch, top[H_AT] + size, n * n_outputs, sequence, target, 0, like)

                for i in range(n_layers):
                    now = slot(n, layers[i, KEEP])
                    if now:
                        size = layers[i, HIDDEN]
                        copy_block(scratch, layers[i, H_AT] + now * size * lanes, layers[i, H_AT], size, like)
                t = stop

            # the state and the score of the last real step of every lane
            h_column, c_column = (FINAL_H_AT, FINAL_C_AT) if uneven else (H_AT, C_AT)
            if end_h.size:
                for i in range(n_layers):
                    for lane in range(lanes):
                        target[lane] = layers[i, STATE_AT] + row[lane] * layers[i, HIDDEN]
                        if lane >= valid:
                            target[lane] = -1
                    block_to_rows(scratch, layers[i, h_column], layers[i, HIDDEN], end_h, target, 0, like)
                    block_to_rows(scratch, layers[i, c_column], layers[i, HIDDEN], end_c, target, 0, like)
            if last.size:
                for lane in range(lanes):
                    r = out_rows[row[lane]] if out_rows.size else row[lane]
                    target[lane] = r * n_outputs if lane < valid else -1
                if plan[HEAD_OUTPUTS]:
                    run_dense(panels, plan[HEAD_PANEL], top[HIDDEN], n_outputs, scratch, top[h_column], plan[Y_AT], like)
                    block_to_rows(scratch, plan[Y_AT], n_outputs, last, target, 0, like)
                else:
                    block_to_rows(scratch, top[h_column], n_outputs, last, target, 0, like)
            tile = next_tile

    return run_tiles
