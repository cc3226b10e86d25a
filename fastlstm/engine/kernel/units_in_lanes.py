"""A hidden unit in each lane: the layout for few sequences.

What depends only on the inputs is computed first, for all time steps of a block at once
(`run_inputs`). What remains for each step is the product with the last hidden state (`run_steps`):

    z = b + W_ih x_t                        run_inputs, for every step
    z = z + W_hh h_{t-1}                    add_products, in the order of `sums`
    h_t, c_t = next_state(z, c_{t-1})       `cells`
    h_t = W_hr h_t                          run_dense, if there is a projection

The order of summation is that of the other layout, and so are the bits: a call may use whichever
layout is faster.

In scratch memory, hidden units are padded to whole *groups*, the `vectors` vectors of them that are
summed up together. With two vectors of 16 lanes a group is 32 units:

    x   step 0  sequence 0 | inputs |              h   slot 0  sequence 0 | padded outputs |
                sequence 1 | inputs |                          sequence 1 | padded outputs |
        step 1  sequence 0 | inputs |                  slot 1  sequence 0 | padded outputs |
                ...                                            ...

    z   step 0  sequence 0 | i f g o of vector 0 | i f g o of vector 1 | ...
                sequence 1 | i f g o of vector 0 | i f g o of vector 1 | ...
                ...
    c   group 0 sequence 0 | units 0 ... 31  |     and i f g o and c of a trace likewise,
                sequence 1 | units 0 ... 31  |     step after step
        group 1 sequence 0 | units 32 ... 63 |
                ...

Slot s holds the hidden state before step s. The next layer reads slots 1, 2, ... as its x.
"""

from __future__ import annotations

from typing import Any

from fastlstm.engine import cpu
from fastlstm.engine.jit import function, helper
from fastlstm.engine.kernel.cells import PEEPHOLES, make_cell
from fastlstm.engine.kernel.forms import Kind
from fastlstm.engine.kernel.layout import FIRST, NOWHERE, Layout, known_id, layer_of, out_step, slot
from fastlstm.engine.kernel.normalise import norm_row
from fastlstm.engine.kernel.sums import BLOCK, add_products
from fastlstm.engine.simd.arithmetic import empty_pack, fma, lane_count, one_vector, zeros
from fastlstm.engine.simd.gates import load_strided, repeat, split_gates, store_strided
from fastlstm.engine.simd.memory import load, load_splat, store


def make_layout(kind: Kind) -> Layout:
    """Return the operations of this layout for a kind of tile."""
    return Layout(
        sequences=sequences,
        start_state=start_state,
        read_inputs=make_read(kind),
        run_layer=make_run_layer(kind),
        write_steps=write_steps,
        write_gates=write_gates,
        to_first_slot=to_first_slot,
        set_aside=set_aside,
        write_state=write_state,
        write_last=write_last,
    )


# --- the equations ------------------------------------------------------------------------------


def make_run_layer(kind: Kind) -> Any:
    """Return the helper that runs a layer through some time steps."""
    next_state, projected, traced = make_cell(kind.form.cell), kind.form.projected, kind.traced
    repeated, normed = kind.form.repeated, kind.form.normed
    lanes, n_states = kind.vector_lanes, kind.vectors * kind.group
    input_rows = cpu.simd().input_rows
    group_count, states_count, input_count = 4 * kind.vectors, 4 * n_states, 4 * input_rows

    @helper
    def run_layer(work: Any, i: int, values: Any, ahead: int, n: int, like: Any) -> None:
        plan, layer, scratch = work.plan, layer_of(work, i), work.scratch
        if normed and layer.norm_panel >= 0:
            norm_inputs(work, i, n, one_vector(like))
        z, z_step = plan.z_at, 4 * layer.padded * plan.sequences
        if repeated and i == 0:  # b + W_ih x has been summed up for all steps
            z, z_step = plan.sums_at, 0
        elif layer.inputs:  # else they have been looked up
            run_inputs(
                work.panels, layer, scratch, n * plan.sequences, plan.z_at,
                empty_pack(scratch, lanes, 4), empty_pack(scratch, lanes, input_count), input_rows,
            )  # fmt: skip
        gates = NOWHERE
        if traced and i == plan.n_layers - 1:
            gates = plan.gates_at
        run_steps(
            next_state, projected, work.panels, layer, scratch, z, z_step, plan.sequences, n,
            gates, plan.gates_apart, like, empty_pack(scratch, lanes, group_count),
            empty_pack(scratch, lanes, states_count), empty_pack(scratch, lanes, n_states),
        )  # fmt: skip

    return run_layer


