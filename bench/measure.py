"""Engines on one row: in turn, round after round, each beside its error."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.engines import ENGINES, thread_count
from bench.rows import Row
from bench.spread import timed
from bench.worker import EngineError, Worker
from fastlstm import reference

Array = npt.NDArray[Any]

MOST_CHECK_WORK = 4e10  # the comparison with float64 takes no more operations, but at least ...
LEAST_CHECKED = 32  # ... so many sequences are compared
LEAST_ROUNDS = 3  # an engine that took too long for its row sits out those that remain
# A larger error means that something else was computed: bfloat16 is at 1e-3 and above.
MOST_ERROR = {"float32": 1e-4, "float64": 1e-11}


def compare(
    row: Row,
    engines: Sequence[str],
    threads: int,
    rounds: int,
    turn_seconds: float,
    input_file: Path | None = None,
) -> dict[str, Any]:
    """Time engines on a row, taking turns.

    Parameters
    ----------
    row
        The work.
    engines
        Names in `engines.ENGINES`.
    threads
        How many threads each may use.
    rounds
        In each, every engine has one turn; who begins changes from round to round.
    turn_seconds
        How long a turn lasts; one call at least.
    input_file
        An ``.npy`` file of the row's input; without one, it is drawn and written.

    Returns
    -------
    dict
        The row's fields, its real ``"steps"`` and ``"flops"``, and under ``"engines"`` for each:
        the `sequences` it was timed on; the `seconds` of each round scaled to the whole row, None
        where it sat out, their median and quartiles; the `flops` that they took; the `settings`;
        and what `errors` says. An engine that cannot do the row has only ``"failed"``, the
        reason.
    """
    checked = checked_sequences(row)
    found: dict[str, Any] = {}
    with thread_count(threads), ExitStack() as stack:
        if input_file is None:
            folder = stack.enter_context(TemporaryDirectory())
            input_file = Path(folder) / "x.npy"  # drawing it anew in each process takes longer
            np.save(input_file, row.inputs())
        exact = float64_outputs(row, checked, np.load(input_file, "r"))
        workers = []
        for name in engines:
            found[name] = {}  # in the order of the names
            try:
                workers.append(stack.enter_context(Worker(name, row, threads, checked, input_file)))
            except EngineError as error:
                found[name] = {"failed": error.reason}
        seconds = take_turns(workers, rounds, turn_seconds)
    for worker in workers:
        found[worker.engine] = {
            "sequences": worker.sequences,
            **timed(seconds[worker.engine]),
            "flops": ENGINES[worker.engine].flops or row.flops,
            "settings": worker.settings,
            **errors(worker.outputs, exact),
        }
    work = {"steps": row.steps, "flops": row.flops}
    return asdict(row) | work | {"engines": found}


def take_turns(
    workers: Sequence[Worker], rounds: int, turn_seconds: float
) -> dict[str, list[float | None]]:
    """The seconds of each engine in each round."""
    seconds: dict[str, list[float | None]] = {worker.engine: [] for worker in workers}
    for number in range(rounds):
        first = number % max(1, len(workers))
        for worker in [*workers[first:], *workers[:first]]:
            sits_out = number >= LEAST_ROUNDS and worker.spent > worker.row.most_seconds
            seconds[worker.engine].append(None if sits_out else worker.turn(turn_seconds))
    return seconds


def checked_sequences(row: Row) -> Array:
    """Which sequences are compared with float64: evenly spread over the batch."""
    affordable = max(LEAST_CHECKED, int(MOST_CHECK_WORK / row.work_a_sequence))
    return np.linspace(0, row.N - 1, min(row.N, row.most_checked, affordable)).astype(int)


def float64_outputs(row: Row, checked: Array, x: Array | None = None) -> Array:
    """The NumPy loop's results in float64, from the row's own weights and input."""
    x = row.inputs() if x is None else x
    model = row.model().astype("float64")
    lengths = None if row.lengths == "full" else row.real_lengths()[checked]
    some = x[checked]
    return reference.predict(
        model.network,
        some.astype("float64") if some.dtype.kind == "f" else some,  # ids stay ids
        lengths,
    )


def errors(outputs: Array | None, exact: Array) -> dict[str, Any]:
    """How many sequences were compared, and the largest and root-mean-square difference."""
    if outputs is None:
        return {}
    apart = outputs.astype("float64") - exact[: len(outputs)]
    return {
        "checked": len(outputs),
        "max_error": float(np.abs(apart).max()),
        "rms_error": float(np.sqrt(np.square(apart).mean())),
    }


def computes_the_same(dtype: str, engine: dict[str, Any]) -> bool:
    """Whether a stored engine's error is one of rounding; one of NaN is not."""
    return bool(engine.get("max_error", 0.0) <= MOST_ERROR[dtype])
