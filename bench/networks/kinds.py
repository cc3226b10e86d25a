"""The kinds of network: a table, and what makes each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.harness.internals import ACTIVATION_WORK
from bench.harness.parts import (
    Conv,
    Join,
    LayerNorm,
    Network,
    Pool,
    Read,
    Repeat,
    StepSoftmax,
    operations,
)
from bench.harness.workload import Workload
from fastlstm import LSTM, Bidirectional, Dense, Embedding, Layer
from tests.shapes import make_input, make_model

Array = npt.NDArray[Any]

VOCABULARY = 20_000
SHORTER = 4  # hidden units for each number that a projection gives


class Kind(NamedTuple):
    """A kind of network, the sizes of its workload, and what to hold it against."""

    sizes: tuple[int, int, int, int, int]  # N, T, I, H, layers
    what: str
    beside: str  # what the plain network is
    make: Callable[[Workload], LSTM]
    plain: Callable[[Workload], LSTM] | None = None
    most: float | None = None  # times as long as the plain network that it may take ...
    by_work: bool = False  # ... for as many operations of matrix products
    least: float | None = None  # times as fast as the fastest other engine that it should be


@dataclass(frozen=True)
class NetworkWorkload(Workload):
    """A workload whose network is of the kind of its name."""

    most_checked: ClassVar[int] = 128  # the reference keeps every value of every step of these

    @classmethod
    def named(cls, name: str, dtype: str) -> NetworkWorkload:
        return cls(name, *KINDS[name].sizes, dtype)

    def model(self) -> LSTM:
        return KINDS[self.name].make(self)

    def plain(self) -> LSTM | None:
        """The plain network that it is held against, if there is one."""
        plain = KINDS[self.name].plain
        return None if plain is None else plain(self)

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
    def flops(self) -> int:
        return self.N * operations(self.model(), self.T)

    @property
    def plain_flops(self) -> int | None:
        """Operations of the plain network's matrix products."""
        plain = self.plain()
        return None if plain is None else self.N * operations(plain, self.T)

    @property
    def work_a_sequence(self) -> int:
        model = self.model()
        units = sum(cell.hidden_size for layer in model.recurrent for cell in layer.cells)
        return operations(model, self.T) + self.T * units * ACTIVATION_WORK


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


# --- whole networks ----------------------------------------------------------------------------


def cnn_lstm(work: Workload) -> LSTM:
    """Sensors: a convolution, pooling, the last state, classes."""
    return whole(
        conv(work, work.I, taps=5, padding="valid"),
        Pool("max", 2),
        layer(work, work.H),
        Read("final"),
        dense(work, work.H, 6, "softmax"),
    )


def cnn_bilstm(work: Workload) -> LSTM:
    """Frames of speech: two convolutions, two directions, logits of every step."""
    return whole(
        conv(work, work.I, taps=3, padding="same"),
        conv(work, work.H, taps=3, padding="same", seed=1),
        both(work, work.H),
        dense(work, 2 * work.H, 30),
        every=True,
    )


def autoencoder(work: Workload) -> LSTM:
    """Two layers down to one vector, and from that two layers up to the inputs again."""
    less = replace(work, H=work.H // 2)
    return whole(
        layer(work, work.I),
        layer(less, work.H, 1),
        Read("final"),
        Repeat(work.T),
        layer(less, less.H, 2),
        layer(work, less.H, 3),
        dense(work, work.H, work.I),
        every=True,
    )


def attention(work: Workload) -> LSTM:
    """Additive attention: a score for each step, softmax over the steps, the weighted sum."""
    return whole(
        both(work, work.I),
        dense(work, 2 * work.H, work.H, "tanh"),
        dense(work, work.H, 1, seed=1),
        StepSoftmax(),
        Join("multiply", (0, 3)),
        Read("sum"),
        dense(work, 2 * work.H, 1, seed=2),
    )


def layer_norm(work: Workload) -> LSTM:
    scale, shift = normal(work, 2, work.H, 1, 5)
    norm = LayerNorm(1 + scale / 4, shift / 4)
    return whole(layer(work), norm, layer(work, work.H, 1), Read("final"))


def whole(*parts: Any, every: bool = False) -> LSTM:
    return LSTM.from_network(Network(parts, every))


def both(work: Workload, inputs: int) -> Bidirectional:
    return Bidirectional(layer(work, inputs), replace(layer(work, inputs, 1), direction="reverse"))


def conv(work: Workload, inputs: int, taps: int, padding: Any, seed: int = 0) -> Conv:
    """A convolution with as many filters as the layers have units, rectified."""
    weight = normal(work, work.H, inputs * taps, inputs * taps, seed)
    bias = normal(work, 1, work.H, inputs * taps, seed)[0]
    shaped = weight.reshape(work.H, taps, inputs)
    return Conv(shaped, bias, padding=padding, activation="relu")


def dense(
    work: Workload, inputs: int, outputs: int, activation: str = "linear", seed: int = 0
) -> Dense:
    weight, bias = normal(work, outputs, inputs, inputs, seed), normal(work, 1, outputs, inputs)
    return Dense(weight, bias[0], activation=activation)


def normal(work: Workload, rows: int, columns: int, fan_in: int, seed: int = 0) -> Array:
    """Random weights ``(rows, columns)``, of a variance that keeps that of their products."""
    drawn = make_input(1, rows, columns, work.dtype, seed)[0]
    return drawn / np.sqrt(fan_in).astype(work.dtype)


ONE_LAYER = "one direction"
LEAST_TIMES = 1.5  # as fast as any other engine

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
    "cnn_lstm": Kind(
        (8_192, 128, 9, 64, 1),
        "64 filters of 5 taps, pooling by 2, 6 classes",
        "",
        cnn_lstm,
        least=LEAST_TIMES,
    ),
    "cnn_bilstm": Kind(
        (512, 400, 80, 128, 1),
        "twice 128 filters of 3 taps, two directions, 30 outputs a step",
        "",
        cnn_bilstm,
        least=LEAST_TIMES,
    ),
    "autoencoder": Kind(
        (20_000, 48, 8, 64, 4),
        "64, 32, repeated, 32, 64, 8 outputs a step",
        "",
        autoencoder,
        least=LEAST_TIMES,
    ),
    "attention": Kind(
        (4_096, 100, 16, 64, 1),
        "two directions, additive attention",
        "",
        attention,
        least=LEAST_TIMES,
    ),
    "layer_norm": Kind(
        (8_192, 100, 16, 64, 2),
        "layer normalisation between two layers",
        "none",
        layer_norm,
        one_direction,
        least=LEAST_TIMES,
    ),
}
