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

import numpy as np

from fastlstm.engine.arithmetic import empty_pack, lane_count, zeros
from fastlstm.engine.cells import make_cell
from fastlstm.engine.columns import (
    C_AT,
    FINAL_C_AT,
    FINAL_H_AT,
    GATE_COLUMN,
    GATE_STRIDE,
    GATES_AT,
    H_AT,
    HEAD_OUTPUTS,
    HEAD_PANEL,
    HIDDEN,
    INPUTS,
    KEEP,
    OUT_COLUMN,
    OUT_REVERSED,
    OUT_STRIDE,
    OUTPUTS,
    REVERSED,
    STATE_C_AT,
    STATE_H_AT,
    TABLE_WIDTH,
    WIDTH,
    X_AT,
    Y_AT,
)
from fastlstm.engine.forms import Form
from fastlstm.engine.jit import function
from fastlstm.engine.layers import run_cell, run_dense, run_layer, slot
from fastlstm.engine.memory import align_stack, fetch_add, load, store
from fastlstm.engine.transpose import block_to_rows, rows_to_block

# The counter's array counts drawn tiles at 0, and here the kernels that have finished. Waiting
# for the last of them takes a tenth of a millisecond at most; being woken up takes longer.
FINISHED, MOST_SPINS = 8, 20_000

# From the first element of a row on; Numba would compile a function anew for a literal 0.
FIRST = np.int64(0)

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


@function
def seat_rows(
    first: int, valid: int, order: Any, starts: Any, lengths: Any, plan: Any, n_steps: int,
    row: Any, start: Any, length: Any,
) -> Any:  # fmt: skip
    """Fill a tile's tables: each lane's row, where it starts in the values, and its length.

    Of rows that are read from their end, `start` is where they end. Lanes beyond the last row
    repeat it. Returns the shortest and the longest length, and a lane of the longest.
    """
    width = plan[WIDTH]
    for lane in range(row.size):
        row[lane] = first + min(lane, valid - 1)
    if order.size:
        for lane in range(row.size):
            row[lane] = order[row[lane]]
    for lane in range(row.size):
        start[lane] = row[lane] * n_steps * width
        length[lane] = n_steps
    if starts.size:
        for lane in range(row.size):
            start[lane] = starts[row[lane]]
    shortest, longest, longest_lane = n_steps, n_steps, 0
    if lengths.size:
        longest = 0
        for lane in range(row.size):
            length[lane] = lengths[row[lane]]
            shortest = min(shortest, length[lane])
            if length[lane] > longest:
                longest, longest_lane = length[lane], lane
    if plan[REVERSED]:
        for lane in range(row.size):
            start[lane] += length[lane] * width
    return shortest, longest, longest_lane


@function
def aim(
    rows: Any, length: Any, valid: int, t: int, out_rows: Any, out_steps: int, first_step: int,
    plan: Any, stride: int, column: int, target: Any,
) -> None:  # fmt: skip
    """Fill `target` with where each lane's outputs of step t go; -1 where it has none."""
    for lane in range(rows.size):
        r = out_rows[rows[lane]] if out_rows.size else rows[lane]
        step = length[lane] - 1 - t if plan[OUT_REVERSED] else t
        target[lane] = (r * out_steps + first_step + step) * stride + column
        if lane >= valid or length[lane] <= t:
            target[lane] = -1


@function
def start_state(
    layers: Any, start_h: Any, start_c: Any, row: Any, target: Any, scratch: Any, like: Any
) -> None:
    """Fill slot 0 of every layer's h, and c, from the state that came in, or with zeros."""
    lanes = lane_count(like)
    for i in range(layers.shape[0]):
        outputs, units, h, c = (
            layers[i, OUTPUTS], layers[i, HIDDEN], layers[i, H_AT], layers[i, C_AT],
        )  # fmt: skip
        if start_h.size:
            for lane in range(lanes):
                target[lane] = layers[i, STATE_H_AT] + row[lane] * outputs
            rows_to_block(start_h, target, FIRST, outputs, scratch, h, like)
            for lane in range(lanes):
                target[lane] = layers[i, STATE_C_AT] + row[lane] * units
            rows_to_block(start_c, target, FIRST, units, scratch, c, like)
        else:
            for k in range(outputs):
                store(scratch, h + k * lanes, zeros(like))
            for k in range(units):
                store(scratch, c + k * lanes, zeros(like))


@function
def set_aside(layers: Any, lane: int, lanes: int, scratch: Any) -> None:
    """Keep the state of a lane whose sequence has ended."""
    for i in range(layers.shape[0]):
        for k in range(layers[i, OUTPUTS]):
            at = k * lanes + lane
            scratch[layers[i, FINAL_H_AT] + at] = scratch[layers[i, H_AT] + at]
        for k in range(layers[i, HIDDEN]):
            at = k * lanes + lane
            scratch[layers[i, FINAL_C_AT] + at] = scratch[layers[i, C_AT] + at]


