"""Engines on one row: in turn, round after round, each beside its error."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.engines import ENGINES, thread_count
from bench.rows import Row
from bench.worker import Worker
from fastlstm import reference

Array = npt.NDArray[Any]

MOST_CHECKED = 4096  # sequences whose results are compared with float64
MOST_SECONDS = 12.0  # an engine that took so long sits out the rounds that remain ...
LEAST_ROUNDS = 3  # ... after so many


def compare(
    row: Row, engines: Sequence[str], threads: int, rounds: int, turn_seconds: float
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

    Returns
    -------
    dict
        The row's fields, and under ``"engines"`` for each: the `sequences` it was timed on; the
        `seconds` of each round scaled to the whole row, None where it sat out; the `flops` that
        they took; the median and quartiles; how many times as fast as NumPy it is, by `ratio`;
        and what `errors` says.
    """
    checked = np.linspace(0, row.N - 1, min(row.N, MOST_CHECKED)).astype(int)
    exact = float64_outputs(row, checked)
    with thread_count(threads), ExitStack() as stack:
        workers = [stack.enter_context(Worker(name, row, threads, checked)) for name in engines]
        seconds: dict[str, list[float | None]] = {name: [] for name in engines}
        for number in range(rounds):
            first = number % len(workers)
            for worker in workers[first:] + workers[:first]:
                sits_out = number >= LEAST_ROUNDS and worker.spent > MOST_SECONDS
                seconds[worker.engine].append(None if sits_out else worker.turn(turn_seconds))
    found = {}
    for worker in workers:
        times = seconds[worker.engine]
        low, middle, high = quartiles(times)
        found[worker.engine] = {
            "sequences": worker.sequences,
            "seconds": times,
            "flops": ENGINES[worker.engine].flops or row.flops,
            "median": middle,
            "quartiles": [low, high],
            **({"times_numpy": ratio(seconds["numpy"], times)} if "numpy" in seconds else {}),
            **errors(worker.outputs, exact),
        }
    return asdict(row) | {"engines": found}


def float64_outputs(row: Row, checked: Array) -> Array:
    """The NumPy loop's results in float64, from the row's own weights and input."""
    layers = row.model().astype("float64").layers
    return reference.predict(layers, row.inputs()[checked].astype("float64"))


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


def quartiles(seconds: Sequence[float | None]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile of the rounds that took place."""
    low, middle, high = np.quantile([s for s in seconds if s is not None], [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


def ratio(slow: Sequence[float | None], fast: Sequence[float | None]) -> float:
    """How many times as long `slow` takes: the median over rounds in which both took part.

    Both stand beside each other within a round, so that a machine that changes its speed between
    rounds changes no ratio.
    """
    pairs = zip(slow, fast, strict=True)
    return median(a / b for a, b in pairs if a is not None and b is not None)
