"""``.pt``, ``.pth`` and ``.ckpt`` files without torch: state_dicts, checkpoints, whole modules,
TorchScript archives.

No code in a file is executed, not even that of a TorchScript archive: its tensors are read as the
attributes of its modules, from the pickle in it.
"""

from __future__ import annotations

import math
import mmap
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.archives import open_archive, read_member
from fastlstm.formats.budget import charge, lent
from fastlstm.formats.floats import from_bfloat16
from fastlstm.formats.found import Found
from fastlstm.formats.torch.advice import EXPORTED
from fastlstm.formats.torch.hints import HINTS, Hints
from fastlstm.formats.torch.pickles import PERSISTENT, read_pickle
from fastlstm.formats.torch.stand_ins import Named, Stranger, Unread, numpys, settled
from fastlstm.formats.torch.state import Holder, parts_of
from fastlstm.formats.torch.state_dict import network_of
from fastlstm.formats.trust import distrusted, naming, opened

__all__ = ["HINTS", "contents", "read"]

Array = npt.NDArray[Any]
ReadStorage = Callable[[str, int], bytes]  # of a key and a number of bytes

MAGIC: Final = 0x1950A86A20F9469CFC6C  # of a file of torch before 1.6

# Kind of storage: the dtype in the file, and its name. bfloat16 is the upper half of a float32.
_DTYPES: Final = {
    "BFloat16Storage": ("u2", "bfloat16"),
    "BoolStorage": ("?", "bool"),
    "ByteStorage": ("u1", "uint8"),
    "CharStorage": ("i1", "int8"),
    "ComplexDoubleStorage": ("c16", "complex128"),
    "ComplexFloatStorage": ("c8", "complex64"),
    "DoubleStorage": ("f8", "float64"),
    "FloatStorage": ("f4", "float32"),
    "HalfStorage": ("f2", "float16"),
    "IntStorage": ("i4", "int32"),
    "LongStorage": ("i8", "int64"),
    "ShortStorage": ("i2", "int16"),
}


def read(path: Path, **hints: Any) -> Found:
    """The network of a file that `torch.save` or `torch.jit.save` wrote; hints are `Hints`."""
    with opened(path) as file:
        with naming(path), distrusted("the file"):
            content = _content(file)
        with naming(path, wrong_choice=ValueError):
            return network_of(content, Hints(**hints))


def contents(path: Path) -> tuple[str, dict[str, str]]:
    """What kind of file it is, and what each of its tensors is."""
    with opened(path) as file, naming(path), distrusted("the file"):
        content = _content(file)
        kind = "torch's tensors"
        if isinstance(content, Holder):
            scripted = content.qualified_name.startswith("__torch__")
            kind = "TorchScript" if scripted else f"a module of torch, {content.qualified_name}"
        tensors, _ = parts_of(content)
        return kind, {name: repr(tensor) for name, tensor in tensors.items()}


class Stored:
    """A tensor in a file, read when it is asked for as an array."""

    def __init__(
        self, read: ReadStorage, storage: Any, offset: Any, shape: Any, strides: Any
    ) -> None:
        kind, self.key, count = storage
        self._read, self._kind = read, kind
        self._offset, self._strides = offset, strides
        self.shape, self.dtype = shape, _DTYPES[kind][1]
        self.itemsize = np.dtype(_DTYPES[kind][0]).itemsize
        for numbers in (shape, strides, (offset, count)):  # of any type, and their text of any size
            if not isinstance(numbers, tuple) or not all(
                type(k) is int and 0 <= k < 1 << 59
                for k in numbers  # of up to 16 bytes each
            ):
                raise ModelFormatError(
                    "expected a tensor with a shape of 0 or more, and below 2 ** 59"
                )
        if len(shape) != len(strides) or len(shape) > 8:
            raise ModelFormatError(f"{len(strides)} strides do not fit a shape of {len(shape)}")
        self._size = math.prod(shape)
        last = offset + sum((n - 1) * k for n, k in zip(shape, strides, strict=True))
        if self._size > count or (self._size and last >= count):
            raise ModelFormatError(
                f"a tensor of shape {shape} does not fit into its storage of {count} numbers"
            )
        self._bytes = count * self.itemsize

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        # as it is widened, and as a layer keeps it
        charge(2 * self._size * max(4, self.itemsize))
        with distrusted(f"storage {self.key}"):
            content = self._read(self.key, self._bytes)
        raw = np.frombuffer(content, _DTYPES[self._kind][0])
        axes = zip(self.shape, self._strides, strict=True)
        array = np.lib.stride_tricks.as_strided(
            raw[self._offset :] if self._size else raw,
            self.shape,
            [k * raw.itemsize if n > 1 and self._size else 0 for n, k in axes],
            writeable=False,
        )
        if self._kind == "BFloat16Storage":
            array = from_bfloat16(array)
        return array if dtype is None else array.astype(dtype)

    def __repr__(self) -> str:
        return f"{self.dtype} ({', '.join(map(str, self.shape))})"