@function
def norm_inputs(work: Any, i: int, n: int, vector: Any) -> None:
    """Write the layer norm of what the layer below has given in n steps to the layer's x."""
    layer, below, sequences = layer_of(work, i), layer_of(work, i - 1), work.plan.sequences
    wide = layer.x_step
    for row in range(n * sequences):
        norm_row(
            work.scratch, below.h_at + (sequences + row) * wide, layer.x_at + row * wide,
            layer.inputs, work.panels, layer.norm_panel, wide, vector,
        )  # fmt: skip


@helper
def run_inputs(
    panel: Any, layer: Any, scratch: Any, n_rows: int, z: int, gates: Any, like: Any, count: int
) -> None:
    """Write z = b + W_ih x for `n_rows` rows of inputs.

    One vector of hidden units is computed at a time. Its `gates` are summed up for `count` rows
    together, which has the shape of `like`; the last rows may be beyond `n_rows`.
    """
    size, n_inputs, x, x_step = lane_count(gates), layer.inputs, layer.x_at, layer.x_step
    p, z_step = layer.panel, 4 * layer.padded
    for v in range(0, z_step, size):
        bias = repeat(load(panel, p, gates), like)
        p += size
        for r in range(0, n_rows, count):
            at = x + r * x_step
            sums = add_products(bias, scratch, at, 1, x_step, panel, p, n_inputs, gates)
            store_strided(scratch, z + r * z_step + v, z_step, sums, gates)
        p += size * n_inputs


@helper
def run_steps(
    next_state: Any, projected: bool, panels: Any, layer: Any, scratch: Any, z: int, z_step: int,
    n_sequences: int, steps: int, gates: int, gates_apart: int,
    units: Any, group: Any, like: Any, states: Any,
) -> None:  # fmt: skip
    """Run `steps` time steps of a layer whose sums over the inputs are at `z`, `z_step` apart.

    `units` has the shape of a group's hidden units, `group` that of their gates; `states` and
    `like` are these shapes for all sequences that are summed up together. The other sequences of
    the tile follow while the group's weights are in the L1 cache. With `gates` >= 0 the activated
    gates and the cell states are written there, in the order of c.
    """
    n_units, size, vector = lane_count(units), lane_count(states), one_vector(units)
    n_outputs, padded, wide = layer.outputs, layer.padded, layer.padded_outputs
    together = size // n_units
    for s in range(steps):
        h_last = layer.h_at + slot(s, layer.kept) * n_sequences * wide
        h_next = layer.h_at + slot(s + 1, layer.kept) * n_sequences * wide
        to = layer.cell_output_at if projected else h_next
        w, c, cell = layer.hidden_panel, layer.c_at, layer.cell_panel
        p = cell + PEEPHOLES
        for unit in range(0, padded, n_units):
            peepholes = (
                repeat(load(panels, p + unit, units), states),
                repeat(load(panels, p + padded + unit, units), states),
                repeat(load(panels, p + 2 * padded + unit, units), states),
            )
            for first in range(0, n_sequences, together):
                # z = z + W_hh h_{t-1}
                at = z + 4 * (first * padded + unit)
                sums = load_strided(scratch, at, 4 * padded, group, like)
                sums = add_products(
                    sums, scratch, h_last + first * wide, 1, wide, panels, w, n_outputs, group
                )
                # h_t, c_t = next_state(z, c_{t-1})
                h_new, c_new = next_state(
                    split_gates(sums, 0, vector, states), load(scratch, c, states), peepholes,
                    panels, cell, scratch, gates, gates_apart, states,
                )  # fmt: skip
                store(scratch, c, c_new)
                # `to` has rows as wide as c: the padded hidden units, also without a projection
                store_strided(scratch, to + first * padded + unit, padded, h_new, units)
                c += size
                if gates >= 0:
                    gates += size
            w += lane_count(group) * n_outputs
        if projected:  # h_t = W_hr h_t
            for sequence in range(n_sequences):
                run_dense(
                    panels, layer.projection_panel, layer.hidden, n_outputs, scratch,
                    to + sequence * padded, h_next + sequence * wide, vector,
                )  # fmt: skip
        z += z_step


