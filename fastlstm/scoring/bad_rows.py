"""Sequences that cannot be scored: found before the model sees them, counted, and named."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.calls.ragged import Ragged
from fastlstm.calls.sources import convert_into
from fastlstm.calls.windows import Windows
from fastlstm.messages import Message, Option
from fastlstm.model import LSTM
from fastlstm.network.network import Network
from fastlstm.scoring.chunk import MISSING_CHUNK, WINDOW, Chunk

__all__ = [
    "POLICIES",
    "BadRow",
    "BadRows",
    "find_bad_rows",
    "named_rows",
    "row_name",
    "with_remedy",
]

Array = npt.NDArray[Any]

POLICIES = ("error", "nan", "skip")
FIRST = 10  # bad rows that a summary names
NOT_FINITE = "NaN or infinity"
TOO_LARGE = "a number beyond {}"
LONGEST_ID = 60  # characters of an id that a message shows
TOO_LONG = "more than {} steps"
TOO_SHORT_FOR = "fewer steps than the {} that the model needs"
TOO_LONG_FOR = "more steps than the {} that the model takes"
OTHER_STEPS = "other than the {} steps that the model takes"
NOT_TAKEN = "a number of steps that the model does not take"
NO_ID = "an id outside 0 ... {}"


class BadRow(NamedTuple):
    """What is wrong with a row, and its id in the source, if it has one."""

    reason: str
    where: dict[str, Any] | None = None  # the id column, and the number of a window

    @property
    def name(self) -> str:
        """What a message calls the row: ``user 'u7', window 3``; empty if it has no id."""
        return row_name(self.where or {})


def row_name(where: dict[str, Any]) -> str:
    """Return what a message calls a row with these ids."""
    return ", ".join(f"{column} {_shortened(value)}" for column, value in where.items())


def with_remedy(reason: str) -> Message:
    """Return a reason for an error message, with the option that helps, if there is one."""
    if reason != MISSING_CHUNK:
        return Message(reason)
    return Message(reason, " (", Option("fill_missing", True), " would score the fill value)")


@dataclass
class BadRows:
    """What a run has found so far, as its journal and its summary hold it."""

    count: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    first: list[int] = field(default_factory=list)
    ids: list[dict[str, Any]] = field(default_factory=list)  # of the first rows, if they have any

    def add(self, row: int, bad: BadRow) -> None:
        """Count a row by its number in the source."""
        self.count += 1
        self.reasons[bad.reason] = self.reasons.get(bad.reason, 0) + 1
        if len(self.first) < FIRST:
            self.first.append(row)
            if bad.where is not None:
                self.ids.append(bad.where)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts for a summary."""
        found = asdict(self)
        return found if self.ids else {k: v for k, v in found.items() if k != "ids"}


def find_bad_rows(model: LSTM, chunk: Chunk, most_steps: int | None) -> dict[int, str]:
    """Return what is wrong with which rows of a chunk, and make the chunk safe to compute.

    Parameters
    ----------
    model
        What will score the chunk.
    chunk
        As it was read. Ids outside the model's embedding become 0; sequences of more than
        `most_steps` become empty; the series of windows gets the model's dtype.
    most_steps
        The most steps that a sequence may have, None for any number.
    """
    bad = dict(chunk.broken)
    if most_steps is not None:
        too_long = np.flatnonzero(chunk.steps > most_steps)
        if len(too_long):
            bad.update(dict.fromkeys(too_long.tolist(), TOO_LONG.format(most_steps)))
            _empty(chunk, too_long)
    for row, reason in _not_taken(model.network, chunk.steps).items():
        bad.setdefault(row, reason)
    embedding = model.network.embedding
    if embedding is not None:
        rows = _unknown_ids(chunk, embedding.ids)
        found = dict.fromkeys(rows.tolist(), NO_ID.format(embedding.ids - 1))
    else:
        found = _not_finite(chunk, model.dtype)
    for row, reason in found.items():
        bad.setdefault(row, reason)
    if isinstance(chunk.sequences, Windows):
        chunk.sequences = _converted(chunk.sequences, model.input_dtype)
    return bad


def named_rows(chunk: Chunk, bad: dict[int, str]) -> dict[int, BadRow]:
    """Return what `find_bad_rows` found, with the ids of the rows."""
    columns: list[str] = [] if chunk.id is None else [chunk.id]
    if columns and isinstance(chunk.sequences, Windows):
        columns.append(WINDOW)
    return {
        row: BadRow(
            reason, {name: _plain(chunk.kept.column(name)[row]) for name in columns} or None
        )
        for row, reason in bad.items()
    }


def _not_taken(network: Network, steps: npt.NDArray[np.int64]) -> dict[int, str]:
    """Return the rows of numbers of steps that a network does not take, and why."""
    if network.keeps_steps:
        return {}
    fewest, most = network.step_limits
    found: dict[int, str] = {}
    for row in np.flatnonzero(network.steps(steps).refused).tolist():
        if fewest == most:
            found[row] = OTHER_STEPS.format(most)
        elif steps[row] < fewest:
            found[row] = TOO_SHORT_FOR.format(fewest)
        elif most is not None and steps[row] > most:
            found[row] = TOO_LONG_FOR.format(most)
        else:
            found[row] = NOT_TAKEN
    return found


