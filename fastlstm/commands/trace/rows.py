"""Reading chosen sequences of a source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.calls.ragged import Ragged
from fastlstm.calls.windows import Windows
from fastlstm.messages import Message
from fastlstm.scoring.bad_rows import with_remedy
from fastlstm.scoring.chunk import Chunk, Reader
from fastlstm.scoring.sources.arrays.reader import ArrayReader

__all__ = ["check_numbers", "expanded", "read_rows"]

CHUNK = 2**24  # bytes that are read at a time
Array = npt.NDArray[Any]


def read_rows(reader: Reader, rows: Sequence[range], source: str) -> dict[int, Array]:
    """Return the chosen sequences (T, I) by their numbers, without padding.

    From an array, nothing else is read; any other source is read up to the last of them.

    Parameters
    ----------
    reader
        The opened source.
    rows
        The numbers of the sequences.
    source
        The name of the source, for errors.

    Raises
    ------
    ValueError
        If there is no such sequence, or it cannot be read.
    """
    if reader.count is not None:
        check_numbers("row", rows, reader.count, source)
    found: dict[int, Array] = {}
    if isinstance(reader, ArrayReader) and reader.again:
        for row in sorted(expanded(rows)):
            place = divmod(row, reader.windows) if reader.window is not None else (row, 0)
            _take(next(iter(reader.chunks(1, place))), row, [row], found)
        return found
    first, last = 0, max(part[-1] for part in rows)
    for chunk in reader.chunks(CHUNK, None):
        after = first + chunk.count
        for part in rows:
            inside = range(max(part.start, first), min(part.stop, after))
            _take(chunk, first, inside, found)
        first = after
        if first > last:
            return found
    check_numbers("row", rows, first, source)
    return found


def _take(chunk: Chunk, first: int, rows: Iterable[int], found: dict[int, Array]) -> None:
    """Copy sequences of a chunk whose first one has the number `first`."""
    x = chunk.sequences
    for row in rows:
        k = row - first
        if k in chunk.broken:
            raise ValueError(Message(f"row {row} cannot be read: ", with_remedy(chunk.broken[k])))
        if isinstance(x, Ragged):
            sequence = x.values[x.offsets[k] : x.offsets[k + 1]]
        elif isinstance(x, Windows):
            sequence = x.series[x.starts[k] : x.starts[k] + x.steps]
        else:
            sequence = x[k] if chunk.lengths is None else x[k, : chunk.lengths[k]]
        found[row] = np.array(sequence)  # a reader may reuse its memory


def check_numbers(what: str, chosen: Sequence[range], count: int, of: str) -> None:
    """Refuse numbers beyond the last row or unit."""
    last = max(part[-1] for part in chosen)
    if last >= count:
        has = f"has {what}s 0 ... {count - 1}" if count else f"has no {what}s"
        raise ValueError(f"there is no {what} {last}: {of} {has}")


def expanded(ranges: Sequence[range]) -> list[int]:
    """Return all numbers in their order, each once."""
    return list(dict.fromkeys(k for part in ranges for k in part))
