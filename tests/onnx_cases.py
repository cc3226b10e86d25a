"""ONNX graphs for the tests: single LSTM operators over a table of options, and small chains.

What ONNX Runtime computes from them is kept in ``golden/onnx.npz`` (``golden/generate_onnx.py``).
The four gates have clearly different weights and biases: a swapped order cannot pass.
"""

from __future__ import annotations

import zlib

import numpy as np
from onnx import TensorProto, helper, numpy_helper

N, T, I, H = 3, 5, 3, 4  # noqa: E741

GATE_BIAS = (-0.5, -1.2, 1.0, 0.3)  # i o f g
GATE_SCALE = (1.0, 1.3, 0.7, 1.6)
LENGTHS = (5, 2, 4)

# name: options of the operator; the defaults are those of `operator`
OPERATORS = {
    f"{direction}{'_' if extras else ''}{'_'.join(extras)}": {
        "direction": direction,
        **dict.fromkeys(extras, True),
    }
    for direction in ("forward", "reverse", "bidirectional")
    for extras in (
        (),
        ("lens",),
        ("state",),
        ("peepholes",),
        ("lens", "state", "peepholes"),
        ("coupled",),
        ("coupled", "peepholes"),
        ("learned",),
        ("no_bias",),
    )
} | {
    "opset7": {"opset": 7},
    "opset22": {"opset": 22, "direction": "bidirectional"},
    "clip": {"clip": 0.6},
    "clip_bidirectional": {"clip": 0.6, "direction": "bidirectional", "lens": True},
    "clip_peepholes": {"clip": 0.6, "peepholes": True},
    "clip_coupled": {"clip": 0.6, "coupled": True},
    "clip_cell": {"clip": 0.6, "state": True},
    "large_clip": {"clip": 9999.0},
    "relu": {"activations": ["Sigmoid", "Relu", "Relu"]},
    "affine": {
        "activations": ["Affine", "Tanh", "Affine"],
        "alpha": [0.2, 0.7],
        "beta": [0.4, 0.1],
    },
    "affine_default": {"activations": ["Sigmoid", "Affine", "Tanh"], "alpha": [1.0], "beta": [0.0]},
    "leaky": {"activations": ["Sigmoid", "LeakyRelu", "Tanh"], "alpha": [0.1]},
    "leaky_default": {"activations": ["Sigmoid", "LeakyRelu", "Tanh"]},
    "thresholded": {"activations": ["Sigmoid", "ThresholdedRelu", "Tanh"], "alpha": [0.3]},
    "scaled_tanh": {
        "activations": ["Sigmoid", "ScaledTanh", "ScaledTanh"],
        "alpha": [1.7, 0.8],
        "beta": [0.6, 1.2],
    },
    "hard_sigmoid": {"activations": ["HardSigmoid", "Tanh", "Tanh"]},
    "hard_sigmoid_numbers": {
        "activations": ["HardSigmoid", "ScaledTanh", "Tanh"],
        "alpha": [0.3, 1.5],
        "beta": [0.4, 0.5],
    },
    "elu": {"activations": ["Sigmoid", "Elu", "Elu"], "alpha": [0.5, 1.5]},
    "softsign": {"activations": ["Sigmoid", "Softsign", "Softsign"]},
    "softplus": {"activations": ["Sigmoid", "Softplus", "Tanh"]},
    "small_letters": {"activations": ["sigmoid", "softsign", "tanh"]},
    "two_kinds": {  # the directions differ, and only the first and the last take numbers
        "direction": "bidirectional",
        "activations": ["HardSigmoid", "Tanh", "Tanh", "Sigmoid", "Softsign", "Elu"],
        "alpha": [0.3, 0.7],
        "beta": [0.4],
    },
    "all_at_once": {
        "direction": "bidirectional",
        "lens": True,
        "state": True,
        "peepholes": True,
        "coupled": True,
        "activations": ["HardSigmoid", "Tanh", "Softsign"] * 2,
        "opset": 22,
    },
}


