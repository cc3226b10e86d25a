"""Weights: what is refused, what is frozen, what is equal."""

import copy
import pickle

import numpy as np
import pytest

from fastlstm import Dense, Layer
from fastlstm.network.dense import as_dense
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
