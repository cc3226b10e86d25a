"""A sequence in each lane: the layout for many sequences.

For a weight w and the numbers x of all sequences of a tile, side by side, `z + w * x` takes one
instruction per vector. These are the equations of a step, for the four gates i f g o of one or two
hidden units at a time (`make_run_layer`):

    z = b + W_ih x_t + W_hh h_{t-1}         add_products, in the order of `sums`
    h_t, c_t = next_state(z, c_{t-1})       `cells`
    h_t = W_hr h_t                          run_dense, if there is a projection

In scratch memory the sequences are always side by side: each input or hidden unit has one number
for every sequence of the tile. For a tile of 3 vectors of 16 lanes, which is 48 sequences:

    x   step 0  input 0    | s0 s1 s2 ... s47 |      h   slot 0  unit 0    | s0 s1 ... s47 |
                input 1    | s0 s1 s2 ... s47 |                  unit 1    | s0 s1 ... s47 |
        step 1  input 0    | s0 s1 s2 ... s47 |          slot 1  unit 0    | s0 s1 ... s47 |
                ...                                      ...
                                                     c           unit 0    | s0 s1 ... s47 |

Slot s holds the hidden state before step s. The next layer reads slots 1, 2, ... as its x.
Weights come as a panel, in exactly the order in which they are read here (`packing.pack_layer`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlstm.engine.jit import function, helper
from fastlstm.engine.kernel.cells import PEEPHOLES, make_cell
from fastlstm.engine.kernel.forms import Kind
from fastlstm.engine.kernel.layout import FIRST, NOWHERE, Layout, known_id, layer_of, out_step, slot
from fastlstm.engine.kernel.normalise import norm_lanes
from fastlstm.engine.kernel.sums import add_products
from fastlstm.engine.simd.arithmetic import empty_pack, lane_count, vector_lanes, zeros
from fastlstm.engine.simd.gates import fma_gates, splat_gates, splat_strided, split_gates
from fastlstm.engine.simd.memory import load, prefetch, store
from fastlstm.engine.simd.transpose import lanes_to_rows, rows_to_lanes


def make_layout(kind: Kind) -> Layout:
    """Return the operations of this layout for a kind of tile."""
    return Layout(
        sequences=sequences,
        start_state=start_state,
        read_inputs=make_read(kind),
        run_layer=make_run_cell(kind) if kind.form.scalar else make_run_layer(kind),
        write_steps=write_steps,
        write_gates=write_gates,
        to_first_slot=to_first_slot,
        set_aside=set_aside,
        write_state=write_state,
        write_last=write_last,
    )


# --- the equations ------------------------------------------------------------------------------


def make_run_layer(kind: Kind) -> Any:
    """Return the helper that runs a layer through some time steps.

    One or two hidden units (`units`) are summed up together. `states` has the shape of the states
    that are then computed together: those of both units, or of one. If the number of units is odd,
    one more is computed, and written after the layer's own.
    """
    next_state, traced, units = make_cell(kind.form.cell), kind.traced, kind.group
    embedded, projected, repeated = kind.form.embedded, kind.form.projected, kind.form.repeated
    normed = kind.form.normed
    n_gates, lanes_of_vector = 4 * units, kind.vector_lanes
    # both units' states at once hide more latency, but three vectors of each do not fit
    state_vectors = kind.vectors * units if kind.vectors <= 2 else kind.vectors

    @helper
    def run_layer(work: Any, i: int, values: Any, ahead: int, n: int, like: Any) -> None:
        plan, layer, panels, scratch = work.plan, layer_of(work, i), work.panels, work.scratch
        states, lanes = empty_pack(scratch, lanes_of_vector, state_vectors), lane_count(like)
        n_inputs, n_hidden, n_outputs = layer.inputs, layer.hidden, layer.outputs
        h_at, c_at, kept = layer.h_at, layer.c_at, layer.kept
        panel, cell, gates_apart = layer.panel, layer.cell_panel, plan.gates_apart
        x, x_step = layer.x_at, (n_inputs if i else plan.x_width) * lanes
        if i == 0 and plan.reversed and not embedded:  # x is in the order of the values
            x, x_step = x + (n - 1) * x_step, -x_step
        size = n_outputs * lanes
        if normed and layer.norm_panel >= 0:
            norm_inputs(work, i, n, like)
        summed = n_inputs
        if repeated and i == 0:  # b + W_ih x has been summed up for all steps
            summed = 0
        gates = NOWHERE
        if traced and i == plan.n_layers - 1:
            gates = plan.gates_at
        for s in range(n):
            h_last, h_next = h_at + slot(s, kept) * size, h_at + slot(s + 1, kept) * size
            to = layer.cell_output_at if projected else h_next
            w = panel
            for u in range(0, n_hidden, units):
                # z = b + W_ih x_t + W_hh h_{t-1}
                z = splat_gates(panels, w, units, like)
                if embedded and n_inputs == 0:  # b + W_ih x_t has been looked up
                    z = load(scratch, x + 4 * u * lanes, z)
                if repeated and i == 0:
                    z = load(scratch, plan.sums_at + 4 * u * lanes, z)
                w += n_gates
                for part in range(2):  # one copy of the code for both: half the compile time
                    at, terms = (h_last, n_outputs) if part else (x, summed)
                    z = add_products(z, panels, w, n_gates, 1, scratch, at, terms, like)
                    w += n_gates * (n_outputs if part else n_inputs)
                # h_t, c_t = next_state(z, c_{t-1})
                at = u * lanes
                finish_units(
                    next_state, split_gates(z, 0, like, states), panels, cell, u, scratch,
                    c_at + at, to + at, gates, at, gates_apart, like, states,
                )  # fmt: skip
                if lane_count(states) < units * lanes:
                    at += lanes
                    finish_units(
                        next_state, split_gates(z, 1, like, states), panels, cell, u + 1, scratch,
                        c_at + at, to + at, gates, at, gates_apart, like, states,
                    )  # fmt: skip
            if projected:  # h_t = W_hr h_t
                p = layer.projection_panel
                run_dense(panels, p, n_hidden, n_outputs, scratch, to, h_next, like)
            x += x_step
            if gates >= 0:
                gates += n_hidden * lanes

    return run_layer


@function
def norm_inputs(work: Any, i: int, n: int, like: Any) -> None:
    """Write the layer norm of what the layer below has given in n steps to the layer's x."""
    layer, below, lanes = layer_of(work, i), layer_of(work, i - 1), lane_count(like)
    step = layer.inputs * lanes
    for s in range(n):
        norm_lanes(
            work.scratch, below.h_at + (s + 1) * step, layer.x_at + s * step, layer.inputs,
            work.panels, layer.norm_panel, like,
        )  # fmt: skip