def random(name, *shape):
    """Numbers in -1 ... 1 that depend on the name and the shape only."""
    seed = zlib.crc32(f"{name} {shape}".encode())
    return np.random.Generator(np.random.PCG64(seed)).random(shape) * 2 - 1


def weights(name, directions=1, inputs=I, peepholes=False, bias=True):
    """W, R, B and P of an operator, gates i o f g."""
    scale = np.repeat(GATE_SCALE, H)[:, None]
    B = random(f"{name} B", directions, 2, 4 * H) * 0.3 + np.repeat(GATE_BIAS, H)
    found = {
        "W": random(f"{name} W", directions, 4 * H, inputs) * scale,
        "R": random(f"{name} R", directions, 4 * H, H) * scale * 0.8,
    }
    if bias:
        found["B"] = B.reshape(directions, 8 * H)
    if peepholes:
        p = random(f"{name} P", directions, 3, H) * 0.3 + np.array([0.9, -0.6, 0.4])[:, None]
        found["P"] = p.reshape(directions, 3 * H)
    return found


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def constants(dtype="float32", **named):
    """Initializers: floats of `dtype`, other numbers as they are."""
    found = []
    for name, array in named.items():
        array = np.asarray(array)
        kept = array.astype(dtype) if array.dtype.kind == "f" else array
        found.append(numpy_helper.from_array(kept, name))
    return found


def model(nodes, inputs, outputs, initializers, opset=14):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    ids = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=ids, ir_version=8)


def operator(
    name,
    direction="forward",
    lens=False,
    state=False,
    learned=False,
    peepholes=False,
    coupled=False,
    no_bias=False,
    clip=None,
    activations=None,
    alpha=None,
    beta=None,
    opset=14,
    layout=0,
    dtype="float32",
):
    """A graph of one LSTM operator; `weights` are kept by its name."""
    D = 2 if direction == "bidirectional" else 1
    float_kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    named = weights(name, D, peepholes=peepholes, bias=not no_bias)
    if learned:
        for which in ("h", "c"):
            row = random(f"{name} {which}", D, 1, H)
            named[f"initial_{which}"] = np.repeat(row, N, axis=1)
            if layout:
                named[f"initial_{which}"] = named[f"initial_{which}"].swapaxes(0, 1)
    states = ("initial_h", "initial_c")
    read = [
        "X",
        "W",
        "R",
        "" if no_bias else "B",
        "sequence_lens" if lens else "",
        *(states if state or learned else ("", "")),
        "P" if peepholes else "",
    ]
    attributes = {
        "direction": direction,
        "hidden_size": H,
        "clip": clip,
        "activations": activations,
        "activation_alpha": alpha,
        "activation_beta": beta,
        "input_forget": 1 if coupled else None,
        "layout": layout or None,
    }
    attributes = {key: given for key, given in attributes.items() if given is not None}
    node = helper.make_node("LSTM", read, ["Y", "Y_h", "Y_c"], name="cell", **attributes)
    inputs = [value("X", ["N", "T", I] if layout else ["T", "N", I], float_kind)]
    if learned:
        inputs = [value("X", [N, T, I] if layout else [T, N, I], float_kind)]
    if lens:
        inputs.append(value("sequence_lens", ["N"], TensorProto.INT32))
    if state:
        shape = ["N", D, H] if layout else [D, "N", H]
        inputs += [value(key, shape, float_kind) for key in states]
    outputs = [value(key, None, float_kind) for key in ("Y", "Y_h", "Y_c")]
    return model([node], inputs, outputs, constants(dtype, **named), opset)


def feeds(name, direction="forward", lens=False, state=False, **_):
    """What ONNX Runtime is given."""
    D = 2 if direction == "bidirectional" else 1
    given = {"X": (random(f"{name} X", T, N, I) * 2).astype(np.float32)}
    if lens:
        given["sequence_lens"] = np.array(LENGTHS, np.int32)
    if state:
        for which, scale in (("h", 1), ("c", 2)):
            given[f"initial_{which}"] = (scale * random(f"{name} {which}", D, N, H)).astype("f4")
    return given


