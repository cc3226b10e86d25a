"""One LSTM operator of ONNX: every option gives ONNX Runtime's numbers, planted errors do not."""

import numpy as np
import onnx_cases as cases
import pytest
from helpers import outputs
from onnx import TensorProto, helper, numpy_helper
from onnx_cases import (
    ONE,
    H,
    I,
    X,
    lstm,
    value,
)
from onnx_helpers import (
    EPS,
    EXPECTED,
    GOLDEN,
    changed,
    distance,
    error,
    gates,
    in_double,
    in_onnx_order,
    states,
)

import fastlstm
from fastlstm import LSTM, cli, from_onnx
from fastlstm.errors import UnsupportedModelError

pytestmark = pytest.mark.every_cell


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
