"""What `fastlstm speed` prints: a table for people, or JSON."""

from __future__ import annotations

import math
from statistics import median
from typing import Any

import fastlstm
from fastlstm.commands.speed.cases import Result
from fastlstm.commands.speed.timing import quartiles
from fastlstm.commands.versions import facts
from fastlstm.model import LSTM

__all__ = ["as_json", "as_line", "heading", "is_unsteady"]

UNSTEADY = 1.5  # a quarter of the runs took this many times as long as another quarter


def heading(threads: int) -> str:
    """Return the lines above the table."""
    return (
        f"fastlstm {fastlstm.__version__}, on {threads} thread{'s' if threads != 1 else ''}, "
        f"{facts()['CPU']}\n"
        "Thousands of sequences a second: median (quartiles); x: how many times as fast\n\n"
        f"{'N x T x inputs, hidden':26s}{'engine':>25s}{'NumPy loop':>25s}"
        f"{'x':>7s}{'max diff':>10s}{'runs':>7s}"
    )


def as_line(result: Result) -> str:
    """Return a line of the table."""
    case, timing = result.case, result.timing
    model = case.model
    shape = f"{case.sequences:,} x {case.steps} x {model.input_size}, {_hidden(model)}"
    engine, loop = (_rates(case.sequences, seconds) for seconds in (timing.engine, timing.loop))
    return (
        f"{shape:26s}{engine:>25s}{loop:>25s}{timing.gain:7.1f}{timing.largest_difference:10.1e}"
        f"{len(timing.engine):7d}"
    )


def is_unsteady(result: Result) -> bool:
    """Tell whether the runs differ too much for their median to mean much."""
    both = (quartiles(result.timing.engine), quartiles(result.timing.loop))
    return any(slow > UNSTEADY * fast for fast, slow in both)


def as_json(results: list[Result], threads: int) -> dict[str, Any]:
    """Return the results for machines, with the seconds of every run."""
    return {
        "machine": facts(),
        "threads": threads,
        "cases": [_as_json(result) for result in results],
    }


def _as_json(result: Result) -> dict[str, Any]:
    case, timing = result.case, result.timing
    apart = timing.largest_difference
    return {
        "model": repr(case.model),
        "sequences": case.sequences,
        "steps": case.steps,
        "inputs": case.model.input_size,
        "hidden": [layer.hidden_size for layer in case.model.recurrent],
        "dtype": str(case.model.dtype),
        "first_call_seconds": result.first_call,
        "engine": _numbers(case.sequences, timing.engine),
        "numpy_loop": _numbers(case.sequences, timing.loop),
        "times_as_fast": timing.gain,
        "largest_difference": apart if math.isfinite(apart) else None,
    }


def _numbers(sequences: int, seconds: tuple[float, ...]) -> dict[str, Any]:
    return {
        "sequences_per_second": sequences / median(seconds),
        "median_seconds": median(seconds),
        "quartile_seconds": quartiles(seconds),
        "run_seconds": seconds,
    }


def _hidden(model: LSTM) -> str:
    return " + ".join(str(layer.hidden_size) for layer in model.recurrent)


def _rates(sequences: int, seconds: tuple[float, ...]) -> str:
    low, high = quartiles(seconds)
    middle, slow, fast = (sequences / s / 1000 for s in (median(seconds), high, low))
    digits = 1 if fast < 1000 else 0
    return f"{middle:,.{digits}f} ({slow:,.{digits}f} to {fast:,.{digits}f})"
