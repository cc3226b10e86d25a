"""Weights: what is refused, what is frozen, what is equal. Networks: what fits together."""

import copy
import dataclasses
import pickle
import re

import numpy as np
import pytest
from networks import STEPS, WITH_PARTS, Maker, chain, make_network

from fastlstm import Bidirectional, Dense, Embedding, Layer, UnsupportedModelError
from fastlstm.network.convolution import Conv
from fastlstm.network.dense import as_dense
from fastlstm.network.joints import AddInputs, From, Join
from fastlstm.network.masking import Masking
from fastlstm.network.network import Network
from fastlstm.network.normalisation import Affine, LayerNorm
from fastlstm.network.pointwise import Activate, PReLU, StepSoftmax
from fastlstm.network.pooling import Pool
from fastlstm.network.reading import Read
from fastlstm.network.steps import Flatten, Pad, Repeat, Slice, Unflatten, Upsample
from fastlstm.tutorial import TUTORIAL_PARAMS


def weights(H=3, I=2, dtype="float64", seed=0):  # noqa: E741
    rng = np.random.default_rng(seed)
    shapes = ((4 * H, I), (4 * H, H), (4 * H,), (4 * H,))
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer(dtype):
    w_ih, w_hh, b_ih, b_hh = weights(dtype=dtype)
    layer = Layer(w_ih, w_hh, b_ih, b_hh)
    assert (layer.input_size, layer.hidden_size, layer.dtype) == (2, 3, np.dtype(dtype))
    for name, given in zip(("w_ih", "w_hh", "b_ih", "b_hh"), weights(dtype=dtype), strict=True):
        np.testing.assert_array_equal(getattr(layer, name), given)
        assert getattr(layer, name).dtype == dtype
    assert repr(layer) == f"Layer(2 -> 3, b_ih, b_hh, {dtype})"


def test_bias_is_rounded_once():
    w_ih, w_hh, b_ih, b_hh = weights(H=64, dtype="float32")
    bias = Layer(w_ih, w_hh, b_ih, b_hh).bias
    exact = (b_ih.astype("float64") + b_hh).astype("float32")
    assert bias.dtype == np.float32
    np.testing.assert_array_equal(bias, exact)
    np.testing.assert_array_equal(Layer(w_ih, w_hh, None, b_hh).bias, b_hh)
    np.testing.assert_array_equal(Layer(w_ih, w_hh, b_ih).bias, b_ih)
    none = Layer(w_ih, w_hh).bias
    assert none.shape == (256,)
    assert none.dtype == np.float32
    assert not none.any()


def test_any_layout_and_byte_order_becomes_plain():
    plain = Layer(*weights())
    odd = Layer(*(np.asfortranarray(w.astype(">f8")) for w in weights()))
    assert odd == plain
    for array in (odd.w_ih, odd.w_hh):
        assert array.dtype.isnative
        assert array.flags.c_contiguous


def test_lists_of_floats_are_float64():
    assert Dense([[1.0, 2.0]], [3.0]).dtype == np.float64


def test_frozen():
    given = weights()
    layer = Layer(*given)
    before = layer.w_ih.copy()
    given[0][:] = 7
    np.testing.assert_array_equal(layer.w_ih, before)
    for array in (layer.w_ih, layer.w_hh, layer.b_ih, layer.b_hh, layer.bias):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
    with pytest.raises(AttributeError):
        layer.w_ih = given[0]


@pytest.mark.parametrize(
    "remake", [copy.copy, copy.deepcopy, lambda k: pickle.loads(pickle.dumps(k))]
)
@pytest.mark.parametrize(
    "original", [Layer(*weights()), Layer(*weights()[:2]), Dense([[1.0]], [2.0])]
)
def test_copies_are_equal_and_still_frozen(remake, original):
    assert original.digest  # cached, and not to be carried over
    again = remake(original)
    assert again == original
    assert hash(again) == hash(original)
    first = again.w_ih if isinstance(again, Layer) else again.weight
    assert not first.flags.writeable


