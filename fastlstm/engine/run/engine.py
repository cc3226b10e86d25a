"""From a validated call to kernels on threads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.ma  # late otherwise, in a call: a child forked meanwhile would wait for the import
import numpy.typing as npt

from fastlstm.engine.kernel.compiled import warm_kernels
from fastlstm.engine.kernel.dense import DenseRows
from fastlstm.engine.plan.chain import Both, Stack, Steps, make_chain
from fastlstm.engine.plan.cost import Kind, Tile, choose_tile, choose_tiles
from fastlstm.engine.plan.plan import Plan, make_plan, pack_sums
from fastlstm.engine.plan.work import ACTIVATION_WORK
from fastlstm.engine.run.chain_job import ChainJob
from fastlstm.engine.run.jobs import GroupJob, InPlaceJob, Job
from fastlstm.engine.run.outputs import Outputs
from fastlstm.engine.run.pool import start
from fastlstm.engine.run.progress import Progress
from fastlstm.engine.run.source import Source
from fastlstm.engine.run.states import StateRows
from fastlstm.engine.run.threads import default_threads
from fastlstm.network.activations import LINEAR
from fastlstm.network.dense import Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.network import AnyLayer, Network

Array = npt.NDArray[Any]

# Waking a thread of the pool takes about 60 microseconds: it must be worth it.
LEAST_WORK_A_THREAD = 2e7
# A call this long (a fifth of a second) leaves the caller's thread free to answer Ctrl-C.
WORK_WORTH_INTERRUPTING = 3e10
# A second kernel for the last rows takes seconds to compile, once.
WORTH_A_KERNEL = 3e10


class Engine:
    """The compiled side of one network.

    Weights are packed once for every kind of tile that calls ask for.

    Parameters
    ----------
    network
        What it is.
    """

    def __init__(self, network: Network) -> None:
        layers = _dense_looked_up(network.layers)
        links = make_chain(layers)
        last = max(i for i, link in enumerate(links) if not isinstance(link, Steps))
        self.links = links[: last + 1]
        # dense layers behind the last recurrent one see every step, or the one that is read
        self.after = tuple(link.dense for link in links[last + 1 :] if isinstance(link, Steps))
        self.head, self.read, self.skip = network.head, network.read, network.skip
        self.dtype = layers[0].dtype
        self.width = layers[0].input_size
        self.input_dtype = network.input_dtype
        cells = network.cells
        self.states = StateRows(cells)
        self.alone = self._stack_alone()
        # What is cached must not lead back to its cache: an engine that nobody holds any more,
        # and all memory with it, goes at once rather than with the next garbage collection.
        self.plan = cache(_Packed().plan)
        self.rows_of = cache(DenseRows)
        self.tile = lru_cache(maxsize=1024)(choose_tile)
        self.plans = lru_cache(maxsize=1024)(_Plans(self).choose)
        self.work_a_step = sum(
            k.hidden_size * (8 * (k.input_size + k.output_size) + ACTIVATION_WORK) for k in cells
        )

    def _stack_alone(self) -> Stack | None:
        """Return the one stack of a network whose kernel does everything, if it does."""
        stack, *others = self.links
        head = (*self.after, *self.head)
        simple = len(head) == 0 or (len(head) == 1 and head[0].activation == LINEAR)
        if others or self.skip or not simple or not isinstance(stack, Stack):
            return None
        if self.read == "final" or (self.read == "last" and not stack.out_reversed):
            return stack
        return None

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
            The state before the first step, as `start.flat_state`; None for zeros.
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
        job = self._job(source, start, outputs, n_threads, work)
        short = work < WORK_WORTH_INTERRUPTING
        with Progress(source.n_rows, progress) as bar:
            _share_out(job, min(n_threads, job.parts), short, bar)

    def _job(
        self,
        source: Source,
        start: tuple[Array, Array] | None,
        outputs: Outputs,
        n_threads: int,
        work: float,
    ) -> Job:
        """Return the call's work, with all that it needs compiled."""
        if self.alone is None:
            return ChainJob(self, source, start, outputs, n_threads, work)
        in_place = source.in_place(self.input_dtype)
        mixed = in_place is not None and source.lengths is None and work > WORTH_A_KERNEL
        traced, sequences = outputs.gates is not None, outputs.sequence is not None
        plans = self.plans(source.n_rows, n_threads, traced, sequences, mixed)
        if in_place is None:
            return GroupJob(plans[0][0], self.states, source, start, outputs)
        return InPlaceJob(plans, *in_place, source, start, outputs)

    def blank(self) -> Array:
        """Return the outputs of a step whose hidden states are zeros."""
        values = np.zeros(self.links[-1].output_size, self.dtype)
        for dense in (*self.after, *self.head):
            out = np.empty(dense.output_size, self.dtype)
            self.rows_of(dense).run(values, out)
            values = out
        return values

    def warmup(self) -> None:
        """Compile every kernel that this network's calls can use, but for traces."""
        for link in self.links:
            if isinstance(link, Steps):
                self.rows_of(link.dense).compile()
            else:
                stacks = (link.forward, link.backward) if isinstance(link, Both) else (link,)
                for form in {stack.form for stack in stacks}:
                    warm_kernels(self.dtype.name, form)
        if self.alone is None:
            for dense in (*self.after, *self.head):
                self.rows_of(dense).compile()


