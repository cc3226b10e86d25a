"""The maximum or the mean over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def pool(values: Array, lengths: npt.NDArray[np.int64] | None, read: str) -> Array:
    """Return the maximum or the mean (N, K) over the real steps of `values` (N, T, K).

    Steps are added in order, whatever the array's layout. Of no steps at all it is NaN.
    """
    n_rows, n_steps, _ = values.shape
    real = np.full(n_rows, n_steps) if lengths is None else lengths
    total = np.full((n_rows, values.shape[2]), np.nan, values.dtype)
    with np.errstate(all="ignore"):
        for t in range(n_steps):
            now = values[:, t]
            if t == 0:
                joined = now
            elif read == "max":
                joined = np.maximum(total, now)
            else:
                joined = total + now
            np.copyto(total, joined, where=(real > t)[:, np.newaxis])
        if read == "mean":
            total /= real[:, np.newaxis].astype(values.dtype)
    return total
