"""The kernel for few sequences: hidden units in the lanes, a few sequences a tile.

Beside `tiles`, whose arguments, tables and steps it shares; what differs is the layout of the
scratch memory (`unit_layers`), which lets rows be copied as they are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastlstm.engine.kernel.cells import make_cell
from fastlstm.engine.kernel.forms import Form
from fastlstm.engine.kernel.loop import STOPPED, finish
from fastlstm.engine.kernel.records import (
    GATES_AT,
    INPUTS,
    LAST_ID,
    OUT_REVERSED,
    PADDED,
    PANEL,
    REVERSED,
    TABLE_WIDTH,
    TILE_SEQUENCES,
    WIDTH,
    X_AT,
    X_STRIDE,
    Z_AT,
)
from fastlstm.engine.kernel.sequence_rows import FIRST, seat_rows
from fastlstm.engine.kernel.unit_rows import (
    look_up_rows,
    place_inputs,
    rows_to_first_slot,
    set_row_aside,
    start_row,
    write_row_gates,
    write_row_last,
    write_row_state,
    write_row_steps,
)
from fastlstm.engine.kernel.units_in_lanes import run_inputs, run_steps
from fastlstm.engine.simd.arithmetic import empty_pack
from fastlstm.engine.simd.memory import align_stack, fetch_add


def make_unit_kernel(
    vector_lanes: int, vectors: int, together: int, input_rows: int, traced: bool, form: Form
) -> Callable[..., None]:
    """Return the kernel's Python function for one shape of tile.

    Parameters
    ----------
    vector_lanes, vectors
        `vector_lanes * vectors` hidden units are summed up together, for
    together
        so many sequences, of which a tile has one or more times as many.
    input_rows
        How many rows of inputs are summed up together, for one vector of hidden units.
    traced, form
        As in `tiles.make_kernel`.
    """
    next_state, embedded, projected = make_cell(form.cell), form.embedded, form.projected
    states, units = vectors * together, vectors * vector_lanes
    group_count, tile_count, input_count = 4 * vectors, 4 * states, 4 * input_rows

    def run_unit_tiles(
        counter, others, n_tiles, n_rows, n_steps, block_steps, layers, plan, panels,
        values, ids, starts, lengths, order, out_rows, out_steps, first_step,
        start_h, start_c, end_h, end_c, last, sequence, gate_arrays, scratch, lane_table,
    ):  # fmt: skip
        vector = empty_pack(scratch, vector_lanes, 1)
        of_units = empty_pack(scratch, vector_lanes, vectors)
        of_states = empty_pack(scratch, vector_lanes, states)
        gates_of_vector = empty_pack(scratch, vector_lanes, 4)
        gates_of_group = empty_pack(scratch, vector_lanes, group_count)
        gates_of_tile = empty_pack(scratch, vector_lanes, tile_count)
        gates_of_inputs = empty_pack(scratch, vector_lanes, input_count)
        align_stack(vector)
        sequences = plan[TILE_SEQUENCES]
        start, length = lane_table[:sequences], lane_table[sequences : 2 * sequences]
        row = lane_table[2 * sequences : 3 * sequences]
        n_layers, width = layers.shape[0], plan[WIDTH]
        step = -width if plan[REVERSED] else width

        tile = fetch_add(counter, 1)
        while tile < n_tiles:
            valid = min(sequences, n_rows - tile * sequences)
            _, longest, _ = seat_rows(
                tile * sequences, valid, order, starts, lengths, plan, n_steps, row, start, length
            )
            for s in range(sequences):
                start_row(layers, start_h, start_c, row[s], s, sequences, units, scratch)
            t = FIRST
            while True:
                stop = min(t + block_steps, longest)
                for s in range(sequences):
                    if length[s] == t:
                        set_row_aside(layers, s, sequences, units, scratch)
                    elif length[s] > t:
                        stop = min(stop, length[s])
                n = stop - t
                if n <= 0 or counter[0] >= STOPPED:  # all walked, or the caller was interrupted
                    break
                for s in range(sequences):
                    at = start[s] + t * step + min(step, 0) if length[s] > t else -1
                    if embedded:
                        table = plan[TABLE_WIDTH]
                        to = layers[0, X_AT] if layers[0, INPUTS] else plan[Z_AT]
                        look_up_rows(
                            values, ids, at, step, n, table, np.uint64(plan[LAST_ID]), scratch,
                            to + s * table, sequences * table, vector,
                        )  # fmt: skip
                    else:
                        place_inputs(
                            values, at, step, n, width, scratch, layers[0, X_AT] + s * width,
                            sequences * width, vector,
                        )  # fmt: skip
                stride = 0  # between the gates' blocks; 0 where nothing is traced
                for i in range(n_layers):
                    layer = layers[i]
                    gates = -1
                    if traced and i == n_layers - 1:
                        gates, stride = plan[GATES_AT], n * sequences * layer[PADDED]
                    if layer[INPUTS]:  # else they have been looked up
                        run_inputs(
                            panels, layer[PANEL], layer[INPUTS], layer[PADDED] // vector_lanes,
                            scratch, layer[X_AT], layer[X_STRIDE], n * sequences, plan[Z_AT],
                            gates_of_vector, gates_of_inputs, input_rows,
                        )  # fmt: skip
                    run_steps(
                        next_state, projected, panels, layer, scratch, plan[Z_AT],
                        sequences, n, gates, stride, of_units, gates_of_group, gates_of_tile,
                        of_states, vector,
                    )  # fmt: skip
                for s in range(valid):
                    if length[s] > t:
                        r = out_rows[row[s]] if out_rows.size else row[s]
                        first = length[s] - 1 - t if plan[OUT_REVERSED] else t
                        row_step = r * out_steps + first_step + first
                        if sequence.size:
                            write_row_steps(
                                layers, plan, panels, n, s, sequences, row_step, sequence,
                                scratch, vector,
                            )  # fmt: skip
                        if stride:
                            write_row_gates(
                                layers, plan, n, s, sequences, units, row_step, gate_arrays,
                                stride, scratch,
                            )  # fmt: skip
                rows_to_first_slot(layers, n, sequences, scratch)
                t = stop

            for s in range(valid):
                if end_h.size:
                    write_row_state(layers, row[s], s, end_h, end_c, scratch)
                if last.size:
                    r = out_rows[row[s]] if out_rows.size else row[s]
                    write_row_last(layers, plan, panels, r, s, last, scratch, vector)
            tile = fetch_add(counter, 1)
        finish(counter, others)

    return run_unit_tiles
