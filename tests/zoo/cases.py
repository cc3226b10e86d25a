"""What a network of the zoo is, and numbers that look trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

N = 3
GRID = 2.0**-12  # weights are multiples of this: their files pack well


@dataclass(frozen=True)
class Case:
    """A network: how to make it, and which sequences it takes.

    Attributes
    ----------
    make : callable
        Makes the framework's model, of a Keras module or of nothing.
    steps, inputs : int
        T and I of the sequences; with `ids`, the number of ids.
    ids : bool
        Whether the sequences are ids (N, T).
    free : bool
        Whether the network takes sequences of any number of steps.
    layout : {"NTI", "NIT", "TNI", "NT"}
        The axes of the model's own input.
    batch : int or None
        The only batch size that the model takes.
    wide : bool
        Whether the framework, or its file, has all of it in float64 if it is asked to.
    only_keras_3 : bool
        Whether Keras 2 could not write it so.
    masked : bool
        Whether ids of 0 are masked.
    joined : bool
        Whether branches of it meet again.
    exported : bool
        Whether torch's exporters write it as ONNX with the right numbers.
    """

    make: Callable[..., Any]
    steps: int
    inputs: int = 0
    ids: bool = False
    free: bool = False
    layout: str = "NTI"
    batch: int | None = None
    wide: bool = True
    only_keras_3: bool = False
    masked: bool = False
    joined: bool = False
    exported: bool = True

    def sequences(self, seed: int, n: int = N, steps: int | None = None) -> np.ndarray:
        """Return ids (N, T), or numbers (N, T, I), as `LSTM.predict` takes them."""
        rng = np.random.default_rng([seed, n])
        t = steps or self.steps
        if self.ids:
            x = rng.integers(1, self.inputs, size=(n, t))
            if self.masked:
                x[0, -3:] = x[-1, 4:6] = x[-1, 0] = 0
            return x
        x = rng.normal(size=(n, t, self.inputs)).cumsum(1) / np.sqrt(np.arange(1, t + 1))[:, None]
        return x.astype("float32")

    def as_given(self, x: np.ndarray) -> np.ndarray:
        """Return sequences with their axes as the framework's model takes them."""
        if self.ids:
            return x.T if self.layout == "TNI" else x
        if self.layout == "NIT":
            return np.ascontiguousarray(x.swapaxes(1, 2))
        if self.layout == "TNI":
            return np.ascontiguousarray(x.swapaxes(0, 1))
        return x[:, :, 0] if self.layout == "NT" else x

    def as_ours(self, y: np.ndarray) -> np.ndarray:
        """Return outputs of the framework's model as `LSTM.predict` has them."""
        if y.ndim == 1:
            return y[:, None]
        if y.ndim == 3 and self.layout in ("NIT", "TNI"):
            return y.swapaxes(1, 2) if self.layout == "NIT" else y.swapaxes(0, 1)
        return y

    def run(self, model: Callable[[Any], Any], x: np.ndarray) -> np.ndarray:
        """Return what the framework's model gives for sequences, in batches that it takes."""
        size = self.batch or len(x)
        rows = [self.as_ours(model(self.as_given(x[k : k + size]))) for k in range(0, len(x), size)]
        return np.concatenate(rows)


def register(table: dict[str, Case], steps: int, inputs: int, **options: Any) -> Callable[..., Any]:
    """Return a decorator that puts a maker into the table under its own name."""

    def put(make: Any) -> Any:
        table[make.__name__] = Case(make, steps, inputs, **options)
        return make

    return put


def trained(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return numbers as a trained network has them, for a weight of this kind.

    Gates differ in their biases, and no statistic of a normalisation is 0 or 1.
    """
    if kind == "variance":
        values = rng.uniform(0.3, 2.5, shape)
    elif kind == "mean":
        values = rng.normal(0.2, 0.6, shape)
    elif kind == "scale":
        values = rng.uniform(0.5, 1.6, shape)
    elif kind == "slope":
        values = rng.uniform(0.05, 0.4, shape)
    elif kind == "bias":
        values = rng.normal(0.1, 0.3, shape)
    elif kind == "lstm bias":
        values = rng.normal(0, 0.3, shape).reshape(4, -1)  # i f g o
        values = (values + np.array([[-0.2], [0.9], [0.1], [-0.4]])).reshape(shape)
    else:
        fan = int(np.prod(shape[:-1])) if kind == "columns" else int(shape[-1])
        values = rng.normal(size=shape) * 1.3 / np.sqrt(max(fan, 2))
    return (np.round(values / GRID) * GRID).astype("float32")
