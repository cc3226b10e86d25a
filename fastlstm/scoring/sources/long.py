"""Tables in long format: one row a step."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.calls.sources import count_of
from fastlstm.messages import Message, Option
from fastlstm.model import LSTM
from fastlstm.network.embedding import Embedding
from fastlstm.scoring.chunk import Chunk, Position
from fastlstm.scoring.sources import Layout
from fastlstm.scoring.sources.lists import is_numeric, number_dtype, numbers
from fastlstm.scoring.sources.order import (
    IdWatch,
    Order,
    decreasing,
    refuse_nulls,
    run_starts,
    survey,
)
from fastlstm.scoring.sources.rows import kept_schema
from fastlstm.scoring.sources.sequences import NULL, UNPARSABLE, Cutter, Sequences
from fastlstm.scoring.sources.sorting import Sorted, order_of
from fastlstm.scoring.sources.table_files import (
    Batch,
    Table,
    batch_of,
    pyarrow,
    quoted,
    refuse_index,
    shown,
)

__all__ = ["LongReader"]

Array = npt.NDArray[Any]


class LongReader:
    """Reads tables with one row a step; see `Reader`.

    Sequences come in the order in which their ids appear first; in each the steps are sorted by
    time, and those of one time stay in their order. Without `id` all rows are one sequence. A
    column that is kept has the value of the first step, of a window that of its own first step.

    A position is the address of a row, the number of that step in its sequence, and the number of
    the next window in it.

    Raises
    ------
    TypeError, ValueError
        The columns do not fit the layout or the model.
    """

    def __init__(self, table: Table, layout: Layout, model: LSTM) -> None:
        layout.refuse("a table with one row a step", "column")
        self.table, self.id, self.time = table, layout.id, layout.time
        self.inputs, self.again = model.input_size, table.again
        for name, role in ((layout.id, Option("id")), (layout.time, Option("time"))):
            if name is not None:
                table.type_of(name, role)
        names = [*([layout.id] if layout.id else []), *layout.keep]
        self.kept = kept_schema(table, names, layout.window)
        self.kept_names = [] if self.kept is None else list(dict.fromkeys(names))
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
        # windows of sorted steps are scored as the steps come
        self.in_pieces = self.window is not None and not self.sorts_each
        step_bytes = self.inputs * self.dtype.itemsize
        self.row_bytes: int | None = None
        self.too_short: int | None = 0
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
        pa = pyarrow()
        types = {n: self.table.type_of(n, Option("keep")) for n in self.kept_names}
        for name in self.features:
            kind = self.table.type_of(name, "a feature")
            if _is_csv(self.table):  # what the first lines hold says little of the others
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
        """See `Reader`."""
        return self.table.describe()

    def identity(self) -> dict[str, Any]:
        """See `Reader`."""
        return self.table.identity()

    def chunks(self, n_bytes: int, position: Position | None) -> Iterator[Chunk]:
        """See `Reader`."""
        *at, begin, window = position or (0, 0, 0, 0, 0)
        table: Table | Sorted = self.table
        if self.sorts:
            table = Sorted(self.table, self.id, self.time)
        watch, last = IdWatch(), None
        too_short = 0
        waiting: list[Batch] = []
        for batch in table.batches(self.types, n_bytes, (at[0], at[1], at[2])):
            starts = self._run_starts(batch, last, watch)
            begun = len(starts) - int(last is None)  # behind the first row of those that wait
            last = batch.data.slice(len(batch) - 1)
            waiting.append(batch)
            del batch
            if not self.in_pieces and not begun:
                continue  # the last sequence goes on
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
        """Return where sequences begin, and see that all is as it should be."""
        ids = None if self.id is None else batch.data.column(self.id)
        refuse_nulls(self.table, batch, self.id, self.time)
        starts = run_starts(ids, len(batch), last, self.id)
        if not self.again:
            if ids is not None and not watch.fresh(ids.take(pyarrow().array(starts))):
                raise _come_again(self.table.name, self.id)
            if self.order.ordered and self.time and len(decreasing(batch, self.time, starts, last)):
                raise ValueError(
                    f"{self.table.name}: expected rows sorted by {self.time!r} in each sequence, "
                    "as windows are scored as they come: sort them, or write them to a file first"
                )
        return starts

    def _offsets(self, whole: Batch) -> npt.NDArray[np.int64]:
        ids = None if self.id is None else whole.data.column(self.id)
        return np.append(run_starts(ids, len(whole), None, self.id), len(whole))

    def _step(self, offsets: Array, sequence: int, step: int, begin: int) -> tuple[int, int]:
        """Return the row of a step of a sequence, or of its last one so far, and its number."""
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
        """Yield the sequences between the offsets as chunks; see `Cutter.cut`."""
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
            order = order_of(rows, pyarrow().array(runs), data.column(self.time)).to_numpy()
            values, bad, steps = values[order], bad[order], order
        kept = None
        if self.kept_names:
            names = self.kept_names
            taken = data.take(pyarrow().array(steps if self.window else steps[heads]))
            kept = batch_of([taken.column(name) for name in names], names)
        return Sequences(values, offsets, bad if bad.any() else None, kept=kept, kept_by_step=True)

    def close(self) -> None:
        """See `Reader`."""
        self.table.close()


def _features(table: Table, layout: Layout, model: LSTM) -> list[str]:
    """Return the columns of inputs: those that are named, or all numbers that are nothing else."""
    columns = count_of(model.input_size, "column")
    if layout.features is not None:
        names = list(layout.features)
        for name in names:
            kind = table.type_of(name, Option("features"))
            if not is_numeric(table, name, kind):
                raise TypeError(f"{table.name}: expected numbers in column {name!r}, got {kind}")
        which = Message(f"{columns} in ", Option("features"))
    else:
        others = {layout.id, layout.time, *layout.keep}
        names = [
            field.name
            for field in table.schema
            if field.name not in others and is_numeric(table, field.name, field.type)
        ]
        refuse_index(table.name, names, Message("name the inputs in ", Option("features")))
        beside = Message(Option("id"), ", ", Option("time"), " and ", Option("keep"))
        which = Message(f"{columns} of numbers beside ", beside)
    if len(names) != model.input_size:
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


def _dtype(table: Table, features: list[str], model: LSTM) -> np.dtype[Any]:
    embeds = isinstance(model.layers[0], Embedding)
    if _is_csv(table):
        return np.dtype(np.int64 if embeds else np.float64)
    found = [number_dtype(table.type_of(name, "a feature")) for name in features]
    dtype = np.result_type(*[kind for kind in found if kind is not None])
    if embeds and dtype.kind not in "iu":
        raise TypeError(
            f"{table.name}: expected integer ids for the model's embedding in column "
            f"{features[0]!r}, got {dtype}"
        )
    return dtype


def _is_csv(table: Table) -> bool:
    return table.name.lower().endswith((".csv", ".csv.gz"))


def _come_again(name: str, id: str | None) -> ValueError:
    return ValueError(
        f"{name}: expected the rows of an id to follow each other where they are read once, but "
        f"one in column {id!r} comes again: sort them, or write them to a file first"
    )
