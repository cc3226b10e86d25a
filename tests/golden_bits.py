"""Networks and calls whose bits are golden: what ``golden/bits.json`` has digests of.

``golden/generate_bits.py`` writes the file or compares with it, `test_golden_bits` compares.
Weights and inputs are made of the bytes of a hash by exact arithmetic, so they are the same with
every NumPy and on every CPU. Whatever changes a digest changes scores that somebody has stored.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm import (
    LSTM,
    Bidirectional,
    Dense,
    Embedding,
    Layer,
    Ragged,
    UnsupportedModelError,
    from_torch,
    load,
)
from fastlstm.network.convolution import Conv
from fastlstm.network.joints import From, Join
from fastlstm.network.masking import Masking
from fastlstm.network.network import Network as Parts
from fastlstm.network.network import Part
from fastlstm.network.normalisation import Affine, LayerNorm
from fastlstm.network.pointwise import Activate, PReLU, StepSoftmax
from fastlstm.network.pooling import Pool
from fastlstm.network.reading import Read
from fastlstm.network.steps import Flatten, Pad, Repeat, Slice, Unflatten, Upsample

Array = npt.NDArray[Any]

GOLDEN = Path(__file__).resolve().parent / "golden" / "bits.json"

GATE_BIAS = (-0.5, 1.0, 0.25, -1.25)  # i f g o: a swapped order cannot pass
IDS = 20  # of every embedding
PIECES = (1, 4)  # where sequences are cut
MASKED = 0.0  # steps of such inputs are masked


def dyadic(label: str, *shape: int) -> Array:
    """Numbers in -1 ... 1, all 53 bits of them from a hash of the label; float64."""
    count = int(np.prod(shape))
    drawn = np.frombuffer(hashlib.shake_128(label.encode()).digest(8 * count), "<u8")
    return ((drawn >> 11).astype(np.float64) * 2.0**-52 - 1.0).reshape(shape)


def digest(arrays: Sequence[Array]) -> str:
    """A digest of dtypes, shapes and bits; every NaN counts as the same."""
    found = hashlib.blake2b(digest_size=8)
    for array in arrays:
        array = np.asarray(array)
        found.update(f"{array.dtype.name} {array.shape} ".encode())
        if array.dtype.kind == "f":
            array = np.where(np.isnan(array), array.dtype.type(np.nan), array)
        found.update(array.astype(array.dtype.newbyteorder("<"), order="C").tobytes())
    return found.hexdigest()


# --- networks ---------------------------------------------------------------------------------


class Maker:
    """Makes parts of a network; `made` keeps the weights of all of them."""

    def __init__(self, label: str, dtype: str) -> None:
        self.label, self.dtype = label, dtype
        self.made: list[Array] = []

    def weights(self, *shape: int, plus: Any = 0.0) -> Array:
        """An array of about 1 / sqrt(inputs), the scale a power of two."""
        scale = 2.0 ** -(shape[-1].bit_length() // 2)
        values = dyadic(f"{self.label} {len(self.made)}", *shape) * scale + plus
        self.made.append(values.astype(self.dtype))
        return self.made[-1]

    def bias(self, units: int) -> Array:
        """The bias of an LSTM layer (4H,), every gate's around a number of its own."""
        return self.weights(4 * units, plus=np.repeat(GATE_BIAS, units))

    def layer(self, inputs: int, units: int, outputs: int = 0, **options: Any) -> Layer:
        """A layer; `outputs` of a projection; options that are True get arrays."""
        shapes = {"peepholes": (3, units), "h_0": (outputs or units,), "c_0": (units,)}
        for name, shape in shapes.items():
            if options.get(name) is True:
                options[name] = self.weights(*shape)
        if outputs:
            options["w_hr"] = self.weights(outputs, units)
        w_ih = self.weights(4 * units, inputs)
        w_hh = self.weights(4 * units, outputs or units)
        return Layer(w_ih, w_hh, self.bias(units), self.weights(4 * units), **options)

    def both(self, *sizes: int, merge: str = "concat", **options: Any) -> Bidirectional:
        forward = self.layer(*sizes, **options)
        return Bidirectional(forward, self.layer(*sizes, **options, direction="reverse"), merge)

    def dense(self, inputs: int, outputs: int, activation: Any = "linear") -> Dense:
        bias = self.weights(outputs)
        return Dense(self.weights(outputs, inputs), bias, activation=activation)

    def embedding(self, size: int, **options: Any) -> Embedding:
        return Embedding(self.weights(IDS, size), **options)

    def conv(self, inputs: int, outputs: int, taps: int, **options: Any) -> Conv:
        per_group = inputs // options.get("groups", 1)
        bias = self.weights(outputs)
        weight = self.weights(outputs, taps * per_group).reshape(outputs, taps, per_group)
        return Conv(weight, bias, **options)

    def affine(self, size: int) -> Affine:
        return Affine(self.weights(size), self.weights(size, plus=1.0), self.weights(size))

    def norm(self, size: int, **options: Any) -> LayerNorm:
        return LayerNorm(self.weights(size, plus=1.0), self.weights(size), 2.0**-10, **options)

    def prelu(self, size: int) -> PReLU:
        return PReLU(self.weights(size))

    def torch_tensors(self) -> dict[str, Array]:
        """Two layers of both directions with projections and peepholes, and a dense head."""
        tensors = {}
        for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
            inputs = 3 if suffix.startswith("l0") else 8
            tensors |= {
                f"lstm.weight_ih_{suffix}": self.weights(28, inputs),
                f"lstm.weight_hh_{suffix}": self.weights(28, 4),
                f"lstm.weight_hr_{suffix}": self.weights(4, 7),
                f"lstm.bias_ih_{suffix}": self.bias(7),
                f"lstm.bias_hh_{suffix}": self.weights(28),
            }
            tensors |= {f"lstm.peephole_{gate}_{suffix}": self.weights(7) for gate in "ifo"}
        return tensors | {"fc.weight": self.weights(2, 8), "fc.bias": self.weights(2)}