# Chains: the nodes of a graph, its constants and inputs; x is (T, N, I) unless they say more.


def lstm(read, gives, suffix="", state=(), **attributes):
    read = [read, *(f"{key}{suffix}" for key in "WRB"), *(("", *state) if state else ())]
    return helper.make_node("LSTM", read, gives, name=f"lstm{suffix}", hidden_size=H, **attributes)


def node(op, read, gives, **attributes):
    return helper.make_node(op, read.split(), gives.split(), name=f"{op} of {gives}", **attributes)


def suffixed(suffix, **kinds):
    return {f"{key}{suffix}": array for key, array in weights(f"chain{suffix}", **kinds).items()}


ONE, TWO = suffixed(""), suffixed("2")
BOTH, UPPER = suffixed("", directions=2), suffixed("2", inputs=H)
TABLE = random("table", 7, I)
FC = {"fc": random("fc", H, 2), "b": random("b", 2)}
FC2 = {"fc": random("fc2", 2 * H, 2), "b": random("b", 2)}
X, Y = [value("x", ["T", "N", I])], [value("y", None)]
XN = [value("x", ["N", "T", I])]


def ints(*numbers):
    return np.array(numbers, np.int64)


LAST = {"last": np.array(-1)}
AXES = {"zero": ints(0), "one": ints(1), "minus": ints(-1), "begin": ints(-(2**63) + 1)}
REVERSED = node("Slice", "x minus begin zero minus", "back")

