"""The state of a network between two calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["LayerState", "State", "StateSizes"]

Array = npt.NDArray[Any]


class StateSizes(NamedTuple):
    """The sizes of a recurrent layer's state, for each of its directions."""

    directions: int  # D
    h: int  # numbers of a hidden state
    c: int  # numbers of a cell state


class LayerState(NamedTuple):
    """The state of one layer: hidden state and cell state, one row for each direction."""

    h: Array  # (D, N, H)
    c: Array  # (D, N, H)


class State(tuple[LayerState, ...]):
    """The state of every layer: a tuple of `LayerState`, first layer first.

    A call returns it and takes it back as ``state=``, so that a long sequence can be fed in
    pieces. The layers' hidden sizes may differ.

    Parameters
    ----------
    layers : iterable of (h, c)
        For each recurrent layer two arrays ``(D, N, H)``: directions, sequences, hidden units. With
        a projection to P numbers, h is ``(D, N, P)``.

    Examples
    --------
    >>> _, state = model(first_half)  # doctest: +SKIP
    >>> output, state = model(second_half, state=state)  # doctest: +SKIP
    >>> state[0].h.shape, state.h_n.shape  # one layer of 32 units, 10 sequences  # doctest: +SKIP
    ((1, 10, 32), (1, 10, 32))
    """

    flat: tuple[Array, Array] | None = None  # h and c that it is a view of, if it is one
    layout: tuple[Any, ...] | None = None  # how it lies in them, see `view`

    def __new__(cls, layers: Iterable[tuple[Array, Array]]) -> State:
        return super().__new__(cls, (LayerState(h, c) for h, c in layers))

    @classmethod
    def view(cls, h: Array, c: Array, sizes: tuple[StateSizes, ...], n_rows: int) -> State:
        """Return the state of `n_rows` sequences in flat `h` and `c`, one layer after the other."""
        layers = []
        at_h = at_c = 0
        for d, n_h, n_c in sizes:
            of_h, of_c = h, c
            if len(sizes) > 1:
                to_h, to_c = at_h + d * n_rows * n_h, at_c + d * n_rows * n_c
                of_h, of_c, at_h, at_c = h[at_h:to_h], c[at_c:to_c], to_h, to_c
            layers.append(LayerState(of_h.reshape(d, n_rows, n_h), of_c.reshape(d, n_rows, n_c)))
        state: State = tuple.__new__(cls, layers)
        state.flat, state.layout = (h, c), (sizes, n_rows, h.dtype)
        return state

    def fits(self, sizes: tuple[StateSizes, ...], n_rows: int, dtype: np.dtype[Any]) -> bool:
        """Tell whether `flat` is a state of these sizes, and its arrays still lie in it.

        They can be changed in place: their numbers, which are those of `flat`, but also their
        shapes.
        """
        if self.layout != (sizes, n_rows, dtype):
            return False
        for (h, c), (d, n_h, n_c) in zip(self, sizes, strict=True):
            if h.shape != (d, n_rows, n_h) or c.shape != (d, n_rows, n_c):
                return False
        return True

    @property
    def h_n(self) -> Array:
        """The hidden states stacked as torch's ``h_n``, ``(L * D, N, H)``.

        Raises
        ------
        ValueError
            If the layers' hidden sizes differ: then there is no such array.
        """
        return self._stacked("h_n", [layer.h for layer in self])

    @property
    def c_n(self) -> Array:
        """The cell states stacked as torch's ``c_n``, ``(L * D, N, H)``.

        Raises
        ------
        ValueError
            If the layers' hidden sizes differ: then there is no such array.
        """
        return self._stacked("c_n", [layer.c for layer in self])

    @staticmethod
    def _stacked(name: str, parts: list[Array]) -> Array:
        sizes = [part.shape[-1] for part in parts]
        if len(set(sizes)) > 1:
            raise ValueError(
                f"{name} stacks layers of one hidden size, but these have {sizes} units: "
                "take state[k].h and state[k].c layer by layer"
            )
        return np.concatenate(parts)

    def __repr__(self) -> str:
        return f"State({', '.join(f'h, c {layer.h.shape}' for layer in self)})"

    def __reduce__(self) -> tuple[type[State], tuple[tuple[LayerState, ...]]]:
        return type(self), (tuple(self),)
