"""Networks of every kind that the engine computes, small, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm import LSTM, Bidirectional, Dense, Embedding, Layer, UnsupportedModelError
from fastlstm.network.convolution import Conv
from fastlstm.network.joints import AddInputs, From, Join
from fastlstm.network.masking import Masking
from fastlstm.network.network import Network, Part
from fastlstm.network.normalisation import Affine, LayerNorm
from fastlstm.network.pointwise import Activate, PReLU, StepSoftmax
from fastlstm.network.pooling import Pool
from fastlstm.network.reading import Read
from fastlstm.network.steps import Flatten, Pad, Repeat, Slice, Unflatten, Upsample

Array = npt.NDArray[Any]


class Maker:
    """Makes layers of one dtype with random weights; gates have clearly different biases."""

    def __init__(self, seed: int, dtype: str) -> None:
        self.rng, self.dtype = np.random.default_rng(seed), dtype

    def random(self, *shape: int) -> Array:
        return (self.rng.normal(size=shape) / np.sqrt(shape[-1])).astype(self.dtype)

    def layer(self, inputs: int, units: int, outputs: int = 0, **options: Any) -> Layer:
        """A layer; `outputs` of a projection; options that are True get random arrays."""
        shapes = {"peepholes": (3, units), "h_0": (outputs or units,), "c_0": (units,)}
        for name, shape in shapes.items():
            if options.get(name) is True:
                options[name] = self.random(*shape) * np.asarray(2, self.dtype)
        if outputs:
            options["w_hr"] = self.random(outputs, units)
        gates = np.repeat(np.array([-0.5, 1.0, 0.3, -1.2], self.dtype), units)
        return Layer(
            self.random(4 * units, inputs),
            self.random(4 * units, outputs or units),
            gates + self.random(4 * units),
            self.random(4 * units),
            **options,
        )

    def both(self, inputs: int, units: int, outputs: int = 0, **options: Any) -> Bidirectional:
        merge = options.pop("merge", "concat")
        forward = self.layer(inputs, units, outputs, **options)
        backward = self.layer(inputs, units, outputs, **options, direction="reverse")
        return Bidirectional(forward, backward, merge)

    def dense(self, inputs: int, outputs: int, activation: Any = "linear") -> Dense:
        return Dense(self.random(outputs, inputs), self.random(outputs), activation=activation)

    def embedding(self, ids: int, size: int, **options: Any) -> Embedding:
        return Embedding(self.random(ids, size), **options)

    def conv(self, inputs: int, outputs: int, taps: int, **options: Any) -> Conv:
        per_group = inputs // options.get("groups", 1)
        weight = self.random(outputs, taps * per_group).reshape(outputs, taps, per_group)
        return Conv(weight, self.random(outputs), **options)

    def affine(self, size: int) -> Affine:
        return Affine(self.random(size), self.random(size) + 1, self.random(size))

    def norm(self, size: int, epsilon: float = 1e-2, **options: Any) -> LayerNorm:
        return LayerNorm(self.random(size) + 1, self.random(size), epsilon, **options)

    def prelu(self, size: int) -> PReLU:
        return PReLU(self.random(size))


def chain(*parts: Part, every: bool = False) -> LSTM:
    """A model of any parts."""
    return LSTM.from_network(Network(parts, every))


ALL_OPTIONS: dict[str, Any] = {
    "peepholes": True,
    "coupled": True,
    "clip": 0.8,
    "h_0": True,
    "c_0": True,
    "activations": (("hard_sigmoid", 0.3, 0.4), "relu", ("elu", 1.3)),
}

NETWORKS: dict[str, Callable[[Maker], LSTM]] = {
    "bidirectional": lambda m: LSTM([m.both(3, 5)]),
    "bidirectional, head": lambda m: LSTM([m.both(3, 5)], m.dense(10, 2)),
    "bidirectional, last step": lambda m: LSTM([m.both(3, 5)], m.dense(10, 2), read="last"),
    "bidirectional, mean": lambda m: LSTM([m.both(3, 5)], m.dense(10, 2), read="mean"),
    "bidirectional, maximum": lambda m: LSTM([m.both(3, 5)], m.dense(10, 2), read="max"),
    "bidirectional, sum": lambda m: LSTM([m.both(3, 5, merge="sum"), m.layer(5, 4)]),
    "bidirectional, mul": lambda m: LSTM([m.layer(3, 4), m.both(4, 5, merge="mul")]),
    "bidirectional, ave": lambda m: LSTM([m.both(3, 5, merge="ave")], m.dense(5, 1)),
    "bidirectional, two": lambda m: LSTM([m.both(3, 5), m.both(10, 7)], m.dense(14, 2)),
    "bidirectional, one unit": lambda m: LSTM([m.both(1, 1)]),
    "reverse": lambda m: LSTM([m.layer(3, 5, direction="reverse")], m.dense(5, 1)),
    "reverse, three": lambda m: LSTM(
        [m.layer(3, 5, direction="reverse"), m.layer(5, 5, direction="reverse"), m.layer(5, 3)]
    ),
    "reverse, last step": lambda m: LSTM([m.layer(3, 5, direction="reverse")], read="last"),
    "go_backwards": lambda m: LSTM([m.layer(3, 5, direction="go_backwards")]),
    "go_backwards, two": lambda m: LSTM(
        [m.layer(3, 5, direction="go_backwards"), m.layer(5, 4, direction="go_backwards")]
    ),
    "projection": lambda m: LSTM([m.layer(3, 19, 5), m.layer(5, 7, 3)], m.dense(3, 2)),
    "projection, both": lambda m: LSTM([m.both(3, 7, 4), m.both(8, 7, 4)]),
    "peepholes": lambda m: LSTM([m.layer(3, 7, peepholes=True), m.layer(7, 5, peepholes=True)]),
    "peepholes, one unit": lambda m: LSTM([m.layer(1, 1, peepholes=True)]),
    "peepholes, clip": lambda m: LSTM([m.both(3, 5, peepholes=True, clip=0.5)]),
    "coupled": lambda m: LSTM([m.layer(3, 7, coupled=True, clip=1.5)]),
    "coupled, peepholes": lambda m: LSTM([m.layer(3, 7, coupled=True, peepholes=True)]),
    "all options": lambda m: LSTM([m.embedding(20, 30), m.layer(30, 19, 6, **ALL_OPTIONS)]),
    "mixed cells": lambda m: LSTM(
        [m.layer(3, 5), m.layer(5, 4, activations=("sigmoid", "softsign", "tanh")), m.layer(4, 3)]
    ),
    "learned state": lambda m: LSTM([m.layer(2, 5, h_0=True, c_0=True), m.layer(5, 3, c_0=True)]),
    "embedding": lambda m: LSTM([m.embedding(20, 30), m.layer(30, 7), m.layer(7, 5)]),
    "embedding, short": lambda m: LSTM([m.embedding(20, 3), m.layer(3, 7)], m.dense(7, 1)),
    "embedding, both": lambda m: LSTM([m.embedding(20, 30), m.both(30, 7), m.layer(14, 5)]),
    "embedding, dense": lambda m: LSTM(
        [m.embedding(20, 9), m.dense(9, 4, "tanh"), m.dense(4, 3), m.both(3, 5)], m.dense(10, 2)
    ),
    "dense in between": lambda m: LSTM(
        [m.dense(3, 4, "tanh"), m.layer(4, 5), m.dense(5, 2, "relu"), m.layer(2, 3), m.dense(3, 2)],
        m.dense(2, 1),
    ),
    "head of three": lambda m: LSTM(
        [m.layer(3, 5)], [m.dense(5, 9, "relu"), m.dense(9, 70, "tanh"), m.dense(70, 3, "softmax")]
    ),
    "skip": lambda m: LSTM([m.layer(1, 5)], m.dense(5, 1), skip=1),
    "skip, two inputs": lambda m: LSTM([m.both(3, 5)], m.dense(10, 2), skip=2),
}

# Networks of the other parts, for sequences of `STEPS` steps. Joints read parts by their numbers.
STEPS = 9
WITH_PARTS: dict[str, Callable[[Maker], LSTM]] = {
    "conv": lambda m: chain(
        m.conv(3, 6, 3, activation="relu"), m.layer(6, 5), Read(), m.dense(5, 2)
    ),
    "conv, pool, batch norm": lambda m: chain(
        m.conv(3, 6, 3, padding="same", activation="relu"),
        m.affine(6),
        Pool("max", 2),
        m.conv(6, 4, 3, padding="same", stride=2),
        m.layer(4, 5),
        m.layer(5, 4),
        Read(),
        m.dense(4, 2, "sigmoid"),
    ),
    "conv, pool, both": lambda m: chain(
        m.conv(3, 6, 3, padding="same", dilation=2),
        Pool("max", 3, 2, padding="same"),
        m.both(6, 5),
        m.both(10, 4),
        Read("mean"),
        m.dense(8, 2),
    ),
    "conv, causal, groups": lambda m: chain(
        m.conv(3, 6, 3, padding="causal", dilation=2, groups=3, activation="elu"),
        m.conv(6, 6, 2, padding="causal", dilation=4, groups=6),
        m.layer(6, 5),
        m.dense(5, 2),
        every=True,
    ),
    "conv, padded": lambda m: chain(
        m.conv(3, 4, 4, padding=(2, 1), dilation=2, stride=3, activation="tanh"),
        m.both(4, 5),
        Read("last"),
        m.dense(10, 1),
    ),
    "conv, one unit": lambda m: chain(m.conv(1, 1, 2), m.layer(1, 1), Read()),
    "conv, one tap": lambda m: chain(m.conv(3, 5, 1, stride=2), m.both(5, 4), Read("max")),
    "conv, several blocks": lambda m: chain(
        m.conv(30, 66, 3, padding="same"), m.norm(66), m.layer(66, 5), Read(), m.dense(5, 2)
    ),
    "conv behind": lambda m: chain(
        m.layer(3, 5),
        m.conv(5, 4, 3, padding="same", activation="relu"),
        Pool("max", 2),
        Read("max"),
        m.dense(4, 2),
    ),
    "conv behind, both": lambda m: chain(
        m.both(3, 5), m.conv(10, 4, 2), Read("final"), m.dense(4, 2)
    ),
    "conv between": lambda m: chain(
        m.both(3, 5), m.conv(10, 4, 3, padding=(1, 1)), m.layer(4, 3), every=True
    ),
    "mean of padded windows": lambda m: chain(
        Pool("mean", 3, 2, padding=(1, 1), ceil=True, counts_padding=True),
        m.layer(3, 5),
        Read(),
        m.dense(5, 1),
    ),
    "mean of windows": lambda m: chain(
        m.dense(3, 4),
        Pool("mean", 4, 1, padding="same"),
        Pool("mean", 2, ceil=True),
        m.both(4, 5),
        Read("last"),
    ),
    "maximum of windows": lambda m: chain(
        Pool("max", 2, 2, dilation=3, padding=(1, 2), ceil=True),
        m.layer(3, 5),
        Pool("max", 2, 1, padding="causal"),
        Read("mean"),
    ),
    "autoencoder": lambda m: chain(
        m.layer(3, 5),
        m.layer(5, 4),
        Read(),
        Repeat(STEPS),
        m.layer(4, 4),
        m.layer(4, 5),
        m.dense(5, 3),
        every=True,
    ),
    "autoencoder, last step": lambda m: chain(
        m.both(3, 5), Read("last"), Repeat(4), m.layer(10, 4), m.dense(4, 3), every=True
    ),
    "autoencoder, both": lambda m: chain(
        m.both(3, 5), Read(), m.dense(10, 4, "relu"), Repeat(7), m.both(4, 4), m.dense(8, 3)
    ),
    "repeated, not walked": lambda m: chain(
        m.layer(3, 5), Read(), Repeat(6), m.conv(5, 4, 3), m.layer(4, 3), Read(), m.dense(3, 1)
    ),
    "repeated, computed with": lambda m: chain(
        m.layer(3, 5),
        Read(),
        Repeat(6),
        m.dense(5, 4, "relu"),
        m.norm(4),
        m.both(4, 3),
        From(2),
        m.layer(5, 6),
        Join("add", (5, 7)),
        Read("mean"),
        m.dense(6, 2),
    ),
    "dense to steps": lambda m: chain(
        m.layer(3, 5),
        Read(),
        m.dense(5, 12, "relu"),
        Unflatten(4),
        m.both(3, 4),
        Read("last"),
        m.dense(8, 1),
    ),
    "attention": lambda m: chain(
        m.layer(3, 5),
        m.dense(5, 1, "tanh"),
        StepSoftmax(),
        Join("multiply", (0, 2)),
        Read("sum"),
        m.dense(5, 2),
    ),
    "attention, additive": lambda m: chain(
        m.both(3, 5),
        m.dense(10, 4, "tanh"),
        m.dense(4, 1),
        StepSoftmax(),
        Join("multiply", (0, 3)),
        Read("sum"),
        m.dense(10, 2),
    ),
    "attention, dot": lambda m: chain(
        m.layer(3, 5),
        Read(),
        Join("dot", (0, 1)),
        StepSoftmax(),
        Join("multiply", (0, 3)),
        Read("sum"),
        Join("concatenate", (5, 1)),
        m.dense(10, 2),
    ),
    "attention, dot, both": lambda m: chain(  # of a dense layer's final outputs, which are joined
        m.both(3, 5),
        m.dense(10, 4, "tanh"),
        Read("final"),
        Join("dot", (1, 2)),
        StepSoftmax(),
        Join("multiply", (1, 4)),
        Read("sum"),
        Join("add", (6, 2)),
        m.dense(4, 2),
    ),
    "attention, of each number": lambda m: chain(
        m.both(3, 5), m.dense(10, 10), StepSoftmax(), Join("multiply", (0, 2)), Read("mean")
    ),
    "layer norm": lambda m: chain(
        m.norm(3), m.layer(3, 5), m.norm(5), m.layer(5, 4), m.norm(4, centered=False), m.dense(4, 2)
    ),
    "layer norm, both": lambda m: chain(
        m.both(3, 5),
        m.norm(10),
        m.both(10, 4),
        m.norm(8, 0.1),
        Read("final"),
        m.norm(8, centered=False),
        m.dense(8, 2),
    ),
    "flatten": lambda m: chain(
        m.layer(3, 5), m.dense(5, 2, "relu"), Flatten(STEPS), m.dense(2 * STEPS, 4), m.affine(4)
    ),
    "flatten, both": lambda m: chain(
        m.conv(3, 4, 2, stride=2), m.both(4, 3), Flatten(4), m.dense(24, 2)
    ),
    "frames": lambda m: chain(Flatten(STEPS), Unflatten(3), m.layer(9, 5), Read(), m.dense(5, 1)),
    "slices": lambda m: chain(
        Slice(None, None, -1), Slice(1, None, 2), m.layer(3, 5), Slice(-3, None), Read("mean")
    ),
    "slices, both": lambda m: chain(
        m.both(3, 5),
        Slice(1, -1),
        m.layer(10, 4, direction="reverse"),
        Slice(None, 3),
        m.dense(4, 2),
        every=True,
    ),
    "one step": lambda m: chain(m.both(3, 5), Slice(2, 3), Flatten(1), m.dense(10, 2)),
    "flatten, linear": lambda m: chain(m.layer(3, 5), Flatten(STEPS), m.dense(5 * STEPS, 2)),
    "flatten alone": lambda m: chain(m.layer(3, 5), Flatten(STEPS)),
    "upsampling": lambda m: chain(
        m.conv(3, 4, 3, padding="same", stride=2), Upsample(3), m.layer(4, 5), m.dense(5, 2)
    ),
    "upsampling, both": lambda m: chain(
        m.both(3, 5), Pool("mean", 3), Upsample(2), m.both(10, 3), Read("max"), m.dense(6, 1)
    ),
    "padding": lambda m: chain(
        Pad(2, 1, "edge"), Pad(1, 2, "reflect"), Pad(1, 0), m.layer(3, 5), Read(), m.dense(5, 1)
    ),
    "padding, both": lambda m: chain(
        m.both(3, 5), Pad(0, 2), Pad(1, 1, "edge"), m.conv(10, 4, 3), Read("mean"), m.dense(4, 1)
    ),
    "activations": lambda m: chain(
        m.prelu(3),
        m.layer(3, 5),
        Activate("softplus"),
        m.prelu(5),
        m.dense(5, 4),
        Read("final"),
        m.prelu(4),
        m.dense(4, 3),
        Activate("log_softmax"),
    ),
    "activations, both": lambda m: chain(
        Activate("softsign"),
        m.both(3, 5),
        Activate("softmax"),
        m.both(10, 4),
        m.affine(8),
        Activate(("leaky_relu", 0.2)),
        Read("last"),
        m.dense(8, 3),
        Activate("softmax"),
    ),
    "several reads": lambda m: chain(
        m.both(3, 5),
        Read("max"),
        From(0),
        Read("mean"),
        From(0),
        Read("final"),
        Join("concatenate", (1, 3, 5)),
        m.dense(30, 2),
    ),
    "residual": lambda m: chain(
        m.dense(3, 5),
        m.layer(5, 5),
        Join("add", (0, 1)),
        m.both(5, 4, merge="sum"),
        m.dense(4, 5),
        Join("add", (2, 4)),
        Read("last"),
        m.dense(5, 2),
    ),
    "convs side by side": lambda m: chain(
        m.conv(3, 4, 3, padding="same"),
        From(-1),
        m.conv(3, 2, 5, padding="same", activation="relu"),
        Join("concatenate", (0, 2, -1)),
        m.layer(9, 5),
        Read(),
        m.dense(5, 1),
    ),
    "last steps side by side": lambda m: chain(
        m.both(3, 5),
        Read("last"),
        From(-1),
        m.layer(3, 4, direction="reverse"),
        Read("last"),
        Join("concatenate", (1, 4)),
        m.dense(14, 2),
    ),
    "layers side by side": lambda m: chain(
        m.layer(3, 5),
        Read(),
        From(-1),
        m.conv(3, 4, 2, stride=2),
        m.both(4, 3),
        Read("mean"),
        Join("concatenate", (1, 5)),
        m.dense(11, 2),
    ),
    "a vector at every step": lambda m: chain(
        m.conv(3, 5, 3),
        Read("mean"),
        m.dense(5, 5, "sigmoid"),
        Join("multiply", (0, 2)),
        m.both(5, 4),
        m.dense(8, 1),
        Join("add", (1, 5)),
        Read("sum"),
    ),
    "embedding, conv": lambda m: chain(
        m.embedding(20, 7),
        m.conv(7, 4, 3, activation="relu"),
        Pool("max", 2),
        m.both(4, 5),
        Read("final"),
        m.dense(10, 1, "sigmoid"),
    ),
    "embedding, joined": lambda m: chain(
        m.embedding(20, 30), m.layer(30, 5), Join("concatenate", (0, 1)), m.both(35, 3), Read("max")
    ),
    "inputs added": lambda m: chain(
        m.norm(3), m.layer(3, 5), Read(), m.dense(5, 2), m.prelu(2), AddInputs(2)
    ),
}

MASKED: dict[str, Callable[[Maker], LSTM]] = {
    "masked, plain": lambda m: LSTM([m.layer(2, 5), m.layer(5, 4)], m.dense(4, 2), mask_value=0.0),
    "masked, other value": lambda m: LSTM([m.layer(2, 5)], m.dense(5, 2), mask_value=-1.0),
    "masked, both": lambda m: LSTM([m.both(2, 5)], m.dense(10, 2), mask_value=0.0),
    "masked, both, sum": lambda m: LSTM([m.layer(2, 5), m.both(5, 4, merge="sum")], mask_value=0.0),
    "masked, mean": lambda m: LSTM([m.both(2, 5)], m.dense(10, 2), mask_value=0.0, read="mean"),
    "masked, embedding": lambda m: LSTM(
        [m.embedding(4, 30, padding_id=0), m.layer(30, 5)], m.dense(5, 2, "sigmoid")
    ),
    "masked, embedding, both": lambda m: LSTM(
        [m.embedding(4, 3, padding_id=2), m.both(3, 5), m.dense(10, 4, "relu")], m.dense(4, 2)
    ),
    "masked, last step": lambda m: LSTM(
        [m.both(2, 5)], m.dense(10, 2), mask_value=0.0, read="last"
    ),
    "masked, last step, plain": lambda m: LSTM([m.layer(2, 5)], mask_value=0.0, read="last"),
    "masked, go_backwards": lambda m: LSTM(
        [m.layer(2, 5, direction="go_backwards")], mask_value=0.0
    ),
    "masked, norms": lambda m: chain(
        Masking(0.0),
        m.affine(2),
        m.both(2, 5),
        m.norm(10),
        m.layer(10, 4),
        m.prelu(4),
        Read("final"),
        m.dense(4, 1),
    ),
    "masked, attention": lambda m: chain(
        Masking(0.0),
        m.layer(2, 5),
        m.dense(5, 1, "tanh"),
        StepSoftmax(),
        Join("multiply", (1, 3)),
        Read("sum"),
        m.dense(5, 2),
    ),
    "masked, attention, both": lambda m: chain(
        m.embedding(4, 3, padding_id=0),
        m.both(3, 5),
        Read("final"),
        Join("dot", (1, 2)),
        StepSoftmax(),
        Join("multiply", (1, 4)),
        Read("sum"),
        m.norm(10),
    ),
}


def make_network(name: str, dtype: str) -> LSTM:
    """The network of a name, of `NETWORKS`, `WITH_PARTS` or `MASKED`."""
    table = next(k for k in (NETWORKS, WITH_PARTS, MASKED) if name in k)
    return table[name](Maker([*table].index(name), dtype))


def make_values(model: LSTM, N: int, T: int, seed: int = 0) -> Array:
    """Random inputs (N, T, I), or ids (N, T); some steps of a masked network are masked."""
    rng = np.random.default_rng(seed)
    embedding = model.network.embedding
    if embedding is not None:
        return rng.integers(0, embedding.ids, (N, T))
    x = rng.normal(size=(N, T, model.input_size)).astype(model.dtype)
    if model.mask_value is not None:
        x[rng.random((N, T)) < 0.3] = model.mask_value
    return x


def make_lengths(model: LSTM, N: int, T: int) -> Array:
    """Unequal lengths that the network takes, the first of them T, the last none if it can be."""
    every = np.arange(T + 1)
    taken = every[~model.network.steps(every).refused]
    lengths = taken[np.arange(N) * 13 % len(taken)]
    lengths[0], lengths[-1] = T, taken[0]
    return lengths


def gives_every_step(model: LSTM) -> bool:
    """Whether there are outputs of every step."""
    try:
        model.network.check_every_step()
    except UnsupportedModelError:
        return False
    return True
