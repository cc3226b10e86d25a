"""One row of the benchmarks: a shape of the table that the tests use too, and its work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fastlstm import LSTM
from fastlstm.engine.plan.work import ACTIVATION_WORK
from tests.shapes import BENCHMARK_ROWS, make_input, make_model

__all__ = ["BENCHMARK_ROWS", "Row"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Row:
    """N sequences of up to T steps through layers of H hidden units, the first with I inputs."""

    name: str
    N: int
    T: int
    I: int  # noqa: E741
    H: int
    layers: int
    dtype: str
    lengths: str = "full"  # or a name in LENGTHS
    idle: float = 0.0  # seconds of idleness before each call

    most_checked: ClassVar[int] = 4096  # sequences whose results are compared with float64
    most_seconds: ClassVar[float] = 12.0  # an engine that took so long sits out further rounds

    @classmethod
    def named(cls, name: str, dtype: str) -> Row:
        """The row of that name in the table."""
        return cls(name, *BENCHMARK_ROWS[name], dtype)

    @classmethod
    def of(cls, result: dict[str, Any]) -> Row:
        """The row of a stored result."""
        return cls(**{name: result[name] for name in cls.__dataclass_fields__ if name in result})

    def with_sequences(self, N: int) -> Row:
        return replace(self, N=N)

    def model(self) -> LSTM:
        return make_model(self.I, (self.H,) * self.layers, dtype=self.dtype)

    def inputs(self) -> Array:
        """Random input ``(N, T, I)``; what lies past a length is never read."""
        return make_input(self.N, self.T, self.I, self.dtype)

    def real_lengths(self) -> Array:
        """How many steps each sequence has ``(N,)``, from 1 to T."""
        rng = np.random.Generator(np.random.PCG64([self.N, self.T]))
        parts = LENGTHS[self.lengths](rng, self.N)
        return np.clip(np.rint(parts * self.T), 1, self.T).astype("int64")

    @property
    def steps(self) -> int:
        """The real time steps of all sequences."""
        return self.N * self.T if self.lengths == "full" else int(self.real_lengths().sum())

    @property
    def weights(self) -> int:
        """How many weights the layers have, the biases left out."""
        return 4 * self.H * (self.I + self.H + (self.layers - 1) * 2 * self.H)

    @property
    def flops(self) -> int:
        """Operations of the matrix products: two a multiply-add, four gates."""
        return self.steps * 2 * self.weights

    @property
    def work_a_sequence(self) -> int:
        """About how many operations a full sequence takes, the activations included."""
        return self.T * (2 * self.weights + self.layers * self.H * ACTIVATION_WORK)


LOG_SIGMA = 0.6
# Parts of T: from a generator and N to an array (N,).
LENGTHS = {
    "full": lambda rng, N: np.ones(N),
    "uniform": lambda rng, N: rng.uniform(0.25, 1.0, N),
    "log-normal": lambda rng, N: 0.4 * rng.lognormal(-(LOG_SIGMA**2) / 2, LOG_SIGMA, N),
}