@helper
def finish_units(
    next_state: Any, z: Any, panel: Any, cell: int, unit: int, scratch: Any, c: int, h: int,
    gates: int, at: int, stride: int, like: Any, states: Any,
) -> None:  # fmt: skip
    """Write the new state of one or two units at `at`, and their gates if `gates` >= 0."""
    gates_at = gates + at if gates >= 0 else gates
    peepholes = splat_peepholes(panel, cell, unit, like, states)
    h_new, c_new = next_state(
        z, load(scratch, c, states), peepholes, panel, cell, scratch, gates_at, stride, states
    )
    store(scratch, c, c_new)
    store(scratch, h, h_new)


@helper
def splat_peepholes(panel: Any, cell: int, unit: int, like: Any, states: Any) -> Any:
    """Return the peepholes i f o of one or two units, each of the shape of their states."""
    p = cell + PEEPHOLES + 3 * unit
    return (
        splat_strided(panel, p, 3, like, states),
        splat_strided(panel, p + 1, 3, like, states),
        splat_strided(panel, p + 2, 3, like, states),
    )


def make_run_cell(kind: Kind) -> Any:
    """Return the helper that runs a layer with one input and one hidden unit.

    The state stays in registers. Each sum has one term for the input and one for the hidden unit,
    in the same order as in other layers. A step of a tile takes about 80 nanoseconds, too little
    for the hardware to predict the next tile's rows, so `values[ahead:]` is prefetched, a step's
    worth in every step (25 % faster than without; in one burst it is slower than without).
    """
    next_state, traced = make_cell(kind.form.cell), kind.traced

    @helper
    def run_cell(work: Any, i: int, values: Any, ahead: int, n: int, like: Any) -> None:
        plan, layer, panels, scratch = work.plan, layer_of(work, i), work.panels, work.scratch
        lanes, p, cell = lane_count(like), layer.panel, layer.cell_panel
        x, x_step = layer.x_at, lanes
        if plan.reversed:  # they lie as they do in the values
            x, x_step = x + (n - 1) * lanes, -lanes
        gates, gates_apart = plan.gates_at if traced else NOWHERE, plan.gates_apart
        h, kept = layer.h_at, layer.kept
        h_now, c_now = load(scratch, h, like), load(scratch, layer.c_at, like)
        bias = splat_gates(panels, p, 1, like)
        nothing, peepholes = zeros(bias), splat_peepholes(panels, cell, 0, like, like)
        for s in range(n):
            for line in range(0, lanes, vector_lanes(like)):
                prefetch(values, ahead + s * lanes + line)
            z = bias + fma_gates(panels, p + 4, 1, load(scratch, x + s * x_step, like), nothing)
            z = z + fma_gates(panels, p + 8, 1, h_now, nothing)
            gates_now = gates + s * lanes if gates >= 0 else gates
            h_now, c_now = next_state(
                split_gates(z, 0, like, like), c_now, peepholes, panels, cell, scratch,
                gates_now, gates_apart, like,
            )  # fmt: skip
            if kept:
                store(scratch, h + (s + 1) * lanes, h_now)
        store(scratch, h + slot(n, kept) * lanes, h_now)
        store(scratch, layer.c_at, c_now)

    return run_cell