def _tensor(
    read: ReadStorage,
    storage: Any,
    offset: Any = 0,
    shape: Any = (),
    strides: Any = (),
    gradient: Any = False,
    hooks: Any = None,
    metadata: Any = None,
) -> Stored | Unread:
    """A tensor of a storage; with `metadata` it stands for other numbers than are stored."""
    kind, key, count, part = _storage(storage)
    if kind not in _DTYPES:
        return Unread(f"a tensor of {kind!r:.80}")
    if part:
        return Unread("a tensor of a storage that is part of another one")
    if metadata:
        return Unread("a tensor that stands for the negative or conjugate of its numbers")
    return Stored(read, (kind, key, count), offset, shape, strides)


def _storage(value: Any) -> tuple[str, str, int, bool]:
    """The kind, key and length of a storage, and whether it is part of another one, from the
    persistent id that stands for it.
    """
    identity = value.arguments[0] if isinstance(value, Stranger) and value.arguments else None
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise ModelFormatError("a tensor has no storage")
    kind, key, _, count = identity[1:5]
    if value.named != PERSISTENT or not isinstance(kind, Named) or not isinstance(key, str):
        raise ModelFormatError("a tensor has no storage")
    return kind.name, key, count, len(identity) > 5 and identity[5] is not None


def _maker(read: ReadStorage) -> Callable[[Named, tuple[Any, ...]], Any]:
    """Makes a tensor of a call in a pickle; of a Parameter, the tensor in it."""

    def made(function: Named, arguments: tuple[Any, ...]) -> Any:
        home, name = function.module, function.name
        if home == "numpy" or home.startswith(("numpy.core.", "numpy._core.")):
            return numpys(name, arguments)
        if home in ("torch._tensor", "torch._utils") and name == "_rebuild_from_type_v2":
            return _of_type(made, *arguments[:3])
        if home in ("torch.nn.parameter", "torch.autograd.variable") or (
            home == "torch._utils"
            and name.startswith(("_rebuild_parameter", "_rebuild_device_tensor_from_numpy"))
        ):
            whole = arguments and hasattr(arguments[0], "dtype")
            return arguments[0] if whole else Unread("a parameter of no tensor")
        if home == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return _tensor(read, *arguments[:7])
        if home == "torch._utils" and name.startswith("_rebuild_"):
            return Unread(f"a tensor of another kind (torch._utils.{name:.80})")
        return None

    return made


def _of_type(made: Any, function: Any = None, kind: Any = None, arguments: Any = ()) -> Any:
    """A tensor of a subclass, or one that has attributes."""
    if not isinstance(function, Named) or not isinstance(arguments, tuple):
        raise ModelFormatError("expected a tensor with its type")
    if kind not in (Named("torch", "Tensor"), Named("torch.nn.parameter", "Parameter")):
        # anything else may be a tuple in a tuple in a tuple, whose text has no end
        named = f" ({kind})" if isinstance(kind, Named) else ""
        return Unread(f"a tensor of a class of its own{named}")
    if function.name == "_rebuild_from_type_v2":
        raise ModelFormatError("the type of a tensor has a type itself")
    return made(function, arguments)


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
    content = settled(content)
    if isinstance(content, Holder):
        return content
    if not isinstance(content, dict):
        what = repr(content) if isinstance(content, Stranger) else f"a {type(content).__name__}"
        raise ModelFormatError(
            f"expected a state_dict, a checkpoint that holds one, or a module, got {what}"
        )
    return {key: value for key, value in content.items() if isinstance(key, str)}


def _from_archive(file: IO[bytes]) -> Any:
    """A file of torch 1.6 or later, or a TorchScript archive."""
    archive, members = open_archive(file)
    if any(name.endswith(("/models/model.json", "exported_program.json")) for name in members):
        raise UnsupportedModelError(EXPORTED)
    tops = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")]
    if len(tops) != 1 or tops[0].count("/") != 1:
        raise ModelFormatError("expected one data.pkl in the archive")
    top = tops[0]
    order = members.get(f"{top}byteorder")
    if order is not None and read_member(archive, order) != b"little":
        raise UnsupportedModelError("the numbers have another byte order than little")
    raw: dict[str, bytes] = {}  # many tensors may share a storage

    def read(key: str, size: int) -> bytes:
        if key not in raw:
            info: zipfile.ZipInfo | None = members.get(f"{top}data/{key}")
            if info is None or info.file_size != size:
                there = "nothing" if info is None else f"{info.file_size} bytes"
                raise ModelFormatError(
                    f"storage {key} takes {size} bytes, but the archive has {there} for it"
                )
            raw[key] = read_member(archive, info)
        return raw[key]

    info = members[f"{top}data.pkl"]
    with lent(4 * info.file_size):  # a letter of a text takes up to four bytes
        return read_pickle(BytesIO(read_member(archive, info)), _maker(read))


def _from_pickles(file: mmap.mmap) -> Any:
    """A file of torch before 1.6, or of its old format: pickles, then the storages."""
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
        charge(size)
        return file[start : start + size]

    tensor = _maker(read)

    def made(function: Named, arguments: tuple[Any, ...]) -> Any:
        result = tensor(function, arguments)
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
