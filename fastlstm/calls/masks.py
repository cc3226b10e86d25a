"""Masked steps: taken out of the inputs, and filled in again in the outputs.

A masked step changes no state, so a sequence gives the same numbers as without its masked steps;
the engine walks only the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.engine.run.source import Rows, Source

__all__ = ["MaskedSource"]

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

CHUNK = 1 << 20  # numbers that are compared together


class MaskedSource:
    """A source without the steps whose inputs all have one value.

    Parameters
    ----------
    source
        The sequences with all their steps.
    value
        The value that marks a masked step.
    n_inputs, dtype
        I, and the dtype in which inputs are compared.
    """

    def __init__(self, source: Source, value: float, n_inputs: int, dtype: np.dtype[Any]) -> None:
        self.source, self.value, self.n_inputs, self.input_dtype = source, value, n_inputs, dtype
        self.dtype = source.dtype
        self.n_rows, self.n_steps = source.n_rows, source.n_steps
        self.lengths: Integers | None = np.zeros(self.n_rows, np.int64)
        self.at_the_end = True  # whether all masked steps are at the ends of their sequences
        for rows in self._chunks():
            kept = self._kept(rows, self._all_steps(rows))
            self.lengths[rows] = kept.sum(1)
            ends = (kept * np.arange(1, self.n_steps + 1)).max(1, initial=0)
            self.at_the_end &= bool((ends == self.lengths[rows]).all())

    def in_place(self, dtype: np.dtype[Any]) -> tuple[Array, Integers] | None:
        return self.source.in_place(dtype) if self.at_the_end else None

    def copy_into(self, buffer: Array, rows: Rows, first: int) -> None:
        if self.at_the_end:
            return self.source.copy_into(buffer, rows, first)
        values = self._all_steps(rows)
        steps = slice(first, first + buffer.shape[1])
        order = np.argsort(~self._kept(rows, values), axis=1, kind="stable")[:, steps]
        buffer[...] = np.take_along_axis(values, order[..., np.newaxis], axis=1)
        return None

    def overlaps(self, out: Array) -> bool:
        return self.source.overlaps(out)

    def spread(self, values: Array, blank: Array, repeats: bool) -> None:
        """Move outputs (N, T, K) to the steps that gave them, and fill masked steps.

        Parameters
        ----------
        values
            The outputs of the unmasked steps of each row, one after the other.
        blank
            (K,) What a masked step gets; past each length there are zeros.
        repeats
            Give a masked step the outputs of the step before it, if there is one.
        """
        for rows in self._chunks(values.shape[2]):
            kept = self._kept(rows, self._all_steps(rows))
            before = np.cumsum(kept, axis=1) - 1
            found = values[rows]
            moved = np.take_along_axis(found, np.maximum(before, 0)[..., np.newaxis], axis=1)
            known = before >= 0 if repeats else kept
            moved = np.where(known[..., np.newaxis], moved, blank)
            moved[~self._real(rows)] = 0
            values[rows] = moved

    def blank_ends(self, values: Array, blank: Array, repeats: bool) -> None:
        """Give `blank` (K,) to the rows of `values` (N, K) whose last real step is masked.

        If masked steps repeat the outputs of the step before (`repeats`), only to rows that have no
        unmasked step.
        """
        for rows in self._chunks():
            real, kept = self._real(rows), self._kept(rows, self._all_steps(rows))
            steps = np.arange(1, self.n_steps + 1)
            last_real, last_kept = ((of * steps).max(1, initial=0) for of in (real, kept))
            blanked = last_kept < (np.minimum(last_real, 1) if repeats else last_real)
            values[rows][blanked] = blank

    def _chunks(self, size: int = 1) -> Iterator[slice]:
        rows = max(1, CHUNK // (max(self.n_steps, 1) * max(self.n_inputs, size)))
        return (
            slice(first, min(first + rows, self.n_rows)) for first in range(0, self.n_rows, rows)
        )

    def _all_steps(self, rows: Rows) -> Array:
        n = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
        values = np.zeros((n, self.n_steps, self.n_inputs), self.input_dtype)
        self.source.copy_into(values, rows, 0)
        return values

    def _kept(self, rows: Rows, values: Array) -> npt.NDArray[np.bool_]:
        kept: npt.NDArray[np.bool_] = (values != self.value).any(2) & self._real(rows)
        return kept

    def _real(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Tell which steps are within each length, (rows, T)."""
        steps = np.arange(self.n_steps)
        if self.source.lengths is None:
            n = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
            return np.ones((n, self.n_steps), bool)
        real: npt.NDArray[np.bool_] = steps < self.source.lengths[rows][:, np.newaxis]
        return real