PEEPHOLES: dict[str, Any] = {"peepholes": True}
COUPLED: dict[str, Any] = {"coupled": True, "clip": 1.5}
ALL_OPTIONS: dict[str, Any] = {
    "peepholes": True,
    "coupled": True,
    "clip": 0.75,
    "h_0": True,
    "c_0": True,
    "activations": (("hard_sigmoid", 0.3, 0.4), "relu", ("elu", 1.3)),
}
TUTORIAL = {
    "forget": (1.63, 2.7, 1.62),
    "input": (1.65, 2.0, 0.62),
    "cell": (0.94, 1.41, -0.32),
    "output": (-0.19, 4.38, 0.59),
}
HEAD_ACTIVATIONS = ("gelu", "gelu_tanh", "silu", "softplus", "softsign", "leaky_relu", "relu")
HEAD_ACTIVATIONS += ("elu", "thresholded_relu", "scaled_tanh", "sigmoid", "affine", "hard_sigmoid")


def head_of_all_activations(m: Maker) -> list[Dense]:
    return [m.dense(5, 5, activation) for activation in HEAD_ACTIVATIONS]


def chain(*parts: Part, every: bool = False) -> LSTM:
    """A model of any parts."""
    return LSTM.from_network(Parts(parts, every))


class Network(NamedTuple):
    """How a network is made, and how much is asked of it."""

    make: Callable[[Maker], LSTM]
    rows: tuple[int, ...] = (3, 70)  # few: hidden units in the lanes; many: sequences
    dtypes: tuple[str, ...] = ("float32", "float64")
    inputs: str = "numbers"  # or "ids", or "masked" numbers
    traced: bool = False
    steps: int = 9
    outputs: bool = True  # whether the outputs of every step have a meaning


SINGLE, DOUBLE = ("float32",), ("float64",)
RARE = (1, 70)  # kernels of their own: no more than one for each layout of the lanes
IDS_IN: dict[str, Any] = {"inputs": "ids"}
MASKS: dict[str, Any] = {"inputs": "masked", "rows": (37,)}

