"""Between a tile of few sequences and rows in memory, which are copied as they are."""

from __future__ import annotations

from typing import Any

from fastlstm.engine.jit import function
from fastlstm.engine.kernel.records import (
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
    KEEP,
    OUT_COLUMN,
    OUT_REVERSED,
    OUT_STRIDE,
    OUTPUTS,
    PADDED,
    PADDED_OUTPUTS,
    STATE_C_AT,
    STATE_H_AT,
    Y_AT,
)
from fastlstm.engine.kernel.sequence_rows import known_id
from fastlstm.engine.kernel.sequences_in_lanes import slot
from fastlstm.engine.kernel.units_in_lanes import run_row_dense
from fastlstm.engine.simd.arithmetic import lane_count
from fastlstm.engine.simd.memory import load, store


@function
def copy_row(source: Any, at: int, n: int, target: Any, to: int) -> None:
    """Copy `source[at : at + n]` to `target[to :]`."""
    for k in range(n):
        target[to + k] = source[at + k]


@function
def copy_vectors(source: Any, at: int, n: int, target: Any, to: int, vector: Any) -> None:
    """Do the same a vector at a time."""
    lanes = lane_count(vector)
    whole = n - n % lanes
    for k in range(0, whole, lanes):
        store(target, to + k, load(source, at + k, vector))
    for k in range(whole, n):
        target[to + k] = source[at + k]


@function
def copy_cells(source: Any, at: int, pitch: int, n: int, units: int, target: Any, to: int) -> None:
    """Copy a row of values that lie in groups of `units`, `pitch` numbers apart."""
    for first in range(0, n, units):
        copy_row(source, at, min(units, n - first), target, to + first)
        at += pitch


@function
def place_inputs(
    values: Any, at: int, step: int, steps: int, n_inputs: int, scratch: Any, to: int, stride: int,
    vector: Any,
) -> None:  # fmt: skip
    """Copy the inputs of a sequence's next steps, `stride` numbers from step to step.

    In the values the next step is `step` numbers behind. Nobody looks at the inputs of a
    sequence that has ended (`at` < 0): zeros are quick to compute.
    """
    for j in range(steps):
        if at >= 0:
            copy_vectors(values, at + j * step, n_inputs, scratch, to + j * stride, vector)
        else:
            for k in range(n_inputs):
                scratch[to + j * stride + k] = 0


@function
def look_up_rows(
    table: Any, ids: Any, at: int, step: int, steps: int, width: int, last: Any, scratch: Any,
    to: int, stride: int, vector: Any,
) -> None:  # fmt: skip
    """Copy the embedding's rows of a sequence's next steps likewise."""
    for j in range(steps):
        row = known_id(ids[at + j * step], last) if at >= 0 else 0
        copy_vectors(table, row * width, width, scratch, to + j * stride, vector)


@function
def start_row(
    layers: Any, start_h: Any, start_c: Any, row: int, sequence: int, sequences: int, units: int,
    scratch: Any,
) -> None:  # fmt: skip
    """Fill slot 0 of a sequence's h, and c, from the state that came in, or with zeros."""
    for i in range(layers.shape[0]):
        outputs, n, wide = layers[i, OUTPUTS], layers[i, HIDDEN], layers[i, PADDED_OUTPUTS]
        h = layers[i, H_AT] + sequence * wide
        for k in range(wide):
            scratch[h + k] = 0
        if start_h.size:
            copy_row(start_h, layers[i, STATE_H_AT] + row * outputs, outputs, scratch, h)
        c = layers[i, C_AT] + sequence * units
        for first in range(0, layers[i, PADDED], units):
            for k in range(units):
                scratch[c + k] = 0
            if start_h.size and first < n:
                at = layers[i, STATE_C_AT] + row * n + first
                copy_row(start_c, at, min(units, n - first), scratch, c)
            c += sequences * units


@function
def set_row_aside(layers: Any, sequence: int, sequences: int, units: int, scratch: Any) -> None:
    """Keep the state of a sequence that has ended."""
    for i in range(layers.shape[0]):
        n, padded, wide = layers[i, HIDDEN], layers[i, PADDED], layers[i, PADDED_OUTPUTS]
        h, c = layers[i, H_AT] + sequence * wide, layers[i, C_AT] + sequence * units
        final_h = layers[i, FINAL_H_AT] + sequence * wide
        copy_row(scratch, h, layers[i, OUTPUTS], scratch, final_h)
        final_c = layers[i, FINAL_C_AT] + sequence * padded
        copy_cells(scratch, c, sequences * units, n, units, scratch, final_c)


