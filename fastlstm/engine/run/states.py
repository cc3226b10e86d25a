"""States of all cells, flat: each cell's (N, numbers) one behind the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.network.layers import Layer

Array = npt.NDArray[Any]
Pair = tuple[Array, Array]


class StateRows:
    """Takes rows out of flat states and puts them back."""

    def __init__(self, cells: Sequence[Layer]) -> None:
        self.sizes = [k.output_size for k in cells], [k.hidden_size for k in cells]
        self.dtype = cells[0].dtype

    def zeros(self, n_rows: int) -> Pair:
        """Return a state of so many rows."""
        h, c = (np.zeros(n_rows * sum(sizes), self.dtype) for sizes in self.sizes)
        return h, c

    def take(self, whole: Pair | None, n_rows: int, rows: Any, n: int) -> Pair | None:
        """Return the state of some rows of `n_rows`."""
        if whole is None:
            return None
        part = self.zeros(n)
        for of_all, of_some in self._pairs(whole, part, n_rows, n):
            of_some[...] = of_all[rows]
        return part

    def put(self, whole: Pair, part: Pair, n_rows: int, rows: Any, n: int) -> None:
        """Write the state of some rows back."""
        for of_all, of_some in self._pairs(whole, part, n_rows, n):
            of_all[rows] = of_some

    def _pairs(self, whole: Pair, part: Pair, n_rows: int, n: int) -> list[tuple[Array, Array]]:
        pairs = []
        for of_all, of_some, sizes in zip(whole, part, self.sizes, strict=True):
            at = 0
            for size in sizes:
                pairs.append((
                    of_all[at * n_rows : (at + size) * n_rows].reshape(n_rows, size),
                    of_some[at * n : (at + size) * n].reshape(n, size),
                ))  # fmt: skip
                at += size
        return pairs
