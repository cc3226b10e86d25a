"""Sequences of unequal length without padding, as Arrow keeps lists: values and offsets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.network.weights import as_array, immutable, refuse_mask

__all__ = ["Ragged"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False)
class Ragged:
    """N sequences of unequal length, one after the other in one array, without padding.

    Sequence n is ``values[offsets[n]:offsets[n + 1]]``. The values are not copied.

    Parameters
    ----------
    values : array (sum of lengths, I), or (sum of lengths,) for one input
        Any integer or float dtype, byte order and strides.
    offsets : array (N + 1,) of int
        Non-decreasing, within ``0 ... len(values)``. They need not start at 0 or end at
        ``len(values)``: values outside them are not used, as in a sliced Arrow array.

    Raises
    ------
    TypeError
        If `values` are not numbers, `offsets` are not integers, or one of the arrays is masked.
    ValueError
        If offsets decrease, lie outside the values, or are not one-dimensional.

    Examples
    --------
    >>> r = Ragged(np.array([1.0, 2.0, 3.0]), np.array([0, 2, 2, 3]))
    >>> len(r), r.lengths.tolist(), r[0].tolist()
    (3, [2, 0, 1], [1.0, 2.0])
    """

    values: Array  # (sum, I) or (sum,)
    offsets: Array  # (N + 1,) int64

    def __post_init__(self) -> None:
        # A view, so that a new shape of the caller's array is not one here.
        values, offsets = as_array("values", self.values).view(), as_array("offsets", self.offsets)
        if values.dtype.kind not in "fiub":
            raise TypeError(f"values: expected real numbers, got {values.dtype}")
        if values.ndim not in (1, 2):
            raise ValueError(
                "values: expected shape (sum of lengths, inputs) or (sum of lengths,), "
                f"got {values.shape}"
            )
        if offsets.dtype.kind not in "iu":
            raise TypeError(f"offsets: expected integers, got {offsets.dtype}")
        if offsets.ndim != 1 or len(offsets) == 0:
            raise ValueError(
                f"offsets: expected shape (sequences + 1,), got {offsets.shape}; "
                "for no sequences, offsets is [0]"
            )
        # Kernels trust the offsets: a copy is checked, and cannot be written to afterwards.
        offsets = immutable(offsets)
        falls = np.flatnonzero(offsets[1:] < offsets[:-1])
        if len(falls):
            n = int(falls[0])
            raise ValueError(
                f"offsets: expected them never to decrease, got {offsets[n + 1]} after "
                f"{offsets[n]} (sequence {n} would end before it starts); to make them from "
                "lengths: np.concatenate([[0], np.cumsum(lengths)])"
            )
        if offsets[0] < 0 or offsets[-1] > len(values):
            raise ValueError(
                f"offsets: expected them within 0 ... {len(values)}, the rows of values, "
                f"got {offsets[0]} ... {offsets[-1]}"
            )
        if offsets.dtype != np.int64 or not offsets.dtype.isnative:
            offsets = immutable(offsets.astype(np.int64))
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "offsets", offsets)

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor: a pickle may be damaged, and plain pickling would make the
        # offsets writeable again.
        return type(self), (self.values, self.offsets)

    @classmethod
    def from_list(cls, sequences: Sequence[Any]) -> Ragged:
        """Join a list of arrays, each ``(T_n, I)``, or ``(T_n,)`` for one input.

        Parameters
        ----------
        sequences : list of array
            An empty list ``[]`` in it is a sequence of no steps, whatever I is.

        Returns
        -------
        Ragged

        Raises
        ------
        TypeError
            If a sequence does not hold numbers, or is masked.
        ValueError
            If the sequences differ in I, or one of them is not an array of steps.
        """
        refuse_mask("sequences", sequences)
        arrays = [as_array(f"sequence {n}", sequence) for n, sequence in enumerate(sequences)]
        filled = [array for array in arrays if array.shape != (0,)]
        tail = filled[0].shape[1:] if filled else ()  # (I,) or ()
        for n, array in enumerate(arrays):
            if array.ndim not in (1, 2):
                raise ValueError(
                    f"sequence {n}: expected shape (steps, inputs) or (steps,), got {array.shape}"
                )
            if array.shape != (0,) and array.shape[1:] != tail:
                raise ValueError(
                    f"sequence {n}: expected shape {('steps', *tail)} as in the first one, "
                    f"got {array.shape}".replace("'", "")
                )
        offsets = np.zeros(len(arrays) + 1, np.int64)
        np.cumsum([len(array) for array in arrays], out=offsets[1:])
        return cls(np.concatenate(filled) if filled else np.zeros(0), offsets)

    @classmethod
    def from_arrow(cls, list_array: Any) -> Ragged:
        """Take the sequences of a pyarrow list array, without copying the values.

        Parameters
        ----------
        list_array : ListArray, LargeListArray, FixedSizeListArray or ChunkedArray of one
            A list of numbers is a sequence of one input; a list of lists of I numbers is a
            sequence of I inputs. Slices work. The chunks of a ChunkedArray are joined, which
            copies them. All offsets are checked first (``validate(full=True)``).

        Returns
        -------
        Ragged

        Raises
        ------
        TypeError
            If it is not such an array, or does not hold numbers.
        ValueError
            If a sequence, a step or a value is null, steps differ in their number of inputs, or
            the buffers do not fit the array.
        ImportError
            If pyarrow is not installed.
        """
        steps, offsets = _arrow_lists(_one_chunk(list_array), "sequence")
        if not _is_arrow_list(steps):
            return cls(_arrow_numbers(steps), offsets)
        values, inner = _arrow_lists(steps, "step")
        if len(steps) == 0:  # of any number of inputs
            return cls(_arrow_numbers(values), offsets)
        sizes = np.diff(inner)
        inputs = int(sizes[0])
        unequal = np.flatnonzero(sizes != inputs)
        if len(unequal):
            k = int(unequal[0])
            raise ValueError(
                f"list_array: expected {inputs} inputs at every step as at the first one, "
                f"got {sizes[k]} at step {k}, counted through all sequences"
            )
        return cls(_arrow_numbers(values).reshape(len(steps), inputs), offsets)

    @property
    def lengths(self) -> Array:
        """The number of steps of each sequence, ``(N,)``, int64."""
        return np.diff(self.offsets)

    @property
    def input_size(self) -> int:
        """I, the number of inputs."""
        return int(self.values.shape[1]) if self.values.ndim == 2 else 1

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, n: int) -> Array:
        """Sequence n as a view, ``(T_n, I)`` or ``(T_n,)``."""
        if not -len(self) <= n < len(self):
            raise IndexError(f"expected a sequence in 0 ... {len(self) - 1}, got {n}")
        n %= len(self)
        return self.values[self.offsets[n] : self.offsets[n + 1]]

    def __iter__(self) -> Iterator[Array]:
        return (self[n] for n in range(len(self)))

    def __repr__(self) -> str:
        steps = int(self.offsets[-1] - self.offsets[0])
        return f"Ragged({len(self)} sequences, {steps} steps, {self.input_size} inputs)"


def _is_arrow_list(array: Any) -> bool:
    import pyarrow.types as kinds

    kind = array.type
    return bool(kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind))


def _one_chunk(list_array: Any) -> Any:
    try:
        import pyarrow as pa
    except ImportError:
        raise ImportError(
            'Ragged.from_arrow needs pyarrow: pip install "fastlstm[arrow]"'
        ) from None

    if isinstance(list_array, pa.Array | pa.ChunkedArray):
        try:  # before anything is read: Arrow follows any offset
            list_array.validate(full=True)
        except pa.ArrowInvalid as error:
            raise ValueError(f"list_array: expected a valid array: {error}") from None
    if isinstance(list_array, pa.ChunkedArray):
        list_array = list_array.combine_chunks()
    if not isinstance(list_array, pa.Array) or not _is_arrow_list(list_array):
        kind = list_array.type if isinstance(list_array, pa.Array) else type(list_array).__name__
        raise TypeError(
            "list_array: expected a pyarrow ListArray, LargeListArray, FixedSizeListArray or a "
            f"ChunkedArray of one, got {kind}"
        )
    return list_array


def _arrow_lists(array: Any, name: str) -> tuple[Any, Array]:
    """Return the elements of a list array, without those outside its slice, and offsets from 0."""
    _refuse_nulls(array, name)
    if hasattr(array, "offsets"):
        offsets = array.offsets.to_numpy().astype(np.int64)
    else:  # of fixed size
        offsets = (array.offset + np.arange(len(array) + 1)) * array.type.list_size
    start, stop = int(offsets[0]), int(offsets[-1])
    return array.values.slice(start, stop - start), offsets - start


def _arrow_numbers(array: Any) -> Array:
    import pyarrow.types as kinds

    if not (kinds.is_floating(array.type) or kinds.is_integer(array.type)):
        raise TypeError(f"list_array: expected lists of integers or floats, got {array.type}")
    _refuse_nulls(array, "value")
    numbers: Array = array.to_numpy()
    return numbers


def _refuse_nulls(array: Any, name: str) -> None:
    if array.null_count:
        first = int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
        raise ValueError(
            f"list_array: expected no nulls, but {name} {first} is null "
            f"({array.null_count} in all); fill or drop them first"
        )
