"""Parquet files, a few pages at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from fastlstm.scoring.sources.table_files import FileOnDisk, Part, Types, cast, named, pyarrow

__all__ = ["ParquetFile"]

# Read at a time from each column: without it a column of a whole row group is read at once. Of
# small files it is: in a buffer a page takes the memory that it says, up to 2 GB, whatever it has.
BUFFER = 2**20
SMALL = 2**23
# What rows of unequal size take is measured, first on so many: a row group also says it of each
# column, but Arrow ends the process where the statistics beside that are damaged.
FIRST_ROWS = 1024
OFF = 4  # so many times more or fewer rows would fit: then the rest of a group is read anew
REREAD = 1 / 16  # of the rows of a group at most, for larger batches of the others


class ParquetFile(FileOnDisk):
    """A Parquet file; see `TableFile`. Its parts are the row groups.

    Raises
    ------
    ValueError
        It is none, or is damaged.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        with self._opened() as file:
            self.schema, metadata = file.schema_arrow, file.metadata
        self.group_rows = [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]
        self.rows: int | None = metadata.num_rows
        if sum(self.group_rows) != self.rows or min(self.group_rows, default=0) < 0:
            raise ValueError(
                f"{path}: cannot be read, it may be damaged: it says that it has {self.rows:,} "
                f"rows, and {sum(self.group_rows):,} in its row groups"
            )

    def _opened(self) -> Any:
        from pyarrow import parquet

        with named(self.name):
            buffer = BUFFER if self.status[0] > SMALL else 0
            return parquet.ParquetFile(self.name, pre_buffer=False, buffer_size=buffer)

    def parts(self, types: Types, n_bytes: int, part: int, row: int) -> Iterator[Part]:
        """See `TableFile`."""
        self.check()
        sizes = [_width(kind) for kind in types.values()]
        row_bytes = None if None in sizes else float(sum(size or 0 for size in sizes))
        with self._opened() as file:
            for group in range(part, len(self.group_rows)):
                if self.group_rows[group] > row:
                    row_bytes = yield from self._group(file, types, n_bytes, group, row, row_bytes)
                row = 0
        self.check()

    def _group(
        self,
        file: Any,
        types: Types,
        n_bytes: int,
        group: int,
        skip: int,
        row_bytes: float | None,
    ) -> Generator[Part, None, float]:
        """Yield the rows of a group from one on; return the mean size of those that were read.

        Parameters
        ----------
        row_bytes
            The mean size of a row as far as it is known.
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
                yield Part(group, at + first, data.slice(first))
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
    """Return the bytes of a value, None if they differ."""
    kinds = pyarrow().types
    if kinds.is_fixed_size_list(kind):
        inner = _width(kind.value_type)
        return None if inner is None else inner * kind.list_size
    try:
        return float(kind.bit_width) / 8
    except ValueError:
        return None
