"""The reference: every network as a plain NumPy loop over time, for the whole batch at once.

It is the oracle of the tests and the baseline of the benchmarks. It reads like the equations (see
`fastlstm.network.layers.Layer`), computes a whole `Network` in the dtype of its weights
(``network.astype("float64")`` is the same network at higher precision), and shares no code with the
kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.network.activations import Activation
from fastlstm.network.dense import SOFTMAX, Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.network import AnyLayer, Network
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
    e = np.exp(-z)  # inf for large -z, which rightly gives 0 and needs no warning
    e += 1
    return np.reciprocal(e, out=e)


def _gelu(z: Array) -> Array:
    erf: Array = np.vectorize(math.erf, otypes=[z.dtype])(z / math.sqrt(2))
    return np.asarray(z * (1 + erf) / 2)


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805

# Each takes z, alpha and beta.
FUNCTIONS: dict[str, Callable[..., Array]] = {
    "affine": lambda z, a, b: a * z + b,
    "clip": lambda z, a, b: np.clip(z, z.dtype.type(a), z.dtype.type(b)),
    "elu": lambda z, a: np.where(z > 0, z, a * np.expm1(np.minimum(z, 0))),
    "exp": np.exp,
    "gelu": _gelu,
    "gelu_tanh": lambda z: z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))) / 2,
    "hard_sigmoid": lambda z, a, b: np.clip(a * z + b, 0, 1),
    "hard_silu": lambda z: z * np.clip(z / 6 + 0.5, 0, 1),
    "leaky_relu": lambda z, a: np.where(z >= 0, z, a * z),
    "linear": lambda z: z,
    "log_sigmoid": lambda z: -np.logaddexp(-z, 0),
    "mish": lambda z: z * np.tanh(np.logaddexp(z, 0)),
    "relu": lambda z: np.maximum(z, 0),
    "scaled_tanh": lambda z, a, b: a * np.tanh(b * z),
    "selu": lambda z: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0))),
    "sigmoid": sigmoid,
    "silu": lambda z: z * sigmoid(z),
    "softplus": lambda z: np.logaddexp(z, 0),
    "softsign": lambda z: z / (1 + np.abs(z)),
    "tanh": np.tanh,
    "thresholded_relu": lambda z, a: np.where(z <= a, z.dtype.type(0), z),
}


def activate(activation: Activation, z: Array) -> Array:
    """Return the activation of z, in the dtype of z."""
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
    """Walk forward layers over time, and yield the values of every layer at each step.

    Only the current step is kept in memory. A sequence that has ended keeps its h and c.

    Parameters
    ----------
    layers : sequence of Layer
        All of direction ``"forward"``.
    x : array (N, T, I)
        The sequences.
    state : State, optional
        For each layer ``(h, c)``, each ``(1, N, H)``; zeros if left out.
    lengths : array (N,) of int, optional
        The number of real steps of each sequence.

    Yields
    ------
    list of Step
        One for each layer, each of its values ``(N, H)``.
    """
    N, T, _ = x.shape
    carried = [(h[0], c[0]) for h, c in state or first_state(layers, N)]
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


def first_state(layers: Sequence[Layer | Bidirectional], N: int) -> State:
    """The state before the first step: the learned one, else zeros, ``(D, N, H)`` a layer."""
    return State(
        (
            np.stack([_repeated(k.h_0, N, k.output_size, k.dtype) for k in layer.cells]),
            np.stack([_repeated(k.c_0, N, k.hidden_size, k.dtype) for k in layer.cells]),
        )
        for layer in layers
    )


def _repeated(row: Array | None, N: int, size: int, dtype: npt.DTypeLike) -> Array:
    return np.zeros((N, size), dtype) if row is None else np.repeat(row[None], N, axis=0)


class _Sequence(NamedTuple):
    """The outputs of a part at every step."""

    steps: Array  # (N, T, K)
    final: Array  # (N, K), at the last step that each direction read; zeros below all layers


class _Run:
    """A run of a network over N sequences of T steps: layer after layer, each over all steps."""

    def __init__(
        self, network: Network, x: Array, state: State | None, lengths: Array | None
    ) -> None:
        self.network, self.lengths = network, lengths
        with np.errstate(over="ignore"):  # what the dtype cannot hold becomes infinite
            self.x = x = _three_axes(x).astype(network.input_dtype, copy=False)  # (N, T, I)
        N, T, _ = x.shape
        self.ends = np.full(N, T) if lengths is None else np.asarray(lengths)
        self.real = np.arange(T) < self.ends[:, np.newaxis]  # (N, T)
        self.running = self.real
        if network.masked_input is not None:
            self.running = self.real & (x != network.masked_input).any(-1)
        self.starts = iter(state or first_state(network.recurrent, N))
        self.state: list[tuple[Array, Array]] = []
        self.records: list[Step] = []  # (N, T, D * H) a recurrent layer, at the steps it reads

    def at_every_step(self) -> _Sequence:
        """Return the outputs of the last layer."""
        value = _Sequence(self.x, np.zeros((len(self.x), self.x.shape[2]), self.x.dtype))
        for layer in self.network.layers:
            value = self.layer(layer, value)
        return value._replace(steps=_zero_past(value.steps, self.lengths))

    def layer(self, layer: AnyLayer, below: _Sequence) -> _Sequence:
        """Return the outputs of one layer."""
        if isinstance(layer, Embedding):
            ids = np.where(self.real, below.steps[..., 0], 0)
            return _Sequence(layer.weight[ids], np.zeros((len(ids), layer.output_size)))
        if isinstance(layer, Dense):
            return _Sequence(_dense(layer, below.steps), _dense(layer, below.final))
        assert isinstance(layer, (Layer, Bidirectional))
        start = next(self.starts)
        parts = [
            _run_cell(cell, below.steps, start.h[d], start.c[d], self.running)
            for d, cell in enumerate(layer.cells)
        ]
        merge = layer.merge if isinstance(layer, Bidirectional) else "concat"
        output = _merged(merge, [record.h for record, _, _ in parts])
        if isinstance(layer, Bidirectional) and self.network.masks:
            output[~self.running] = 0
        self.state.append((np.stack([h for _, h, _ in parts]), np.stack([c for _, _, c in parts])))
        together = (
            np.concatenate(values, -1)
            for values in zip(*(record for record, _, _ in parts), strict=True)
        )
        self.records.append(Step(*(_zero_past(values, self.lengths) for values in together)))
        return _Sequence(output, _merged(merge, [h for _, h, _ in parts]))

    def read(self, how: str, value: _Sequence) -> Array:
        """Return the vector ``(N, K)`` that is read of each sequence."""
        if how == "final":
            return value.final
        N, T, _ = value.steps.shape
        if how == "last":  # a sequence without steps has only its state
            at = value.steps[np.arange(N), np.maximum(self.ends, 1) - 1] if T else value.final
            return np.where(self.ends[:, None] > 0, at, value.final)
        if how == "max":
            most = np.where(self.real[..., None], value.steps, -np.inf).max(1, initial=-np.inf)
            return np.where((self.ends > 0)[:, None], most, np.nan).astype(most.dtype)
        total = np.where(self.running[..., None], value.steps, 0).sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):  # the mean of nothing is NaN
            return np.asarray(total / self.running.sum(1)[:, None].astype(total.dtype))

    def skipped(self, size: int) -> Array:
        """Return the inputs ``(N, size)`` of the last real step, zeros where there is none."""
        if not self.x.shape[1]:
            return np.zeros((len(self.x), size), self.x.dtype)
        last = self.x[np.arange(len(self.x)), np.maximum(self.ends, 1) - 1, :size]
        return np.where(self.ends[:, None] > 0, last, 0)


def _run_cell(
    layer: Layer, x: Array, h: Array, c: Array, running: Mask
) -> tuple[Step, Array, Array]:
    """Run one direction: return its values at every step, and h and c after the last one."""
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
    network: Network, x: Array, state: State | None = None, lengths: Array | None = None
) -> tuple[Array, State]:
    """Return the last layer's outputs ``(N, T, K)``, zero past each length, and the final state.

    Parameters
    ----------
    network : Network
        The network; its head is not applied.
    x : array (N, T, I)
        The sequences; for an embedding ids, (N, T) or (N, T, 1).
    state : State, optional
        For each recurrent layer ``(h, c)``, each ``(D, N, H)``. If left out, the learned state, or
        zeros.
    lengths : array (N,) of int, optional
        The number of real steps of each sequence.

    Returns
    -------
    outputs : array (N, T, K)
    state : State
    """
    run = _Run(network, x, state, lengths)
    output = run.at_every_step().steps
    return output, State(run.state)


def predict(
    network: Network,
    x: Array,
    lengths: Array | None = None,
    state: State | None = None,
    return_sequences: bool | None = None,
) -> Array:
    """Return the outputs ``(N, outputs)``, or those of every step ``(N, T, outputs)``.

    Parameters
    ----------
    network, x, lengths, state
        As in `lstm`.
    return_sequences : bool, optional
        Return the outputs of every step; by default as the network says.
    """
    every = network.return_sequences if return_sequences is None else return_sequences
    x = _three_axes(x)
    if not every and _is_plain(network):
        h = (state or first_state(network.recurrent, len(x)))[-1].h[0]
        for steps in walk(network.cells, x, state, lengths):
            h = steps[-1].h  # only the current step is stored
        return _denses(network.head, h)
    run = _Run(network, x, state, lengths)
    value = run.at_every_step()
    if not every:
        y = _denses(network.head, run.read(network.read, value))
        return y + run.skipped(network.skip) if network.skip else y
    y = _denses(network.head, value.steps)
    if network.skip:
        y = y + run.x[..., : network.skip]
    return _zero_past(y, lengths)


def _is_plain(network: Network) -> bool:
    """Whether the network can be computed with nothing but the current step in memory."""
    forward = all(isinstance(k, Layer) and k.direction == "forward" for k in network.layers)
    return forward and not network.masks and network.read == "final" and not network.skip


def trace(
    network: Network,
    x: Array,
    lengths: Array | None = None,
    state: State | None = None,
    layer: int = -1,
) -> Step:
    """Return all values of a recurrent layer, each ``(N, T, D * H)``, zero past each length.

    The parameters are those of `lstm`, and the number of the recurrent layer.
    """
    run = _Run(network, x, state, lengths)
    run.at_every_step()
    return run.records[layer]


def _three_axes(x: Array) -> Array:
    x = np.asarray(x)
    return x[..., np.newaxis] if x.ndim == 2 else x  # (N, T, I)


def _denses(denses: Sequence[Dense], h: Array) -> Array:
    for dense in denses:
        h = _dense(dense, h)
    return h


def _dense(dense: Dense, h: Array) -> Array:
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
    """Write zeros into `values` ``(N, T, ...)`` at and after each length, and return it."""
    if lengths is not None:
        values[np.arange(values.shape[1]) >= np.asarray(lengths)[:, None]] = 0
    return values
