"""A job: the work of one call, from which any number of threads draw.

If a program is one walk and its rows can be read in place, all rows go to the kernel at once, and
the threads draw tiles from its counter. Otherwise a thread draws a group of rows and takes it
through the program (see `group`); rows that cannot be read in place are copied out first.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.engine.cpu import lanes as lanes_of
from fastlstm.engine.kernel.loop import FINISHED, STOPPED
from fastlstm.engine.plan.plan import Plan
from fastlstm.engine.plan.program import Walk
from fastlstm.engine.run.call import NO_INTEGERS, new_counter, run_kernel
from fastlstm.engine.run.group import Group, Groups, Task, Worker
from fastlstm.engine.run.operations import execute, prepare

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

# Memory of a thread for inputs that are copied out to be walked at once.
COPIED_BYTES = 2 * 1024 * 1024
# What passes between two operations should stay in the L2 cache: 32 rows of 1 MB in all are 8 %
# faster than 48 of 1.5 MB.
CACHE_BYTES = 5 * 1024 * 1024 // 4
# Calling the kernels of a group takes about 50 microseconds.
LEAST_WORK_A_GROUP = 3e8
# A second kernel for the last rows takes seconds to compile, once.
WORTH_A_KERNEL = 3e10


class _Share(NamedTuple):
    """Rows that are walked in one kind of tile, which all threads draw."""

    plan: Plan
    n_rows: int
    order: Integers  # the rows' numbers, none if they are 0, 1, ...
    counter: Integers  # of the tiles that have been drawn


class Job:
    """The work of one call, with everything compiled that it needs.

    Parameters
    ----------
    task
        What is to be done.
    n_threads, work
        The most threads to use, and how much work there is.

    Attributes
    ----------
    parts : int
        How many tiles or groups there are to draw, and so the most threads that find work.
    """

    parts: int
    shares: Sequence[_Share] = ()  # where threads draw tiles
    groups: Groups  # where they draw groups

    def __init__(self, task: Task, n_threads: int, work: float) -> None:
        self.task = task
        self.order = by_length(task.source.lengths)
        whole = task.program.whole
        if whole is None:
            self._draw_groups(_through_cache(task, n_threads, work))
        elif task.inputs is None:
            self._draw_groups(_copied_out(task, whole, n_threads))
        else:
            self._draw_tiles(whole, n_threads, work)

    def _draw_tiles(self, walk: Walk, n_threads: int, work: float) -> None:
        """Let the threads draw tiles, of two kinds if that is faster."""
        source, traced = self.task.source, self.task.outputs.gates is not None
        mixed = work > WORTH_A_KERNEL and source.lengths is None
        plans = self.task.packed.plans(walk, source.n_rows, n_threads, traced, mixed)
        self.shares, first = [], 0
        for plan, n in plans:
            order = np.arange(first, first + n, dtype=np.int64) if first else self.order
            self.shares.append(_Share(plan, n, order, new_counter()))
            first += n
        self.parts = -(-plans[0][1] // plans[0][0].tile.sequences)

    def _draw_groups(self, groups: Groups) -> None:
        """Let the threads draw groups of rows."""
        self.groups, self.parts = groups, len(groups.starts) - 1
        self.numbers = itertools.count()
        self.begun, self.stopped = 0, False
        self.workers: list[Worker] = []
        program = self.task.program
        self.prepared = [(of, prepare(of, self.task, groups)) for of in program.operations]

    def work(self, others: int = 0) -> None:
        """Draw rows and walk them until none are left: what every thread does.

        Then wait a moment for `others` more threads to finish, if that is cheap.
        """
        if self.shares:
            self._walk_tiles(others)
        else:
            self._walk_groups()

    def _walk_tiles(self, others: int) -> None:
        _, _, source, inputs, start, outputs = self.task
        assert inputs is not None
        lengths = NO_INTEGERS if source.lengths is None else source.lengths
        for share in self.shares:
            run_kernel(
                share.plan, inputs[0], share.n_rows, source.n_steps,
                starts=inputs[1], lengths=lengths, order=share.order,
                start=start, end=outputs.end, state_rows=source.n_rows,
                last=outputs.last, sequence=outputs.sequence, gates=outputs.gates,
                counter=share.counter, others=others if share is self.shares[-1] else 0,
            )  # fmt: skip

    def _walk_groups(self) -> None:
        worker = Worker()
        self.workers.append(worker)
        for number in self.numbers:
            if number >= self.parts or self.stopped:
                break
            self.begun = max(self.begun, number + 1)
            rows = np.arange(*self.groups.starts[number : number + 2], dtype=np.int64)
            self._run(worker, self.order[rows] if self.order.size else rows)

    def _run(self, worker: Worker, rows: Integers) -> None:
        """Take a group of rows through the program."""
        group = Group(self.task, worker, rows, self.groups.piece_steps)
        for _ in group.pieces():
            for operation, prepared in self.prepared:
                if self.stopped:
                    return
                execute(operation, prepared, group)
        group.write()

    def finished(self, workers: int) -> bool:
        """Tell whether this many threads are known to have finished."""
        return bool(self.shares) and int(self.shares[-1].counter[FINISHED]) >= workers

    def rows_begun(self) -> int:
        """Return how many rows have been drawn so far."""
        if not self.shares:
            return self.groups.starts[self.begun]
        return sum(
            min(int(share.counter[0]) * share.plan.tile.sequences, share.n_rows)
            for share in self.shares
        )

    def stop(self) -> None:
        """Make every thread stop soon: a kernel stops within a block of time steps."""
        for share in self.shares:
            share.counter[0] = STOPPED
        if not self.shares:
            self.stopped = True
            for worker in self.workers:
                worker.stop()


def by_length(lengths: Integers | None) -> Integers:
    """Return the order of rows by length, longest first, so that neighbours are about as long."""
    if lengths is None or lengths.min() == lengths.max():
        return NO_INTEGERS
    return np.argsort(-lengths, kind="stable")


def _copied_out(task: Task, walk: Walk, n_threads: int) -> Groups:
    """Return groups of whole tiles, to be copied out a number of steps at a time."""
    source, packed, stack = task.source, task.packed, walk.stack
    traced = task.outputs.gates is not None
    sequences = packed.tile(stack, source.n_rows, n_threads, traced).sequences
    step_bytes = sequences * stack.width * packed.input_dtype.itemsize
    steps = max(1, source.n_steps)
    if not stack.reversed:  # if the last step comes first, all steps are needed at once
        steps = min(steps, max(1, COPIED_BYTES // step_bytes))
    tiles = max(1, COPIED_BYTES // (step_bytes * steps))
    rows = sequences * min(tiles, max(1, -(-source.n_rows // sequences) // 8))
    starts = [*range(0, source.n_rows, rows), source.n_rows]
    return Groups(starts, steps, source.n_rows, n_threads)


def _through_cache(task: Task, n_threads: int, work: float) -> Groups:
    """Return groups of whole tiles of the program's first walk, with all their steps.

    The groups get smaller towards the end, so that threads finish together, but not so small that
    calling their kernels takes long. None of them is larger than the cache.
    """
    packed, n_rows, steps = task.packed, task.source.n_rows, max(task.source.n_steps, 1)
    row_bytes = task.program.row_size(steps) * packed.dtype.itemsize
    first = task.program.walks[0].stack
    sequences = packed.tile(first, n_rows, n_threads, False).sequences
    lanes = lanes_of(packed.dtype.name)
    most = CACHE_BYTES // max(row_bytes, 1) // lanes * lanes
    if 2 * lanes <= most < sequences:  # more would outgrow the cache
        sequences = packed.tile(first, most, 1, False).sequences
    tiles = -(-n_rows // sequences)
    least = min(math.ceil(LEAST_WORK_A_GROUP * tiles / work), -(-tiles // n_threads))
    most = max(1, CACHE_BYTES // max(sequences * row_bytes, 1))
    starts, tile = [], 0
    while tile < tiles:
        starts.append(tile * sequences)
        tile += min(most, max(least, (tiles - tile) // (2 * n_threads)))
    fewest = min(map(operator.sub, starts[1:], starts), default=sequences)
    return Groups([*starts, n_rows], steps, fewest, 1)
