"""Where everything lies in a thread's scratch memory, and the weights packed to match."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlstm.dense import Dense
from fastlstm.engine import tiles, unit_tiles
from fastlstm.engine.cpu import vector_bits
from fastlstm.engine.kernels import kernel
from fastlstm.engine.kinds import INPUT_ROWS, UNITS, Tile, padded_units
from fastlstm.engine.packing import pack_dense, pack_layer, pack_row_dense, pack_unit_layer
from fastlstm.layers import Layer

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


@dataclass(frozen=True)
class Plan:
    """Everything that a kernel needs to know beyond its inputs and outputs."""

    tile: Tile
    block_steps: int
    layers: NDArray[np.int64]  # (L, LAYER_COLUMNS), its state offsets for one sequence
    table: NDArray[np.int64]  # (PLAN_COLUMNS,)
    panels: Array  # (sum of panels,)
    scratch_size: int

    @cached_property
    def kernel(self) -> Any:
        """The compiled kernel."""
        return kernel(self.tile.kind)

    @cached_property
    def layers_for(self) -> Callable[[int], NDArray[np.int64]]:
        """The table of layers with state offsets for so many sequences. It is only read."""

        @lru_cache(maxsize=64)
        def layers_for(n_rows: int) -> NDArray[np.int64]:
            layers = self.layers.copy()
            layers[:, tiles.STATE_AT] *= n_rows
            return layers

        return layers_for

    @cached_property
    def spare(self) -> list[Scratch]:
        """Scratch memory that no thread uses at the moment."""
        return []

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
        self.spare.append(scratch)


class _Layout:
    """Places in scratch memory and in the panels, handed out one after the other."""

    def __init__(self, tile: Tile, layers: Sequence[Layer]) -> None:
        of_units = tile.kind.lanes_hold == UNITS
        layer_columns = unit_tiles.UNIT_LAYER_COLUMNS if of_units else tiles.LAYER_COLUMNS
        plan_columns = unit_tiles.UNIT_PLAN_COLUMNS if of_units else tiles.PLAN_COLUMNS
        self.layers = np.zeros((len(layers), layer_columns), np.int64)
        self.table = np.zeros(plan_columns, np.int64)
        self.panels: list[Array] = []
        self.packed = self.size = 0
        self.layers[:, tiles.INPUTS] = [layer.input_size for layer in layers]
        self.layers[:, tiles.HIDDEN] = [layer.hidden_size for layer in layers]
        self.layers[1:, tiles.STATE_AT] = np.cumsum(self.layers[:-1, tiles.HIDDEN])

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


def make_plan(layers: Sequence[Layer], head: Dense | None, tile: Tile, sequences: bool) -> Plan:
    """Lay out scratch memory and pack the weights for one kind of tile.

    Parameters
    ----------
    layers, head
        The network; `head` None leaves the hidden states as the outputs.
    tile
        The tile.
    sequences
        Whether the outputs of every step are written.
    """
    layout = _Layout(tile, layers)
    kept = [sequences or i + 1 < len(layers) for i in range(len(layers))]
    layout.layers[:, tiles.KEEP] = kept
    lay_out = _lay_out_units if tile.kind.lanes_hold == UNITS else _lay_out_sequences
    block_steps = lay_out(layout, layers, head, tile, sequences)
    panels = aligned_empty(layout.packed, tile.kind.dtype)
    np.concatenate(layout.panels, out=panels)
    return Plan(tile, block_steps, layout.layers, layout.table, panels, layout.size)


def _lay_out_sequences(
    layout: _Layout, layers: Sequence[Layer], head: Dense | None, tile: Tile, sequences: bool
) -> int:
    """Lay out everything as `tiles` and `layers` have it; return the steps of a block."""
    kind, kept = tile.kind, layout.layers[:, tiles.KEEP].tolist()
    passed_on = [k.hidden_size for k, keep in zip(layers, kept, strict=True) if keep]
    widest = max(layers[0].input_size, *passed_on, 1)
    block_steps = MOST_SEQUENCE_STEPS if sequences else MOST_BLOCK_STEPS
    while block_steps > 1 and block_steps * widest > (
        SEQUENCE_ELEMENTS if sequences else BLOCK_ELEMENTS
    ):
        block_steps //= 2

    def place(rows: int) -> int:
        # every block may be read and written up to a whole square of the transpose
        return layout.place((rows + kind.vector_lanes) * tile.sequences)

    x_at = place(block_steps * layers[0].input_size)
    for row, layer, keep in zip(layout.layers, layers, kept, strict=True):
        n_hidden = layer.hidden_size
        row[tiles.PANEL] = layout.pack(pack_layer(layer, kind.group))
        row[tiles.X_AT] = x_at
        row[tiles.H_AT] = place((block_steps + 1 if keep else 2) * n_hidden)
        row[tiles.C_AT] = place(n_hidden)
        row[tiles.FINAL_H_AT], row[tiles.FINAL_C_AT] = place(n_hidden), place(n_hidden)
        x_at = row[tiles.H_AT] + n_hidden * tile.sequences
    if kind.traced:
        layout.table[tiles.GATES_AT] = place(5 * (block_steps * layers[-1].hidden_size + 1))
    if head is not None:
        layout.table[tiles.HEAD_OUTPUTS] = head.output_size
        layout.table[tiles.HEAD_PANEL] = layout.pack(pack_dense(head))
        layout.table[tiles.Y_AT] = place((block_steps if sequences else 1) * head.output_size)
    return block_steps


def _lay_out_units(
    layout: _Layout, layers: Sequence[Layer], head: Dense | None, tile: Tile, sequences: bool
) -> int:
    """Lay out everything as `unit_tiles` and `unit_layers` have it; return the steps of a block."""
    kind, n, input_rows = tile.kind, tile.sequences, INPUT_ROWS[vector_bits()]
    itemsize = np.dtype(kind.dtype).itemsize
    padded = [padded_units(kind, layer.hidden_size) for layer in layers]
    most = UNIT_BLOCK_BYTES // (itemsize * 4 * n * max(padded))
    block_steps = max(1, min(most, MOST_UNIT_STEPS))

    def place_rows(size: int) -> int:
        # the inputs are read `input_rows` rows at a time, and the sums over them so written
        return layout.place((block_steps * n + input_rows) * size)

    x_at, x_stride = place_rows(layers[0].input_size), layers[0].input_size
    layout.table[unit_tiles.TILE_SEQUENCES] = n
    layout.table[unit_tiles.Z_AT] = place_rows(4 * max(padded))
    for row, layer, size in zip(layout.layers, layers, padded, strict=True):
        of_inputs, of_hidden = pack_unit_layer(layer, kind.vector_lanes, kind.vectors)
        row[tiles.PANEL] = layout.pack(of_inputs)
        row[unit_tiles.HIDDEN_PANEL] = layout.pack(of_hidden)
        row[unit_tiles.PADDED] = size
        row[tiles.X_AT], row[unit_tiles.X_STRIDE] = x_at, x_stride
        row[tiles.H_AT] = place_rows(size) if row[tiles.KEEP] else layout.place(2 * n * size)
        layout.place(n * size)  # one slot more than there are steps
        row[tiles.C_AT] = layout.place(n * size)
        row[tiles.FINAL_H_AT], row[tiles.FINAL_C_AT] = (layout.place(n * size) for _ in "hc")
        x_at, x_stride = row[tiles.H_AT] + n * size, size
    if kind.traced:
        layout.table[tiles.GATES_AT] = layout.place(5 * block_steps * n * padded[-1])
    if head is not None:
        layout.table[tiles.HEAD_OUTPUTS] = head.output_size
        layout.table[tiles.HEAD_PANEL] = layout.pack(pack_row_dense(head, kind.vector_lanes))
        layout.table[tiles.Y_AT] = layout.place(head.output_size)
    return block_steps


def aligned_empty(size: int, dtype: Any) -> Array:
    """Return an uninitialised array that begins at a cache line, for whole-vector loads."""
    itemsize = np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT // itemsize, dtype)
    offset = (-memory.ctypes.data % ALIGNMENT) // itemsize
    return memory[offset : offset + size]
