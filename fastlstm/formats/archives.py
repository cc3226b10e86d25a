"""Untrusted zip archives: the checks that zipfile does not make."""

from __future__ import annotations

import os
import struct
import zipfile
from typing import IO, Final

from fastlstm.errors import ModelFormatError
from fastlstm.formats.budget import charge, current

__all__ = ["open_archive", "read_member"]

# Trained weights hardly compress: a file that unpacks to more than this is a bomb, not a model.
MAX_RATIO: Final = 100
MAX_UNCHECKED: Final = 1 << 24  # bytes that may unpack at any ratio: an array of zeros is small


def open_archive(file: IO[bytes]) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """Open an archive; yield it and its members by name, if its directory and size are sane.

    Raises
    ------
    ModelFormatError
        If a member may be hidden, is named twice, or is compressed in a way that NumPy and torch do
        not use, or if the members would unpack to too much.
    """
    archive = zipfile.ZipFile(file)
    _require_whole_directory(file, archive)
    size, unfolded = os.fstat(file.fileno()).st_size, sum(m.file_size for m in archive.infolist())
    if unfolded > max(MAX_UNCHECKED, MAX_RATIO * size):
        raise ModelFormatError(
            f"refusing to unpack {size} bytes into {unfolded}: weights do not compress that well; "
            "save them uncompressed (numpy.savez)"
        )
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if info.filename in members:
            raise ModelFormatError(f"the name {name!r} is given twice")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelFormatError(f"{name}: expected it stored or deflated, as NumPy writes it")
        members[info.filename] = info
    current().grow(max(0, unfolded - size))
    return archive, members


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return the content of a member, reading no more than the directory says.

    ``archive.read`` would unpack everything before it compares the size.
    """
    charge(info.file_size)
    with archive.open(info) as member:
        return member.read(info.file_size)  # to the end, where the checksum is compared


def _require_whole_directory(file: IO[bytes], archive: zipfile.ZipFile) -> None:
    """Refuse a directory with a damaged length, which makes zipfile silently skip members."""
    end = file.seek(0, os.SEEK_END) - 22
    file.seek(max(end, 0))
    signature, _, _, _, count, size, start, comment = struct.unpack("<4s4H2LH", file.read(22))
    if signature != b"PK\5\6" or comment:
        raise ModelFormatError("expected nothing after the archive's directory, not even a comment")
    file.seek(max(end - 20, 0))
    if file.read(4) == b"PK\6\7":  # more or larger than 16 or 32 bits say: a zip64 record before
        file.seek(max(end := end - 20 - 56, 0))
        signature, count, size, start = struct.unpack("<4s28x3Q", file.read(56))
        if signature != b"PK\6\6":
            raise ModelFormatError("the zip64 record of the archive is damaged")
    if start + size != end:
        raise ModelFormatError("expected nothing before the archive or after its directory")
    if count != len(archive.infolist()):
        raise ModelFormatError(f"expected {count} arrays, found {len(archive.infolist())}")
    if commented := [info.filename for info in archive.infolist() if info.comment]:
        raise ModelFormatError(f"expected no comments, but {commented[0]!r} has one")
