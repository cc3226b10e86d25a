"""Between a tile's lanes and rows in memory: inputs, states, outputs.

A tile's tables say for each lane which row it has, where that begins, and how long it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlstm.engine.jit import function, helper
from fastlstm.engine.kernel.records import (
    C_AT,
    FINAL_C_AT,
    FINAL_H_AT,
    GATE_STRIDE,
    GATES_AT,
    H_AT,
    HEAD_OUTPUTS,
    HEAD_PANEL,
    HIDDEN,
    KEEP,
    LAST_ID,
    OUT_REVERSED,
    OUT_STRIDE,
    OUTPUTS,
    REVERSED,
    STATE_C_AT,
    STATE_H_AT,
    TABLE_WIDTH,
    WIDTH,
    Y_AT,
)
from fastlstm.engine.kernel.sequences_in_lanes import run_dense, slot
from fastlstm.engine.simd.arithmetic import lane_count, zeros
from fastlstm.engine.simd.memory import load, store
from fastlstm.engine.simd.transpose import block_to_rows, rows_to_block

# From the first element of a row on; Numba would compile a function anew for a literal 0.
FIRST = np.int64(0)


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


@helper
def known_id(number: int, last: Any) -> int:
    """Return an id, or the last one there is for what is none.

    Ids have been checked, but in the caller's memory, to which others may write meanwhile: what
    the kernel reads there must not lead it out of the table.
    """
    return np.int64(min(np.uint64(number), last))


@function
def look_up(
    table: Any, ids: Any, start: Any, t: int, steps: int, plan: Any, target: Any, scratch: Any,
    z: int, like: Any,
) -> None:  # fmt: skip
    """Write the embedding's rows for `steps` time steps to `z`."""
    width, lanes, last = plan[TABLE_WIDTH], lane_count(like), np.uint64(plan[LAST_ID])
    for s in range(steps):
        step = -1 - t - s if plan[REVERSED] else t + s
        for lane in range(lanes):
            # unsigned: Numba would ask of each index whether it counts from the end
            target[lane] = known_id(ids[np.uint64(start[lane] + step)], last) * width
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
