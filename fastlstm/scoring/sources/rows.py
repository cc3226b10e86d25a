"""Tables with one row a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from fastlstm.messages import Option
from fastlstm.model import LSTM
from fastlstm.scoring.chunk import WINDOW, Chunk, Position
from fastlstm.scoring.sources import Layout
from fastlstm.scoring.sources.sequences import Cutter, Sequences
from fastlstm.scoring.sources.table_files import Batch, Table, batch_of, pyarrow

__all__ = ["RowReader", "Steps", "kept_schema"]


class Steps(Protocol):
    """Finds the steps in rows."""

    types: dict[str, Any]  # the columns that hold them
    dtype: np.dtype[Any]
    steps: int | None  # of the longest sequence, if known
    equal: bool

    def sequences(self, batch: Batch) -> Sequences:
        """Return the sequences of some rows."""


class RowReader:
    """Reads tables with one row a sequence; see `Reader`.

    A position is the address of a row, and the number of the next window in it.

    Raises
    ------
    ValueError
        A column that should be carried along is not there.
    """

    def __init__(self, table: Table, layout: Layout, model: LSTM, rows: Steps) -> None:
        self.table, self.rows = table, rows
        if layout.id is not None:
            table.type_of(layout.id, Option("id"))
        names = [*([layout.id] if layout.id else []), *layout.keep]
        self.kept = kept_schema(table, names, layout.window)
        self.kept_names = [] if self.kept is None else list(dict.fromkeys(names))
        self.types = {
            **rows.types,
            **{n: table.type_of(n, Option("keep")) for n in self.kept_names},
        }
        self.inputs, self.dtype, self.again = model.input_size, rows.dtype, table.again
        self.cutter = Cutter(layout.window, layout.stride, layout.id)
        step_bytes = self.inputs * self.dtype.itemsize
        self.row_bytes: int | None = None
        self.count, self.steps, self.equal = table.rows, rows.steps, rows.equal
        if self.equal and rows.steps is not None:
            self.row_bytes = step_bytes * max(rows.steps, 1)
        self.too_short: int | None = 0
        if layout.window is not None:
            self.count = self.too_short = None
            if table.rows is not None and rows.equal and rows.steps is not None:
                each = max(0, (rows.steps - layout.window) // layout.stride + 1)
                self.count = table.rows * each
                self.too_short = 0 if each else table.rows
            self.steps, self.equal = layout.window, True
            self.row_bytes = step_bytes * layout.stride

    def describe(self) -> str:
        """See `Reader`."""
        return self.table.describe()

    def identity(self) -> dict[str, Any]:
        """See `Reader`."""
        return self.table.identity()

    def chunks(self, n_bytes: int, position: Position | None) -> Iterator[Chunk]:
        """See `Reader`."""
        *at, window = position or (0, 0, 0, 0)
        too_short, last = 0, None
        for batch in self.table.batches(self.types, n_bytes, tuple(at)):
            found = self.rows.sequences(batch)
            if self.kept_names:
                columns = [batch.data.column(name) for name in self.kept_names]
                found.kept = batch_of(columns, self.kept_names)

            def after(row: int, number: int, batch: Batch = batch) -> Position:
                return *batch.address(row), number

            too_short = yield from self.cutter.cut(found, n_bytes, after, 0, window, too_short)
            window = 0
            last = found.none(), after(len(batch), 0)
            del batch, found
        if last is not None:
            yield from self.cutter.leftover(last[0], too_short, last[1])

    def close(self) -> None:
        """See `Reader`."""
        self.table.close()


def kept_schema(table: Table, names: list[str], window: int | None) -> Any:
    """Return the schema of the columns that are carried along, None if there are none."""
    pa = pyarrow()
    fields = [pa.field(name, table.type_of(name, Option("keep"))) for name in dict.fromkeys(names)]
    if not fields:
        return None
    if window is not None:
        if WINDOW in names:
            raise ValueError(f"a column {WINDOW!r} of window numbers is added: it cannot be kept")
        fields.append(pa.field(WINDOW, pa.int64()))
    return pa.schema(fields)
