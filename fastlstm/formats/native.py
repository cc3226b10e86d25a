"""The package's own files: ``.safetensors``, ``.npz`` and ``.json``, format version 1.

All three hold the tensors under torch's names, ``weight_ih_l0`` ... ``head.bias``, and the
metadata ``{"format": "fastlstm", "version": "1", "network": {...}, "tensors": [names]}``. A
``.safetensors`` or ``.npz`` without that metadata is read as a torch file.

A file is a stranger. Each reader is a mapping of names to tensors that checks what the file
claims against what is there, before it allocates, and reads only the tensors asked for.
"""

from __future__ import annotations

import json
import math
import os
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.files import replaced
from fastlstm.formats.torch import WrongChoice, build, head_from, layers_from

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["SUFFIXES", "load", "save"]

Array = npt.NDArray[Any]

VERSION: Final = "1"
MAX_JSON: Final = 1 << 30  # bytes of a .json, which is read as a whole
MAX_HEADER: Final = 1 << 22  # bytes of a safetensors header; a network's takes a few thousand
# Trained weights hardly compress: a file that unfolds further than this is a bomb, not a model.
MAX_RATIO: Final = 100
MAX_UNCHECKED: Final = 1 << 24  # bytes that may unfold at any ratio: an array of zeros is small

Metadata = Mapping[str, Any]
Opened = tuple[Mapping[str, Any], Metadata | None]


# Writing


def save(model: LSTM, path: str | os.PathLike[str]) -> Path:
    """Write a model by the suffix of the path; all or nothing.

    The file appears under its name when it is complete and on the disk, so that a reader or a
    crash never meets half of it.

    Parameters
    ----------
    model : LSTM
    path : path
        Ending in ``.safetensors``, ``.npz`` or ``.json``.

    Returns
    -------
    Path
        Where the model is, for ``load(model.save(path))``.

    Raises
    ------
    ValueError
        If the suffix is another one.
    OSError
        If the file cannot be written there.
    ImportError
        If it is ``.safetensors`` and the package safetensors is missing.
    """
    path = Path(path)
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise ValueError(f"{path}: expected a suffix of {', '.join(SUFFIXES)}")
    network = {"layers": len(model.layers), "return_sequences": model.return_sequences}
    tensors = _tensors_of(model)
    metadata = {
        "format": "fastlstm",
        "version": VERSION,
        "network": network,
        "tensors": sorted(tensors),  # so that none is lost unnoticed, nor smuggled in
    }
    with replaced(path) as file:
        write(file, tensors, metadata)
    return path


def _tensors_of(model: LSTM) -> dict[str, Array]:
    named: dict[str, Array | None] = {}
    for k, layer in enumerate(model.layers):
        named[f"weight_ih_l{k}"] = layer.w_ih
        named[f"weight_hh_l{k}"] = layer.w_hh
        named[f"bias_ih_l{k}"] = layer.b_ih
        named[f"bias_hh_l{k}"] = layer.b_hh
    for dense in model.head:
        named["head.weight"] = dense.weight
        named["head.bias"] = dense.bias
    return {name: tensor for name, tensor in named.items() if tensor is not None}


def _write_safetensors(file: IO[bytes], tensors: dict[str, Array], metadata: Metadata) -> None:
    _safetensors()
    from safetensors.numpy import save as to_bytes

    # Its metadata are strings only.
    texts = {key: json.dumps(metadata[key]) for key in ("network", "tensors")}
    file.write(to_bytes(tensors, {**metadata, **texts}))


def _write_npz(file: IO[bytes], tensors: dict[str, Array], metadata: Metadata) -> None:
    # without allow_pickle=False, which NumPy before 2.2 would store as an array of that name
    arrays: dict[str, Any] = {"fastlstm": np.array(json.dumps(metadata)), **tensors}
    np.savez(file, **arrays)


def _write_json(file: IO[bytes], tensors: dict[str, Array], metadata: Metadata) -> None:
    # A float's repr, a float32's too, is read back as the same bits.
    content = {
        name: {"dtype": str(tensor.dtype), "shape": tensor.shape, "values": tensor.tolist()}
        for name, tensor in tensors.items()
    }
    file.write(json.dumps({"fastlstm": metadata, "tensors": content}).encode())


# Reading


def load(path: str | os.PathLike[str], **options: Any) -> LSTM:
    """Read a model that `save` wrote, or torch's tensors; see `fastlstm.load`."""
    path = Path(path)
    open_tensors = _READERS[path.suffix.lower()]
    with open(path, "rb", opener=_open_at_once) as file:
        with _naming(path), _distrusted("the file"):
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ModelFormatError("expected a regular file, not a device or a pipe")
            tensors, metadata = open_tensors(file)
        if metadata is None:
            with _naming(path, wrong_choice=ValueError):
                return build(tensors, **options)
        if options:
            raise TypeError(
                f"{path} was saved by fastlstm and takes no options, got {sorted(options)}"
            )
        with _naming(path):
            return _from_own(tensors, metadata)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for a writer


