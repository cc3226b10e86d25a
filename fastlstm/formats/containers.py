"""Named tensors and metadata in ``.safetensors``, ``.npz`` and ``.json``, to write and to read.

`fastlstm.formats.native` and `fastlstm.formats.torch` know what the tensors mean.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.archives import open_archive
from fastlstm.formats.budget import charge
from fastlstm.formats.floats import from_bfloat16
from fastlstm.formats.trust import Tensors, numbers, parse_json

__all__ = ["READERS", "WRITERS", "Metadata", "json_tensors"]

Array = npt.NDArray[Any]
Metadata = Mapping[str, Any]
Opened = tuple[Tensors, Metadata | None]

MAX_HEADER: Final = 1 << 22  # bytes of a safetensors header; a network's takes a few thousand
MAX_NPY_HEADER: Final = 10_000  # bytes, as NumPy has it


# .json


def _write_json(file: IO[bytes], tensors: dict[str, Array], metadata: Metadata) -> None:
    # A float's repr, a float32's too, is read back as the same bits.
    content = {
        name: {"dtype": str(tensor.dtype), "shape": tensor.shape, "values": tensor.tolist()}
        for name, tensor in tensors.items()
    }
    file.write(json.dumps({"fastlstm": metadata, "tensors": content}).encode())


def json_tensors(content: Any) -> tuple[Tensors, Metadata]:
    """Return the tensors and metadata of a parsed file that `WRITERS` wrote."""
    if not isinstance(content, dict) or content.keys() != {"fastlstm", "tensors"}:
        raise ModelFormatError("not a network of fastlstm: expected 'fastlstm' and 'tensors'")
    tensors, metadata = content["tensors"], content["fastlstm"]
    if not isinstance(tensors, dict) or not isinstance(metadata, dict):
        raise ModelFormatError("expected 'fastlstm' and 'tensors' to be objects")
    return Tensors(tensors, _json_tensor, _json_shape), metadata


def _json_tensor(name: str, entry: Any) -> Array:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "values"}:
        raise ModelFormatError(f"{name}: expected 'dtype', 'shape' and 'values'")
    if entry["dtype"] not in ("float32", "float64"):
        raise UnsupportedModelError(f"{name}: expected float32 or float64, got {entry['dtype']!r}")
    values = numbers(name, entry["values"], entry["dtype"])
    if list(values.shape) != entry["shape"]:
        raise ModelFormatError(
            f"{name}: expected values of shape {entry['shape']}, got {list(values.shape)}"
        )
    return values


def _json_shape(name: str, entry: Any) -> str:
    return _text(entry["dtype"], entry["shape"])


# .npz

_KINDS: Final = {"numbers": "fiubc", "text": "U"}  # of dtypes; never objects, never records


def _write_npz(file: IO[bytes], tensors: dict[str, Array], metadata: Metadata) -> None:
    # without allow_pickle=False, which NumPy before 2.2 would store as an array of that name
    arrays: dict[str, Any] = {"fastlstm": np.array(json.dumps(metadata)), **tensors}
    np.savez(file, **arrays)


def _open_npz(file: IO[bytes]) -> Opened:
    archive, members = open_archive(file)
    if odd := [name for name in members if not name.endswith(".npy")]:
        raise ModelFormatError(f"expected arrays (.npy) only, got {odd[0]!r}")
    entries = {name.removesuffix(".npy"): info for name, info in members.items()}

    def shape(name: str, info: zipfile.ZipInfo) -> str:
        with archive.open(info) as member:
            shape, _, dtype = _read_npy_header(member)
        return _text(dtype, shape)

    own = entries.pop("fastlstm", None)
    tensors = Tensors(
        entries, lambda name, info: _npz_tensor(archive, name, info, "numbers"), shape
    )
    if own is None:
        return tensors, None
    text = _npz_tensor(archive, "fastlstm", own, "text")
    metadata = parse_json(text.item()) if text.ndim == 0 else None
    if not isinstance(metadata, dict):
        raise ModelFormatError("expected metadata under 'fastlstm'")
    return tensors, metadata


def _npz_tensor(archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo, what: str) -> Array:
    with archive.open(info) as member:
        shape, fortran, dtype = _read_npy_header(member)
        if dtype.kind not in _KINDS[what]:
            raise ModelFormatError(f"{name}: expected {what}, got {dtype}")
        if any(length < 0 for length in shape):
            raise ModelFormatError(f"{name}: a negative length in the shape {shape}")
        claimed, there = math.prod(shape) * dtype.itemsize, info.file_size - member.tell()
        if claimed != there:
            raise ModelFormatError(
                f"{name}: {dtype} of shape {shape} takes {claimed} bytes, there are {there}"
            )
        charge(3 * claimed)  # as read, widened, in a layer
        data = member.read(claimed)  # to the end, where the checksum is compared
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _read_npy_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    if version not in _LENGTHS:
        raise ValueError(f"expected an array of .npy version 1 or 2, got {version}")
    kind, read = _LENGTHS[version]
    length = member.read(kind)
    size = int.from_bytes(length, "little")
    if size > MAX_NPY_HEADER:
        raise ValueError(f"expected a header of {MAX_NPY_HEADER} bytes at most, got {size}")
    charge(steps=50 + size / 4)
    header: tuple[tuple[int, ...], bool, np.dtype[Any]] = read(BytesIO(length + member.read(size)))
    return header


# Of a version of .npy: bytes of the header's length, and what reads both.
_LENGTHS: Final[dict[tuple[int, int], tuple[int, Callable[[IO[bytes]], Any]]]] = {
    (1, 0): (2, np.lib.format.read_array_header_1_0),
    (2, 0): (4, np.lib.format.read_array_header_2_0),
}


# .safetensors

_DTYPES: Final = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def _safetensors() -> Any:
    try:
        import safetensors
    except ImportError:
        raise ImportError(
            'reading and writing .safetensors needs a package: pip install "fastlstm[safetensors]"'
        ) from None
    return safetensors


def _write_safetensors(file: IO[bytes], tensors: dict[str, Array], metadata: Metadata) -> None:
    _safetensors()
    from safetensors.numpy import save as to_bytes

    # Its metadata are strings only.
    texts = {key: json.dumps(metadata[key]) for key in ("network", "tensors")}
    file.write(to_bytes(tensors, {**metadata, **texts}))


def _open_safetensors(file: IO[bytes]) -> Opened:
    package = _safetensors()
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise ModelFormatError(f"a header of {length} bytes; expected at most {MAX_HEADER}")
    header = file.read(length)
    try:
        with package.safe_open(file.name, framework="numpy"):
            pass  # it has checked the header: dtypes, shapes and offsets fit and fill the file
    except package.SafetensorError as error:
        raise ModelFormatError(str(error)) from None
    entries = parse_json(header)
    start = 8 + length

    def read(name: str, entry: Any) -> Array:
        dtype = _DTYPES.get(entry["dtype"])
        if dtype is None:
            raise UnsupportedModelError(f"{name}: expected floats, got {entry['dtype']}")
        first, last = entry["data_offsets"]
        charge((6 if dtype[-1] == "2" else 3) * (last - first))  # as read, widened, in a layer
        file.seek(start + first)
        array: Array = np.frombuffer(file.read(last - first), dtype).reshape(entry["shape"])
        if entry["dtype"] == "BF16":  # the upper half of a float32
            array = from_bfloat16(array)
        return array

    metadata = entries.pop("__metadata__", None)
    tensors = Tensors(entries, read, _json_shape)
    if metadata is None or metadata.get("format") != "fastlstm":
        return tensors, None
    texts = {key: parse_json(metadata[key]) for key in ("network", "tensors") if key in metadata}
    return tensors, {**metadata, **texts}


def _text(dtype: Any, shape: Any) -> str:
    return f"{dtype} ({', '.join(map(str, shape))})"


Writer = Callable[[IO[bytes], dict[str, Array], Metadata], None]
WRITERS: Final[dict[str, Writer]] = {
    ".safetensors": _write_safetensors,
    ".npz": _write_npz,
    ".json": _write_json,
}
READERS: Final[dict[str, Callable[[IO[bytes]], Opened]]] = {
    ".safetensors": _open_safetensors,
    ".npz": _open_npz,
}
