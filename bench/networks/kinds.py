"""The kinds of network that are measured, and what each is held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.harness.workload import Workload
from fastlstm import LSTM, Bidirectional, Embedding, Layer
from tests.shapes import make_input, make_model

Array = npt.NDArray[Any]

VOCABULARY = 20_000
SHORTER = 4  # a projection gives so many times fewer numbers than there are hidden units


class Kind(NamedTuple):
    """A kind of network, the sizes of its workload, and the plain network to hold it against."""

    sizes: tuple[int, int, int, int, int]  # N, T, I, H, layers
    what: str
    beside: str  # what the plain network is
    make: Callable[[Workload], LSTM]
    plain: Callable[[Workload], LSTM]
    most: float | None = None  # times as long as the plain network that it may take ...
    by_work: bool = False  # ... for as many operations of matrix products


@dataclass(frozen=True)
class NetworkWorkload(Workload):
    """A workload whose network is of the kind of its name."""

    most_checked: ClassVar[int] = 128  # the reference keeps every value of every step of these

    @classmethod
    def named(cls, name: str, dtype: str) -> NetworkWorkload:
        return cls(name, *KINDS[name].sizes, dtype)

    def model(self) -> LSTM:
        return KINDS[self.name].make(self)

    def plain(self) -> LSTM:
        """The network that it is held against."""
        return KINDS[self.name].plain(self)

    def inputs(self) -> Array:
        """Random input ``(N, T, I)``, or ids ``(N, T)`` where the network looks them up."""
        if self.name == "embedding":
            rng = np.random.Generator(np.random.PCG64([self.N, self.T]))
            return rng.integers(0, VOCABULARY, (self.N, self.T))
        return super().inputs()

    def plain_inputs(self, x: Array) -> Array:
        """The input of the plain network: the same, or the vectors of its ids."""
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
    """The weights of all matrix products, including those with an id's vector."""
    cells = [cell for layer in model.recurrent for cell in layer.cells]
    arrays = [a for cell in cells for a in (cell.w_ih, cell.w_hh, cell.w_hr) if a is not None]
    return sum(array.size for array in arrays)


def layer(work: Workload, inputs: int | None = None, seed: int = 0) -> Layer:
    """One plain layer with random weights."""
    made = make_model(inputs or work.I, (work.H,), dtype=work.dtype, seed=seed).layers[0]
    assert isinstance(made, Layer)
    return made


def one_direction(work: Workload, every: bool = False) -> LSTM:
    return LSTM(make_model(work.I, (work.H,) * work.layers, dtype=work.dtype).layers, None, every)


def every_step(work: Workload) -> LSTM:
    return one_direction(work, every=True)


def bidirectional(work: Workload, every: bool = False) -> LSTM:
    layers = []
    for k in range(work.layers):
        inputs = 2 * work.H if k else work.I
        backward = replace(layer(work, inputs, 2 * k + 1), direction="reverse")
        layers.append(Bidirectional(layer(work, inputs, 2 * k), backward))
    return LSTM(layers, None, every)


def both_every_step(work: Workload) -> LSTM:
    return bidirectional(work, every=True)


def peepholes(work: Workload) -> LSTM:
    weights = make_input(1, 3, work.H, work.dtype)[0] / 2
    return LSTM([replace(layer(work), peepholes=weights)])


def projection(work: Workload) -> LSTM:
    outputs = max(1, work.H // SHORTER)
    whole = layer(work)
    w_hr = make_input(1, outputs, work.H, work.dtype)[0] / np.sqrt(work.H).astype(work.dtype)
    return LSTM([replace(whole, w_hh=whole.w_hh[:, :outputs], w_hr=w_hr)])


def embedding(work: Workload) -> LSTM:
    return LSTM([Embedding(make_input(1, VOCABULARY, work.I, work.dtype)[0]), layer(work)])


def hard_sigmoid(work: Workload) -> LSTM:
    return LSTM([replace(layer(work), activations=("hard_sigmoid", "tanh", "tanh"))])


def relu(work: Workload) -> LSTM:
    """Rectified candidates and outputs; weights small enough for states that stay finite."""
    whole = layer(work)
    less = {name: getattr(whole, name) / 4 for name in ("w_ih", "w_hh")}
    return LSTM([replace(whole, **less, activations=("sigmoid", "relu", "relu"))])


def coupled(work: Workload) -> LSTM:
    return LSTM([replace(layer(work), coupled=True)])


ONE_LAYER = "one direction"

KINDS = {
    "bidir_tag": Kind(
        (4_096, 64, 32, 64, 1),
        "two directions, every step",
        ONE_LAYER,
        both_every_step,
        every_step,
        2.1,
    ),
    "bidir_last": Kind(
        (8_192, 50, 16, 32, 1),
        "two directions, last states",
        ONE_LAYER,
        bidirectional,
        one_direction,
        2.1,
    ),
    "bidir_two": Kind(
        (2_048, 60, 16, 64, 2),
        "two such layers, last states",
        "two layers of one direction, by work",
        bidirectional,
        one_direction,
        1.05,
        by_work=True,
    ),
    "bidir_tiny": Kind(
        (40_000, 50, 1, 8, 1),
        "two directions, last states",
        ONE_LAYER,
        bidirectional,
        one_direction,
        2.1,
    ),
    "peephole": Kind((4_096, 100, 8, 32, 1), "peepholes", "none", peepholes, one_direction, 1.1),
    "projection": Kind(
        (2_048, 60, 32, 256, 1),
        "a projection to 64",
        "none, by work",
        projection,
        one_direction,
        1.0,
        by_work=True,
    ),
    "embedding": Kind(
        (8_192, 64, 64, 64, 1),
        f"ids of {VOCABULARY:,} vectors",
        "the vectors as input",
        embedding,
        one_direction,
        1.0,
    ),
    "hard_sigmoid": Kind(
        (4_096, 100, 8, 32, 1), "hard_sigmoid gates", "sigmoid", hard_sigmoid, one_direction
    ),
    "relu": Kind((4_096, 100, 8, 32, 1), "relu for tanh", "tanh", relu, one_direction),
    "coupled": Kind((4_096, 100, 8, 32, 1), "forget gate 1 - i", "its own", coupled, one_direction),
}
