"""The reference: a plain NumPy time loop over the whole batch.

It is the oracle of the tests and the baseline of the benchmarks. It reads as the equations
(those of `fastlstm.network.layers.Layer`), computes in the dtype of the weights (so
``[layer.astype("float64") for layer in layers]`` is the same network at higher precision), and
shares no code with the kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.network.activations import Activation
from fastlstm.network.dense import SOFTMAX, Dense, Embedding
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.state import State

__all__ = ["Step", "activate", "lstm", "predict", "sigmoid", "step", "trace", "walk"]

Array = npt.NDArray[Any]
Mask = npt.NDArray[Any]  # of bool


class Step(NamedTuple):
    """All values of one time step of one layer, each ``(N, H)``; `trace` gives ``(N, T, H)``."""

    i: Array
    f: Array
    g: Array
    o: Array
    c: Array
    h: Array  # (N, R)


def sigmoid(z: Array) -> Array:
    """``1 / (1 + exp(-z))`` in the dtype of z."""
    e = np.exp(-z)  # inf for large -z, and then the result is 0: right, and not worth a warning
    e += 1
    return np.reciprocal(e, out=e)


def _gelu(z: Array) -> Array:
    erf: Array = np.vectorize(math.erf, otypes=[z.dtype])(z / math.sqrt(2))
    return np.asarray(z * (1 + erf) / 2)


# Of z, alpha and beta.
FUNCTIONS: dict[str, Callable[..., Array]] = {
    "affine": lambda z, a, b: a * z + b,
    "elu": lambda z, a: np.where(z > 0, z, a * np.expm1(np.minimum(z, 0))),
    "gelu": _gelu,
    "gelu_tanh": lambda z: z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))) / 2,
    "hard_sigmoid": lambda z, a, b: np.clip(a * z + b, 0, 1),
    "leaky_relu": lambda z, a: np.where(z >= 0, z, a * z),
    "linear": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "scaled_tanh": lambda z, a, b: a * np.tanh(b * z),
    "sigmoid": sigmoid,
    "silu": lambda z: z * sigmoid(z),
    "softplus": lambda z: np.logaddexp(z, 0),
    "softsign": lambda z: z / (1 + np.abs(z)),
    "tanh": np.tanh,
    "thresholded_relu": lambda z, a: np.where(z <= a, z.dtype.type(0), z),
}


def activate(activation: Activation, z: Array) -> Array:
    """The activation of z, in the dtype of z."""
    with np.errstate(over="ignore", invalid="ignore"):
        return FUNCTIONS[activation.name](z, *activation.numbers)


def step(layer: Layer, x_t: Array, h: Array, c: Array) -> Step:
    """One time step of one layer: x_t ``(N, I)``, h ``(N, R)``, c ``(N, H)``, the layer's dtype."""
    H = layer.hidden_size
    gate, candidate, cell_output = layer.activations
    p_i, p_f, p_o = (0, 0, 0) if layer.peepholes is None else layer.peepholes

    def within(z: Array) -> Array:
        return z if layer.clip is None else np.clip(z, -layer.clip, layer.clip)

    z = x_t @ layer.w_ih.T  # (N, 4H)
    z += h @ layer.w_hh.T
    z += layer.bias
    if layer.peepholes is not None:
        z[:, :H] += p_i * c
        z[:, H : 2 * H] += p_f * c
    i = activate(gate, within(z[:, :H]))
    f = 1 - i if layer.coupled else activate(gate, within(z[:, H : 2 * H]))
    g = activate(candidate, within(z[:, 2 * H : 3 * H]))
    c = f * c + i * g
    if layer.peepholes is not None:
        z[:, 3 * H :] += p_o * c
    o = activate(gate, within(z[:, 3 * H :]))
    h = o * activate(cell_output, c)
    if layer.w_hr is not None:
        h = h @ layer.w_hr.T
    return Step(i, f, g, o, c, h)