@function
def run_dense(
    panel: Any, p: int, n_inputs: int, n_outputs: int, scratch: Any, x: int, y: int, like: Any
) -> None:
    """Write `bias + weight @ x` of the lanes at `x` to `y`, in the order of `sums`.

    Four outputs are computed at a time, so up to three are written beyond `n_outputs`.
    """
    lanes = lane_count(like)
    for output in range(0, n_outputs, 4):
        z = splat_gates(panel, p, 1, like)
        z = add_products(z, panel, p + 4, 4, 1, scratch, x, n_inputs, like)
        store(scratch, y + output * lanes, z)
        p += 4 + 4 * n_inputs


# --- sequences into the lanes -------------------------------------------------------------------


@helper
def sequences(work: Any, like: Any) -> int:
    """Return how many sequences a tile has. For all operations, see `Layout`."""
    return lane_count(like)


@function
def start_state(work: Any, seats: Any, start: Any, like: Any) -> None:
    """Fill slot 0 of every layer's h, and c, from the state that came in, or with zeros."""
    scratch, target, lanes = work.scratch, seats.target, lane_count(like)
    for i in range(work.plan.n_layers):
        layer = layer_of(work, i)
        if start.rows:
            for lane in range(lanes):
                target[lane] = layer.state_h_at * start.rows + seats.row[lane] * layer.outputs
            rows_to_lanes(start.h, target, FIRST, layer.outputs, scratch, layer.h_at, like)
            for lane in range(lanes):
                target[lane] = layer.state_c_at * start.rows + seats.row[lane] * layer.hidden
            rows_to_lanes(start.c, target, FIRST, layer.hidden, scratch, layer.c_at, like)
        else:
            for k in range(layer.outputs):
                store(scratch, layer.h_at + k * lanes, zeros(like))
            for k in range(layer.hidden):
                store(scratch, layer.c_at + k * lanes, zeros(like))


