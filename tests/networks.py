"""Networks of every kind that the engine computes, small, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm import LSTM, Bidirectional, Dense, Embedding, Layer

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
}


def make_network(name: str, dtype: str) -> LSTM:
    """The network of a name, of `NETWORKS` or `MASKED`."""
    table = NETWORKS if name in NETWORKS else MASKED
    return table[name](Maker([*table].index(name), dtype))


def make_values(model: LSTM, N: int, T: int, seed: int = 0) -> Array:
    """Random inputs (N, T, I), or ids (N, T); some steps of a masked network are masked."""
    rng = np.random.default_rng(seed)
    first = model.layers[0]
    if isinstance(first, Embedding):
        return rng.integers(0, first.ids, (N, T))
    x = rng.normal(size=(N, T, model.input_size)).astype(model.dtype)
    if model.mask_value is not None:
        x[rng.random((N, T)) < 0.3] = model.mask_value
    return x