@contextmanager
def _naming(path: Path, wrong_choice: type[ValueError] = ModelFormatError) -> Iterator[None]:
    """Name the file in the errors that it causes."""
    try:
        yield
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{path}: {error}") from error
    except WrongChoice as error:
        raise wrong_choice(f"{path}: {error}") from error
    except ValueError as error:
        raise ModelFormatError(f"{path}: {error}") from error


@contextmanager
def _distrusted(what: str) -> Iterator[None]:
    """A damaged file makes zipfile, zlib, json and NumPy raise nearly anything: one error of it."""
    try:
        yield
    except (ModelFormatError, UnsupportedModelError, ImportError):
        raise
    except Exception as error:
        flaw = str(error) or type(error).__name__
        raise ModelFormatError(f"{what} is damaged: {flaw}") from error


def _from_own(tensors: Mapping[str, Any], metadata: Metadata) -> LSTM:
    from fastlstm.model import LSTM

    if metadata.get("format") != "fastlstm":
        raise ModelFormatError(f"expected the format 'fastlstm', got {metadata.get('format')!r}")
    if metadata.get("version") != VERSION:
        raise UnsupportedModelError(
            f"this fastlstm reads files of version {VERSION}, got {metadata.get('version')!r}; "
            "a later fastlstm has written it"
        )
    network = metadata.get("network")
    if not isinstance(network, dict):
        raise ModelFormatError(f"expected a network in the metadata, got {network!r}")
    if unknown := network.keys() - {"layers", "return_sequences"}:
        raise UnsupportedModelError(f"this version does not compute the options {sorted(unknown)}")
    layers, return_sequences = network.get("layers"), network.get("return_sequences")
    if type(layers) is not int or type(return_sequences) is not bool:
        raise ModelFormatError(
            "expected a number of layers and a return_sequences of true or false, "
            f"got {layers!r} and {return_sequences!r}"
        )
    _require_all(tensors, metadata.get("tensors"))
    stack = layers_from(tensors)
    if len(stack) != layers:
        raise ModelFormatError(f"expected {layers} layers, found tensors of {len(stack)}")
    head = head_from(tensors, "head") if "head.weight" in tensors else None
    model = LSTM(stack, head=head, return_sequences=return_sequences)
    if spare := tensors.keys() - _tensors_of(model).keys():
        raise ModelFormatError(f"unknown tensors {sorted(spare)}")
    return model


