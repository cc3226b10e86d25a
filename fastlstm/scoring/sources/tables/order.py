"""How the rows of a table with one row for a step are ordered, by its ids and times alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.scoring.sources.tables.columns import import_pyarrow
from fastlstm.scoring.sources.tables.table import Batch, Table

__all__ = ["IdWatch", "Order", "decreasing", "refuse_nulls", "run_starts", "survey"]

Array = npt.NDArray[Any]

BYTES = 4 * 2**20  # read at a time
LEAST_CHECK = 2**16  # runs before the first search for ids that come again
WEIGHTS = np.random.default_rng(5).integers(1, 2**63, 4096, np.uint64) * np.uint64(2) + np.uint64(1)


@dataclass
class Order:
    """What is known of the rows before the inputs are read."""

    contiguous: bool = True  # the rows of each id follow each other
    ordered: bool = True  # and are sorted by time
    # counts of contiguous sequences, None if not known
    sequences: int | None = None
    shortest: int | None = None
    longest: int | None = None
    windows: int | None = None
    too_short: int | None = None  # sequences shorter than a window


def survey(
    table: Table, id: str | None, time: str | None, window: int | None, stride: int
) -> Order:
    """Read the ids and times of a table.

    Parameters
    ----------
    table
        One that can be read again.
    id, time, window, stride
        Those of the layout. Without an id all rows are one sequence.

    Raises
    ------
    ValueError
        An id or a time is null.
    """
    types = {name: table.type_of(name, "id or time") for name in (id, time) if name is not None}
    if not types:
        rows = table.rows
        if rows is None:
            return Order()
        fit = None if window is None else max(0, (rows - window) // stride + 1)
        return Order(True, True, min(rows, 1), rows, rows, fit, int(fit == 0 < rows))
    order = Order(sequences=0, windows=0, too_short=0)
    watch, running, last = IdWatch(), 0, None

    def ended(lengths: Array) -> None:
        if not len(lengths):
            return
        order.sequences = (order.sequences or 0) + len(lengths)
        order.shortest = min(int(lengths.min()), order.shortest or 2**62)
        order.longest = max(int(lengths.max()), order.longest or 0)
        if window is not None:
            fit = np.maximum((lengths - window) // stride + 1, 0)
            order.windows = (order.windows or 0) + int(fit.sum())
            order.too_short = (order.too_short or 0) + int(np.sum(fit == 0))

    for batch in table.batches(types, BYTES):
        refuse_nulls(table, batch, id, time)
        ids = None if id is None else batch.data.column(id)
        starts = run_starts(ids, len(batch), last, id)
        if time is not None and order.ordered:
            order.ordered = not len(decreasing(batch, time, starts, last))
        if ids is not None and not watch.fresh(ids.take(import_pyarrow().array(starts))):
            return Order(contiguous=False, ordered=False)
        ends = np.append(starts, len(batch))
        lengths = np.diff(ends, prepend=-running)
        ended(lengths[:-1][lengths[:-1] > 0] if last is None else lengths[:-1])
        running = int(lengths[-1])
        last = batch.data.slice(len(batch) - 1)
    if running:
        ended(np.array([running]))
    if not watch.all_fresh():
        return Order(contiguous=False, ordered=False)
    return order


def refuse_nulls(table: Table, batch: Batch, *names: str | None) -> None:
    """Refuse rows without an id or a time.

    Raises
    ------
    ValueError
        One is null, or NaN, which equals nothing.
    """
    for name in names:
        if name is None:
            continue
        column = batch.data.column(name)
        if not column.null_count and not import_pyarrow().types.is_floating(column.type):
            continue
        missing = column.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
        if missing.any():
            row = int(np.argmax(missing))
            place = table.place(batch.address(row))
            reason = f" ({batch.unparsable[row]})" if row in batch.unparsable else ""
            got = "NaN" if column[row].is_valid else "null"
            raise ValueError(
                f"{table.files[batch.address(row)[0]].name}: expected a value in column {name!r} "
                f"of every row, got {got} in {place}{reason}"
            )


def run_starts(ids: Any, rows: int, last: Any, name: str | None) -> npt.NDArray[np.int64]:
    """Return the rows that start a run of one id.

    Parameters
    ----------
    ids
        The ids of `rows` rows; None if all belong to one sequence.
    last
        The row before them as a record batch, None if they are the first.
    name
        Its column of ids.
    """
    import pyarrow.compute as pc

    if ids is None:
        return np.zeros(int(last is None), np.int64)
    new = np.ones(rows, bool)
    new[1:] = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    if last is not None:
        new[0] = last.column(name)[0] != ids[0]
    return np.flatnonzero(new)


def decreasing(batch: Batch, time: str, starts: Array, last: Any) -> npt.NDArray[np.int64]:
    """Return the rows whose time is before that of the row above in their sequence."""
    import pyarrow.compute as pc

    times = batch.data.column(time)
    before = np.zeros(len(batch), bool)
    before[1:] = pc.less(times[1:], times[:-1]).to_numpy(zero_copy_only=False)
    if last is not None:
        before[0] = pc.less(times[0], last.column(time)[0]).as_py()
    before[starts] = False
    return np.flatnonzero(before)


class IdWatch:
    """Notices when an id comes again after another one. It keeps 8 bytes for each id.

    Ids are compared by a hash. Two with the same hash are very unlikely, and would only have rows
    sorted that need not be.
    """

    def __init__(self) -> None:
        self.keys: list[Array] = []
        self.count, self.checked = 0, LEAST_CHECK

    def fresh(self, ids: Any) -> bool:
        """Record the ids that start a run; return False once one is known to have come before."""
        self.keys.append(_keys(ids))
        self.count += len(ids)
        if self.count < self.checked:
            return True
        self.checked = 2 * self.count
        return self.all_fresh()

    def all_fresh(self) -> bool:
        """Tell whether no id has come before."""
        if not self.keys:
            return True
        keys = np.concatenate(self.keys)
        keys.sort()
        self.keys = [keys]
        return not (keys[1:] == keys[:-1]).any()


def _keys(ids: Any) -> npt.NDArray[np.uint64]:
    """Return a hash of each id."""
    pa = import_pyarrow()
    kinds, kind = pa.types, ids.type
    if kinds.is_integer(kind):
        return np.array(ids.to_numpy(zero_copy_only=False)).astype(np.uint64)
    if kinds.is_floating(kind):
        return np.array(ids.to_numpy(zero_copy_only=False), np.float64).view(np.uint64)
    if kinds.is_temporal(kind) and kind.bit_width in (32, 64):
        whole = ids.view(pa.int64() if kind.bit_width == 64 else pa.int32())
        return np.array(whole.to_numpy(zero_copy_only=False)).astype(np.uint64)
    if not (kinds.is_binary(kind) or kinds.is_large_binary(kind)):
        ids = ids.cast(pa.binary() if kinds.is_fixed_size_binary(kind) else pa.large_string())
    ids = ids.cast(pa.large_binary())
    _, offset_buffer, data = ids.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[ids.offset : ids.offset + len(ids) + 1]
    if data is None or offsets[-1] == offsets[0]:
        return np.zeros(len(ids), np.uint64)
    characters = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    offsets = offsets - offsets[0]
    places = np.arange(len(characters)) - np.repeat(offsets[:-1], np.diff(offsets))
    sums = np.zeros(len(characters) + 1, np.uint64)
    weighted = (characters.astype(np.uint64) + np.uint64(1)) * WEIGHTS[places % len(WEIGHTS)]
    np.cumsum(weighted, out=sums[1:])
    hashes: npt.NDArray[np.uint64] = sums[offsets[1:]] - sums[offsets[:-1]]
    return hashes