NETWORKS: dict[str, Network] = {
    # LSTM layers
    "tutorial": Network(lambda m: LSTM.from_gates(TUTORIAL, head=4.0), RARE, DOUBLE, traced=True),
    "one unit": Network(
        lambda m: LSTM([m.layer(1, 1)], m.dense(1, 1)), (3, 200), traced=True, steps=19
    ),
    "one unit, stacked": Network(lambda m: LSTM([m.layer(1, 1), m.layer(1, 1)]), (3,)),
    "one layer": Network(lambda m: LSTM([m.layer(3, 5)]), (1, 2, 3, 50, 200)),
    "three layers": Network(
        lambda m: LSTM([m.layer(6, 33), m.layer(33, 3), m.layer(3, 12)], m.dense(12, 2)),
        traced=True,
    ),
    "several blocks": Network(
        lambda m: LSTM([m.layer(70, 130)], m.dense(130, 3)), (2, 50), steps=5
    ),
    "enough for threads": Network(
        lambda m: LSTM([m.layer(8, 48)], m.dense(48, 1)), (200,), steps=40
    ),
    "reverse": Network(
        lambda m: LSTM(
            [m.layer(3, 5, direction="reverse"), m.layer(5, 5, direction="reverse"), m.layer(5, 3)]
        )
    ),
    "reverse, last step": Network(
        lambda m: LSTM([m.layer(3, 5, direction="reverse")], m.dense(5, 1), read="last"), (50,)
    ),
    "go_backwards": Network(
        lambda m: LSTM(
            [m.layer(3, 5, direction="go_backwards"), m.layer(5, 4, direction="go_backwards")]
        )
    ),
    "learned states": Network(
        lambda m: LSTM([m.layer(2, 5, h_0=True, c_0=True), m.layer(5, 3, c_0=True)], m.dense(3, 1))
    ),
    # two directions
    "bidirectional": Network(lambda m: LSTM([m.both(3, 5)]), traced=True),
    "bidirectional, two": Network(lambda m: LSTM([m.both(3, 5), m.both(10, 7)], m.dense(14, 2))),
    "bidirectional, one unit": Network(lambda m: LSTM([m.both(1, 1)])),
    "bidirectional, sum": Network(lambda m: LSTM([m.both(3, 5, merge="sum"), m.layer(5, 4)])),
    "bidirectional, ave": Network(lambda m: LSTM([m.both(3, 5, merge="ave")], m.dense(5, 1))),
    "bidirectional, mul": Network(lambda m: LSTM([m.layer(3, 4), m.both(4, 5, merge="mul")])),
    "bidirectional, last": Network(lambda m: LSTM([m.both(3, 5)], m.dense(10, 2), read="last")),
    "bidirectional, max": Network(lambda m: LSTM([m.both(3, 5)], m.dense(10, 2), read="max")),
    "bidirectional, mean": Network(lambda m: LSTM([m.both(3, 5)], m.dense(10, 2), read="mean")),
    # other cells
    "projection": Network(
        lambda m: LSTM([m.layer(3, 19, 5), m.layer(5, 70, 66)], m.dense(66, 2)), RARE, traced=True
    ),
    "projection, both": Network(lambda m: LSTM([m.both(3, 7, 4), m.both(8, 7, 4)]), RARE),
    "peepholes": Network(
        lambda m: LSTM([m.layer(3, 7, **PEEPHOLES), m.layer(7, 5, **PEEPHOLES)]), RARE
    ),
    "peepholes, one unit": Network(lambda m: LSTM([m.layer(1, 1, **PEEPHOLES)]), (1,)),
    "peepholes, clip": Network(
        lambda m: LSTM([m.both(3, 5, **PEEPHOLES, clip=0.5)]), (70,), SINGLE, traced=True
    ),
    "coupled, clip": Network(lambda m: LSTM([m.layer(3, 7, **COUPLED)]), RARE),
    "coupled, peepholes": Network(
        lambda m: LSTM([m.layer(3, 7, coupled=True, peepholes=True)]), (70,), DOUBLE
    ),
    "mixed cells": Network(
        lambda m: LSTM(
            [
                m.layer(3, 5),
                m.layer(5, 4, activations=("sigmoid", "softsign", "tanh")),
                m.layer(4, 3),
            ]
        ),
        RARE,
    ),
    "cell of hard_sigmoid, affine, elu": Network(
        lambda m: LSTM([m.layer(3, 5, activations=("hard_sigmoid", "affine", "elu"))]), RARE, DOUBLE
    ),
    "cell of softsign, leaky_relu, linear": Network(
        lambda m: LSTM([m.layer(3, 5, activations=("softsign", "leaky_relu", "linear"))]),
        RARE,
        SINGLE,
    ),
    "cell of sigmoid, gelu, scaled_tanh": Network(
        lambda m: LSTM([m.layer(3, 5, activations=("sigmoid", "gelu", "scaled_tanh"))]),
        RARE,
        SINGLE,
    ),
    "all options": Network(
        lambda m: LSTM([m.embedding(30), m.layer(30, 19, 6, **ALL_OPTIONS)], m.dense(6, 2)),
        RARE,
        **IDS_IN,
    ),
    "torch's tensors": Network(
        lambda m: from_torch(m.torch_tensors(), prefix="lstm", head="fc", read="final"), RARE
    ),
    # in front, between, behind
    "embedding": Network(
        lambda m: LSTM([m.embedding(70), m.layer(70, 7), m.layer(7, 5)]),
        RARE,
        traced=True,
        **IDS_IN,
    ),
    "embedding, short": Network(
        lambda m: LSTM([m.embedding(3), m.layer(3, 7)], m.dense(7, 1)), RARE, **IDS_IN
    ),
    "embedding, dense, both": Network(
        lambda m: LSTM(
            [m.embedding(9), m.dense(9, 4, "tanh"), m.dense(4, 3), m.both(3, 5)], m.dense(10, 2)
        ),
        RARE,
        **IDS_IN,
    ),
    "dense everywhere": Network(
        lambda m: LSTM(
            [
                m.dense(3, 4, "tanh"),
                m.layer(4, 5),
                m.dense(5, 2, "relu"),
                m.layer(2, 3),
                m.dense(3, 70, "softmax"),
            ],
            [m.dense(70, 9, "relu"), m.dense(9, 3, "softmax")],
        )
    ),
    "head of all activations": Network(
        lambda m: LSTM([m.layer(3, 5)], head_of_all_activations(m)), (70,)
    ),
    "skip": Network(lambda m: LSTM([m.both(3, 5)], m.dense(10, 2), skip=2)),
    "every step": Network(
        lambda m: LSTM([m.layer(3, 5)], m.dense(5, 2, "sigmoid"), return_sequences=True)
    ),
    # other parts
    "conv": Network(
        lambda m: chain(
            m.conv(3, 6, 3, padding="same", activation="relu"),
            m.affine(6),
            Pool("max", 2),
            m.conv(6, 4, 3, padding=(1, 1), stride=2),
            m.layer(4, 5),
            Read(),
            m.dense(5, 2),
        ),
        traced=True,
    ),
    "conv, both": Network(
        lambda m: chain(
            m.conv(3, 6, 3, padding="causal", dilation=2, groups=3),
            Pool("mean", 3, 2, padding="same"),
            m.both(6, 5),
            Read("mean"),
            m.dense(10, 2),
        )
    ),
    "conv, several blocks": Network(
        lambda m: chain(m.conv(50, 130, 3), m.norm(130), m.layer(130, 5), Read(), m.dense(5, 2)),
        (2, 50),
        steps=7,
    ),
    "conv behind": Network(
        lambda m: chain(
            m.both(3, 5),
            m.conv(10, 4, 2, activation="tanh"),
            Pool("mean", 2, 1, padding=(1, 0), counts_padding=True),
            Read("max"),
        )
    ),
    "autoencoder": Network(
        lambda m: chain(
            m.layer(3, 5),
            m.layer(5, 4),
            Read(),
            Repeat(8),
            m.layer(4, 4),
            m.both(4, 5),
            m.dense(10, 3),
            every=True,
        )
    ),
    "dense to steps": Network(
        lambda m: chain(
            m.layer(3, 5), Read(), m.dense(5, 12), Unflatten(4), m.layer(3, 4), Read("sum")
        )
    ),
    "attention": Network(
        lambda m: chain(
            m.both(3, 5),
            m.dense(10, 4, "tanh"),
            m.dense(4, 1),
            StepSoftmax(),
            Join("multiply", (0, 3)),
            Read("sum"),
            m.dense(10, 2),
        )
    ),
    "attention, dot": Network(
        lambda m: chain(
            m.layer(3, 70),
            Read(),
            Join("dot", (0, 1)),
            StepSoftmax(),
            Join("multiply", (0, 3)),
            Read("sum"),
            Join("concatenate", (5, 1)),
            m.dense(140, 2),
        )
    ),
    "norms": Network(
        lambda m: chain(
            m.norm(3),
            m.layer(3, 5),
            m.norm(5),
            m.both(5, 33),
            m.norm(66, centered=False),
            m.prelu(66),
            Read("last"),
            m.dense(66, 4),
            Activate("log_softmax"),
        )
    ),
    "flatten": Network(
        lambda m: chain(m.both(3, 5), m.prelu(10), Flatten(9), m.dense(90, 3), m.affine(3))
    ),
    "steps": Network(
        lambda m: chain(
            Slice(None, None, -1),
            Pad(2, 1, "edge"),
            m.layer(3, 5),
            Slice(1, None, 2),
            Upsample(3),
            Pad(1, 2),
            m.both(5, 4),
            Slice(-4, None),
            m.dense(8, 2),
        )
    ),
    "branches": Network(
        lambda m: chain(
            m.dense(3, 5),
            m.layer(5, 5),
            Join("add", (0, 1)),
            m.both(5, 4),
            Read("max"),
            From(3),
            Read("mean"),
            From(3),
            Read("final"),
            Join("concatenate", (4, 6, 8)),
            m.dense(24, 2),
        )
    ),
    "embedding, conv": Network(
        lambda m: chain(
            m.embedding(7), m.conv(7, 4, 2, activation="relu"), Pool("max", 2), m.both(4, 5), Read()
        ),
        **IDS_IN,
    ),
    "mask, attention": Network(
        lambda m: chain(
            Masking(MASKED),
            m.both(2, 5),
            m.norm(10),
            m.dense(10, 1),
            StepSoftmax(),
            Join("multiply", (1, 4)),
            Read("sum"),
            m.dense(10, 2),
        ),
        **MASKS,
    ),
    # masks
    "mask": Network(
        lambda m: LSTM([m.layer(2, 5), m.layer(5, 4)], m.dense(4, 2), mask_value=MASKED), **MASKS
    ),
    "mask, both": Network(
        lambda m: LSTM([m.both(2, 5)], m.dense(10, 2), mask_value=MASKED), **MASKS
    ),
    "mask, mean": Network(
        lambda m: LSTM([m.both(2, 5)], m.dense(10, 2), mask_value=MASKED, read="mean"), **MASKS
    ),
    "mask, last": Network(
        lambda m: LSTM([m.layer(2, 5)], m.dense(5, 2), mask_value=MASKED, read="last"), **MASKS
    ),
    "mask, go_backwards": Network(
        lambda m: LSTM([m.layer(2, 5, direction="go_backwards")], mask_value=MASKED),
        **MASKS,
        outputs=False,
    ),
    "padding_id": Network(
        lambda m: LSTM([m.embedding(30, padding_id=3), m.layer(30, 5)], m.dense(5, 2)),
        RARE,
        **IDS_IN,
    ),
    "padding_id, both": Network(
        lambda m: LSTM(
            [m.embedding(3, padding_id=0), m.both(3, 5), m.dense(10, 4, "relu")], m.dense(4, 2)
        ),
        RARE,
        **IDS_IN,
    ),
}


