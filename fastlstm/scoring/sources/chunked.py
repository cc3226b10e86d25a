"""Arrays that are stored in chunks, such as those of Zarr and HDF5, and are decoded once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["PACKING", "ChunkedFile", "choose", "refuse_packed"]

Array = npt.NDArray[Any]

# By netCDF's conventions numbers with these attributes stand for others.
PACKING = ("scale_factor", "add_offset", "_FillValue", "missing_value")
MOST_HELD = 2**27  # bytes of decoded rows that are held back


class ChunkedFile:
    """An array of zarr or h5py; see `ArrayFile`.

    The rows of a chunk are held until the next ones are read, if they are not too many: what is
    read at a time may be less than a chunk, or end within one.

    Parameters
    ----------
    name
        The file, and what is meant in it.
    array
        What has ``shape``, ``dtype``, ``chunks`` (or None), and gives arrays by slices.
    identity
        Returns what tells it from a changed one.
    close
        Closes the file.
    lacks
        Tells whether the chunk of some coordinates is missing; None if that cannot be.
    """

    def __init__(
        self,
        name: str,
        array: Any,
        identity: Callable[[], dict[str, Any]],
        close: Callable[[], None],
        lacks: Callable[[tuple[int, ...]], bool] | None = None,
    ) -> None:
        self.name, self.array, self.identity, self._close = name, array, identity, close
        self.lacks = lacks
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.dtype = np.dtype(array.dtype) if _is_plain(array.dtype) else np.dtype(object)
        self.block = int(array.chunks[0]) if array.chunks else 0  # rows of a chunk
        size = self.block * math.prod(self.shape[1:]) * self.dtype.itemsize
        self.holds = 0 < size <= MOST_HELD
        # once as it is held, once as it is decoded
        self.held = 2 * min(size, self.dtype.itemsize * math.prod(self.shape)) if self.holds else 0
        self.last: tuple[int, Array] = -1, np.empty(0)  # number of a block, and its rows

    def read(self, rows: slice, steps: slice) -> Array:
        """See `ArrayFile`."""
        first, last, _ = rows.indices(self.shape[0])
        inner = (steps,) if len(self.shape) > 1 else ()
        if not self.holds:
            return self._get((slice(first, last), *inner))
        parts: list[Array] = []
        while first < last or not parts:
            number, inside = divmod(first, self.block)
            end = last if last == self.shape[0] else last - last % self.block
            if inside == 0 and first < end and steps in (slice(None), slice(0, self._steps)):
                parts.append(self._get((slice(first, end),)))  # blocks as a whole
            else:
                end = min((number + 1) * self.block, last)
                held = self._block(number)[inside : inside + end - first]
                parts.append(held[:, steps] if inner else held)
            first = end
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def missing(self, rows: slice, steps: slice) -> npt.NDArray[np.bool_] | None:
        """See `ArrayFile`."""
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

    def _block(self, number: int) -> Array:
        if self.last[0] != number:
            self.last = -1, np.empty(0)
            first = number * self.block
            last = min(first + self.block, self.shape[0])
            self.last = number, self._get((slice(first, last),))
        return self.last[1]

    def _get(self, index: tuple[slice, ...]) -> Array:
        try:
            values: Array = np.asarray(self.array[index])
        except (KeyError, OSError, RuntimeError, ValueError) as error:
            where = f"{index[0].start:,} ... {index[0].stop - 1:,}"
            text = " ".join(str(error).split())
            raise OSError(f"{self.name}: cannot read rows {where}: {text}") from None
        return values

    def close(self) -> None:
        """See `ArrayFile`."""
        self.last = -1, np.empty(0)
        self._close()


def choose(name: str, inner: str | None, arrays: Mapping[str, Any]) -> str:
    """Return the path of the array that is meant.

    Parameters
    ----------
    name
        The file.
    inner
        The path in it that was asked for, None for the only one.
    arrays
        All arrays by path, without a slash before it.

    Raises
    ------
    ValueError
        There is no such array, or none, or several and none was asked for.
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
    """Refuse numbers that stand for others by netCDF's conventions: they are not converted here.

    Raises
    ------
    ValueError
        They are scaled, or one of them marks missing values and is not NaN.
    """
    for key in PACKING:
        if key not in attributes:
            continue
        value = attributes[key]
        if key in ("_FillValue", "missing_value") and _is_nan(value):
            continue
        raise ValueError(
            f"{name} has the attribute {key} = {value!r}: its numbers stand for others, which is "
            "not supported; write it unpacked, with NaN for what is missing"
        )


def _is_nan(value: Any) -> bool:
    if isinstance(value, str):  # xarray writes a number as its bytes in base64
        return value in ("AAAAAAAA+H8=", "AADAfw==", "NaN")
    try:
        return bool(np.isnan(np.asarray(value, np.float64)).all())
    except (TypeError, ValueError):
        return False


def _is_plain(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and not dtype.hasobject
