"""The state of a call, validated and laid out for the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.calls.sources import check_numbers, convert_into, count_of
from fastlstm.network.layers import Layer
from fastlstm.network.state import State, StateSizes

__all__ = ["flat_state", "learned_state", "new_state", "of_first_layers"]

NAMES = "h_n of state", "c_n of state"

Array = npt.NDArray[Any]
Pair = tuple[Array, Array]


def flat_state(
    state: Any, layers: tuple[StateSizes, ...], n_rows: int, dtype: np.dtype[Any]
) -> tuple[Array, Array]:
    """Return h and c of all layers, one after the other, each direction's (N, H) flattened.

    A state that an earlier call returned is not copied: the engine only reads it.

    Parameters
    ----------
    state
        A `State`; a list of pairs (h, c), one for each layer, each array (D, N, H); or torch's pair
        (h_n, c_n), each (L * D, N, H).
    layers, n_rows, dtype
        The layers and the number of sequences that the state must fit, and the dtype to return.

    Raises
    ------
    TypeError
        If it has another form, or does not hold real numbers.
    ValueError
        If its shapes do not fit the model or the sequences.
    """
    if isinstance(state, State) and state.fits(layers, n_rows, dtype):
        assert state.flat is not None
        return state.flat
    pairs = _state_pairs(state, layers)
    if len(pairs) != len(layers):
        raise ValueError(f"expected a state of {count_of(len(layers), 'layer')}, got {len(pairs)}")
    parts: tuple[list[Array], list[Array]] = ([], [])
    for i, (pair, sizes) in enumerate(zip(pairs, layers, strict=True)):
        for name, value, part, size in zip("hc", pair, parts, sizes[1:], strict=True):
            array = check_numbers(value, f"state {name} of layer {i}")
            expected = sizes.directions, n_rows, size
            if array.shape != expected:
                raise ValueError(
                    f"state {name} of layer {i}: expected shape {expected} (directions, "
                    f"sequences, hidden units), got {array.shape}"
                )
            array = array.reshape(-1)
            if array.dtype != dtype:
                given, array = array, np.empty(array.size, dtype)
                convert_into(given, array)
            part.append(array)
    return np.concatenate(parts[0]), np.concatenate(parts[1])  # copies, even of a single layer


def learned_state(cells: Sequence[Layer], n_rows: int, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return the learned state of all layers for `n_rows` rows, laid out as by `flat_state`.

    It is zero for layers that have none.
    """
    parts = []
    for learned, size in (("h_0", "output_size"), ("c_0", "hidden_size")):
        rows = [(getattr(cell, learned), getattr(cell, size)) for cell in cells]
        parts.append([
            np.tile(np.zeros(size, dtype) if row is None else row, n_rows) for row, size in rows
        ])  # fmt: skip
    return np.concatenate(parts[0]), np.concatenate(parts[1])


def new_state(sizes: tuple[StateSizes, ...], n_rows: int, dtype: np.dtype[Any]) -> State:
    """Return memory for the final state of all layers."""
    h, c = _numbers(sizes)
    return State.view(np.empty(n_rows * h, dtype), np.empty(n_rows * c, dtype), sizes, n_rows)


def of_first_layers(flat: Pair | None, sizes: Sequence[StateSizes], n_rows: int) -> Pair | None:
    """Return the part of a flat state that belongs to the first layers, which have these sizes."""
    if flat is None:
        return None
    h, c = _numbers(sizes)
    return flat[0][: n_rows * h], flat[1][: n_rows * c]


def _numbers(sizes: Sequence[StateSizes]) -> tuple[int, int]:
    """Return how many numbers h and c have for each sequence."""
    all_h = all_c = 0
    for d, h, c in sizes:
        all_h, all_c = all_h + d * h, all_c + d * c
    return all_h, all_c


def _state_pairs(state: Any, layers: Sequence[StateSizes]) -> list[tuple[Any, Any]]:
    if not isinstance(state, list | tuple):
        raise TypeError(
            "expected state to be what a call of the model returned, a list of (h, c) pairs or "
            f"torch's pair (h_n, c_n), got {type(state).__name__}"
        )
    if not isinstance(state, State) and len(state) == 2 and not isinstance(state[0], list | tuple):
        h_n, c_n = (check_numbers(part, name) for part, name in zip(state, NAMES, strict=True))
        if h_n.ndim != 3 or c_n.ndim != 3 or len(h_n) != len(c_n):
            raise ValueError(
                f"expected h_n and c_n of shape (layers, sequences, hidden units), "
                f"got {h_n.shape} and {c_n.shape}"
            )
        ends = np.cumsum([layer.directions for layer in layers])
        if len(h_n) != ends[-1]:
            what = count_of(ends[-1], "layer" if ends[-1] == len(layers) else "direction")
            raise ValueError(f"expected a state of {what}, got {len(h_n)}")
        return list(zip(np.split(h_n, ends[:-1]), np.split(c_n, ends[:-1]), strict=True))
    for i, pair in enumerate(state):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise TypeError(f"expected state of layer {i} to be a pair (h, c)")
    return [(pair[0], pair[1]) for pair in state]
