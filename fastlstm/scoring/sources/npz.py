"""``.npz`` archives: padded rows with their lengths, or values and offsets."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.messages import Message, Option
from fastlstm.model import LSTM
from fastlstm.scoring.chunk import Reader
from fastlstm.scoring.sources import Layout
from fastlstm.scoring.sources.arrays import ArrayReader
from fastlstm.scoring.sources.fingerprint import status_of
from fastlstm.scoring.sources.npy import HEADER, NpyFile, read_header
from fastlstm.scoring.sources.ragged import RaggedReader
from fastlstm.scoring.sources.several import joined

__all__ = ["Member", "open_reader"]

Array = npt.NDArray[Any]

PIECE = 2**20  # bytes that are decompressed at once
DEFLATE = 1032  # bytes that one compressed byte can stand for at most


def open_reader(paths: Sequence[str], layout: Layout, model: LSTM) -> Reader:
    """Open ``.npz`` archives as one source."""
    return joined((_open(path, layout, model) for path in paths), layout)


def _open(path: str, layout: Layout, model: LSTM) -> Reader:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ValueError(f"{path}: expected an .npz archive: {error}") from None
    with archive:
        arrays = {i.filename.removesuffix(".npy"): i for i in archive.infolist()}
        names = set(arrays)
        if names == {"values", "offsets"}:
            offsets = Member(path, archive, arrays["offsets"]).whole()
            return RaggedReader(Member(path, archive, arrays["values"]), offsets, layout, model)
        if names == {"x", "lengths"}:
            if layout.lengths is not None:
                raise ValueError(
                    Message(f"{path}: it has lengths of its own: leave out ", Option("lengths"))
                )
            lengths = Member(path, archive, arrays["lengths"]).whole()
            layout = replace(layout, lengths=lengths)
        elif len(names) != 1:
            raise ValueError(
                f"{path}: expected x, x and lengths, or values and offsets; got "
                f"{', '.join(sorted(names)) or 'nothing'}"
            )
        (name,) = names - {"lengths"} or names
        return ArrayReader(Member(path, archive, arrays[name]), layout, model)


class Member(NpyFile):
    """An array in an ``.npz`` archive; see `ArrayFile`.

    A member that is merely stored is read in place. A compressed one is decompressed from its
    beginning as far as it is read; one in Fortran's order is decompressed into a temporary file
    first, because its rows do not lie side by side.

    Raises
    ------
    ValueError
        It is damaged, or of a kind that NumPy does not write.
    """

    def __init__(self, path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        name = f"{path}: {info.filename.removesuffix('.npy')}"
        status = status_of(path)
        self.last: tuple[Array, int] = np.empty(0), 0  # what was read last, and from where
        stored = info.compress_type == zipfile.ZIP_STORED
        if info.flag_bits & 1 or not (stored or info.compress_type == zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name} is encrypted or compressed in another way than NumPy does")
        most = info.compress_size * (1 if stored else DEFLATE)
        if info.compress_size > os.path.getsize(path) or info.file_size > most:
            raise ValueError(f"{name} is damaged: it cannot have {info.file_size:,} bytes")
        with _damage(name), archive.open(info) as stream:
            header = read_header(stream.read(HEADER), name, "an array")
        if header.size != info.file_size - header.offset:
            raise ValueError(
                f"{name} is damaged: expected {header.shape} numbers of {header.dtype}, found "
                f"{info.file_size - header.offset:,} bytes"
            )
        if stored:
            begin = _begin(path, info, name)
            header = header._replace(offset=header.offset + begin)
            self.take(name, path, header, status, partial(open, path, "rb", buffering=0))
        else:
            opener = partial(_inflated, path, info, name, header.fortran)
            self.take(name, path, header, status, opener, mapped=False)

    def whole(self) -> Array:
        """Return all of it, and close it."""
        try:
            values: Array = self.read(slice(None), slice(None)).copy()
            return values
        finally:
            self.close()

    def _stretch(self, first: int, last: int) -> Any:
        """See `NpyFile`: windows overlap, and decompressing does not go backwards."""
        if not isinstance(self.file, Inflated):
            return super()._stretch(first, last)
        before, begin = self.last
        buffer = self._bytes(last - first)
        known = 0
        if begin <= first < begin + len(before):
            known = min(len(buffer), begin + len(before) - first)
            buffer[:known] = before[first - begin : first - begin + known]
        self._read_bytes(buffer[known:].data, first + known)
        self.last = buffer, first
        return buffer

    def close(self) -> None:
        """See `ArrayFile`."""
        super().close()
        self.last = np.empty(0), 0


class Inflated:
    """A compressed member as a file; going back means to begin anew."""

    def __init__(self, stream: Any, name: str) -> None:
        self.stream, self.name = stream, name

    def seek(self, at: int) -> None:
        """Go to a byte."""
        with _damage(self.name):
            while at - self.stream.tell() > PIECE:
                self.stream.seek(self.stream.tell() + PIECE)
            self.stream.seek(at)

    def readinto(self, out: memoryview) -> int:
        """Read some bytes, and return how many."""
        with _damage(self.name):
            data = self.stream.read(min(len(out), PIECE))
        out[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the stream."""
        self.stream.close()


def _inflated(path: str, info: zipfile.ZipInfo, name: str, fortran: bool) -> Any:
    """Open a compressed member."""
    with _damage(name), zipfile.ZipFile(path) as archive:
        stream = archive.open(info)  # it keeps the archive's file open
        if not fortran:
            return Inflated(stream, name)
        file = tempfile.TemporaryFile()  # noqa: SIM115
        with stream:
            shutil.copyfileobj(stream, file, PIECE)
        return file


@contextmanager
def _damage(name: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError(f"{name} is damaged: {error}") from None


def _begin(path: str, info: zipfile.ZipInfo, name: str) -> int:
    """Return where the bytes of a stored member begin in the archive."""
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        local = file.read(30)
        sizes = [int.from_bytes(local[i : i + 2], "little") for i in (26, 28)]
        begin = info.header_offset + 30 + sum(sizes)
        if begin + info.file_size > os.fstat(file.fileno()).st_size:
            raise ValueError(f"{name} is damaged: it reaches beyond the end of the archive")
    return begin
