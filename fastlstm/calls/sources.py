"""The sequences of a call, validated once and made readable for the engine.

Padded arrays, lists of arrays and `Ragged` all become a source: rows (sequences), each with its
number of steps. The engine reads them in place if it can, and otherwise copies out a group of rows
at a time, converted to the computing dtype. The whole input is never copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.calls.ragged import Ragged
from fastlstm.calls.windows import Windows
from fastlstm.engine.run.source import Rows, Source
from fastlstm.network.weights import as_array

__all__ = ["as_source", "check_lengths", "check_numbers", "convert_into", "count_of"]

Array = npt.NDArray[Any]

NUMBER_KINDS = "fiub"
MOST_DEPTH = 64  # of nested lists, as of arrays; a list that holds itself has no end
NO_STARTS = np.empty(0, np.int64)


class PaddedSource:
    """An array (N, T, I) whose rows have equal lengths or are padded."""

    def __init__(self, x: Array, lengths: npt.NDArray[np.int64] | None) -> None:
        self.x, self.lengths, self.dtype = x, lengths, x.dtype
        self.n_rows, self.n_steps = x.shape[0], x.shape[1]

    def in_place(self, dtype: np.dtype[Any]) -> tuple[Array, npt.NDArray[np.int64]] | None:
        x = self.x
        if x.flags.carray and x.dtype == dtype and x.size:  # everything below is true of it
            return x.reshape(-1), NO_STARTS
        if not _is_readable(x, dtype):
            return None
        return _writeable_view(x.reshape(-1)), NO_STARTS

    def copy_into(self, buffer: Array, rows: Rows, first: int) -> None:
        convert_into(self.x[rows, first : first + buffer.shape[1]], buffer)

    def overlaps(self, out: Array) -> bool:
        return np.may_share_memory(self.x, out)


class RaggedSource:
    """A `Ragged`."""

    def __init__(self, ragged: Ragged, n_inputs: int) -> None:
        self.values = ragged.values.reshape(-1, n_inputs)  # (sum of lengths, I)
        self.offsets, self.dtype = ragged.offsets, ragged.values.dtype
        self.lengths: npt.NDArray[np.int64] | None = np.diff(ragged.offsets)
        self.n_rows, self.n_steps = len(self.lengths), int(max(self.lengths, default=0))

    def in_place(self, dtype: np.dtype[Any]) -> tuple[Array, npt.NDArray[np.int64]] | None:
        if not _is_readable(self.values, dtype):
            return None
        return _writeable_view(self.values.reshape(-1)), self.offsets[:-1] * self.values.shape[1]

    def copy_into(self, buffer: Array, rows: Rows, first: int) -> None:
        numbers = np.arange(self.n_rows)[rows] if isinstance(rows, slice) else rows
        for row, n in zip(buffer, numbers, strict=True):
            part = self.values[self.offsets[n] + first : self.offsets[n + 1]][: len(row)]
            convert_into(part, row[: len(part)])

    def overlaps(self, out: Array) -> bool:
        return np.may_share_memory(self.values, out)


class WindowSource:
    """A `Windows`."""

    def __init__(self, windows: Windows) -> None:
        self.series, self.starts = windows.series, windows.starts
        self.dtype = windows.series.dtype
        self.n_rows, self.n_steps = len(windows.starts), windows.steps
        self.lengths: npt.NDArray[np.int64] | None = None

    def in_place(self, dtype: np.dtype[Any]) -> tuple[Array, npt.NDArray[np.int64]] | None:
        if not _is_readable(self.series, dtype):
            return None
        return _writeable_view(self.series.reshape(-1)), self.starts * self.series.shape[1]

    def copy_into(self, buffer: Array, rows: Rows, first: int) -> None:
        for row, start in zip(buffer, self.starts[rows] + first, strict=True):
            convert_into(self.series[start : start + len(row)], row)

    def overlaps(self, out: Array) -> bool:
        return np.may_share_memory(self.series, out)


class ListSource:
    """A list of arrays, each (T, I)."""

    def __init__(self, sequences: list[Array]) -> None:
        self.sequences = sequences
        dtypes = [s.dtype for s in sequences if len(s)]
        self.dtype = np.result_type(*dtypes) if dtypes else np.dtype(np.int64)
        self.lengths: npt.NDArray[np.int64] | None = np.array([len(s) for s in sequences], np.int64)
        self.n_rows, self.n_steps = len(sequences), int(max(self.lengths, default=0))

    def in_place(self, dtype: np.dtype[Any]) -> tuple[Array, npt.NDArray[np.int64]] | None:
        return None

    def copy_into(self, buffer: Array, rows: Rows, first: int) -> None:
        numbers = range(self.n_rows)[rows] if isinstance(rows, slice) else rows
        for row, n in zip(buffer, numbers, strict=True):
            part = self.sequences[n][first : first + len(row)]
            convert_into(part, row[: len(part)])

    def overlaps(self, out: Array) -> bool:
        return any(np.may_share_memory(sequence, out) for sequence in self.sequences)


def as_source(x: Any, lengths: Any, n_inputs: int, n_hidden: int) -> Source:
    """Validate the input of a call.

    Parameters
    ----------
    x
        Array (N, T, I); (N, T) or (T,) if I is 1; (T, I) for one sequence; a list of arrays
        (T, I); a `Ragged`; or `Windows`.
    lengths
        (N,) integers, the number of real steps of each padded row; None if all are real.
    n_inputs, n_hidden
        I and H of the model; H is only for error messages.

    Raises
    ------
    TypeError
        If x does not hold real numbers, or `lengths` does not hold integers.
    ValueError
        If a shape does not fit the model, or a length does not fit the array.
    """
    if type(x) is np.ndarray and x.ndim == 3 and x.shape[2] == n_inputs and lengths is None:
        return PaddedSource(x if x.dtype.kind in NUMBER_KINDS else check_numbers(x, "x"), None)
    model = _sizes(n_inputs, n_hidden)
    if isinstance(x, Ragged):
        _no_lengths(lengths, "a Ragged")
        check_numbers(x.values, "values of the Ragged")
        width = 1 if x.values.ndim == 1 else x.values.shape[1]
        if width != n_inputs and x.values.shape != (0,):
            raise ValueError(
                f"expected a Ragged with values of shape (steps, {n_inputs}), "
                f"got {x.values.shape}: {model}"
            )
        return RaggedSource(x, n_inputs)
    if isinstance(x, Windows):
        _no_lengths(lengths, "windows")
        check_numbers(x.series, "the series of the windows")
        if x.series.shape[1] != n_inputs:
            raise ValueError(
                f"expected windows of a series of shape (steps, {n_inputs}), "
                f"got {x.series.shape}: {model}"
            )
        return WindowSource(x)
    if isinstance(x, list | tuple) and _is_list_of_sequences(x, n_inputs):
        _no_lengths(lengths, "a list of sequences")
        return ListSource([_sequence(s, n, n_inputs, model) for n, s in enumerate(x)])
    array = check_numbers(x, "x")
    n_rows, n_steps, _ = padded_shape(array.shape, n_inputs, n_hidden)
    array = array.reshape(n_rows, n_steps, n_inputs)
    return PaddedSource(array, check_lengths(lengths, n_rows, n_steps))


def padded_shape(shape: tuple[int, ...], n_inputs: int, n_hidden: int) -> tuple[int, int, int]:
    """Return the shape (N, T, I) of an array that may lack its first or last axis.

    Raises
    ------
    ValueError
        If it does not fit the model.
    """
    full, ndim = shape, len(shape)
    if n_inputs == 1 and ndim in (1, 2):
        full = (*((1,) if ndim == 1 else ()), *shape, 1)
    elif n_inputs > 1 and ndim == 2:
        full = (1, *shape)
    if len(full) != 3 or full[2] != n_inputs:
        forms = {True: "(N, T), (N, T, 1) or (T,)", False: f"(N, T, {n_inputs}) or (T, {n_inputs})"}
        raise ValueError(
            f"expected x of shape {forms[n_inputs == 1]}, got {shape}: {_sizes(n_inputs, n_hidden)}"
        )
    return full[0], full[1], full[2]


def _sizes(n_inputs: int, n_hidden: int) -> str:
    return f"this model has {count_of(n_inputs, 'input')} and {count_of(n_hidden, 'hidden unit')}"


def count_of(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def check_numbers(value: Any, name: str) -> Array:
    array = as_array(name, value)
    if array.dtype.kind not in NUMBER_KINDS:
        raise TypeError(f"expected {name} to hold real numbers, got dtype {array.dtype}")
    return array


def _is_list_of_sequences(x: Any, n_inputs: int) -> bool:
    """Tell whether a list is one of sequences, rather than nested lists that stand for an array."""
    dimensions = {_depth(s) for s in x}
    if dimensions == {1}:  # sequences of one input, or of no steps; else (T, I) as nested lists
        return n_inputs == 1 or not any(len(s) for s in x)
    return not x or 2 in dimensions


def _depth(x: Any) -> int:
    depth = 0
    while isinstance(x, list | tuple):
        depth += 1
        if not x or depth == MOST_DEPTH:
            return depth
        x = x[0]
    if isinstance(x, np.ndarray):
        return depth + x.ndim
    return depth + as_array("x", x).ndim


def _sequence(value: Any, n: int, n_inputs: int, model: str) -> Array:
    array = check_numbers(value, f"sequence {n}")
    shape = array.shape
    if array.ndim == 1 and (n_inputs == 1 or shape == (0,)):
        array = array.reshape(-1, n_inputs)
    if array.ndim != 2 or array.shape[1] != n_inputs:
        forms = "(T,) or (T, 1)" if n_inputs == 1 else f"(T, {n_inputs})"
        raise ValueError(f"sequence {n}: expected shape {forms}, got {shape}: {model}")
    return array


def _no_lengths(lengths: Any, form: str) -> None:
    if lengths is not None:
        raise ValueError(f"lengths are for padded arrays; {form} has its own")


def check_lengths(lengths: Any, n_rows: int, n_steps: int) -> npt.NDArray[np.int64] | None:
    if lengths is None:
        return None
    # a copy: kernels must read what was checked, even if the original is written to
    array = as_array("lengths", lengths).copy()
    check_length_form(array.shape, array.dtype, n_rows)
    bad = np.flatnonzero((array < 0) | (array > n_steps))
    if len(bad):
        raise ValueError(
            f"expected lengths within 0 ... {n_steps}, the steps of x; got {array[bad[0]]} for "
            f"sequence {bad[0]}"
        )
    found: npt.NDArray[np.int64] = array.astype(np.int64, copy=False)
    return found


def check_length_form(shape: tuple[int, ...], dtype: np.dtype[Any], n_rows: int) -> None:
    if dtype.kind not in "iu" and 0 not in shape:
        raise TypeError(f"expected lengths to be integers, got dtype {dtype}")
    if shape != (n_rows,):
        raise ValueError(
            f"expected lengths of shape ({n_rows},), one for each sequence, got {shape}"
        )


def convert_into(source: Array, target: Array) -> None:
    # A number too large for the dtype becomes infinite, and padding may hold anything. Neither is
    # worth a warning, least of all one that depends on the form of the input.
    with np.errstate(all="ignore"):
        np.copyto(target, source, casting="unsafe")


def _is_readable(array: Array, dtype: np.dtype[Any]) -> bool:
    flags = array.flags
    return array.dtype == dtype and flags.c_contiguous and flags.aligned


def _writeable_view(array: Array) -> Array:
    """Return a view of the array that is marked writeable.

    The kernels only read it, but none is compiled for a read-only array.
    """
    if array.flags.writeable or array.size == 0:
        return array if array.size else np.empty(0, array.dtype)
    return np.asarray(_Writeable(array))


class _Writeable:
    """Exposes the memory of an array as writeable, and keeps the array alive."""

    def __init__(self, array: Array) -> None:
        self.array = array
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface
