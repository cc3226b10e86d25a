"""Tables with one row for a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from fastlstm.messages import Option
from fastlstm.scoring.chunk import Chunk, Position, Reader
from fastlstm.scoring.sources.layout import Layout
from fastlstm.scoring.sources.tables.columns import record_batch
from fastlstm.scoring.sources.tables.cutter import Cutter, Sequences, kept_schema
from fastlstm.scoring.sources.tables.table import Batch, Table

__all__ = ["RowReader", "SequenceColumns"]


class SequenceColumns(Protocol):
    """The columns that hold the sequences, and how to find them there."""

    types: dict[str, Any]  # of these columns
    inputs: int
    dtype: np.dtype[Any]
    steps: int | None  # of the longest sequence, if known
    equal: bool

    def sequences(self, batch: Batch) -> Sequences:
        """Return the sequences of some rows."""


class RowReader(Reader):
    """Reads tables with one row for a sequence.

    A position is the address of a row, and the number of the next window in it.

    Raises
    ------
    ValueError
        There is no column `id` or `keep`.
    """

    def __init__(self, table: Table, layout: Layout, columns: SequenceColumns) -> None:
        self.table, self.columns = table, columns
        if layout.id is not None:
            table.type_of(layout.id, Option("id"))
        self.kept = kept_schema(table, layout)
        self.kept_names = layout.kept
        self.types = {
            **columns.types,
            **{n: table.type_of(n, Option("keep")) for n in self.kept_names},
        }
        self.inputs, self.dtype, self.again = columns.inputs, columns.dtype, table.again
        self.cutter = Cutter(layout.window, layout.stride, layout.id)
        step_bytes = self.inputs * self.dtype.itemsize
        self.count, self.steps, self.equal = table.rows, columns.steps, columns.equal
        if self.equal and columns.steps is not None:
            self.row_bytes = step_bytes * max(columns.steps, 1)
        if layout.window is not None:
            self.count = self.too_short = None
            if table.rows is not None and columns.equal and columns.steps is not None:
                each = max(0, (columns.steps - layout.window) // layout.stride + 1)
                self.count = table.rows * each
                self.too_short = 0 if each else table.rows
            self.steps, self.equal = layout.window, True
            self.row_bytes = step_bytes * layout.stride

    def describe(self) -> str:
        return self.table.describe()

    def identity(self) -> dict[str, Any]:
        return self.table.identity()

    def chunks(self, n_bytes: int, position: Position | None) -> Iterator[Chunk]:
        *at, window = position or (0, 0, 0, 0)
        too_short, last = 0, None
        for batch in self.table.batches(self.types, n_bytes, tuple(at)):
            found = self.columns.sequences(batch)
            if self.kept_names:
                columns = [batch.data.column(name) for name in self.kept_names]
                found.kept = record_batch(columns, self.kept_names)

            def after(row: int, number: int, batch: Batch = batch) -> Position:
                return *batch.address(row), number

            too_short = yield from self.cutter.cut(found, n_bytes, after, 0, window, too_short)
            window = 0
            last = found.none(), after(len(batch), 0)
            del batch, found
        if last is not None:
            yield from self.cutter.leftover(last[0], too_short, last[1])

    def close(self) -> None:
        """Nothing is held open between chunks."""
