"""What passes from readers through the model to writers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fastlstm.calls.ragged import Ragged
from fastlstm.calls.windows import Windows

__all__ = [
    "MISSING_CHUNK",
    "WINDOW",
    "Chunk",
    "Field",
    "MappedFile",
    "Position",
    "Reader",
    "Scored",
]

Array = npt.NDArray[Any]

WINDOW = "window"  # the kept column that numbers the windows of a sequence

MISSING_CHUNK = "a missing chunk"  # why a row is broken that reaches into one

# Where a reader goes on. Each reader has its own form, which JSON can hold.
Position = Any


@dataclass
class Chunk:
    """Sequences that follow each other in the source.

    A reader may reuse the memory of the sequences for the chunk after the next but one.
    """

    sequences: Any  # what `LSTM.predict` takes: array (n, T, I), Ragged or Windows
    count: int  # n
    after: Position  # where the next chunk begins
    lengths: Array | None = None  # (n,) of a padded array
    kept: Any = None  # pyarrow.RecordBatch of n rows: the columns that are carried along
    id: str | None = None  # the column of `kept` that identifies sequences
    # sequences shorter than a window, between the previous chunk and the end of this one
    too_short: int = 0
    # rows that could not be read, and why; their sequence here is empty or all zeros
    broken: dict[int, str] = field(default_factory=dict)
    own: bool = False  # nothing else uses or frees the memory of the sequences

    @property
    def equal(self) -> bool:
        """Whether all sequences have the same number of steps, whatever is in them."""
        return self.lengths is None and not isinstance(self.sequences, Ragged)

    @property
    def steps(self) -> npt.NDArray[np.int64]:
        """How many steps each sequence has (n,)."""
        sequences = self.sequences
        if self.lengths is not None:
            return np.asarray(self.lengths).astype(np.int64, copy=False)
        if isinstance(sequences, Ragged):
            return sequences.lengths
        steps = sequences.steps if isinstance(sequences, Windows) else sequences.shape[1]
        return np.full(self.count, steps, np.int64)

    def rows(self, chosen: npt.NDArray[np.int64]) -> tuple[Any, Array | None]:
        """Return some of the sequences, and their lengths."""
        sequences = self.sequences
        if isinstance(sequences, Windows):
            return Windows(sequences.series, sequences.starts[chosen], sequences.steps), None
        if isinstance(sequences, Ragged):
            kept = np.isin(np.arange(self.count), chosen)
            inside = sequences.values[sequences.offsets[0] : sequences.offsets[-1]]
            ends = np.cumsum(sequences.lengths[chosen])
            return Ragged(inside[np.repeat(kept, sequences.lengths)], np.append(0, ends)), None
        return sequences[chosen], None if self.lengths is None else self.lengths[chosen]

    def detach(self) -> None:
        """Copy the sequences, unless that was done already, so that their file may be closed."""
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


class MappedFile(Protocol):
    """A file that chunks may lie in, and that others may be waiting to write to."""

    @property
    def wanted(self) -> bool:
        """Whether another program waits to write to it."""

    def close(self) -> None:
        """Let other programs write to it; its memory must not be read any more."""


class Reader(Protocol):
    """Reads the sequences of a source, a chunk at a time."""

    count: int | None  # N; None if only reading tells
    steps: int | None  # T of all, or of the longest; None if only reading tells
    equal: bool = False  # all sequences have `steps` steps
    inputs: int  # I
    row_bytes: int | None = None  # read for a sequence; None if that differs
    dtype: np.dtype[Any]  # of the numbers
    again: bool = True  # can be read a second time, which `resume` needs
    kept: Any = None  # pyarrow.Schema of the columns that are carried along
    too_short: int | None = 0  # sequences shorter than a window; None if only reading tells
    held: int = 0  # bytes that the reader holds beside its chunks
    abandon: Callable[[], None] | None = None  # ends waiting for a pipe

    def describe(self) -> str:
        """Say in a few words what is read."""

    def identity(self) -> dict[str, Any]:
        """Return what tells this source from another or a changed one, as JSON can hold it."""

    def chunks(self, n_bytes: int, position: Position | None) -> Iterator[Chunk]:
        """Yield the sequences from a position on (None: all), about `n_bytes` in each chunk."""

    def mapped_files(self) -> Sequence[MappedFile]:
        """Return the files whose memory recent chunks lie in."""
        return []

    def close(self) -> None:
        """Close the files."""


class Field(NamedTuple):
    """One kind of number that is written for every sequence."""

    name: str
    dtype: np.dtype[Any]
    width: int  # numbers for a sequence, or for a step of it
    stepwise: bool  # written for every step


@dataclass
class Scored:
    """The results of a chunk, in the order of the source."""

    rows: npt.NDArray[np.int64]  # (n,) number of each sequence in the source
    values: dict[str, Array]  # by field: (n, width), or (n, T, width)
    lengths: npt.NDArray[np.int64] | None  # (n,) real steps; None if all T are
    kept: Any  # pyarrow.RecordBatch of n rows, or None
    bad: Sequence[int] = ()  # rows of this chunk whose results are NaN
    too_short: int = 0  # as in the chunk
