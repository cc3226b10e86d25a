"""The one place that calls a kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.engine.plan.plan import Plan

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]
Pair = tuple[Array, Array]

NO_INTEGERS = np.empty(0, np.int64)


def new_counter() -> Integers:
    """Return a counter of tiles, which threads that share a call draw from."""
    return np.zeros(64, np.int64)  # has a place of its own in the caches


def run_kernel(
    plan: Plan,
    values: Array,
    n_rows: int,
    n_steps: int,
    *,
    starts: Integers = NO_INTEGERS,
    lengths: Integers = NO_INTEGERS,
    order: Integers = NO_INTEGERS,
    start: Pair | None = None,
    end: Pair | None = None,
    state_rows: int | None = None,
    last: Array | None = None,
    sequence: Array | None = None,
    gates: Array | None = None,
    out_rows: Integers = NO_INTEGERS,
    out_steps: int | None = None,
    first_step: int = 0,
    counter: Integers | None = None,
    others: int = 0,
) -> None:
    """Walk rows in the tiles of a plan; return when there are no more tiles to draw.

    Parameters
    ----------
    plan
        The plan.
    values
        Numbers of the plan's dtype, or ids of its embedding as int64, flat.
    n_rows, n_steps
        How many sequences there are, and the steps of each (at most, where there are `lengths`).
    starts (rows,)
        Where in `values` each row begins; by default one row follows the other. If the plan's
        stack is `repeated`, a row has a single step there, which is read `n_steps` times.
    lengths (rows,)
        The steps of each row; by default `n_steps`.
    order (n_rows,)
        The numbers of the rows in the order in which they are walked; by default 0, 1, ...
    start, end
        The state before the first step, zeros by default, and where to write that after the
        last; flat, the (state_rows, numbers) of one cell after the other. They may be the same
        arrays.
    state_rows
        The rows of a state, by default `n_rows`.
    last (rows, outputs)
        Where to write the outputs of each row's last step; C-contiguous, as are those below.
    sequence (rows, out_steps, outputs)
        Where to write the outputs of every step, if the plan writes every step.
    gates (5, rows, out_steps, hidden units)
        Where to write i f g o and c of the last layer, if the plan's kernel can write gates.
    out_rows (rows,)
        The row of `last`, `sequence` and `gates` that each row writes; by default its own.
    out_steps, first_step
        How many steps a row of `sequence` and `gates` has, by default `n_steps`, and to which of
        them the first step of `values` belongs.
    counter
        What `new_counter` returned, shared by the threads of a call; by default this thread walks
        all tiles.
    others
        How many other threads share the counter: wait a moment for them to finish.
    """
    nothing = plan.nothing
    if sequence is None:
        out, steps_of_out = last, 1
    else:
        out, steps_of_out = sequence, n_steps if out_steps is None else out_steps
    if plan.every_step is not (sequence is not None):
        raise ValueError("a plan of every step writes a sequence, one of the last step does not")
    start_h, start_c = (nothing, nothing) if start is None else start
    end_h, end_c = (nothing, nothing) if end is None else end
    scratch = plan.take_scratch()
    if counter is None:
        counter = scratch.counter
        counter[0] = 0
    try:
        plan.kernel(
            scratch.record,
            counter,
            others,
            n_rows,
            n_steps,
            values,
            order,
            starts,
            lengths,
            out_rows,
            steps_of_out,
            0 if sequence is None else first_step,
            n_rows if state_rows is None else state_rows,
            start_h,
            start_c,
            end_h,
            end_c,
            nothing if out is None else out.reshape(-1),
            nothing if gates is None else gates.reshape(-1),
        )
    finally:
        plan.give_back(scratch)
