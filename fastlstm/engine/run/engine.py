"""From a validated call to kernels on threads."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.ma  # late otherwise, in a call: a child forked meanwhile would wait for the import
import numpy.typing as npt

from fastlstm.engine.kernel.compiled import warm_kernels
from fastlstm.engine.plan.chain import make_chain
from fastlstm.engine.plan.program import (
    Apply,
    Convolve,
    JoinValues,
    ReduceSteps,
    SoftmaxOfSteps,
    Walk,
    make_program,
)
from fastlstm.engine.plan.work import ACTIVATION_WORK
from fastlstm.engine.run.call import NO_INTEGERS, run_kernel
from fastlstm.engine.run.crew import share_out
from fastlstm.engine.run.group import Task
from fastlstm.engine.run.job import Job, by_length
from fastlstm.engine.run.operations import prepare_convolution
from fastlstm.engine.run.over_steps import prepare_steps
from fastlstm.engine.run.packed import Packed
from fastlstm.engine.run.progress import Progress
from fastlstm.engine.run.source import Outputs, Source
from fastlstm.engine.run.threads import default_threads
from fastlstm.engine.run.window_rows import DenseRows
from fastlstm.network.convolution import Conv
from fastlstm.network.dense import Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.joints import From, Join
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.network import Network, Part, Pointwise

Array = npt.NDArray[Any]

# Waking a thread of the pool takes about 60 microseconds: it must be worth it.
LEAST_WORK_A_THREAD = 2e7
# A call this long (a fifth of a second) leaves the caller's thread free to answer Ctrl-C.
WORK_WORTH_INTERRUPTING = 3e10
MANY_STEPS = 1 << 30


class Engine:
    """Runs one network with compiled kernels.

    Parameters
    ----------
    network
        The network.
    """

    def __init__(self, network: Network) -> None:
        looked_up = _dense_looked_up(network)
        chain = make_chain(looked_up.parts)
        self.programs = {k: make_program(looked_up, chain, k) for k in (False, True)}
        self.network, self.packed = network, Packed(network)
        self.work_a_step = sum(map(_work_a_step, network.parts))
        self.work_of_row = lru_cache(maxsize=1024)(partial(_work_of_row, network))

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
            The state before the first step, laid out as by `StateRows`; None for zeros.
        outputs
            The arrays to fill.
        threads
            The most threads to use; None for `threads.default_threads()`.
        progress
            Draw a progress bar.
        """
        n_rows, lengths = source.n_rows, source.lengths
        if n_rows == 0:
            return
        steps = n_rows * source.n_steps if lengths is None else int(lengths.sum())
        work = float(self.work_a_step) * max(steps, n_rows)
        if not self.network.keeps_steps:
            work = n_rows * self.work_of_row(-(-steps // n_rows))
        n_threads = 1
        if work >= 2 * LEAST_WORK_A_THREAD:
            most = default_threads() if threads is None else threads
            n_threads = min(int(work / LEAST_WORK_A_THREAD), most)
        short = work < WORK_WORTH_INTERRUPTING
        program, packed = self.programs[outputs.sequence is not None], self.packed
        inputs = source.in_place(packed.input_dtype)
        walk, last, sequence, gates, end = program.whole, *outputs
        if short and n_threads == 1 and not progress and walk is not None and inputs is not None:
            # one call of a kernel: it takes ten microseconds, and a job would add two
            ((plan, _),) = packed.plans(walk, n_rows, 1, gates is not None, False)
            return run_kernel(
                plan, inputs[0], n_rows, source.n_steps,
                starts=inputs[1], lengths=NO_INTEGERS if lengths is None else lengths,
                order=NO_INTEGERS if lengths is None else by_length(lengths), start=start, end=end,
                last=last, sequence=sequence, gates=gates,
            )  # fmt: skip
        job = Job(Task(program, packed, source, inputs, start, outputs), n_threads, work)
        with Progress(n_rows, progress) as bar:
            return share_out(job, min(n_threads, job.parts), short, bar)

    def blank(self) -> Array:
        """Return the outputs of a step whose hidden states are zeros."""
        parts = self.network.parts
        top = max(i for i, k in enumerate(parts) if isinstance(k, Layer | Bidirectional))
        values = np.zeros(parts[top].output_size, self.network.dtype)  # type: ignore[union-attr]
        for part in parts[top + 1 :]:
            if isinstance(part, Pointwise):
                out = np.empty(getattr(part, "output_size", values.size), self.network.dtype)
                self.packed.rows(part, values.size).run(values, out)
                values = out
        return values

    def warmup(self) -> None:
        """Compile every kernel that this network's calls can use, except those of traces."""
        operations = [of for program in self.programs.values() for of in program.operations]
        for form in dict.fromkeys(of.stack.form for of in operations if isinstance(of, Walk)):
            warm_kernels(self.network.dtype.name, form)
        for of in operations:
            if isinstance(of, Apply):
                self.packed.compiled_rows(of.part, of.reads[0].size)
            elif isinstance(of, Convolve):
                prepare_convolution(of, self.packed)
            elif isinstance(of, ReduceSteps | SoftmaxOfSteps):
                how = of.how if isinstance(of, ReduceSteps) else "softmax"
                for steps in (1, MANY_STEPS):  # there may be a kernel for each
                    size, weighted = of.reads[0].size, len(of.reads) > 1
                    prepare_steps(how, self.network.dtype, steps, size, weighted)
            elif isinstance(of, JoinValues) and of.how == "dot":
                self.packed.adder(of.reads[0].size)


def _work_a_step(part: Part) -> int:
    """Return about how many operations a part takes for a step."""
    if isinstance(part, Layer | Bidirectional):
        return sum(
            k.hidden_size * (8 * (k.input_size + k.output_size) + ACTIVATION_WORK)
            for k in part.cells
        )
    return 2 * part.weight.size if isinstance(part, Conv) else 0


def _work_of_row(network: Network, steps: int) -> int:
    """Return about how many operations a sequence of these steps takes."""
    of_values = network.steps(np.array([steps], np.int64)).of_values
    return sum(
        _work_a_step(part) * max(1, int(k[0]) if k is not None else 1)
        for part, k in zip(network.parts, of_values, strict=True)
    )


def _dense_looked_up(network: Network) -> Network:
    """Return the network with dense layers after an embedding computed into its table."""
    parts = network.parts
    if any(isinstance(k, From | Join) for k in parts):  # they know values by their numbers
        return network
    while isinstance(embedding := parts[0], Embedding) and isinstance(dense := parts[1], Dense):
        table = np.empty((embedding.ids, dense.output_size), dense.dtype)
        DenseRows(dense).run(embedding.weight.flatten(), table.reshape(-1))
        parts = replace(embedding, weight=table), *parts[2:]
    return network if parts is network.parts else replace(network, parts=parts)
