"""What `fastlstm bench` times, and how it reports it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

import fastlstm
from fastlstm.model import LSTM
from fastlstm.network.dense import Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.layers import Layer
from fastlstm.speed import Speed, measure, quartiles, timed
from fastlstm.versions import facts

__all__ = [
    "Case",
    "Row",
    "as_json",
    "as_line",
    "default_cases",
    "heading",
    "is_unsteady",
    "make_model",
    "run_case",
]

FEWEST, SECONDS = 3, 1.0  # rounds of a case: at least so many, and more until the time is up
UNSTEADY = 1.5  # a quarter of the rounds took so many times as long as another quarter
INPUTS = 8

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """A network, and how many sequences of how many steps it is given."""

    model: LSTM
    sequences: int = 2048
    steps: int = 50

    def resized(self, sequences: int | None, steps: int | None) -> Case:
        """The case with other numbers, where they are given."""
        return replace(self, sequences=sequences or self.sequences, steps=steps or self.steps)


@dataclass(frozen=True)
class Row:
    """What was measured of a case."""

    case: Case
    first_call: float  # seconds, compiling or loading what an earlier run compiled
    speed: Speed


def default_cases() -> list[Case]:
    """Networks from small to large, each with about as much work."""
    return [
        Case(make_model(8, 1), 20_000, 50),
        Case(make_model(32), 4_096, 100),
        Case(make_model(128), 512, 100),
    ]


def make_model(hidden: int, inputs: int = INPUTS) -> LSTM:
    """One layer and a dense unit with random weights, in float32."""
    rng = np.random.default_rng(0)

    def random(*shape: int) -> Array:
        return (rng.normal(size=shape) / math.sqrt(shape[-1])).astype(np.float32)

    layer = Layer(random(4 * hidden, inputs), random(4 * hidden, hidden), random(4 * hidden))
    return LSTM([layer], Dense(random(1, hidden)))


def make_input(case: Case) -> Array:
    """Random numbers (N, T, I) in the model's dtype, or ids (N, T) for an embedding."""
    rng = np.random.default_rng(1)
    first = case.model.layers[0]
    shape = case.sequences, case.steps
    if isinstance(first, Embedding):
        return rng.integers(0, first.ids, shape)
    dtype: Any = case.model.dtype
    return rng.standard_normal((*shape, case.model.input_size), dtype)


def run_case(case: Case, threads: int) -> Row:
    """Measure one case."""
    x = make_input(case)
    first_call, _ = timed(lambda: case.model.predict(x, threads=threads))
    return Row(case, first_call, measure(case.model, x, threads, fewest=FEWEST, seconds=SECONDS))


def heading(threads: int) -> str:
    """What stands above the lines of a table."""
    return (
        f"fastlstm {fastlstm.__version__}, on {threads} thread{'s' if threads != 1 else ''}, "
        f"{facts()['CPU']}\n"
        "Thousands of sequences a second: median of the rounds (and quartiles)\n\n"
        f"{'N x T x inputs, hidden':26s}{'engine':>25s}{'NumPy loop':>25s}"
        f"{'x':>7s}{'apart by':>10s}{'rounds':>7s}"
    )


def as_line(row: Row) -> str:
    """A row of the table for people."""
    case, speed = row.case, row.speed
    model = case.model
    shape = f"{case.sequences:,} x {case.steps} x {model.input_size}, {_hidden(model)}"
    engine, loop = (_rates(case.sequences, seconds) for seconds in (speed.engine, speed.loop))
    return (
        f"{shape:26s}{engine:>25s}{loop:>25s}{speed.gain:7.1f}{speed.apart:10.1e}"
        f"{len(speed.engine):7d}"
    )


def is_unsteady(row: Row) -> bool:
    """Tell whether the rounds differ too much for their median to say much."""
    both = (quartiles(row.speed.engine), quartiles(row.speed.loop))
    return any(slow > UNSTEADY * fast for fast, slow in both)


def as_json(rows: list[Row], threads: int) -> dict[str, Any]:
    """The same for machines, with the seconds of every round."""
    return {
        "machine": facts(),
        "threads": threads,
        "cases": [
            {
                "model": repr(row.case.model),
                "sequences": row.case.sequences,
                "steps": row.case.steps,
                "inputs": row.case.model.input_size,
                "hidden": [layer.hidden_size for layer in row.case.model.recurrent],
                "dtype": str(row.case.model.dtype),
                "first_call_seconds": row.first_call,
                "engine": _numbers(row.case.sequences, row.speed.engine),
                "numpy_loop": _numbers(row.case.sequences, row.speed.loop),
                "times_as_fast": row.speed.gain,
                "largest_difference": row.speed.apart if math.isfinite(row.speed.apart) else None,
            }
            for row in rows
        ],
    }


def _numbers(sequences: int, seconds: tuple[float, ...]) -> dict[str, Any]:
    return {
        "sequences_per_second": sequences / median(seconds),
        "median_seconds": median(seconds),
        "quartile_seconds": quartiles(seconds),
        "round_seconds": seconds,
    }


def _hidden(model: LSTM) -> str:
    return " + ".join(str(layer.hidden_size) for layer in model.recurrent)


def _rates(sequences: int, seconds: tuple[float, ...]) -> str:
    low, high = quartiles(seconds)
    middle, slow, fast = (sequences / s / 1000 for s in (median(seconds), high, low))
    digits = 1 if fast < 1000 else 0
    return f"{middle:,.{digits}f} ({slow:,.{digits}f} to {fast:,.{digits}f})"
