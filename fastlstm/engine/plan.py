"""Which tile a call uses, and where everything lies in a thread's scratch memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlstm.engine import cpu, tiles
from fastlstm.engine.packing import pack_dense, pack_layer
from fastlstm.network import Dense, Layer

# Relative speed by vectors a tile (1 to 4), measured with everything in cache: more vectors
# hide more latency, until the registers are full (32 with AVX-512 and NEON, 16 with AVX2).
SPEED = {512: (0.78, 0.97, 1.0, 0.98), 256: (0.6, 0.9, 1.0, 0.8), 128: (0.5, 0.8, 0.95, 1.0)}
CELL_SPEED = {
    512: (0.35, 0.69, 0.85, 1.0),
    256: (0.45, 0.8, 1.0, 0.9),
    128: (0.35, 0.69, 0.85, 1.0),
}
# Registers that sums may take, of four gates of one or two hidden units.
SUM_REGISTERS = {512: 24, 256: 12, 128: 24}

# Time steps are walked in blocks: enough for whole squares of the transpose, few enough to
# leave a tile's inputs in the L1 cache. Where every step is written, longer stretches of each
# row at once are worth a place in the L2 cache (a trace of 100 steps in blocks of 32 takes 1.5
# times as long).
BLOCK_ELEMENTS, MOST_BLOCK_STEPS = 128, 32
SEQUENCE_ELEMENTS, MOST_SEQUENCE_STEPS = 512, 128
ALIGNMENT = 64


class Shape(NamedTuple):
    """A kind of tile: what a kernel is compiled for."""

    dtype: str
    vector_lanes: int
    vectors: int
    units: int
    cell: bool
    traced: bool

    @property
    def lanes(self) -> int:
        """Sequences a tile."""
        return self.vector_lanes * self.vectors


def make_shape(dtype: Any, vectors: int, cell: bool, traced: bool) -> Shape:
    """Return the kind of tile of so many vectors: two units at a time if their sums fit."""
    units = 2 if 8 * vectors <= SUM_REGISTERS[cpu.vector_bits()] and not cell else 1
    return Shape(np.dtype(dtype).name, cpu.lanes(dtype), vectors, units, cell, traced)


def is_cell(layers: Sequence[Layer]) -> bool:
    """Tell whether the network is one layer with one input and one hidden unit."""
    return len(layers) == 1 and layers[0].input_size == layers[0].hidden_size == 1


def choose_vectors(cell: bool, vector_lanes: int, n_rows: int, n_threads: int) -> int:
    """Return the vectors a tile that finish `n_rows` sequences first on `n_threads` threads.

    The last round of tiles leaves threads idle, so smaller tiles can win though each is
    slower: 512 sequences are 11 tiles of 48 (6 rounds of 2) or 8 of 64 (4 rounds).
    """
    speeds = (CELL_SPEED if cell else SPEED)[cpu.vector_bits()]

    def rounds(vectors: int) -> float:
        n_tiles = -(-n_rows // (vector_lanes * vectors))
        return -(-n_tiles // n_threads) * vectors / speeds[vectors - 1]

    return min(range(1, len(speeds) + 1), key=rounds)


@dataclass(frozen=True)
class Plan:
    """Everything that a kernel needs to know beyond its inputs and outputs."""

    shape: Shape
    block_steps: int
    layers: NDArray[np.int64]  # (L, LAYER_COLUMNS), its state offsets for one sequence
    table: NDArray[np.int64]  # (PLAN_COLUMNS,)
    panels: NDArray[Any]  # (sum of panels,)
    scratch_size: int

    def layers_for(self, n_rows: int) -> NDArray[np.int64]:
        """Return the table of layers with state offsets for `n_rows` sequences."""
        layers = self.layers.copy()
        layers[:, tiles.STATE_AT] *= n_rows
        return layers


def make_plan(layers: Sequence[Layer], head: Dense | None, shape: Shape, sequences: bool) -> Plan:
    """Lay out scratch memory and pack the weights for one kind of tile.

    Parameters
    ----------
    layers, head
        The network; `head` None leaves the hidden states as the outputs.
    shape
        The tile.
    sequences
        Whether the outputs of every step are written.
    """
    lanes = shape.lanes
    kept = [sequences or i + 1 < len(layers) for i in range(len(layers))]
    passed_on = [k.hidden_size for k, keep in zip(layers, kept, strict=True) if keep]
    widest = max(layers[0].input_size, *passed_on, 1)
    block_steps = MOST_SEQUENCE_STEPS if sequences else MOST_BLOCK_STEPS
    while block_steps > 1 and block_steps * widest > (
        SEQUENCE_ELEMENTS if sequences else BLOCK_ELEMENTS
    ):
        block_steps //= 2

    size = 0

    def place(rows: int) -> int:
        # every block may be read and written up to a whole square of the transpose
        nonlocal size
        at = size
        size += (rows + shape.vector_lanes) * lanes
        return at

    table = np.zeros(tiles.PLAN_COLUMNS, np.int64)
    rows = np.zeros((len(layers), tiles.LAYER_COLUMNS), np.int64)
    panels: list[NDArray[Any]] = []
    x_at, packed, state = place(block_steps * layers[0].input_size), 0, 0
    for row, layer, keep in zip(rows, layers, kept, strict=True):
        n_inputs, n_hidden = layer.input_size, layer.hidden_size
        panels.append(pack_layer(layer, shape.units))
        row[tiles.INPUTS], row[tiles.HIDDEN] = n_inputs, n_hidden
        row[tiles.PANEL], row[tiles.KEEP] = packed, keep
        row[tiles.X_AT] = x_at
        row[tiles.H_AT] = place((block_steps + 1 if keep else 2) * n_hidden)
        row[tiles.C_AT] = place(n_hidden)
        row[tiles.FINAL_H_AT], row[tiles.FINAL_C_AT] = place(n_hidden), place(n_hidden)
        row[tiles.STATE_AT] = state
        x_at = row[tiles.H_AT] + n_hidden * lanes
        packed += panels[-1].size
        state += n_hidden
    top = layers[-1].hidden_size
    if shape.traced:
        table[tiles.GATES_AT] = place(5 * block_steps * top)
    if head is not None:
        table[tiles.HEAD_OUTPUTS], table[tiles.HEAD_PANEL] = head.output_size, packed
        table[tiles.Y_AT] = place((block_steps if sequences else 1) * head.output_size)
        panels.append(pack_dense(head))
    panel = aligned_empty(sum(part.size for part in panels), shape.dtype)
    np.concatenate(panels, out=panel)
    return Plan(shape, block_steps, rows, table, panel, size)


def aligned_empty(size: int, dtype: Any) -> NDArray[Any]:
    """Return an uninitialised array that begins at a cache line, for whole-vector loads."""
    itemsize = np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT // itemsize, dtype)
    offset = (-memory.ctypes.data % ALIGNMENT) // itemsize
    return memory[offset : offset + size]


@cache
def kernel(shape: Shape) -> Any:
    """Return the compiled kernel for a kind of tile."""
    from numba import from_dtype, types

    from fastlstm.engine.jit import compile_kernel

    number = types.Array(from_dtype(np.dtype(shape.dtype)), 1, "C")
    integers, table = types.Array(types.int64, 1, "C"), types.Array(types.int64, 2, "C")
    integer = types.int64
    signature = (
        (integers, integer, integer, integer, integer, table, integers, number)
        + (number, integers, integers, integers, integers, integer, integer)
        + (number,) * 4
        + (number, number, types.UniTuple(number, 5), number, integers)
    )
    function = tiles.make_kernel(*shape[1:])
    names = ("cell" if shape.cell else "layers", "traced" if shape.traced else "plain")
    variant = f"{shape.dtype}_{shape.vector_lanes}x{shape.vectors}x{shape.units}_{'_'.join(names)}"
    return compile_kernel(function, variant, signature)


def warm_kernels(dtype: str, cell: bool) -> None:
    """Compile the kernels of every size of tile, but for traces."""
    for vectors in range(1, len(SPEED[cpu.vector_bits()]) + 1):
        kernel(make_shape(dtype, vectors, cell, traced=False))