def test_equal_by_content_only():
    w_ih, w_hh, b_ih, b_hh = weights(H=1, I=1)
    layer = Layer(w_ih, w_hh, b_ih, b_hh)
    assert layer == Layer(*weights(H=1, I=1))
    nudged = w_hh.copy()
    nudged[0, 0] = np.nextafter(nudged[0, 0], 9)
    zeros = np.zeros(4)
    others = [
        Layer(w_ih, nudged, b_ih, b_hh),
        Layer(w_hh, w_ih, b_ih, b_hh),
        Layer(w_ih, w_hh, b_hh, b_ih),
        Layer(w_ih, w_hh, b_ih),
        Layer(w_ih, w_hh, None, b_ih),
        Layer(w_ih, w_hh),
        Layer(w_ih, w_hh, zeros, zeros),
        layer.astype("float32"),
    ]
    assert len({layer, *others}) == 9
    assert layer != "layer"
    assert Dense([[1.0, 2.0]]) != Dense([[1.0], [2.0]])
    assert Dense([[1.0]]) != Dense([[1.0]], [0.0])


def test_astype():
    layer = Layer(*weights())
    narrow = layer.astype("float32")
    assert narrow.dtype == narrow.bias.dtype == np.float32
    np.testing.assert_array_equal(narrow.b_hh, layer.b_hh.astype("float32"))
    assert narrow.astype(np.float32) is narrow
    assert Dense([[0.1]], [0.2]).astype("float32").bias[0] == np.float32(0.2)
    with pytest.raises(ValueError, match=r"weight: expected finite weights, got inf at \[0, 0\]"):
        Dense([[1e300]]).astype("float32")
    with pytest.raises(TypeError, match="w_ih: expected float32 or float64, got float16"):
        layer.astype("float16")


def changed(index, value):
    arrays = weights()
    arrays[index] = value
    return arrays


def spoiled(index, value):
    arrays = weights()
    arrays[index].flat[4] = value
    return arrays


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        (changed(0, np.zeros((9, 2))), ValueError, r"w_ih: expected shape \(12, I\).*got \(9, 2\)"),
        (changed(0, np.zeros((12, 0))), ValueError, r"w_ih: expected .*got \(12, 0\)"),
        (changed(0, np.zeros(12)), ValueError, r"w_ih: expected .*got \(12,\)"),
        (changed(1, np.zeros((12, 4))), ValueError, r"w_hh: expected .*got \(12, 4\)"),
        (changed(1, np.zeros((0, 0))), ValueError, r"w_hh: expected .*got \(0, 0\)"),
        (changed(1, np.zeros(12)), ValueError, r"w_hh: expected .*got \(12,\)"),
        (changed(2, np.zeros(3)), ValueError, r"b_ih: expected shape \(12,\).*got \(3,\)"),
        (changed(3, np.zeros((12, 1))), ValueError, r"b_hh: expected shape \(12,\).*got \(12, 1\)"),
        (changed(0, np.zeros((12, 2), int)), TypeError, "w_ih: expected float32 or .*got int64"),
        (changed(2, np.zeros(12, "f2")), TypeError, "b_ih: expected float32 or .*got float16"),
        (changed(1, [["a"]]), TypeError, "w_hh: expected float32 or float64, got <U1"),
        (changed(3, np.zeros(12, "f4")), ValueError, "one dtype, got .*'b_hh': 'float32'"),
        (spoiled(0, np.nan), ValueError, r"w_ih: expected finite weights, got nan at \[2, 0\]"),
        (spoiled(1, -np.inf), ValueError, r"w_hh: expected finite weights, got -inf at \[1, 1\]"),
        (spoiled(2, np.nan), ValueError, r"b_ih: .*nan at \[4\] \(1 of 12"),
        (spoiled(3, np.inf), ValueError, r"b_hh: .*inf at \[4\]"),
        ([*weights()[:2], *np.full((2, 12), 1e308)], ValueError, r"b_ih \+ b_hh: "),
    ],
)
def test_wrong_layers(arrays, error, message):
    with pytest.raises(error, match=message):
        Layer(*arrays)


@pytest.mark.parametrize(
    ("weight", "bias", "error", "message"),
    [
        ([1.0], None, ValueError, r"weight: expected shape \(O, K\).*got \(1,\)"),
        (np.zeros((0, 2)), None, ValueError, r"weight: expected .*got \(0, 2\)"),
        (np.zeros((2, 3)), np.zeros(3), ValueError, r"bias: expected shape \(2,\).*got \(3,\)"),
        ([[1]], None, TypeError, "weight: expected float32 or float64, got int64"),
        ([[np.nan]], None, ValueError, "weight: expected finite weights, got nan"),
        ([[1.0]], [np.inf], ValueError, "bias: expected finite weights, got inf"),
        ([[1.0]], np.zeros(1, "f4"), ValueError, "one dtype"),
    ],
)
def test_wrong_heads(weight, bias, error, message):
    with pytest.raises(error, match=message):
        Dense(weight, bias)


