"""Long tables whose ids come again: sorted by the first appearance of an id, and by time."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastlstm.messages import Message, Option
from fastlstm.scoring.sources.order import refuse_nulls
from fastlstm.scoring.sources.table_files import Address, Batch, Table, Types, as_one, pyarrow

__all__ = ["Sorted", "order_of"]

# Up to so many chunks a table is sorted in memory.
IN_MEMORY = 4
LEAST_MEMORY = 2**26  # that DuckDB works with


class Sorted:
    """A table in another order, which is read as `Table` is; a position is a row in that order.

    What exceeds some memory is sorted by DuckDB, in a temporary folder.

    Parameters
    ----------
    table
        Any one that can be read again.
    id, time
        What rows are sorted by, if given; those that are equal in both keep their order.
    """

    def __init__(self, table: Table, id: str | None, time: str | None) -> None:
        self.table, self.id, self.time = table, id, time

    def batches(self, types: Types, n_bytes: int, at: Address | None = None) -> Iterator[Batch]:
        """See `Table`."""
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
            refuse_nulls(self.table, batch, self.id, self.time)  # a join would leave them out
            yield batch.data

    def _by_duckdb(
        self, batches: Iterator[Any], types: Types, n_bytes: int, at: Address | None
    ) -> Iterator[Batch]:
        try:
            import duckdb
        except ImportError:
            raise ImportError(
                Message(
                    f"{self.table.name}: the rows of an id of {self.id!r} do not follow each "
                    "other, and there are more than can be sorted in memory: that needs DuckDB, "
                    'pip install "fastlstm[duckdb]"; or sort the table by its ids, or score it '
                    "with more ",
                    Option("memory"),
                )
            ) from None
        failed: list[Exception] = []
        try:
            yield from self._sorted_by(duckdb, _noting(batches, failed), types, n_bytes, at)
        except duckdb.Error as error:
            if failed:  # the table's own words
                raise failed[0] from None
            raise OSError(
                f"{self.table.name} cannot be sorted in {tempfile.gettempdir()}: {error}"
            ) from None

    def _sorted_by(
        self, duckdb: Any, batches: Iterator[Any], types: Types, n_bytes: int, at: Address | None
    ) -> Iterator[Batch]:
        pa = pyarrow()
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
    """Return the order of rows by number of sequence, then time, then place."""
    import pyarrow.compute as pc

    pa = pyarrow()
    keys = {"code": codes, "time": times, "row": pa.array(np.arange(rows))}
    keys = {name: key for name, key in keys.items() if key is not None}
    by: Sequence[tuple[str, str]] = [(name, "ascending") for name in keys]
    return pc.sort_indices(pa.table(keys), sort_keys=by)


def _noting(batches: Iterator[Any], failed: list[Exception]) -> Iterator[Any]:
    """Yield batches, and note the error that ends them: DuckDB would make another of it."""
    try:
        yield from batches
    except Exception as error:
        failed.append(error)
        raise


def _numbered(batches: Iterator[Any], names: dict[str, str]) -> Iterator[Any]:
    """Add the number of each row in the table; names are such as SQL takes."""
    pa, first = pyarrow(), 0
    for batch in batches:
        number = pa.array(np.arange(first, first + batch.num_rows))
        columns = [batch.column(name) for name in names]
        first += batch.num_rows
        yield pa.RecordBatch.from_arrays([*columns, number], names=[*names.values(), "number"])


def _row_bytes(batch: Any) -> int:
    return int(batch.nbytes) // max(int(batch.num_rows), 1)
