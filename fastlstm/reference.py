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
from fastlstm.network.convolution import Conv
from fastlstm.network.dense import SOFTMAX, Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.joints import AddInputs, From, Join
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.masking import Masking
from fastlstm.network.network import Moving, Network, Part, Pointwise
from fastlstm.network.normalisation import Affine, LayerNorm
from fastlstm.network.pointwise import PReLU, StepSoftmax
from fastlstm.network.pooling import Pool
from fastlstm.network.reading import Read
from fastlstm.network.state import State
from fastlstm.network.steps import Flatten, Pad, Repeat, Slice, Unflatten
from fastlstm.network.values import Steps
from fastlstm.network.windows import Padding

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


class _Value(NamedTuple):
    """What a part gives: a vector at every step, or one for each sequence."""

    numbers: Array  # (N, T, K), with anything past the lengths; or (N, K)
    lengths: Array | None  # (N,), the steps of each sequence; None: these are vectors
    final: Array | None = None  # (N, K), what "final" reads; None: the last step


class _Run:
    """A run of a network over N sequences of T steps: part after part, each over all steps."""

    def __init__(
        self, network: Network, x: Array, state: State | None, lengths: Array | None
    ) -> None:
        self.network = network
        with np.errstate(over="ignore"):  # what the dtype cannot hold becomes infinite
            self.x = x = _three_axes(x).astype(network.input_dtype, copy=False)  # (N, T, I)
        N, T, _ = x.shape
        self.ends = np.full(N, T) if lengths is None else np.asarray(lengths).astype(np.int64)
        self.inputs = _Value(x, self.ends)
        self.unmasked = np.ones((N, T), bool)
        if network.masked_input is not None:
            self.unmasked = (x != network.masked_input).any(-1)
        self.starts = iter(state or first_state(network.recurrent, N))
        self.state: list[tuple[Array, Array]] = []
        self.records: list[Step] = []  # (N, T, D * H) a recurrent layer, at the steps it reads

    def through(self, n_parts: int, left_out: int | None = None) -> _Value:
        """Return what the first parts give; a `Read` that is left out gives what it is given."""
        Steps(self.network.parts[:n_parts], self.ends).check()
        values: list[_Value] = []
        for i, part in enumerate(self.network.parts[:n_parts]):
            below = values[-1] if values else self.inputs
            if isinstance(part, From | Join):
                read = [values[k] if k >= 0 else self.inputs for k in part.values]
                values.append(_joined(part, read))
            else:
                values.append(below if i == left_out else self.part(part, below))
        return values[-1]

    def at_every_step(self, n_parts: int, left_out: int | None = None) -> Array:
        """Return the sequences that the first parts give, with zeros past each length.

        There are as many steps as the parts would give of a sequence of all T steps, or more.
        """
        value = self.through(n_parts, left_out)
        assert value.lengths is not None
        number = n_parts - 1 if left_out is None else left_out - 1
        return _zero_past(self.as_of_all_steps(value.numbers, number), value.lengths)

    def as_of_all_steps(self, values: Array, number: int) -> Array:
        """Return a value with as many steps as it has of a sequence of all T steps, or more."""
        of_all = Steps(self.network.parts, np.array([self.x.shape[1]])).value(number)
        N, T, K = values.shape
        whole = np.zeros((N, max(T, 0 if of_all is None else int(of_all[0])), K), values.dtype)
        whole[:, :T] = values
        return whole

    def part(self, part: Part, below: _Value) -> _Value:
        """Return what a part makes of the value below it."""
        if isinstance(part, Masking):
            return below
        if isinstance(part, Layer | Bidirectional):
            return self.layer(part, below)
        if isinstance(part, AddInputs):
            return self.skipped(part, below)
        if isinstance(part, Pointwise):
            with np.errstate(all="ignore"):
                final = None if below.final is None else _pointwise(part, below.final)
                return below._replace(numbers=_pointwise(part, below.numbers), final=final)
        if isinstance(part, Repeat):
            numbers = np.repeat(below.numbers[:, None], part.n_steps, axis=1)
            return _Value(numbers, np.full(len(numbers), part.n_steps))
        if isinstance(part, Unflatten):
            N, K = below.numbers.shape
            numbers = below.numbers.reshape(N, part.n_steps, K // part.n_steps)
            return _Value(numbers, np.full(len(numbers), part.n_steps))
        assert below.lengths is not None
        if isinstance(part, Embedding):
            ids = np.where(self.real(below), below.numbers[..., 0], 0)
            return _Value(part.weight[ids], below.lengths)
        if isinstance(part, StepSoftmax):
            weights = _step_softmax(below.numbers, self.read_steps(below))
            return _Value(weights, below.lengths)
        if isinstance(part, Read):
            return _Value(self.read(part.how, below), None)
        if isinstance(part, Flatten):
            N, _, K = below.numbers.shape
            steps = below.numbers[:, : part.n_steps]
            return _Value(steps.reshape(N, part.n_steps * K), None)
        assert isinstance(part, Moving)
        return _each_alone(part, below)

    def real(self, value: _Value) -> Mask:
        """Return which steps of a value are those of a sequence ``(N, T)``."""
        return np.arange(value.numbers.shape[1]) < np.asarray(value.lengths)[:, np.newaxis]

    def read_steps(self, value: _Value) -> Mask:
        """Return which of them are read: those that are not masked ``(N, T)``."""
        return self.real(value) & self.unmasked if self.network.masks else self.real(value)

    def layer(self, layer: Layer | Bidirectional, below: _Value) -> _Value:
        """Return the outputs of a recurrent layer."""
        start, running = next(self.starts), self.read_steps(below)
        parts = [
            _run_cell(cell, below.numbers, start.h[d], start.c[d], running)
            for d, cell in enumerate(layer.cells)
        ]
        merge = layer.merge if isinstance(layer, Bidirectional) else "concat"
        output = _merged(merge, [record.h for record, _, _ in parts])
        if isinstance(layer, Bidirectional) and self.network.masks:
            output[~running] = 0
        self.state.append((np.stack([h for _, h, _ in parts]), np.stack([c for _, _, c in parts])))
        together = (
            np.concatenate(values, -1)
            for values in zip(*(record for record, _, _ in parts), strict=True)
        )
        self.records.append(Step(*(_zero_past(values, below.lengths) for values in together)))
        return _Value(output, below.lengths, _merged(merge, [h for _, h, _ in parts]))

    def read(self, how: str, value: _Value) -> Array:
        """Return the vector ``(N, K)`` that is read of each sequence."""
        assert value.lengths is not None
        steps, none = value.numbers, (value.lengths == 0)[:, np.newaxis]
        N, T, _ = steps.shape
        if how == "final" and value.final is not None:
            return value.final
        if how in ("final", "last"):  # of no steps there is at most the state
            empty = np.full((N, steps.shape[2]), np.nan, steps.dtype)
            nothing = empty if value.final is None else value.final
            last = steps[np.arange(N), np.maximum(value.lengths, 1) - 1] if T else nothing
            return np.where(none, nothing, last)
        if how == "max":
            most = np.where(self.real(value)[..., None], steps, -np.inf).max(1, initial=-np.inf)
            return np.where(none, np.nan, most).astype(steps.dtype)
        running = self.read_steps(value)
        total = np.where(running[..., None], steps, 0).sum(1)
        if how == "sum":
            return np.asarray(total)
        with np.errstate(invalid="ignore", divide="ignore"):  # the mean of nothing is NaN
            return np.asarray(total / running.sum(1)[:, None].astype(total.dtype))

    def skipped(self, part: AddInputs, below: _Value) -> _Value:
        """Add the inputs to the outputs: of the same step, or of the last real one."""
        first, N = self.x[..., : part.size], len(self.x)
        last = np.zeros((N, part.size), self.x.dtype)  # zeros where there is no step
        if self.x.shape[1]:
            at_end = first[np.arange(N), np.maximum(self.ends, 1) - 1]
            last = np.where(self.ends[:, None] > 0, at_end, 0)
        if below.lengths is None:
            return below._replace(numbers=below.numbers + last)
        final = None if below.final is None else below.final + last
        return below._replace(numbers=below.numbers + first, final=final)


def _pointwise(part: Pointwise, x: Array) -> Array:
    """A part that is applied to each step or vector, x ``(..., K)``."""
    if isinstance(part, Dense):
        y = x @ part.weight.T
        return _activated(part.activation, y if part.bias is None else y + part.bias)
    if isinstance(part, Affine):
        return np.asarray((x - part.center) * part.scale + part.shift)
    if isinstance(part, LayerNorm):
        if part.centered:
            x = x - x.mean(-1, keepdims=True)
        variance = (x * x).mean(-1, keepdims=True)
        return np.asarray(x / np.sqrt(variance + part.epsilon) * part.scale + part.shift)
    if isinstance(part, PReLU):
        return np.where(x >= 0, x, part.slope * x)
    return _activated(part.activation, x)


def _activated(activation: Activation | str, x: Array) -> Array:
    if isinstance(activation, Activation):
        return activate(activation, x)
    less = x - x.max(-1, keepdims=True)
    total = np.exp(less).sum(-1, keepdims=True)
    return np.asarray(np.exp(less) / total if activation == SOFTMAX else less - np.log(total))


def _step_softmax(x: Array, running: Mask) -> Array:
    """Softmax over the steps that are read of each sequence; zeros at the others."""
    y = np.zeros_like(x)
    for n, chosen in enumerate(running):
        if chosen.any():
            with np.errstate(invalid="ignore"):
                e = np.exp(x[n, chosen] - x[n, chosen].max(0))
                y[n, chosen] = e / e.sum(0)
    return y


def _joined(part: From | Join, values: list[_Value]) -> _Value:
    """Join values; a vector stands at every step of the sequences that it is joined with."""
    if isinstance(part, From):
        return values[0]
    lengths = next((k.lengths for k in values if k.lengths is not None), None)
    arrays = [k.numbers for k in values]
    if lengths is not None:
        T = min(k.numbers.shape[1] for k in values if k.lengths is not None)
        arrays = [
            np.repeat(k.numbers[:, None], T, axis=1) if k.lengths is None else k.numbers[:, :T]
            for k in values
        ]
    with np.errstate(all="ignore"):
        if part.how == "concatenate":
            return _Value(np.concatenate(arrays, -1), lengths)
        if part.how == "dot":
            return _Value((arrays[0] * arrays[1]).sum(-1, keepdims=True), lengths)
        joined = arrays[0]
        for other in arrays[1:]:
            joined = joined + other if part.how == "add" else joined * other
    return _Value(joined, lengths)


# --- parts that move steps ------------------------------------------------------------------


def _each_alone(part: Moving, below: _Value) -> _Value:
    """Compute every sequence alone, of its own length (those of one length at once)."""
    assert below.lengths is not None
    N, lengths = len(below.numbers), np.zeros_like(below.lengths)
    found: list[tuple[Mask, Array]] = []
    for length in np.unique(below.lengths[below.lengths > 0]).tolist():
        rows = below.lengths == length
        with np.errstate(all="ignore"):
            found.append((rows, _moved(part, below.numbers[rows, :length])))
        lengths[rows] = found[-1][1].shape[1]
    size = part.output_size if isinstance(part, Conv) else below.numbers.shape[2]
    together = np.zeros((N, int(lengths.max(initial=0)), size), below.numbers.dtype)
    for rows, values in found:
        together[rows, : values.shape[1]] = values
    return _Value(together, lengths)


def _moved(part: Moving, x: Array) -> Array:
    """What a part makes of sequences without padding, x ``(N, T, K)``."""
    if isinstance(part, Conv):
        return _conv(part, x)
    if isinstance(part, Pool):
        return _pool(part, x)
    if isinstance(part, Pad):
        mode: Any = {"zeros": "constant"}.get(part.mode, part.mode)
        return np.pad(x, ((0, 0), (part.before, part.after), (0, 0)), mode)
    if isinstance(part, Slice):
        return x[:, part.start : part.stop : part.step]
    return np.repeat(x, part.times, axis=1)


def _conv(conv: Conv, x: Array) -> Array:
    N, T, _ = x.shape
    O, J, I = conv.weight.shape  # noqa: E741
    O //= conv.groups  # noqa: E741
    reach = (J - 1) * conv.dilation + 1
    before, after = _around(conv.padding, T, reach, conv.stride)
    x = np.pad(x, ((0, 0), (before, after), (0, 0)))
    first = np.arange(0, before + T + after - reach + 1, conv.stride)  # steps of each output
    y = np.zeros((N, len(first), conv.output_size), x.dtype)
    if conv.bias is not None:
        y += conv.bias
    for g in range(conv.groups):
        inputs, outputs = slice(g * I, (g + 1) * I), slice(g * O, (g + 1) * O)
        for j in range(J):
            y[..., outputs] += x[:, first + j * conv.dilation, inputs] @ conv.weight[outputs, j].T
    return activate(conv.activation, y)


def _pool(pool: Pool, x: Array) -> Array:
    N, T, K = x.shape
    assert pool.stride is not None
    reach = (pool.size - 1) * pool.dilation + 1
    before, after = _around(pool.padding, T, reach, pool.stride)
    first = [*range(-before, T + after - reach + 1, pool.stride)]
    following = first[-1] + pool.stride if first else -before
    if pool.ceil and following < T and following - pool.stride + reach < T + after:
        first.append(following)
    y = np.zeros((N, len(first), K), x.dtype)
    for t, at in enumerate(first):
        window = [at + j * pool.dilation for j in range(pool.size)]
        read = x[:, [k for k in window if 0 <= k < T]]
        if pool.how == "max":
            y[:, t] = read.max(1, initial=-np.inf)
        elif pool.counts_padding:
            y[:, t] = read.sum(1) / sum(k < T + after for k in window)
        else:
            y[:, t] = read.sum(1) / max(read.shape[1], 1)  # 0 of nothing but padding
    return y


def _around(padding: Padding, T: int, reach: int, stride: int) -> tuple[int, int]:
    """How many steps of padding stand in front of T steps, and behind them."""
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return reach - 1, 0
    if padding == "same":  # an output for each `stride` steps that have begun
        missing = max((math.ceil(T / stride) - 1) * stride + reach - T, 0)
        return missing // 2, missing - missing // 2
    before, after = padding
    return int(before), int(after)


# --- recurrent layers -----------------------------------------------------------------------


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
    return run.at_every_step(len(network.without_head.parts)), State(run.state)


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
        h: Array = (state or first_state(network.recurrent, len(x)))[-1].h[0]
        for steps in walk(network.cells, x, state, lengths):
            h = steps[-1].h  # only the current step is stored
        for dense in network.head:
            h = _pointwise(dense, h)
        return h
    run = _Run(network, x, state, lengths)
    if every:
        network.check_every_step()
        return run.at_every_step(len(network.parts), network.read_at)
    value = run.through(len(network.parts))
    return value.numbers if value.lengths is None else run.read("final", value)


def _is_plain(network: Network) -> bool:
    """Whether the network can be computed with nothing but the current step in memory."""
    forward = all(isinstance(k, Layer) and k.direction == "forward" for k in network.layers)
    usual = network.usual and not network.masks and not network.skip
    return usual and forward and network.read == "final"


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
    kinds = (Layer, Bidirectional)
    places = [i for i, part in enumerate(network.parts) if isinstance(part, kinds)]
    top = places[layer]
    run.through(top + 1)
    return Step(*(run.as_of_all_steps(values, top) for values in run.records[layer]))


def _three_axes(x: Array) -> Array:
    x = np.asarray(x)
    return x[..., np.newaxis] if x.ndim == 2 else x  # (N, T, I)


def _zero_past(values: Array, lengths: Array | None) -> Array:
    """Write zeros into `values` ``(N, T, ...)`` at and after each length, and return it."""
    if lengths is not None:
        values[np.arange(values.shape[1]) >= np.asarray(lengths)[:, None]] = 0
    return values
