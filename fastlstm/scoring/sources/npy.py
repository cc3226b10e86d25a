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
from fastlstm.scoring.sources.several import joined

__all__ = ["BAD_HEADER", "Header", "NpyFile", "open_reader"]

Array = npt.NDArray[Any]

# What NumPy raises for a header that is none.
BAD_HEADER = (EOFError, MemoryError, RecursionError, SyntaxError, TokenError, TypeError, ValueError)

BUFFERS = 4  # chunks that are alive at once, and one that is being read


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

    It is read rather than mapped: pages of a map count as this process's memory, and a file that
    shrinks under a map ends the process.

    Raises
    ------
    ValueError
        It is none, or is shorter than its header says.
    """

    def __init__(self, path: str) -> None:
        try:
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        except BAD_HEADER as error:
            raise ValueError(f"{path}: expected an .npy file of numbers: {error}") from None
        if not isinstance(mapped, np.memmap):
            mapped.close()
            raise ValueError(f"{path}: expected one array in an .npy file, got an .npz archive")
        fortran = mapped.flags.f_contiguous and not mapped.flags.c_contiguous
        header = Header(mapped.shape, mapped.dtype, fortran, mapped.offset)
        del mapped
        self.take(path, header, partial(open, path, "rb", buffering=0))

    def take(self, name: str, header: Header, opener: Callable[[], Any]) -> None:
        """Read from what `opener` opens; not before, for there may be very many files."""
        self.name, self.opener = name, opener
        self.file: Any = None
        self.shape, self.dtype, self.fortran, self.offset = header
        self.buffers = [np.empty(0, np.uint8) for _ in range(BUFFERS)]

    def read(self, rows: slice, steps: slice) -> Array:
        """See `ArrayFile`; the array lives until a few more are read."""
        if self.fortran:
            return self._read_columns(rows, steps)
        first, last, _ = rows.indices(self.shape[0])
        inner = _product(self.shape[2:])
        all_steps = self.shape[1] if len(self.shape) > 1 else 1
        begin, end, _ = steps.indices(all_steps)
        if end - begin == all_steps:
            out = self._buffer((last - first, *self.shape[1:]))
            self._read_into(out, first * all_steps * inner)
            return out
        out = self._buffer((last - first, end - begin, *self.shape[2:]))
        for row in range(first, last):
            self._read_into(out[row - first], (row * self.shape[1] + begin) * inner)
        return out

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
        if not out.size:
            return
        if self.file is None:
            self.file = self.opener()
        left = out.data.cast("B")
        at = self.offset + at * self.dtype.itemsize
        while left:
            self.file.seek(at)
            n = self.file.readinto(left)
            if not n:
                raise OSError(f"{self.name} ended at byte {at:,}: it has become shorter")
            at, left = at + n, left[n:]

    def _buffer(self, shape: tuple[int, ...]) -> Array:
        """Return memory to read into: fresh memory costs more than reading."""
        n_bytes = _product(shape) * self.dtype.itemsize
        buffer = self.buffers.pop(0)
        if len(buffer) < n_bytes:
            buffer = np.empty(n_bytes, np.uint8)
        self.buffers.append(buffer)
        out: Array = buffer[:n_bytes].view(self.dtype).reshape(shape)
        return out

    def identity(self) -> dict[str, Any]:
        """See `ArrayFile`."""
        return fingerprint(self.name)

    def close(self) -> None:
        """See `ArrayFile`."""
        if self.file is not None:
            self.file.close()
        self.file, self.buffers = None, [np.empty(0, np.uint8) for _ in range(BUFFERS)]


def _product(sizes: Sequence[int]) -> int:
    return int(np.prod(sizes, dtype=np.int64))
