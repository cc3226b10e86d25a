"""Results as CSV, in a file or on standard output."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.scoring.chunk import Field, Scored
from fastlstm.scoring.destinations.appended import Appended, known_sizes
from fastlstm.scoring.destinations.batches import (
    import_pyarrow,
    leading_columns,
    leading_schema,
    refuse_same,
)
from fastlstm.scoring.destinations.writer import Results, StreamWriter, Writer
from fastlstm.scoring.partial import Partial

__all__ = ["CsvStream", "CsvWriter"]

Array = npt.NDArray[Any]

LINES = 2**15  # formatted at a time


class Lines:
    """Formats results: a line for each sequence, or for each step if there are results of steps.

    A field of several numbers is several columns, ``h_n_0``, ``h_n_1`` and so on. With a line for
    each step, what belongs to the sequence is repeated on each, and a sequence without steps has
    one line without a step.

    Raises
    ------
    ImportError
        The package pyarrow is not installed.
    ValueError
        A column cannot be kept.
    """

    def __init__(self, results: Results) -> None:
        fields, kept = results.fields, results.kept
        pyarrow = import_pyarrow("writing CSV")
        import pyarrow.csv as arrow_csv

        self.fields, self.kept = fields, leading_schema(kept)
        self.by_step = any(field.stepwise for field in fields)
        names = ["step"] if self.by_step else []
        for field in fields:
            names += _names(field)
        refuse_same(self.kept.names, names)
        self.names = [*self.kept.names, *names]
        self.options = arrow_csv.WriteOptions(include_header=False)
        for column in self.kept:
            try:
                arrow_csv.write_csv(pyarrow.schema([column]).empty_table(), io.BytesIO())
            except pyarrow.ArrowException:
                raise ValueError(
                    f"column {column.name!r} cannot be kept in CSV: its type is {column.type}; "
                    "leave it out, or write .parquet"
                ) from None

    def header(self) -> bytes:
        """Return the first line."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(self.names)
        return text.getvalue().encode()

    def of(self, scored: Scored) -> Iterator[Any]:
        """Yield the lines of a chunk as bytes, some at a time."""
        import pyarrow as pa
        import pyarrow.csv as arrow_csv

        kept = pa.record_batch(leading_columns(scored, self.kept), schema=self.kept)
        lengths = self._lengths(scored)
        if lengths is None:
            lines_of, ends = None, np.arange(1, len(scored.rows) + 1)
        else:
            lines_of = np.maximum(lengths, 1)
            ends = np.cumsum(lines_of)
        count = int(ends[-1]) if len(ends) else 0
        for first in range(0, count, LINES):
            lines = np.arange(first, min(first + LINES, count))
            if lengths is None or lines_of is None:
                columns = [*kept.slice(first, len(lines)).columns, *self._plain(scored, lines)]
            else:
                rows = np.searchsorted(ends, lines, "right")
                steps = lines - ends[rows] + lines_of[rows]
                leading = kept.take(pa.array(rows)).columns
                columns = [*leading, *self._long(scored, rows, steps, lengths[rows] > 0)]
            out = pa.BufferOutputStream()
            arrow_csv.write_csv(pa.record_batch(columns, names=self.names), out, self.options)
            yield out.getvalue()

    def _lengths(self, scored: Scored) -> npt.NDArray[np.int64] | None:
        if not self.by_step or scored.lengths is not None:
            return scored.lengths if self.by_step else None
        every = next(field.name for field in self.fields if field.stepwise)
        return np.full(len(scored.rows), scored.values[every].shape[1])

    def _plain(self, scored: Scored, rows: Array) -> Iterator[Any]:
        import pyarrow as pa

        for field in self.fields:
            for column in scored.values[field.name][rows].T:
                yield pa.array(np.ascontiguousarray(column))

    def _long(self, scored: Scored, rows: Array, steps: Array, real: Array) -> Iterator[Any]:
        import pyarrow as pa

        yield pa.array(steps, mask=~real)
        for field in self.fields:
            values = scored.values[field.name]
            if not field.stepwise:
                numbers = values[rows]
            else:
                numbers = np.zeros((len(rows), field.width), field.dtype)
                numbers[real] = values[rows[real], steps[real]]
            for column in numbers.T:
                missing = ~real if field.stepwise else None
                yield pa.array(np.ascontiguousarray(column), mask=missing)


def _names(field: Field) -> list[str]:
    if field.width == 1:
        return [field.name]
    return [f"{field.name}_{i}" for i in range(field.width)]


class CsvWriter(Writer):
    """Writes results to a CSV file; raises what `Lines` does."""

    def __init__(self, partial: Partial, results: Results) -> None:
        self.partial = partial
        self.lines = Lines(results)
        self.file: Appended | None = None

    def open(self, sizes: Mapping[str, int], written: int) -> None:
        size = known_sizes(self.partial.folder, ["score.csv"], sizes)["score.csv"]
        self.file = file = Appended(self.partial.path("score.csv"), size)
        header = self.lines.header()
        try:
            if not size:
                file.write(header)
            elif file.read(0, len(header)) != header or file.read(size - 1, 1) != b"\n":
                raise file.damaged("it does not hold the lines that its journal says")
        except BaseException:
            self.close()
            raise

    @property
    def _open(self) -> Appended:
        assert self.file is not None
        return self.file

    def write(self, scored: Scored) -> None:
        for lines in self.lines.of(scored):
            self._open.write(lines)

    def sizes(self) -> dict[str, int]:
        return {"score.csv": self._open.size}

    def sync(self) -> None:
        self._open.sync()

    def cut(self, sizes: Mapping[str, int]) -> None:
        self._open.cut(sizes["score.csv"])

    def finish(self, written: int) -> None:
        self._open.sync()

    def targets(self) -> dict[str, Path]:
        return {"score.csv": self.partial.destination}

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


class CsvStream(StreamWriter):
    """Writes results as CSV to standard output; raises what `Lines` does.

    Raises
    ------
    OSError
        Standard output is closed.
    """

    def __init__(self, results: Results) -> None:
        if sys.stdout is None:
            raise OSError("standard output is closed: name a file for the scores")
        self.lines = Lines(results)
        self.begun = False

    def write(self, scored: Scored) -> None:
        self._begin()
        for lines in self.lines.of(scored):
            sys.stdout.buffer.write(lines)

    def finish(self) -> None:
        self._begin()
        sys.stdout.buffer.flush()

    def _begin(self) -> None:
        """Write the header, but only once there are results: an error may come first."""
        if not self.begun:
            sys.stdout.flush()
            sys.stdout.buffer.write(self.lines.header())
            self.begun = True
