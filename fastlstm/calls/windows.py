"""Sliding windows over a long series, read where they lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.network.weights import immutable

__all__ = ["Windows"]

Array = npt.NDArray[Any]


class Windows:
    """N sequences that are stretches of one series, and may overlap.

    Parameters
    ----------
    series : array (L, I), or (L,) for one input
        The steps that all windows are taken from.
    starts : array (N,) of int
        The step that each window begins with.
    steps : int
        T, the steps of a window.

    Raises
    ------
    ValueError
        If a window reaches beyond the series.
    """

    def __init__(self, series: Array, starts: Array, steps: int) -> None:
        self.series = series if series.ndim == 2 else series.reshape(-1, 1)  # (L, I)
        # Kernels trust the starts: a copy is checked, and cannot be written to afterwards.
        self.starts = immutable(np.asarray(starts, np.int64))
        self.steps = steps
        if len(self.starts) and not 0 <= self.starts.min() <= self.starts.max() <= (
            len(self.series) - steps
        ):
            raise ValueError(
                f"expected windows of {steps} steps within a series of {len(self.series)}, got "
                f"starts {self.starts.min()} ... {self.starts.max()}"
            )

    def __len__(self) -> int:
        return len(self.starts)