def test_from_gates_orders_them_i_f_g_o():
    params = {name: (*w[:2], b) for b, (name, w) in enumerate(TUTORIAL_PARAMS.items())}
    layer = Layer.from_gates(params)  # biases: forget 0, input 1, cell 2, output 3
    assert layer.dtype == np.float64
    assert layer.w_ih.tolist() == [[0.6], [0.5], [0.7], [0.8]]
    assert layer.w_hh.tolist() == [[0.2], [0.1], [0.3], [0.4]]
    assert layer.bias.tolist() == [1, 0, 2, 3]
    with pytest.raises(ValueError, match="expected the gates"):
        Layer.from_gates({"forget": (1, 2, 3)})


@pytest.mark.parametrize(
    ("head", "size", "weight", "bias"),
    [
        (4.0, 1, [[4]], None),
        (np.int64(3), 1, [[3]], None),
        ((2, 1), 1, [[2]], [1]),
        ((2.0, None), 1, [[2]], None),
        (([1, 2, 3], 0.5), 3, [[1, 2, 3]], [0.5]),
        ([[[1, 2], [3, 4]], [5, 6]], 2, [[1, 2], [3, 4]], [5, 6]),
        (Dense(np.ones((2, 3), "f4")), 3, [[1, 1, 1], [1, 1, 1]], None),
    ],
)
def test_as_dense(head, size, weight, bias):
    dense = as_dense(head, size, "float32")
    assert dense.dtype == np.float32
    assert dense.weight.tolist() == weight
    assert (None if dense.bias is None else dense.bias.tolist()) == bias


def test_no_head():
    assert as_dense(None, 3, "float32") is None


@pytest.mark.parametrize(
    ("head", "error", "message"),
    [
        (4.0, ValueError, r"head: expected a weight of shape \(outputs, 3\).*got \(1, 1\)"),
        (([1, 2], None), ValueError, r"head: expected .*\(outputs, 3\).*got \(1, 2\)"),
        (([1, 2, 3], [1, 2]), ValueError, r"head: bias: expected shape \(1,\)"),
        (([1, np.nan, 3], 0), ValueError, "head: weight: expected finite"),
        (
            Dense(np.ones((2, 3))),
            ValueError,
            "head: expected float32 as in the layers, got float64",
        ),
        ("fc", TypeError, r"head: expected a Dense, a number or a pair .*got str"),
        (True, TypeError, "got bool"),
        ((1, 2, 3), TypeError, "got tuple"),
    ],
)
def test_wrong_as_dense(head, error, message):
    with pytest.raises(error, match=message):
        as_dense(head, 3, "float32")


@pytest.mark.parametrize("index", range(4))
def test_masks_are_not_dropped(index):
    arrays = weights()
    arrays[index] = np.ma.array(arrays[index], mask=arrays[index] > 0)
    with pytest.raises(TypeError, match=r"_.h: expected an array without a mask"):
        Layer(*arrays)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ((np.ma.array([[1.0]], mask=True), None), "head: weight: .*the mask would be lost"),
        (([[1.0]], np.ma.array([1.0], mask=True)), "head: bias: .*the mask would be lost"),
        (([[1 + 2j]], None), "head: weight: expected real numbers, got complex128"),
        (([[1.0]], np.array([1j], "c8")), "head: bias: expected real numbers, got complex64"),
        (([["1"]], None), "head: weight: expected real numbers, got <U1"),
    ],
)
def test_heads_that_would_lose_something(head, message):
    with pytest.raises(TypeError, match=message):
        as_dense(head, 1, "float64")
    if isinstance(head[0], np.ma.MaskedArray):
        with pytest.raises(TypeError, match=r"weight: .*the mask would be lost"):
            Dense(*head)


# --- parts ------------------------------------------------------------------------------------

