"""Where everything lies in a thread's scratch memory, and the weights packed to match."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlstm.engine.cpu import vector_bits
from fastlstm.engine.kernel import records as columns
from fastlstm.engine.kernel.compiled import kernel
from fastlstm.engine.plan.chain import Stack
from fastlstm.engine.plan.cost import INPUT_ROWS, UNITS, Tile, padded_units
from fastlstm.engine.plan.packing import (
    pack_cell,
    pack_dense,
    pack_layer,
    pack_row_dense,
    pack_table,
    pack_unit_cell,
    pack_unit_layer,
    pack_unit_table,
)
from fastlstm.network.dense import Dense

Array = NDArray[Any]
Scratch = tuple[Array, NDArray[np.int64]]

# Time steps are walked in blocks: enough for whole squares of the transpose, few enough to
# leave a tile's inputs in the L1 cache. Where every step is written, longer stretches of each
# row at once are worth a place in the L2 cache (a trace of 100 steps in blocks of 32 takes 1.5
# times as long).
BLOCK_ELEMENTS, MOST_BLOCK_STEPS = 128, 32
SEQUENCE_ELEMENTS, MOST_SEQUENCE_STEPS = 512, 128
# With hidden units in the lanes, the sums over a block's inputs have to fit into the L2 cache.
UNIT_BLOCK_BYTES, MOST_UNIT_STEPS = 128 * 1024, 64
ALIGNMENT = 64
# Scratch memory that a plan keeps: of more threads than that only some are at work.
MOST_SPARE = os.cpu_count() or 1


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that a kernel needs to know beyond its inputs and outputs."""

    tile: Tile
    block_steps: int
    # the table of layers (L, LAYER_COLUMNS) for so many sequences; it is only read
    layers_for: Callable[[int], NDArray[np.int64]]
    table: NDArray[np.int64]  # (PLAN_COLUMNS,)
    panels: Array  # (sum of panels,)
    scratch_size: int
    kernel: Any  # compiled
    looked_up: Array | None = None  # (ids * numbers,), what an embedding's steps begin with
    spare: list[Scratch] = field(default_factory=list)  # scratch memory that no thread uses now

    def take_scratch(self) -> Scratch:
        """Return scratch memory for a thread: numbers, and a table of the tile's rows."""
        try:
            return self.spare.pop()
        except IndexError:
            return (
                aligned_empty(self.scratch_size + 1024, self.tile.kind.dtype),
                aligned_empty(4 * self.tile.sequences + 64, np.int64),
            )

    def give_back(self, scratch: Scratch) -> None:
        """Keep scratch memory for the next thread that takes some."""
        if len(self.spare) < MOST_SPARE:
            self.spare.append(scratch)


