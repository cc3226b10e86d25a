"""What `fastlstm speed` times: networks, and random sequences for them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.commands.speed.timing import Timing, time_both, timed
from fastlstm.model import LSTM
from fastlstm.network.dense import Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.layers import Layer

__all__ = ["Case", "Result", "default_cases", "make_input", "make_model", "run_case"]

FEWEST, SECONDS = 3, 1.0  # each case runs at least this often, and at least this long
INPUTS = 8

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """A network, and how many sequences it is given, of how many steps."""

    model: LSTM
    sequences: int = 2048
    steps: int = 50

    def resized(self, sequences: int | None, steps: int | None) -> Case:
        """Return the case with the numbers that were given, if any."""
        return replace(self, sequences=sequences or self.sequences, steps=steps or self.steps)


@dataclass(frozen=True)
class Result:
    """What was measured in a case."""

    case: Case
    first_call: float  # seconds, with compiling, or loading what an earlier process compiled
    timing: Timing


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


def run_case(case: Case, threads: int) -> Result:
    """Measure one case."""
    x = make_input(case)
    first_call, _ = timed(lambda: case.model.predict(x, threads=threads))
    timing = time_both(case.model, x, threads, fewest=FEWEST, seconds=SECONDS)
    return Result(case, first_call, timing)
