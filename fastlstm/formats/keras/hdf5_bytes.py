"""The bytes of an HDF5 file, and the lists in them: messages, heaps and B-trees.

This follows version 3.0 of the format's specification. Every step is charged to the budget of the
file, so that no chain of addresses takes long, even if it is circular.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import IO, Final

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.budget import charge

__all__ = ["NOWHERE", "Data", "Message", "dense_messages", "link_names", "messages", "tree"]

Message = tuple[int, int, bytes]  # kind, flags and content

NOWHERE: Final = (1 << 64) - 1  # the address of something that does not exist
CONTINUED: Final = 0x10  # the kind of a message that says where the header goes on
GROUPS, CHUNKS = 0, 1  # kinds of B-trees of version 1
LINKS_BY_NAME, ATTRIBUTES_BY_NAME = 5, 8  # kinds of B-trees of version 2

# Steps that a read takes, and bytes that are handled in one. Groups of trained models take some
# 150 steps each, with all that is in them.
READING: Final = 8
BYTES_PER_STEP: Final = 64
LEVELS: Final = 16  # of a tree, and of blocks in a heap


class Data:
    """A file, read within its size and its budget."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.size = file, file.seek(0, os.SEEK_END)

    def read(self, at: int, length: int) -> bytes:
        """Bytes of the file's structure."""
        self._check(at, length)
        charge(steps=READING + length / BYTES_PER_STEP)
        return self.numbers(at, length)

    def numbers(self, at: int, length: int) -> bytes:
        """Bytes of an array: they cost nothing."""
        self._check(at, length)
        self._file.seek(at)
        return self._file.read(length)

    def _check(self, at: int, length: int) -> None:
        if not 0 <= at <= at + length <= self.size:
            raise ModelFormatError(f"there are no {length} bytes at {at}: the file is damaged")


def messages(data: Data, address: int) -> Iterator[Message]:
    """The messages of an object's header."""
    head = data.read(address, 16)
    new = head[:4] == b"OHDR"
    if not new and head[0] != 1:
        raise ModelFormatError(f"there is no object at {address}: the file is damaged")
    if new:
        flags = head[5]
        at = address + 6 + 16 * bool(flags & 32) + 4 * bool(flags & 16)
        width = 1 << (flags & 3)
        blocks = [(at + width, int.from_bytes(data.read(at, width), "little"))]
    else:
        flags = 0
        blocks = [(address + 16, int.from_bytes(head[8:12], "little"))]
    layout = struct.Struct("<BHB" if new else "<HHB3x")
    extra = 2 * bool(flags & 4)  # the order of creation
    seen = {blocks[0][0]}
    while blocks:
        block, at = data.read(*blocks.pop(0)), 0
        while at + layout.size + extra <= len(block):
            charge(steps=1)
            kind, size, of_message = layout.unpack_from(block, at)
            at += layout.size + extra
            message = block[at : at + size]
            at += size
            if kind == CONTINUED:
                where, length = struct.unpack_from("<QQ", message)
                # of the new kind, it begins with a signature and ends with a checksum
                blocks.append((where + 4, length - 8) if new else (where, length))
                if where in seen:
                    raise ModelFormatError("the header of an object continues in itself")
                seen.add(where)
            yield kind, of_message, message


def tree(data: Data, address: int, kind: int, key_size: int) -> Iterator[tuple[bytes, int]]:
    """The keys and addresses in the leaves of a B-tree of version 1."""

    def walk(address: int, level: int | None) -> Iterator[tuple[bytes, int]]:
        signature, its_kind, its_level, used = struct.unpack_from("<4sBBH", data.read(address, 24))
        level = its_level if level is None else level
        if signature != b"TREE" or (its_kind, its_level) != (kind, level) or level > LEVELS:
            raise ModelFormatError(f"there is no B-tree at {address}: the file is damaged")
        size = key_size + 8
        entries = data.read(address + 24, used * size)
        for at in range(0, used * size, size):
            charge(steps=1)
            child = int.from_bytes(entries[at + key_size : at + size], "little")
            if level:
                yield from walk(child, level - 1)
            else:
                yield entries[at : at + key_size], child

    return walk(address, None)


def link_names(
    data: Data, tree_address: int, heap_address: int
) -> Iterator[tuple[str, int | None]]:
    """The members of a group of the old kind: name and address, None for a link to elsewhere."""
    signature, size, start = struct.unpack_from("<4s4xQ8xQ", data.read(heap_address, 32))
    if signature != b"HEAP":
        raise ModelFormatError(f"there are no names at {heap_address}: the file is damaged")
    names = data.read(start, size)
    for _, address in tree(data, tree_address, GROUPS, 8):
        signature, number = struct.unpack_from("<4s2xH", data.read(address, 8))
        if signature != b"SNOD":
            raise ModelFormatError(f"there is no list of members at {address}: the file is damaged")
        for entry in struct.iter_unpack("<QQI20x", data.read(address + 8, 40 * number)):
            at, where, cached = entry
            end = names.index(b"\0", at)
            charge(steps=1 + (end - at) / BYTES_PER_STEP)
            yield names[at:end].decode(), None if cached == 2 else where


