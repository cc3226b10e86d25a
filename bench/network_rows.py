"""The rows of `python -m bench networks`: one for each kind of network beside plain stacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.rows import Row
from fastlstm import LSTM, Bidirectional, Embedding, Layer
from tests.shapes import make_input, make_model

Array = npt.NDArray[Any]

VOCABULARY = 20_000
SHORTER = 4  # a projection gives so many times fewer numbers than there are hidden units


class Network(NamedTuple):
    """A kind of network, the sizes of its row, and the plain network that it is held against."""

    sizes: tuple[int, int, int, int, int]  # N, T, I, H, layers
    what: str
    beside: str  # what the plain network is
    make: Callable[[Row], LSTM]
    plain: Callable[[Row], LSTM]
    most: float | None = None  # times the plain network's time that it may take
    by_work: bool = False  # that time is per operation of the matrix products


@dataclass(frozen=True)
class NetworkRow(Row):
    """A row whose network is that of its name in `NETWORKS`."""

    most_checked: ClassVar[int] = 128  # the reference keeps every value of every step of these

    @classmethod
    def named(cls, name: str, dtype: str) -> NetworkRow:
        return cls(name, *NETWORKS[name].sizes, dtype)

    def model(self) -> LSTM:
        return NETWORKS[self.name].make(self)

    def plain(self) -> LSTM:
        """The network that it is held against."""
        return NETWORKS[self.name].plain(self)

    def inputs(self) -> Array:
        """Random input ``(N, T, I)``, or ids ``(N, T)`` where the network looks them up."""
        if self.name == "embedding":
            rng = np.random.Generator(np.random.PCG64([self.N, self.T]))
            return rng.integers(0, VOCABULARY, (self.N, self.T))
        return super().inputs()

    def plain_inputs(self, x: Array) -> Array:
        """The input of the plain network: the same, ids as their vectors."""
        first = self.model().layers[0]
        return first.weight[x] if isinstance(first, Embedding) else x

    @property
    def weights(self) -> int:
        return count_weights(self.model())

    @property
    def plain_flops(self) -> int:
        """Operations of the plain network's matrix products."""
        return self.steps * 2 * count_weights(self.plain())


def count_weights(model: LSTM) -> int:
    """The weights of all matrix products, those with an id's vector included."""
    cells = [cell for layer in model.recurrent for cell in layer.cells]
    arrays = [a for cell in cells for a in (cell.w_ih, cell.w_hh, cell.w_hr) if a is not None]
    return sum(array.size for array in arrays)


def layer(row: Row, inputs: int | None = None, seed: int = 0) -> Layer:
    """One plain layer with random weights."""
    made = make_model(inputs or row.I, (row.H,), dtype=row.dtype, seed=seed).layers[0]
    assert isinstance(made, Layer)
    return made


def one_direction(row: Row, every: bool = False) -> LSTM:
    return LSTM(make_model(row.I, (row.H,) * row.layers, dtype=row.dtype).layers, None, every)


def every_step(row: Row) -> LSTM:
    return one_direction(row, every=True)


def bidirectional(row: Row, every: bool = False) -> LSTM:
    layers = []
    for k in range(row.layers):
        inputs = 2 * row.H if k else row.I
        backward = replace(layer(row, inputs, 2 * k + 1), direction="reverse")
        layers.append(Bidirectional(layer(row, inputs, 2 * k), backward))
    return LSTM(layers, None, every)


def both_every_step(row: Row) -> LSTM:
    return bidirectional(row, every=True)


def peepholes(row: Row) -> LSTM:
    weights = make_input(1, 3, row.H, row.dtype)[0] / 2
    return LSTM([replace(layer(row), peepholes=weights)])


def projection(row: Row) -> LSTM:
    outputs = max(1, row.H // SHORTER)
    whole = layer(row)
    w_hr = make_input(1, outputs, row.H, row.dtype)[0] / np.sqrt(row.H).astype(row.dtype)
    return LSTM([replace(whole, w_hh=whole.w_hh[:, :outputs], w_hr=w_hr)])


def embedding(row: Row) -> LSTM:
    return LSTM([Embedding(make_input(1, VOCABULARY, row.I, row.dtype)[0]), layer(row)])


def hard_sigmoid(row: Row) -> LSTM:
    return LSTM([replace(layer(row), activations=("hard_sigmoid", "tanh", "tanh"))])


def relu(row: Row) -> LSTM:
    """Rectified candidates and outputs; weights small enough for states that stay finite."""
    whole = layer(row)
    less = {name: getattr(whole, name) / 4 for name in ("w_ih", "w_hh")}
    return LSTM([replace(whole, **less, activations=("sigmoid", "relu", "relu"))])


def coupled(row: Row) -> LSTM:
    return LSTM([replace(layer(row), coupled=True)])


ONE_LAYER = "one direction"

NETWORKS = {
    "bidir_tag": Network(
        (4_096, 64, 32, 64, 1),
        "two directions, every step",
        ONE_LAYER,
        both_every_step,
        every_step,
        2.1,
    ),
    "bidir_last": Network(
        (8_192, 50, 16, 32, 1),
        "two directions, last states",
        ONE_LAYER,
        bidirectional,
        one_direction,
        2.1,
    ),
    "bidir_two": Network(
        (2_048, 60, 16, 64, 2),
        "two such layers, last states",
        "two layers of one direction, by work",
        bidirectional,
        one_direction,
        1.05,
        by_work=True,
    ),
    "bidir_tiny": Network(
        (40_000, 50, 1, 8, 1),
        "two directions, last states",
        ONE_LAYER,
        bidirectional,
        one_direction,
        2.1,
    ),
    "peephole": Network((4_096, 100, 8, 32, 1), "peepholes", "none", peepholes, one_direction, 1.1),
    "projection": Network(
        (2_048, 60, 32, 256, 1),
        "a projection to 64",
        "none, by work",
        projection,
        one_direction,
        1.0,
        by_work=True,
    ),
    "embedding": Network(
        (8_192, 64, 64, 64, 1),
        f"ids of {VOCABULARY:,} vectors",
        "the vectors as input",
        embedding,
        one_direction,
        1.0,
    ),
    "hard_sigmoid": Network(
        (4_096, 100, 8, 32, 1), "hard_sigmoid gates", "sigmoid", hard_sigmoid, one_direction
    ),
    "relu": Network((4_096, 100, 8, 32, 1), "relu for tanh", "tanh", relu, one_direction),
    "coupled": Network(
        (4_096, 100, 8, 32, 1), "forget gate 1 - i", "its own", coupled, one_direction
    ),
}
