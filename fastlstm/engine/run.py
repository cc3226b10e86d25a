"""From a validated call to kernels on threads."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import Future, wait
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.engine.kernels import warm_kernels
from fastlstm.engine.kinds import Tile, choose_tile, is_cell
from fastlstm.engine.outputs import Outputs
from fastlstm.engine.plan import Plan, make_plan
from fastlstm.engine.progress import Progress
from fastlstm.engine.threads import default_threads, start
from fastlstm.engine.tiles import STOPPED
from fastlstm.inputs import Source
from fastlstm.network import Dense, Layer

Array = npt.NDArray[Any]

# Waking a thread of the pool takes about 60 microseconds: it must be worth it.
LEAST_WORK_A_THREAD = 2e7
# A call this long (a fifth of a second) leaves the caller's thread free to answer Ctrl-C.
WORK_WORTH_INTERRUPTING = 3e10
# Arithmetic of the activations of one hidden unit and step, beside 8 (I + H) for its sums.
ACTIVATION_WORK = 200
# Memory for input that is converted, a thread.
GROUP_BYTES = 2 * 1024 * 1024
NO_INTEGERS = np.empty(0, np.int64)


class Engine:
    """The compiled side of one network: its layers, and its head or none.

    Weights are packed once for every kind of tile that calls ask for.
    """

    def __init__(self, layers: Sequence[Layer], head: Dense | None) -> None:
        self.layers, self.head = tuple(layers), head
        self.dtype = layers[0].dtype
        self.plan = cache(self._plan)
        self.tile = lru_cache(maxsize=1024)(self._tile)
        self.work_a_step = sum(
            k.hidden_size * (8 * (k.input_size + k.hidden_size) + ACTIVATION_WORK) for k in layers
        )

    def _tile(self, n_rows: int, n_threads: int, traced: bool) -> Tile:
        return choose_tile(self.layers, n_rows, n_threads, traced)

    def _plan(self, tile: Tile, sequences: bool) -> Plan:
        return make_plan(self.layers, self.head, tile, sequences)

    def run(
        self,
        source: Source,
        start: tuple[Array, Array] | None,
        outputs: Outputs,
        threads: int | None = None,
        progress: bool = False,
    ) -> None:
        """Score all rows of `source` into `outputs`.

        Parameters
        ----------
        source
            The sequences.
        start
            The state before the first step, as `inputs.flat_state`; None for zeros.
        outputs
            Arrays to fill, C-contiguous and of the engine's dtype.
        threads
            At most so many; None for `threads.default_threads()`.
        progress
            Draw a progress bar.
        """
        if source.n_rows == 0:
            return
        steps = source.n_rows * source.n_steps
        if source.lengths is not None:
            steps = int(source.lengths.sum())
        work = float(self.work_a_step) * max(steps, source.n_rows)
        n_threads = max(1, int(work / LEAST_WORK_A_THREAD))
        if n_threads > 1:
            n_threads = min(n_threads, default_threads() if threads is None else threads)
        tile = self.tile(source.n_rows, n_threads, outputs.gates is not None)
        plan = self.plan(tile, outputs.sequence is not None)
        job = _Job(plan, source, start, outputs)
        short = work < WORK_WORTH_INTERRUPTING
        with Progress(source.n_rows, progress) as bar:
            _share_out(job, min(n_threads, job.parts), short, bar)

    def warmup(self) -> None:
        """Compile every kernel that this network's calls can use, but for traces."""
        warm_kernels(self.dtype.name, is_cell(self.layers))


def _share_out(job: _Job, n_threads: int, short: bool, bar: Progress) -> None:
    """Run a job on threads; the caller's is one of them if that takes only moments."""
    if n_threads == 1 and short:
        return job.work()
    workers: list[Future[None]] = []
    try:
        for _ in range(n_threads - short):
            worker = start(job.work)
            if worker is None:  # the interpreter is shutting down
                short = True
                break
            workers.append(worker)
        if short:
            job.work()
        running = bool(workers)
        while running:
            running = bool(wait(workers, timeout=bar.interval).not_done)
            bar.show(job.rows_begun())
    finally:  # on Ctrl-C the kernels stop at their next tile; nobody writes after we return
        job.stop()
        wait(workers)
    for worker in workers:
        worker.result()


