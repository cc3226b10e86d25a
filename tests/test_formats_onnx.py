"""ONNX: ONNX Runtime's numbers for every option of the operator, chains read right or refused."""

import os
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_cases as cases
import pytest
from helpers import outputs, predictions
from onnx import TensorProto, helper, numpy_helper
from onnx_cases import (
    AXES,
    BOTH,
    FC2,
    LAST,
    ONE,
    TWO,
    XN,
    H,
    I,
    N,
    T,
    X,
    Y,
    ints,
    lstm,
    node,
    value,
)

import fastlstm
from fastlstm import LSTM, Bidirectional, Dense, Embedding, Layer, State, cli, from_onnx, reference
from fastlstm.errors import ModelFormatError, UnsupportedModelError

pytestmark = pytest.mark.every_cell

GOLDEN = Path(__file__).parent / "golden" / "onnx"
EXPECTED = np.load(GOLDEN / "onnx.npz")
EPS = np.finfo(np.float32).eps

# Their cell states are above the clip. ONNX Runtime leaves those alone on their way to h.


def states(given, dtype="float32"):
    if "initial_h" not in given:
        return None
    return State([(given["initial_h"].astype(dtype), given["initial_c"].astype(dtype))])


def in_double(model, given):
    """Y, Y_h and Y_c in float64, in ONNX' order of axes."""
    x, lengths = given["X"].swapaxes(0, 1), given.get("sequence_lens")
    double = model.astype("float64")
    output, state = reference.lstm(
        double.network, x.astype(np.float64), states(given, "float64"), lengths
    )
    return in_onnx_order(output, state)


def in_onnx_order(output, state):
    D = state.h_n.shape[0]
    y = output.reshape(len(output), T, D, H).transpose(1, 2, 0, 3)
    return y, state.h_n, state.c_n


def error(a, b):
    """The largest difference, relative where numbers are above 1."""
    return float(np.max(np.abs(a - b) / np.maximum(1, np.abs(b))))


def distance(model, name, given):
    """How far a model is from ONNX Runtime's numbers, at most."""
    return max(
        error(mine, EXPECTED[f"{name} {key}"])
        for mine, key in zip(in_double(model, given), "Yhc", strict=True)
    )


# The operator


def test_the_table_has_all_gates_different():
    W = cases.weights("forward")["B"].reshape(2, 4, H)
    means = np.sort(W.mean((0, 2)))
    assert np.diff(means).min() > 0.3


@pytest.mark.parametrize("name", cases.OPERATORS)
def test_operator(name):
    options = cases.OPERATORS[name]
    model, given = from_onnx(cases.operator(name, **options)), cases.feeds(name, **options)
    truth = in_double(model, given)
    x, lengths = given["X"].swapaxes(0, 1), given.get("sequence_lens")
    for engine, output, state in outputs(model, x, states(given), lengths):
        for mine, exact, key in zip(in_onnx_order(output, state), truth, "Yhc", strict=True):
            theirs = EXPECTED[f"{name} {key}"]
            assert error(theirs, exact) < 2e-6, key
            assert error(mine, exact) <= 4 * error(theirs, exact) + EPS, (engine, key)


@pytest.mark.parametrize("name", ["forward", "bidirectional_lens_state_peepholes"])
@pytest.mark.parametrize("opset", [1, 6, 7, 13, 14, 21, 22, 24])
def test_opsets(name, opset):
    options = cases.OPERATORS[name]
    model = cases.operator(name, **options, opset=opset)
    if opset == 1:
        model.graph.node[0].attribute.append(helper.make_attribute("output_sequence", 1))
    assert from_onnx(model).layers == from_onnx(cases.operator(name, **options)).layers


@pytest.mark.parametrize("name", ["forward_state", "bidirectional_learned", "bidirectional_lens"])
def test_layout(name):
    """ONNX Runtime has no layout 1; the operator is the same, but for the order of its axes."""
    options = cases.OPERATORS[name]
    model = from_onnx(cases.operator(name, **options, layout=1))
    assert model.layers == from_onnx(cases.operator(name, **options)).layers
    assert distance(model, name, cases.feeds(name, **options)) < 2e-6


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_dtypes(dtype):
    options = cases.OPERATORS["bidirectional_peepholes"] | {"dtype": dtype}
    (layer,) = from_onnx(cases.operator("bidirectional_peepholes", **options)).layers
    assert layer.dtype == ("float32" if dtype == "float16" else "float64")
    W = cases.weights("bidirectional_peepholes", 2, peepholes=True)["W"].astype(dtype)
    i, o, f, g = W[1].reshape(4, H, I)
    np.testing.assert_array_equal(layer.backward.w_ih, np.concatenate([i, f, g, o]))
    given = cases.feeds("bidirectional_peepholes", **options)
    assert distance(LSTM([layer]), "bidirectional_peepholes", given) < (
        2e-6 if dtype == "float64" else 3e-3
    )


def test_bfloat16_is_widened():
    model = cases.operator("forward")
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        bits = (array.view(np.uint32) >> 16).astype(np.uint16)
        tensor.raw_data, tensor.data_type = bits.tobytes(), TensorProto.BFLOAT16
    (layer,) = from_onnx(model).layers
    W = cases.weights("forward")["W"][0].astype("f4").view("u4") & 0xFFFF0000
    np.testing.assert_array_equal(layer.w_ih[:H], W.view("f4")[:H])
    assert layer.dtype == np.float32


def test_numbers_that_are_not_raw():
    model = cases.operator("forward")
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        unpacked = helper.make_tensor(tensor.name, tensor.data_type, array.shape, array.ravel())
        tensor.CopyFrom(unpacked)
        assert not tensor.raw_data
    assert from_onnx(model).layers == from_onnx(cases.operator("forward")).layers


def changed(layer, **fields):
    """The same layer with other fields, in both directions."""
    if isinstance(layer, Bidirectional):
        return Bidirectional(*(changed(cell, **fields) for cell in layer.cells))
    made = {name: make(layer) if callable(make) else make for name, make in fields.items()}
    return replace(layer, **made)


def gates(order):
    def reorder(array):
        return np.concatenate([array.reshape(4, -1, *array.shape[1:])[k] for k in order])

    return {
        name: lambda layer, name=name: reorder(getattr(layer, name))
        for name in ("w_ih", "w_hh", "b_ih", "b_hh")
    }