def _plain(value: Any) -> Any:
    """Return an Arrow value as one that JSON can hold."""
    found = value.as_py()
    if isinstance(found, float) and not math.isfinite(found):
        return str(found)
    return found if found is None or isinstance(found, str | int | float) else str(found)


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_ID else f"{text[:LONGEST_ID]} ..."


def _not_finite(chunk: Chunk, dtype: np.dtype[Any]) -> dict[int, str]:
    """Return the rows with a number that is not finite in a dtype, and which kind it is."""
    values = _values(chunk.sequences)
    if values.dtype.kind != "f":  # the largest integer is far below the largest float32
        return {}
    narrow = bool(np.finfo(dtype).max < np.finfo(values.dtype).max)
    if _surely_fits(values, dtype) if narrow else _surely_finite(values):
        return {}
    found: dict[int, str] = {}
    if narrow:
        with np.errstate(all="ignore"):  # rounded as the engine rounds
            beyond = ~np.isfinite(values.astype(dtype))
        found = dict.fromkeys(_rows_of(chunk, beyond).tolist(), TOO_LARGE.format(dtype))
    if found or not narrow:
        found |= dict.fromkeys(_rows_of(chunk, ~np.isfinite(values)).tolist(), NOT_FINITE)
    return found


def _surely_fits(values: Array, dtype: np.dtype[Any]) -> bool:
    """Tell, at the speed of memory, that a narrower dtype can hold all values; False may be wrong.

    A sum of squares is at least as large as each square, however it is rounded. A comparison with
    NaN is False.
    """
    axes = list(range(values.ndim))
    with np.errstate(all="ignore"):
        squares = np.einsum(values, axes, values, axes, [])
        return bool(squares < values.dtype.type(np.finfo(dtype).max) ** 2)


def _surely_finite(values: Array) -> bool:
    """Tell, at the speed of memory, that no value is NaN or infinite; False may be an overflow.

    A sum of products is not finite if a factor is not. Both halves are read at once because two
    streams are faster than one: 13 against 9 GB/s of mapped memory, where `np.isfinite` reaches 6.
    """
    with np.errstate(all="ignore"):
        if not values.flags.forc or values.dtype.itemsize < 4:
            return bool(np.isfinite(values.sum(dtype=np.float64)))
        flat = values.ravel(order="K")  # a view
        half = len(flat) // 2
        products = np.einsum("i,i->", flat[:half], flat[half : 2 * half])
        return bool(np.isfinite(products) and np.isfinite(flat[2 * half :]).all())


def _unknown_ids(chunk: Chunk, ids: int) -> npt.NDArray[np.int64]:
    values = _values(chunk.sequences)
    if values.dtype.kind not in "iu":
        return np.empty(0, np.int64)
    wrong = (values < 0) | (values >= ids)
    if not wrong.any():
        return np.empty(0, np.int64)
    rows = _rows_of(chunk, wrong)
    known = np.where(wrong, 0, values)
    if isinstance(chunk.sequences, Ragged):
        chunk.sequences = Ragged(known, chunk.sequences.offsets)
    elif isinstance(chunk.sequences, Windows):
        chunk.sequences = Windows(known, chunk.sequences.starts, chunk.sequences.steps)
    else:
        chunk.sequences = known
    return rows


def _converted(windows: Windows, dtype: np.dtype[Any]) -> Windows:
    """Return windows of a series in the model's dtype, so that the engine reads them in place."""
    if windows.series.dtype == dtype or (dtype.kind == "i" and windows.series.dtype.kind == "f"):
        return windows  # the model will refuse floats as ids
    series = np.empty(windows.series.shape, dtype)
    convert_into(windows.series, series)
    return Windows(series, windows.starts, windows.steps)


def _rows_of(chunk: Chunk, wrong: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the rows with a wrong number at a real step."""
    sequences = chunk.sequences
    if isinstance(sequences, np.ndarray):  # (n, T, ...)
        at = np.any(wrong.reshape(*wrong.shape[:2], -1), axis=2)
        if chunk.lengths is not None:
            at &= np.arange(at.shape[1]) < chunk.lengths[:, np.newaxis]
        return np.flatnonzero(at.any(1))
    before = np.zeros(len(wrong) + 1, np.int64)
    np.cumsum(wrong.reshape(len(wrong), -1).any(axis=1), out=before[1:])
    if isinstance(sequences, Windows):
        starts, ends = sequences.starts, sequences.starts + sequences.steps
    else:
        starts, ends = sequences.offsets[:-1], sequences.offsets[1:]
    return np.flatnonzero(before[ends] > before[starts])


def _values(sequences: Any) -> Array:
    if isinstance(sequences, Ragged):
        return sequences.values
    return np.asarray(sequences.series if isinstance(sequences, Windows) else sequences)


def _empty(chunk: Chunk, rows: npt.NDArray[np.int64]) -> None:
    """Leave out all steps of some rows."""
    if isinstance(chunk.sequences, Ragged):
        whole = chunk.sequences
        lengths = whole.lengths.copy()
        kept = np.ones(len(lengths), bool)
        kept[rows] = False
        steps = np.repeat(kept, lengths)
        lengths[rows] = 0
        inside = whole.values[whole.offsets[0] : whole.offsets[-1]]
        chunk.sequences = Ragged(inside[steps], np.concatenate([[0], np.cumsum(lengths)]))
    else:
        if isinstance(chunk.sequences, Windows):
            return  # all windows have one length, which was checked before any was read
        lengths = chunk.steps.copy()
        lengths[rows] = 0
        chunk.lengths = lengths
