"""One call's work, drawn by any number of threads: tiles, or groups of tiles.

Rows that are readable as they are go to the kernel at once, and its instances draw tiles from a
shared counter. Other rows are copied and converted, a group of tiles at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fastlstm.engine.kernel.loop import FINISHED, STOPPED
from fastlstm.engine.kernel.records import REVERSED, WIDTH
from fastlstm.engine.plan.plan import Plan
from fastlstm.engine.run.call import NO_INTEGERS, new_counter, run_kernel
from fastlstm.engine.run.outputs import Outputs
from fastlstm.engine.run.source import Source
from fastlstm.engine.run.states import StateRows

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

# Memory for input that is converted, a thread.
GROUP_BYTES = 2 * 1024 * 1024


class Job(Protocol):
    """What threads share."""

    parts: int  # what there is to draw, and so the most threads that find work

    def work(self, others: int = 0) -> None:
        """Draw rows and walk them until none are left: what every thread does.

        Then wait a moment for `others` more threads to finish, where that is cheap.
        """

    def finished(self, workers: int) -> bool:
        """Tell whether so many threads are known to have finished."""

    def rows_begun(self) -> int:
        """Return how many rows have been drawn so far."""

    def stop(self) -> None:
        """Let every worker leave off at once; a kernel within a block of time steps."""


class _Share(NamedTuple):
    """Rows that are walked in one kind of tile."""

    plan: Plan
    n_rows: int
    n_tiles: int
    order: Integers  # the rows' numbers, none if they are 0, 1, ...
    counter: Integers  # of the tiles that have been drawn


class InPlaceJob:
    """Rows that are readable as they are.

    Parameters
    ----------
    plans
        With how many rows each takes, one after the other.
    values, starts
        As `Source.in_place` gives them.
    source, start, outputs
        As in `Engine.run`.
    """

    def __init__(
        self,
        plans: Sequence[tuple[Plan, int]],
        values: Array,
        starts: Integers,
        source: Source,
        start: tuple[Array, Array] | None,
        outputs: Outputs,
    ) -> None:
        self.values, self.starts, self.source = values, starts, source
        self.start, self.outputs = start, outputs
        self.lengths = NO_INTEGERS if source.lengths is None else source.lengths
        order = by_length(source.lengths)
        self.shares = []
        first = 0
        for plan, n_rows in plans:
            if first:
                order = np.arange(first, first + n_rows)
            n_tiles = -(-n_rows // plan.tile.sequences)
            self.shares.append(_Share(plan, n_rows, n_tiles, order, new_counter()))
            first += n_rows
        self.parts = self.shares[0].n_tiles

    def work(self, others: int = 0) -> None:
        """See `Job`."""
        source, outputs = self.source, self.outputs
        for share in self.shares:
            run_kernel(
                share.plan, self.values, share.n_rows, source.n_steps,
                starts=self.starts, lengths=self.lengths, order=share.order,
                start=self.start, end=outputs.end, state_rows=source.n_rows,
                last=outputs.last, sequence=outputs.sequence, gates=outputs.gates,
                counter=share.counter, others=others if share is self.shares[-1] else 0,
            )  # fmt: skip

    def finished(self, workers: int) -> bool:
        """See `Job`."""
        return int(self.shares[-1].counter[FINISHED]) >= workers

    def rows_begun(self) -> int:
        """See `Job`."""
        return sum(
            min(int(share.counter[0]) * share.plan.tile.sequences, share.n_rows)
            for share in self.shares
        )

    def stop(self) -> None:
        """See `Job`."""
        for share in self.shares:
            share.counter[0] = STOPPED


class GroupJob:
    """Rows that are copied out and converted, a group at a time; arguments as in `Engine.run`."""

    def __init__(
        self,
        plan: Plan,
        states: StateRows,
        source: Source,
        start: tuple[Array, Array] | None,
        outputs: Outputs,
    ) -> None:
        self.plan, self.source, self.start, self.outputs = plan, source, start, outputs
        self.states = states
        self.dtype = np.dtype(np.int64 if plan.looked_up is not None else plan.panels.dtype)
        self.order = by_length(source.lengths)
        sequences, self.n_inputs = plan.tile.sequences, int(plan.table[WIDTH])
        tile_step = sequences * self.n_inputs * self.dtype.itemsize
        self.group_steps = max(1, min(source.n_steps, GROUP_BYTES // tile_step))
        if plan.table[REVERSED]:  # the last step comes first
            self.group_steps = max(1, source.n_steps)
        tiles = max(1, GROUP_BYTES // (tile_step * self.group_steps))
        n_tiles = -(-source.n_rows // sequences)
        self.group_rows = sequences * min(tiles, max(1, n_tiles // 8))
        self.groups = itertools.count()
        self.begun = 0
        self.stopped = False
        self.parts = -(-source.n_rows // self.group_rows)

    def work(self, others: int = 0) -> None:
        """See `Job`."""
        buffer = np.zeros(self.group_rows * self.group_steps * self.n_inputs, self.dtype)
        for group in self.groups:
            first = group * self.group_rows
            if first >= self.source.n_rows or self.stopped:
                break
            self.begun = max(self.begun, group + 1)
            rows = np.arange(first, min(first + self.group_rows, self.source.n_rows))
            self._run_group(self.order[rows] if self.order.size else rows, buffer)

    def finished(self, workers: int) -> bool:
        """See `Job`."""
        return False

    def rows_begun(self) -> int:
        """See `Job`."""
        return min(self.begun * self.group_rows, self.source.n_rows)

    def stop(self) -> None:
        """See `Job`."""
        self.stopped = True

    def _run_group(self, rows: Integers, buffer: Array) -> None:
        """Copy some rows out, a stretch of steps at a time, and walk them."""
        source, outputs, plan = self.source, self.outputs, self.plan
        n_rows, n_inputs = len(rows), self.n_inputs
        lengths = None if source.lengths is None else source.lengths[rows]
        longest = source.n_steps if lengths is None else int(lengths.max())
        pieces = range(0, max(longest, 1), self.group_steps)
        selection = as_slice(rows)
        state = self.states.take(self.start, source.n_rows, selection, n_rows)
        if state is None and (len(pieces) > 1 or outputs.end is not None):
            state = self.states.zeros(n_rows)
        begin = state if self.start is not None else None
        for t in pieces:
            if self.stopped:
                break
            steps = min(self.group_steps, longest - t)
            block = buffer[: n_rows * steps * n_inputs]
            source.copy_into(block.reshape(n_rows, steps, n_inputs), selection, t)
            left = NO_INTEGERS if lengths is None else np.clip(lengths - t, 0, steps)
            run_kernel(
                plan, block, n_rows, steps,
                lengths=left, start=begin, end=state,
                last=outputs.last, sequence=outputs.sequence, gates=outputs.gates,
                out_rows=rows, out_steps=source.n_steps, first_step=t,
            )  # fmt: skip
            begin = state
        if outputs.end is not None and state is not None:
            self.states.put(outputs.end, state, source.n_rows, selection, n_rows)


def by_length(lengths: Integers | None) -> Integers:
    """Return the order, longest first, in which neighbours have about the same length."""
    if lengths is None or lengths.min() == lengths.max():
        return NO_INTEGERS
    return np.argsort(-lengths, kind="stable")


def as_slice(rows: Integers) -> slice | Integers:
    """Return rows that follow each other as a slice, which NumPy reads without a copy."""
    if rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