def make_read(kind: Kind) -> Any:
    """Return the operation that reads inputs."""
    if kind.form.embedded:
        return look_up
    return make_read_repeated(kind) if kind.form.repeated else read_inputs


def make_read_repeated(kind: Kind) -> Any:
    """Return the operation that reads the inputs of all steps, and sums up b + W_ih x, once."""
    units = kind.group
    n_gates = 4 * units

    @function
    def read_repeated(work: Any, seats: Any, values: Any, t: int, n: int, like: Any) -> None:
        if t > 0:
            return
        layer, panels, scratch = layer_of(work, FIRST), work.panels, work.scratch
        rows_to_lanes(values, seats.start, FIRST, layer.inputs, scratch, layer.x_at, like)
        w, to = layer.panel, work.plan.sums_at
        for _ in range(0, layer.hidden, units):
            z = splat_gates(panels, w, units, like)
            w += n_gates
            z = add_products(z, panels, w, n_gates, 1, scratch, layer.x_at, layer.inputs, like)
            store(scratch, to, z)
            w += n_gates * (layer.inputs + layer.outputs)
            to += n_gates * lane_count(like)

    return read_repeated


@function
def read_inputs(work: Any, seats: Any, values: Any, t: int, n: int, like: Any) -> None:
    """Copy the inputs of n steps from step t on to the first layer's x.

    If sequences are read from the last step to the first, the steps are in reverse order there.
    """
    width = work.plan.width
    first = -(t + n) if work.plan.reversed else t
    x = layer_of(work, FIRST).x_at
    rows_to_lanes(values, seats.start, first * width, n * width, work.scratch, x, like)


@function
def look_up(work: Any, seats: Any, ids: Any, t: int, n: int, like: Any) -> None:
    """Copy the rows of the embedding's table there."""
    plan, target, lanes = work.plan, seats.target, lane_count(like)
    table, x = work.table, layer_of(work, FIRST).x_at
    for s in range(n):
        step = -1 - t - s if plan.reversed else t + s
        for lane in range(lanes):
            # unsigned: Numba would ask of each index whether it counts from the end
            number = ids[np.uint64(seats.start[lane] + step)]
            target[lane] = known_id(number, plan.last_id) * plan.x_width
        to = x + s * plan.x_width * lanes
        rows_to_lanes(table, target, FIRST, plan.x_width, work.scratch, to, like)


@function
def to_first_slot(work: Any, n: int, like: Any) -> None:
    """Copy every layer's last hidden state to where the next time steps expect it."""
    lanes = lane_count(like)
    for i in range(work.plan.n_layers):
        layer = layer_of(work, i)
        now = slot(n, layer.kept) * layer.outputs * lanes
        if now:
            for k in range(layer.outputs):
                at = layer.h_at + k * lanes
                store(work.scratch, at, load(work.scratch, at + now, like))


@function
def set_aside(work: Any, lane: int, like: Any) -> None:
    """Keep the state of a lane whose sequence has ended."""
    scratch, lanes = work.scratch, lane_count(like)
    for i in range(work.plan.n_layers):
        layer = layer_of(work, i)
        for k in range(layer.outputs):
            at = k * lanes + lane
            scratch[layer.final_h_at + at] = scratch[layer.h_at + at]
        for k in range(layer.hidden):
            at = k * lanes + lane
            scratch[layer.final_c_at + at] = scratch[layer.c_at + at]


# --- results out of the lanes -------------------------------------------------------------------


@function
def aim(plan: Any, seats: Any, valid: int, t: int, stride: int, column: int, like: Any) -> None:
    """Fill `seats.target` with where each lane's outputs of step t go; -1 where it has none."""
    for lane in range(lane_count(like)):
        at = out_step(plan, seats, lane, t) * stride + column
        seats.target[lane] = at if lane < valid and t < seats.length[lane] else -1


