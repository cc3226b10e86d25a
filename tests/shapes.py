"""Small shapes for the tests, and makers of random networks and inputs for tests and benchmarks.

Tests say ``from shapes import ...`` (pytest puts this folder on the path), the benchmarks,
which run from the root of the repository, ``from tests.shapes import ...``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm import LSTM, Dense, Layer

Array = npt.NDArray[Any]


class Case(NamedTuple):
    """One small network and the size of its input."""

    N: int
    T: int
    I: int  # noqa: E741
    hidden_sizes: tuple[int, ...]
    outputs: int  # 0: no head


# Sizes at and beside every edge that the engine has: one vector, one tile, one block of a sum.
CASES = {
    "scalar": Case(67, 19, 1, (1,), 1),
    "scalar_one_step": Case(33, 1, 1, (1,), 0),
    "one_input": Case(70, 13, 1, (8,), 2),
    "one_unit": Case(35, 12, 5, (1,), 0),
    "odd": Case(41, 11, 3, (5,), 3),
    "one_step": Case(18, 1, 4, (9,), 1),
    "wide_input": Case(19, 5, 67, (4,), 0),
    "two_layers": Case(37, 9, 2, (7, 7), 1),
    "tapered": Case(50, 10, 6, (33, 3, 12), 2),
    "scalars_stacked": Case(34, 8, 1, (1, 1), 1),
    "blocks": Case(17, 6, 33, (65,), 40),
    "wide": Case(20, 4, 16, (130,), 1),
}

GATE_BIAS = (-0.3, 0.9, 0.2, -0.8)  # i f g o: a swapped order cannot pass
GATE_SCALE = (1.0, 0.7, 1.6, 1.3)


def make_model(
    input_size: int,
    hidden_sizes: tuple[int, ...],
    outputs: int = 0,
    dtype: npt.DTypeLike = "float32",
    seed: int = 0,
) -> LSTM:
    """A network with random weights, the same on every platform; all four gates differ.

    Parameters
    ----------
    input_size
        I of the first layer.
    hidden_sizes
        H of each layer.
    outputs
        Outputs of the dense head; 0 for none.
    dtype, seed
        The weights are drawn in float64 and rounded.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    layers = []
    below = input_size
    for size in hidden_sizes:
        scale = np.repeat(GATE_SCALE, size) / np.sqrt(size)
        w_ih, w_hh = (rng.uniform(-1, 1, (4 * size, k)) * scale[:, None] for k in (below, size))
        b_ih = np.repeat(GATE_BIAS, size) + rng.uniform(-1, 1, 4 * size) * scale
        b_hh = rng.uniform(-1, 1, 4 * size) * scale
        layers.append(Layer(*(a.astype(dtype) for a in (w_ih, w_hh, b_ih, b_hh))))
        below = size
    head = None
    if outputs:
        weight, bias = rng.uniform(-1, 1, (outputs, below)), rng.uniform(-1, 1, outputs)
        head = Dense(weight.astype(dtype), bias.astype(dtype))
    return LSTM(layers, head)


def make_input(
    N: int, T: int, input_size: int, dtype: npt.DTypeLike = "float32", seed: int = 0
) -> Array:
    """Standard normal input ``(N, T, I)``, drawn in float64 and rounded."""
    rng = np.random.Generator(np.random.PCG64([seed, N, T, input_size]))
    return rng.standard_normal((N, T, input_size)).astype(dtype)
