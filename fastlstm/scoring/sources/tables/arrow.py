"""Arrow's own files (Feather) and streams."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from fastlstm.scoring.sources.tables.columns import Types, cast, import_pyarrow, named
from fastlstm.scoring.sources.tables.table import FileOnDisk, Rows, TableFile

__all__ = ["ArrowFile", "ArrowStream", "StreamFile", "is_stream"]

FILE, OLD, STREAM = b"ARROW1", b"FEA1", b"\xff\xff\xff\xff"
BUFFER = 2**20
AT_ONCE = 2**26  # bytes that are asked for at a time


class StreamFile(io.BufferedReader):
    """A binary file that remembers whether anybody tried to read past its end."""

    exhausted = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most `size` bytes; a damaged size in the file takes no memory."""
        data = super().read(size if size is None else min(size, AT_ONCE))
        self.exhausted |= bool(size) and not data
        if size is None or size <= AT_ONCE or len(data) < AT_ONCE:
            return data
        pieces = [data]
        while pieces[-1] and size > AT_ONCE:
            size -= AT_ONCE
            pieces.append(super().read(min(size, AT_ONCE)))
        return b"".join(pieces)


class ArrowFile(FileOnDisk, TableFile):
    """A file in Arrow's file or stream format. A section is a record batch, read as a whole."""

    sections = "record batch"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        with open(path, "rb") as file:
            magic = file.read(6)
        if magic.startswith(OLD):
            raise ValueError(f"{path}: Feather version 1 is not supported: write version 2")
        self.streamed = magic != FILE
        if self.streamed and not is_stream(magic):
            raise ValueError(f"{path}: expected an Arrow (Feather) file or stream")
        self.rows = None
        with self._source() as source, named(path):
            self.schema = self._reader(source).schema
        if not self.streamed:
            from pyarrow import dataset

            with named(path):  # reads only the headers of the batches
                self.rows = dataset.dataset(path, format="ipc").count_rows()

    def _source(self) -> Any:
        # not mapped: its pages would count as memory, and a file that shrinks would end the process
        if not self.streamed:
            return import_pyarrow().OSFile(self.name)
        return StreamFile(open(self.name, "rb", buffering=0), BUFFER)

    def _reader(self, source: Any, types: Types | None = None) -> Any:
        pa = import_pyarrow()
        options = pa.ipc.IpcReadOptions(use_threads=False)
        if types is not None:
            options.included_fields = sorted(self.schema.get_field_index(n) for n in types)
        return (pa.ipc.open_stream if self.streamed else pa.ipc.open_file)(source, options=options)

    def read(self, types: Types, n_bytes: int, section: int, first: int) -> Iterator[Rows]:
        self.check()
        with self._source() as source:
            with named(self.name):
                reader = self._reader(source, types)
            if self.streamed:
                yield from _read_stream(reader, source, types, self.name, section, first)
            else:
                for number in range(section, reader.num_record_batches):
                    with named(self.name):
                        batch = reader.get_batch(number)
                    yield Rows(number, first, cast(batch, types, self.name).slice(first))
                    first = 0
                    del batch
        self.check()


class ArrowStream(TableFile):
    """An Arrow stream that can be read once.

    Parameters
    ----------
    name
        What messages call it.
    file
        What is read.
    """

    rows = None
    sections = "record batch"

    def __init__(self, name: str, file: StreamFile) -> None:
        self.name, self.file = name, file
        with named(name):
            self.reader = import_pyarrow().ipc.open_stream(file)
        self.schema = self.reader.schema

    def read(self, types: Types, n_bytes: int, section: int, first: int) -> Iterator[Rows]:
        return _read_stream(self.reader, self.file, types, self.name, section, first)

    def identity(self) -> dict[str, Any]:
        return {"name": self.name}


def _read_stream(
    reader: Any, file: StreamFile, types: Types, name: str, section: int, first: int
) -> Iterator[Rows]:
    """Yield the record batches of a stream from a row on.

    Raises
    ------
    OSError
        It lacks the mark of its end: its writer may have died between two batches.
    """
    number = 0
    while True:
        try:
            with named(name):
                batch = reader.read_next_batch()
        except StopIteration:
            if file.exhausted:
                raise OSError(
                    f"{name} ended without the mark of a complete Arrow stream: its writer was "
                    "stopped, or did not close it"
                ) from None
            return
        if number >= section:
            skip = first if number == section else 0
            yield Rows(number, skip, cast(batch, types, name).slice(skip))
        number += 1
        del batch


def is_stream(magic: bytes) -> bool:
    """Tell whether bytes begin an Arrow stream, of today's format or the older one."""
    return magic.startswith(STREAM) or magic[2:4] == b"\0\0"