@function
def write_rows(
    scratch: Any, at: int, steps: int, count: int, rows: Any, target: Any, pitch: int, like: Any
) -> None:
    """Write `count` numbers for each of `steps` steps to each lane's row, `pitch` apart."""
    if pitch == count:
        steps, count = 1, steps * count
    for s in range(steps):
        from_lanes = at + s * count * lane_count(like)
        lanes_to_rows(scratch, from_lanes, count, rows, target, s * pitch, like)


@function
def write_steps(work: Any, seats: Any, valid: int, t: int, n: int, out: Any, like: Any) -> None:
    """Write the outputs of n time steps from step t on to each lane's row."""
    plan, top, scratch = work.plan, layer_of(work, work.plan.n_layers - 1), work.scratch
    aim(plan, seats, valid, t, plan.out_stride, plan.out_column, like)
    size = top.outputs * lane_count(like)
    outputs, n_outputs = top.h_at + size, top.outputs
    if plan.head_outputs:
        outputs, n_outputs = plan.y_at, plan.head_outputs
        for s in range(n):
            run_dense(
                work.panels, plan.head_panel, top.outputs, n_outputs, scratch,
                top.h_at + (s + 1) * size, outputs + s * n_outputs * lane_count(like), like,
            )  # fmt: skip
    pitch = -plan.out_stride if plan.out_reversed else plan.out_stride
    write_rows(scratch, outputs, n, n_outputs, out, seats.target, pitch, like)


@function
def write_gates(
    work: Any, seats: Any, valid: int, t: int, n: int, gates: Any, size: int, like: Any
) -> None:
    """Write the last layer's gates and cell states: five arrays, one after the other."""
    plan, n_hidden = work.plan, layer_of(work, work.plan.n_layers - 1).hidden
    pitch = -plan.gate_stride if plan.out_reversed else plan.gate_stride
    for gate in range(5):
        aim(plan, seats, valid, t, plan.gate_stride, gate * size + plan.gate_column, like)
        at = plan.gates_at + gate * plan.gates_apart
        write_rows(work.scratch, at, n, n_hidden, gates, seats.target, pitch, like)


@function
def write_state(work: Any, seats: Any, valid: int, uneven: bool, end: Any, like: Any) -> None:
    """Write the state after each lane's last real step."""
    scratch, target, lanes = work.scratch, seats.target, lane_count(like)
    for i in range(work.plan.n_layers):
        layer = layer_of(work, i)
        h, c = (layer.final_h_at, layer.final_c_at) if uneven else (layer.h_at, layer.c_at)
        for lane in range(lanes):
            at = layer.state_h_at * end.rows + seats.row[lane] * layer.outputs
            target[lane] = at if lane < valid else -1
        lanes_to_rows(scratch, h, layer.outputs, end.h, target, FIRST, like)
        for lane in range(lanes):
            at = layer.state_c_at * end.rows + seats.row[lane] * layer.hidden
            target[lane] = at if lane < valid else -1
        lanes_to_rows(scratch, c, layer.hidden, end.c, target, FIRST, like)


@function
def write_last(work: Any, seats: Any, valid: int, uneven: bool, out: Any, like: Any) -> None:
    """Write the outputs of each lane's last real step to its row."""
    plan, top, scratch = work.plan, layer_of(work, work.plan.n_layers - 1), work.scratch
    for lane in range(lane_count(like)):
        at = seats.out[lane] * plan.out_stride + plan.out_column
        seats.target[lane] = at if lane < valid else -1
    h, n = top.final_h_at if uneven else top.h_at, top.outputs
    if plan.head_outputs:
        y, n_outputs = plan.y_at, plan.head_outputs
        run_dense(work.panels, plan.head_panel, n, n_outputs, scratch, h, y, like)
        h, n = y, n_outputs
    lanes_to_rows(scratch, h, n, out, seats.target, FIRST, like)
