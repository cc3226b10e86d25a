"""``.npy`` files of any dtype and order, read with bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from tokenize import TokenError
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.model import LSTM
from fastlstm.scoring.chunk import Reader
from fastlstm.scoring.sources import Layout
from fastlstm.scoring.sources.arrays import ArrayReader
from fastlstm.scoring.sources.fingerprint import fingerprint
from fastlstm.scoring.sources.pages import ALIVE, MappedPages
from fastlstm.scoring.sources.several import joined

__all__ = ["BAD_HEADER", "Header", "NpyFile", "open_reader"]

Array = npt.NDArray[Any]

# What NumPy raises for a header that is none.
BAD_HEADER = (EOFError, MemoryError, RecursionError, SyntaxError, TokenError, TypeError, ValueError)


def open_reader(paths: Sequence[str], layout: Layout, model: LSTM) -> Reader:
    """Open ``.npy`` files as one source."""
    return joined((ArrayReader(NpyFile(path), layout, model) for path in paths), layout)


class Header(NamedTuple):
    """What stands before the numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool  # the first index runs fastest
    offset: int  # of the first number


class NpyFile:
    """An ``.npy`` file; see `ArrayFile`.

    Rows are read where the system has them in memory, mapped: a copy would take half as long as
    scoring a small network. Pages are asked for before they are used, so that a file that has
    become shorter is an error and not the end of the process, and given back behind, since they
    count as this process's memory. An array in Fortran's order is read column by column.

    Raises
    ------
    ValueError
        It is none, or is shorter than its header says.
    """

    def __init__(self, path: str) -> None:
        try:
            header = np.load(path, mmap_mode="r", allow_pickle=False)
        except BAD_HEADER as error:
            raise ValueError(f"{path}: expected an .npy file of numbers: {error}") from None
        if not isinstance(header, np.memmap):
            header.close()
            raise ValueError(f"{path}: expected one array in an .npy file, got an .npz archive")
        fortran = header.flags.f_contiguous and not header.flags.c_contiguous
        found = Header(header.shape, header.dtype, fortran, header.offset)
        del header
        self.take(path, found, partial(open, path, "rb", buffering=0))

    def take(self, name: str, header: Header, opener: Callable[[], Any]) -> None:
        """Read from what `opener` opens; not before, for there may be very many files."""
        self.name, self.opener = name, opener
        self.shape, self.dtype, self.fortran, self.offset = header
        self.file: Any = None
        self.pages: MappedPages | None = None
        self.buffers = [np.empty(0, np.uint8) for _ in range(ALIVE)]

    def read(self, rows: slice, steps: slice) -> Array:
        """See `ArrayFile`; the array lives until a few more are read."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)[rows, ...]
        if self.file is None:
            self.file = self.opener()
        if self.fortran:
            return self._read_columns(rows, steps)
        first, last, _ = rows.indices(self.shape[0])
        row = _product(self.shape[1:]) * self.dtype.itemsize
        if last - first == 1 and len(self.shape) > 1:  # it may be a long one
            begin, end, _ = steps.indices(self.shape[1])
            step = row // self.shape[1]
            at = self.offset + first * row
            buffer = self._stretch(at + begin * step, at + end * step)
            return np.frombuffer(buffer, self.dtype).reshape(1, end - begin, *self.shape[2:])
        buffer = self._stretch(self.offset + first * row, self.offset + last * row)
        values = np.frombuffer(buffer, self.dtype).reshape(last - first, *self.shape[1:])
        return values if len(self.shape) == 1 else values[:, steps]

    def _stretch(self, first: int, last: int) -> Any:
        """Return bytes first ... last - 1 of the file."""
        if self.pages is None:
            self.pages = MappedPages(self.file, self.name)
        return self.pages.take(first, last)

    def _read_columns(self, rows: slice, steps: slice) -> Array:
        """Read an array in Fortran's order: the rows of one step and input lie side by side."""
        first, last, _ = rows.indices(self.shape[0])
        begin, end, _ = steps.indices(self.shape[1])
        rest = self.shape[2:]
        out = self._buffer((*rest[::-1], end - begin, last - first))
        flat = out.reshape(_product(rest), end - begin, last - first)
        for i in range(_product(rest)):
            for t in range(begin, end):
                self._read_into(flat[i, t - begin], (i * self.shape[1] + t) * self.shape[0] + first)
        rows_first: Array = out.T
        return rows_first

    def _read_into(self, out: Array, at: int) -> None:
        """Fill `out`, which is contiguous, from element `at` of the file on."""
        self._read_bytes(out.data.cast("B"), self.offset + at * self.dtype.itemsize)

    def _read_bytes(self, left: memoryview, at: int) -> None:
        while left:
            self.file.seek(at)
            n = self.file.readinto(left)
            if not n:
                raise OSError(f"{self.name} ends at byte {at:,}: it has become shorter")
            at, left = at + n, left[n:]

    def _buffer(self, shape: tuple[int, ...]) -> Array:
        buffer = self._bytes(_product(shape) * self.dtype.itemsize)
        out: Array = buffer.view(self.dtype).reshape(shape)
        return out

    def _bytes(self, count: int) -> npt.NDArray[np.uint8]:
        """Return memory to read into: fresh memory costs more than reading."""
        buffer = self.buffers.pop(0)
        if len(buffer) < count:
            buffer = np.empty(count, np.uint8)
        self.buffers.append(buffer)
        return buffer[:count]

    def identity(self) -> dict[str, Any]:
        """See `ArrayFile`."""
        return fingerprint(self.name)

    def close(self) -> None:
        """See `ArrayFile`."""
        if self.file is not None:
            self.file.close()
        self.file = self.pages = None
        self.buffers = [np.empty(0, np.uint8) for _ in range(ALIVE)]


def _product(sizes: Sequence[int]) -> int:
    return int(np.prod(sizes, dtype=np.int64))