class _Job:
    """One call: rows drawn by any number of workers, in tiles or in groups of tiles."""

    def __init__(
        self,
        plan: Plan,
        source: Source,
        start: tuple[Array, Array] | None,
        outputs: Outputs,
    ) -> None:
        self.plan, self.source, self.start, self.outputs = plan, source, start, outputs
        self.dtype, self.nothing = plan.panels.dtype, plan.panels[:0]
        self.n_tiles = -(-source.n_rows // plan.tile.sequences)
        self.order = _by_length(source.lengths)
        self.in_place = source.in_place(self.dtype)
        self.counter = np.zeros(64, np.int64)  # a place of its own in the caches
        self.stopped = False
        self.parts = self.n_tiles
        if self.in_place is None:
            lanes, n_inputs = plan.tile.sequences, int(plan.layers[0, 0])
            tile_step = lanes * n_inputs * self.dtype.itemsize
            self.group_steps = max(1, min(source.n_steps, GROUP_BYTES // tile_step))
            tiles = max(1, GROUP_BYTES // (tile_step * self.group_steps))
            self.group_rows = lanes * min(tiles, max(1, self.n_tiles // 8))
            self.groups = itertools.count()
            self.parts = -(-source.n_rows // self.group_rows)

    def work(self) -> None:
        """Draw rows and walk them until none are left: what every thread does."""
        if self.in_place is not None:
            self._work_in_place(*self.in_place)
        else:
            self._work_in_groups()

    def rows_begun(self) -> int:
        """Return how many rows have been drawn so far."""
        unit = self.plan.tile.sequences if self.in_place is not None else self.group_rows
        drawn = min(int(self.counter[0]), self.parts)
        return min(drawn * unit, self.source.n_rows)

    def stop(self) -> None:
        """Let every worker leave off at once; a kernel within a block of time steps."""
        self.stopped = True
        self.counter[0] = STOPPED

    def _results(self) -> tuple[Array, Array, tuple[Array, ...]]:
        """Return the arrays `last`, `sequence` and `gates`, flat, empty where not wanted."""
        outputs, nothing = self.outputs, self.nothing
        return (
            nothing if outputs.last is None else outputs.last.reshape(-1),
            nothing if outputs.sequence is None else outputs.sequence.reshape(-1),
            (nothing,) * 5
            if outputs.gates is None
            else tuple(gate.reshape(-1) for gate in outputs.gates),
        )

    def _work_in_place(self, values: Array, starts: npt.NDArray[np.int64]) -> None:
        source, outputs, plan = self.source, self.outputs, self.plan
        start_h, start_c = self.start or (self.nothing, self.nothing)
        end_h, end_c = outputs.end or (self.nothing, self.nothing)
        lengths = NO_INTEGERS if source.lengths is None else source.lengths
        scratch = plan.take_scratch()
        plan.kernel(
            self.counter, self.n_tiles, source.n_rows, source.n_steps, plan.block_steps,
            plan.layers_for(source.n_rows), plan.table, plan.panels,
            values, starts, lengths, self.order, NO_INTEGERS, source.n_steps, 0,
            start_h, start_c, end_h, end_c,
            *self._results(), *scratch,
        )  # fmt: skip
        plan.give_back(scratch)

    def _work_in_groups(self) -> None:
        n_inputs = int(self.plan.layers[0, 0])
        buffer = np.zeros(self.group_rows * self.group_steps * n_inputs, self.dtype)
        scratch = self.plan.take_scratch()
        for group in self.groups:
            first = group * self.group_rows
            if first >= self.source.n_rows or self.stopped:
                break
            self.counter[0] = max(int(self.counter[0]), group + 1)
            rows = np.arange(first, min(first + self.group_rows, self.source.n_rows))
            self._run_group(self.order[rows] if self.order.size else rows, buffer, scratch)
        self.plan.give_back(scratch)

    def _run_group(
        self,
        rows: npt.NDArray[np.int64],
        buffer: Array,
        scratch: tuple[Array, npt.NDArray[np.int64]],
    ) -> None:
        """Copy some rows out, a stretch of steps at a time, and walk them."""
        source, outputs, plan = self.source, self.outputs, self.plan
        n_rows, n_inputs = len(rows), int(plan.layers[0, 0])
        lengths = None if source.lengths is None else source.lengths[rows]
        longest = source.n_steps if lengths is None else int(lengths.max())
        pieces = range(0, max(longest, 1), self.group_steps)
        state = self._rows_of(self.start, rows)
        if state is None and (len(pieces) > 1 or outputs.end is not None):
            size = n_rows * int(plan.layers[:, 1].sum())
            state = np.zeros(size, self.dtype), np.zeros(size, self.dtype)
        begin = state if self.start is not None else None
        selection = _as_slice(rows)
        for t in pieces:
            if self.stopped:
                break
            steps = min(self.group_steps, longest - t)
            block = buffer[: n_rows * steps * n_inputs]
            source.copy_into(block.reshape(n_rows, steps, n_inputs), selection, t)
            left = NO_INTEGERS if lengths is None else np.clip(lengths - t, 0, steps)
            plan.kernel(
                np.zeros(1, np.int64), -(-n_rows // plan.tile.sequences), n_rows, steps,
                plan.block_steps, plan.layers_for(n_rows), plan.table, plan.panels,
                block, NO_INTEGERS, left, NO_INTEGERS, rows, source.n_steps, t,
                *(begin or (self.nothing, self.nothing)), *(state or (self.nothing, self.nothing)),
                *self._results(), *scratch,
            )  # fmt: skip
            begin = state
        if outputs.end is not None and state is not None:
            for whole, part in zip(outputs.end, state, strict=True):
                for of_layer, values in self._by_layer(whole, part, n_rows):
                    of_layer[rows] = values

    def _rows_of(
        self, whole: tuple[Array, Array] | None, rows: npt.NDArray[np.int64]
    ) -> tuple[Array, Array] | None:
        if whole is None:
            return None
        size = len(rows) * int(self.plan.layers[:, 1].sum())
        parts = np.empty(size, self.dtype), np.empty(size, self.dtype)
        for array, part in zip(whole, parts, strict=True):
            for of_layer, values in self._by_layer(array, part, len(rows)):
                values[...] = of_layer[rows]
        return parts

    def _by_layer(self, whole: Array, part: Array, n_rows: int) -> list[tuple[Array, Array]]:
        """Pair up the layers of two flat states, of all rows and of some: (N, H), (rows, H)."""
        pairs = []
        at = 0
        for size in self.plan.layers[:, 1].tolist():
            total = self.source.n_rows
            pairs.append((
                whole[at * total : (at + size) * total].reshape(total, size),
                part[at * n_rows : (at + size) * n_rows].reshape(n_rows, size),
            ))  # fmt: skip
            at += size
        return pairs


def _by_length(lengths: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64]:
    """Return the order, longest first, in which neighbours have about the same length."""
    if lengths is None or lengths.min() == lengths.max():
        return NO_INTEGERS
    return np.argsort(-lengths, kind="stable")


def _as_slice(rows: npt.NDArray[np.int64]) -> slice | npt.NDArray[np.int64]:
    """Return rows that follow each other as a slice, which NumPy reads without a copy."""
    if rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
