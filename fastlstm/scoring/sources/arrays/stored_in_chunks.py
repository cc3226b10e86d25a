"""Arrays that are stored in chunks, as in Zarr and HDF5: each chunk is decoded once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.scoring.sources.arrays.file import ArrayFile

__all__ = ["PACKING", "ChunkedFile", "choose", "refuse_packed"]

Array = npt.NDArray[Any]

# Attributes that make numbers stand for others, by netCDF's conventions.
PACKING = ("scale_factor", "add_offset", "_FillValue", "missing_value")
MOST_HELD = 2**27  # bytes of decoded rows that are kept for the next read


class ChunkedFile(ArrayFile):
    """An array of zarr or h5py.

    What is read at a time may end within a stored chunk, so the rows of that chunk are kept for
    the next read, if they are not too large.

    Parameters
    ----------
    name
        The file, and the path of the array in it.
    array
        Has ``shape``, ``dtype`` and ``chunks`` (or None), and gives NumPy arrays by slices.
    identity
        As of an `ArrayFile`.
    close
        Closes the file.
    lacks
        Tells whether the chunk at some coordinates is missing; None if none can be.
    """

    def __init__(
        self,
        name: str,
        array: Any,
        identity: Callable[[], dict[str, Any]],
        close: Callable[[], None],
        lacks: Callable[[tuple[int, ...]], bool] | None = None,
    ) -> None:
        self.name, self.array, self.lacks = name, array, lacks
        self._identity, self._close = identity, close
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.dtype = np.dtype(array.dtype) if _is_plain(array.dtype) else np.dtype(object)
        self.chunk_rows = int(array.chunks[0]) if array.chunks else 0  # of a stored chunk
        size = self.chunk_rows * math.prod(self.shape[1:]) * self.dtype.itemsize
        self.holds = 0 < size <= MOST_HELD
        # twice: the rows that are kept, and those that are being decoded
        self.held = 2 * min(size, self.dtype.itemsize * math.prod(self.shape)) if self.holds else 0
        self.last: tuple[int, Array] = (
            -1,
            np.empty(0),
        )  # the number of the chunk whose rows are kept, and the rows

    def read(self, rows: slice, steps: slice) -> Array:
        first, last, _ = rows.indices(self.shape[0])
        inner = (steps,) if len(self.shape) > 1 else ()
        if not self.holds:
            return self._get((slice(first, last), *inner))
        parts: list[Array] = []
        while first < last or not parts:
            number, inside = divmod(first, self.chunk_rows)
            end = last if last == self.shape[0] else last - last % self.chunk_rows
            if inside == 0 and first < end and steps in (slice(None), slice(0, self._steps)):
                parts.append(self._get((slice(first, end),)))  # whole chunks
            else:
                end = min((number + 1) * self.chunk_rows, last)
                held = self._kept(number)[inside : inside + end - first]
                parts.append(held[:, steps] if inner else held)
            first = end
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def missing(self, rows: slice, steps: slice) -> npt.NDArray[np.bool_] | None:
        if self.lacks is None or 0 in self.shape:
            return None
        sizes = [int(n) for n in getattr(self.array, "shards", None) or self.array.chunks]
        ranges = [
            range(*part.indices(n)) for part, n in zip((rows, steps), self.shape, strict=False)
        ]
        if 0 in map(len, ranges):
            return None
        ranges += [range(n) for n in self.shape[len(ranges) :]]
        touched = [
            range(part[0] // size, part[-1] // size + 1)
            for part, size in zip(ranges, sizes, strict=True)
        ]
        lacking = [at for at in itertools.product(*touched) if self.lacks(at)]
        if not lacking:
            return None
        gone = np.zeros([len(part) for part in ranges[:2]], bool)
        for at in lacking:
            inside = [
                slice(max(k * size - part[0], 0), (k + 1) * size - part[0])
                for k, size, part in zip(at[:2], sizes, ranges, strict=False)
            ]
            gone[tuple(inside)] = True
        return gone

    @property
    def _steps(self) -> int:
        return self.shape[1] if len(self.shape) > 1 else 1

    def _kept(self, number: int) -> Array:
        """Return the rows of all chunks that begin at one row."""
        if self.last[0] != number:
            self.last = -1, np.empty(0)
            first = number * self.chunk_rows
            last = min(first + self.chunk_rows, self.shape[0])
            self.last = number, self._get((slice(first, last),))
        return self.last[1]

    def identity(self) -> dict[str, Any]:
        return self._identity()

    def _get(self, index: tuple[slice, ...]) -> Array:
        try:
            values: Array = np.asarray(self.array[index])
        except (KeyError, OSError, RuntimeError, ValueError) as error:
            where = f"{index[0].start:,} ... {index[0].stop - 1:,}"
            text = " ".join(str(error).split())
            raise OSError(f"{self.name}: cannot read rows {where}: {text}") from None
        return values

    def close(self) -> None:
        self.last = -1, np.empty(0)
        self._close()


def choose(name: str, inner: str | None, arrays: Mapping[str, Any]) -> str:
    """Return the path of the array that a source means.

    Parameters
    ----------
    name
        The file.
    inner
        The path that was given, None for the only array.
    arrays
        All arrays by their path, without a leading slash.

    Raises
    ------
    ValueError
        There is no such array, or there are several and none was named.
    """
    path = None if inner is None else inner.strip("/")
    if path is None and len(arrays) == 1:
        (path,) = arrays
    if path is None or path not in arrays:
        there = ", ".join(f"/{key} {tuple(array.shape)}" for key, array in sorted(arrays.items()))
        wanted = f"no array /{path}" if path else f"{len(arrays)} arrays"
        choice = f": {there}; choose one as {name}:/{min(arrays)}" if arrays else ""
        raise ValueError(f"{name} holds {wanted}{choice}")
    return path


def refuse_packed(name: str, attributes: Mapping[str, Any]) -> None:
    """Refuse numbers that are packed by netCDF's conventions: they are not converted here.

    Raises
    ------
    ValueError
        They are scaled, or a number other than NaN marks missing values.
    """
    for key in PACKING:
        if key not in attributes:
            continue
        value = attributes[key]
        if key in ("_FillValue", "missing_value") and _is_nan(value):
            continue
        raise ValueError(
            f"{name} has the attribute {key} = {value!r}: packed numbers are not supported; write "
            "the array unpacked, with NaN for missing values"
        )


def _is_nan(value: Any) -> bool:
    if isinstance(value, str):  # xarray writes its bytes in base64
        return value in ("AAAAAAAA+H8=", "AADAfw==", "NaN")
    try:
        return bool(np.isnan(np.asarray(value, np.float64)).all())
    except (TypeError, ValueError):
        return False


def _is_plain(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and not dtype.hasobject