WEIGHT = np.ones((4, 3, 2))  # of a convolution: 4 outputs, 3 taps, 2 inputs


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Conv(np.ones((4, 3))), ValueError, r"weight: expected shape \(O, J, I / groups\)"),
        (lambda: Conv(np.ones((4, 0, 3))), ValueError, r"weight: .*got \(4, 0, 3\)"),
        (lambda: Conv(np.ones((4, 3, 2), int)), TypeError, "weight: expected float32 or float64"),
        (lambda: Conv(WEIGHT, np.ones(3)), ValueError, r"bias: expected shape \(4,\).*got \(3,\)"),
        (lambda: Conv(WEIGHT, np.ones(4, "f4")), ValueError, "one dtype"),
        (lambda: Conv(WEIGHT * np.nan), ValueError, "weight: expected finite"),
        (lambda: Conv(WEIGHT, groups=3), ValueError, "4 outputs cannot be divided into 3 groups"),
        (lambda: Conv(WEIGHT, stride=0), ValueError, "stride: expected at least 1, got 0"),
        (lambda: Conv(WEIGHT, stride=1.5), TypeError, "stride: expected an integer, got float"),
        (lambda: Conv(WEIGHT, dilation=0), ValueError, "dilation: expected at least 1"),
        (lambda: Conv(WEIGHT, padding="full"), ValueError, "padding: expected one of .*'full'"),
        (lambda: Conv(WEIGHT, padding=(1, -1)), ValueError, "padding: expected at least 0"),
        (lambda: Conv(WEIGHT, padding=1), TypeError, "padding: expected one of .* two numbers"),
        (lambda: Conv(WEIGHT, activation="softmax"), UnsupportedModelError, "'softmax'"),
        (lambda: Conv(WEIGHT, activation="cubic"), UnsupportedModelError, "activation 'cubic'"),
        (lambda: Pool("median", 2), ValueError, "how: expected 'max' or 'mean', got 'median'"),
        (lambda: Pool("max", 0), ValueError, "size: expected at least 1"),
        (lambda: Pool("max", 2, padding=(2, 0)), ValueError, "less than the 2 steps of a window"),
        (lambda: Pad(-1, 0), ValueError, "before: expected at least 0, got -1"),
        (lambda: Pad(1, 0, "wrap"), ValueError, "mode: expected one of .*'wrap'"),
        (lambda: Slice(0, 5, 0), ValueError, "step: expected an integer other than 0"),
        (lambda: Slice(0.5, 5), TypeError, "start: expected an integer"),
        (lambda: Upsample(0), ValueError, "times: expected at least 1"),
        (lambda: Repeat(0), ValueError, "n_steps: expected at least 1"),
        (lambda: Flatten("3"), TypeError, "n_steps: expected an integer, got str"),
        (lambda: Affine(*np.ones((3, 2, 1))), ValueError, r"center: expected shape \(K,\)"),
        (lambda: Affine(np.ones(2), np.ones(3), np.ones(2)), ValueError, "scale: expected shape"),
        (lambda: LayerNorm(np.ones(2), np.ones(3)), ValueError, "shift: expected shape"),
        (lambda: LayerNorm(*np.ones((2, 3)), -1e-5), ValueError, "epsilon: expected .* at least 0"),
        (lambda: LayerNorm(*np.ones((2, 3)), np.inf), ValueError, "epsilon: expected"),
        (lambda: PReLU(np.ones((2, 1))), ValueError, r"slope: expected shape \(K,\)"),
        (lambda: Activate("cubic"), UnsupportedModelError, "activation 'cubic'"),
        (lambda: From(-2), ValueError, "value: expected -1 or the number of a part"),
        (lambda: Join("subtract", (0, 1)), ValueError, "how: expected one of .*'subtract'"),
        (lambda: Join("add", (0,)), ValueError, "two values or more, got 1"),
        (lambda: Join("dot", (0, 1, 2)), ValueError, "values: expected two values, got 3"),
        (lambda: Join("add", (0, 1.0)), TypeError, "values to be an integer, got float"),
        (lambda: Read("first"), ValueError, "read: expected one of"),
    ],
)
def test_wrong_parts(make, error, message):
    with pytest.raises(error, match=message):
        make()