# --- cases ------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A network in a dtype, and how many sequences it is given."""

    network: str
    dtype: str
    rows: int

    def __str__(self) -> str:
        return f"{self.network}, {self.dtype}, N={self.rows}"


CASES: dict[str, Case] = {
    str(case): case
    for case in (
        Case(name, dtype, rows)
        for name, network in NETWORKS.items()
        for dtype in network.dtypes
        for rows in network.rows
    )
}

# Every kind of part, both dtypes and both layouts of the lanes: for CPUs other than this one.
SAMPLE = """
one layer, float32, N=2
one layer, float64, N=50
one unit, float32, N=200
bidirectional, one unit, float64, N=70
three layers, float32, N=70
several blocks, float32, N=50
several blocks, float64, N=2
several blocks, float64, N=50
reverse, float32, N=70
reverse, last step, float64, N=50
go_backwards, float32, N=3
learned states, float64, N=70
bidirectional, float64, N=70
bidirectional, two, float32, N=70
bidirectional, sum, float64, N=70
bidirectional, ave, float32, N=70
bidirectional, mul, float64, N=70
bidirectional, last, float32, N=3
bidirectional, max, float64, N=70
bidirectional, mean, float32, N=70
bidirectional, mean, float64, N=70
projection, both, float64, N=70
peepholes, one unit, float64, N=1
coupled, clip, float32, N=1
mixed cells, float64, N=70
all options, float32, N=70
torch's tensors, float32, N=1
embedding, short, float64, N=70
padding_id, float64, N=70
dense everywhere, float32, N=70
skip, float32, N=3
every step, float64, N=70
mask, float32, N=37
mask, both, float64, N=37
mask, mean, float32, N=37
mask, last, float64, N=37
mask, go_backwards, float32, N=37
conv, float64, N=70
conv, both, float32, N=70
conv, several blocks, float32, N=50
conv behind, float64, N=70
autoencoder, float32, N=70
dense to steps, float64, N=3
attention, float32, N=70
attention, dot, float64, N=70
norms, float32, N=3
norms, float64, N=70
flatten, float32, N=70
steps, float64, N=70
branches, float32, N=70
embedding, conv, float64, N=70
mask, attention, float32, N=37
""".strip().splitlines()


