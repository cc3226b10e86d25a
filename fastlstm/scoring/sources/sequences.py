"""Sequences as they were found in a table, cut into chunks or windows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.calls.ragged import Ragged
from fastlstm.calls.windows import Windows
from fastlstm.scoring.chunk import WINDOW, Chunk, Position

__all__ = ["NULL", "REASONS", "UNPARSABLE", "WRONG_INPUTS", "Cutter", "Sequences"]

Array = npt.NDArray[Any]

# What is wrong with a step, from bad to worse; 0 is nothing.
REASONS = ("", "null", "unparsable", "a step with another number of inputs")
NULL, UNPARSABLE, WRONG_INPUTS = 1, 2, 3


@dataclass
class Sequences:
    """Sequences that follow each other, with what is wrong with their steps."""

    values: Array  # (L, I); what is wrong is 0
    offsets: npt.NDArray[np.int64]  # (n + 1,)
    bad: npt.NDArray[np.uint8] | None = None  # (L,), None if no step is
    broken: dict[int, str] = field(default_factory=dict)  # sequences that are not there: empty
    kept: Any = None  # pyarrow.RecordBatch of n rows
    kept_by_step: bool = False  # or of L rows: a window has the values of its first step

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def none(self) -> Sequences:
        """Return no sequences, of the same kind."""
        kept = None if self.kept is None else self.kept.take(np.empty(0, np.int64))
        return Sequences(self.values[:0].copy(), np.zeros(1, np.int64), kept=kept)

    def broken_between(self, starts: Array, ends: Array) -> dict[int, str]:
        """Say which stretches of steps hold bad ones."""
        if self.bad is None:
            return {}
        before = np.zeros(len(self.bad) + 1, np.int64)
        np.cumsum(self.bad > 0, out=before[1:])
        rows = np.flatnonzero(before[ends] > before[starts])
        return {int(k): REASONS[self.bad[starts[k] : ends[k]].max()] for k in rows}


class Cutter:
    """Cuts sequences into chunks of about a number of bytes.

    Parameters
    ----------
    window, stride
        Those of the layout.
    id
        That of the layout.
    """

    def __init__(self, window: int | None, stride: int, id: str | None) -> None:
        self.window, self.stride, self.id = window, stride, id

    def cut(
        self,
        found: Sequences,
        n_bytes: int,
        after: Any,
        begin: int = 0,
        first_window: int = 0,
        too_short: int = 0,
        ended: bool = True,
    ) -> Any:
        """Yield chunks; return how many sequences behind the last one are too short for a window.

        A chunk counts those before its last window, so that reading may go on behind that.

        Parameters
        ----------
        found
            The sequences; of the first one the steps before `begin` and the windows before
            `first_window` are done.
        n_bytes
            Of inputs in a chunk.
        after
            A function that returns the position of a window of a sequence, both by number.
        begin, first_window
            Where the first sequence goes on.
        too_short
            What the cut before returned.
        ended
            Whether the last sequence has all its steps.
        """
        if self.window is None:
            yield from self._whole(found, n_bytes, after)
            return 0
        left = yield from self._windows(
            found, n_bytes, after, begin, first_window, too_short, ended
        )
        return left

    def leftover(self, found: Sequences, too_short: int, after: Position) -> Any:
        """Yield a chunk of no windows if it must say that sequences are too short."""
        if too_short:
            assert self.window is not None
            none = np.empty(0, np.int64)
            yield Chunk(
                Windows(found.values[:0], none, self.window),
                0,
                after,
                kept=_kept_of(found.kept, none, none),
                id=self.id,
                too_short=too_short,
            )

    def _whole(self, found: Sequences, n_bytes: int, after: Any) -> Any:
        most = max(1, n_bytes // _step_bytes(found.values))
        offsets, first = found.offsets, 0
        while first < len(found):
            last = int(np.searchsorted(offsets, offsets[first] + most, "right")) - 1
            last = min(max(last, first + 1), first + most, len(found))
            part = offsets[first : last + 1]
            broken = found.broken_between(part[:-1], part[1:])
            broken.update({k - first: v for k, v in found.broken.items() if first <= k < last})
            kept = None if found.kept is None else found.kept.slice(first, last - first)
            yield Chunk(
                _as_input(found.values, part),
                last - first,
                after(last, 0),
                kept=kept,
                id=self.id,
                broken=broken,
            )
            first = last

    def _windows(
        self,
        found: Sequences,
        n_bytes: int,
        after: Any,
        begin: int,
        first_window: int,
        too_short: int,
        ended: bool,
    ) -> Any:
        assert self.window is not None
        if found.broken:
            found = _with_zeros(found, self.window)
        row, number, starts, short = self._places(found.offsets, begin, first_window)
        if not ended:
            short = short[short < len(found) - 1]
        fit = max(1, n_bytes // (_step_bytes(found.values) * self.stride))
        for first in range(0, len(row), fit):
            part = slice(first, min(first + fit, len(row)))
            low, high = int(starts[first]), int(starts[part.stop - 1]) + self.window
            broken = found.broken_between(starts[part], starts[part] + self.window)
            last = int(row[part.stop - 1])
            passed = int(np.searchsorted(short, last))
            yield Chunk(
                Windows(found.values[low:high], starts[part] - low, self.window),
                part.stop - first,
                after(last, int(number[part.stop - 1]) + 1),
                kept=_kept_of(
                    found.kept, (starts if found.kept_by_step else row)[part], number[part]
                ),
                id=self.id,
                too_short=too_short + passed,
                broken=broken,
            )
            too_short, short = 0, short[passed:]
        return too_short + len(short)

    def _places(
        self, offsets: Array, begin: int, first_window: int
    ) -> tuple[Array, Array, Array, Array]:
        """Return of every window its sequence, its number in that, and where it starts.

        And the sequences that have none.
        """
        assert self.window is not None
        starts_of = offsets[:-1].copy()
        starts_of[:1] -= begin
        counts = np.maximum((offsets[1:] - starts_of - self.window) // self.stride + 1, 0)
        row = np.repeat(np.arange(len(counts)), counts)
        number = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        starts = starts_of[row] + number * self.stride
        left = (row > 0) | (number >= first_window)
        return row[left], number[left], starts[left], np.flatnonzero(counts == 0)


def _with_zeros(found: Sequences, window: int) -> Sequences:
    """Return the sequences with one bad window in place of each that is broken and empty."""
    rows = [k for k in found.broken if found.offsets[k] == found.offsets[k + 1]]
    places = np.repeat(found.offsets[rows], window)
    bad = np.zeros(len(found.values), np.uint8) if found.bad is None else found.bad
    codes = np.repeat([REASONS.index(found.broken[k]) for k in rows], window)
    lengths = np.diff(found.offsets)
    lengths[rows] = window
    return Sequences(
        np.insert(found.values, places, 0, axis=0),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.insert(bad, places, codes).astype(np.uint8),
        kept=found.kept,
    )


def _kept_of(kept: Any, row: Array, number: Array) -> Any:
    """Return the kept columns of windows, and their numbers."""
    if kept is None:
        return None
    import pyarrow as pa

    taken = kept.take(pa.array(row))
    arrays = [*taken.columns, pa.array(number, pa.int64())]
    return pa.RecordBatch.from_arrays(arrays, names=[*kept.schema.names, WINDOW])


def _as_input(values: Array, offsets: Array) -> Any:
    """Return sequences as the model takes them: an array where all are of one length."""
    steps = int(offsets[1] - offsets[0])
    if np.all(np.diff(offsets) == steps):
        inside = values[offsets[0] : offsets[-1]]
        return inside.reshape(len(offsets) - 1, steps, values.shape[1])
    return Ragged(values[offsets[0] : offsets[-1]], offsets - offsets[0])


def _step_bytes(values: Array) -> int:
    return max(1, int(values.shape[1]) * values.dtype.itemsize)
