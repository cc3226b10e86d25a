"""HDF5 files as Keras writes them, read by hand: groups, texts in attributes, arrays of numbers.

On damaged files the HDF5 library writes past its buffers or never returns, and a model may be a
stranger's. So only NumPy and zlib read it here: what a file claims is compared with what is there
before anything is allocated, and links to elsewhere are not followed.
"""

from __future__ import annotations

import math
import struct
import sys
import zlib
from collections.abc import Iterator
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.archives import MAX_RATIO, MAX_UNCHECKED
from fastlstm.formats.budget import charge
from fastlstm.formats.floats import from_bfloat16
from fastlstm.formats.keras.hdf5_bytes import (
    ATTRIBUTES_BY_NAME,
    CHUNKS,
    LINKS_BY_NAME,
    NOWHERE,
    Data,
    Message,
    dense_messages,
    link_names,
    messages,
    tree,
)
from fastlstm.lazy import lazy

__all__ = ["Node", "root_of"]

Array = npt.NDArray[Any]

# Kinds of messages in an object's header.
SPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL, LAYOUT = 1, 2, 3, 6, 7, 8
GROUP_INFO, FILTERS, ATTRIBUTE, MEMBERS, ATTRIBUTE_INFO = 0x0A, 0x0B, 0x0C, 0x11, 0x15
# Classes of datatypes.
INTEGER, FLOAT, STRING, OPAQUE, ENUM, VARIABLE = 0, 1, 3, 5, 8, 9
COMPACT, CONTIGUOUS, CHUNKED, VIRTUAL = range(4)
DEFLATE, SHUFFLE = 1, 2
# Floats by their size and bits: mantissa, exponent and the exponent's bias.
FLOATS: Final = {
    (2, 10, 5, 15): "f2",
    (2, 7, 8, 127): "bfloat16",
    (4, 23, 8, 127): "f4",
    (8, 52, 11, 1023): "f8",
}
DEPTH: Final = 24  # of groups in groups


def root_of(file: IO[bytes]) -> Node:
    """The group that holds all others.

    Raises
    ------
    ModelFormatError
        If it is not an HDF5 file, or is damaged. All methods of `Node` raise this, too.
    UnsupportedModelError
        If it is of a kind that h5py writes only when told to.
    """
    data = Data(file)
    start = data.read(0, min(80, data.size))
    if start[:8] != b"\x89HDF\r\n\x1a\n" or len(start) < 80:
        raise ModelFormatError(
            "the file is damaged, or is not HDF5: it does not begin with the signature of HDF5"
        )
    version = start[8]
    at = {0: 56, 1: 60, 2: 12, 3: 12}.get(version)
    sizes = start[13:15] if version < 2 else start[9:11]
    if at is None or sizes != b"\x08\x08":
        raise UnsupportedModelError("expected an HDF5 file of 8-byte addresses, version 0 to 3")
    base = int.from_bytes(start[24 + 4 * version : 32 + 4 * version], "little")
    if version > 1:
        base = int.from_bytes(start[12:20], "little")
    if base:
        raise UnsupportedModelError("expected the HDF5 data to begin at the start of the file")
    (address,) = struct.unpack_from("<Q", start, at + (8 if version < 2 else 24))
    return _File(data).node(address, "")


