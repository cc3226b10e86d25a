"""One row of the benchmarks: a shape of the table that the tests use too, and its work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from fastlstm import LSTM
from tests.shapes import BENCHMARK_ROWS, make_input, make_model

__all__ = ["BENCHMARK_ROWS", "Row"]

Array = npt.NDArray[Any]

# What the activations of one hidden unit and step cost, counted as floating-point operations.
ACTIVATION_WORK = 200


@dataclass(frozen=True)
class Row:
    """N sequences of T steps through one layer of I inputs and H hidden units."""

    name: str
    N: int
    T: int
    I: int  # noqa: E741
    H: int
    dtype: str

    @classmethod
    def named(cls, name: str, dtype: str) -> Row:
        """The row of that name in the table."""
        return cls(name, *BENCHMARK_ROWS[name], dtype)

    def with_sequences(self, N: int) -> Row:
        return replace(self, N=N)

    def model(self) -> LSTM:
        return make_model(self.I, (self.H,), dtype=self.dtype)

    def inputs(self) -> Array:
        """Random input ``(N, T, I)``."""
        return make_input(self.N, self.T, self.I, self.dtype)

    @property
    def steps(self) -> int:
        return self.N * self.T

    @property
    def flops(self) -> int:
        """Operations of the matrix products: two a multiply-add, four gates."""
        return self.steps * 8 * self.H * (self.I + self.H)

    @property
    def work_a_sequence(self) -> int:
        """About how many operations a sequence takes, the activations included."""
        return self.T * self.H * (8 * (self.I + self.H) + ACTIVATION_WORK)
