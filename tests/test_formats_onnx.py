"""ONNX graphs that are chains: read right, whatever moves numbers on the way."""

from dataclasses import replace

import numpy as np
import onnx
import onnx_cases as cases
import pytest
from helpers import predictions
from onnx import TensorProto, helper
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
from onnx_helpers import EXPECTED, GOLDEN

import fastlstm
from fastlstm import Bidirectional, Dense, Embedding, Layer, from_onnx, reference
from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.onnx import flow, operator

pytestmark = pytest.mark.every_cell


@pytest.mark.parametrize("name", cases.CHAINS)
def test_chain(name):
    model, x = from_onnx(cases.chain(name)), cases.chain_input(name).swapaxes(0, 1)
    expected = EXPECTED[f"chain {name}"]
    if model.return_sequences:
        expected = expected.reshape(len(expected), N, -1).swapaxes(0, 1)
    for engine, y in predictions(model, x):
        np.testing.assert_allclose(y, expected.reshape(y.shape), atol=2e-6, err_msg=engine)


@pytest.mark.parametrize("name", ["two operators", "dense layers on flattened rows"])
def test_parts_are_built_once(name, monkeypatch):
    """However often the graph is followed: for two examples of sizes, and for several axes."""
    built = []
    for kind in (Layer, Dense):

        def checked(part, check=kind.__post_init__):
            check(part)
            assert part not in built
            built.append(part)

        monkeypatch.setattr(kind, "__post_init__", checked)
    from_onnx(cases.chain(name))
    assert len(built) > 1


def test_parts_of_the_same_weights_in_another_order():
    """They are built anew: what they read is a part of what they are."""
    walks = flow.Flow()
    weights = {"W": weights_of("W"), "R": weights_of("R")}
    found = operator.read_operator({}, weights, {})
    x = walks.whole(walks.add(2, 3, 2))
    x = x.moved(x.array.transpose(1, 0, 2))  # (T, N, I)
    tops = [
        walks.lstm(x.moved(places), found, None, ())["Y"].value
        for places in (x.array, x.array[..., ::-1], x.array)
    ]
    straight, turned, again = (k.part for k in tops)
    assert tops[0] is tops[2]
    assert straight is again
    np.testing.assert_array_equal(turned.w_ih, straight.w_ih[:, ::-1])


def weights_of(name):
    shape = (1, 12, {"W": 2, "R": 3}[name])
    return np.random.default_rng(3).normal(size=shape).astype("f4")


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
        with pytest.raises(UnsupportedModelError, match="could compute the graph for a batch of 1"):
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
    steps = np.random.default_rng(3).normal(size=(2, 9, I)).astype("f4")
    np.testing.assert_array_equal(
        reference.predict(from_onnx(model).network, steps),
        reference.predict(from_onnx(cases.chain("every step")).network, steps)[:, 6],
    )
    with pytest.raises(ValueError, match="leaves no step of a short sequence"):
        reference.predict(from_onnx(model).network, steps[:, :6])


def test_a_graph_that_mixes_sequences_is_not_taken_one_by_one():
    """It runs for any batch, and gives something else than a row for itself."""
    nodes = [
        lstm("x", ["", "h"]),
        node("Squeeze", "h zero", "s"),
        node("ReduceMean", "s", "y", axes=[0], keepdims=1),
    ]
    with pytest.raises(UnsupportedModelError, match="reduces an axis other"):
        from_onnx(cases.model(nodes, X, Y, cases.constants(**ONE, **AXES)))


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


def test_dense_heads_keep_their_weights():
    model = from_onnx(cases.chain("backward first"))
    weight = FC2["fc"].T.astype("f4")
    turned = np.concatenate([weight[:, H:], weight[:, :H]], 1)
    assert model.head == (Dense(turned, FC2["b"].astype("f4")),)
    assert isinstance(model.layers[0], Bidirectional)
    assert isinstance(model.layers[0].forward, Layer)


def with_attribute(op, **changes):
    def change(model):
        for made in model.graph.node:
            if made.op_type == op:
                kept = [a for a in made.attribute if a.name not in changes]
                del made.attribute[:]
                made.attribute.extend(kept)
                made.attribute.extend(helper.make_attribute(*k) for k in changes.items())

    return change


def with_constant(name, make):
    def change(model):
        for tensor in model.graph.initializer:
            if tensor.name == name:
                array = onnx.numpy_helper.to_array(tensor)
                tensor.CopyFrom(onnx.numpy_helper.from_array(make(array), name))

    return change