WRONG = {
    "gates o f swapped": ("forward", gates([0, 3, 2, 1])),
    "gates i f swapped": ("reverse", gates([1, 0, 2, 3])),
    "gates g o swapped": ("bidirectional", gates([0, 1, 3, 2])),
    "no b_hh": ("forward", {"b_hh": None}),
    "no b_ih": ("bidirectional", {"b_ih": None}),
    "no initial h": ("bidirectional_learned", {"h_0": None}),
    "no initial c": ("forward_learned", {"c_0": None}),
    "no peepholes": ("bidirectional_peepholes", {"peepholes": None}),
    "peepholes in another order": (
        "forward_peepholes",
        {"peepholes": lambda layer: layer.peepholes[[0, 2, 1]]},
    ),
    "no coupling": ("reverse_coupled", {"coupled": False}),
    "no clip": ("clip", {"clip": None}),
    "other activations": ("softsign", {"activations": ("sigmoid", "tanh", "tanh")}),
    "another slope": (
        "hard_sigmoid_numbers",
        {"activations": ("hard_sigmoid", ("scaled_tanh", 1.5, 0.5), "tanh")},
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_planted_errors_are_far_away(what):
    name, fields = WRONG[what]
    options = cases.OPERATORS[name]
    model, given = from_onnx(cases.operator(name, **options)), cases.feeds(name, **options)
    wrong = LSTM([changed(layer, **fields) for layer in model.layers])
    assert distance(wrong, name, given) > 1000 * 2e-6


@pytest.mark.parametrize("left_out", ["sequence_lens", "initial_h", "initial_c"])
def test_planted_errors_of_a_call(left_out):
    name = "bidirectional_lens_state_peepholes"
    options = cases.OPERATORS[name]
    model, given = from_onnx(cases.operator(name, **options)), cases.feeds(name, **options)
    assert distance(model, name, given) < 2e-6
    if left_out == "sequence_lens":
        given.pop(left_out)
    else:
        given[left_out] = given[left_out] * 0
    assert distance(model, name, given) > 1000 * 2e-6


# One node of a graph


def test_one_node():
    model = cases.chain("stacked")
    first, second = from_onnx(model, "lstm"), from_onnx(model, node="lstm2")
    assert (*first.layers, *second.layers) == from_onnx(model).layers
    assert from_onnx(model, node="a").layers == first.layers  # by its output
    with pytest.raises(ValueError, match=r"node=.x.: .* got 0; candidates: \['lstm', 'lstm2'\]"):
        from_onnx(model, node="x")
    model.graph.node[2].name = "lstm"
    with pytest.raises(ValueError, match="got 2"):
        from_onnx(model, node="lstm")


def test_flags_on_the_command_line(tmp_path, capsys):
    path = tmp_path / "model.onnx"
    path.write_bytes(cases.chain("stacked").SerializeToString())
    assert cli.main(["info", str(path), "--node", "x"]) == 1
    assert f"{path}: --node x: expected one LSTM node" in capsys.readouterr().err
    two = cases.chain("stacked")
    two.graph.node[2].input[0] = "another"
    two.graph.input.add(name="another").CopyFrom(two.graph.input[0])
    two.graph.input[-1].name = "another"
    path.write_bytes(two.SerializeToString())
    with pytest.raises(UnsupportedModelError, match='one LSTM operator alone: node="lstm"'):
        fastlstm.load(path)
    assert cli.main(["info", str(path)]) == 1
    assert "one LSTM operator alone: --node lstm" in capsys.readouterr().err
    assert fastlstm.load(path, node="lstm").num_layers == 1


def test_one_node_of_what_is_refused():
    convolved = cases.model(
        [
            helper.make_node("Conv", ["x", "k"], ["v"]),
            lstm("v", ["y"]),
            helper.make_node("Mystery", ["y"], ["z"], domain="strange"),
        ],
        X,
        [value("z", None)],
        cases.constants(**ONE, k=cases.random("k", 3, 3, 3)),
    )
    (layer,) = from_onnx(convolved, node="lstm").layers
    assert layer == from_onnx(cases.chain("every step")).layers[0]
    with pytest.raises(UnsupportedModelError, match="Conv"):
        from_onnx(convolved)


@pytest.mark.parametrize("chosen", [True, False])
def test_one_node_in_a_branch(chosen):
    model = cases.chain("a branch that a constant chooses")
    (yes,) = [tensor for tensor in model.graph.initializer if tensor.name == "yes"]
    yes.CopyFrom(numpy_helper.from_array(np.array(chosen), "yes"))
    layers = from_onnx(cases.chain("every step")).layers
    assert from_onnx(model, node="lstm").layers == layers
    if chosen:
        assert from_onnx(model).layers == layers
    else:
        with pytest.raises(UnsupportedModelError, match=r"other\.Mystery"):
            from_onnx(model)


def test_the_state_of_one_node():
    """A learned state whose batch the graph computes is kept; zeros are none."""
    learned = cases.chain("learned state")
    assert from_onnx(learned, node="lstm").layers == from_onnx(learned).layers
    assert from_onnx(learned).layers[0].h_0 is not None
    exported = GOLDEN / "torch_last.onnx"
    names = ("/lstm/LSTM", "/lstm/LSTM_1")
    layers = [from_onnx(exported, node=name).layers[0] for name in names]
    assert tuple(layers) == from_onnx(exported).layers
    assert layers[0].forward.h_0 is None


# Chains


@pytest.mark.parametrize("name", cases.CHAINS)
def test_chain(name):
    model, x = from_onnx(cases.chain(name)), cases.chain_input(name).swapaxes(0, 1)
    expected = EXPECTED[f"chain {name}"]
    if model.return_sequences:
        expected = expected.reshape(T, N, -1).swapaxes(0, 1)
    for engine, y in predictions(model, x):
        np.testing.assert_allclose(y, expected.reshape(y.shape), atol=2e-6, err_msg=engine)


def test_what_chains_become():
    found = {name: from_onnx(cases.chain(name)) for name in cases.CHAINS}
    reads = {name: (m.read, m.return_sequences) for name, m in found.items()}
    assert reads["every step"] == ("final", True)
    assert reads["the last step"] == ("final", False)
    assert reads["the last step of two directions"] == ("last", False)
    assert reads["the final states of two directions"] == ("final", False)
    assert reads["final states by steps of Y"] == ("final", False)
    assert reads["maximum"] == ("max", False)
    assert reads["mean"] == ("mean", False)
    assert isinstance(found["two operators"].layers[0], Bidirectional)
    assert found["two operators"].layers == found["two operators and a reversal"].layers
    assert found["go_backwards"].layers[0].direction == "go_backwards"
    assert isinstance(found["embedding"].layers[0], Embedding)
    plain = found["every step"].layers[0]
    assert found["folded weights"].layers == (plain,)
    assert found["a branch that a constant chooses"].layers == (plain,)
    assert [str(d.activation) for d in found["dense layers on flattened rows"].head] == [
        "tanh",
        "softmax",
    ]


@pytest.mark.parametrize("dims", [(T, N, I), ("T", 1, I), (1, 1, I), (7, "N", I), (None, None, I)])
def test_fixed_sizes(dims):
    """Sizes that the graph fixes change nothing; the model takes any."""
    names = ["the last step of two directions", "two operators and a reversal"]
    for name in names[: 1 if dims[0] == 1 else 2]:  # one step is its own reversal
        fixed = from_onnx(cases.chain(name, [value("x", dims)]))
        free = from_onnx(cases.chain(name))
        assert fixed.layers == free.layers
        if dims[0] != 1:  # the only step is the last one and the first
            assert fixed.options == free.options


@pytest.mark.parametrize("shape", [None, (None, None, None), ("T", "N", "I")])
def test_sizes_that_are_not_told(shape):
    for name in ("every step", "the final states of two directions"):
        open_ = from_onnx(cases.chain(name, [value("x", shape)]))
        assert open_.layers == from_onnx(cases.chain(name)).layers


def test_batch_first():
    nodes, named = cases.CHAINS["the last step"]
    turned = [node("Transpose", "x0", "x", perm=[1, 0, 2]), *nodes]
    inputs = [value("x0", ["N", "T", I])]
    model = from_onnx(cases.model(turned, inputs, Y, cases.constants(**named)))
    other = from_onnx(cases.chain("the last step"))
    assert (model.layers, model.head) == (other.layers, other.head)


def test_without_a_batch():
    nodes = [
        node("Unsqueeze", "x one", "x3"),
        lstm("x3", ["", "h"]),
        node("Squeeze", "h", "y"),
    ]
    named = {**ONE, "one": ints(1)}
    model = from_onnx(cases.model(nodes, [value("x", ["T", I])], Y, cases.constants(**named)))
    assert model.layers == from_onnx(cases.chain("every step")).layers
    assert model.return_sequences is False


@pytest.mark.parametrize(
    "name", ["last", "final", "every", "embedding", "mean_fixed", "last_fixed"]
)
def test_exports_of_torch(name):
    model = fastlstm.load(GOLDEN / f"torch_{name}.onnx")
    x, expected = EXPECTED[f"torch {name} x"], EXPECTED[f"torch {name} y"]
    if name in ("every", "mean_fixed"):
        x = x.swapaxes(0, 1)
    expected = expected.swapaxes(0, 1) if name == "every" else expected
    for engine, y in predictions(model, x):
        np.testing.assert_allclose(y, expected, atol=2e-6, err_msg=engine)
    assert model.read == {"last": "last", "embedding": "last", "mean_fixed": "mean"}.get(
        name, "final"
    )
    assert model.return_sequences is (name == "every")


def test_states_and_lengths_are_those_of_a_call():
    inputs = [
        *X,
        value("lens", ["N"], TensorProto.INT32),
        *(value(f"{k}0", [4, "N", H]) for k in "hc"),
    ]
    nodes = [
        *(node("Slice", f"{k}0 zero two zero", f"{k}1") for k in "hc"),
        *(node("Slice", f"{k}0 two four zero", f"{k}2") for k in "hc"),
        helper.make_node(
            "LSTM",
            ["x", "W", "R", "B", "lens", "h1", "c1"],
            ["a", "ah", "ac"],
            direction="bidirectional",
        ),
        node("Transpose", "a", "t", perm=[0, 2, 1, 3]),
        node("Reshape", "t shape", "r"),
        helper.make_node(
            "LSTM",
            ["r", "W2", "R2", "B2", "lens", "h2", "c2"],
            ["", "bh", "bc"],
            direction="bidirectional",
        ),
        node("Transpose", "bh", "u", perm=[1, 0, 2]),
        node("Reshape", "u rows", "v"),
        node("Gemm", "v fc b", "y"),
        node("Concat", "ah bh", "hn", axis=0),
        node("Concat", "ac bc", "cn", axis=0),
    ]
    upper = cases.suffixed("2", directions=2, inputs=2 * H)
    named = {**BOTH, **upper, **FC2, "shape": ints(0, 0, -1), "rows": ints(0, -1)}
    named |= {"zero": ints(0), "two": ints(2), "four": ints(4)}
    outputs = [*Y, value("hn", None), value("cn", None)]

    def load(nodes):
        return from_onnx(cases.model(nodes, inputs, outputs, cases.constants(**named)))

    model = load(nodes)
    assert [type(layer) for layer in model.layers] == [Bidirectional, Bidirectional]
    assert model.read == "final"
    swapped = [node("Slice", f"{k}0 two four zero", f"{k}1") for k in "hc"]
    swapped += [node("Slice", f"{k}0 zero two zero", f"{k}2") for k in "hc"]
    with pytest.raises(UnsupportedModelError, match="not in the order of the layers"):
        load(swapped + nodes[4:])
    without = [*nodes]
    without[7] = helper.make_node(
        "LSTM",
        ["r", "W2", "R2", "B2", "", "h2", "c2"],
        ["", "bh", "bc"],
        direction="bidirectional",
    )
    with pytest.raises(UnsupportedModelError, match="expected the sequence_lens"):
        load(without)


# What is refused: nodes, constants, message

WRONG_CHAINS = {
    "a residual": (
        [
            lstm("x", ["a"]),
            node("Squeeze", "a one", "s"),
            lstm("s", ["b"], "2"),
            node("Squeeze", "b one", "t"),
            node("Add", "s t", "y"),
        ],
        {**ONE, **cases.UPPER, "one": ints(1)},
        r"'Add of y' \(Add\): computes with several tensors",
    ),
    "a reshape without a transpose": (
        [
            lstm("x", ["a"], direction="bidirectional"),
            node("Reshape", "a shape", "r"),
            node("MatMul", "r fc", "y"),
        ],
        {**BOTH, "shape": ints(0, -1, 2 * H), "fc": FC2["fc"]},
        r"'MatMul of y' \(MatMul\): reads numbers of several sequences or outputs",
    ),
    "the same as the output": (
        [lstm("x", ["a"], direction="bidirectional"), node("Reshape", "a shape", "y")],
        {**BOTH, "shape": ints(0, -1, 2 * H)},
        "output 'y': the output does not hold sequences, steps and outputs in that order",
    ),
    "final states that mix sequences": (
        [
            lstm("x", ["", "h"], direction="bidirectional"),
            node("Reshape", "h rows", "r"),
            node("Gemm", "r fc b", "y"),
        ],
        {**BOTH, **FC2, "rows": ints(-1, 2 * H)},
        "reads numbers of several sequences",
    ),
    "interleaved outputs": (
        [
            lstm("x", ["a"], direction="bidirectional"),
            node("Transpose", "a", "t", perm=[0, 2, 3, 1]),
            node("Reshape", "t shape", "y"),
        ],
        {**BOTH, "shape": ints(0, 0, -1)},
        "in that order",
    ),
    "step 2": (
        [lstm("x", ["a"]), node("Gather", "a two", "y")],
        {**ONE, "two": np.array(2)},
        "neither the last, nor that where each direction ends",
    ),
    "the first step": (
        [lstm("x", ["a"]), node("Gather", "a two", "y")],
        {**ONE, "two": np.array(0)},
        "neither the last",
    ),
    "the last sequence": (
        [lstm("x", ["a"]), node("Gather", "a last", "y", axis=2)],
        {**ONE, **LAST},
        "output 'y': ",
    ),
    "a mean over the batch": (
        [lstm("x", ["a"]), node("ReduceMean", "a", "y", axes=[2])],
        ONE,
        "another axis than that of all steps",
    ),
    "a slice that shortens long sequences only": (
        [
            lstm("x", ["a"]),
            node("Slice", "a zero hundred zero", "s"),
            node("ReduceMean", "s", "y", axes=[0]),
        ],
        {**ONE, "zero": ints(0), "hundred": ints(100)},
        r"a slice 0 : 100",
    ),
    "one direction of two": (
        [
            lstm("x", ["a"], direction="bidirectional"),
            node("Gather", "a last", "s", axis=1),
            node("MatMul", "s fc", "y"),
        ],
        {**BOTH, **LAST, "fc": cases.FC["fc"]},
        "reads 4 of the 8 numbers",
    ),
    "half reversed": (
        [
            lstm("x", ["f"]),
            cases.REVERSED,
            lstm("back", ["k"], "2"),
            node("Concat", "f k", "a", axis=3),
            node("Squeeze", "a one", "y"),
        ],
        {**ONE, **TWO, **cases.AXES},
        "output 'y': ",
    ),
    "other steps": (
        [node("Slice", "x one end zero", "s"), lstm("s", ["", "y"])],
        {**ONE, **cases.AXES, "end": ints(1 << 40)},
        "expected X to hold all steps",
    ),
    "the cell state": (
        [lstm("x", ["", "", "y"])],
        ONE,
        "the output is the cell state Y_c",
    ),
    "computing with the cell state": (
        [lstm("x", ["", "", "c"]), node("Tanh", "c", "y")],
        ONE,
        "computes with the cell state Y_c",
    ),
    "a softmax over steps": (
        [lstm("x", ["a"]), node("Softmax", "a", "y", axis=0)],
        ONE,
        "softmax over another axis",
    ),
    "an unknown operator": (
        [lstm("x", ["a"]), node("Erf", "a", "y")],
        ONE,
        r"node 'Erf of y' \(Erf\): an operator that this version does not compute",
    ),
    "another domain": (
        [lstm("x", ["a"]), helper.make_node("LSTM", ["a"], ["y"], domain="com.acme")],
        ONE,
        r"node that gives 'y' \(com.acme.LSTM\): an operator that is not ONNX' own",
    ),
    "a loop": (
        [lstm("x", ["a"]), node("Loop", "a", "y")],
        ONE,
        r"\(Loop\)",
    ),
    "dropout at work": (
        [lstm("x", ["a"]), node("Dropout", "a ratio on", "y")],
        {**ONE, "ratio": np.array(0.5), "on": np.array(True)},
        "a dropout that is at work",
    ),
    "constants that differ between steps": (
        [lstm("x", ["a"]), node("Add", "a table", "y")],
        {**ONE, "table": cases.random("table", 1, 1, 3, H)},
        r"a constant of shape \(1, 1, 3, 4\) with data of shape",
    ),
    "no LSTM": ([node("Tanh", "x", "y")], ONE, "there is no LSTM operator"),
    "an LSTM that is not read": (
        [lstm("x", ["a"]), node("Tanh", "x", "y")],
        ONE,
        "there is no LSTM between",
    ),
    "an unknown attribute": (
        [lstm("x", ["a", "y"], gelu=1)],
        ONE,
        r"does not know the attributes \['gelu'\]",
    ),
    "a state that differs between sequences": (
        [lstm("x", ["", "y"], state=("h0", "h0"))],
        {**ONE, "h0": cases.random("h0", 1, 2, H)},
        "rows that differ over the batch|expected a batch of",
    ),
    "lengths that are constants": (
        [helper.make_node("LSTM", ["x", "W", "R", "B", "lens"], ["", "y"])],
        {**ONE, "lens": np.array([2, 1], np.int32)},
        "sequence_lens is a constant",
    ),
    "numbers that no activation takes": (
        [lstm("x", ["", "y"], activations=["Sigmoid", "Tanh", "Tanh"], activation_alpha=[0.2])],
        ONE,
        "are left over",
    ),
    "an activation without its number": (
        [lstm("x", ["", "y"], activations=["Sigmoid", "ThresholdedRelu", "Tanh"])],
        ONE,
        "activation 'ThresholdedRelu' without its alpha or beta",
    ),
    "an activation without its second number": (
        [lstm("x", ["", "y"], activations=["Sigmoid", "ScaledTanh", "Tanh"], activation_alpha=[2])],
        ONE,
        "activation 'ScaledTanh' without its alpha or beta",
    ),
    "sequences mixed with steps": (
        [
            lstm("x", ["a"]),
            node("Transpose", "a", "t", perm=[3, 1, 2, 0]),
            node("Softmax", "t", "s", axis=3),
            node("Squeeze", "s one", "y"),
        ],
        {**ONE, "one": ints(1)},
        "reads",
    ),
    "data and constants in one": (
        [node("Concat", "x k", "w", axis=0), lstm("w", ["", "y"])],
        {**ONE, "k": cases.random("k", 1, 2, I)},
        "joins data and constants",
    ),
    "a transposed product": (
        [
            lstm("x", ["", "h"]),
            node("Squeeze", "h zero", "s"),
            node("Gemm", "s fc b", "y", transA=1),
        ],
        {**ONE, **cases.FC, "zero": ints(0)},
        "transA 0",
    ),
    "rounded data": (
        [lstm("x", ["a"]), node("Cast", "a", "y", to=TensorProto.FLOAT16)],
        ONE,
        "casts data to type 10",
    ),
    "a rounded input": (
        [node("Cast", "x", "w", to=TensorProto.FLOAT16), lstm("w", ["", "y"])],
        ONE,
        "casts the input to type 10",
    ),
    "the first steps of two directions behind a dense layer": (
        [
            lstm("x", ["a"], direction="bidirectional"),
            node("Transpose", "a", "t", perm=[0, 2, 1, 3]),
            node("Reshape", "t shape", "r"),
            node("MatMul", "r fc", "p"),
            node("Gather", "p first", "y", axis=0),
        ],
        {**BOTH, "shape": ints(0, 0, -1), "fc": FC2["fc"], "first": np.array(0)},
        "neither the last",
    ),
    "a maximum over some steps": (
        [
            lstm("x", ["a"]),
            node("Gather", "a steps", "g"),
            node("ReduceMax", "g", "y", axes=[0], keepdims=0),
        ],
        {**ONE, "steps": ints(0, 0, 1)},
        "another axis than that of all steps",
    ),
    "an unknown activation": (
        [lstm("x", ["", "y"], activations=["Sigmoid", "Mish", "Tanh"])],
        ONE,
        "activation 'Mish'",
    ),
    "too few activations": (
        [lstm("x", ["", "y"], activations=["Sigmoid"], direction="bidirectional")],
        BOTH,
        "expected 6 activations",
    ),
    "another hidden size": (
        [helper.make_node("LSTM", ["x", "W", "R", "B"], ["", "y"], hidden_size=H + 1)],
        ONE,
        "for hidden_size 5",
    ),
    "weights of one direction": (
        [lstm("x", ["", "y"], direction="bidirectional")],
        ONE,
        r"expected shape \(2, 16, 3\) for 2 directions",
    ),
    "weights that depend on the input": (
        [node("Tanh", "x", "W9"), helper.make_node("LSTM", ["x", "W9", "R"], ["", "y"])],
        ONE,
        "W is not a constant",
    ),
}


@pytest.mark.parametrize("what", WRONG_CHAINS)
def test_refused(what):
    nodes, named, message = WRONG_CHAINS[what]
    model = cases.model(nodes, X, Y, cases.constants(**named))
    with pytest.raises((UnsupportedModelError, ModelFormatError), match=message):
        from_onnx(model)


def test_lengths_and_a_step_of_Y():
    """ONNX' Y is zero past a length, so that Y[-1] is no state of a shorter sequence."""
    inputs = [*X, value("lens", ["N"], TensorProto.INT32)]
    read = helper.make_node("LSTM", ["x", "W", "R", "B", "lens"], ["a"])
    for nodes in ([node("Gather", "a last", "y")], [node("ReduceMax", "a", "y", axes=[0])]):
        named = cases.constants(**ONE, **LAST)
        with pytest.raises(UnsupportedModelError, match="with sequence_lens"):
            from_onnx(cases.model([read, *nodes], inputs, Y, named))


STEPS = {"first": ints(0), "rest": ints(1, 2), "turned": ints(*range(H))[::-1].copy()}
MIXED = {
    "outputs in another order at some steps": (
        [
            lstm("x", ["a"]),
            node("Gather", "a first", "a0"),
            node("Gather", "a rest", "a1"),
            node("Gather", "a1 turned", "a2", axis=3),
            node("Concat", "a0 a2", "b", axis=0),
            node("MatMul", "b fc", "y"),
        ],
        {**ONE, **STEPS, "fc": cases.FC["fc"]},
        "several sequences or outputs as one row",
    ),
    "directions of different sequences": (
        [
            lstm("x", ["", "h"], direction="bidirectional"),
            node("Split", "h", "f k0", axis=0),
            node("Slice", "k0 minus begin one minus", "k"),
            node("Concat", "f k", "b", axis=2),
            node("MatMul", "b fc", "y"),
        ],
        {**BOTH, **cases.AXES, "fc": FC2["fc"]},
        "several sequences or outputs as one row",
    ),
    "a bias for each step": (
        [lstm("x", ["a"]), node("Add", "a bias", "y")],
        {**ONE, "bias": cases.random("bias", 3, 1, 1, H)},
        "differs between sequences or steps",
    ),
    "the largest of some steps, one of them twice": (
        [lstm("x", ["a"]), node("Gather", "a s", "g"), node("ReduceMax", "g", "y", axes=[0])],
        {**ONE, "s": ints(0, 0, 1)},
        "another axis than that of all steps",
    ),
    "outputs of a dense layer at both ends": (
        [
            lstm("x", ["a"], direction="bidirectional"),
            node("Transpose", "a", "t", perm=[0, 2, 1, 3]),
            node("Reshape", "t shape", "r"),
            node("MatMul", "r fc", "p"),
            node("Split", "p", "p0 p1", axis=2),
            node("Gather", "p0 last", "q0", axis=0),
            node("Gather", "p1 begin", "q1", axis=0),
            node("Concat", "q0 q1", "y", axis=1),
        ],
        {**BOTH, **LAST, "begin": np.array(0), "shape": ints(0, 0, -1), "fc": FC2["fc"]},
        "neither the last, nor",
    ),
}


@pytest.mark.parametrize("what", MIXED)
def test_mixed_sequences_steps_and_outputs_are_refused(what):
    nodes, named, message = MIXED[what]
    inputs = [value("x", [3, 2, I])]
    with pytest.raises(UnsupportedModelError, match=message):
        from_onnx(cases.model(nodes, inputs, Y, cases.constants(**named)))


def test_lengths_in_another_order_or_reversed():
    inputs = [*X, value("lens", ["N"], TensorProto.INT32)]
    read = helper.make_node("LSTM", ["x", "W", "R", "B", "other"], ["", "y"])
    turned = node("Slice", "lens minus begin zero minus", "other")
    named = cases.constants(**ONE, **cases.AXES)
    with pytest.raises(UnsupportedModelError, match="in another order than its input"):
        from_onnx(cases.model([turned, read], inputs, Y, named))
    read = helper.make_node("LSTM", ["back", "W", "R", "B", "lens"], ["", "y"])
    with pytest.raises(UnsupportedModelError, match=r"in reverse order, with|is no input of"):
        from_onnx(cases.model([cases.REVERSED, read], inputs, Y, named))


def test_initial_states_that_are_not_computed():
    rows = value("h0", [1, "N", H])
    named = cases.constants(**ONE, c=cases.random("c", 1, 2, H), two=np.ones((1, 2, H)))
    fixed = [value("x", ["T", 2, I])]
    state = [value("h0", [1, 2, H])]
    for states, inputs, message in (
        (("h0", "h0"), [*X, rows], "one input is the initial state of both h and c"),
        (("c", "c"), fixed, "rows that differ over the batch"),
        (("two", "two"), [value("x", ["T", 3, I])], "expected a batch of 3"),
    ):
        with pytest.raises((UnsupportedModelError, ModelFormatError), match=message):
            from_onnx(cases.model([lstm("x", ["", "y"], state=states)], inputs, Y, named))
    shared = cases.constants(**ONE, c=np.repeat(cases.random("c", 1, 1, H), 2, 1))
    mixed = cases.model([lstm("x", ["", "y"], state=("h0", "c"))], [*fixed, *state], Y, shared)
    with pytest.raises(UnsupportedModelError, match="some initial states are inputs, others"):
        from_onnx(mixed)
    with pytest.raises(UnsupportedModelError, match="is a constant, not both"):
        from_onnx(mixed, node="lstm")
    lengths = cases.constants(**ONE, lens=np.array([2, 1], np.int32))
    read = helper.make_node("LSTM", ["x", "W", "R", "B", "lens"], ["", "y"], name="cell")
    with pytest.raises(UnsupportedModelError, match="sequence_lens is a constant"):
        from_onnx(cases.model([read], X, Y, lengths), node="cell")


def test_numbers_of_dense_layers():
    """What scales a dense layer, and what is added behind a permutation, is kept."""
    nodes = [
        lstm("x", ["", "h"], direction="bidirectional"),
        node("Gather", "h last", "k", axis=0),
        node("Gather", "h first", "f", axis=0),
        node("Concat", "k f", "r", axis=1),
        node("Mul", "r scale", "m"),
        node("Gemm", "m fc b", "g", alpha=0.5, beta=3.0),
        node("LeakyRelu", "g", "y"),
    ]
    scale = cases.random("scale", 2 * H)
    named = {**BOTH, **FC2, **LAST, "first": np.array(0), "scale": scale}
    model = from_onnx(cases.model(nodes, X, Y, cases.constants(**named)))
    diagonal, dense = model.head
    turned = np.concatenate([np.arange(H, 2 * H), np.arange(H)])
    np.testing.assert_array_equal(diagonal.weight, np.diag(scale[turned].astype("f4")))
    np.testing.assert_allclose(dense.weight, 0.5 * FC2["fc"].T[:, turned], rtol=1e-6)
    np.testing.assert_allclose(dense.bias, 3 * FC2["b"], rtol=1e-6)
    assert dense.activation == fastlstm.Activation("leaky_relu", 0.01)


def test_permuted_inputs():
    """Inputs in another order: the weights follow."""
    named = cases.constants(**ONE, order=ints(2, 0, 1))
    nodes = [node("Gather", "x order", "w", axis=2), lstm("w", ["", "y"])]
    (layer,) = from_onnx(cases.model(nodes, X, Y, named)).layers
    plain = from_onnx(cases.chain("every step")).layers[0]
    np.testing.assert_array_equal(layer.w_ih, plain.w_ih[:, [1, 2, 0]])


def test_what_depends_on_sizes():
    """A graph that another number of steps makes another network."""
    branches = {
        f"{which}_branch": helper.make_graph(
            [lstm("x", [out], suffix)], which, [], [value(out, None)]
        )
        for which, out, suffix in (("then", "t", ""), ("else", "e", "2"))
    }
    nodes = [
        node("Shape", "x", "n"),
        node("Gather", "n zero", "steps"),
        node("Less", "steps four", "few"),
        node("If", "few", "a", **branches),
        node("Squeeze", "a one", "y"),
    ]
    named = cases.constants(**ONE, **TWO, zero=np.array(0), four=np.array(4), one=ints(1))
    with pytest.raises(UnsupportedModelError, match="depends on the number of sequences or steps"):
        from_onnx(cases.model(nodes, X, Y, named))


def test_several_inputs_and_outputs():
    nodes = [node("Concat", "x z", "w", axis=2), lstm("w", ["", "y"])]
    model = cases.model(nodes, [*X, value("z", ["T", "N", 1])], Y, cases.constants(**ONE))
    with pytest.raises(
        UnsupportedModelError, match=r"expected one input of data, got \['x', 'z'\]"
    ):
        from_onnx(model)
    nodes = [lstm("x", ["a", "h"]), node("Tanh", "a", "z"), node("Relu", "a", "y")]
    model = cases.model(nodes, X, [*Y, value("z", None)], cases.constants(**ONE))
    with pytest.raises(UnsupportedModelError, match=r"'z': a second output .* 'y' is computed"):
        from_onnx(model)
    # a state, and what is computed from it
    model = cases.model(nodes[:2], X, [value("h", None), value("z", None)], cases.constants(**ONE))
    assert from_onnx(model).return_sequences


def of_two_directions(*outputs):
    """A network of two directions, their final states each by itself, and what is behind."""
    names = ["y", "f", "k", "forward", "backward", "c"]
    nodes = [
        lstm("x", ["a", "h", "c"], direction="bidirectional"),
        node("Gather", "h zero", "f", axis=0),
        node("Gather", "h one", "k", axis=0),
        node("Split", "a halves", "forward backward", axis=1),
        node("Concat", "f k", "r", axis=1),
        node("Gemm", "r fc b", "y"),
    ]
    named = {**BOTH, **FC2, "zero": np.array(0), "one": np.array(1), "halves": ints(1, 1)}
    assert {*outputs} <= {*names}
    return cases.model(nodes, X, [value(k, None) for k in outputs], cases.constants(**named))


@pytest.mark.parametrize(
    "order", [("y", "f", "k"), ("f", "y", "k"), ("f", "k", "y"), ("k", "c", "y"), ("c", "y")]
)
def test_states_of_one_direction_beside_the_output(order):
    """They are what a call gives as its state, wherever the output stands among them."""
    model, x = from_onnx(of_two_directions(*order)), cases.chain_input("every step")
    alone = from_onnx(of_two_directions("y"))
    assert (model.layers, model.head, model.options) == (alone.layers, alone.head, alone.options)
    _, state = reference.lstm(model.network, x.swapaxes(0, 1))
    y = reference.predict(model.network, x.swapaxes(0, 1))
    np.testing.assert_allclose(
        y, state.h_n.swapaxes(0, 1).reshape(N, 2 * H) @ FC2["fc"] + FC2["b"], atol=1e-5
    )


def test_one_direction_as_the_output():
    """The other direction is not computed for nothing."""
    both = from_onnx(of_two_directions("y")).layers[0]
    for name, cell in (("f", both.forward), ("k", both.backward)):
        model = from_onnx(of_two_directions(name))
        assert (model.layers, model.read, model.return_sequences) == ((cell,), "final", False)
    for name, cell in (("forward", both.forward), ("backward", both.backward)):
        model = from_onnx(of_two_directions(name))
        assert (model.layers, model.return_sequences) == ((cell,), True)


# Batch 1


def one_by_one(kind, x=XN, size=1):
    """Graphs that run for a batch of one only, as exports with an example of one may be."""
    state = {"h0": cases.random("h0", 1, size, H), "c0": cases.random("c0", 1, size, H)}
    nodes = {
        "a constant state": [
            node("Transpose", "x", "t", perm=[1, 0, 2]),
            lstm("t", ["", "h"], state=("h0", "c0")),
            node("Reshape", "h flat", "y"),
        ],
        "a reshape": [
            node("Reshape", "x steps", "t"),
            lstm("t", ["a"]),
            node("Gather", "a last", "g", axis=0),
            node("Reshape", "g flat", "y"),
        ],
        "a squeeze": [
            node("Squeeze", "x zero", "s"),
            node("Unsqueeze", "s one", "t"),
            lstm("t", ["a"]),
            node("Squeeze", "a both", "y"),
        ],
    }[kind]
    shapes = {"steps": ints(-1, 1, I), "flat": ints(1, H), "both": ints(1, 2)}
    named = cases.constants(**ONE, **AXES, **LAST, **state, **shapes)
    return cases.model(nodes, x, Y, named)


@pytest.mark.parametrize("kind", ["a constant state", "a reshape", "a squeeze"])
@pytest.mark.parametrize("dims", [["N", "T", I], [1, "T", I], [1, T, I], [1, T, None]])
def test_graphs_that_run_for_one_sequence(kind, dims):
    graph = one_by_one(kind, [value("x", dims)])
    if kind == "a reshape" and dims[0] == "N":  # into one long sequence
        with pytest.raises(UnsupportedModelError, match="For a batch of 1 the graph is one that"):
            from_onnx(graph)
        return
    model = from_onnx(graph)
    plain = from_onnx(cases.chain("every step")).layers[0]
    if kind == "a constant state":
        h_0, c_0 = (cases.random(name, 1, 1, H)[0, 0] for name in ("h0", "c0"))
        plain = replace(plain, h_0=h_0.astype("f4"), c_0=c_0.astype("f4"))
    assert model.layers == (plain,)
    assert model.return_sequences is (kind == "a squeeze")


def test_graphs_that_run_for_certain_sizes():
    """None of these is damaged."""
    for size in (2, 5):  # a state of two or five sequences, that differ
        with pytest.raises(UnsupportedModelError, match=r"does not run for a batch of|rows that"):
            from_onnx(one_by_one("a constant state", size=size))
    nodes = [lstm("x", ["a"]), node("Reshape", "a seven", "y")]
    model = cases.model(nodes, X, Y, cases.constants(**ONE, seven=ints(7, 1, H)))
    with pytest.raises(UnsupportedModelError, match=r"not run for a batch of 1, 3 steps"):
        from_onnx(model)
    nodes = [lstm("x", ["a"]), node("Gather", "a six", "y", axis=0)]
    model = cases.model(nodes, X, Y, cases.constants(**ONE, six=np.array(6)))
    with pytest.raises(UnsupportedModelError, match="index 6 is out of bounds"):
        from_onnx(model)


def test_a_graph_that_mixes_sequences_is_not_taken_one_by_one():
    """It runs for any batch, and gives something else than a row for itself."""
    nodes = [
        lstm("x", ["", "h"]),
        node("Squeeze", "h zero", "s"),
        node("ReduceMean", "s", "y", axes=[0], keepdims=1),
    ]
    with pytest.raises(UnsupportedModelError, match="reduces another axis"):
        from_onnx(cases.model(nodes, X, Y, cases.constants(**ONE, **AXES)))


# What is named as what it is


@pytest.mark.parametrize(
    ("op", "domain", "message"),
    [
        ("GRU", "", "a GRU: this version computes LSTMs"),
        ("RNN", "", "a plain recurrent layer"),
        ("Loop", "", r'a Loop, as which tf2onnx .* model.save\("model.keras"\)'),
        ("Scan", "", "a Scan, as which"),
        ("DynamicQuantizeLSTM", "com.microsoft", "a quantised LSTM: load the model as it was"),
        ("Conv", "", "a 2-D convolution: this version computes none"),
    ],
)
def test_what_is_no_lstm_is_named(op, domain, message):
    options = {"kernel_shape": [3, 3]} if op == "Conv" else {}
    if op in ("Loop", "Scan"):
        options = {"body": helper.make_graph([], "body", [], [])}
    other = helper.make_node(op, ["x", "W"], ["z"], name="other", domain=domain, **options)
    with pytest.raises(UnsupportedModelError, match="no LSTM operator in the graph, but a "):
        from_onnx(cases.model([other], X, [value("z", None)], cases.constants(**ONE)))
    model = cases.model([other, lstm("z", ["", "y"])], X, Y, cases.constants(**ONE))
    with pytest.raises(UnsupportedModelError, match=rf"'other' \(.*{op}\): {message}"):
        from_onnx(model)


@pytest.mark.parametrize(
    "op", ["MatMulInteger", "QLinearConv", "DequantizeLinear", "LayerNormalization"]
)
def test_what_stands_around_is_named(op):
    nodes = [helper.make_node(op, ["x", "W"], ["z"], name="other"), lstm("z", ["", "y"])]
    what = "a normalisation" if op == "LayerNormalization" else "as it was before it was quantised"
    with pytest.raises(UnsupportedModelError, match=what):
        from_onnx(cases.model(nodes, X, Y, cases.constants(**ONE)))


def test_arguments(tmp_path):
    with pytest.raises(TypeError, match=r"expected a path or an onnx.ModelProto, got int"):
        from_onnx(3)
    with pytest.raises(FileNotFoundError):
        fastlstm.load(tmp_path / "model.onnx")
    onnx.save(cases.chain("stacked"), path := tmp_path / "model.onnx")
    assert fastlstm.load(path).layers == from_onnx(path).layers
    assert fastlstm.load(path, node="lstm").layers == from_onnx(path).layers[:1]
    with pytest.raises(TypeError):
        fastlstm.load(path, prefix="lstm")
    model = cases.chain("every step", opset=99)
    with pytest.raises(UnsupportedModelError, match="version 99"):
        from_onnx(model)


# Hostile files


def refused_quickly(path, kind=(ModelFormatError, UnsupportedModelError), message=None):
    tracemalloc.start()
    begin = time.process_time()  # of our own, however busy the machine is
    with pytest.raises(kind, match=message) as caught:
        fastlstm.load(path)
    seconds, (_, peak) = time.process_time() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert seconds < 1
    assert peak < 64 << 20


def test_truncated(tmp_path):
    content, path = cases.chain("the last step").SerializeToString(), tmp_path / "model.onnx"
    for size in [*range(40), *range(40, len(content), 37)]:
        path.write_bytes(content[:size])
        refused_quickly(path)
    path.write_bytes(b"not a model")
    refused_quickly(path, ModelFormatError)


def test_flipped_bits(tmp_path):
    """A damaged file is refused, or is another model: never another kind of error."""
    content, path = cases.chain("learned state").SerializeToString(), tmp_path / "model.onnx"
    rng = np.random.default_rng(1)
    for bit in rng.integers(0, 8 * len(content), 400):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << int(bit) % 8
        path.write_bytes(damaged)
        try:
            fastlstm.load(path)
        except (ModelFormatError, UnsupportedModelError) as error:
            assert str(path) in str(error)  # noqa: PT017


def damaged(name="the last step", **changes):
    model = cases.chain(name)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for field, value_ in changes.items():
        if field == "dims":
            del tensors["W"].dims[:]
            tensors["W"].dims.extend(value_)
        else:
            setattr(tensors["W"], field, value_)
    return model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dims": [1 << 40, 4, 3]}, r"takes \d+ bytes, there are 192"),
        ({"dims": [1 << 62, 1 << 62]}, r"takes \d+ bytes"),
        ({"dims": [-1, 16, -3]}, "a negative length"),
        ({"raw_data": b""}, "takes 192 bytes, there are 0"),
        ({"data_type": 99}, "ONNX' data type 99"),
        ({"data_type": TensorProto.STRING}, "data type 8"),
        ({"data_type": TensorProto.INT32}, "expected floats as weights, got int32|one type"),
        ({"raw_data": np.full(48, np.nan, "f4").tobytes()}, "expected finite weights"),
        ({"data_location": TensorProto.EXTERNAL}, "outside|data file"),
    ],
)
def test_hostile_tensors(tmp_path, changes, message):
    onnx.save(damaged(**changes), path := tmp_path / "model.onnx", format="protobuf") if (
        "data_location" not in changes
    ) else (path := tmp_path / "model.onnx").write_bytes(damaged(**changes).SerializeToString())
    refused_quickly(path, message=message)