def dense_messages(data: Data, heap_address: int, tree_address: int, kind: int) -> Iterator[bytes]:
    """Links or attributes that are many or large: messages in a heap, found by a B-tree."""
    heap = _Heap(data, heap_address)
    for record in _records(data, tree_address, kind):
        if kind == ATTRIBUTES_BY_NAME:
            if record[8] & 2:
                raise UnsupportedModelError("an attribute that objects share is not read")
            yield heap.read(record[:8])
        else:
            yield heap.read(record[4:])


def _width(number: int) -> int:
    """The bytes that a number takes."""
    return max(1, (number.bit_length() + 7) // 8)


def _records(data: Data, address: int, kind: int) -> Iterator[bytes]:
    """The records of a B-tree of version 2."""
    signature, its_kind, node_size, size, depth, root, number = struct.unpack_from(
        "<4sxBIHH2xQH", data.read(address, 26)
    )
    if signature != b"BTHD" or its_kind != kind or not size or depth > LEVELS:
        raise ModelFormatError(f"there is no B-tree at {address}: the file is damaged")
    # How many records a node of each level may have, itself and all below it, decides how wide
    # the numbers beside the addresses in it are.
    most = (node_size - 10) // size
    number_width, all_width, total = _width(most), [0], most
    for _ in range(depth):
        pointer = 8 + number_width + all_width[-1]
        most = (node_size - 10 - pointer) // (size + pointer)
        total = (most + 1) * total + most
        all_width.append(_width(total))

    def walk(address: int, number: int, level: int) -> Iterator[bytes]:
        pointer = 8 + number_width + all_width[level - 1] if level else 0
        block = data.read(address, 6 + number * size + (number + 1) * pointer)
        if block[:4] != (b"BTIN" if level else b"BTLF") or block[5] != kind:
            raise ModelFormatError(f"there is no node at {address}: the file is damaged")
        for k in range(number + bool(level)):
            charge(steps=1)
            if level:
                at = 6 + number * size + k * pointer
                child = int.from_bytes(block[at : at + 8], "little")
                of_child = int.from_bytes(block[at + 8 : at + 8 + number_width], "little")
                yield from walk(child, of_child, level - 1)
            if k < number:
                yield block[6 + k * size : 6 + (k + 1) * size]

    if root != NOWHERE:
        yield from walk(root, number, depth)


class _Heap:
    """A fractal heap: blocks of growing sizes, in rows of a table."""

    def __init__(self, data: Data, address: int) -> None:
        self._data = data
        fields = struct.unpack_from("<4sxHHBI96xHQQHHQH", data.read(address, 146))
        signature, _, filters, _, largest = fields[:5]
        self._width, self._start, direct, bits, _, self._root, self._rows = fields[5:]
        if signature != b"FRHP" or not self._width or not self._start:
            raise ModelFormatError(f"there is no heap at {address}: the file is damaged")
        if filters:
            raise UnsupportedModelError("compressed attributes or links are not read")
        self._direct = direct
        self._offset_width = (bits + 7) // 8
        self._length_width = min(_width(largest), (direct.bit_length() + 6) // 8)

    def read(self, name: bytes) -> bytes:
        """Return what the heap holds under an id."""
        kind = name[0] >> 4
        if kind == 2:  # so small that the id is it
            if len(name) > 18:
                raise UnsupportedModelError("an id of more than 18 bytes in a heap is not read")
            return name[1 : 2 + (name[0] & 15)]
        if kind:
            raise UnsupportedModelError("an attribute of more than 64 KB in a heap is not read")
        end = 1 + self._offset_width
        offset = int.from_bytes(name[1:end], "little")
        length = int.from_bytes(name[end : end + self._length_width], "little")
        at, size = self._root, self._start
        if self._rows:
            at, offset, size = self._block(self._root, self._rows, offset)
        if offset + length > max(size, self._direct):
            raise ModelFormatError("what a heap holds is larger than its blocks")
        return self._data.read(at + offset, length)

    def _block(self, address: int, rows: int, offset: int, level: int = 0) -> tuple[int, int, int]:
        """Where the block of an offset is, the offset in it, and its size."""
        first, size = 0, self._start
        for row in range(rows):
            charge(steps=1)
            size = self._start << max(row - 1, 0)
            if offset < first + self._width * size:
                break
            first += self._width * size
        else:
            raise ModelFormatError("an offset beyond the end of a heap")
        column = (offset - first) // size
        offset -= first + column * size
        at = address + 13 + self._offset_width + 8 * (row * self._width + column)
        block = int.from_bytes(self._data.read(at, 8), "little")
        if size <= self._direct:
            return block, offset, size
        if level > LEVELS:
            raise ModelFormatError("the blocks of a heap are nested without end")
        # such a block has the rows that make up its size
        inner = (size // self._start // self._width).bit_length()
        return self._block(block, inner, offset, level + 1)
