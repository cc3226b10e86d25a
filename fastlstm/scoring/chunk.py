"""What passes from readers through the model to writers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fastlstm.calls.ragged import Ragged
from fastlstm.calls.windows import Windows

__all__ = ["WINDOW", "Chunk", "Field", "Position", "Reader", "Scored"]

Array = npt.NDArray[Any]

WINDOW = "window"  # the column that is kept of a window's number in its sequence

# Where a reader goes on: of its own making, and of what JSON can say.
Position = Any


@dataclass
class Chunk:
    """Some sequences that follow each other in the source.

    A reader may reuse the memory of the sequences for the chunk after the next but one.
    """

    sequences: Any  # what `LSTM.predict` takes: array (n, T, I), Ragged or Windows
    count: int  # n
    after: Position  # where the next chunk begins
    lengths: Array | None = None  # (n,) of a padded array
    kept: Any = None  # pyarrow.RecordBatch of n rows: the columns that are carried along
    id: str | None = None  # the column of `kept` that tells sequences apart
    # sequences that a window does not fit into, between the chunk before and the end of this one
    too_short: int = 0
    # what is wrong with a row that could not be read: its sequence here is empty or zeros
    broken: dict[int, str] = field(default_factory=dict)
    own: bool = False  # the sequences are in memory that nobody else reuses or takes away

    def detach(self) -> None:
        """Copy the sequences, unless that was done: whatever they lay in may go."""
        if self.own:
            return
        sequences = self.sequences
        if isinstance(sequences, Ragged):
            self.sequences = Ragged(sequences.values.copy(), sequences.offsets)
        elif isinstance(sequences, Windows):
            self.sequences = Windows(sequences.series.copy(), sequences.starts, sequences.steps)
        else:
            self.sequences = sequences.copy()
        self.own = True


class Reader(Protocol):
    """Sequences in files, read a chunk at a time."""

    count: int | None  # of all sequences; None if only reading tells
    steps: int | None  # T of all, or of the longest; None if only reading tells
    equal: bool  # all sequences have `steps` steps
    inputs: int  # I
    row_bytes: int | None  # read for a sequence; None if that differs
    dtype: np.dtype[Any]  # of the numbers
    again: bool  # they can be read a second time, which `resume` needs
    kept: Any  # pyarrow.Schema of the columns that are carried along, or None
    too_short: int | None  # sequences without a window; None if only reading tells

    def describe(self) -> str:
        """Say in a few words what is read."""

    def identity(self) -> dict[str, Any]:
        """Return what tells this input from another, as JSON can say it."""

    def chunks(self, n_bytes: int, position: Position | None) -> Iterator[Chunk]:
        """Yield the sequences from a position on (None: all), each chunk of about `n_bytes`."""

    def close(self) -> None:
        """Give files back."""


class Field(NamedTuple):
    """One kind of number that is written for every sequence."""

    name: str
    dtype: np.dtype[Any]
    width: int  # numbers a sequence, or a step of it
    stepwise: bool  # at every step


@dataclass
class Scored:
    """A chunk's results, in the order of the source."""

    rows: npt.NDArray[np.int64]  # (n,) number of each sequence in the source
    values: dict[str, Array]  # by field: (n, width), or (n, T, width)
    lengths: npt.NDArray[np.int64] | None  # (n,) steps that count; None for all T
    kept: Any  # pyarrow.RecordBatch of n rows, or None
    bad: Sequence[int] = ()  # rows in the chunk whose results are NaN
    too_short: int = 0  # as in the chunk
