"""Standard input: an ``.npy`` file or a stream of Arrow's, told apart by how it begins."""

from __future__ import annotations

import io
import select
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.model import LSTM
from fastlstm.scoring.chunk import Reader
from fastlstm.scoring.sources import Layout
from fastlstm.scoring.sources.arrays import ArrayReader
from fastlstm.scoring.sources.npy import read_header_of

__all__ = ["NpyStream", "open_stdin"]

Array = npt.NDArray[Any]

NAME = "standard input"
NPY = b"\x93NUMPY"
BUFFER = 2**20
POLL = 100  # milliseconds until it is asked whether to go on waiting


def open_stdin(layout: Layout, model: LSTM) -> Reader:
    """Open standard input.

    Raises
    ------
    ValueError
        It is neither of both, or a terminal.
    OSError
        It is closed.
    """
    if sys.stdin is None:
        raise OSError(f"{NAME} is closed: pipe an Arrow stream or an .npy file into it")
    stream = sys.stdin.buffer
    if stream.isatty():
        raise ValueError(f"{NAME} is a terminal: pipe an Arrow stream or an .npy file into it")
    whole = _Prefixed(stream)
    magic = whole.prefix[: len(NPY)]
    if magic == NPY:
        file = NpyStream(io.BufferedReader(whole, BUFFER))
        reader = ArrayReader(file, layout, model)
        reader.again, reader.abandon = False, whole.abandon
        return reader
    from fastlstm.scoring.sources.arrow import ArrowStream, Source, is_stream
    from fastlstm.scoring.sources.table_files import Table
    from fastlstm.scoring.sources.tables import reader_of

    if not is_stream(magic):
        found = f"{magic!r} ..." if magic else "nothing"
        raise ValueError(f"{NAME}: expected an Arrow stream or an .npy file, got {found}")
    table = Table([ArrowStream(NAME, Source(whole, BUFFER))])
    table.again = False
    opened = reader_of(table, layout, model)
    opened.abandon = whole.abandon  # type: ignore[attr-defined]
    return opened


class NpyStream:
    """An ``.npy`` file that is read once, from its beginning to its end; see `ArrayFile`.

    Raises
    ------
    ValueError
        Its header is damaged, or it is in Fortran's order.
    """

    name = NAME

    def __init__(self, source: Any) -> None:
        self.shape, self.dtype, fortran, _ = read_header_of(source, NAME)
        if fortran:
            raise ValueError(
                f"{NAME}: expected an array in C order, got Fortran's, which cannot be read from "
                "its beginning to its end: write np.ascontiguousarray of it, or a file"
            )
        self.source = source
        self.last = np.empty(0, self.dtype)  # what was read last: windows overlap
        self.at = 0  # its first number

    def read(self, rows: slice, steps: slice) -> Array:
        """See `ArrayFile`; only forwards, from within what was read last on."""
        first, last, _ = rows.indices(self.shape[0])
        if len(self.shape) == 1:
            return self._numbers(first, last)
        inner = int(np.prod(self.shape[2:], dtype=np.int64))
        begin, end, _ = steps.indices(self.shape[1])
        if end - begin != self.shape[1] and last - first != 1:
            raise ValueError(f"{NAME}: expected whole rows, or steps of one row")
        row = self.shape[1] * inner
        numbers = self._numbers(first * row + begin * inner, (last - 1) * row + end * inner)
        return numbers.reshape(last - first, end - begin, *self.shape[2:])

    def _numbers(self, first: int, last: int) -> Array:
        known = self.at + len(self.last)
        out = np.empty(max(last - first, 0), self.dtype)
        overlap = max(0, known - first)
        out[:overlap] = self.last[len(self.last) - overlap :]
        for skipped in range(known, first, BUFFER):  # between windows that are far apart
            self._fill(np.empty(min(BUFFER, first - skipped), self.dtype))
        self._fill(out[overlap:])
        self.last, self.at = out, first
        return out

    def _fill(self, out: Array) -> None:
        left = out.view(np.uint8).data if out.size else memoryview(b"")
        while left:
            n = self.source.readinto(left)
            if not n:
                raise OSError(f"{NAME} ended before the array of shape {self.shape} was complete")
            left = left[n:]

    def missing(self, rows: slice, steps: slice) -> None:
        """See `ArrayFile`: nothing is."""

    def identity(self) -> dict[str, Any]:
        """See `ArrayFile`."""
        return {"name": NAME}

    def close(self) -> None:
        """See `ArrayFile`."""


class _Prefixed(io.RawIOBase):
    """A stream that is read as it comes, with its beginning known.

    Whoever waits for more of it can be sent away, where the system can say whether there is some.
    """

    def __init__(self, stream: Any) -> None:
        self.stream, self.abandoned, self.prefix = stream, False, b""
        if isinstance(stream, io.BufferedReader):
            # its lock would be held while waiting, also when Python ends and wants to close it
            self.stream, self.prefix = stream.raw, stream.read(len(stream.peek()))
        while len(self.prefix) < len(NPY):
            more = self.stream.read(len(NPY) - len(self.prefix))
            if not more:
                break
            self.prefix += more

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.prefix:
            n = min(len(buffer), len(self.prefix))
            buffer[:n], self.prefix = self.prefix[:n], self.prefix[n:]
            return n
        self._wait()
        return int(self.stream.readinto(buffer))

    def abandon(self) -> None:
        """Want no more of it."""
        self.abandoned = True

    def _wait(self) -> None:
        """Wait until there is something, or the end.

        Raises
        ------
        OSError
            Nobody wants it any more.
        """
        try:
            waiting = select.poll()
            waiting.register(self.stream.fileno(), select.POLLIN)
        except (AttributeError, OSError):  # Windows, or no file
            return
        while not waiting.poll(POLL):
            if self.abandoned:
                raise OSError(f"{NAME} is not wanted any more")
