"""A log of record batches, which grows until a file can be made of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.scoring.destinations.appended import Appended

__all__ = ["Log", "regrouped"]

# The size of row groups in the finished file, which does not depend on the sizes of chunks.
GROUP_ROWS = 2**20
GROUP_BYTES = 2**22


class Log(Appended):
    """Record batches of one schema, each as an Arrow message after its size in 8 bytes.

    Parameters
    ----------
    path, size
        As of an `Appended`.
    schema : pyarrow.Schema
        Of all batches.
    written
        How many rows these bytes hold.

    Raises
    ------
    ValueError
        The file is damaged, or does not hold `written` rows.
    """

    def __init__(self, path: Path, size: int, schema: Any, written: int = 0) -> None:
        super().__init__(path, size)
        self.schema = schema
        if size:
            try:
                for _ in self.batches(written):
                    pass
            except BaseException:
                self.close()
                raise

    def append(self, batch: Any) -> None:
        """Append a batch."""
        message = batch.serialize()
        self.write(message.size.to_bytes(8, "little"))
        self.write(message)

    def batches(self, written: int) -> Iterator[Any]:
        """Yield all batches.

        Raises
        ------
        ValueError
            They do not hold `written` rows, or are damaged.
        """
        import pyarrow as pa

        rows = 0
        with open(self.path, "rb") as file:
            while file.tell() < self.size:
                size = int.from_bytes(file.read(8), "little")
                if size > self.size - file.tell():
                    raise self.damaged("a record batch reaches beyond its end")
                try:
                    batch = pa.ipc.read_record_batch(pa.py_buffer(file.read(size)), self.schema)
                    batch.validate(full=True)
                except (pa.ArrowException, EOFError, OSError) as error:
                    raise self.damaged(str(error)) from None
                rows += len(batch)
                yield batch
        if rows != written:
            raise self.damaged(f"expected {written:,} rows, found {rows:,}")


def regrouped(batches: Iterator[Any], schema: Any) -> Iterator[Any]:
    """Yield the rows of batches in tables of about the same size, whatever the sizes of batches.

    Parameters
    ----------
    batches : iterator of pyarrow.RecordBatch
        All of one schema.
    schema : pyarrow.Schema
        Their schema.
    """
    import pyarrow as pa

    parts: list[Any] = []
    rows = size = 0

    def group() -> Any:
        return pa.Table.from_batches(parts, schema).combine_chunks()

    for batch in batches:
        ends = np.cumsum(_row_bytes(batch))
        first = 0
        while first < len(batch):
            before = int(ends[first - 1]) if first else 0
            fit = int(np.searchsorted(ends, before + GROUP_BYTES - size, "right"))
            last = min(fit, first + GROUP_ROWS - rows)
            if not rows:
                last = max(last, first + 1)  # a row larger than a group is a group of its own
            if last > first:
                parts.append(batch.slice(first, last - first))
                rows, size = rows + last - first, size + int(ends[last - 1]) - before
                first = last
            if first < len(batch):
                yield group()
                parts, rows, size = [], 0, 0
    if rows:
        yield group()


def _row_bytes(batch: Any) -> npt.NDArray[np.int64]:
    """Return about how many bytes each row takes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    total = np.zeros(len(batch), np.int64)
    for column in batch.columns:
        kind = column.type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
            total += 8 + lengths.astype(np.int64) * _item_bytes(kind.value_type)
        elif pa.types.is_large_string(kind) or pa.types.is_string(kind) or _is_binary(kind):
            lengths = pc.binary_length(column).fill_null(0).to_numpy(zero_copy_only=False)
            total += 8 + lengths.astype(np.int64)
        else:
            total += _item_bytes(kind)
    return total


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _item_bytes(kind: Any) -> int:
    import pyarrow as pa

    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) * _item_bytes(kind.value_type)
    try:
        return max(1, int(kind.bit_width) // 8)
    except ValueError:  # its size is not fixed
        return 16
