"""ONNX graphs that are not computed: refused, with the node that is the reason."""

import numpy as np
import onnx_cases as cases
import pytest
from onnx import TensorProto, helper
from onnx_cases import (
    BOTH,
    FC2,
    LAST,
    ONE,
    TWO,
    H,
    I,
    X,
    Y,
    ints,
    lstm,
    node,
    value,
)

from fastlstm import from_onnx
from fastlstm.errors import ModelFormatError, UnsupportedModelError

pytestmark = pytest.mark.every_cell


# What is refused: nodes, constants, message

WRONG_CHAINS = {
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
    "the last sequence": (
        [lstm("x", ["a"]), node("Gather", "a last", "y", axis=2)],
        {**ONE, **LAST},
        "output 'y': ",
    ),
    "a mean over the batch": (
        [lstm("x", ["a"]), node("ReduceMean", "a", "y", axes=[2])],
        ONE,
        "an axis other than that of all steps",
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
        "depends on the number of sequences or steps",
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
    "an unknown operator": (
        [lstm("x", ["a"]), node("Sin", "a", "y")],
        ONE,
        r"node 'Sin of y' \(Sin\): an operator that this version does not compute",
    ),
    "another domain": (
        [lstm("x", ["a"]), helper.make_node("LSTM", ["a"], ["y"], domain="com.acme")],
        ONE,
        r"node that gives 'y' \(com.acme.LSTM\): an operator that is not one of ONNX's own",
    ),
    "a loop": (
        [lstm("x", ["a"]), node("Loop", "a", "y")],
        ONE,
        r"\(Loop\)",
    ),
    "dropout at work": (
        [lstm("x", ["a"]), node("Dropout", "a ratio on", "y")],
        {**ONE, "ratio": np.array(0.5), "on": np.array(True)},
        "a dropout in training_mode",
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
        "in that order",
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
    "a maximum over some steps": (
        [
            lstm("x", ["a"]),
            node("Gather", "a steps", "g"),
            node("ReduceMax", "g", "y", axes=[0], keepdims=0),
        ],
        {**ONE, "steps": ints(0, 0, 1)},
        "an axis other than that of all steps",
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
        "an axis other than that of all steps",
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
    with pytest.raises(UnsupportedModelError, match=r"in reverse order, with|is not an input of"):
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


@pytest.mark.parametrize(
    ("op", "domain", "message"),
    [
        ("GRU", "", "a GRU: this version computes LSTMs"),
        ("RNN", "", "a plain recurrent layer"),
        ("Loop", "", r'a Loop, which tf2onnx .* model.save\("model.keras"\)'),
        ("Scan", "", "a Scan, which"),
        ("DynamicQuantizeLSTM", "com.microsoft", "a quantised LSTM: load the model as it was"),
    ],
)
def test_what_is_no_lstm_is_named(op, domain, message):
    options = {}
    if op in ("Loop", "Scan"):
        options = {"body": helper.make_graph([], "body", [], [])}
    other = helper.make_node(op, ["x", "W"], ["z"], name="other", domain=domain, **options)
    with pytest.raises(UnsupportedModelError, match="no LSTM operator in the graph, but a "):
        from_onnx(cases.model([other], X, [value("z", None)], cases.constants(**ONE)))
    model = cases.model([other, lstm("z", ["", "y"])], X, Y, cases.constants(**ONE))
    with pytest.raises(UnsupportedModelError, match=rf"'other' \(.*{op}\): {message}"):
        from_onnx(model)


@pytest.mark.parametrize("op", ["MatMulInteger", "QLinearConv", "DequantizeLinear"])
def test_what_stands_around_is_named(op):
    nodes = [helper.make_node(op, ["x", "W"], ["z"], name="other"), lstm("z", ["", "y"])]
    with pytest.raises(UnsupportedModelError, match="as it was before it was quantised"):
        from_onnx(cases.model(nodes, X, Y, cases.constants(**ONE)))
