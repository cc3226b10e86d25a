"""Parquet files, a few pages at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from fastlstm.scoring.sources.tables.columns import Types, cast, import_pyarrow, named
from fastlstm.scoring.sources.tables.table import FileOnDisk, Rows, TableFile

__all__ = ["ParquetFile"]

# Bytes that are read at a time from each column of a row group, rather than all of it. Small files
# are read unbuffered: with a buffer, a page takes as much memory as it claims, up to 2 GB.
BUFFER = 2**20
SMALL = 2**23
# The size of rows of unequal size is measured, at first on this many. A row group also says so for
# each column, but Arrow ends the process where the statistics beside it are damaged.
FIRST_ROWS = 1024
OFF = 4  # a group is read again in other batches if this many times more or fewer rows fit
REREAD = 1 / 16  # of a group's rows, at most, are read a second time for that


class ParquetFile(FileOnDisk, TableFile):
    """A Parquet file. A section is a row group.

    Raises
    ------
    ValueError
        It is not a Parquet file, or is damaged.
    """

    sections = "row group"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        with self._opened() as file:
            self.schema, metadata = file.schema_arrow, file.metadata
        self.group_rows = [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]
        self.rows = metadata.num_rows
        if sum(self.group_rows) != self.rows or min(self.group_rows, default=0) < 0:
            raise ValueError(
                f"{path}: cannot be read, it may be damaged: it claims {self.rows:,} rows, but "
                f"{sum(self.group_rows):,} in its row groups"
            )

    def _opened(self) -> Any:
        from pyarrow import parquet

        with named(self.name):
            buffer = BUFFER if self.status[0] > SMALL else 0
            return parquet.ParquetFile(self.name, pre_buffer=False, buffer_size=buffer)

    def read(self, types: Types, n_bytes: int, section: int, first: int) -> Iterator[Rows]:
        self.check()
        sizes = [_width(kind) for kind in types.values()]
        row_bytes = None if None in sizes else float(sum(size or 0 for size in sizes))
        with self._opened() as file:
            for group in range(section, len(self.group_rows)):
                if self.group_rows[group] > first:
                    row_bytes = yield from self._group(
                        file, types, n_bytes, group, first, row_bytes
                    )
                first = 0
        self.check()

    def _group(
        self,
        file: Any,
        types: Types,
        n_bytes: int,
        group: int,
        skip: int,
        row_bytes: float | None,
    ) -> Generator[Rows, None, float]:
        """Yield the rows of a group after the first `skip`; return the mean bytes of a row.

        Parameters
        ----------
        row_bytes
            The mean bytes of a row if it is known.
        """
        rows = FIRST_ROWS if row_bytes is None else _fit(n_bytes, row_bytes)
        at = seen = size = 0
        largest = 0.0
        batches = self._batches(file, types, rows, group)
        while at < self.group_rows[group]:
            data = next(batches, None)
            if data is None:
                raise OSError(
                    f"{self.name} ends within a row group: it has {at:,} of "
                    f"{self.group_rows[group]:,} rows"
                )
            n = data.num_rows
            seen, size, largest = seen + n, size + data.nbytes, max(largest, data.nbytes / n)
            if at + n > skip:
                first = max(skip - at, 0)
                yield Rows(group, at + first, data.slice(first))
            at += n
            del data
            better = _fit(n_bytes, largest)
            left = self.group_rows[group] - at
            if OFF * better < rows or (better > OFF * rows and at < REREAD * left):
                batches, rows = self._batches(file, types, better, group), better
                skip, at = max(skip, at), 0
        return size / seen

    def _batches(self, file: Any, types: Types, rows: int, group: int) -> Iterator[Any]:
        with named(self.name):
            batches = file.iter_batches(
                rows, row_groups=[group], columns=list(types), use_threads=False
            )
        while True:
            with named(self.name):
                batch = next(batches, None)
            if batch is None:
                return
            if batch.num_rows:
                yield cast(batch, types, self.name)
            del batch


def _fit(n_bytes: int, row_bytes: float) -> int:
    return max(1, int(n_bytes // max(row_bytes, 1.0)))


def _width(kind: Any) -> float | None:
    """Return the bytes of a value of some type, None if values differ in size."""
    kinds = import_pyarrow().types
    if kinds.is_fixed_size_list(kind):
        inner = _width(kind.value_type)
        return None if inner is None else inner * kind.list_size
    try:
        return float(kind.bit_width) / 8
    except ValueError:
        return None
