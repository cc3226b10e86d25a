"""What an engine is to the benchmarks."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.harness.workload import Workload
from fastlstm import LSTM

Array = npt.NDArray[Any]

# What another engine may enter, and what the call that `Engine.build` makes for it returns.
CONTESTS = {
    "compare": "the last hidden states (N, H) of one or two layers",
    "idle": "as `compare`, after a pause",
    "dense": "as `compare`; sequences of full length, beside those of `ragged`",
    "ragged": "as `compare`; sequence n has `workload.real_lengths()[n]` steps",
    "call": "as `compare`; one short sequence",
    "step": "None, after running one step from the state of the step before",
    "loop": "as `compare`, by a loop that one would write oneself",
    "first call": "as `loop`; what counts is the first call of a process",
    "trace": "as `compare`, after writing all values of every step to memory",
    "networks": "the results of `workload.model()`, a network of any kind",
    "score": "the scores (N, 1), after reading one file and writing another",
}


class Slices(list[Array]):
    """Results of slices of a batch, put together only where they are compared."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.concatenate(self).astype(dtype, copy=False)


Call = Callable[[], "Array | Slices | None"]  # None: there is nothing to compare


class Ready(NamedTuple):
    """An engine set up for one workload."""

    call: Call
    settings: str = ""


class FirstScore(NamedTuple):
    """How a fresh process gets to its first score of ``x (N, T, I)``, as Python source.

    It runs in the folder that `write` wrote to.
    """

    imports: str
    load: str
    score: str
    write: Callable[[LSTM, Workload, Path], None]


@dataclass(frozen=True)
class Engine:
    """One way to do a workload's work, under the name that it has in results."""

    label: str
    build: Callable[[Any, Any, int], Ready]  # from a workload, its input (N, T, I), and threads
    enters: tuple[str, ...] = ()  # keys of CONTESTS
    needs: tuple[str, ...] = ()  # modules that must be installed
    versions: tuple[str, ...] = ()  # packages that its speed depends on, beside the machine
    steady: bool = False  # same versions, same speed: `diff` measures others by it
    dtypes: tuple[str, ...] = ("float32", "float64")
    from_file: bool = False  # `build` takes the path of the input file, not the input
    most_work: float = math.inf  # operations a call; of more, only some sequences are timed ...
    share: int = 1  # ... a multiple of this
    most_sequences: int | None = None  # that are timed
    flops: float | None = None  # operations of a call, if not the workload's
    first_score: FirstScore | None = None

    def __post_init__(self) -> None:
        if unknown := set(self.enters) - set(CONTESTS):
            raise ValueError(
                f"{self.label}: expected contests in {', '.join(CONTESTS)}, got {unknown}"
            )

    def sequences(self, workload: Workload) -> int:
        """How many of the workload's sequences are timed; the times are scaled to all of them."""
        if self.most_sequences is not None:
            return min(self.most_sequences, workload.N)
        if workload.N * workload.work_a_sequence <= self.most_work:
            return workload.N
        shares = int(self.most_work / workload.work_a_sequence) // self.share
        return min(workload.N, self.share * max(1, shares))

    def missing(self) -> list[str]:
        """The modules that it needs and that are not installed."""
        return not_installed(self.needs)


def not_installed(modules: tuple[str, ...]) -> list[str]:
    return [name for name in modules if importlib.util.find_spec(name) is None]