PARTS = [
    Conv(WEIGHT, np.ones(4), stride=2, padding=(1, 2), activation=("elu", 0.5)),
    Pool("max", 3, 2, padding="same"),
    Pool("mean", 2, ceil=True, counts_padding=True),
    Pad(1, 2, "edge"),
    Slice(None, -2, 3),
    Upsample(2),
    Repeat(3),
    Flatten(3),
    Unflatten(3),
    Affine(*np.ones((3, 4))),
    LayerNorm(*np.ones((2, 4)), 0.5, centered=False),
    PReLU(np.ones(4)),
    Activate("log_softmax"),
    Activate(("hard_sigmoid", 0.3, 0.5)),
    StepSoftmax(),
    From(2),
    Join("dot", (0, -1)),
]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: type(part).__name__)
def test_parts_are_values(part):
    for again in (copy.copy(part), pickle.loads(pickle.dumps(part))):
        assert again == part
        assert hash(again) == hash(part)
        assert repr(again) == repr(part)
    assert len({*PARTS}) == len(PARTS)
    with pytest.raises(AttributeError):
        setattr(part, next((field.name for field in dataclasses.fields(part)), "name"), 3)


def test_every_option_is_part_of_the_value():
    conv = {"stride": 2, "dilation": 2, "groups": 2, "padding": (1, 1), "activation": "relu"}
    pool = {"stride": 2, "dilation": 2, "padding": "same", "ceil": True, "counts_padding": True}
    convs = [Conv(WEIGHT), *(Conv(WEIGHT, **{k: v}) for k, v in conv.items())]
    pools = [Pool("max", 3), *(Pool("max", 3, **{k: v}) for k, v in pool.items())]
    norms = [LayerNorm(*np.ones((2, 3)), *more) for more in ((), (0.1,))]
    norms += [LayerNorm(*np.ones((2, 3)), centered=False)]
    for kinds in (convs, pools, norms):
        assert len({*kinds}) == len(kinds)


# --- networks ---------------------------------------------------------------------------------

make = Maker(0, "float64")
LAYER, BOTH = make.layer(3, 4), make.both(3, 4)


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ([LAYER, "relu"], TypeError, "part 1: expected a part of a network, got str"),
        ([make.dense(3, 4)], ValueError, "at least one recurrent layer, got none"),
        (
            [LAYER, Read(), make.conv(4, 2, 3)],
            UnsupportedModelError,
            "part 2: Conv takes a sequence, part 1 gives a vector",
        ),
        ([LAYER, Repeat(3)], UnsupportedModelError, "part 1: Repeat takes a vector, part 0 gives"),
        ([LAYER, Read(), Read()], UnsupportedModelError, "part 2: Read takes a sequence"),
        ([LAYER, Masking(0.0)], UnsupportedModelError, "part 1: Masking can only be the first"),
        ([LAYER, make.embedding(4, 3)], UnsupportedModelError, "an Embedding can only be the firs"),
        ([LAYER, AddInputs(1), Read()], UnsupportedModelError, "part 1: AddInputs can only be the"),
        ([LAYER, From(1)], ValueError, "part 1: reads value 1, which comes later"),
        ([LAYER, Join("add", (0, 2))], ValueError, "part 1: reads value 2, which comes later"),
        (
            [LAYER, make.conv(3, 4, 2)],
            ValueError,
            "part 1, Conv: expected 3 numbers, got a sequence of 4 numbers",
        ),
        ([LAYER, make.norm(5)], ValueError, "part 1, LayerNorm: expected 5 numbers"),
        ([LAYER, Read(), Unflatten(3)], ValueError, "of 4 numbers cannot be divided into 3 steps"),
        (
            [LAYER, Join("add", (0, -1))],
            ValueError,
            r"part 1, Join: cannot add values of \[4, 3\] numbers",
        ),
        ([LAYER, make.dense(4, 1), Join("dot", (0, 1))], ValueError, "cannot dot values of"),
        (
            [LAYER, make.norm(4).astype("float32")],
            ValueError,
            "of one dtype, got float64 in part 0 and float32 in part 1",
        ),
        (
            [Masking(0.0), LAYER, make.conv(4, 2, 3)],
            UnsupportedModelError,
            "part 2: Conv is not computed where steps are masked",
        ),
        (
            [make.embedding(4, 3, padding_id=0), LAYER, Slice(1, None)],
            UnsupportedModelError,
            "part 2: Slice is not computed where steps are masked",
        ),
    ],
)
def test_parts_that_do_not_fit(parts, error, message):
    with pytest.raises(error, match=message):
        Network(parts)


