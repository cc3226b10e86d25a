"""Standard input: an ``.npy`` file or an Arrow stream, told apart by its first bytes."""

from __future__ import annotations

import io
import select
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.scoring.chunk import Reader
from fastlstm.scoring.sources.arrays.file import ArrayFile
from fastlstm.scoring.sources.arrays.npy_header import read_header_of
from fastlstm.scoring.sources.arrays.reader import ArrayReader
from fastlstm.scoring.sources.layout import Layout
from fastlstm.scoring.sources.model_input import ModelInput
from fastlstm.scoring.sources.tables.arrow import ArrowStream, StreamFile, is_stream
from fastlstm.scoring.sources.tables.open import reader_of
from fastlstm.scoring.sources.tables.table import Table

__all__ = ["open_stdin"]

Array = npt.NDArray[Any]

NAME = "standard input"
NPY = b"\x93NUMPY"
BUFFER = 2**20
POLL = 100  # milliseconds between questions whether anybody still wants more


def open_stdin(layout: Layout, model: ModelInput) -> Reader:
    """Open standard input.

    Raises
    ------
    ValueError
        It is neither an ``.npy`` file nor an Arrow stream, or it is a terminal.
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
    reader: Reader
    if magic == NPY:
        reader = ArrayReader(NpyStream(io.BufferedReader(whole, BUFFER)), layout, model)
        reader.again = False
    elif is_stream(magic):
        table = Table([ArrowStream(NAME, StreamFile(whole, BUFFER))])
        table.again = False
        reader = reader_of(table, layout, model)
    else:
        found = f"{magic!r} ..." if magic else "nothing"
        raise ValueError(f"{NAME}: expected an Arrow stream or an .npy file, got {found}")
    reader.abandon = whole.abandon
    return reader


class NpyStream(ArrayFile):
    """An ``.npy`` file that is read once, from its beginning to its end.

    Raises
    ------
    ValueError
        Its header is damaged, or it is in Fortran order.
    """

    name = NAME

    def __init__(self, source: Any) -> None:
        self.shape, self.dtype, fortran, _ = read_header_of(source, NAME)
        if fortran:
            raise ValueError(
                f"{NAME}: expected an array in C order, got Fortran order, whose rows do not "
                "follow each other: save np.ascontiguousarray(x), or score a file"
            )
        self.source = source
        self.last = np.empty(0, self.dtype)  # the numbers read last, for windows that overlap
        self.at = 0  # where they begin

    def read(self, rows: slice, steps: slice) -> Array:
        """Return some rows, which begin within the last ones that were read or after them."""
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
        for skipped in range(known, first, BUFFER):  # between windows with a large stride
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

    def identity(self) -> dict[str, Any]:
        return {"name": NAME}

    def close(self) -> None:
        """Leave standard input open: it is not ours."""


class _Prefixed(io.RawIOBase):
    """A stream whose first bytes are known before it is read.

    Waiting for more of it can be abandoned, where the system can say whether there is more.
    """

    def __init__(self, stream: Any) -> None:
        self.stream, self.abandoned, self.prefix = stream, False, b""
        if isinstance(stream, io.BufferedReader):
            # its lock would be held while waiting, and Python needs it to exit
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
        """End waiting for more of it."""
        self.abandoned = True

    def _wait(self) -> None:
        """Wait for more bytes, or for the end.

        Raises
        ------
        OSError
            Waiting was abandoned.
        """
        try:
            waiting = select.poll()
            waiting.register(self.stream.fileno(), select.POLLIN)
        except (AttributeError, OSError):  # Windows, or not a file
            return
        while not waiting.poll(POLL):
            if self.abandoned:
                raise OSError(f"reading {NAME} was abandoned")
