"""Results as an Arrow file, which is also Feather of version 2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from fastlstm.scoring.destinations.parquet import ParquetWriter

__all__ = ["FeatherWriter"]


class FeatherWriter(ParquetWriter):
    """Writes the table of a `ParquetWriter` as an Arrow file."""

    def _write(self, file: IO[bytes], tables: Iterator[Any]) -> None:
        import pyarrow

        with pyarrow.ipc.new_file(file, self.schema) as writer:
            for table in tables:
                # a slice would bring along bits of the rows next to it
                whole = table.take(np.arange(len(table))).combine_chunks()
                writer.write_table(whole, max_chunksize=max(len(whole), 1))
