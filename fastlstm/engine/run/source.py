"""What a call gives the engine: its sequences, and arrays for the results that it wants."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Outputs", "Rows", "Source"]

Array = npt.NDArray[Any]
Rows = slice | npt.NDArray[np.int64]


class Source(Protocol):
    """Sequences, wherever they are in memory."""

    dtype: np.dtype[Any]
    n_rows: int
    n_steps: int  # of the longest sequence, or of the padded array
    lengths: npt.NDArray[np.int64] | None  # (N,), None if all have n_steps

    def in_place(self, dtype: np.dtype[Any]) -> tuple[Array, npt.NDArray[np.int64]] | None:
        """Return flat values and where each row starts in them, if they can be read in place.

        If there are no starts, the rows follow each other, `n_steps` apart.
        """

    def copy_into(self, buffer: Array, rows: Rows, first: int) -> None:
        """Fill `buffer` (rows, steps, I) with steps `first, first + 1, ...` of some rows.

        The steps past a row's length are left as they are, or filled with padding.
        """

    def overlaps(self, out: Array) -> bool:
        """Tell whether `out` may share memory with the sequences."""


class Outputs(NamedTuple):
    """Arrays to fill, C-contiguous and of the engine's dtype; None for what is not wanted."""

    last: Array | None = None  # (N, outputs)
    sequence: Array | None = None  # (N, T, outputs)
    gates: Array | None = None  # i f g o c of the last layer, (5, N, T, H)
    end: tuple[Array, Array] | None = None  # h and c, flat, as `StateRows`