class _Layout:
    """Places in scratch memory and in the panels, handed out one after the other."""

    def __init__(self, stack: Stack) -> None:
        layers = stack.layers
        self.layers = np.zeros((len(layers), columns.LAYER_COLUMNS), np.int64)
        self.table = np.zeros(columns.PLAN_COLUMNS, np.int64)
        self.panels: list[Array] = []
        self.packed = self.size = 0
        outputs, units = ([getattr(k, name) for k in layers] for name in SIZES)
        self.layers[:, columns.INPUTS] = [layer.input_size for layer in layers]
        self.layers[:, columns.OUTPUTS] = outputs
        self.layers[:, columns.HIDDEN] = units
        self.layers[:, columns.STATE_H_AT] = stack.first_h + np.cumsum([0, *outputs[:-1]])
        self.layers[:, columns.STATE_C_AT] = stack.first_c + np.cumsum([0, *units[:-1]])
        self.table[columns.WIDTH] = stack.width
        if stack.embedding is not None:
            self.table[columns.LAST_ID] = stack.embedding.ids - 1
        self.table[columns.REVERSED] = stack.reversed
        self.table[columns.OUT_REVERSED] = stack.out_reversed
        self.table[columns.OUT_STRIDE] = stack.output_size * stack.places
        self.table[columns.OUT_COLUMN] = stack.output_size * stack.place

    def place(self, size: int) -> int:
        """Return where `size` numbers of scratch memory begin, at a whole vector."""
        at = self.size
        self.size += -(-size // ALIGNMENT) * ALIGNMENT
        return at

    def pack(self, panel: Array) -> int:
        """Return where a panel begins."""
        at = self.packed
        self.panels.append(panel)
        self.packed += panel.size
        return at


SIZES = ("output_size", "hidden_size")


def make_plan(stack: Stack, head: Dense | None, tile: Tile, sequences: bool) -> Plan:
    """Lay out scratch memory and pack the weights for one kind of tile.

    Parameters
    ----------
    stack, head
        The layers; `head` None leaves the hidden states as the outputs.
    tile
        The tile.
    sequences
        Whether the outputs of every step are written.
    """
    layout = _Layout(stack)
    layers, top = stack.layers, stack.layers[-1]
    kept = [sequences or i + 1 < len(layers) for i in range(len(layers))]
    layout.layers[:, columns.KEEP] = kept
    layout.table[columns.GATE_STRIDE] = top.hidden_size * stack.places
    layout.table[columns.GATE_COLUMN] = top.hidden_size * stack.place
    if head is not None:
        layout.table[columns.HEAD_OUTPUTS] = head.output_size
        layout.table[columns.OUT_STRIDE] = head.output_size
    lay_out = _lay_out_units if tile.kind.lanes_hold == UNITS else _lay_out_sequences
    block_steps = lay_out(layout, stack, head, tile, sequences)
    panels = aligned_empty(layout.packed, tile.kind.dtype)
    np.concatenate(layout.panels, out=panels)
    return Plan(
        tile,
        block_steps,
        lru_cache(maxsize=64)(partial(_layers_for, layout.layers)),
        layout.table,
        panels,
        layout.size,
        kernel(tile.kind),
    )


def _layers_for(layers: NDArray[np.int64], n_rows: int) -> NDArray[np.int64]:
    """Return the table of layers with the state offsets for so many sequences."""
    layers = layers.copy()
    layers[:, [columns.STATE_H_AT, columns.STATE_C_AT]] *= n_rows
    return layers


def _lay_out_sequences(
    layout: _Layout, stack: Stack, head: Dense | None, tile: Tile, sequences: bool
) -> int:
    """Lay out everything as `tiles` and `layers` have it; return the steps of a block."""
    kind, kept, layers = tile.kind, layout.layers[:, columns.KEEP].tolist(), stack.layers
    passed_on = [k.output_size for k, keep in zip(layers, kept, strict=True) if keep]
    units = -(-layers[0].hidden_size // kind.group) * kind.group
    summed = stack.looks_up_sums
    read = 4 * units if summed else layers[0].input_size
    widest = max(read, *passed_on, 1)
    block_steps = MOST_SEQUENCE_STEPS if sequences else MOST_BLOCK_STEPS
    while block_steps > 1 and block_steps * widest > (
        SEQUENCE_ELEMENTS if sequences else BLOCK_ELEMENTS
    ):
        block_steps //= 2

    def place(rows: int) -> int:
        # every block may be read and written up to a whole square of the transpose, and four
        # outputs of a dense layer at a time
        return layout.place((rows + max(kind.vector_lanes, 4)) * tile.sequences)

    if summed:
        layout.layers[0, columns.INPUTS] = 0
    layout.table[columns.TABLE_WIDTH] = read
    x_at = place(block_steps * read)
    for i, (row, layer, keep) in enumerate(zip(layout.layers, layers, kept, strict=True)):
        n_hidden, n_outputs = layer.hidden_size, layer.output_size
        row[columns.PANEL] = layout.pack(pack_layer(layer, kind.group, summed and i == 0))
        row[columns.CELL_PANEL] = layout.pack(pack_cell(layer, n_hidden + kind.group))
        row[columns.X_AT] = x_at
        row[columns.H_AT] = place((block_steps + 1 if keep else 2) * n_outputs)
        row[columns.C_AT] = place(n_hidden)
        row[columns.FINAL_H_AT], row[columns.FINAL_C_AT] = place(n_outputs), place(n_hidden)
        if layer.w_hr is not None:
            row[columns.CELL_OUTPUT_AT] = place(n_hidden)
            row[columns.PROJECTION_PANEL] = layout.pack(pack_dense(Dense(layer.w_hr)))
        x_at = row[columns.H_AT] + n_outputs * tile.sequences
    if kind.traced:
        layout.table[columns.GATES_AT] = place(5 * (block_steps * layers[-1].hidden_size + 1))
    if head is not None:
        layout.table[columns.HEAD_PANEL] = layout.pack(pack_dense(head))
        layout.table[columns.Y_AT] = place((block_steps if sequences else 1) * head.output_size)
    return block_steps


def _lay_out_units(
    layout: _Layout, stack: Stack, head: Dense | None, tile: Tile, sequences: bool
) -> int:
    """Lay out everything as `unit_tiles` and `unit_layers` have it; return the steps of a block."""
    kind, n, input_rows = tile.kind, tile.sequences, INPUT_ROWS[vector_bits()]
    layers = stack.layers
    itemsize = np.dtype(kind.dtype).itemsize
    padded = [padded_units(kind, layer.hidden_size) for layer in layers]
    most = UNIT_BLOCK_BYTES // (itemsize * 4 * n * max(padded))
    block_steps = max(1, min(most, MOST_UNIT_STEPS))

    def place_rows(size: int) -> int:
        # the inputs are read `input_rows` rows at a time, and the sums over them so written
        return layout.place((block_steps * n + input_rows) * size)

    x_stride = layers[0].input_size
    x_at = place_rows(x_stride)
    layout.table[columns.TILE_SEQUENCES] = n
    layout.table[columns.Z_AT] = place_rows(4 * max(padded))
    layout.table[columns.TABLE_WIDTH] = 4 * padded[0] if stack.looks_up_sums else x_stride
    if stack.looks_up_sums:
        layout.layers[0, columns.INPUTS] = 0
    for row, layer, size in zip(layout.layers, layers, padded, strict=True):
        of_inputs, of_hidden = pack_unit_layer(layer, kind.vector_lanes, kind.vectors)
        row[columns.PANEL] = layout.pack(of_inputs)
        row[columns.HIDDEN_PANEL] = layout.pack(of_hidden)
        row[columns.CELL_PANEL] = layout.pack(pack_unit_cell(layer, size))
        wide = size
        if layer.w_hr is not None:
            wide = -(-layer.output_size // kind.vector_lanes) * kind.vector_lanes
            projection = pack_row_dense(Dense(layer.w_hr), kind.vector_lanes)
            row[columns.PROJECTION_PANEL] = layout.pack(projection)
            row[columns.CELL_OUTPUT_AT] = layout.place(n * size)
        row[columns.PADDED], row[columns.PADDED_OUTPUTS] = size, wide
        row[columns.X_AT], row[columns.X_STRIDE] = x_at, x_stride
        row[columns.H_AT] = place_rows(wide) if row[columns.KEEP] else layout.place(2 * n * wide)
        layout.place(n * wide)  # one slot more than there are steps
        row[columns.C_AT] = layout.place(n * size)
        row[columns.FINAL_H_AT], row[columns.FINAL_C_AT] = (
            layout.place(n * width) for width in (wide, size)
        )
        x_at, x_stride = row[columns.H_AT] + n * wide, wide
    if kind.traced:
        layout.table[columns.GATES_AT] = layout.place(5 * block_steps * n * padded[-1])
    if head is not None:
        layout.table[columns.HEAD_PANEL] = layout.pack(pack_row_dense(head, kind.vector_lanes))
        # whole vectors of outputs
        layout.table[columns.Y_AT] = layout.place(head.output_size + kind.vector_lanes)
    return block_steps


def pack_sums(sums: Array, tile: Tile) -> Array:
    """Return an embedding's sums over the inputs (V, 4H) as a kind of tile looks them up."""
    kind = tile.kind
    if kind.lanes_hold == UNITS:
        return pack_unit_table(sums, kind.vector_lanes, padded_units(kind, sums.shape[1] // 4))
    return pack_table(sums, kind.group)


def aligned_empty(size: int, dtype: Any) -> Array:
    """Return an uninitialised array that begins at a cache line, for whole-vector loads."""
    itemsize = np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT // itemsize, dtype)
    offset = (-memory.ctypes.data % ALIGNMENT) // itemsize
    return memory[offset : offset + size]