def mean_and_variance_swapped(model):
    for made in model.graph.node:
        if made.op_type == "BatchNormalization":
            made.input[3], made.input[4] = made.input[4], made.input[3]


PLANTED = {
    "pads swapped": ("a convolution", with_attribute("Conv", pads=[1, 2])),
    "dilation left out": ("a convolution", with_attribute("Conv", dilations=[1], pads=[1, 1])),
    "a stride left out": ("convolutions and pooling", with_attribute("Conv", strides=[1])),
    "an epsilon left out": (
        "convolutions and pooling",
        with_attribute("BatchNormalization", epsilon=1e-9),
    ),
    "mean and variance swapped": ("convolutions and pooling", mean_and_variance_swapped),
    "padding not counted": (
        "convolutions and pooling",
        with_attribute("AveragePool", count_include_pad=0),
    ),
    "an epsilon of layers left out": (
        "layer normalisation",
        with_attribute("LayerNormalization", epsilon=1e-9),
    ),
    "an epsilon in small pieces left out": (
        "layer normalisation in small pieces",
        with_constant("eps", np.zeros_like),
    ),
    "a softmax over another axis": ("attention", with_attribute("Softmax", axis=-1)),
    "repeated once too few": ("a repeated vector", with_constant("times", lambda k: k - [1, 0, 0])),
    "another axis divided first": (
        "a vector in steps",
        with_attribute("Transpose", perm=[1, 0, 2][::-1]),
    ),
    "another kind of padding": ("padding", with_attribute("Pad", mode="edge")),
    "one step later": ("one step", with_constant("second", lambda k: k + 1)),
}


@pytest.mark.parametrize("what", PLANTED)
def test_planted_errors_are_noticed(what):
    """What the graph says decides the numbers: another graph has others, or is refused."""
    name, change = PLANTED[what]
    model = cases.chain(name)
    change(model)
    x, expected = cases.chain_input(name).swapaxes(0, 1), EXPECTED[f"chain {name}"]
    try:
        y = reference.predict(from_onnx(model).network, x)
    except (UnsupportedModelError, ModelFormatError):
        return
    expected = expected.squeeze()
    expected = expected.swapaxes(0, 1) if expected.ndim == 3 else expected
    assert y.shape != expected.shape or np.abs(y - expected).max() > 1e-3


def test_columns_of_flattened_steps():
    """PyTorch flattens (numbers, steps), Keras (steps, numbers): the weights follow."""
    weight = cases.random("flat", T * H, 2)
    found = []
    for perm, columns in (([1, 0, 2], weight), ([1, 2, 0], weight.reshape(T, H, 2).swapaxes(0, 1))):
        nodes = [
            *cases.SQUEEZED,
            node("Transpose", "s", "t", perm=perm),
            node("Reshape", "t shape", "f"),
            node("MatMul", "f fc", "y"),
        ]
        named = {**ONE, **AXES, "shape": ints(-1, T * H), "fc": columns.reshape(T * H, 2)}
        inputs = [value("x", [T, "N", I])]
        found.append(from_onnx(cases.model(nodes, inputs, Y, cases.constants(**named))))
    x = cases.chain_input("every step").swapaxes(0, 1)
    y, other = (reference.predict(k.network, x) for k in found)
    every = reference.predict(from_onnx(cases.chain("every step")).network, x)
    np.testing.assert_allclose(y, every.reshape(N, -1) @ weight, atol=2e-6)
    np.testing.assert_allclose(other, y, atol=2e-6)


def test_an_LSTM_behind_a_long_convolution(tmp_path):
    """A model of many fixed steps is followed within the budget of its file."""
    nodes = [
        node("Conv", "x k", "c", kernel_shape=[8], strides=[2]),
        node("Relu", "c", "r"),
        node("MaxPool", "r", "m", kernel_shape=[4], strides=[4]),
        node("Transpose", "m", "t", perm=[2, 0, 1]),
        lstm("t", ["", "h"]),
        node("Squeeze", "h zero", "y"),
    ]
    named = cases.constants(**{**ONE, **AXES, "k": cases.random("k", I, 12, 8)})
    graph = cases.model(nodes, [value("x", [1, 12, 20_000])], Y, named)
    onnx.save(graph, path := tmp_path / "model.onnx")
    model = fastlstm.load(path)
    assert [type(k).__name__ for k in model.network.parts] == ["Conv", "Pool", "Layer", "Read"]