def walk(
    layers: Sequence[Layer],
    x: Array,
    state: State | None = None,
    lengths: Array | None = None,
) -> Iterator[list[Step]]:
    """Walk forward layers over time and yield, for each step, the values of every layer.

    Only the current step is kept. A sequence that has ended keeps its h and c.

    Parameters
    ----------
    layers : sequence of Layer
        All of direction ``"forward"``.
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


def zero_state(layers: Sequence[Any], N: int) -> State:
    """The state before the first step: the learned one, else zeros, ``(D, N, H)`` a layer."""
    return State(
        (
            np.stack([_repeated(k.h_0, N, k.output_size, k.dtype) for k in layer.cells]),
            np.stack([_repeated(k.c_0, N, k.hidden_size, k.dtype) for k in layer.cells]),
        )
        for layer in layers
        if isinstance(layer, (Layer, Bidirectional))
    )


def _repeated(row: Array | None, N: int, size: int, dtype: npt.DTypeLike) -> Array:
    return np.zeros((N, size), dtype) if row is None else np.repeat(row[None], N, axis=0)


class _Run(NamedTuple):
    """What all layers gave: the top's outputs, every recurrent layer's record and final state."""

    output: Array  # (N, T, K)
    final: Array  # (N, K), of both directions
    state: State
    records: list[Step]  # (N, T, D * H), at the steps that were read


def _run(
    layers: Sequence[Any], x: Array, state: State | None, lengths: Array | None, mask: Mask | None
) -> _Run:
    """Run layer after layer, each over all steps."""
    N, T = x.shape[:2]
    real = np.ones((N, T), bool) if lengths is None else np.arange(T) < np.asarray(lengths)[:, None]
    running = real if mask is None else real & mask
    starts = iter(state or zero_state(layers, N))
    output, final = x, np.zeros((N, 0))
    ends: list[tuple[Array, Array]] = []
    records = []
    for layer in layers:
        if isinstance(layer, Embedding):
            output = layer.weight[np.where(real, output.reshape(N, T), 0)]
        elif isinstance(layer, Dense):
            output = _dense((layer,), output)
            final = _dense((layer,), final) if ends else final
        else:
            output = output.astype(layer.dtype, copy=False)
            start = next(starts)
            parts = [
                _run_cell(cell, output, start.h[d], start.c[d], running)
                for d, cell in enumerate(layer.cells)
            ]
            both = isinstance(layer, Bidirectional)
            merge = layer.merge if both else "concat"
            output = _merged(merge, [record.h for record, _, _ in parts])
            if both and mask is not None:
                output[~running] = 0
            final = _merged(merge, [h for _, h, _ in parts])
            ends.append((np.stack([h for _, h, _ in parts]), np.stack([c for _, _, c in parts])))
            together = (
                np.concatenate(values, -1)
                for values in zip(*(record for record, _, _ in parts), strict=True)
            )
            records.append(Step(*(_zero_past(values, lengths) for values in together)))
    return _Run(_zero_past(output, lengths), final, State(ends), records)


def _run_cell(
    layer: Layer, x: Array, h: Array, c: Array, running: Mask
) -> tuple[Step, Array, Array]:
    """One direction over all steps: values at every step, and h and c after the last one."""
    N, T, _ = x.shape
    sizes = (layer.hidden_size,) * 5 + (layer.output_size,)
    record = Step(*(np.zeros((N, T, size), layer.dtype) for size in sizes))
    rows = np.arange(N)
    # go_backwards writes the k-th step that it reads to place k of the row
    lengths = (running * np.arange(1, T + 1)).max(1, initial=0)
    for k in range(T):
        t = k if layer.direction == "forward" else T - 1 - k
        on = np.asarray(running[:, t])[:, np.newaxis]
        with np.errstate(over="ignore", invalid="ignore"):
            now = step(layer, x[:, t], h, c)
        before = running[:, :t] if t == k else running[:, t + 1 :]
        started = on | np.any(before, axis=1, keepdims=True)
        h, c = np.where(on, now.h, h), np.where(on, now.c, c)
        values = now._replace(c=c, h=np.where(started, h, 0))
        to = np.full(N, t)
        if layer.direction == "go_backwards":
            to = np.where(t < lengths, lengths - 1 - t, t)
        for kept, value in zip(record, values, strict=True):
            kept[rows, to] = value
    return record, h, c


def _merged(merge: str, parts: list[Array]) -> Array:
    if merge == "concat":
        return np.concatenate(parts, -1)
    first, second = parts
    if merge == "mul":
        return np.asarray(first * second)
    total = first + second
    return np.asarray(total / 2 if merge == "ave" else total)


def lstm(
    layers: Sequence[Any],
    x: Array,
    state: State | None = None,
    lengths: Array | None = None,
    mask: Mask | None = None,
) -> tuple[Array, State]:
    """The last layer's outputs ``(N, T, K)``, zero past each length, and the final state.

    Parameters
    ----------
    layers : sequence of Embedding, Dense, Layer or Bidirectional
    x : array (N, T, I)
        For an embedding ids, (N, T) or (N, T, 1).
    state : State, optional
        One ``(h, c)`` of shape ``(D, N, H)`` a recurrent layer; the learned state, or zeros, if
        left out.
    lengths : array (N,) of int, optional
        Real steps of each sequence.
    mask : array (N, T) of bool, optional
        False where a step is to change nothing: a layer then repeats its last output, or gives
        zeros if it has two directions (as Keras does).
    """
    done = _run(layers, x, state, lengths, mask)
    return done.output, done.state


def predict(
    layers: Sequence[Any],
    x: Array,
    head: Any = None,
    state: State | None = None,
    lengths: Array | None = None,
    return_sequences: bool = False,
    read: str = "final",
    mask: Mask | None = None,
) -> Array:
    """The head ``(N, outputs)`` on what is `read`, or at every step ``(N, T, outputs)``.

    Without a head the outputs are the last layer's. The other parameters are those of `lstm`.

    Parameters
    ----------
    head : Dense or sequence of Dense, optional
    read : str
        ``"final"``, the last outputs of all directions; ``"last"``, the outputs at the last real
        step; ``"max"`` or ``"mean"`` over the real steps.
    """
    denses = () if head is None else (head,) if isinstance(head, Dense) else tuple(head)
    plain = all(isinstance(k, Layer) and k.direction == "forward" for k in layers)
    if plain and mask is None and read == "final" and not return_sequences:
        h = (state or zero_state(layers, len(x)))[-1].h[0]
        for steps in walk(layers, x, state or zero_state(layers, len(x)), lengths):
            h = steps[-1].h  # nothing but the current step is stored
        return _dense(denses, h)
    done = _run(layers, x, state, lengths, mask)
    if return_sequences:
        return _zero_past(_dense(denses, done.output), lengths)
    return _dense(denses, _read(done, read, lengths, mask))


def _read(done: _Run, read: str, lengths: Array | None, mask: Mask | None) -> Array:
    if read == "final":
        return done.final
    N, T, _ = done.output.shape
    ends = np.full(N, T) if lengths is None else np.asarray(lengths)
    steps = np.arange(T) < ends[:, None]
    if read == "last":  # a sequence of no steps has given nothing but its state
        at = done.output[np.arange(N), np.maximum(ends, 1) - 1] if T else done.final
        return np.where(ends[:, None] > 0, at, done.final)
    if read == "max":
        most = np.where(steps[..., None], done.output, -np.inf).max(1, initial=-np.inf)
        return np.where((ends > 0)[:, None], most, np.nan).astype(most.dtype)
    if mask is not None:
        steps &= mask
    total = np.where(steps[..., None], done.output, 0).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):  # the mean of nothing is NaN
        return np.asarray(total / steps.sum(1)[:, None].astype(total.dtype))


def trace(
    layers: Sequence[Any],
    x: Array,
    state: State | None = None,
    lengths: Array | None = None,
    layer: int = -1,
    mask: Mask | None = None,
) -> Step:
    """Every value of every step of one layer, each ``(N, T, D * H)``, zero past each length.

    The parameters are those of `lstm`.
    """
    return _run(layers, x, state, lengths, mask).records[layer]


def _dense(denses: Sequence[Dense], h: Array) -> Array:
    for dense in denses:
        h = h @ dense.weight.T
        if dense.bias is not None:
            h = h + dense.bias
        if isinstance(dense.activation, Activation):
            h = activate(dense.activation, h)
        elif dense.activation == SOFTMAX:
            e = np.exp(h - h.max(-1, keepdims=True))
            h = np.asarray(e / e.sum(-1, keepdims=True))
    return h


def _zero_past(values: Array, lengths: Array | None) -> Array:
    """`values` ``(N, T, ...)`` with zeros at and after each length, in place."""
    if lengths is not None:
        values[np.arange(values.shape[1]) >= np.asarray(lengths)[:, None]] = 0
    return values
