"""Texts in the attributes of an HDF5 file, read by hand.

The HDF5 library writes past its buffers, or never returns, when the variable-length strings of a
damaged file do not fit together: one or two of a thousand files with a few changed bytes. Their
numbers it reads safely.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import IO, Final

from fastlstm.errors import ModelFormatError, UnsupportedModelError

__all__ = ["Attributes"]

FIXED, VARIABLE = 3, 9  # classes of datatypes: strings of a fixed length, and of any
CONTINUED, ATTRIBUTE, DENSE = 0x10, 0x0C, 0x15  # kinds of messages in an object's header
MAX_BLOCKS: Final = 1000  # that a header may be in


class Attributes:
    """The attributes of the objects of a file, by the addresses of their headers.

    Raises
    ------
    ModelFormatError
        From all methods, if the file is damaged.
    UnsupportedModelError
        If it is of a kind that h5py does not write unless told to.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._size = file, file.seek(0, os.SEEK_END)
        start = self._read(0, 16)
        sizes = start[13:15] if start[8] < 2 else start[9:11]
        if start[:8] != b"\x89HDF\r\n\x1a\n" or sizes != b"\x08\x08":
            raise UnsupportedModelError("expected an HDF5 file of 8-byte addresses, at its start")

    def texts(self, address: int) -> dict[str, list[str] | None]:
        """The attributes of an object: lists of texts, None for those that are something else."""
        found: dict[str, list[str] | None] = {}
        for kind, flags, message in self._messages(address):
            if kind == DENSE and not _is_empty(message):
                raise UnsupportedModelError("attributes in a heap of their own are not read")
            if kind == ATTRIBUTE:
                if flags & 2:
                    raise UnsupportedModelError("an attribute that objects share is not read")
                name, values = self._attribute(message)
                found[name] = values
        return found

    def _read(self, at: int, length: int) -> bytes:
        if not 0 <= at <= at + length <= self._size:
            raise ModelFormatError(f"there are no {length} bytes at {at}: the file is damaged")
        self._file.seek(at)
        return self._file.read(length)

    def _messages(self, address: int) -> Iterator[tuple[int, int, bytes]]:
        """Kind, flags and content of each message of an object's header."""
        head = self._read(address, 16)
        new = head[:4] == b"OHDR"
        if new:
            flags = head[5]
            at = address + 6 + 16 * bool(flags & 32) + 4 * bool(flags & 16)
            width = 1 << (flags & 3)
            blocks = [(at + width, int.from_bytes(self._read(at, width), "little"))]
        else:
            flags = 0
            blocks = [(address + 16, int.from_bytes(head[8:12], "little"))]
        layout = struct.Struct("<BHB" if new else "<HHB3x")
        extra = 2 * bool(flags & 4)  # the order of creation
        k = 0
        while k < len(blocks):
            block, at = self._read(*blocks[k]), 0
            k += 1
            while at + layout.size + extra <= len(block):
                kind, size, of_message = layout.unpack_from(block, at)
                at += layout.size + extra
                message = block[at : at + size]
                at += size
                if kind == CONTINUED:
                    where, length = struct.unpack_from("<QQ", message)
                    # of the new kind, it begins with a signature and ends with a checksum
                    blocks.append((where + 4, length - 8) if new else (where, length))
                    if len(blocks) > MAX_BLOCKS or length < 8:
                        raise ModelFormatError("the header of an object has no end")
                yield kind, of_message, message

    def _attribute(self, message: bytes) -> tuple[str, list[str] | None]:
        version, _, *sizes = struct.unpack_from("<BBHHH", message)
        at = 8 + (version == 3)
        parts = []
        for size in sizes:  # of its name, datatype and dataspace
            parts.append(message[at : at + size])
            at += -(-size // 8) * 8 if version == 1 else size
        name, datatype, dataspace = parts
        kind, bits, size = datatype[0] & 15, datatype[1], int.from_bytes(datatype[4:8], "little")
        number = _number_of(dataspace)
        key = name.split(b"\0")[0].decode()
        data = message[at:]
        if number * max(size, 1) > len(data):
            raise ModelFormatError(f"{key}: {number} values of {size} bytes in {len(data)} bytes")
        if number and not (kind == FIXED or (kind == VARIABLE and bits & 15 == 1 and size == 16)):
            return key, None
        items = [data[k * size : (k + 1) * size] for k in range(number)]
        texts = self._variable(items) if kind == VARIABLE else [t.rstrip(b"\0 ") for t in items]
        return key, [text.decode() for text in texts]

    def _variable(self, items: list[bytes]) -> Iterator[bytes]:
        left = self._size
        for item in items:
            length, address, index = struct.unpack("<IQI", item)
            left -= length
            if left < 0:
                raise ModelFormatError("texts that are longer than the file")
            text = self._from_heap(address, index) if length else b""
            if len(text) < length:
                raise ModelFormatError(f"a text of {length} bytes in {len(text)} bytes")
            yield text[:length]

    def _from_heap(self, address: int, wanted: int) -> bytes:
        head = self._read(address, 16)
        end = address + int.from_bytes(head[8:16], "little")
        at = address + 16
        while head[:4] == b"GCOL" and at + 16 <= end:
            index, _, length = struct.unpack("<HH4xQ", self._read(at, 16))
            if index == wanted:
                return self._read(at + 16, length)
            if index == 0:  # the free space behind the last one
                break
            at += 16 + -(-length // 8) * 8
        raise ModelFormatError(f"there is no text {wanted} in the heap at {address}")


def _is_empty(message: bytes) -> bool:
    """Whether an "attribute info" says that no attributes are in a heap."""
    at = 2 + 2 * (message[1] & 1)
    return message[at : at + 8] == b"\xff" * 8


def _number_of(dataspace: bytes) -> int:
    """The number of values in a dataspace."""
    version, rank, _, kind = struct.unpack_from("<4B", dataspace)
    if version == 2 and kind == 2:  # none at all
        return 0
    at = 8 if version == 1 else 4
    number = 1
    for k in range(rank):
        number *= int.from_bytes(dataspace[at + 8 * k : at + 8 * k + 8], "little")
    return number
