"""``.npz`` archives: padded rows with their lengths, or values and offsets."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.messages import Message, Option
from fastlstm.scoring.chunk import Reader
from fastlstm.scoring.sources.arrays.npy import NpyFile
from fastlstm.scoring.sources.arrays.npy_header import HEADER_BYTES, read_header
from fastlstm.scoring.sources.arrays.ragged import RaggedReader
from fastlstm.scoring.sources.arrays.reader import ArrayReader
from fastlstm.scoring.sources.fingerprint import status_of
from fastlstm.scoring.sources.layout import Layout
from fastlstm.scoring.sources.model_input import ModelInput

__all__ = ["open_archive"]

Array = npt.NDArray[Any]

PIECE = 2**20  # bytes that are decompressed at once
DEFLATE = 1032  # the most bytes that one compressed byte can stand for


def open_archive(path: str, layout: Layout, model: ModelInput) -> Reader:
    """Open an ``.npz`` archive.

    Raises
    ------
    ValueError
        It is not one, or does not hold the arrays of a source.
    """
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
                    Message(f"{path} holds its own lengths: leave out ", Option("lengths"))
                )
            lengths = Member(path, archive, arrays["lengths"]).whole()
            layout = replace(layout, lengths=lengths)
        elif len(names) != 1:
            raise ValueError(
                f"{path}: expected the arrays x, x and lengths, or values and offsets; got "
                f"{', '.join(sorted(names)) or 'nothing'}"
            )
        (name,) = names - {"lengths"} or names
        return ArrayReader(Member(path, archive, arrays[name]), layout, model)


class Member(NpyFile):
    """An array in an ``.npz`` archive.

    A stored member is read in place. A compressed one is decompressed as far as it is read; in
    Fortran order, where a row is scattered over all of it, into a temporary file first.

    Raises
    ------
    ValueError
        It is damaged, or of a kind that NumPy does not write.
    """

    def __init__(self, path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        name = f"{path}: {info.filename.removesuffix('.npy')}"
        status = status_of(path)
        self.last: tuple[Array, int] = np.empty(0), 0  # the bytes read last, and where they begin
        stored = info.compress_type == zipfile.ZIP_STORED
        if info.flag_bits & 1 or not (stored or info.compress_type == zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name}: expected an array as NumPy stores or compresses it")
        most = info.compress_size * (1 if stored else DEFLATE)
        if info.compress_size > os.path.getsize(path) or info.file_size > most:
            raise ValueError(f"{name} is damaged: it cannot hold {info.file_size:,} bytes")
        if info.header_offset < 0:
            raise ValueError(f"{name} is damaged: it would begin before the archive")
        with _damage(name), archive.open(info) as stream:
            header = read_header(stream.read(HEADER_BYTES), name, "an array")
        if header.size != info.file_size - header.offset:
            raise ValueError(
                f"{name} is damaged: expected an array {header.shape} of {header.dtype}, found "
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
        """Return the whole array, and close it."""
        try:
            values: Array = self.read(slice(None), slice(None)).copy()
            return values
        finally:
            self.close()

    def _stretch(self, first: int, last: int) -> Any:
        # windows overlap, and decompressing does not go backwards: keep what was read last
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
        super().close()
        self.last = np.empty(0), 0


class Inflated:
    """A compressed member as a file. Seeking backwards decompresses it from the start again."""

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
