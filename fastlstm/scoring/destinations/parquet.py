"""Results as a Parquet file, made of a log when all of them are there."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from fastlstm.scoring.chunk import Scored
from fastlstm.scoring.destinations.appended import known_sizes
from fastlstm.scoring.destinations.batches import batch_of, import_pyarrow, schema_of
from fastlstm.scoring.destinations.log import Log, regrouped
from fastlstm.scoring.destinations.writer import Results, Writer
from fastlstm.scoring.partial import Partial

__all__ = ["ParquetWriter"]


class ParquetWriter(Writer):
    """Writes a table with one row for each sequence, whose columns are those of `schema_of`.

    Raises
    ------
    ImportError
        The package pyarrow is not installed.
    ValueError
        A column cannot be kept.
    """

    def __init__(self, partial: Partial, results: Results) -> None:
        self.partial, self.fields = partial, results.fields
        self.name = f"score{results.suffix}"
        pyarrow = import_pyarrow(f"writing {results.suffix}")
        self.schema = schema_of(results.fields, results.kept)
        try:
            self._write(io.BytesIO(), iter([]))
        except pyarrow.ArrowException as error:
            raise ValueError(f"a column cannot be kept in {partial.destination}: {error}") from None
        self.file: Log | None = None

    def open(self, sizes: Mapping[str, int], written: int) -> None:
        size = known_sizes(self.partial.folder, ["log"], sizes)["log"]
        self.file = Log(self.partial.path("log"), size, self.schema, written)

    @property
    def log(self) -> Log:
        """The log, which is open."""
        assert self.file is not None
        return self.file

    def write(self, scored: Scored) -> None:
        self.log.append(batch_of(scored, self.fields, self.schema))

    def sizes(self) -> dict[str, int]:
        return {"log": self.log.size}

    def sync(self) -> None:
        self.log.sync()

    def cut(self, sizes: Mapping[str, int]) -> None:
        self.log.cut(sizes["log"])

    def finish(self, written: int) -> None:
        with open(self.partial.path(self.name), "wb") as file:
            self._write(file, regrouped(self.log.batches(written), self.schema))
            file.flush()
            os.fsync(file.fileno())

    def _write(self, file: IO[bytes], tables: Iterator[Any]) -> None:
        import pyarrow.parquet

        # scores hardly ever repeat, so a dictionary would gain nothing
        kept = self.schema.names[: -len(self.fields)]
        with pyarrow.parquet.ParquetWriter(file, self.schema, use_dictionary=kept) as writer:
            for table in tables:
                writer.write_table(table, row_group_size=len(table))
                # what Arrow's allocator keeps for later would count as this process's memory
                pyarrow.default_memory_pool().release_unused()

    def targets(self) -> dict[str, Path]:
        return {self.name: self.partial.destination}

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
