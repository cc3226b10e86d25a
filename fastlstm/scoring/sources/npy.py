"""``.npy`` files of any dtype and order, read with bounded memory."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from functools import partial
from tokenize import TokenError
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.model import LSTM
from fastlstm.scoring.chunk import Reader
from fastlstm.scoring.sources import Layout
from fastlstm.scoring.sources.arrays import ArrayReader
from fastlstm.scoring.sources.fingerprint import Status, fingerprint, status_of
from fastlstm.scoring.sources.pages import ALIVE, MappedPages
from fastlstm.scoring.sources.several import joined

__all__ = [
    "BAD_HEADER",
    "HEADER",
    "Header",
    "NpyFile",
    "check_header",
    "open_reader",
    "read_header",
    "read_header_of",
]

Array = npt.NDArray[Any]

# What NumPy raises for a header that is none.
BAD_HEADER = (EOFError, MemoryError, RecursionError, SyntaxError, TokenError, TypeError, ValueError)
MOST_BYTES, MOST_AXES = 2**63 - 1, 32  # of an array
HEADER = 2**14  # bytes in which a header must end


def open_reader(paths: Sequence[str], layout: Layout, model: LSTM) -> Reader:
    """Open ``.npy`` files as one source."""
    return joined((ArrayReader(NpyFile(path), layout, model) for path in paths), layout)


class Header(NamedTuple):
    """What stands before the numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool  # the first index runs fastest
    offset: int  # of the first number

    @property
    def size(self) -> int:
        """Bytes of the numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


class NpyFile:
    """An ``.npy`` file; see `ArrayFile`.

    Rows are read where the system has them in memory, mapped: a copy would take half as long as
    scoring a small network. Where the file could become shorter meanwhile, they are copied (see
    `MappedPages`). An array in Fortran's order is read column by column.

    Raises
    ------
    ValueError
        It is none, or is shorter than its header says.
    """

    def __init__(self, path: str) -> None:
        status = status_of(path)
        with open(path, "rb") as file:
            data = file.read(HEADER)
        if data[:4] in (b"PK\3\4", b"PK\5\6"):
            raise ValueError(f"{path}: expected one array in an .npy file, got an .npz archive")
        header = read_header(data, path)
        if header.offset + header.size > status.size:
            raise ValueError(
                f"{path}: expected an .npy file of numbers: its header says {header.shape} of "
                f"{header.dtype}, which the {status.size:,} bytes of the file do not hold"
            )
        self.take(path, path, header, status, partial(open, path, "rb", buffering=0))

    def take(
        self,
        name: str,
        path: str,
        header: Header,
        status: Status,
        opener: Callable[[], Any],
        mapped: bool = True,
    ) -> None:
        """Read from what `opener` opens; not before, for there may be very many files.

        Parameters
        ----------
        name
            What to call it in errors.
        path, status
            The file, and what it was like before its header was read.
        mapped
            Whether `opener` opens this file, and not what is made of it.
        """
        self.name, self.path, self.status = name, path, status
        self.opener, self.mapped = opener, mapped
        self.shape, self.dtype, self.fortran, self.offset = header
        self.file: Any = None
        self.pages: MappedPages | None = None
        self.buffers = [np.empty(0, np.uint8) for _ in range(ALIVE)]

    def read(self, rows: slice, steps: slice) -> Array:
        """See `ArrayFile`; the array lives until a few more are read."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)[rows, ...]
        self._check()
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

    def _check(self) -> None:
        """Refuse to read a file that is no longer the one that was opened."""
        try:
            status = status_of(self.path)
        except FileNotFoundError:
            raise OSError(f"{self.name} has vanished while it was being read") from None
        if status.size < self.status.size:
            last = self.offset + math.prod(self.shape) * self.dtype.itemsize
            raise OSError(f"{self.name} cannot be read up to byte {last:,}: it has become shorter")
        if status != self.status:
            raise OSError(f"{self.name} has changed while it was being read")

    def _stretch(self, first: int, last: int) -> Any:
        """Return bytes first ... last - 1 of the file."""
        if self.pages is None and self.mapped:
            self.pages = MappedPages(self.opener, self.name)
        taken = None if self.pages is None else self.pages.take(first, last)
        if taken is not None:
            return taken
        buffer = self._bytes(last - first)
        self._read_bytes(buffer.data, first)
        return buffer

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

    def missing(self, rows: slice, steps: slice) -> None:
        """See `ArrayFile`: nothing is."""

    def mapped_pages(self) -> list[MappedPages]:
        """Return what chunks may lie in that others wait to write to."""
        return [] if self.pages is None else [self.pages]

    def identity(self) -> dict[str, Any]:
        """See `ArrayFile`."""
        return fingerprint(self.path)

    def close(self) -> None:
        """See `ArrayFile`."""
        if self.file is not None:
            self.file.close()
        if self.pages is not None:
            self.pages.close()
        self.file = self.pages = None
        self.buffers = [np.empty(0, np.uint8) for _ in range(ALIVE)]


def read_header(data: bytes, name: str, kind: str = "an .npy file") -> Header:
    """Read the header of an .npy file, or of another kind, from its first bytes.

    Raises
    ------
    ValueError
        It is none, or not of an array of numbers.
    """
    return read_header_of(io.BytesIO(data), name, kind)


def read_header_of(stream: IO[bytes], name: str, kind: str = "an .npy file") -> Header:
    """Read the header of a stream, which then stands at the first number; see `read_header`."""
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
        else:
            raise ValueError(f"version {version}")
    except BAD_HEADER as error:
        raise ValueError(f"{name}: expected {kind} of numbers: {error}") from None
    check_header(shape, dtype, name, kind)
    # what is a column is in both orders, and is read fastest in C's
    both = sum(n != 1 for n in shape) <= 1
    return Header(shape, dtype, fortran and not both, stream.tell() if stream.seekable() else 0)


def check_header(
    shape: tuple[int, ...], dtype: np.dtype[Any], name: str, kind: str = "an .npy file"
) -> None:
    """Refuse what no array of numbers can be.

    Raises
    ------
    ValueError
        It is of objects, of numbers without a size, or of more than memory can address.
    """
    sizes = [max(n, 1) for n in shape]
    if dtype.hasobject or not dtype.itemsize or min(shape, default=0) < 0:
        raise ValueError(f"{name}: expected {kind} of numbers, got {dtype} of shape {shape}")
    if math.prod(sizes) * dtype.itemsize > MOST_BYTES or len(shape) > MOST_AXES:
        raise ValueError(f"{name}: expected {kind} of numbers, got one of impossible shape {shape}")


def _product(sizes: Sequence[int]) -> int:
    return int(np.prod(sizes, dtype=np.int64))
