"""Results as a Parquet file or an Arrow file, made of a log when all is there."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from fastlstm.scoring.chunk import Field, Scored
from fastlstm.scoring.destinations.appended import known_sizes
from fastlstm.scoring.destinations.arrow import batch_of, import_pyarrow, schema_of
from fastlstm.scoring.destinations.log import Log, regrouped
from fastlstm.scoring.partial import Partial

__all__ = ["ArrowWriter", "ParquetWriter"]


class ParquetWriter:
    """Writes a table with one row a sequence; its columns are those of `schema_of`.

    Parameters and exceptions are those of `NpyWriter` and of `schema_of`.
    """

    def __init__(self, partial: Partial, fields: Sequence[Field], job: Any) -> None:
        self.partial, self.fields = partial, fields
        self.name = f"score{job.suffix}"
        pyarrow = import_pyarrow(f"writing {job.suffix}")
        self.schema = schema_of(fields, job.reader.kept)
        try:
            self._write(io.BytesIO(), iter([]))
        except pyarrow.ArrowException as error:
            raise ValueError(
                f"{partial.destination} cannot hold a column that is kept: {error}"
            ) from None
        self.file: Log | None = None

    def open(self, sizes: Mapping[str, int], written: int) -> None:
        """See `Writer`."""
        size = known_sizes(self.partial.folder, ["log"], sizes)["log"]
        self.file = Log(self.partial.path("log"), size, self.schema, written)

    @property
    def log(self) -> Log:
        """The open log."""
        assert self.file is not None
        return self.file

    def write(self, scored: Scored) -> None:
        """See `Writer`."""
        self.log.append(batch_of(scored, self.fields, self.schema))

    def sizes(self) -> dict[str, int]:
        """See `Writer`."""
        return {"log": self.log.size}

    def sync(self) -> None:
        """See `Writer`."""
        self.log.sync()

    def cut(self, sizes: Mapping[str, int]) -> None:
        """See `Writer`."""
        self.log.cut(sizes["log"])

    def finish(self, written: int) -> None:
        """See `Writer`."""
        with open(self.partial.path(self.name), "wb") as file:
            self._write(file, regrouped(self.log.batches(written), self.schema))
            file.flush()
            os.fsync(file.fileno())

    def _write(self, file: IO[bytes], tables: Iterator[Any]) -> None:
        import pyarrow.parquet

        # numbers that hardly ever repeat gain nothing from a dictionary
        kept = self.schema.names[: -len(self.fields)]
        with pyarrow.parquet.ParquetWriter(file, self.schema, use_dictionary=kept) as writer:
            for table in tables:
                writer.write_table(table, row_group_size=len(table))
                # what Arrow's allocator keeps for later counts as this process's memory
                pyarrow.default_memory_pool().release_unused()

    def targets(self) -> dict[str, Path]:
        """See `Writer`."""
        return {self.name: self.partial.destination}

    def close(self) -> None:
        """See `Writer`."""
        if self.file is not None:
            self.file.close()


class ArrowWriter(ParquetWriter):
    """Writes the same table as an Arrow file, which is also Feather of version 2."""

    def _write(self, file: IO[bytes], tables: Iterator[Any]) -> None:
        import numpy as np
        import pyarrow

        with pyarrow.ipc.new_file(file, self.schema) as writer:
            for table in tables:
                # a slice brings along bits that belong to its neighbours
                whole = table.take(np.arange(len(table))).combine_chunks()
                writer.write_table(whole, max_chunksize=max(len(whole), 1))