CHAINS = {
    "every step": ([lstm("x", ["a"]), node("Squeeze", "a one", "y")], {**ONE, **AXES}),
    "the last step": (
        [
            lstm("x", ["a"]),
            node("Squeeze", "a one", "s"),
            node("Gather", "s last", "g", axis=0),
            node("Gemm", "g fc b", "y"),
        ],
        {**ONE, **FC, **AXES, **LAST},
    ),
    "the last step of two directions": (
        [
            lstm("x", ["a"], direction="bidirectional"),
            node("Transpose", "a", "t", perm=[2, 0, 1, 3]),
            node("Reshape", "t shape", "r"),
            node("Gather", "r last", "g", axis=1),
            node("Gemm", "g fc b", "y"),
        ],
        {**BOTH, **FC2, **LAST, "shape": ints(0, 0, -1)},
    ),
    "the final states of two directions": (
        [
            lstm("x", ["", "h"], direction="bidirectional"),
            node("Transpose", "h", "t", perm=[1, 0, 2]),
            node("Reshape", "t shape", "r"),
            node("Gemm", "r fc b", "y"),
        ],
        {**BOTH, **FC2, "shape": ints(0, -1)},
    ),
    "final states by steps of Y": (
        [
            lstm("x", ["a"], direction="bidirectional"),
            node("Gather", "a last", "f4", axis=0),
            node("Gather", "f4 first", "f", axis=0),
            node("Gather", "a first", "b4", axis=0),
            node("Gather", "b4 last", "k", axis=0),
            node("Concat", "f k", "r", axis=1),
            node("Gemm", "r fc b", "y"),
        ],
        {**BOTH, **FC2, **LAST, "first": np.array(0)},
    ),
    "backward first": (
        [
            lstm("x", ["", "h"], direction="bidirectional"),
            node("Gather", "h last", "k", axis=0),
            node("Gather", "h first", "f", axis=0),
            node("Concat", "k f", "r", axis=1),
            node("Gemm", "r fc b", "y"),
        ],
        {**BOTH, **FC2, **LAST, "first": np.array(0)},
    ),
    "two operators": (
        [
            lstm("x", ["f"]),
            lstm("x", ["k"], "2", direction="reverse"),
            node("Concat", "f k", "a", axis=3),
            node("Squeeze", "a one", "y"),
        ],
        {**ONE, **TWO, **AXES},
    ),
    "two operators and a reversal": (
        [
            lstm("x", ["f"]),
            REVERSED,
            lstm("back", ["k4"], "2"),
            node("Slice", "k4 minus begin zero minus", "k"),
            node("Concat", "f k", "a", axis=-1),
            node("Squeeze", "a one", "y"),
        ],
        {**ONE, **TWO, **AXES},
    ),
    "two operators' final states": (
        [
            lstm("x", ["", "f"]),
            REVERSED,
            lstm("back", ["", "k"], "2"),
            node("Concat", "k f", "a", axis=2),
            node("Squeeze", "a zero", "s"),
            node("MatMul", "s fc", "p"),
            node("Add", "b p", "y"),
        ],
        {**ONE, **TWO, **AXES, **FC2},
    ),
    "go_backwards": (
        [REVERSED, lstm("back", ["a"]), node("Squeeze", "a one", "y")],
        {**ONE, **AXES},
    ),
    "stacked": (
        [
            lstm("x", ["a"]),
            node("Squeeze", "a one", "s"),
            lstm("s", ["", "h"], "2"),
            node("Squeeze", "h zero", "y"),
        ],
        {**ONE, **UPPER, **AXES},
    ),
    "reverse on reverse": (
        [
            lstm("x", ["a"], direction="reverse"),
            node("Squeeze", "a one", "s"),
            lstm("s", ["", "h"], "2", direction="reverse"),
            node("Squeeze", "h zero", "y"),
        ],
        {**ONE, **UPPER, **AXES},
    ),
    "interleaved outputs": (
        [
            lstm("x", ["a"], direction="bidirectional"),
            node("Transpose", "a", "t", perm=[0, 2, 3, 1]),
            node("Reshape", "t shape", "r"),
            node("MatMul", "r fc", "y"),
        ],
        {**BOTH, "shape": ints(0, 0, -1), "fc": FC2["fc"]},
    ),
    "dense layers on flattened rows": (
        [
            lstm("x", ["a"]),
            node("Squeeze", "a one", "s"),
            node("Reshape", "s rows", "r"),
            node("Tanh", "r", "t"),
            node("Gemm", "t fc b", "g"),
            node("Softmax", "g", "m", axis=1),
            node("Shape", "s", "n"),
            node("Slice", "n zero two", "n2"),
            node("Concat", "n2 minus", "n3", axis=0),
            node("Reshape", "m n3", "y"),
        ],
        {**ONE, **FC, **AXES, "rows": ints(-1, H), "two": ints(2)},
    ),
    "maximum": (
        [
            lstm("x", ["a"], direction="bidirectional"),
            node("Transpose", "a", "t", perm=[2, 0, 1, 3]),
            node("Reshape", "t shape", "r"),
            node("ReduceMax", "r", "m", axes=[1], keepdims=0),
            node("Gemm", "m fc b", "y"),
        ],
        {**BOTH, **FC2, "shape": ints(0, 0, -1)},
    ),
    "mean": (
        [lstm("x", ["a"]), node("ReduceMean", "a", "m", axes=[0]), node("Squeeze", "m two", "y")],
        {**ONE, "two": ints(0, 1)},
    ),
    "scaled inputs": (
        [
            node("Sub", "x mean", "d"),
            node("Div", "d deviation", "s"),
            lstm("s", ["", "h"]),
            node("Squeeze", "h zero", "y"),
        ],
        {**ONE, **AXES, "mean": random("mean", I), "deviation": random("sd", I) + 1.5},
    ),
    "learned state": (
        [
            node("Shape", "x", "n"),
            node("Slice", "n one two", "n1"),
            node("Concat", "one n1 size", "n3", axis=0),
            node("Expand", "h0 n3", "h1"),
            node("Expand", "c0 n3", "c1"),
            lstm("x", ["a"], state=("h1", "c1")),
            node("Squeeze", "a one", "y"),
        ],
        {
            **ONE,
            **AXES,
            "two": ints(2),
            "size": ints(H),
            "h0": random("h0", 1, 1, H),
            "c0": random("c0", 1, 1, H),
        },
    ),
    "a branch that a constant chooses": (
        [
            node(
                "If",
                "yes",
                "a",
                then_branch=helper.make_graph([lstm("x", ["t"])], "then", [], [value("t", None)]),
                else_branch=helper.make_graph(
                    [helper.make_node("Mystery", ["x"], ["e"], domain="other")],
                    "else",
                    [],
                    [value("e", None)],
                ),
            ),
            node("Squeeze", "a one", "y"),
        ],
        {**ONE, **AXES, "yes": np.array(True)},
    ),
    "folded weights": (
        [
            node("Concat", "W_i W_rest", "W2", axis=0),
            node("Unsqueeze", "W2 zero", "W"),
            node("Transpose", "R_t", "R", perm=[0, 2, 1]),
            node("Cast", "B_64", "B", to=TensorProto.FLOAT),
            lstm("x", ["a"]),
            node("Identity", "a", "i"),
            node("Squeeze", "i one", "y"),
        ],
        {
            **AXES,
            "W_i": ONE["W"][0, :H],
            "W_rest": ONE["W"][0, H:],
            "R_t": ONE["R"].transpose(0, 2, 1),
            "B_64": ONE["B"],
        },
    ),
    "embedding": (
        [
            node("Gather", "table x", "e"),
            lstm("e", ["", "h"]),
            node("Squeeze", "h zero", "y"),
        ],
        {**ONE, **AXES, "table": TABLE},
    ),
}
MORE = {
    **ONE,
    **UPPER,
    **AXES,
    **FC,
    **LAST,
    "two": ints(2),
    "three": ints(3),
    "first": np.array(0),
}
STEPS_LAST = node("Transpose", "x", "c", perm=[1, 2, 0])  # (T, N, I) -> (N, I, T)
STEPS_FIRST = node("Transpose", "d", "e", perm=[2, 0, 1])
READ = [lstm("e", ["", "h"]), node("Squeeze", "h zero", "y")]
SQUEEZED = [lstm("x", ["a"]), node("Squeeze", "a one", "s")]  # s is (T, N, H)
HEAD = [node("Gather", "z last", "g", axis=0), node("Gemm", "g fc b", "y")]
NORM = {"gain": random("gain", H) + 1.5, "shift": random("shift", H), "eps": np.array(0.01)}
BATCH = {
    "gamma": random("gamma", I) + 1.5,
    "beta": random("beta", I),
    "mu": random("mu", I),
    "var": random("var", I) + 1.2,
}

