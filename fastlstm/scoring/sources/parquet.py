"""Parquet files, a few pages at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastlstm.scoring.sources.table_files import FileOnDisk, Part, Types, cast, named

__all__ = ["ParquetFile"]

# Read at a time from each column: without it a column of a whole row group is read at once.
BUFFER = 2**20
SIZES = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8}


class ParquetFile(FileOnDisk):
    """A Parquet file; see `TableFile`. Its parts are the row groups."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        with self._opened() as file:
            self.schema, self.metadata = file.schema_arrow, file.metadata
        self.rows: int | None = self.metadata.num_rows

    def _opened(self) -> Any:
        from pyarrow import parquet

        with named(self.name):
            return parquet.ParquetFile(self.name, pre_buffer=False, buffer_size=BUFFER)

    def parts(self, types: Types, n_bytes: int, part: int, row: int) -> Iterator[Part]:
        """See `TableFile`."""
        self.check()
        with self._opened() as file:
            for group in range(part, self.metadata.num_row_groups):
                if self.metadata.row_group(group).num_rows > row:
                    rows = max(1, int(n_bytes // self._row_bytes(group, types)))
                    yield from self._group(file, types, rows, group, row)
                row = 0
        self.check()

    def _group(self, file: Any, types: Types, rows: int, group: int, skip: int) -> Iterator[Part]:
        with named(self.name):
            batches = file.iter_batches(
                rows, row_groups=[group], columns=list(types), use_threads=False
            )
        at = 0
        while True:
            with named(self.name):
                batch = next(batches, None)
            if batch is None:
                return
            n = batch.num_rows
            if at + n > skip:
                first = max(skip - at, 0)
                yield Part(group, at + first, cast(batch.slice(first), types, self.name))
            at += n
            del batch

    def _row_bytes(self, group: int, types: Types) -> float:
        """Return the mean size of a row, decoded."""
        about = self.metadata.row_group(group)
        size = 8.0 * about.num_rows
        for i in range(about.num_columns):
            column = about.column(i)
            if any(f"{column.path_in_schema}.".startswith(f"{name}.") for name in types):
                if column.physical_type in SIZES:
                    size += SIZES[column.physical_type] * column.num_values
                else:
                    size += column.total_uncompressed_size
        return float(max(size / max(about.num_rows, 1), 1.0))