@function
def to_first_slot(layers: Any, steps: int, scratch: Any, like: Any) -> None:
    """Bring every layer's last hidden state to where the next time steps look for it."""
    lanes = lane_count(like)
    for i in range(layers.shape[0]):
        now = slot(steps, layers[i, KEEP]) * layers[i, OUTPUTS] * lanes
        if now:
            for k in range(layers[i, OUTPUTS]):
                at = layers[i, H_AT] + k * lanes
                store(scratch, at, load(scratch, at + now, like))


@function
def look_up(
    table: Any, ids: Any, start: Any, t: int, steps: int, plan: Any, target: Any, scratch: Any,
    z: int, like: Any,
) -> None:  # fmt: skip
    """Write the embedding's rows for `steps` time steps to `z`."""
    width, lanes = plan[TABLE_WIDTH], lane_count(like)
    for s in range(steps):
        step = -1 - t - s if plan[REVERSED] else t + s
        for lane in range(lanes):
            # unsigned: Numba would ask of each index whether it counts from the end
            target[lane] = ids[np.uint64(start[lane] + step)] * width
        rows_to_block(table, target, FIRST, width, scratch, z + s * width * lanes, like)


@function
def write_block(
    scratch: Any, at: int, steps: int, count: int, rows: Any, target: Any, pitch: int, like: Any
) -> None:
    """Write `steps` times `count` numbers to each lane's row, a step `pitch` behind the other."""
    if pitch == count:
        steps, count = 1, steps * count
    for s in range(steps):
        from_block = at + s * count * lane_count(like)
        block_to_rows(scratch, from_block, count, rows, target, s * pitch, like)


@function
def write_steps(
    layers: Any, plan: Any, panels: Any, steps: int, sequence: Any, target: Any, scratch: Any,
    like: Any,
) -> None:  # fmt: skip
    """Write the outputs of `steps` time steps to each lane's row, which begins at `target`."""
    top = layers[layers.shape[0] - 1]
    size = top[OUTPUTS] * lane_count(like)
    outputs, n_outputs = top[H_AT] + size, top[OUTPUTS]
    if plan[HEAD_OUTPUTS]:
        outputs, n_outputs = plan[Y_AT], plan[HEAD_OUTPUTS]
        for s in range(steps):
            run_dense(
                panels, plan[HEAD_PANEL], top[OUTPUTS], n_outputs, scratch,
                top[H_AT] + (s + 1) * size, outputs + s * n_outputs * lane_count(like), like,
            )  # fmt: skip
    pitch = -plan[OUT_STRIDE] if plan[OUT_REVERSED] else plan[OUT_STRIDE]
    write_block(scratch, outputs, steps, n_outputs, sequence, target, pitch, like)


@function
def write_gates(
    layers: Any, plan: Any, steps: int, gate_arrays: Any, stride: int, target: Any, scratch: Any,
    like: Any,
) -> None:  # fmt: skip
    """Write the last layer's gates and cell states likewise."""
    pitch = -plan[GATE_STRIDE] if plan[OUT_REVERSED] else plan[GATE_STRIDE]
    n_hidden = layers[layers.shape[0] - 1, HIDDEN]
    for gate in range(5):
        at = plan[GATES_AT] + gate * stride
        write_block(scratch, at, steps, n_hidden, gate_arrays[gate], target, pitch, like)


@function
def write_state(
    layers: Any, uneven: bool, valid: int, end_h: Any, end_c: Any, row: Any, target: Any,
    scratch: Any, like: Any,
) -> None:  # fmt: skip
    """Write the state after each lane's last real step."""
    h_column, c_column = (FINAL_H_AT, FINAL_C_AT) if uneven else (H_AT, C_AT)
    for i in range(layers.shape[0]):
        outputs, units = layers[i, OUTPUTS], layers[i, HIDDEN]
        for lane in range(row.size):
            at = layers[i, STATE_H_AT] + row[lane] * outputs
            target[lane] = at if lane < valid else -1
        block_to_rows(scratch, layers[i, h_column], outputs, end_h, target, FIRST, like)
        for lane in range(row.size):
            at = layers[i, STATE_C_AT] + row[lane] * units
            target[lane] = at if lane < valid else -1
        block_to_rows(scratch, layers[i, c_column], units, end_c, target, FIRST, like)


@function
def write_last(
    layers: Any, plan: Any, panels: Any, uneven: bool, last: Any, target: Any, scratch: Any,
    like: Any,
) -> None:  # fmt: skip
    """Write the outputs of each lane's last real step to its row, which begins at `target`."""
    top = layers[layers.shape[0] - 1]
    h, n = top[FINAL_H_AT] if uneven else top[H_AT], top[OUTPUTS]
    if plan[HEAD_OUTPUTS]:
        y, n_outputs = plan[Y_AT], plan[HEAD_OUTPUTS]
        run_dense(panels, plan[HEAD_PANEL], n, n_outputs, scratch, h, y, like)
        h, n = y, n_outputs
    block_to_rows(scratch, h, n, last, target, FIRST, like)


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
