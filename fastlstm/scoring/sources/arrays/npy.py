"""``.npy`` files of any dtype and order, read in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.scoring.sources.arrays.file import ArrayFile
from fastlstm.scoring.sources.arrays.npy_header import HEADER_BYTES, Header, read_header
from fastlstm.scoring.sources.arrays.pages import ALIVE, MappedPages
from fastlstm.scoring.sources.fingerprint import Status, fingerprint, status_of

__all__ = ["NpyFile"]

Array = npt.NDArray[Any]


class NpyFile(ArrayFile):
    """An array in an ``.npy`` file.

    Its rows are mapped into memory, since copying them takes half as long as scoring a small
    network does. They are copied where the file could become shorter meanwhile (see
    `MappedPages`). An array in Fortran order is read column by column.

    Raises
    ------
    ValueError
        It is not an ``.npy`` file, or is shorter than its header says.
    """

    def __init__(self, path: str) -> None:
        status = status_of(path)
        with open(path, "rb") as file:
            data = file.read(HEADER_BYTES)
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
        """Say where the array is; nothing is opened yet, for there may be very many files.

        Parameters
        ----------
        name
            What messages call it.
        path, status
            The file, and its status from before its header was read.
        opener
            Opens what holds the numbers.
        mapped
            Whether that is the file itself, rather than something made from it.
        """
        self.name, self.path, self.status = name, path, status
        self.opener, self.mapped = opener, mapped
        self.shape, self.dtype, self.fortran, self.offset = header
        self.file: Any = None
        self.pages: MappedPages | None = None
        self.buffers = [np.empty(0, np.uint8) for _ in range(ALIVE)]

    def read(self, rows: slice, steps: slice) -> Array:
        """Return some rows; they stay valid until a few more are read."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)[rows, ...]
        self._check()
        if self.file is None:
            self.file = self.opener()
        if self.fortran:
            return self._read_columns(rows, steps)
        first, last, _ = rows.indices(self.shape[0])
        row = _product(self.shape[1:]) * self.dtype.itemsize
        if last - first == 1 and len(self.shape) > 1:  # one row may be long: only these steps
            begin, end, _ = steps.indices(self.shape[1])
            step = row // self.shape[1]
            at = self.offset + first * row
            buffer = self._stretch(at + begin * step, at + end * step)
            return np.frombuffer(buffer, self.dtype).reshape(1, end - begin, *self.shape[2:])
        buffer = self._stretch(self.offset + first * row, self.offset + last * row)
        values = np.frombuffer(buffer, self.dtype).reshape(last - first, *self.shape[1:])
        return values if len(self.shape) == 1 else values[:, steps]

    def _check(self) -> None:
        """Raise an error if the file is no longer the one that was opened."""
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
        """Read an array in Fortran order: all rows of one step and input lie side by side."""
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
        """Fill the contiguous array `out` with the numbers of the file from number `at` on."""
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
        """Return memory to read into, used before: the system takes longer to give new memory."""
        buffer = self.buffers.pop(0)
        if len(buffer) < count:
            buffer = np.empty(count, np.uint8)
        self.buffers.append(buffer)
        return buffer[:count]

    def mapped_files(self) -> Sequence[MappedPages]:
        return [] if self.pages is None else [self.pages]

    def identity(self) -> dict[str, Any]:
        return fingerprint(self.path)

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
        if self.pages is not None:
            self.pages.close()
        self.file = self.pages = None
        self.buffers = [np.empty(0, np.uint8) for _ in range(ALIVE)]


def _product(sizes: Sequence[int]) -> int:
    return int(np.prod(sizes, dtype=np.int64))
