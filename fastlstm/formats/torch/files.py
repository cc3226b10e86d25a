"""``.pt`` and ``.pth`` files: state_dicts, checkpoints and TorchScript archives, without torch.

No code of the file is executed, that of a TorchScript archive neither: its tensors are the
attributes of its modules, as the pickle in it has them.
"""

from __future__ import annotations

import mmap
import os
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.archives import open_archive
from fastlstm.formats.torch.loader import build
from fastlstm.formats.torch.pickles import Call, Named, read_pickle
from fastlstm.formats.torch.state import Holder, parts_of
from fastlstm.formats.trust import distrusted, naming, opened

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["contents", "load"]

Array = npt.NDArray[Any]
ReadStorage = Callable[[str, int], bytes]  # of a key and a number of bytes

MAX_PICKLE: Final = 1 << 23  # bytes; that of a network takes a few thousand
MAGIC: Final = 0x1950A86A20F9469CFC6C  # of a file of torch before 1.6

# Kind of storage: the dtype in the file, and its name. bfloat16 is the upper half of a float32.
_DTYPES: Final = {
    "BFloat16Storage": ("u2", "bfloat16"),
    "BoolStorage": ("?", "bool"),
    "ByteStorage": ("u1", "uint8"),
    "CharStorage": ("i1", "int8"),
    "DoubleStorage": ("f8", "float64"),
    "FloatStorage": ("f4", "float32"),
    "HalfStorage": ("f2", "float16"),
    "IntStorage": ("i4", "int32"),
    "LongStorage": ("i8", "int64"),
    "ShortStorage": ("i2", "int16"),
}


def load(path: str | os.PathLike[str], **options: Any) -> LSTM:
    """Read a file that `torch.save` or `torch.jit.save` wrote; see `fastlstm.load`."""
    path = Path(path)
    with opened(path) as file:
        with naming(path), distrusted("the file"):
            content = _content(file)
        with naming(path, wrong_choice=ValueError):
            return build(content, **options)


def contents(path: Path) -> tuple[str, dict[str, str]]:
    """What kind of file it is, and what each of its tensors is."""
    with opened(path) as file, naming(path), distrusted("the file"):
        content = _content(file)
        kind = "TorchScript" if isinstance(content, Holder) else "torch's tensors"
        tensors, _ = parts_of(content)
        return kind, {name: repr(tensor) for name, tensor in tensors.items()}


class Stored:
    """A tensor in a file, read when it is asked for as an array."""

    def __init__(
        self, read: ReadStorage, storage: Any, offset: Any, shape: Any, strides: Any
    ) -> None:
        kind, self.key, count = _storage(storage)
        self._read, self._kind = read, kind
        self._offset, self._strides = offset, strides
        self.shape, self.dtype = shape, _DTYPES[kind][1]
        self.itemsize = np.dtype(_DTYPES[kind][0]).itemsize
        for numbers in (shape, strides, (offset, count)):  # of any type, and their text of any size
            if not isinstance(numbers, tuple) or not all(
                type(k) is int and 0 <= k < 1 << 63 for k in numbers
            ):
                raise ModelFormatError("expected a tensor of lengths of 0 or more")
        if len(shape) != len(strides) or len(shape) > 8:
            raise ModelFormatError(f"{len(strides)} strides do not fit a shape of {len(shape)}")
        size = 1
        for length in shape:
            size *= length
        last = offset + sum((n - 1) * k for n, k in zip(shape, strides, strict=True))
        if size > count or (size and last >= count):
            raise ModelFormatError(
                f"a tensor of shape {shape} does not fit into its storage of {count} numbers"
            )
        self._bytes = count * self.itemsize

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        with distrusted(f"storage {self.key}"):
            content = self._read(self.key, self._bytes)
        raw = np.frombuffer(content, _DTYPES[self._kind][0])
        array = np.lib.stride_tricks.as_strided(
            raw[self._offset :],
            self.shape,
            [k * raw.itemsize for k in self._strides],
            writeable=False,
        )
        if self._kind == "BFloat16Storage":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        return array if dtype is None else array.astype(dtype)

    def __repr__(self) -> str:
        return f"{self.dtype} ({', '.join(map(str, self.shape))})"