CHAINS |= {
    "a convolution": (
        [
            STEPS_LAST,
            node("Conv", "c k kb", "d", pads=[2, 1], dilations=[2], strides=[1], kernel_shape=[2]),
            STEPS_FIRST,
            *READ,
        ],
        {**MORE, "k": random("k", I, I, 2), "kb": random("kb", I)},
    ),
    "convolutions and pooling": (
        [
            STEPS_LAST,
            node("Conv", "c k", "d0", auto_pad="SAME_UPPER", strides=[2], group=3),
            node("Relu", "d0", "d1"),
            node("BatchNormalization", "d1 gamma beta mu var", "d2", epsilon=0.05),
            node("MaxPool", "d2", "d3", kernel_shape=[2], strides=[1], pads=[1, 0]),
            node("AveragePool", "d3", "d", kernel_shape=[2], pads=[0, 1], count_include_pad=1),
            STEPS_FIRST,
            *READ,
        ],
        {**MORE, **BATCH, "k": random("k", I, 1, 3)},
    ),
    "a convolution of two axes": (
        [
            STEPS_LAST,
            node("Unsqueeze", "c two", "c4"),
            node("Conv", "c4 k", "d4", kernel_shape=[1, 3], pads=[0, 0, 0, 2], dilations=[1, 1]),
            node("Add", "d4 kb", "d5"),
            node("Squeeze", "d5 two", "d"),
            STEPS_FIRST,
            *READ,
        ],
        {**MORE, "k": random("k", I, I, 1, 3), "kb": random("kb", 1, I, 1, 1)},
    ),
    "padding": (
        [
            node("Pad", "x p none", "p0", mode="constant"),
            node("Pad", "p0 p", "p1", mode="edge"),
            node("Pad", "p1 p", "e", mode="reflect"),
            *READ,
        ],
        {**MORE, "p": ints(2, 0, 0, 1, 0, 0), "none": np.array(0.0)},
    ),
    "a convolution behind": (
        [
            *SQUEEZED,
            node("Transpose", "s", "c", perm=[1, 2, 0]),
            node("Conv", "c k", "d", kernel_shape=[2], pads=[1, 0]),
            node("GlobalMaxPool", "d", "m"),
            node("Flatten", "m", "y"),
        ],
        {**MORE, "k": random("k", 2, H, 2)},
    ),
    "layer normalisation": (
        [
            *SQUEEZED,
            node("LayerNormalization", "s gain shift", "n", axis=-1, epsilon=0.01),
            lstm("n", ["", "h"], "2"),
            node("Squeeze", "h zero", "y"),
        ],
        {**MORE, **NORM},
    ),
    "layer normalisation in small pieces": (
        [
            *SQUEEZED,
            node("ReduceMean", "s", "m", axes=[-1]),
            node("Sub", "s m", "d"),
            node("Mul", "d d", "d2"),
            node("ReduceMean", "d2", "v", axes=[-1]),
            node("Add", "v eps", "v2"),
            node("Sqrt", "v2", "sd"),
            node("Div", "d sd", "n0"),
            node("Mul", "n0 gain", "n1"),
            node("Add", "n1 shift", "n"),
            lstm("n", ["", "h"], "2"),
            node("Squeeze", "h zero", "y"),
        ],
        {**MORE, **NORM},
    ),
    "attention": (
        [
            *SQUEEZED,
            node("MatMul", "s score", "w0"),
            node("Tanh", "w0", "w1"),
            node("MatMul", "w1 score2", "w2"),
            node("Softmax", "w2", "w", axis=0),
            node("Mul", "w s", "p"),
            node("ReduceSum", "p zero", "q", keepdims=0),
            node("Gemm", "q fc b", "y"),
        ],
        {**MORE, "score": random("score", H, 6) * 2, "score2": random("score2", 6, 1) * 3},
    ),
    "attention of the last state": (
        [
            lstm("x", ["a", "h"]),
            node("Squeeze", "a one", "s"),
            node("Transpose", "s", "v", perm=[1, 0, 2]),
            node("Transpose", "h", "h2", perm=[1, 2, 0]),
            node("MatMul", "v h2", "w0"),
            node("Transpose", "w0", "w1", perm=[0, 2, 1]),
            node("Softmax", "w1", "w", axis=-1),
            node("MatMul", "w v", "q"),
            node("Squeeze", "q one", "q2"),
            node("Gemm", "q2 fc b", "y"),
        ],
        MORE,
    ),
    "attention of the final states of two directions": (
        [
            lstm("x", ["a", "h"], direction="bidirectional"),
            node("Transpose", "a", "v0", perm=[2, 0, 1, 3]),
            node("Reshape", "v0 steps", "v"),
            node("Transpose", "h", "h0", perm=[1, 0, 2]),
            node("Reshape", "h0 column", "h2"),
            node("MatMul", "v h2", "w0"),
            node("Softmax", "w0", "w", axis=1),
            node("Transpose", "v", "v1", perm=[0, 2, 1]),
            node("MatMul", "v1 w", "q"),
            node("Reshape", "q row", "q2"),
            node("Gemm", "q2 fc b", "y"),
        ],
        {**BOTH, **FC2, "steps": ints(0, 0, -1), "column": ints(0, -1, 1), "row": ints(0, -1)},
    ),
    "a repeated vector": (
        [
            lstm("x", ["", "h"]),
            node("Squeeze", "h zero", "r0"),
            node("Unsqueeze", "r0 zero", "r1"),
            node("Tile", "r1 times", "r"),
            lstm("r", ["a"], "2"),
            node("MatMul", "a fc", "y"),
        ],
        {**MORE, "times": ints(7, 1, 1)},
    ),
    "a vector in steps": (
        [
            lstm("x", ["", "h"]),
            node("Squeeze", "h zero", "r"),
            node("MatMul", "r wide", "r0"),
            node("Reshape", "r0 shape", "r1"),
            node("Transpose", "r1", "r2", perm=[1, 0, 2]),
            lstm("r2", ["", "h2"], "2"),
            node("Squeeze", "h2 zero", "y"),
        ],
        {**MORE, "wide": random("wide", H, 6 * H), "shape": ints(0, 6, H)},
    ),
    "a residual": (
        [
            *SQUEEZED,
            lstm("s", ["b2"], "2"),
            node("Squeeze", "b2 one", "t"),
            node("Add", "s t", "z"),
            *HEAD,
        ],
        MORE,
    ),
    "two kinds of pooling": (
        [
            *SQUEEZED,
            node("ReduceMean", "s", "m", axes=[0], keepdims=0),
            node("ReduceMax", "s", "n", axes=[0], keepdims=0),
            node("Concat", "n m", "r", axis=1),
            node("Gemm", "r fc2 b", "y"),
        ],
        {**MORE, "fc2": FC2["fc"]},
    ),
    "one step": (
        [*SQUEEZED, node("Gather", "s second", "g", axis=0), node("Gemm", "g fc b", "y")],
        {**MORE, "second": np.array(1)},
    ),
    "other steps": (
        [
            node("Slice", "x one end zero two", "e"),
            lstm("e", ["a"]),
            node("Squeeze", "a one", "y"),
        ],
        {**MORE, "end": ints(2**31 - 1)},
    ),
    "one direction of two": (
        [
            lstm("x", ["a"], direction="bidirectional"),
            node("Gather", "a last", "s", axis=1),
            node("MatMul", "s fc", "y"),
        ],
        {**BOTH, **LAST, "fc": FC["fc"]},
    ),
    "activations": (
        [
            *SQUEEZED,
            node("Sigmoid", "s", "g0"),
            node("Mul", "s g0", "g1"),
            node("Div", "g1 root", "g2"),
            node("Erf", "g2", "g3"),
            node("Add", "g3 unit", "g4"),
            node("Mul", "g1 g4", "g5"),
            node("Mul", "g5 half", "g6"),
            node("Clip", "g6 low high", "g7"),
            node("PRelu", "g7 slope", "g8"),
            node("Sub", "unit g8", "z"),
            *HEAD,
        ],
        {
            **MORE,
            "root": np.array(2**0.5),
            "unit": np.array(1.0),
            "half": np.array(0.5),
            "low": np.array(-0.1),
            "high": np.array(0.2),
            "slope": random("slope", H),
        },
    ),
    "steps twice": (
        [
            *SQUEEZED,
            node(
                "Resize",
                "s roi scales",
                "u",
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            ),
            lstm("u", ["", "h"], "2"),
            node("Squeeze", "h zero", "y"),
        ],
        {**MORE, "roi": np.zeros(0), "scales": np.array([2.0, 1.0, 1.0])},
    ),
}
DOUBLE = {"B_64"}


def chain(name, inputs=None, outputs=None, opset=None):
    """The model of a chain by its name."""
    opset = opset or (17 if name == "layer normalisation" else 14)
    nodes, named = CHAINS[name]
    x = [value("x", ["T", "N"], TensorProto.INT64)] if name == "embedding" else X
    floats = constants(**{k: v for k, v in named.items() if k not in DOUBLE})
    floats += constants("float64", **{k: v for k, v in named.items() if k in DOUBLE})
    found = model(nodes, inputs or x, outputs or Y, floats, opset)
    found.opset_import.append(helper.make_opsetid("other", 1))
    return found


def chain_input(name):
    """X (T, N, I), or ids (T, N)."""
    if name == "embedding":
        return np.arange(T * N).reshape(T, N) * 5 % 7
    return (random("chain x", T, N, I) * 2).astype(np.float32)
