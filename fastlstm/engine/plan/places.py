"""The layout of a thread's scratch memory, and the weights packed to match it.

What a place holds is drawn beside the code that reads it, in `kernel.sequences_in_lanes` and
`kernel.units_in_lanes`. Places are handed out one after the other, each at a whole vector:

    scratch  | x | h of layer 0 | c | final h | final c | h of layer 1 | ... | gates | y | spare |
    panels   | layer 0 | its cell | its projection | layer 1 | its cell | ... | head |
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlstm.engine import cpu
from fastlstm.engine.kernel.forms import UNITS, Tile
from fastlstm.engine.kernel.records import LAYER, PLAN
from fastlstm.engine.plan.chain import Stack
from fastlstm.engine.plan.packing import (
    pack_cell,
    pack_dense,
    pack_layer,
    pack_norm,
    pack_row_dense,
    pack_unit_cell,
    pack_unit_layer,
)
from fastlstm.network.dense import Dense

Array = NDArray[Any]

# Time steps are walked in blocks: enough steps for whole squares of the transpose, few enough to
# keep a tile's inputs in the L1 cache. If every step is written, writing longer stretches of each
# row is worth using the L2 cache (in blocks of 32, a trace of 100 steps takes 1.5 times as long).
BLOCK_ELEMENTS, MOST_BLOCK_STEPS = 128, 32
SEQUENCE_ELEMENTS, MOST_SEQUENCE_STEPS = 512, 128
# With hidden units in the lanes, the sums over the inputs of a block have to fit in the L2 cache.
UNIT_BLOCK_BYTES, MOST_UNIT_STEPS = 128 * 1024, 64
ALIGNMENT = 64
# Numbers after the last place: a vector that begins in a place may reach beyond it.
SPARE = 1024


class Places:
    """Places in scratch memory and in the panels, handed out one after the other."""

    def __init__(self, stack: Stack, head: Dense | None, tile: Tile, every_step: bool) -> None:
        self.layers = np.zeros(len(stack.layers), LAYER)
        self.plan = np.zeros(1, PLAN)
        self.panels: list[Array] = []
        self.packed = 0  # numbers in the panels
        self.size = SPARE  # numbers of scratch memory
        self._describe_layers(stack, every_step)
        self._describe_plan(stack, head, tile, every_step)

    def _describe_layers(self, stack: Stack, every_step: bool) -> None:
        outputs = [layer.output_size for layer in stack.layers]
        hidden = [layer.hidden_size for layer in stack.layers]
        self.layers["inputs"] = [layer.input_size for layer in stack.layers]
        if stack.looks_up_sums:
            self.layers["inputs"][0] = 0
        self.layers["outputs"], self.layers["hidden"] = outputs, hidden
        self.layers["norm_panel"] = -1
        self.layers["kept"] = 1  # for the layer above
        self.layers["kept"][-1] = every_step
        self.layers["state_h_at"] = stack.first_h + np.cumsum([0, *outputs[:-1]])
        self.layers["state_c_at"] = stack.first_c + np.cumsum([0, *hidden[:-1]])

    def _describe_plan(
        self, stack: Stack, head: Dense | None, tile: Tile, every_step: bool
    ) -> None:
        plan, hidden = self.plan[0], stack.layers[-1].hidden_size
        plan["n_layers"] = len(stack.layers)
        plan["sequences"] = tile.sequences
        plan["every_step"] = every_step
        plan["width"] = stack.width
        if stack.embedding is not None:
            plan["last_id"] = stack.embedding.ids - 1
        plan["reversed"], plan["out_reversed"] = stack.reversed, stack.out_reversed
        plan["repeated"] = stack.repeated
        plan["out_stride"] = stack.output_size * stack.places
        plan["out_column"] = stack.output_size * stack.place
        plan["gate_stride"], plan["gate_column"] = hidden * stack.places, hidden * stack.place
        if head is not None:
            plan["head_outputs"] = plan["out_stride"] = head.output_size

    def place(self, size: int) -> int:
        """Return where `size` numbers of scratch memory begin, at a whole vector."""
        at = self.size - SPARE
        self.size += -(-size // ALIGNMENT) * ALIGNMENT
        return at

    def pack(self, panel: Array) -> int:
        """Return where a panel begins."""
        at = self.packed
        self.panels.append(panel)
        self.packed += panel.size
        return at


def lay_out(stack: Stack, head: Dense | None, tile: Tile, every_step: bool) -> Places:
    """Lay out scratch memory and pack the weights; the arguments are those of `plan.make_plan`."""
    places = Places(stack, head, tile, every_step)
    if tile.kind.lanes_hold == UNITS:
        _lay_out_units(places, stack, head, tile)
    else:
        _lay_out_sequences(places, stack, head, tile)
    return places


def _lay_out_sequences(places: Places, stack: Stack, head: Dense | None, tile: Tile) -> None:
    """Lay everything out as `kernel.sequences_in_lanes` expects it."""
    kind, layers, plan = tile.kind, stack.layers, places.plan[0]
    summed, every_step = stack.looks_up_sums, plan["every_step"]
    passed_on = [k.output_size for k, at in zip(layers, places.layers, strict=True) if at["kept"]]
    sums_width = 4 * kind.group * -(-layers[0].hidden_size // kind.group)
    x_width = sums_width if summed else layers[0].input_size
    widest = max(0 if stack.repeated else x_width, *passed_on, 1)
    most = SEQUENCE_ELEMENTS if every_step else BLOCK_ELEMENTS
    block_steps = MOST_SEQUENCE_STEPS if every_step else MOST_BLOCK_STEPS
    while block_steps > 1 and block_steps * widest > most:
        block_steps //= 2
    plan["x_width"], plan["block_steps"] = x_width, block_steps

    def place(rows: int) -> int:
        # every block may be read and written up to a whole square of the transpose, and four
        # outputs of a dense layer at a time
        return places.place((rows + max(kind.vector_lanes, 4)) * tile.sequences)

    x_at = place(x_width if stack.repeated else block_steps * x_width)
    if stack.repeated:
        plan["sums_at"] = place(sums_width)
    for i, (at, layer) in enumerate(zip(places.layers, layers, strict=True)):
        n_hidden, n_outputs = layer.hidden_size, layer.output_size
        if (norm := stack.norms[i]) is not None:
            at["norm_panel"] = places.pack(pack_norm(norm, layer.input_size))
            x_at = place(block_steps * layer.input_size)
        at["panel"] = places.pack(pack_layer(layer, kind.group, summed and i == 0))
        at["cell_panel"] = places.pack(pack_cell(layer, n_hidden + kind.group))
        at["x_at"] = x_at
        at["h_at"] = place((block_steps + 1 if at["kept"] else 2) * n_outputs)
        at["c_at"] = place(n_hidden)
        at["final_h_at"], at["final_c_at"] = place(n_outputs), place(n_hidden)
        if layer.w_hr is not None:
            at["cell_output_at"] = place(n_hidden)
            at["projection_panel"] = places.pack(pack_dense(Dense(layer.w_hr)))
        x_at = at["h_at"] + n_outputs * tile.sequences  # slot 1
    if kind.traced:
        rows = block_steps * layers[-1].hidden_size + 1  # a unit more is computed, and written
        plan["gates_at"], plan["gates_apart"] = place(5 * rows), rows * tile.sequences
    if head is not None:
        plan["head_panel"] = places.pack(pack_dense(head))
        plan["y_at"] = place((block_steps if every_step else 1) * head.output_size)


def _lay_out_units(places: Places, stack: Stack, head: Dense | None, tile: Tile) -> None:
    """Lay everything out as `kernel.units_in_lanes` expects it."""
    kind, n, plan = tile.kind, tile.sequences, places.plan[0]
    layers, input_rows = stack.layers, cpu.simd().input_rows
    itemsize = np.dtype(kind.dtype).itemsize
    padded = [kind.padded(layer.hidden_size) for layer in layers]
    most = UNIT_BLOCK_BYTES // (itemsize * 4 * n * max(padded))
    plan["block_steps"] = block_steps = max(1, min(most, MOST_UNIT_STEPS))

    def place_rows(size: int) -> int:
        # the inputs are read `input_rows` rows at a time, and the sums over them so written
        return places.place((block_steps * n + input_rows) * size)

    x_step = layers[0].input_size
    x_at = place_rows(x_step)
    plan["z_at"] = place_rows(4 * max(padded))
    if stack.repeated:
        plan["sums_at"] = places.place((n + input_rows) * 4 * padded[0])
    plan["x_width"] = 4 * padded[0] if stack.looks_up_sums else x_step
    for at, layer, size, norm in zip(places.layers, layers, padded, stack.norms, strict=True):
        if norm is not None:  # with rows as wide as those of the layer below
            at["norm_panel"] = places.pack(pack_norm(norm, x_step))
            x_at = place_rows(x_step)
        of_inputs, of_hidden = pack_unit_layer(layer, kind.vector_lanes, kind.vectors)
        at["panel"], at["hidden_panel"] = places.pack(of_inputs), places.pack(of_hidden)
        at["cell_panel"] = places.pack(pack_unit_cell(layer, size))
        wide = size
        if layer.w_hr is not None:
            wide = -(-layer.output_size // kind.vector_lanes) * kind.vector_lanes
            projection = pack_row_dense(Dense(layer.w_hr), kind.vector_lanes)
            at["projection_panel"] = places.pack(projection)
            at["cell_output_at"] = places.place(n * size)
        at["padded"], at["padded_outputs"] = size, wide
        at["x_at"], at["x_step"] = x_at, x_step
        at["h_at"] = place_rows(wide) if at["kept"] else places.place(2 * n * wide)
        places.place(n * wide)  # one slot more than there are steps
        at["c_at"] = places.place(n * size)
        at["final_h_at"], at["final_c_at"] = places.place(n * wide), places.place(n * size)
        x_at, x_step = at["h_at"] + n * wide, wide  # slot 1
    if kind.traced:
        plan["gates_apart"] = block_steps * n * padded[-1]
        plan["gates_at"] = places.place(5 * plan["gates_apart"])
    if head is not None:
        plan["head_panel"] = places.pack(pack_row_dense(head, kind.vector_lanes))
        # whole vectors of outputs
        plan["y_at"] = places.place(head.output_size + kind.vector_lanes)
