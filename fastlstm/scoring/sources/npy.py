"""``.npy`` files of any dtype and order, read with bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.model import LSTM
from fastlstm.scoring.chunk import Reader
from fastlstm.scoring.sources import Layout
from fastlstm.scoring.sources.arrays import ArrayReader
from fastlstm.scoring.sources.fingerprint import fingerprint
from fastlstm.scoring.sources.pages import ALIVE, MappedPages
from fastlstm.scoring.sources.several import joined

__all__ = ["NpyFile", "open_reader"]

Array = npt.NDArray[Any]


def open_reader(paths: Sequence[str], layout: Layout, model: LSTM) -> Reader:
    """Open ``.npy`` files as one source."""
    return joined([ArrayReader(NpyFile(path), layout, model) for path in paths], layout)


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
        self.name = path
        try:
            header = np.load(path, mmap_mode="r", allow_pickle=False)
        except (EOFError, ValueError) as error:
            raise ValueError(f"{path}: expected an .npy file of numbers: {error}") from None
        if not isinstance(header, np.memmap):
            header.close()
            raise ValueError(f"{path}: expected one array in an .npy file, got an .npz archive")
        self.shape, self.dtype, self.offset = header.shape, header.dtype, header.offset
        self.fortran = header.flags.f_contiguous and not header.flags.c_contiguous
        del header
        self.file = open(path, "rb", buffering=0)  # noqa: SIM115
        self.pages = MappedPages(self.file, path)
        self.buffers = [np.empty(0, np.uint8) for _ in range(ALIVE)]

    def read(self, rows: slice, steps: slice) -> Array:
        """See `ArrayFile`; the array lives until a few more are read."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)[rows, ...]
        if self.fortran:
            return self._read_columns(rows, steps)
        row = _product(self.shape[1:]) * self.dtype.itemsize
        first, last, _ = rows.indices(self.shape[0])
        buffer = self.pages.take(self.offset + first * row, self.offset + last * row)
        values = np.frombuffer(buffer, self.dtype).reshape(last - first, *self.shape[1:])
        return values if len(self.shape) == 1 else values[:, steps]

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
        left = out.data.cast("B")
        at = self.offset + at * self.dtype.itemsize
        while left:
            self.file.seek(at)
            n = self.file.readinto(left)
            if not n:
                raise OSError(f"{self.name} ends at byte {at:,}: it has become shorter")
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
        self.file.close()
        self.buffers.clear()


def _product(sizes: Sequence[int]) -> int:
    return int(np.prod(sizes, dtype=np.int64))