def test_where_the_head_is():
    behind = [make.norm(4), Activate("relu"), make.dense(4, 2)]
    network = Network([LAYER, Read("mean"), *behind])
    assert (network.read_at, network.read, network.without_head) == (1, "mean", Network([LAYER]))
    assert network.reading("max").parts[1] == Read("max")
    assert network.reading("max").reading("mean") == network
    joined = Network([LAYER, Read("mean"), Join("concatenate", (1, 1))])
    assert joined.read_at == 3  # what is behind the read cannot be done at every step
    dense = make.dense(4, 3)
    assert Network([LAYER, dense, Read()]).without_head.parts == (LAYER, dense)
    assert Network([LAYER, dense, Activate("relu"), Read()]).without_head.parts == (LAYER,)
    flat = Network([BOTH, make.dense(8, 3), Flatten(2), make.dense(6, 1)])
    assert flat.without_head.parts == (BOTH,)
    assert flat.up_to(0).parts == (BOTH,)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([LAYER, Flatten(2), make.dense(8, 1)], "it ends with Flatten, Dense"),
        ([LAYER, Read(), Join("concatenate", (1, 1))], "it ends with Read, Join"),
        (
            [make.conv(3, 3, 2), LAYER, Read(), make.dense(4, 1), AddInputs(1)],
            "skip: the outputs of every step have other steps",
        ),
    ],
)
def test_no_outputs_of_every_step(parts, message):
    network = Network(parts)
    with pytest.raises(UnsupportedModelError, match=message):
        network.check_every_step()
    with pytest.raises(UnsupportedModelError, match=message):
        Network(parts, return_sequences=True)


def test_sizes_of_values():
    network = make_network("attention, dot", "float32").network
    sizes = [(shape.every, shape.size) for shape in network.shapes]
    assert sizes == [
        (True, 5), (False, 5), (True, 1), (True, 1), (True, 5), (False, 5), (False, 10), (False, 2),
    ]  # fmt: skip
    assert (network.input_size, network.output_size, network.dtype) == (3, 2, np.float32)
    frames = make_network("frames", "float64").network
    assert frames.input_size == 3  # 9 steps of them in 3 steps of 9 numbers
    assert [shape.size for shape in frames.shapes] == [27, 9, 5, 5, 1]
    assert chain(StepSoftmax(), LAYER).input_size == 3


def test_steps_of_values():
    network = make_network("conv, pool, both", "float64").network
    steps = network.steps(np.array([0, 1, 2, 8, 9]))
    assert [None if k is None else k.tolist() for k in steps.of_values] == [
        [0, 1, 2, 8, 9], [0, 1, 1, 4, 5], [0, 1, 1, 4, 5], [0, 1, 1, 4, 5], None, None,
    ]  # fmt: skip
    assert not steps.refused.any()
    steps.check()
    assert network.output_steps(np.array([9, 2])).tolist() == [5, 1]
    assert not network.keeps_steps
    assert make_network("layer norm", "float64").network.keeps_steps


@pytest.mark.parametrize(
    ("name", "lengths", "refused", "message"),
    [
        ("conv", [9, 2, 0, 1], [1, 3], "part 0, Conv, leaves no step of a short sequence: sequence "
         "1 (and 1 others) has 2 steps"),
        ("flatten", [9, 8], [1], "part 2, Flatten, takes exactly 9 steps, and gets 8: sequence 1 "
         "has 8 steps"),
        ("flatten, both", [9, 5, 8], [1], "part 2, Flatten, takes exactly 4 steps, and gets 2: "
         "sequence 1 has 5 steps"),
        ("padding", [1, 0], [], None),
        ("slices", [1, 2], [0], "part 1, Slice, leaves no step of a short sequence: sequence 0 "
         "has 1 steps"),
    ],
)  # fmt: skip
def test_sequences_that_a_network_does_not_take(name, lengths, refused, message):
    network = make_network(name, "float64").network
    steps = network.steps(np.array(lengths))
    assert np.flatnonzero(steps.refused).tolist() == refused
    if message is None:
        return steps.check()
    with pytest.raises(ValueError, match=re.escape(message)):
        steps.check()


