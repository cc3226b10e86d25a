"""Integer ids as the input of an embedding."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlstm.inputs import Source, as_source

__all__ = ["as_ids"]

CHUNK = 1 << 20  # ids that are looked at together


def as_ids(x: Any, lengths: Any, n_ids: int, n_hidden: int) -> Source:
    """Validate ids, in the forms that `as_source` takes for one input.

    Parameters
    ----------
    x, lengths, n_hidden
        As in `as_source`.
    n_ids
        The ids that there are, from 0 on.

    Raises
    ------
    TypeError
        x does not hold integers.
    ValueError
        A shape does not fit, or a real step has an id that is none.
    """
    source = as_source(x, lengths, 1, n_hidden)
    if source.dtype.kind not in "iu" and source.n_rows * source.n_steps:
        raise TypeError(
            f"expected integer ids for the model's embedding of {n_ids}, got dtype {source.dtype}"
        )
    steps = np.arange(source.n_steps)
    chunk = max(1, CHUNK // max(source.n_steps, 1))
    for first in range(0, source.n_rows, chunk):
        rows = slice(first, min(first + chunk, source.n_rows))
        ids = np.zeros((rows.stop - first, source.n_steps, 1), np.int64)
        source.copy_into(ids, rows, 0)
        wrong = (ids[..., 0] < 0) | (ids[..., 0] >= n_ids)
        if source.lengths is not None:
            wrong &= steps < source.lengths[rows, np.newaxis]
        if wrong.any():
            n, t = np.argwhere(wrong)[0]
            raise ValueError(
                f"expected ids in 0 ... {n_ids - 1}, got {ids[n, t, 0]} at step {t} of sequence "
                f"{first + n}"
            )
    return source
