"""The states of all cells, flat: the (N, numbers) of one cell after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.engine.run.source import Rows
from fastlstm.network.layers import Layer

Array = npt.NDArray[Any]
Pair = tuple[Array, Array]


class StateRows:
    """Takes rows out of flat states and puts them back."""

    def __init__(self, cells: Sequence[Layer]) -> None:
        self.sizes = [k.output_size for k in cells], [k.hidden_size for k in cells]
        self.dtype = cells[0].dtype

    def zeros(self, n_rows: int) -> Pair:
        """Return a state of zeros."""
        h, c = (np.zeros(n_rows * sum(sizes), self.dtype) for sizes in self.sizes)
        return h, c

    def take(self, whole: Pair, n_rows: int, rows: Rows, n: int) -> Pair:
        """Return the state of n rows of `n_rows`."""
        part = self.zeros(n)
        for of_all, of_some in self._pairs(whole, part, n_rows, n):
            of_some[...] = of_all[rows]
        return part

    def put(self, whole: Pair, part: Pair, n_rows: int, rows: Rows, n: int) -> None:
        """Write the state of n rows back."""
        for of_all, of_some in self._pairs(whole, part, n_rows, n):
            of_all[rows] = of_some

    def _pairs(self, whole: Pair, part: Pair, n_rows: int, n: int) -> Iterator[tuple[Array, Array]]:
        for of_all, of_some, sizes in zip(whole, part, self.sizes, strict=True):
            at = 0
            for size in sizes:
                end = at + size
                yield (
                    of_all[at * n_rows : end * n_rows].reshape(n_rows, size),
                    of_some[at * n : end * n].reshape(n, size),
                )
                at = end