def fill(*shape):
    return [
        helper.make_node("ConstantOfShape", ["s"], ["big"]),
        lstm("x", ["", "y"], state=("big", "big")),
    ], {**ONE, "s": ints(*shape)}


@pytest.mark.parametrize(
    ("nodes", "named"),
    [
        fill(1 << 40, 1 << 10, 4),
        fill(-1, 2, 3),
        ([node("Expand", "x s", "e"), lstm("e", ["", "y"])], {**ONE, "s": ints(1 << 40, 1, 1, 1)}),
        ([node("Tile", "x s", "e"), lstm("e", ["", "y"])], {**ONE, "s": ints(1 << 20, 1 << 9, 1)}),
        (
            [
                node("Concat", "W W", "w1", axis=1),
                *(node("Concat", f"w{k} w{k}", f"w{k + 1}", axis=1) for k in range(1, 60)),
                helper.make_node("LSTM", ["x", "w60", "R"], ["", "y"]),
            ],
            ONE,
        ),
        (
            [
                *(node("Concat", f"x{k or ''} x{k or ''}", f"x{k + 1}") for k in range(60)),
                lstm("x60", ["", "y"]),
            ],
            ONE,
        ),
        (
            [node("Range", "zero many one1", "r"), lstm("x", ["", "y"], state=("r", "r"))],
            {**ONE, "zero": np.array(0), "many": np.array(1 << 60), "one1": np.array(1)},
        ),
    ],
)
def test_nothing_is_allocated_that_is_only_claimed(tmp_path, nodes, named):
    model = cases.model(nodes, X, Y, cases.constants(**named))
    (path := tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    refused_quickly(path)


def test_other_hostile_graphs(tmp_path):
    path = tmp_path / "model.onnx"
    model = cases.chain("every step")
    model.graph.sparse_initializer.add().values.name = "sparse"
    path.write_bytes(model.SerializeToString())
    refused_quickly(path, UnsupportedModelError, "sparse")
    model = cases.chain("every step")
    tensor = next(t for t in model.graph.initializer if t.name == "W")
    tensor.ClearField("raw_data")
    tensor.float_data.extend([1.0] * 191)
    path.write_bytes(model.SerializeToString())
    refused_quickly(path, ModelFormatError, "is 192 numbers, there are 191|is 48 numbers")
    model = cases.chain("every step")
    del model.graph.output[:]
    path.write_bytes(model.SerializeToString())
    refused_quickly(path, ModelFormatError, "a graph with outputs")


def test_huge_fixed_sizes(tmp_path):
    model = cases.chain("every step", [value("x", [1 << 30, 1 << 30, I])])
    (path := tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    refused_quickly(path, UnsupportedModelError, "batch or steps of any size")


def test_unsound_graphs(tmp_path):
    model = cases.chain("the last step")
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises((ModelFormatError, UnsupportedModelError)):
        from_onnx(model)
    model = cases.chain("the last step")
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    with pytest.raises(ModelFormatError, match="nothing before gives"):
        from_onnx(model)


def external(tmp_path, name="weights.bin", **entries):
    """A model whose W is in a file beside it, and the file."""
    model = damaged()
    (tensor,) = [t for t in model.graph.initializer if t.name == "W"]
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    (folder / "weights.bin").write_bytes(b"1234" + tensor.raw_data)
    (tmp_path / "outside.bin").write_bytes(b"1234" + tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, given in {"location": name, "offset": "4", "length": "192", **entries}.items():
        tensor.external_data.add(key=key, value=given)
    (path := folder / "model.onnx").write_bytes(model.SerializeToString())
    return path


def test_external_data(tmp_path):
    path = external(tmp_path)
    assert fastlstm.load(path).layers == from_onnx(cases.chain("the last step")).layers
    with pytest.raises(UnsupportedModelError, match=r"its data is in the file 'weights.bin'"):
        from_onnx(onnx.load(path, load_external_data=False))
    refused_quickly(external(tmp_path, "../outside.bin"), ModelFormatError, "outside of the model")
    absolute = str(tmp_path / "outside.bin")
    refused_quickly(external(tmp_path, absolute), ModelFormatError, "outside of the model")
    if hasattr(os, "symlink"):
        (tmp_path / "model" / "link.bin").symlink_to(tmp_path / "outside.bin")
        refused_quickly(external(tmp_path, "link.bin"), ModelFormatError, "outside of the model")
    refused_quickly(external(tmp_path, "missing.bin"), ModelFormatError, "its data file")
    refused_quickly(external(tmp_path, offset="8"), ModelFormatError, "expected 192 bytes")
    refused_quickly(external(tmp_path, offset="-4"), ModelFormatError, "expected 192 bytes")
    refused_quickly(external(tmp_path, length="96"), ModelFormatError, "expected 192 bytes, got 96")
    refused_quickly(external(tmp_path, length="x"), ModelFormatError, "expected offset and length")
    refused_quickly(external(tmp_path, "."), ModelFormatError, "outside|regular file")


def test_a_device_is_not_a_model(tmp_path):
    (tmp_path / "link.onnx").symlink_to("/dev/zero")
    refused_quickly(tmp_path / "link.onnx", ModelFormatError, "expected a regular file")


def test_dense_heads_keep_their_weights():
    model = from_onnx(cases.chain("backward first"))
    weight = FC2["fc"].T.astype("f4")
    turned = np.concatenate([weight[:, H:], weight[:, :H]], 1)
    assert model.head == (Dense(turned, FC2["b"].astype("f4")),)
    assert isinstance(model.layers[0], Bidirectional)
    assert isinstance(model.layers[0].forward, Layer)
