"""A table of vectors, looked up by integer ids."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fastlstm.network.weights import Weights, as_floats, freeze

__all__ = ["Embedding"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False)
class Embedding(Weights):
    """A table of vectors: integer ids ``0 ... V - 1`` in, vectors of E numbers out.

    Parameters
    ----------
    weight : array (V, E), float32 or float64
        The vector of each id.
    padding_id : int, optional
        A step with this id is masked: it changes no state (Keras' ``mask_zero``).

    Raises
    ------
    TypeError
        If the array is neither float32 nor float64.
    ValueError
        If the array has another shape, a weight is NaN or infinite, or `padding_id` is not an id
        of the table.

    Examples
    --------
    >>> Embedding(np.zeros((20_000, 64))).output_size
    64
    """

    takes: ClassVar = "sequence"
    gives: ClassVar = "sequence"

    weight: Array  # (V, E)
    _: KW_ONLY
    padding_id: int | None = None

    def __post_init__(self) -> None:
        weight = as_floats("weight", self.weight)
        if weight.ndim != 2 or 0 in weight.shape:
            raise ValueError(
                "weight: expected shape (V, E) for V >= 1 ids and vectors of E >= 1 numbers, "
                f"got {weight.shape}"
            )
        if self.padding_id is not None and not 0 <= self.padding_id < len(weight):
            raise ValueError(
                f"padding_id: expected an id in 0 ... {len(weight) - 1}, got {self.padding_id!r}"
            )
        if self.padding_id is not None:
            object.__setattr__(self, "padding_id", int(self.padding_id))
        freeze(self, {"weight": weight})

    @property
    def ids(self) -> int:
        """V, the number of ids."""
        return int(self.weight.shape[0])

    @property
    def input_size(self) -> int:
        """1, since a step has one id."""
        return 1

    @property
    def output_size(self) -> int:
        """E, the size of a vector."""
        return int(self.weight.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """``float32`` or ``float64``."""
        return self.weight.dtype

    def __repr__(self) -> str:
        padding = "" if self.padding_id is None else f", padding_id={self.padding_id}"
        return f"Embedding({self.ids} ids -> {self.output_size}{padding}, {self.dtype})"
