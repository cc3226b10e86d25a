"""Sorting tables with one row for a step: by the first appearance of an id, and by time."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastlstm.messages import Message, Option
from fastlstm.scoring.sources.tables.columns import Types, as_one, import_pyarrow
from fastlstm.scoring.sources.tables.order import refuse_nulls
from fastlstm.scoring.sources.tables.table import Address, Batch, Table

__all__ = ["Sorted", "order_of"]

# A table of up to this many chunks is sorted in memory.
IN_MEMORY = 4
LEAST_MEMORY = 2**26  # bytes for DuckDB


class Sorted:
    """A table in sorted order, read as a `Table` is; the row of an address is one in that order.

    A table that memory does not hold is sorted by DuckDB, in a temporary folder.

    Parameters
    ----------
    table
        One that can be read again.
    id, time
        The columns to sort by, or None. Rows that are equal in both keep their order.
    """

    def __init__(self, table: Table, id: str | None, time: str | None) -> None:
        self.table, self.id, self.time = table, id, time

    def batches(self, types: Types, n_bytes: int, at: Address | None = None) -> Iterator[Batch]:
        """Yield columns as batches of about `n_bytes`, from an address on."""
        read, size = [], 0
        unread = self._unsorted(types, n_bytes)
        for data in unread:
            read.append(data)
            size += data.nbytes
            if size > IN_MEMORY * n_bytes:
                every = itertools.chain(read, unread)
                del read
                yield from self._by_duckdb(every, types, n_bytes, at)
                return
        if not read:
            return
        data = as_one(read)
        del read
        rows = max(1, n_bytes * data.num_rows // max(size, 1))
        codes = None
        if self.id is not None:  # numbered as they appear
            codes = data.column(self.id).dictionary_encode().indices
        times = None if self.time is None else data.column(self.time)
        order = order_of(data.num_rows, codes, times)
        for first in range(at[2] if at else 0, data.num_rows, rows):
            yield Batch(data.take(order[first : first + rows]), [(0, (0, 0, first))])

    def _unsorted(self, types: Types, n_bytes: int) -> Iterator[Any]:
        for batch in self.table.batches(types, n_bytes):
            refuse_nulls(self.table, batch, self.id, self.time)  # a join would drop them
            yield batch.data

    def _by_duckdb(
        self, batches: Iterator[Any], types: Types, n_bytes: int, at: Address | None
    ) -> Iterator[Batch]:
        try:
            import duckdb
        except ImportError:
            raise ImportError(
                Message(
                    f"{self.table.name}: its rows are not in the order of sequences and times, "
                    "and are too many to sort in memory: install DuckDB (pip install "
                    '"fastlstm[duckdb]"), sort the table by id and time, or give more ',
                    Option("memory"),
                )
            ) from None
        failed: list[Exception] = []
        try:
            yield from self._sorted_by(duckdb, _recording(batches, failed), types, n_bytes, at)
        except duckdb.Error as error:
            if failed:  # what went wrong in the table itself
                raise failed[0] from None
            raise OSError(
                f"{self.table.name} cannot be sorted in {tempfile.gettempdir()}: {error}"
            ) from None

    def _sorted_by(
        self, duckdb: Any, batches: Iterator[Any], types: Types, n_bytes: int, at: Address | None
    ) -> Iterator[Batch]:
        pa = import_pyarrow()
        names = {name: f"c{k}" for k, name in enumerate(types)}
        numbered = _numbered(batches, names)
        first = next(numbered)
        reader = pa.RecordBatchReader.from_batches(first.schema, itertools.chain([first], numbered))
        with tempfile.TemporaryDirectory(prefix="fastlstm-sort-") as folder:
            memory = max(IN_MEMORY * n_bytes, LEAST_MEMORY) // 2**20
            options: dict[str, Any] = {
                "memory_limit": f"{memory}MiB",
                "temp_directory": str(Path(folder) / "spilled"),
                "threads": 1,
            }
            with duckdb.connect(str(Path(folder) / "rows.duckdb"), config=options) as base:
                base.register("reader", reader)
                base.execute("CREATE TABLE found AS SELECT * FROM reader")
                base.unregister("reader")
                base.execute(self._sorting(names))
                count: int = base.sql("SELECT count(*) FROM sorted").fetchall()[0][0]
                base.execute("DROP TABLE found")
                rows = max(1, n_bytes // max(1, _row_bytes(first)))
                for begin in range(at[2] if at else 0, count, rows):
                    found = base.sql(
                        f"SELECT * FROM sorted WHERE rowid >= {begin} AND rowid < "
                        f"{begin + rows} ORDER BY rowid"
                    ).to_arrow_table()
                    arrays = [
                        found.column(k).cast(kind).combine_chunks()
                        for k, kind in enumerate(types.values())
                    ]
                    arrays = [a.chunk(0) if isinstance(a, pa.ChunkedArray) else a for a in arrays]
                    data = pa.RecordBatch.from_arrays(arrays, names=list(types))
                    yield Batch(data, [(0, (0, 0, begin))])
                    del found, arrays, data

    def _sorting(self, names: dict[str, str]) -> str:
        columns = ", ".join(f"found.{name}" for name in names.values())
        by = [] if self.time is None else [f"found.{names[self.time]}"]
        ids = ""
        if self.id is not None:
            i = names[self.id]
            ids = (
                f"JOIN (SELECT {i}, min(number) AS first FROM found GROUP BY {i}) AS ids "
                f"ON found.{i} = ids.{i}"
            )
            by.insert(0, "first")
        by.append("number")
        return f"CREATE TABLE sorted AS SELECT {columns} FROM found {ids} ORDER BY {', '.join(by)}"


def order_of(rows: int, codes: Any, times: Any) -> Any:
    """Return the order of rows by the number of their sequence, then time, then place."""
    import pyarrow.compute as pc

    pa = import_pyarrow()
    keys = {"code": codes, "time": times, "row": pa.array(np.arange(rows))}
    keys = {name: key for name, key in keys.items() if key is not None}
    by: Sequence[tuple[str, str]] = [(name, "ascending") for name in keys]
    return pc.sort_indices(pa.table(keys), sort_keys=by)


def _recording(batches: Iterator[Any], failed: list[Exception]) -> Iterator[Any]:
    """Yield batches, and record the error that ends them: DuckDB raises another one for it."""
    try:
        yield from batches
    except Exception as error:
        failed.append(error)
        raise


def _numbered(batches: Iterator[Any], names: dict[str, str]) -> Iterator[Any]:
    """Rename columns for SQL, and add the number of each row in the table."""
    pa, first = import_pyarrow(), 0
    for batch in batches:
        number = pa.array(np.arange(first, first + batch.num_rows))
        columns = [batch.column(name) for name in names]
        first += batch.num_rows
        yield pa.RecordBatch.from_arrays([*columns, number], names=[*names.values(), "number"])


def _row_bytes(batch: Any) -> int:
    return int(batch.nbytes) // max(int(batch.num_rows), 1)
