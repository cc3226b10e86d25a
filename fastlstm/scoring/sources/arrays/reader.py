"""Sequences that are an array in a file: rows of equal length, padded rows, or windows of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.calls.sources import NUMBER_KINDS, check_lengths, padded_shape
from fastlstm.calls.windows import Windows
from fastlstm.scoring.chunk import MISSING_CHUNK, Chunk, MappedFile, Position, Reader
from fastlstm.scoring.sources.arrays.file import ArrayFile
from fastlstm.scoring.sources.arrays.npy import NpyFile
from fastlstm.scoring.sources.layout import Layout
from fastlstm.scoring.sources.model_input import ModelInput
from fastlstm.scoring.sources.paths import refuse_special

__all__ = ["ArrayReader"]

Array = npt.NDArray[Any]


class ArrayReader(Reader):
    """Reads an array (N, T, I) as N sequences.

    It may be (N, T) for a model of one input; (T, I), or (T,), is one sequence. With a window,
    each sequence gives the windows that fit into it. A position is the number of a sequence, and
    of a window in it.

    Raises
    ------
    TypeError
        The array does not hold numbers.
    ValueError
        Its shape does not fit the model, or the layout does not apply to an array.
    """

    def __init__(self, file: ArrayFile, layout: Layout, model: ModelInput) -> None:
        self.file = file
        try:
            self._fit(file, layout, model)
        except BaseException:
            file.close()
            raise

    def _fit(self, file: ArrayFile, layout: Layout, model: ModelInput) -> None:
        layout.refuse("an array", "column", "id", "time", "features", "keep")
        self.window, self.stride = layout.window, layout.stride
        self.dtype, self.inputs, self.held = file.dtype, model.inputs, file.held
        if self.dtype.kind not in NUMBER_KINDS:
            raise TypeError(f"{file.name}: expected real numbers, got dtype {self.dtype}")
        self.one = len(file.shape) == (1 if self.inputs == 1 else 2)
        if self.window is not None and self.inputs == 1 and file.shape[1:] == (1,):
            self.one = True  # one series as a column: no window fits into sequences of one step
        self.rows, self.row_steps = self._rows_and_steps(model)
        self.lengths = _read_lengths(layout.lengths, self.rows, self.row_steps)
        self.equal = self.lengths is None
        self.count, self.steps = self.rows, self.row_steps
        if self.window is not None:
            if self.row_steps < self.window and self.rows:
                raise ValueError(
                    f"{file.name}: expected sequences of at least the {self.window} steps of a "
                    f"window, got {self.row_steps}"
                )
            self.windows = (self.row_steps - self.window) // self.stride + 1
            self.count, self.steps = self.rows * self.windows, self.window
        self.step_bytes = self.inputs * self.dtype.itemsize
        self.row_bytes = self.step_bytes * (self.stride if self.window else max(self.row_steps, 1))

    def _rows_and_steps(self, model: ModelInput) -> tuple[int, int]:
        shape = (1, *self.file.shape) if self.one else self.file.shape
        try:
            rows, steps, _ = padded_shape(shape, model.inputs, model.hidden_units)
        except ValueError as error:
            raise ValueError(f"{self.file.name}: {error}") from None
        return rows, steps

    def describe(self) -> str:
        shape = " x ".join(f"{n:,}" for n in self.file.shape)
        return f"{self.file.name}: {shape} {self.dtype}"

    def identity(self) -> dict[str, Any]:
        lengths = None
        if self.lengths is not None:
            lengths = hashlib.sha256(self.lengths.tobytes()).hexdigest()
        return {**self.file.identity(), "lengths": lengths}

    def chunks(self, n_bytes: int, position: Position | None) -> Iterator[Chunk]:
        row, window = position or (0, 0)
        if self.window is not None:
            yield from self._window_chunks(n_bytes, row, window)
            return
        size = max(1, n_bytes // max(self.row_bytes or 1, 1))
        for first in range(row, self.rows, size):
            last = min(first + size, self.rows)
            lengths = None if self.lengths is None else self.lengths[first:last]
            values = self._read(first, last, 0, self.row_steps)
            broken = self._broken(first, last, lengths)
            yield Chunk(values, last - first, (last, 0), lengths, broken=broken)

    def _window_chunks(self, n_bytes: int, row: int, window: int) -> Iterator[Chunk]:
        assert self.window is not None
        steps_at_once = n_bytes // self.step_bytes
        fit = max(1, (steps_at_once - self.window) // self.stride + 1)
        while row < self.rows and self.windows:
            if window == 0 and fit >= self.windows:  # whole rows
                rows = max(1, min(self.rows - row, steps_at_once // self.row_steps))
                steps, count = self.row_steps, self.windows
                after = row + rows, 0
            else:
                rows, count = 1, min(fit, self.windows - window)
                steps = (count - 1) * self.stride + self.window
                after = (row, window + count) if window + count < self.windows else (row + 1, 0)
            begin = window * self.stride
            read = self._read(row, row + rows, begin, begin + steps)
            series = read.reshape(rows * steps, self.inputs)
            starts = np.arange(rows)[:, np.newaxis] * steps + np.arange(count) * self.stride
            broken = self._broken_windows(row, row + rows, begin, begin + steps, starts)
            windows = Windows(series, starts.reshape(-1), self.window)
            yield Chunk(windows, rows * count, after, broken=broken)
            row, window = after

    def _read(self, first: int, last: int, begin: int, end: int) -> Array:
        """Return steps begin ... end - 1 of rows first ... last - 1, (n, T, I)."""
        values = self.file.read(*self._where(first, last, begin, end))
        return values.reshape(last - first, end - begin, self.inputs)

    def _where(self, first: int, last: int, begin: int, end: int) -> tuple[slice, slice]:
        if self.one:
            return slice(begin, end), slice(None)
        return slice(first, last), slice(begin, end)

    def _missing(
        self, first: int, last: int, begin: int, end: int
    ) -> npt.NDArray[np.bool_] | None:  # (n, T)
        missing = self.file.missing(*self._where(first, last, begin, end))
        return None if missing is None else missing.reshape(last - first, end - begin)

    def _broken(self, first: int, last: int, lengths: Array | None) -> dict[int, str]:
        """Say which rows lack real steps."""
        missing = self._missing(first, last, 0, self.row_steps)
        if missing is None:
            return {}
        if lengths is not None:
            missing = missing & (np.arange(self.row_steps) < lengths[:, np.newaxis])
        return dict.fromkeys(np.flatnonzero(missing.any(axis=1)).tolist(), MISSING_CHUNK)

    def _broken_windows(
        self, first: int, last: int, begin: int, end: int, starts: npt.NDArray[np.int64]
    ) -> dict[int, str]:
        missing = self._missing(first, last, begin, end)
        if missing is None or self.window is None:
            return {}
        before = np.zeros(missing.size + 1, np.int64)
        np.cumsum(missing, out=before[1:])
        begins = starts.reshape(-1)
        wrong = before[begins + self.window] > before[begins]
        return dict.fromkeys(np.flatnonzero(wrong).tolist(), MISSING_CHUNK)

    def mapped_files(self) -> Sequence[MappedFile]:
        return self.file.mapped_files()

    def close(self) -> None:
        self.file.close()


def _read_lengths(lengths: Any, rows: int, steps: int) -> npt.NDArray[np.int64] | None:
    """Return the lengths that were given, as an array or as the path of an ``.npy`` file."""
    if lengths is None:
        return None
    if not isinstance(lengths, str | Path):
        return check_lengths(lengths, rows, steps)
    array = _load_lengths(lengths)
    try:
        return check_lengths(array, rows, steps)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{lengths}: {error}") from None


def _load_lengths(path: str | Path) -> Any:
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no file {path}")
    refuse_special(path)
    try:
        file = NpyFile(os.fspath(path))
    except ValueError as error:
        raise ValueError(f"{path}: expected an .npy file of integers: {error}") from None
    try:
        return file.read(slice(None), slice(None)).copy()
    finally:
        file.close()
