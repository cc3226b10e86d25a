"""Integer ids, the inputs of an embedding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastlstm.calls.sources import as_source
from fastlstm.engine.run.source import Source

__all__ = ["as_ids"]

CHUNK = 1 << 20  # ids that are checked together


def as_ids(x: Any, lengths: Any, n_ids: int, n_hidden: int) -> Source:
    """Validate ids, in the forms that `as_source` takes for one input.

    Parameters
    ----------
    x, lengths, n_hidden
        As in `as_source`.
    n_ids
        The number of ids: 0 ... n_ids - 1 are valid.

    Raises
    ------
    TypeError
        If x does not hold integers.
    ValueError
        If a shape does not fit, or a real step has an invalid id.
    """
    source = as_source(x, lengths, 1, n_hidden)
    if source.dtype.kind not in "iu" and source.n_rows * source.n_steps:
        raise TypeError(
            f"expected integer ids for the model's embedding of {n_ids}, got dtype {source.dtype}"
        )
    for rows, steps in _chunks(source):
        ids = np.zeros((rows.stop - rows.start, steps.stop - steps.start, 1), np.int64)
        source.copy_into(ids, rows, steps.start)
        wrong = (ids[..., 0] < 0) | (ids[..., 0] >= n_ids)
        if source.lengths is not None:
            wrong &= np.arange(steps.start, steps.stop) < source.lengths[rows, np.newaxis]
        if wrong.any():
            n, t = np.argwhere(wrong)[0]
            raise ValueError(
                f"expected ids in 0 ... {n_ids - 1}, got {ids[n, t, 0]} at step "
                f"{steps.start + t} of sequence {rows.start + n}"
            )
    return source


def _chunks(source: Source) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and steps that are checked together."""
    n_steps = min(max(source.n_steps, 1), CHUNK)
    n_rows = CHUNK // n_steps
    for row in range(0, source.n_rows, n_rows):
        for step in range(0, source.n_steps, n_steps):
            yield (
                slice(row, min(row + n_rows, source.n_rows)),
                slice(step, min(step + n_steps, source.n_steps)),
            )
