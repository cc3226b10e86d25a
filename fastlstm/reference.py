"""The reference: a plain NumPy time loop over the whole batch.

It is the oracle of the tests and the baseline of the benchmarks. It reads as the five
equations, computes in the dtype of the weights (so ``[layer.astype("float64") for layer in
layers]`` is the same network at higher precision), and shares no code with the kernels.

    i, f, g, o  =  sigmoid(z_i), sigmoid(z_f), tanh(z_g), sigmoid(z_o)
    z  =  W_ih x_t + W_hh h + b
    c  =  f * c + i * g
    h  =  o * tanh(c)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.network import Dense, Layer
from fastlstm.state import State

__all__ = ["Step", "lstm", "predict", "sigmoid", "step", "trace", "walk"]

Array = npt.NDArray[Any]


class Step(NamedTuple):
    """All values of one time step of one layer, each ``(N, H)``; `trace` gives ``(N, T, H)``."""

    i: Array
    f: Array
    g: Array
    o: Array
    c: Array
    h: Array


def sigmoid(z: Array) -> Array:
    """``1 / (1 + exp(-z))`` in the dtype of z."""
    e = np.exp(-z)  # inf for large -z, and then the result is 0: right, and not worth a warning
    e += 1
    return np.reciprocal(e, out=e)


def step(layer: Layer, x_t: Array, h: Array, c: Array) -> Step:
    """One time step of one layer: x_t ``(N, I)``, h and c ``(N, H)``, in the layer's dtype."""
    H = layer.hidden_size
    z = x_t @ layer.w_ih.T  # (N, 4H)
    z += h @ layer.w_hh.T
    z += layer.bias
    i = sigmoid(z[:, :H])
    f = sigmoid(z[:, H : 2 * H])
    g = np.tanh(z[:, 2 * H : 3 * H])
    o = sigmoid(z[:, 3 * H :])
    c = f * c + i * g
    h = o * np.tanh(c)
    return Step(i, f, g, o, c, h)


def walk(
    layers: Sequence[Layer],
    x: Array,
    state: State | None = None,
    lengths: Array | None = None,
) -> Iterator[list[Step]]:
    """Walk the layers over time and yield, for each step, the values of every layer.

    Only the current step is kept. A sequence that has ended keeps its h and c.

    Parameters
    ----------
    layers : sequence of Layer
    x : array (N, T, I)
    state : State, optional
        One ``(h, c)`` of shape ``(1, N, H)`` a layer; zeros if left out.
    lengths : array (N,) of int, optional
        Real steps of each sequence.

    Yields
    ------
    list of Step
        One a layer, each value ``(N, H)``.
    """
    N, T, _ = x.shape
    carried = [(h[0], c[0]) for h, c in state or zero_state(layers, N)]
    for t in range(T):
        below = x[:, t].astype(layers[0].dtype, copy=False)  # (N, I), then the layer below's h
        steps = []
        for layer, (h, c) in zip(layers, carried, strict=True):
            with np.errstate(over="ignore", invalid="ignore"):
                now = step(layer, below, h, c)
            if lengths is not None:
                running = (t < np.asarray(lengths))[:, None]  # (N, 1)
                now = now._replace(c=np.where(running, now.c, c), h=np.where(running, now.h, h))
            steps.append(now)
            below = now.h
        carried = [(now.h, now.c) for now in steps]
        yield steps


def zero_state(layers: Sequence[Layer], N: int) -> State:
    """The state before the first step: zeros, ``(1, N, H)`` a layer."""
    return State((np.zeros((1, N, k.hidden_size), k.dtype),) * 2 for k in layers)


def lstm(
    layers: Sequence[Layer],
    x: Array,
    state: State | None = None,
    lengths: Array | None = None,
) -> tuple[Array, State]:
    """The last layer's hidden states ``(N, T, H)``, zero past each length, and the final state.

    The parameters are those of `walk`.
    """
    N, T, _ = x.shape
    output = np.zeros((N, T, layers[-1].hidden_size), layers[-1].dtype)
    final = state or zero_state(layers, N)
    for t, steps in enumerate(walk(layers, x, state, lengths)):
        output[:, t] = steps[-1].h
        final = State((now.h[None], now.c[None]) for now in steps)
    return _zero_past(output, lengths), final


def predict(
    layers: Sequence[Layer],
    x: Array,
    head: Dense | None = None,
    state: State | None = None,
    lengths: Array | None = None,
    return_sequences: bool = False,
) -> Array:
    """The head on the last real step ``(N, outputs)``, or at every step ``(N, T, outputs)``.

    Without a head the outputs are the hidden states. Nothing but the last step is stored
    unless `return_sequences` asks for all. The parameters are those of `walk`.
    """
    if return_sequences:
        output, _ = lstm(layers, x, state, lengths)
        return _zero_past(_dense(head, output), lengths)
    h = (state or zero_state(layers, len(x)))[-1].h[0]
    for steps in walk(layers, x, state, lengths):
        h = steps[-1].h
    return _dense(head, h)


def trace(
    layers: Sequence[Layer],
    x: Array,
    state: State | None = None,
    lengths: Array | None = None,
    layer: int = -1,
) -> Step:
    """Every value of every step of one layer, each ``(N, T, H)``, zero past each length.

    The parameters are those of `walk`.
    """
    N, T, _ = x.shape
    H, dtype = layers[layer].hidden_size, layers[layer].dtype
    record = Step(*(np.zeros((N, T, H), dtype) for _ in Step._fields))
    for t, steps in enumerate(walk(layers, x, state, lengths)):
        for kept, value in zip(record, steps[layer], strict=True):
            kept[:, t] = value
    return Step(*(_zero_past(kept, lengths) for kept in record))


def _dense(head: Dense | None, h: Array) -> Array:
    if head is None:
        return h
    y: Array = h @ head.weight.T
    return y if head.bias is None else y + head.bias


def _zero_past(values: Array, lengths: Array | None) -> Array:
    """`values` ``(N, T, ...)`` with zeros at and after each length, in place."""
    if lengths is not None:
        values[np.arange(values.shape[1]) >= np.asarray(lengths)[:, None]] = 0
    return values
