"""What the loop over tiles asks of a layout of lanes, and what both layouts share.

A *layout* decides what is in the lanes of a vector: `sequences_in_lanes`, or `units_in_lanes` for
few sequences. Each lays out scratch memory in its own way, and therefore reads sequences and writes
results in its own way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastlstm.engine.jit import function, helper
from fastlstm.engine.kernel.records import LAYER
from fastlstm.engine.simd.memory import record_at

# Numba would compile a function anew for literals.
FIRST, NOWHERE = np.int64(0), np.int64(-1)


class Layout(NamedTuple):
    """The operations of a layout, compiled into the loop of `loop.make_kernel`.

    Each takes the `Work`, and a pack `like` that has the shape of what is computed together.
    """

    sequences: Any  # (work, like): how many a tile has
    start_state: Any  # (work, seats, start, like): the state before the first step
    read_inputs: Any  # (work, seats, values, t, n, like): those of steps t ... t + n - 1
    run_layer: Any  # (work, i, values, ahead, n, like): walk layer i through the n steps
    write_steps: Any  # (work, seats, valid, t, n, out, like): the outputs of the n steps
    write_gates: Any  # (work, seats, valid, t, n, gates, size, like): i f g o and c, `size` each
    to_first_slot: Any  # (work, n, like): bring h to where the next steps look for it
    set_aside: Any  # (work, place, like): keep the state of a sequence that has ended
    write_state: Any  # (work, seats, valid, uneven, end, like): the state after the last step
    write_last: Any  # (work, seats, valid, uneven, out, like): the outputs of the last step


class Work(NamedTuple):
    """A plan and the memory that it works in, as pointers to numbers."""

    plan: Any  # `records.PLAN`
    panels: Any  # packed weights
    table: Any  # of an embedding
    scratch: Any


class Seats(NamedTuple):
    """The tables of a tile (pointers): which sequence has which place in it."""

    row: Any  # among all sequences of the call
    start: Any  # where it begins in the values, or ends if it is read from its end
    length: Any  # its steps
    out: Any  # where the outputs of its first step go, counted in steps of all sequences
    target: Any  # where something goes now, see `aim`


class FlatState(NamedTuple):
    """The states of all cells, flat: the (rows, numbers) of one cell after the other."""

    h: Any
    c: Any
    rows: Any  # 0: there are none


class Rows(NamedTuple):
    """The sequences of a call, and what is known about each; an empty array means the default."""

    steps: Any  # of each, at most
    order: Any  # in which they are walked; usually 0, 1, ...
    starts: Any  # of each in the values; usually one after the other
    lengths: Any  # usually all of `steps`
    out_rows: Any  # of each in the outputs; usually its own number
    out_steps: Any  # of a row of the outputs
    first_step: Any  # of them that is written


@function
def seat(rows: Any, first: int, valid: int, plan: Any, seats: Any) -> Any:
    """Give the sequences from `first` on their places in a tile.

    Places beyond the last sequence repeat it. Returns the shortest and the longest length, and
    the place of the longest.
    """
    shortest, longest, longest_place = rows.steps, rows.steps, 0
    if rows.lengths.size:
        longest = 0
    for place in range(plan.sequences):
        row = first + min(place, valid - 1)
        if rows.order.size:
            row = rows.order[row]
        steps = 1 if plan.repeated else rows.steps
        start, length, out = row * steps * plan.width, rows.steps, row
        if rows.starts.size:
            start = rows.starts[row]
        if rows.out_rows.size:
            out = rows.out_rows[row]
        if rows.lengths.size:
            length = rows.lengths[row]
            shortest = min(shortest, length)
            if length > longest:
                longest, longest_place = length, place
        if plan.reversed and not plan.repeated:
            start += length * plan.width
        seats.row[place], seats.start[place], seats.length[place] = row, start, length
        seats.out[place] = out * rows.out_steps + rows.first_step
    return shortest, longest, longest_place


@helper
def layer_of(work: Any, i: int) -> Any:
    """Return the record of a layer."""
    return record_at(work.plan.layers, i, LAYER)


@helper
def out_step(plan: Any, seats: Any, place: int, t: int) -> int:
    """Return where the outputs of step t go, counted in steps of all sequences."""
    step = seats.length[place] - 1 - t if plan.out_reversed else t
    return seats.out[place] + step


@helper
def slot(s: int, kept: int) -> int:
    """Return the slot of the hidden state before step s: all are kept, or two are used in turn."""
    return s if kept else s & 1


@helper
def known_id(number: int, last: Any) -> int:
    """Return an id, or the last valid one in place of an invalid id.

    Ids have been checked, but they are in the caller's memory, which other threads may write to:
    whatever the kernel reads there must not lead it outside the table.
    """
    return np.int64(min(np.uint64(number), np.uint64(last)))