class _Packed:
    """Makes plans, and keeps the weights that they share."""

    def __init__(self) -> None:
        self.panels: dict[tuple[Stack, Kind], Array] = {}
        self.tables: dict[tuple[Stack, Kind], Array] = {}
        self.sums = cache(_sums)

    def plan(self, stack: Stack, head: Dense | None, tile: Tile, sequences: bool) -> Plan:
        """Return the plan of a stack for one kind of tile."""
        plan = make_plan(stack, head, tile, sequences)
        # plans of one kind of tile, whatever its number of sequences, share their weights
        key = stack, tile.kind._replace(traced=False)
        plan = replace(plan, panels=self.panels.setdefault(key, plan.panels))
        if stack.embedding is None:
            return plan
        if not stack.looks_up_sums:
            return replace(plan, looked_up=stack.embedding.weight.flatten())
        if key not in self.tables:
            self.tables[key] = pack_sums(self.sums(stack), tile)
        return replace(plan, looked_up=self.tables[key])


class _Plans:
    """Chooses the plans of a stack that is alone."""

    def __init__(self, engine: Engine) -> None:
        self.stack = engine.alone
        self.head = next(iter((*engine.after, *engine.head)), None)
        self.tile, self.plan = engine.tile, engine.plan

    def choose(
        self, n_rows: int, n_threads: int, traced: bool, sequences: bool, mixed: bool
    ) -> tuple[tuple[Plan, int], ...]:
        """Return the plans, with how many rows each takes."""
        stack = self.stack
        assert stack is not None
        tiles: tuple[tuple[Tile, int], ...]
        if mixed:
            tiles = choose_tiles(stack, n_rows, n_threads, traced)
        else:
            tiles = ((self.tile(stack, n_rows, n_threads, traced), n_rows),)
        return tuple((self.plan(stack, self.head, tile, sequences), rows) for tile, rows in tiles)


def _sums(stack: Stack) -> Array:
    """Return the biases and the sums over the inputs of every id of an embedding (V, 4H)."""
    layer, embedding = stack.layers[0], stack.embedding
    assert embedding is not None
    out = np.empty(embedding.ids * 4 * layer.hidden_size, layer.dtype)
    DenseRows(Dense(layer.w_ih, layer.bias)).run(embedding.weight.flatten(), out)
    return out.reshape(embedding.ids, -1)


def _dense_looked_up(layers: Sequence[AnyLayer]) -> Sequence[AnyLayer]:
    """Return the layers with what dense ones give for each id of an embedding in its table."""
    while isinstance(embedding := layers[0], Embedding) and isinstance(dense := layers[1], Dense):
        table = np.empty((embedding.ids, dense.output_size), dense.dtype)
        DenseRows(dense).run(embedding.weight.flatten(), table.reshape(-1))
        layers = replace(embedding, weight=table), *layers[2:]
    return layers


class _Crew:
    """The threads at work on a job besides the caller's, whether or not it knows of all of them.

    Ctrl-C may come when a thread has been woken and the caller has not heard of it yet.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.stopped = job, False
        self.inside: list[None] = []  # an item a thread

    def work(self) -> None:
        """Do a thread's share."""
        self.inside.append(None)
        try:
            if not self.stopped:
                self.job.work()
        finally:
            self.inside.pop()

    def stop(self) -> None:
        """Return when all threads have left off; nobody writes after that."""
        self.stopped = True
        self.job.stop()
        while self.inside:
            time.sleep(0.001)


def _share_out(job: Job, n_threads: int, short: bool, bar: Progress) -> None:
    """Run a job on threads; the caller's is one of them if that takes only moments."""
    if n_threads == 1 and short:
        return job.work()
    crew = _Crew(job)
    workers: list[Future[None]] = []
    try:
        for _ in range(n_threads - short):
            worker = start(crew.work)
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
    except BaseException:  # on Ctrl-C the kernels stop at their next block of steps
        crew.stop()
        raise
    for worker in workers:
        worker.result()
