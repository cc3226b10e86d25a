"""Tensors of ONNX files as NumPy arrays; what a tensor claims is compared with what is there."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.budget import charge, current
from fastlstm.formats.floats import from_bfloat16

__all__ = ["Folder", "to_array"]

Array = npt.NDArray[Any]
Folder = Path | None  # where a model's external data may be; None if it came without a file

# TensorProto.DataType: NumPy's dtype of the raw bytes, and the field of the unpacked numbers.
_KINDS: Final[dict[int, tuple[str, str]]] = {
    1: ("<f4", "float_data"),
    2: ("|u1", "int32_data"),
    3: ("|i1", "int32_data"),
    4: ("<u2", "int32_data"),
    5: ("<i2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("|b1", "int32_data"),
    10: ("<f2", "int32_data"),  # as bits
    11: ("<f8", "double_data"),
    12: ("<u4", "uint64_data"),
    13: ("<u8", "uint64_data"),
    16: ("<u2", "int32_data"),  # bfloat16, the upper half of a float32
}
_FLOAT16, _BFLOAT16 = 10, 16
_EXTERNAL = 1  # TensorProto.DataLocation


def to_array(tensor: Any, folder: Folder = None) -> Array:
    """A ``TensorProto`` as an array; ``bfloat16`` as ``float32``.

    Raises
    ------
    ModelFormatError
        If there are more or fewer numbers than the shape claims.
    UnsupportedModelError
        If the numbers are of another kind, such as text or 4 bits.
    """
    shape = tuple(tensor.dims)
    if tensor.data_type not in _KINDS:
        raise UnsupportedModelError(
            f"tensor {tensor.name!r}: this version reads floats, integers and bools, "
            f"got ONNX's data type {tensor.data_type}"
        )
    kind, field = _KINDS[tensor.data_type]
    dtype = np.dtype(kind)
    if any(length < 0 for length in shape):
        raise ModelFormatError(f"tensor {tensor.name!r}: a negative length in the shape {shape}")
    count = math.prod(shape)
    if tensor.data_location == _EXTERNAL:
        raw = _external(tensor, folder, count * dtype.itemsize)
    elif tensor.HasField("raw_data"):
        raw = tensor.raw_data
    else:
        numbers = getattr(tensor, field)
        if len(numbers) != count:
            raise ModelFormatError(
                f"tensor {tensor.name!r}: a shape of {shape} is {count} numbers, "
                f"there are {len(numbers)}"
            )
        bits = tensor.data_type == _FLOAT16
        values = np.array(numbers, np.uint16 if bits else dtype)
        raw = values.tobytes()
    if len(raw) != count * dtype.itemsize:
        raise ModelFormatError(
            f"tensor {tensor.name!r}: a shape of {shape} takes {count * dtype.itemsize} bytes, "
            f"there are {len(raw)}"
        )
    charge((4 if tensor.data_type == _BFLOAT16 else 2) * len(raw), elements=count)
    array = np.frombuffer(raw, dtype).reshape(shape)
    if tensor.data_type == _BFLOAT16:
        array = from_bfloat16(array)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _external(tensor: Any, folder: Folder, size: int) -> bytes:
    """The bytes of a tensor that are kept in a file beside the model's."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    name = f"tensor {tensor.name!r}"
    if folder is None:
        raise UnsupportedModelError(
            f"{name}: its data is in the file {entries.get('location')!r}; load the model by its "
            "path, or with its data"
        )
    root = Path(os.path.realpath(folder))
    path = Path(os.path.realpath(root / entries.get("location", "")))
    if root not in path.parents:
        raise ModelFormatError(
            f"{name}: its data would be outside of the model's folder: {entries.get('location')!r}"
        )
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
    except ValueError:
        raise ModelFormatError(f"{name}: expected offset and length, got {entries}") from None
    try:
        status = os.stat(path)
    except OSError as error:
        raise ModelFormatError(f"{name}: its data file {path.name!r}: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise ModelFormatError(f"{name}: expected a regular file {path.name!r}")
    if length != size or offset < 0 or offset + size > status.st_size:
        raise ModelFormatError(
            f"{name}: expected {size} bytes, got {length} at {offset} in {path.name!r} "
            f"of {status.st_size} bytes"
        )
    current().grow_to(str(path), offset + size)
    charge(size)
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(size)
