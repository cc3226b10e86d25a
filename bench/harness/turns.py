"""Engines on one workload: they take turns, round after round; their times and errors."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.harness.accuracy import checked_sequences, errors, float64_outputs
from bench.harness.child import thread_count
from bench.harness.engine import Engine
from bench.harness.rounds import timed
from bench.harness.stored import Row
from bench.harness.worker import EngineError, Worker
from bench.harness.workload import Workload

LEAST_ROUNDS = 3  # before an engine that takes too long sits out the rest


def time_engines(
    workload: Workload,
    engines: Sequence[Engine],
    threads: int,
    rounds: int,
    turn_seconds: float,
    input_file: Path | None = None,
) -> Row:
    """Time engines on a workload, taking turns.

    Parameters
    ----------
    workload
    engines
    threads
        How many threads each may use.
    rounds
        In each, every engine has one turn; a different one begins each time.
    turn_seconds
        How long a turn lasts; at least one call.
    input_file
        An ``.npy`` file of the input. Without one, the input is drawn and written.

    Returns
    -------
    dict
        The workload's fields, its real ``"steps"`` and ``"flops"``, and under ``"engines"`` for
        each: the `sequences` that it was timed on; the `seconds` of each round, scaled to the
        whole workload, None where it sat out; their median and quartiles; the `flops` of a call;
        its `settings`; and what `errors` says. An engine that failed has only ``"failed"``, the
        reason.
    """
    checked = checked_sequences(workload)
    found: dict[str, Row] = {}
    with thread_count(threads), ExitStack() as stack:
        if input_file is None:
            folder = stack.enter_context(TemporaryDirectory())
            input_file = Path(folder) / "x.npy"  # drawing it anew in each process takes longer
            np.save(input_file, workload.inputs())
        exact = float64_outputs(workload, checked, np.load(input_file, "r"))
        workers = []
        for engine in engines:
            found[engine.label] = {}  # keeps the order of the engines
            try:
                worker = Worker(engine, workload, threads, checked, input_file)
            except EngineError as error:
                found[engine.label] = {"failed": error.reason}
            else:
                workers.append(stack.enter_context(worker))
        seconds = take_turns(workers, rounds, turn_seconds)
    for worker, own in zip(workers, seconds, strict=True):
        found[worker.engine.label] = {
            "sequences": worker.sequences,
            **timed(own),
            "flops": worker.engine.flops or workload.flops,
            "settings": worker.settings,
            **errors(worker.outputs, exact),
        }
    work = {"steps": workload.steps, "flops": workload.flops}
    return asdict(workload) | work | {"engines": found}


def take_turns(
    workers: Sequence[Worker], rounds: int, turn_seconds: float
) -> list[list[float | None]]:
    """The seconds of each worker in each round."""
    seconds: list[list[float | None]] = [[] for _ in workers]
    for number in range(rounds):
        first = number % max(1, len(workers))
        for k in [*range(first, len(workers)), *range(first)]:
            worker = workers[k]
            sits_out = number >= LEAST_ROUNDS and worker.spent > worker.workload.most_seconds
            seconds[k].append(None if sits_out else worker.turn(turn_seconds))
    return seconds
