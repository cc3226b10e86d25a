"""Tables with one row for a step."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.calls.sources import count_of
from fastlstm.messages import Message, Option
from fastlstm.scoring.chunk import Chunk, Position, Reader
from fastlstm.scoring.sources.layout import Layout
from fastlstm.scoring.sources.model_input import ModelInput
from fastlstm.scoring.sources.tables.columns import (
    import_pyarrow,
    number_dtype,
    numbers,
    quoted,
    record_batch,
    refuse_index,
    shown,
)
from fastlstm.scoring.sources.tables.cutter import (
    NULL,
    UNPARSABLE,
    Cutter,
    Sequences,
    kept_schema,
)
from fastlstm.scoring.sources.tables.order import (
    IdWatch,
    Order,
    decreasing,
    refuse_nulls,
    run_starts,
    survey,
)
from fastlstm.scoring.sources.tables.sorting import Sorted, order_of
from fastlstm.scoring.sources.tables.table import Batch, Table

__all__ = ["StepReader"]

Array = npt.NDArray[Any]


class StepReader(Reader):
    """Reads tables with one row for a step.

    Sequences come in the order in which their ids first appear. Their steps are sorted by time;
    steps of the same time stay in their order. Without `id` all rows are one sequence. A kept
    column has the value of the first step of a sequence, or of a window.

    A position is the address of a row, the number of that step in its sequence, and the number of
    the next window in it.

    Raises
    ------
    TypeError, ValueError
        The columns do not fit the layout or the model.
    """

    def __init__(self, table: Table, layout: Layout, model: ModelInput) -> None:
        layout.refuse("a table with one row for each step", "column")
        self.table, self.id, self.time = table, layout.id, layout.time
        self.inputs, self.again = model.inputs, table.again
        for name, role in ((layout.id, Option("id")), (layout.time, Option("time"))):
            if name is not None:
                table.type_of(name, role)
        self.kept = kept_schema(table, layout)
        self.kept_names = layout.kept
        self.features = _features(table, layout, model)
        self.dtype = _dtype(table, self.features, model)
        self.types = self._types(layout)
        self.cutter = Cutter(layout.window, layout.stride, layout.id)
        self.window, self.stride = layout.window, layout.stride
        self.order = Order(ordered=layout.window is not None or layout.time is None)
        if table.again:
            self.order = survey(table, self.id, self.time, self.window, self.stride)
        self.sorts = not self.order.contiguous or (layout.id is None and not self.order.ordered)
        self.sorts_each = not self.sorts and not self.order.ordered and layout.time is not None
        # windows of steps that are in order are scored as the steps come
        self.in_pieces = self.window is not None and not self.sorts_each
        step_bytes = self.inputs * self.dtype.itemsize
        if self.window is None:
            self.count, self.steps = self.order.sequences, self.order.longest
            self.equal = self.steps is not None and self.steps == self.order.shortest
            if self.equal:
                self.row_bytes = step_bytes * max(self.steps or 1, 1)
        else:
            self.count, self.steps, self.equal = self.order.windows, self.window, True
            self.too_short = self.order.too_short
            self.row_bytes = step_bytes * self.stride

    def _types(self, layout: Layout) -> dict[str, Any]:
        pa = import_pyarrow()
        types = {n: self.table.type_of(n, Option("keep")) for n in self.kept_names}
        for name in self.features:
            kind = self.table.type_of(name, "a feature")
            if self.table.is_text:  # its first lines say little about the others
                kind = pa.int64() if self.dtype.kind == "i" else pa.float64()
            types[name] = kind
        if layout.time is not None:
            types[layout.time] = kind = self.table.type_of(layout.time, Option("time"))
            kinds = pa.types
            if kinds.is_nested(kind) or kinds.is_boolean(kind) or kinds.is_null(kind):
                raise TypeError(
                    f"{self.table.name}: expected times that can be sorted in column "
                    f"{layout.time!r}, got {kind}"
                )
        if layout.id is not None and pa.types.is_nested(types[layout.id]):
            raise TypeError(
                f"{self.table.name}: expected ids in column {layout.id!r}, got {types[layout.id]}"
            )
        return types

    def describe(self) -> str:
        return self.table.describe()

    def identity(self) -> dict[str, Any]:
        return self.table.identity()

    def chunks(self, n_bytes: int, position: Position | None) -> Iterator[Chunk]:
        *at, begin, window = position or (0, 0, 0, 0, 0)
        table: Table | Sorted = self.table
        if self.sorts:
            table = Sorted(self.table, self.id, self.time)
        watch, last = IdWatch(), None
        too_short = 0
        waiting: list[Batch] = []
        for batch in table.batches(self.types, n_bytes, (at[0], at[1], at[2])):
            starts = self._run_starts(batch, last, watch)
            begun = len(starts) - int(last is None)  # after the first row of those that wait
            last = batch.data.slice(len(batch) - 1)
            waiting.append(batch)
            del batch
            if not self.in_pieces and not begun:
                continue  # the sequence may go on
            whole, waiting = Batch.joined(waiting), []
            offsets = self._offsets(whole)
            if not self.in_pieces:
                ended = offsets[:-1]
                too_short = yield from self._cut(whole, ended, n_bytes, 0, window, too_short)
                waiting = [whole.rest(int(ended[-1]))]
                window = window if len(ended) == 1 else 0
            else:
                too_short = yield from self._cut(
                    whole, offsets, n_bytes, begin, window, too_short, ended=False
                )
                n = len(offsets) - 2  # the last sequence
                steps = int(offsets[-1] - offsets[-2]) + (0 if n else begin)
                fit = max(0, (steps - (self.window or 0)) // self.stride + 1)
                window = max(fit, 0 if n else window)
                row, begin = self._step(offsets, n, window * self.stride, begin)
                waiting = [whole.rest(row)]
            del whole
        if waiting:
            whole = Batch.joined(waiting)
            waiting = []
            offsets = self._offsets(whole)
            if not self.in_pieces:
                too_short = yield from self._cut(whole, offsets, n_bytes, 0, window, too_short)
            elif begin + len(whole) < (self.window or 0):
                too_short += 1
            if too_short:
                none = self._sequences(whole, offsets).none()
                yield from self.cutter.leftover(none, too_short, (*whole.address(len(whole)), 0, 0))
        if not watch.all_fresh():
            raise _come_again(self.table.name, self.id)

    def _run_starts(self, batch: Batch, last: Any, watch: IdWatch) -> npt.NDArray[np.int64]:
        """Return the rows where sequences begin; check the order of a table that is read once."""
        ids = None if self.id is None else batch.data.column(self.id)
        refuse_nulls(self.table, batch, self.id, self.time)
        starts = run_starts(ids, len(batch), last, self.id)
        if not self.again:
            if ids is not None and not watch.fresh(ids.take(import_pyarrow().array(starts))):
                raise _come_again(self.table.name, self.id)
            if self.order.ordered and self.time and len(decreasing(batch, self.time, starts, last)):
                raise ValueError(
                    f"{self.table.name}: expected rows sorted by {self.time!r} in each sequence, "
                    "since windows are scored as they arrive: sort them, or score a file"
                )
        return starts

    def _offsets(self, whole: Batch) -> npt.NDArray[np.int64]:
        ids = None if self.id is None else whole.data.column(self.id)
        return np.append(run_starts(ids, len(whole), None, self.id), len(whole))

    def _step(self, offsets: Array, sequence: int, step: int, begin: int) -> tuple[int, int]:
        """Return the row and the number of a step of a sequence, or of its last step so far."""
        first = int(offsets[sequence]) - (0 if sequence else begin)
        row = min(first + step, int(offsets[sequence + 1]) - 1)
        return row, row - first

    def _cut(
        self,
        whole: Batch,
        offsets: Array,
        n_bytes: int,
        begin: int,
        window: int,
        too_short: int,
        ended: bool = True,
    ) -> Generator[Chunk, None, int]:
        """Yield the sequences between the offsets as chunks, as `Cutter.cut` does."""
        if len(offsets) < 2:
            return too_short

        def after(sequence: int, number: int) -> Position:
            row, step = int(offsets[sequence]), 0
            if self.in_pieces:
                row, step = self._step(offsets, sequence, number * self.stride, begin)
            return *whole.address(row), step, number

        found = self._sequences(whole, offsets)
        left: int = yield from self.cutter.cut(
            found, n_bytes, after, begin, window, too_short, ended
        )
        return left

    def _sequences(self, whole: Batch, offsets: Array) -> Sequences:
        rows = int(offsets[-1])
        data = whole.data.slice(0, rows)
        columns = [numbers(data.column(name), self.dtype) for name in self.features]
        bad: Any = np.zeros(rows, np.uint8)
        for _, null in columns:
            if null is not None:
                bad[null] = NULL
        bad[[row for row in whole.unparsable if row < rows]] = UNPARSABLE
        values = columns[0][0].reshape(-1, 1)
        if len(columns) > 1:
            values = np.stack([column for column, _ in columns], axis=1)
        heads = offsets[:-1]
        steps: Any = np.arange(rows)
        if self.sorts_each:
            runs = np.repeat(np.arange(len(heads)), np.diff(offsets))
            order = order_of(rows, import_pyarrow().array(runs), data.column(self.time)).to_numpy()
            values, bad, steps = values[order], bad[order], order
        kept = None
        if self.kept_names:
            names = self.kept_names
            taken = data.take(import_pyarrow().array(steps if self.window else steps[heads]))
            kept = record_batch([taken.column(name) for name in names], names)
        return Sequences(values, offsets, bad if bad.any() else None, kept=kept, kept_by_step=True)

    def close(self) -> None:
        """Nothing is held open between chunks."""


def _features(table: Table, layout: Layout, model: ModelInput) -> list[str]:
    """Return the columns of the inputs: as named, or all numeric columns without another role."""
    columns = count_of(model.inputs, "column")
    if layout.features is not None:
        names = list(layout.features)
        for name in names:
            kind = table.type_of(name, Option("features"))
            if not table.is_numeric(table.schema.field(name)):
                raise TypeError(f"{table.name}: expected numbers in column {name!r}, got {kind}")
        which = Message(f"{columns} in ", Option("features"))
    else:
        others = {layout.id, layout.time, *layout.keep}
        names = [
            field.name
            for field in table.schema
            if field.name not in others and table.is_numeric(field)
        ]
        refuse_index(table.name, names, Message("name the inputs in ", Option("features")))
        beside = Message(Option("id"), ", ", Option("time"), " and ", Option("keep"))
        which = Message(f"{columns} of numbers beside ", beside)
    if len(names) != model.inputs:
        raise ValueError(
            Message(
                f"{table.name}: expected ",
                which,
                f", one for each input of the model, got {len(names)} "
                f"({', '.join(map(quoted, names)) or 'none'}): name {columns} in ",
                Option("features"),
                f"; the columns are {shown(table.schema)}",
            )
        )
    return names


def _dtype(table: Table, features: list[str], model: ModelInput) -> np.dtype[Any]:
    embeds = model.ids is not None
    if table.is_text:
        return np.dtype(np.int64 if embeds else np.float64)
    found = [number_dtype(table.type_of(name, "a feature")) for name in features]
    dtype = np.result_type(*[kind for kind in found if kind is not None])
    if embeds and dtype.kind not in "iu":
        raise TypeError(
            f"{table.name}: expected integer ids for the model's embedding in column "
            f"{features[0]!r}, got {dtype}"
        )
    return dtype


def _come_again(name: str, id: str | None) -> ValueError:
    return ValueError(
        f"{name}: expected all rows of an id to follow each other, since they can be read only "
        f"once, but an id in column {id!r} comes again: sort them, or score a file"
    )
