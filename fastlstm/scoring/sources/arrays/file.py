"""An array in a file, whatever kind of file it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fastlstm.scoring.chunk import MappedFile

__all__ = ["ArrayFile"]

Array = npt.NDArray[Any]


class ArrayFile(Protocol):
    """An array in a file."""

    name: str  # for messages
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    held: int = 0  # bytes of the array that are held in memory

    def read(self, rows: slice, steps: slice) -> Array:
        """Return some rows (axis 0), and of them some steps (axis 1, if there is one)."""

    def missing(self, rows: slice, steps: slice) -> npt.NDArray[np.bool_] | None:
        """Return which of these rows and steps the file lacks, (n, T); None if it has all.

        Call it after `read`, whose numbers mean nothing there.
        """
        return None

    def identity(self) -> dict[str, Any]:
        """Return what tells this array from a changed one."""

    def mapped_files(self) -> Sequence[MappedFile]:
        """Return the files whose memory the arrays lie in that were read."""
        return []

    def close(self) -> None:
        """Close the file."""
