"""From a validated call to kernels on threads."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

import numpy.typing as npt

from fastlstm.dense import Dense
from fastlstm.engine.jobs import GroupJob, InPlaceJob, Job
from fastlstm.engine.kernels import warm_kernels
from fastlstm.engine.kinds import Kind, Tile, choose_tile, choose_tiles, is_cell
from fastlstm.engine.outputs import Outputs
from fastlstm.engine.plan import Plan, make_plan
from fastlstm.engine.progress import Progress
from fastlstm.engine.threads import default_threads, start
from fastlstm.inputs import Source
from fastlstm.layers import Layer

Array = npt.NDArray[Any]

# Waking a thread of the pool takes about 60 microseconds: it must be worth it.
LEAST_WORK_A_THREAD = 2e7
# A call this long (a fifth of a second) leaves the caller's thread free to answer Ctrl-C.
WORK_WORTH_INTERRUPTING = 3e10
# A second kernel for the last rows takes seconds to compile, once.
WORTH_A_KERNEL = 3e10
# Arithmetic of the activations of one hidden unit and step, beside 8 (I + H) for its sums.
ACTIVATION_WORK = 200


class Engine:
    """The compiled side of one network: its layers, and its head or none.

    Weights are packed once for every kind of tile that calls ask for.
    """

    def __init__(self, layers: Sequence[Layer], head: Dense | None) -> None:
        self.layers, self.head = tuple(layers), head
        self.dtype = layers[0].dtype
        self.plan = cache(self._plan)
        self.panels: dict[Kind, Array] = {}
        self.tiles = lru_cache(maxsize=1024)(self._tiles)
        self.work_a_step = sum(
            k.hidden_size * (8 * (k.input_size + k.hidden_size) + ACTIVATION_WORK) for k in layers
        )

    def _tiles(
        self, n_rows: int, n_threads: int, traced: bool, mixed: bool
    ) -> tuple[tuple[Tile, int], ...]:
        if mixed:
            return choose_tiles(self.layers, n_rows, n_threads, traced)
        return ((choose_tile(self.layers, n_rows, n_threads, traced), n_rows),)

    def _plan(self, tile: Tile, sequences: bool) -> Plan:
        plan = make_plan(self.layers, self.head, tile, sequences)
        # plans of one kind of tile, whatever its number of sequences, share their weights
        kind = tile.kind._replace(traced=False)
        return replace(plan, panels=self.panels.setdefault(kind, plan.panels))

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
        in_place = source.in_place(self.dtype)
        mixed = in_place is not None and source.lengths is None and work > WORTH_A_KERNEL
        traced, sequences = outputs.gates is not None, outputs.sequence is not None
        tiles = self.tiles(source.n_rows, n_threads, traced, mixed)
        plans = [(self.plan(tile, sequences), n_rows) for tile, n_rows in tiles]
        job: Job
        if in_place is None:
            job = GroupJob(plans[0][0], source, start, outputs)
        else:
            job = InPlaceJob(plans, *in_place, source, start, outputs)
        short = work < WORK_WORTH_INTERRUPTING
        with Progress(source.n_rows, progress) as bar:
            _share_out(job, min(n_threads, job.parts), short, bar)

    def warmup(self) -> None:
        """Compile every kernel that this network's calls can use, but for traces."""
        warm_kernels(self.dtype.name, is_cell(self.layers))


def _share_out(job: Job, n_threads: int, short: bool, bar: Progress) -> None:
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
            job.work(len(workers))
            if job.finished(len(workers) + 1):
                return
        running = bool(workers)
        while running:
            running = bool(wait(workers, timeout=bar.interval).not_done)
            bar.show(job.rows_begun())
    finally:  # on Ctrl-C the kernels stop at their next tile; nobody writes after we return
        if not job.finished(len(workers) + short):
            job.stop()
            wait(workers)
    for worker in workers:
        worker.result()
