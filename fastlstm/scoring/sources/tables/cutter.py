"""Sequences found in a table, cut into chunks of whole sequences or of windows."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.calls.ragged import Ragged
from fastlstm.calls.windows import Windows
from fastlstm.messages import Option
from fastlstm.scoring.chunk import WINDOW, Chunk, Position
from fastlstm.scoring.sources.layout import Layout
from fastlstm.scoring.sources.tables.columns import import_pyarrow
from fastlstm.scoring.sources.tables.table import Table

__all__ = ["NULL", "REASONS", "UNPARSABLE", "WRONG_INPUTS", "Cutter", "Sequences", "kept_schema"]

Array = npt.NDArray[Any]
After = Callable[[int, int], Position]  # the position of a window in a sequence, by both numbers

# What is wrong with a step, from bad to worse; 0 is good.
REASONS = ("", "null", "unparsable", "a step with the wrong number of inputs")
NULL, UNPARSABLE, WRONG_INPUTS = 1, 2, 3


@dataclass
class Sequences:
    """Sequences that follow each other, and what is wrong with their steps."""

    values: Array  # (L, I); 0 where a step is bad
    offsets: npt.NDArray[np.int64]  # (n + 1,)
    bad: npt.NDArray[np.uint8] | None = None  # (L,), None if no step is bad
    broken: dict[int, str] = field(default_factory=dict)  # sequences that are null: empty here
    kept: Any = None  # pyarrow.RecordBatch of n rows
    kept_by_step: bool = False  # or of L rows: a window keeps the values of its first step

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def none(self) -> Sequences:
        """Return no sequences, with the same types."""
        kept = None if self.kept is None else self.kept.take(np.empty(0, np.int64))
        return Sequences(self.values[:0].copy(), np.zeros(1, np.int64), kept=kept)

    def broken_between(self, starts: Array, ends: Array) -> dict[int, str]:
        """Say which stretches of steps hold bad steps, and why."""
        if self.bad is None:
            return {}
        before = np.zeros(len(self.bad) + 1, np.int64)
        np.cumsum(self.bad > 0, out=before[1:])
        rows = np.flatnonzero(before[ends] > before[starts])
        return {int(k): REASONS[self.bad[starts[k] : ends[k]].max()] for k in rows}


class Cutter:
    """Cuts sequences into chunks of about a number of bytes; the parameters are the layout's."""

    def __init__(self, window: int | None, stride: int, id: str | None) -> None:
        self.window, self.stride, self.id = window, stride, id

    def cut(
        self,
        found: Sequences,
        n_bytes: int,
        after: After,
        begin: int = 0,
        first_window: int = 0,
        too_short: int = 0,
        ended: bool = True,
    ) -> Generator[Chunk, None, int]:
        """Yield chunks; return how many sequences after the last one are shorter than a window.

        A chunk counts those up to its last window, so that reading can resume after it.

        Parameters
        ----------
        found
            The sequences. The first one lacks its first `begin` steps, and its first
            `first_window` windows are done.
        n_bytes
            Of inputs in a chunk.
        after
            Returns a position.
        begin, first_window
            Where the first sequence goes on.
        too_short
            What the previous call returned.
        ended
            Whether the last sequence is complete.
        """
        if self.window is None:
            yield from self._whole(found, n_bytes, after)
            return 0
        left = yield from self._windows(
            found, n_bytes, after, begin, first_window, too_short, ended
        )
        return left

    def leftover(self, found: Sequences, too_short: int, after: Position) -> Iterator[Chunk]:
        """Yield a chunk without windows to report the last sequences shorter than a window."""
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

    def _whole(self, found: Sequences, n_bytes: int, after: After) -> Iterator[Chunk]:
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
        after: After,
        begin: int,
        first_window: int,
        too_short: int,
        ended: bool,
    ) -> Generator[Chunk, None, int]:
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
        """Return for each window its sequence, its number in it, and the step where it starts.

        Last come the sequences without a window.
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
    """Return the sequences with one bad window in place of each empty one that is broken."""
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
    """Return the kept columns of windows, and the column of their numbers."""
    if kept is None:
        return None
    pa = import_pyarrow()
    taken = kept.take(pa.array(row))
    arrays = [*taken.columns, pa.array(number, pa.int64())]
    return pa.RecordBatch.from_arrays(arrays, names=[*kept.schema.names, WINDOW])


def _as_input(values: Array, offsets: Array) -> Any:
    """Return sequences as the model takes them: as an array if all have the same length."""
    steps = int(offsets[1] - offsets[0])
    if np.all(np.diff(offsets) == steps):
        inside = values[offsets[0] : offsets[-1]]
        return inside.reshape(len(offsets) - 1, steps, values.shape[1])
    return Ragged(values[offsets[0] : offsets[-1]], offsets - offsets[0])


def _step_bytes(values: Array) -> int:
    return max(1, int(values.shape[1]) * values.dtype.itemsize)


def kept_schema(table: Table, layout: Layout) -> Any:
    """Return the schema of the columns that are carried along, None if there are none."""
    pa = import_pyarrow()
    fields = [pa.field(name, table.type_of(name, Option("keep"))) for name in layout.kept]
    if not fields:
        return None
    if layout.window is not None:
        if WINDOW in layout.kept:
            raise ValueError(
                f"column {WINDOW!r} cannot be kept: a column of that name is added for the numbers "
                "of windows"
            )
        fields.append(pa.field(WINDOW, pa.int64()))
    return pa.schema(fields)