@function
def run_dense(
    panel: Any, p: int, n_inputs: int, n_outputs: int, scratch: Any, x: int, y: int, vector: Any
) -> None:
    """Write `bias + weight @ x` of the sequence at `x` to `y`, in the order of `sums`.

    A vector of outputs is computed at a time, so some may be written beyond `n_outputs`.
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


# --- sequences in: copied as they are ------------------------------------------------------------


@helper
def sequences(work: Any, like: Any) -> int:
    """Return how many sequences a tile has. For all operations, see `Layout`."""
    return work.plan.sequences


@function
def copy_row(source: Any, at: int, n: int, target: Any, to: int) -> None:
    """Copy `source[at : at + n]` to `target[to :]`."""
    for k in range(n):
        target[to + k] = source[at + k]


@function
def copy_vectors(source: Any, at: int, n: int, target: Any, to: int, vector: Any) -> None:
    """Do the same, a vector at a time."""
    lanes = lane_count(vector)
    whole = n - n % lanes
    for k in range(0, whole, lanes):
        store(target, to + k, load(source, at + k, vector))
    for k in range(whole, n):
        target[to + k] = source[at + k]


@function
def start_state(work: Any, seats: Any, start: Any, like: Any) -> None:
    """Fill slot 0 of every layer's h, and c, from the state that came in, or with zeros."""
    scratch, units, sequences = work.scratch, lane_count(like), work.plan.sequences
    for i in range(work.plan.n_layers):
        layer = layer_of(work, i)
        wide = layer.padded_outputs
        for k in range(sequences * wide):
            scratch[layer.h_at + k] = 0
        for k in range(sequences * layer.padded):
            scratch[layer.c_at + k] = 0
        if start.rows:
            for place in range(sequences):
                row = seats.row[place]
                at = layer.state_h_at * start.rows + row * layer.outputs
                copy_row(start.h, at, layer.outputs, scratch, layer.h_at + place * wide)
                at = layer.state_c_at * start.rows + row * layer.hidden
                for first in range(0, layer.hidden, units):
                    c = layer.c_at + first * sequences + place * units
                    copy_row(start.c, at + first, min(units, layer.hidden - first), scratch, c)


def make_read(kind: Kind) -> Any:
    """Return the operation that reads inputs."""
    if kind.form.embedded:
        return look_up
    return make_read_repeated(kind) if kind.form.repeated else read_inputs


def make_read_repeated(kind: Kind) -> Any:
    """Return the operation that reads the inputs of all steps, and sums up b + W_ih x, once."""
    lanes, input_rows = kind.vector_lanes, cpu.simd().input_rows
    count = 4 * input_rows

    @function
    def read_repeated(work: Any, seats: Any, values: Any, t: int, n: int, like: Any) -> None:
        if t > 0:
            return
        plan, layer, scratch = work.plan, layer_of(work, FIRST), work.scratch
        for place in range(plan.sequences):
            to = layer.x_at + place * plan.width
            copy_vectors(values, seats.start[place], plan.width, scratch, to, one_vector(like))
        run_inputs(
            work.panels, layer, scratch, plan.sequences, plan.sums_at,
            empty_pack(scratch, lanes, 4), empty_pack(scratch, lanes, count), input_rows,
        )  # fmt: skip

    return read_repeated


@function
def read_inputs(work: Any, seats: Any, values: Any, t: int, n: int, like: Any) -> None:
    """Copy the inputs of n steps from step t on to the first layer's x."""
    width, sequences, vector = work.plan.width, work.plan.sequences, one_vector(like)
    for place in range(sequences):
        at, step = first_step(work.plan, seats, place, t)
        to = layer_of(work, FIRST).x_at + place * width
        for j in range(n):
            copy_vectors(
                values, at + j * step, width, work.scratch, to + j * sequences * width, vector
            )


@function
def look_up(work: Any, seats: Any, ids: Any, t: int, n: int, like: Any) -> None:
    """Copy rows of the embedding's table: vectors to the first layer's x, or sums to its z."""
    plan, sequences, vector = work.plan, work.plan.sequences, one_vector(like)
    width = plan.x_width
    x = layer_of(work, FIRST).x_at if layer_of(work, FIRST).inputs else plan.z_at
    for place in range(sequences):
        at, step = first_step(plan, seats, place, t)
        to = x + place * width
        for j in range(n):
            row = known_id(ids[at + j * step], plan.last_id)
            copy_vectors(
                work.table, row * width, width, work.scratch, to + j * sequences * width, vector
            )


@helper
def first_step(plan: Any, seats: Any, place: int, t: int) -> Any:
    """Return where step t of a sequence is in the values, and how far from it the next step is."""
    if plan.reversed:
        return seats.start[place] - (t + 1) * plan.width, -plan.width
    return seats.start[place] + t * plan.width, plan.width