class Work(NamedTuple):
    """What a case computes with."""

    model: LSTM
    x: Array  # (N, T, I), or ids (N, T)
    lengths: Array  # (N,)
    network: Network
    made: list[Array]


def make_work(case: Case) -> Work:
    """The model and the input of a case."""
    network = NETWORKS[case.network]
    maker = Maker(case.network, case.dtype)
    model = network.make(maker)
    N, T = case.rows, network.steps
    label = f"{case.network}, inputs"
    x: Array
    if network.inputs == "ids":
        x = np.floor((dyadic(label, N, T) + 1) * (IDS / 2)).astype(np.int64)
    else:
        x = (dyadic(label, N, T, model.input_size) * 2).astype(case.dtype)
    if network.inputs == "masked":
        x[dyadic(f"{label} masked", N, T) < -0.4] = MASKED
    lengths = np.arange(N) * 7 % (T + 1)
    lengths[N // 2], lengths[0] = 0, T - (N == 1)
    lengths[model.network.steps(lengths).refused] = T
    return Work(model, x, lengths, network, maker.made)


# --- ways of calling --------------------------------------------------------------------------


def everything(w: Work, x: Any, lengths: Any = None, state: Any = None, **kw: Any) -> list[Array]:
    """The results of all calls."""
    results = [w.model.predict(x, lengths, state, **kw)]
    if w.network.outputs:
        output, end = w.model(x, state, lengths, **kw)
        every = gives_every_step(w.model)
        steps = w.model.predict(x, lengths, state, return_sequences=True, **kw) if every else output
        results += [steps, output, *states(end)]
    return results


def gives_every_step(model: LSTM) -> bool:
    try:
        model.network.check_every_step()
    except UnsupportedModelError:
        return False
    return True


def takes(model: LSTM, *steps: int) -> bool:
    """Whether the network takes sequences of each of these lengths."""
    return not model.network.steps(np.array(steps)).refused.any()


def states(state: Any) -> list[Array]:
    return [part for layer in state for part in layer]


def start_of(w: Work, x: Array) -> list[tuple[Array, Array]]:
    """Some state to begin with."""
    shapes = [(k.directions, len(x), size) for k in w.model.network.state_sizes for size in k[1:]]
    drawn = [dyadic(f"start {k}", *shape) for k, shape in enumerate(shapes)]
    parts = [part.astype(w.model.dtype) for part in drawn]
    return list(zip(parts[::2], parts[1::2], strict=True))


def in_pieces(w: Work) -> list[Array]:
    """Cut after the first step and somewhere behind, the state handed over."""
    state, outputs = None, []
    for piece in np.split(w.x, PIECES, axis=1):
        last = w.model.predict(piece, state=state)
        output, state = w.model(piece, state)
        outputs.append(output)
    return [np.concatenate(outputs, axis=1), *states(state), last]


def with_bad_rows(x: Array) -> Array:
    """Of each five sequences one has NaN, one infinities, one what no float32 can hold."""
    bad = x.astype(np.float64)
    step = x.shape[1] // 2
    bad[::5, step, 0] = np.nan
    bad[1::5, step] = np.inf
    bad[1::10, step] = -np.inf
    bad[2::5, step, -1] = 1e39
    return bad


def strided(x: Array) -> Array:
    holder = np.zeros([2 * k for k in x.shape], x.dtype)
    view = holder[tuple(slice(1, None, 2) for _ in x.shape)]
    view[...] = x
    return view


def one_sequence(x: Array) -> Array:
    """The last one, (T, I); (T,) of one input, and ids as the only row."""
    if x.ndim == 2:
        return x[-1:]
    return x[-1, :, 0] if x.shape[-1] == 1 else x[-1]


def rows_of(w: Work) -> list[Array]:
    return [row[:length] for row, length in zip(w.x, w.lengths, strict=True)]


def loaded(w: Work) -> list[Array]:
    """What the model gives after it was written to a file and read back."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            load(w.model.save(Path(folder) / name)).predict(w.x)
            for name in ("model.npz", "model.json")
        ]


def trace(w: Work) -> list[Array]:
    """The gates and states of the first and of the last layer."""
    traces = [w.model.trace(w.x, w.lengths, layer=layer) for layer in (0, -1)]
    names = ("input_gate", "forget_gate", "candidate_cell", "output_gate")
    names += ("cell_state", "hidden_state")
    return [getattr(found, name) for found in traces for name in names]


def results(case: Case) -> Iterator[tuple[str, list[Array]]]:
    """What a case gives, by the way of calling; "given" are its weights and inputs."""
    w = make_work(case)
    x, lengths, whole = w.x, w.lengths, everything(w, w.x)
    yield "given", [*w.made, x, lengths]
    yield "predict", whole[:1]
    if w.network.outputs:
        yield "every step", whole[1:2]
        yield "output", whole[2:3]
        yield "state", whole[3:]
        if takes(w.model, *(len(piece) for piece in np.split(x[0], PIECES))):
            yield "pieces", in_pieces(w)
        yield "start", everything(w, x, lengths, start_of(w, x))
    yield "lengths", everything(w, x, lengths)
    yield "list", everything(w, rows_of(w))
    ragged = Ragged(np.concatenate(rows_of(w)), np.concatenate([[0], np.cumsum(lengths)]))
    yield "ragged", everything(w, ragged)
    yield "threads", everything(w, x, lengths, threads=2)
    yield "strided", everything(w, strided(x))
    yield "reversed", everything(w, x[::-1, ::-1])
    yield "int16", everything(w, (x if x.dtype.kind == "i" else 9 * x).astype(np.int16))
    if takes(w.model, 0):
        yield "no steps", everything(w, x[:, :0])
    yield "loaded", loaded(w)
    if x.dtype.kind == "f":
        yield "float16", everything(w, x.astype(np.float16))
        yield "big-endian float64", everything(w, x.astype(">f8"), lengths)
        yield "bad rows", everything(w, with_bad_rows(x), lengths)
    if len(x) == 3:
        yield "one sequence", everything(w, one_sequence(x))
    if w.network.traced:
        yield "trace", trace(w)


def digests(case: Case) -> dict[str, str]:
    """A digest of the results for each way of calling."""
    return {way: digest(arrays) for way, arrays in results(case)}


# --- golden -----------------------------------------------------------------------------------


def golden() -> dict[str, dict[str, str]]:
    """What the file has: digests by case and way of calling."""
    found: dict[str, dict[str, str]] = json.loads(GOLDEN.read_text())
    return found


def difference(name: str) -> str:
    """What is another in a case than in the file; "" if nothing."""
    expected, found = golden()[name], digests(CASES[name])
    differ = [way for way in {**expected, **found} if expected.get(way) != found.get(way)]
    if "given" in differ:
        return f"{name}: weights or inputs are made otherwise than when the file was written"
    return f"{name}: other bits: {', '.join(differ)}" if differ else ""
