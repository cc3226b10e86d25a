"""The header of an ``.npy`` file: checked before anything is made of it."""

from __future__ import annotations

import io
import math
from tokenize import TokenError
from typing import IO, Any, NamedTuple

import numpy as np

__all__ = ["HEADER_BYTES", "Header", "read_header", "read_header_of"]

# What NumPy raises for bytes that are not a header.
NOT_A_HEADER = (
    EOFError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
)
MOST_BYTES, MOST_AXES = 2**63 - 1, 32  # of an array
HEADER_BYTES = 2**14  # in which a header must end


class Header(NamedTuple):
    """What an ``.npy`` file says before its numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool  # the first index varies fastest
    offset: int  # of the first number

    @property
    def size(self) -> int:
        """How many bytes the numbers take."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(data: bytes, name: str, kind: str = "an .npy file") -> Header:
    """Read a header from the first bytes of a file.

    Parameters
    ----------
    data
        At least as many as the header has.
    name, kind
        What messages call the file, and what was expected of it.

    Raises
    ------
    ValueError
        It is not a header, or not of an array of numbers.
    """
    return read_header_of(io.BytesIO(data), name, kind)


def read_header_of(stream: IO[bytes], name: str, kind: str = "an .npy file") -> Header:
    """Read a header from a stream, which then stands at the first number; see `read_header`."""
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
        else:
            raise ValueError(f"version {version}")
    except NOT_A_HEADER as error:
        raise ValueError(f"{name}: expected {kind} of numbers: {error}") from None
    _check_header(shape, dtype, name, kind)
    # a single column is in both orders, and is read faster in C order
    both = sum(n != 1 for n in shape) <= 1
    return Header(shape, dtype, fortran and not both, stream.tell() if stream.seekable() else 0)


def _check_header(
    shape: tuple[int, ...], dtype: np.dtype[Any], name: str, kind: str = "an .npy file"
) -> None:
    """Refuse an array of objects, of numbers without a size, or larger than memory can be."""
    sizes = [max(n, 1) for n in shape]
    if dtype.hasobject or not dtype.itemsize or min(shape, default=0) < 0:
        raise ValueError(f"{name}: expected {kind} of numbers, got {dtype} of shape {shape}")
    if math.prod(sizes) * dtype.itemsize > MOST_BYTES or len(shape) > MOST_AXES:
        raise ValueError(f"{name}: expected {kind} of numbers, got one of impossible shape {shape}")