@function
def rows_to_first_slot(layers: Any, steps: int, sequences: int, scratch: Any) -> None:
    """Bring every layer's last hidden state to where the next time steps look for it."""
    for i in range(layers.shape[0]):
        size = layers[i, PADDED_OUTPUTS] * sequences
        now = slot(steps, layers[i, KEEP]) * size
        if now:
            copy_row(scratch, layers[i, H_AT] + now, size, scratch, layers[i, H_AT])


@function
def write_row_steps(
    layers: Any, plan: Any, panels: Any, steps: int, place: int, sequences: int, row_step: int,
    sequence: Any, scratch: Any, vector: Any,
) -> None:  # fmt: skip
    """Write the outputs of `steps` time steps of the sequence at a place of the tile.

    `row_step` numbers the first one among all steps of all rows.
    """
    top = layers[layers.shape[0] - 1]
    n_outputs, wide, head = top[OUTPUTS], top[PADDED_OUTPUTS], plan[HEAD_OUTPUTS]
    pitch = -plan[OUT_STRIDE] if plan[OUT_REVERSED] else plan[OUT_STRIDE]
    to = row_step * plan[OUT_STRIDE] + plan[OUT_COLUMN]
    for j in range(steps):
        h = top[H_AT] + ((j + 1) * sequences + place) * wide
        if head:
            run_row_dense(panels, plan[HEAD_PANEL], n_outputs, head, scratch, h, plan[Y_AT], vector)
            copy_row(scratch, plan[Y_AT], head, sequence, to + j * pitch)
        else:
            copy_row(scratch, h, n_outputs, sequence, to + j * pitch)


@function
def write_row_gates(
    layers: Any, plan: Any, steps: int, place: int, sequences: int, units: int, row_step: int,
    gate_arrays: Any, stride: int, scratch: Any,
) -> None:  # fmt: skip
    """Write the last layer's gates and cell states likewise."""
    top = layers[layers.shape[0] - 1]
    pitch = -plan[GATE_STRIDE] if plan[OUT_REVERSED] else plan[GATE_STRIDE]
    to = row_step * plan[GATE_STRIDE] + plan[GATE_COLUMN]
    for j in range(steps):
        at = plan[GATES_AT] + j * top[PADDED] * sequences + place * units
        for gate in range(5):
            copy_cells(
                scratch, at + gate * stride, sequences * units, top[HIDDEN], units,
                gate_arrays[gate], to + j * pitch,
            )  # fmt: skip


@function
def write_row_state(
    layers: Any, row: int, place: int, end_h: Any, end_c: Any, scratch: Any
) -> None:
    """Write the state after the last real step of the sequence at a place of the tile."""
    for i in range(layers.shape[0]):
        outputs, n = layers[i, OUTPUTS], layers[i, HIDDEN]
        h = layers[i, FINAL_H_AT] + place * layers[i, PADDED_OUTPUTS]
        copy_row(scratch, h, outputs, end_h, layers[i, STATE_H_AT] + row * outputs)
        c = layers[i, FINAL_C_AT] + place * layers[i, PADDED]
        copy_row(scratch, c, n, end_c, layers[i, STATE_C_AT] + row * n)


@function
def write_row_last(
    layers: Any, plan: Any, panels: Any, row: int, place: int, last: Any, scratch: Any,
    vector: Any,
) -> None:  # fmt: skip
    """Write the outputs of the last real step of the sequence at a place of the tile."""
    top = layers[layers.shape[0] - 1]
    h, n = top[FINAL_H_AT] + place * top[PADDED_OUTPUTS], top[OUTPUTS]
    if plan[HEAD_OUTPUTS]:
        y, n_outputs = plan[Y_AT], plan[HEAD_OUTPUTS]
        run_row_dense(panels, plan[HEAD_PANEL], n, n_outputs, scratch, h, y, vector)
        h, n = y, n_outputs
    copy_row(scratch, h, n, last, row * plan[OUT_STRIDE] + plan[OUT_COLUMN])