def _require_all(tensors: Mapping[str, Any], names: Any) -> None:
    """Compare the tensors with the list of them in the metadata."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelFormatError(f"expected a list of tensors in the metadata, got {names!r}")
    if missing := set(names) - tensors.keys():
        raise ModelFormatError(f"tensors are missing: {sorted(missing)}")
    if extra := tensors.keys() - set(names):
        raise ModelFormatError(f"tensors that the metadata do not list: {sorted(extra)}")


def _parse_json(text: Any) -> Any:
    """JSON without what Python adds to it: no NaN, no infinity, no name given twice."""
    if not isinstance(text, (str, bytes)):
        raise ModelFormatError(f"expected JSON text, got {text!r}")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ModelFormatError("a name is given twice")
        return found

    def refuse(word: str) -> None:
        raise ModelFormatError(f"expected finite numbers, got {word}")

    return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)


class _Tensors(Mapping[str, Array]):
    """Names to tensors; `read` is called for those that are asked for."""

    def __init__(self, entries: Mapping[str, Any], read: Callable[[str, Any], Array]) -> None:
        self._entries, self._read = entries, read

    def __getitem__(self, name: str) -> Array:
        entry = self._entries[name]
        with _distrusted(name):
            return self._read(name, entry)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


# .json


def _open_json(file: IO[bytes]) -> Opened:
    size = os.fstat(file.fileno()).st_size
    if size > MAX_JSON:
        raise ModelFormatError(
            f"{size} bytes of JSON; expected at most {MAX_JSON}: save large models as "
            ".safetensors or .npz"
        )
    content = _parse_json(file.read(size))
    if not isinstance(content, dict) or content.keys() != {"fastlstm", "tensors"}:
        raise ModelFormatError("not a network of fastlstm: expected 'fastlstm' and 'tensors'")
    tensors, metadata = content["tensors"], content["fastlstm"]
    if not isinstance(tensors, dict) or not isinstance(metadata, dict):
        raise ModelFormatError("expected 'fastlstm' and 'tensors' to be objects")
    return _Tensors(tensors, _json_tensor), metadata


def _json_tensor(name: str, entry: Any) -> Array:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "values"}:
        raise ModelFormatError(f"{name}: expected 'dtype', 'shape' and 'values'")
    if entry["dtype"] not in ("float32", "float64"):
        raise UnsupportedModelError(f"{name}: expected float32 or float64, got {entry['dtype']!r}")
    try:
        values = np.array(entry["values"])
    except ValueError:
        raise ModelFormatError(f"{name}: the lists of numbers are of unequal length") from None
    if values.dtype.kind not in "fiu":
        raise ModelFormatError(f"{name}: expected lists of numbers")
    if list(values.shape) != entry["shape"]:
        raise ModelFormatError(
            f"{name}: expected values of shape {entry['shape']}, got {list(values.shape)}"
        )
    with np.errstate(over="ignore"):  # an infinite weight is refused by name later
        return values.astype(entry["dtype"])


# .npz

_KINDS: Final = {"numbers": "fiubc", "text": "U"}  # of dtypes; never objects, never records


def _open_npz(file: IO[bytes]) -> Opened:
    archive = zipfile.ZipFile(file)
    _require_whole_directory(file, archive)
    size, unfolded = os.fstat(file.fileno()).st_size, sum(m.file_size for m in archive.infolist())
    if unfolded > max(MAX_UNCHECKED, MAX_RATIO * size):
        raise ModelFormatError(
            f"refuses to unfold {size} bytes to {unfolded}: weights do not compress like that; "
            "save them uncompressed (numpy.savez)"
        )
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name == info.filename:
            raise ModelFormatError(f"expected arrays (.npy) only, got {info.filename!r}")
        if name in entries:
            raise ModelFormatError(f"the name {name!r} is given twice")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelFormatError(f"{name}: expected it stored or deflated, as numpy.savez does")
        entries[name] = info

    own = entries.pop("fastlstm", None)
    tensors = _Tensors(entries, lambda name, info: _npz_tensor(archive, name, info, "numbers"))
    if own is None:
        return tensors, None
    text = _npz_tensor(archive, "fastlstm", own, "text")
    metadata = _parse_json(text.item()) if text.ndim == 0 else None
    if not isinstance(metadata, dict):
        raise ModelFormatError("expected metadata under 'fastlstm'")
    return tensors, metadata


def _require_whole_directory(file: IO[bytes], archive: zipfile.ZipFile) -> None:
    """A damaged length in the directory makes zipfile skip the members behind it silently."""
    end = file.seek(0, os.SEEK_END) - 22
    file.seek(max(end, 0))
    signature, _, _, _, count, size, start, comment = struct.unpack("<4s4H2LH", file.read(22))
    if signature != b"PK\5\6" or comment:
        raise ModelFormatError("expected nothing behind the directory of the archive, no comment")
    file.seek(max(end - 20, 0))
    if file.read(4) == b"PK\6\7":  # more or larger than 16 or 32 bits say: a zip64 record before
        file.seek(max(end := end - 20 - 56, 0))
        signature, count, size, start = struct.unpack("<4s28x3Q", file.read(56))
        if signature != b"PK\6\6":
            raise ModelFormatError("the zip64 record of the archive is damaged")
    if start + size != end:
        raise ModelFormatError("expected nothing before the archive nor behind its directory")
    if count != len(archive.infolist()):
        raise ModelFormatError(f"expected {count} arrays, found {len(archive.infolist())}")
    if commented := [info.filename for info in archive.infolist() if info.comment]:
        raise ModelFormatError(f"expected no comments, {commented[0]!r} has one")


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
        data = member.read()  # to the end, where the checksum is compared
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _read_npy_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(member)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(member)
    raise ValueError(f"expected an array of .npy version 1 or 2, got {version}")


# .safetensors


def _safetensors() -> Any:
    try:
        import safetensors
    except ImportError:
        raise ImportError(
            'reading and writing .safetensors needs a package: pip install "fastlstm[safetensors]"'
        ) from None
    return safetensors


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
    entries = _parse_json(header)
    start = 8 + length

    def read(name: str, entry: Any) -> Array:
        dtype = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}.get(entry["dtype"])
        if dtype is None:
            raise UnsupportedModelError(f"{name}: expected floats, got {entry['dtype']}")
        first, last = entry["data_offsets"]
        file.seek(start + first)
        array: Array = np.frombuffer(file.read(last - first), dtype).reshape(entry["shape"])
        if entry["dtype"] == "BF16":  # the upper half of a float32
            array = (array.astype(np.uint32) << 16).view(np.float32)
        return array

    tensors, metadata = _Tensors(entries, read), entries.pop("__metadata__", None)
    if metadata is None or metadata.get("format") != "fastlstm":
        return tensors, None
    texts = {key: _parse_json(metadata[key]) for key in ("network", "tensors") if key in metadata}
    return tensors, {**metadata, **texts}


Writer = Callable[[IO[bytes], dict[str, Array], Metadata], None]
_WRITERS: dict[str, Writer] = {
    ".safetensors": _write_safetensors,
    ".npz": _write_npz,
    ".json": _write_json,
}
_READERS: dict[str, Callable[[IO[bytes]], Opened]] = {
    ".safetensors": _open_safetensors,
    ".npz": _open_npz,
    ".json": _open_json,
}
SUFFIXES: Final = tuple(_WRITERS)
