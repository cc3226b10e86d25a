"""A workload: sequences, a network to run them through, and the operations that this takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bench.harness.internals import ACTIVATION_WORK
from fastlstm import LSTM
from tests.shapes import make_input, make_model

__all__ = ["WORKLOADS", "Workload"]

Array = npt.NDArray[Any]

# name: N, T, I, H, layers
WORKLOADS = {
    "seed": (100_000, 100, 1, 1, 1),
    "tiny": (100_000, 50, 1, 8, 1),
    "h16": (8_192, 100, 4, 16, 1),
    "mid": (4_096, 100, 8, 32, 1),
    "h64": (2_048, 100, 16, 64, 1),
    "credit": (50_000, 13, 188, 64, 1),
    "fraud": (10_000, 7, 220, 200, 2),
    "har": (10_000, 128, 9, 32, 2),
    "forecast": (100_000, 24, 1, 40, 2),
    "telemetry": (2_048, 250, 25, 80, 2),
    "hydro_s": (512, 365, 5, 128, 1),
    "hydro": (512, 365, 32, 256, 1),
    "big": (256, 50, 64, 512, 1),
    "b32": (32, 200, 32, 128, 1),
    "b8": (8, 500, 16, 64, 1),
    "amp": (1, 48_000, 1, 20, 1),
    "vad": (1, 10_000, 128, 128, 1),
}


@dataclass(frozen=True)
class Workload:
    """N sequences of up to T steps through layers of H hidden units, the first with I inputs."""

    name: str
    N: int
    T: int
    I: int  # noqa: E741
    H: int
    layers: int
    dtype: str
    lengths: str = "full"  # or another name in LENGTHS
    idle: float = 0.0  # seconds without work before each call

    most_checked: ClassVar[int] = 4096  # sequences whose results are compared with float64
    most_seconds: ClassVar[float] = 12.0  # before an engine sits out the later rounds

    @classmethod
    def named(cls, name: str, dtype: str) -> Workload:
        """The workload of that name in the table."""
        return cls(name, *WORKLOADS[name], dtype)

    @classmethod
    def of(cls, row: dict[str, Any]) -> Workload:
        """The workload of a stored row."""
        return cls(**{name: row[name] for name in cls.__dataclass_fields__ if name in row})

    def with_sequences(self, N: int) -> Workload:
        return replace(self, N=N)

    def model(self) -> LSTM:
        return make_model(self.I, (self.H,) * self.layers, dtype=self.dtype)

    def inputs(self) -> Array:
        """Random input ``(N, T, I)``; nothing past a sequence's length is ever read."""
        return make_input(self.N, self.T, self.I, self.dtype)

    def real_lengths(self) -> Array:
        """How many steps each sequence has ``(N,)``, from 1 to T."""
        rng = np.random.Generator(np.random.PCG64([self.N, self.T]))
        shares = LENGTHS[self.lengths](rng, self.N)
        return np.clip(np.rint(shares * self.T), 1, self.T).astype("int64")

    @property
    def steps(self) -> int:
        """The real time steps of all sequences."""
        return self.N * self.T if self.lengths == "full" else int(self.real_lengths().sum())

    @property
    def weights(self) -> int:
        """How many weights the layers have, not counting biases."""
        return 4 * self.H * (self.I + self.H + (self.layers - 1) * 2 * self.H)

    @property
    def flops(self) -> int:
        """Operations of the matrix products; a multiply-add is two."""
        return self.steps * 2 * self.weights

    @property
    def work_a_sequence(self) -> int:
        """Roughly the operations of one sequence of full length, activations included."""
        return self.T * (2 * self.weights + self.layers * self.H * ACTIVATION_WORK)


LOG_SIGMA = 0.6
# Lengths as shares of T, (N,), from a generator and N.
LENGTHS = {
    "full": lambda rng, N: np.ones(N),
    "uniform": lambda rng, N: rng.uniform(0.25, 1.0, N),
    "log-normal": lambda rng, N: 0.4 * rng.lognormal(-(LOG_SIGMA**2) / 2, LOG_SIGMA, N),
}
