"""Arrow's own files (Feather) and streams."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from fastlstm.scoring.sources.table_files import (
    FileOnDisk,
    Part,
    Types,
    cast,
    named,
    pyarrow,
)

__all__ = ["ArrowFile", "ArrowStream", "Source", "is_stream"]

FILE, OLD, STREAM = b"ARROW1", b"FEA1", b"\xff\xff\xff\xff"
BUFFER = 2**20
AT_ONCE = 2**26  # bytes that are asked for


class Source(io.BufferedReader):
    """A binary file that notes whether somebody asked for more than there was."""

    exhausted = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Read so many bytes, or what is left; a damaged size takes no memory."""
        data = super().read(size if size is None else min(size, AT_ONCE))
        self.exhausted |= bool(size) and not data
        if size is None or size <= AT_ONCE or len(data) < AT_ONCE:
            return data
        pieces = [data]
        while pieces[-1] and size > AT_ONCE:
            size -= AT_ONCE
            pieces.append(super().read(min(size, AT_ONCE)))
        return b"".join(pieces)


class ArrowFile(FileOnDisk):
    """A file in Arrow's file or stream format; see `TableFile`. Its parts are record batches.

    A record batch is read as a whole: whoever writes the file bounds the memory that takes.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        with open(path, "rb") as file:
            magic = file.read(6)
        if magic.startswith(OLD):
            raise ValueError(f"{path}: Feather's first version is not read: write its version 2")
        self.streamed = magic != FILE
        if self.streamed and not is_stream(magic):
            raise ValueError(f"{path}: expected a file or stream in Arrow's format")
        self.rows: int | None = None
        with self._source() as source, named(path):
            self.schema = self._reader(source).schema
        if not self.streamed:
            from pyarrow import dataset

            with named(path):  # by the batches' headers
                self.rows = dataset.dataset(path, format="ipc").count_rows()

    def _source(self) -> Any:
        # no map: its pages count as memory, and a file that shrinks under it ends the process
        if not self.streamed:
            return pyarrow().OSFile(self.name)
        return Source(open(self.name, "rb", buffering=0), BUFFER)

    def _reader(self, source: Any, types: Types | None = None) -> Any:
        pa = pyarrow()
        options = pa.ipc.IpcReadOptions(use_threads=False)
        if types is not None:
            options.included_fields = sorted(self.schema.get_field_index(n) for n in types)
        return (pa.ipc.open_stream if self.streamed else pa.ipc.open_file)(source, options=options)

    def parts(self, types: Types, n_bytes: int, part: int, row: int) -> Iterator[Part]:
        """See `TableFile`."""
        self.check()
        with self._source() as source:
            with named(self.name):
                reader = self._reader(source, types)
            if self.streamed:
                yield from stream_parts(reader, source, types, self.name, part, row)
            else:
                for number in range(part, reader.num_record_batches):
                    with named(self.name):
                        batch = reader.get_batch(number)
                    yield Part(number, row, cast(batch, types, self.name).slice(row))
                    row = 0
                    del batch
        self.check()


class ArrowStream:
    """A stream that is read once; see `TableFile`.

    Parameters
    ----------
    name
        What errors call it.
    source : Source
        What is read.
    """

    rows: int | None = None
    numeric: frozenset[str] = frozenset()

    def __init__(self, name: str, source: Source) -> None:
        self.name, self.source = name, source
        with named(name):
            self.reader = pyarrow().ipc.open_stream(source)
        self.schema = self.reader.schema

    def parts(self, types: Types, n_bytes: int, part: int, row: int) -> Iterator[Part]:
        """See `TableFile`."""
        return stream_parts(self.reader, self.source, types, self.name, part, row)

    def identity(self) -> dict[str, Any]:
        """See `TableFile`."""
        return {"name": self.name}


def stream_parts(
    reader: Any, source: Source, types: Types, name: str, part: int, row: int
) -> Iterator[Part]:
    """Yield the record batches of a stream from one on.

    Raises
    ------
    OSError
        It lacks the mark at its end: whoever wrote it may have died between two batches.
    """
    number = 0
    while True:
        try:
            with named(name):
                batch = reader.read_next_batch()
        except StopIteration:
            if source.exhausted:
                raise OSError(
                    f"{name} ended without the mark of a complete Arrow stream: its writer has "
                    "been stopped, or did not close it"
                ) from None
            return
        if number >= part:
            skip = row if number == part else 0
            yield Part(number, skip, cast(batch, types, name).slice(skip))
        number += 1
        del batch


def is_stream(magic: bytes) -> bool:
    """Tell whether bytes begin a stream of Arrow's, which may also be of an older version."""
    return magic.startswith(STREAM) or magic[2:4] == b"\0\0"