def _storage(value: Any) -> tuple[str, str, int]:
    """The kind, key and length of a storage, from the persistent id that stands for it."""
    if not isinstance(value, Call) or value.function != Named("", "persistent"):
        raise ModelFormatError("a tensor has no storage")
    (identity,) = value.arguments
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise ModelFormatError("a tensor has no storage")
    kind, key, _, count = identity[1:5]
    if not isinstance(kind, Named) or not isinstance(key, str):
        raise ModelFormatError("a tensor has no storage")
    if kind.name not in _DTYPES:
        raise UnsupportedModelError(f"a tensor of {kind.name!r}")
    if len(identity) > 5 and identity[5] is not None:
        raise UnsupportedModelError("a storage that is part of another one")
    return kind.name, key, count


def _maker(read: ReadStorage) -> Callable[[Call], Any]:
    """What makes a `Stored` of a pickle's call."""

    def made(call: Call) -> Any:
        if call.function.name == "_rebuild_tensor_v2":
            return Stored(read, *call.arguments[:4])
        if call.function.name == "_rebuild_parameter":
            return call.arguments[0]
        return call

    return made


def _content(file: IO[bytes]) -> Mapping[str, Any] | Holder:
    magic = file.read(2)
    file.seek(0)
    if magic == b"PK":
        content = _from_archive(file)
    elif magic[:1] == b"\x80":
        # mapped, it gives no more bytes than there are, whatever a pickle asks for
        content = _from_pickles(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    else:
        raise ModelFormatError("expected a file of torch.save or torch.jit.save")
    if isinstance(content, Holder):
        return content
    if not isinstance(content, dict):
        raise ModelFormatError(
            f"expected a state_dict or a checkpoint that holds one, got a {type(content).__name__}"
        )
    return {key: value for key, value in content.items() if isinstance(key, str)}


def _from_archive(file: IO[bytes]) -> Any:
    """A file of torch 1.6 or later, or a TorchScript archive."""
    archive, members = open_archive(file)
    tops = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")]
    if len(tops) != 1 or tops[0].count("/") != 1:
        raise ModelFormatError("expected one data.pkl in the archive")
    top = tops[0]
    if f"{top}byteorder" in members and archive.read(f"{top}byteorder") != b"little":
        raise UnsupportedModelError("the numbers have another byte order than little")
    raw: dict[str, bytes] = {}  # many tensors may share a storage

    def read(key: str, size: int) -> bytes:
        if key not in raw:
            info: zipfile.ZipInfo | None = members.get(f"{top}data/{key}")
            if info is None or info.file_size != size:
                there = "nothing" if info is None else f"{info.file_size} bytes"
                raise ModelFormatError(f"storage {key} takes {size} bytes, there is {there}")
            raw[key] = archive.read(info)
        return raw[key]

    info = members[f"{top}data.pkl"]
    if info.file_size > MAX_PICKLE:
        raise ModelFormatError(f"a pickle of {info.file_size} bytes; expected {MAX_PICKLE} at most")
    return read_pickle(BytesIO(archive.read(info)), _maker(read))


def _from_pickles(file: mmap.mmap) -> Any:
    """A file of an older torch, or by its option: pickles and then the storages."""
    if read_pickle(file) != MAGIC or read_pickle(file) != 1001:
        raise ModelFormatError("expected a file of torch.save, got another pickle")
    system = read_pickle(file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise UnsupportedModelError("the numbers have another byte order than little")
    places: dict[str, tuple[int, int]] = {}  # of storages: where, and how many numbers
    sizes: dict[str, int] = {}  # of their numbers

    def read(key: str, size: int) -> bytes:
        if key not in places or places[key][1] * sizes[key] != size:
            raise ModelFormatError(f"storage {key} does not take {size} bytes")
        start = places[key][0]
        return file[start : start + size]

    def made(call: Call) -> Any:
        result = _maker(read)(call)
        if isinstance(result, Stored):
            sizes[result.key] = result.itemsize
        return result

    content = read_pickle(file, made)
    keys = read_pickle(file)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ModelFormatError("expected the keys of the storages")
    at, end = file.tell(), len(file)
    for key in keys:
        count = int.from_bytes(file[at : at + 8], "little")
        places[key] = (at + 8, count)
        at += 8 + count * sizes.get(key, 0)
    if at != end or sizes.keys() - set(keys):
        raise ModelFormatError(f"expected {at} bytes, there are {end}")
    return content
