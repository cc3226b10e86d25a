"""The kernel: a thread draws tile after tile, and walks each through all its time steps.

A tile is the sequences that are walked together. All layers of a tile run over a *block* of time
steps before any of them runs over the next block, so that what passes between layers stays in
cache. Tiles are independent: threads share only the counter that they draw from.

Sequences of unequal length share a tile too. When one ends, its state is saved; from then on its
place computes the longest sequence of the tile again, and the result is not used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastlstm.engine.jit import function
from fastlstm.engine.kernel.forms import Kind
from fastlstm.engine.kernel.layout import FIRST, FlatState, Layout, Rows, Seats, Work, seat
from fastlstm.engine.simd.arithmetic import empty_pack
from fastlstm.engine.simd.memory import align_stack, fetch_add, pointer_at, pointer_of

# The counter's array counts the tiles drawn at 0, and the kernels that have finished here. Waiting
# for the last of them takes at most a tenth of a millisecond; being woken up takes longer.
FINISHED, MOST_SPINS = 8, 20_000

# A counter of this or more tells the kernels to abandon even the tiles that they have begun.
STOPPED = 1 << 62

INTEGER = np.dtype(np.int64)


@function
def finish(counter: Any, others: int) -> None:
    """Count the calling kernel as finished, and wait a moment for `others` more."""
    finished = fetch_add(counter[FINISHED:], 1)
    spins = 0
    while finished < others and spins < MOST_SPINS:
        finished = fetch_add(counter[FINISHED:], 0) - 1
        spins += 1


def make_kernel(kind: Kind, layout: Layout) -> Callable[..., None]:
    """Return the Python function of the kernel for a kind of tile.

    Its arguments are those of `compiled.signature`; `run.call` explains them.
    """
    (
        sequences, start_state, read_inputs, run_layer, write_steps, write_gates, to_first_slot,
        set_aside, write_state, write_last,
    ) = layout  # fmt: skip
    vector_lanes, vectors, traced = kind.vector_lanes, kind.vectors, kind.traced
    number = np.dtype(kind.dtype)

    def run_tiles(
        plans, counter, others, n_rows, n_steps, values, order, starts, lengths,
        out_rows, out_steps, first_step, state_rows, start_h, start_c, end_h, end_c, out, gates,
    ):  # fmt: skip
        plan = plans[0]
        work = Work(
            plan, pointer_at(plan.panels, number), pointer_at(plan.table, number),
            pointer_at(plan.scratch, number),
        )  # fmt: skip
        like = empty_pack(work.scratch, vector_lanes, vectors)
        align_stack(like)
        places = sequences(work, like)
        n_tiles, table = (n_rows + places - 1) // places, 8 * places
        seats = Seats(
            pointer_at(plan.seats, INTEGER), pointer_at(plan.seats + table, INTEGER),
            pointer_at(plan.seats + 2 * table, INTEGER),
            pointer_at(plan.seats + 3 * table, INTEGER),
            pointer_at(plan.seats + 4 * table, INTEGER),
        )  # fmt: skip
        rows = Rows(n_steps, order, starts, lengths, out_rows, out_steps, first_step)
        start = FlatState(pointer_of(start_h), pointer_of(start_c), min(start_h.size, state_rows))
        end = FlatState(pointer_of(end_h), pointer_of(end_c), min(end_h.size, state_rows))
        x, y, traces = pointer_of(values), pointer_of(out), pointer_of(gates)

        tile = fetch_add(counter, 1)
        next_tile = tile + 1  # a guess, for the prefetches: threads take turns
        while tile < n_tiles:
            first = tile * places
            valid = min(places, n_rows - first)
            shortest, longest, longest_place = seat(rows, first, valid, plan, seats)
            uneven = shortest < longest
            start_state(work, seats, start, like)
            t = FIRST
            while True:
                stop = min(t + plan.block_steps, longest)
                if uneven:
                    for place in range(places):
                        if seats.length[place] == t:
                            set_aside(work, place, like)
                            seats.start[place] = seats.start[longest_place]
                        elif seats.length[place] > t:
                            stop = min(stop, seats.length[place])
                n = stop - t
                if n <= 0 or counter[0] >= STOPPED:  # all walked, or the caller was interrupted
                    break
                read_inputs(work, seats, x, t, n, like)
                ahead = (next_tile * n_steps + t) * places
                for i in range(plan.n_layers):
                    run_layer(work, i, x, ahead, n, like)
                if traced and gates.size:
                    write_gates(work, seats, valid, t, n, traces, gates.size // 5, like)
                if plan.every_step and out.size:
                    write_steps(work, seats, valid, t, n, y, like)
                to_first_slot(work, n, like)
                t = stop
            if end.rows:
                write_state(work, seats, valid, uneven, end, like)
            if not plan.every_step and out.size:
                write_last(work, seats, valid, uneven, y, like)
            drawn = fetch_add(counter, 1)
            next_tile = 2 * drawn - tile
            tile = drawn
        finish(counter, others)

    return run_tiles