def test_joined_steps_that_differ():
    network = Network([LAYER, Slice(0, 3), Join("add", (0, 1))])
    steps = network.steps(np.array([2, 3, 5]))
    assert steps.refused.tolist() == [False, False, True]
    with pytest.raises(ValueError, match="part 2, Join, joins values of unequal steps: sequence 2"):
        steps.check()


@pytest.mark.parametrize("name", WITH_PARTS)
def test_networks_of_parts_are_values(name):
    network = make_network(name, "float64").network
    again = pickle.loads(pickle.dumps(network))
    assert again == network
    assert again.astype("float32").astype("float32") == network.astype("float32")
    assert repr(again) == repr(network)
    assert network.steps(np.array([STEPS])).refused.tolist() == [False]
    assert len({make_network(other, "float64").network for other in WITH_PARTS}) == len(WITH_PARTS)


def test_how_a_network_of_parts_looks():
    network = make_network("conv, pool, batch norm", "float32").network
    assert repr(network) == (
        "Network(3 -> Conv(6) -> Affine(6) -> Pool(max) -> Conv(4) -> Layer(5) -> Layer(4) -> "
        "Read(final) -> Dense(2), float32)"
    )
    kinds = {type(part) for name in WITH_PARTS for part in make_network(name, "f4").network.parts}
    masked = {Masking, Embedding, Bidirectional}
    assert kinds | masked >= {type(part) for part in PARTS}


@pytest.mark.parametrize(
    ("parts", "inputs"),
    [
        (lambda m: (Read("last"), Unflatten(4), m.layer(3, 5)), 12),
        (lambda m: (Flatten(5), From(-1), m.layer(3, 5)), 3),
        (lambda m: (Flatten(5), Repeat(8), m.layer(45, 5)), 9),
        (lambda m: (Slice(1, None), Join("concatenate", (0, 0)), m.layer(6, 5)), 3),
        (lambda m: (StepSoftmax(), Join("multiply", (-1, 0)), m.layer(3, 5)), 3),
        (lambda m: (Join("dot", (-1, -1)), m.layer(1, 4), From(-1), m.dense(3, 2)), 3),
    ],
)
def test_the_inputs_are_counted_through_parts_that_do_not_say(parts, inputs):
    assert Network(parts(Maker(0, "float32"))).input_size == inputs


def test_inputs_that_do_not_fit_any_number():
    make = Maker(0, "float32")
    with pytest.raises(ValueError, match="part 1, Dense: expected 7 numbers, got a vector of 6"):
        Network((Flatten(3), make.dense(7, 5), Unflatten(5), make.layer(1, 2)))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (lambda m: (m.layer(2, 5), Read("max"), Join("add", (2, 2))), "a maximum over time"),
        (
            lambda m: (m.both(2, 5), Read("last"), Join("add", (2, 2))),
            "part 2: the last step, which may be masked, .* nothing but dense",
        ),
        (
            lambda m: (m.layer(2, 5), From(0), Read("final"), Join("concatenate", (1, 3))),
            "part 3, Read: with a mask, the last step .* recurrent layer",
        ),
        (
            lambda m: (m.layer(2, 5), StepSoftmax(), m.norm(5)),
            "part 4, Read: with a mask, the last step .* recurrent layer",
        ),
        (
            lambda m: (
                m.layer(2, 5, direction="go_backwards"),
                Join("concatenate", (0, 1)),
                Read("mean"),
            ),
            "layer 0: go_backwards with a mask",
        ),
    ],
)
def test_reads_of_masked_steps_that_are_not_computed(parts, message):
    """Each of them gave other numbers than the reference, or NaN."""
    make = Maker(0, "float32")
    with pytest.raises(UnsupportedModelError, match=message):
        Network((Masking(0.0), *parts(make)))


def test_two_directions_by_hand_with_a_mask():
    make = Maker(0, "float32")
    backwards = make.layer(2, 5, direction="go_backwards")
    first = (Masking(0.0), make.layer(2, 5), Read("final"), From(0))
    joined = (*first, backwards, make.norm(5), Read(), Join("concatenate", (2, 6)))
    assert Network((*joined, make.dense(10, 2))).output_size == 2
    with pytest.raises(UnsupportedModelError, match="layer 1: go_backwards with a mask"):
        Network((*first, backwards, Read("mean"), Join("concatenate", (2, 5))))