@function
def to_first_slot(work: Any, n: int, like: Any) -> None:
    """Copy every layer's last hidden state to where the next time steps expect it."""
    for i in range(work.plan.n_layers):
        layer = layer_of(work, i)
        size = layer.padded_outputs * work.plan.sequences
        now = slot(n, layer.kept) * size
        if now:
            copy_row(work.scratch, layer.h_at + now, size, work.scratch, layer.h_at)


@function
def set_aside(work: Any, place: int, like: Any) -> None:
    """Keep the state of a sequence that has ended."""
    scratch, units, sequences = work.scratch, lane_count(like), work.plan.sequences
    for i in range(work.plan.n_layers):
        layer = layer_of(work, i)
        at = place * layer.padded_outputs
        copy_row(scratch, layer.h_at + at, layer.outputs, scratch, layer.final_h_at + at)
        for first in range(0, layer.padded, units):
            at = first * sequences + place * units
            copy_row(scratch, layer.c_at + at, units, scratch, layer.final_c_at + at)


# --- results out --------------------------------------------------------------------------------


@function
def copy_units(source: Any, at: int, pitch: int, n: int, units: int, target: Any, to: int) -> None:
    """Copy n numbers that are stored in groups of `units`, which are `pitch` apart."""
    for first in range(0, n, units):
        copy_row(source, at, min(units, n - first), target, to + first)
        at += pitch


@function
def write_outputs(work: Any, h: int, out: Any, step: int, like: Any) -> None:
    """Write the outputs of the hidden state at `h` to one step of the outputs."""
    plan, top, scratch = work.plan, layer_of(work, work.plan.n_layers - 1), work.scratch
    n = top.outputs
    if plan.head_outputs:
        n = plan.head_outputs
        run_dense(
            work.panels, plan.head_panel, top.outputs, n, scratch, h, plan.y_at, one_vector(like)
        )
        h = plan.y_at
    copy_row(scratch, h, n, out, step * plan.out_stride + plan.out_column)


@function
def write_steps(work: Any, seats: Any, valid: int, t: int, n: int, out: Any, like: Any) -> None:
    """Write the outputs of n time steps from step t on."""
    plan, top = work.plan, layer_of(work, work.plan.n_layers - 1)
    for place in range(valid):
        if t < seats.length[place]:
            for j in range(n):
                h = top.h_at + ((j + 1) * plan.sequences + place) * top.padded_outputs
                write_outputs(work, h, out, out_step(plan, seats, place, t + j), like)


@function
def write_gates(
    work: Any, seats: Any, valid: int, t: int, n: int, gates: Any, size: int, like: Any
) -> None:
    """Write the last layer's gates and cell states: five arrays, one after the other."""
    plan, top, units = work.plan, layer_of(work, work.plan.n_layers - 1), lane_count(like)
    sequences = plan.sequences
    for place in range(valid):
        if t < seats.length[place]:
            for j in range(n):
                step = out_step(plan, seats, place, t + j)
                to = step * plan.gate_stride + plan.gate_column
                for gate in range(5):
                    at = plan.gates_at + gate * plan.gates_apart + place * units
                    copy_units(
                        work.scratch, at + j * sequences * top.padded, sequences * units,
                        top.hidden, units, gates, gate * size + to,
                    )  # fmt: skip


@function
def write_state(work: Any, seats: Any, valid: int, uneven: bool, end: Any, like: Any) -> None:
    """Write the state after each sequence's last real step."""
    units, sequences = lane_count(like), work.plan.sequences
    for i in range(work.plan.n_layers):
        layer = layer_of(work, i)
        h, c = (layer.final_h_at, layer.final_c_at) if uneven else (layer.h_at, layer.c_at)
        for place in range(valid):
            row = seats.row[place]
            to = layer.state_h_at * end.rows + row * layer.outputs
            copy_row(work.scratch, h + place * layer.padded_outputs, layer.outputs, end.h, to)
            to = layer.state_c_at * end.rows + row * layer.hidden
            copy_units(
                work.scratch, c + place * units, sequences * units, layer.hidden, units, end.c, to
            )


@function
def write_last(work: Any, seats: Any, valid: int, uneven: bool, out: Any, like: Any) -> None:
    """Write the outputs of each sequence's last real step."""
    top = layer_of(work, work.plan.n_layers - 1)
    h = top.final_h_at if uneven else top.h_at
    for place in range(valid):
        write_outputs(work, h + place * top.padded_outputs, out, seats.out[place], like)