class _File:
    """What the objects of a file share."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self._nodes: dict[int, Node] = {}
        self._texts: dict[int, dict[int, tuple[int, int]]] = {}  # of each heap: where, how long

    def node(self, address: int, name: str) -> Node:
        if address not in self._nodes:
            self._nodes[address] = Node(self, address, name)
        return self._nodes[address]

    def text(self, address: int, index: int) -> bytes:
        """A text in a global heap."""
        if address not in self._texts:
            self._texts[address] = dict(self._walk(address))
        if index not in self._texts[address]:
            raise ModelFormatError(f"there is no text {index} in the heap at {address}")
        return self.data.read(*self._texts[address][index])

    def _walk(self, address: int) -> Iterator[tuple[int, tuple[int, int]]]:
        signature, size = struct.unpack_from("<4s4xQ", self.data.read(address, 16))
        at, end = address + 16, address + size
        while signature == b"GCOL" and at + 16 <= end:
            index, length = struct.unpack("<H6xQ", self.data.numbers(at, 16))
            charge(steps=1)
            if index == 0:  # the free space behind the last one
                break
            yield index, (at + 16, length)
            at += 16 + -(-length // 8) * 8


class Node:
    """A group or an array of a file."""

    def __init__(self, file: _File, address: int, name: str) -> None:
        self._file, self.name = file, name
        self._messages: list[Message] = list(messages(file.data, address))

    def _find(self, *kinds: int) -> bytes | None:
        found = [message for kind, _, message in self._messages if kind in kinds]
        if any(kind in kinds and flags & 2 for kind, flags, _ in self._messages):
            raise UnsupportedModelError(f"{self.name}: values that objects share are not read")
        return found[0] if found else None

    @property
    def is_group(self) -> bool:
        """Whether it is a group."""
        return any(k in (LINK_INFO, LINK, GROUP_INFO, MEMBERS) for k, *_ in self._messages)

    @property
    def is_array(self) -> bool:
        """Whether it is an array."""
        return any(kind == LAYOUT for kind, *_ in self._messages)

    # A group

    @lazy
    def members(self) -> dict[str, int | None]:
        """Names and addresses; None for links to elsewhere."""
        found: dict[str, int | None] = {}
        for name, address in self._links():
            charge(memory=sys.getsizeof(name) + 100)
            if name in found:
                raise ModelFormatError(f"{name!r} occurs twice in {self.name or '/'}")
            found[name] = address
        return found

    def _links(self) -> Iterator[tuple[str, int | None]]:
        for kind, _, message in self._messages:
            if kind == MEMBERS:
                yield from link_names(self._file.data, *struct.unpack_from("<QQ", message))
            elif kind == LINK:
                yield _link(message)
            elif kind == LINK_INFO:
                heap, by_name = struct.unpack_from("<QQ", message, 2 + 8 * (message[1] & 1))
                if heap != NOWHERE:
                    data = self._file.data
                    yield from map(_link, dense_messages(data, heap, by_name, LINKS_BY_NAME))

    def __contains__(self, name: str) -> bool:
        return self.is_group and name in self.members

    def __getitem__(self, path: str) -> Node:
        node = self
        for name in path.split("/"):
            if not node.is_group or name not in node.members:
                raise ModelFormatError(f"there is no {path!r} in {self.name or '/'}")
            address = node.members[name]
            if address is None:
                raise ModelFormatError(f"{path!r} is a link to elsewhere")
            node = self._file.node(address, f"{node.name}/{name}")
        return node

    def group(self, path: str) -> Node:
        """A group in it."""
        if not (found := self[path]).is_group:
            raise ModelFormatError(f"expected {path!r} to be a group")
        return found

    def array_at(self, path: str) -> Node:
        """An array in it."""
        if not (found := self[path]).is_array:
            raise ModelFormatError(f"expected {path!r} to be an array")
        return found

    def arrays(
        self, path: str, seen: set[int | None], depth: int = 0
    ) -> Iterator[tuple[str, Node]]:
        """All arrays in it and in the groups in it.

        `seen` holds the addresses of the groups that were reached before. With two links to each
        group, a small file would have a path to an array for every combination of them; Keras
        never writes a second link.
        """
        if depth > DEPTH:
            raise ModelFormatError(f"groups are nested without end: {path[:80]} ...")
        for name, address in self.members.items():
            length = len(path) + len(name)
            charge(memory=8 * length + 200, steps=1 + length / 64)  # as a path and as a node's name
            found, inside = self[name], f"{path}/{name}"
            if not found.is_group:
                yield inside, found
            elif address in seen:
                raise ModelFormatError(f"several links lead to the group {inside[:80]!r}")
            else:
                seen.add(address)
                yield from found.arrays(inside, seen, depth + 1)

    # Texts

    @lazy
    def texts(self) -> dict[str, list[str] | None]:
        """Its attributes: lists of texts, None for those that are something else."""
        return dict(map(self._attribute, self._attributes()))

    def _attributes(self) -> Iterator[bytes]:
        for kind, flags, message in self._messages:
            if kind == ATTRIBUTE:
                if flags & 2:
                    raise UnsupportedModelError("an attribute that objects share is not read")
                yield message
            elif kind == ATTRIBUTE_INFO:
                heap, by_name = struct.unpack_from("<QQ", message, 2 + 2 * (message[1] & 1))
                if heap != NOWHERE:
                    data = self._file.data
                    yield from dense_messages(data, heap, by_name, ATTRIBUTES_BY_NAME)

    def _attribute(self, message: bytes) -> tuple[str, list[str] | None]:
        version, flags, *sizes = struct.unpack_from("<BBHHH", message)
        at = 8 + (version == 3)
        parts = []
        for size in sizes:  # of its name, datatype and dataspace
            parts.append(message[at : at + size])
            at += -(-size // 8) * 8 if version == 1 else size
        name, datatype, dataspace = parts
        key = name.split(b"\0")[0].decode()
        if version > 1 and flags:  # a datatype of another object
            return key, None
        kind, bits, size = datatype[0] & 15, datatype[1], int.from_bytes(datatype[4:8], "little")
        shape = _shape(dataspace)
        number = 0 if shape is None else math.prod(shape)
        data = message[at:]
        if number * max(size, 1) > len(data):
            raise ModelFormatError(f"{key}: {number} values of {size} bytes in {len(data)} bytes")
        if number and not (kind == STRING or (kind == VARIABLE and bits & 15 == 1 and size == 16)):
            return key, None
        charge(memory=2 * len(data) + 200 * number, steps=number / 4)
        items = [data[k * size : (k + 1) * size] for k in range(number)]
        texts = self._variable(items) if kind == VARIABLE else [t.rstrip(b"\0 ") for t in items]
        return key, [text.decode() for text in texts]

    def _variable(self, items: list[bytes]) -> Iterator[bytes]:
        left = self._file.data.size
        for item in items:
            length, address, index = struct.unpack("<IQI", item)
            left -= length
            if left < 0:
                raise ModelFormatError("the texts are longer than the file")
            text = self._file.text(address, index) if length else b""
            if len(text) < length:
                raise ModelFormatError(f"a text of {length} bytes in {len(text)} bytes")
            yield text[:length]

    def text(self, name: str) -> str | None:
        """An attribute that is text; None if there is none."""
        texts = self._strings(name)
        if texts is not None and len(texts) != 1:
            raise ModelFormatError(f"{name}: expected one text, got {len(texts)}")
        return None if texts is None else texts[0]

    def names(self, name: str) -> list[str]:
        """An attribute that is a list of texts, in one piece or in many."""
        texts = self._strings(name)
        if texts is not None:
            return texts
        pieces: list[str] = []
        k = 0
        while (texts := self._strings(f"{name}{k}")) is not None:
            pieces += texts
            k += 1
        return pieces

    def _strings(self, name: str) -> list[str] | None:
        if name in self.texts and self.texts[name] is None:
            raise ModelFormatError(f"{name}: expected text")
        return self.texts.get(name)

    # An array

    def array(self, name: str) -> Array:
        """Its numbers; `name` is what errors call them."""
        space, datatype, layout = (self._find(kind) for kind in (SPACE, DATATYPE, LAYOUT))
        if space is None or datatype is None or layout is None:
            raise ModelFormatError(f"{name}: expected an array")
        shape, dtype = _shape(space), self._dtype(name, datatype)
        if shape is None or dtype is None:
            raise ModelFormatError(f"{name}: expected numbers")
        version, kind = layout[:2]
        if self._find(EXTERNAL) is not None or (version == 4 and kind == VIRTUAL):
            raise ModelFormatError(f"{name}: the numbers are in another file")
        if version not in (3, 4) or (version == 4 and kind == CHUNKED):
            raise UnsupportedModelError(
                f"{name}: stored {'in chunks as HDF5 1.10' if version > 2 else 'as HDF5 1.4'} "
                "does it; save the model again with Keras"
            )
        wide = dtype == "bfloat16"
        stored = np.dtype("<u2" if wide else dtype)
        claimed = math.prod(shape) * stored.itemsize
        if kind == CHUNKED:
            raw = self._unfolded(name, layout, shape, stored, claimed)
        else:
            raw = self._plain(name, layout, kind, f"{dtype} of shape {shape}", claimed)
        array = np.frombuffer(raw, stored).reshape(shape)
        if wide:
            return from_bfloat16(array)
        return array.astype(stored.newbyteorder("="), copy=False)

    def _dtype(self, name: str, datatype: bytes) -> str | None:
        """NumPy's name of a datatype; None if it does not hold numbers."""
        kind, bits, size = datatype[0] & 15, datatype[1], int.from_bytes(datatype[4:8], "little")
        order = ">" if bits & 1 else "<"
        if kind == INTEGER and size in (1, 2, 4, 8):
            return f"{order}{'i' if bits & 8 else 'u'}{size}"
        if kind == FLOAT and not bits & 0x40:
            exponent, mantissa, bias = struct.unpack_from("<xBxBI", datatype, 12)
            found = FLOATS.get((size, mantissa, exponent, bias))
            if found == "bfloat16" and order == ">":
                raise UnsupportedModelError(f"{name}: big-endian bfloat16 is not read")
            return found if found in ("bfloat16", None) else f"{order}{found}"
        if kind == OPAQUE and size == 2 and self.text("dtype") == "bfloat16":
            return "bfloat16"
        return None

    def _plain(self, name: str, layout: bytes, kind: int, what: str, claimed: int) -> bytes:
        if kind == COMPACT:
            there = int.from_bytes(layout[2:4], "little")
            raw = layout[4 : 4 + there]
            there = len(raw)
        else:
            address, there = struct.unpack_from("<QQ", layout, 2)
            there = 0 if address == NOWHERE else there
        if claimed > there:
            raise ModelFormatError(f"{name}: {what} takes {claimed} bytes, there are {there}")
        _claim(name, there, claimed)
        if kind == COMPACT:
            return raw[:claimed]
        return self._file.data.numbers(address, claimed) if claimed else b""

    def _unfolded(
        self,
        name: str,
        layout: bytes,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        claimed: int,
    ) -> bytes:
        """Return the bytes of an array that is stored in chunks, each compressed or not."""
        rank = len(shape)
        if layout[2] != rank + 1:
            raise ModelFormatError(f"{name}: expected chunks of {rank} axes, got {layout[2] - 1}")
        address, *piece, itemsize = struct.unpack_from(f"<Q{rank + 1}I", layout, 3)
        size = math.prod(piece) * dtype.itemsize
        if itemsize != dtype.itemsize or not size:
            raise ModelFormatError(
                f"{name}: expected chunks of {dtype.itemsize}-byte numbers, got {itemsize} bytes"
            )
        filters = self._filters(name)
        found = []
        if address != NOWHERE:
            for key, at in tree(self._file.data, address, CHUNKS, 8 * (rank + 2)):
                found.append((at, *struct.unpack(f"<II{rank}Q8x", key)))
        number = math.prod(-(-a // b) for a, b in zip(shape, piece, strict=True))
        stored = sum(length for _, length, *_ in found)
        _claim(name, stored, max(claimed, size))
        if number != len(found) or len({tuple(start) for _, _, _, *start in found}) != number:
            raise ModelFormatError(f"{name}: expected {number} chunks, got {len(found)}")
        whole = np.empty(shape, dtype)
        for at, length, mask, *start in found:
            if any(a % b or a >= c for a, b, c in zip(start, piece, shape, strict=True)):
                raise ModelFormatError(f"{name}: there is no chunk at {start}")
            raw = self._file.data.numbers(at, length)
            for k in range(len(filters) - 1, -1, -1):
                if not mask >> k & 1:
                    raw = _inflated(raw, size) if filters[k] == DEFLATE else _sorted(raw, dtype)
            if len(raw) != size:
                raise ModelFormatError(f"{name}: expected a chunk of {size} bytes, got {len(raw)}")
            where = tuple(slice(a, a + b) for a, b in zip(start, piece, strict=True))
            part = whole[where]
            inside = tuple(slice(k) for k in part.shape)
            part[...] = np.frombuffer(raw, dtype).reshape(piece)[inside]
        return whole.tobytes()

    def _filters(self, name: str) -> list[int]:
        """Return how the chunks are compressed: DEFLATE and SHUFFLE, in the order of writing."""
        message = self._find(FILTERS)
        if message is None:
            return []
        version, number = message[:2]
        at, found = 8 if version == 1 else 2, []
        for _ in range(number):
            (kind,) = struct.unpack_from("<H", message, at)
            if kind not in (DEFLATE, SHUFFLE) or kind in found:
                raise UnsupportedModelError(
                    f"{name}: compressed by HDF5's filter {kind}; only gzip is read"
                )
            found.append(kind)
            named = version == 1 or kind > 255
            length = int.from_bytes(message[at + 2 : at + 4], "little") if named else 0
            at += 4 if named else 2
            values = int.from_bytes(message[at + 2 : at + 4], "little")
            at += 4 + (-(-length // 8) * 8 if version == 1 else length)
            at += 4 * (values + (values % 2 if version == 1 else 0))
        return found


def _claim(name: str, stored: int, claimed: int) -> None:
    """Take memory for an array."""
    if claimed > max(MAX_UNCHECKED, MAX_RATIO * stored):
        raise ModelFormatError(f"{name}: refusing to unpack {stored} bytes into {claimed}")
    charge(claimed)


def _link(message: bytes) -> tuple[str, int | None]:
    """A link of the new kind."""
    version, flags = message[:2]
    at = 2 + bool(flags & 8) + 8 * bool(flags & 4) + bool(flags & 16)
    width = 1 << (flags & 3)
    length = int.from_bytes(message[at : at + width], "little")
    at += width
    name = message[at : at + length]
    if version != 1 or len(name) < length:
        raise ModelFormatError("a link is damaged")
    if flags & 8 and message[2]:  # not to an object of this file
        return name.decode(), None
    return name.decode(), struct.unpack_from("<Q", message, at + length)[0]


def _shape(dataspace: bytes) -> tuple[int, ...] | None:
    """Return the shape in a dataspace; None if it is empty."""
    version, rank, _, kind = struct.unpack_from("<4B", dataspace)
    if version not in (1, 2):
        raise ModelFormatError("a shape is damaged")
    if version == 2 and kind == 2:
        return None
    return struct.unpack_from(f"<{rank}Q", dataspace, 8 if version == 1 else 4)


def _inflated(raw: bytes, size: int) -> bytes:
    """Return a chunk that zlib has unpacked, if it is no more than `size` bytes."""
    engine = zlib.decompressobj()
    found: bytes = engine.decompress(raw, size)
    if not engine.eof and engine.decompress(engine.unconsumed_tail, 1):
        raise ModelFormatError(f"a chunk that unpacks to more than {size} bytes")
    return found


def _sorted(raw: bytes, dtype: np.dtype[Any]) -> bytes:
    """Undo HDF5's shuffle: bytes sorted by their place in a number, as numbers again."""
    places = np.frombuffer(raw, np.uint8).reshape(dtype.itemsize, -1)
    return np.ascontiguousarray(places.T).tobytes()
