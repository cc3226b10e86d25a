"""Wrong arguments: every one gets the error that tells what was expected, and what came.

What the weights, `Ragged`, `State` and files refuse is tested beside them.
"""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
from shapes import make_input, make_model

from fastlstm import LSTM, Dense, Embedding, Layer, Ragged, warmup

STORY = "this model has 5 inputs and 32 hidden units"
ONE = "this model has 1 input and 1 hidden unit"


@pytest.fixture(scope="module")
def model():
    """5 inputs, 32 and 32 hidden units, 2 outputs, float32."""
    return make_model(5, (32, 32), 2)


@pytest.fixture(scope="module")
def scalar():
    return make_model(1, (1,), 1)


def zeros(*shape, dtype="float32"):
    return np.zeros(shape, dtype)


def pieces(*inputs):
    return [zeros(4, k) for k in inputs]


# x: what is given, the type of the error, and all of its text (with ... for what NumPy says)
WRONG_X = {
    "inputs": (
        zeros(100, 20, 4),
        ValueError,
        f"expected x of shape (N, T, 5) or (T, 5), got (100, 20, 4): {STORY}",
    ),
    "inputs of one": (
        zeros(20, 4),
        ValueError,
        f"expected x of shape (N, T, 5) or (T, 5), got (20, 4): {STORY}",
    ),
    "flat": (
        zeros(20),
        ValueError,
        f"expected x of shape (N, T, 5) or (T, 5), got (20,): {STORY}",
    ),
    "number": (1.0, ValueError, f"expected x of shape (N, T, 5) or (T, 5), got (): {STORY}"),
    "4-d": (
        zeros(2, 3, 4, 5),
        ValueError,
        f"expected x of shape (N, T, 5) or (T, 5), got (2, 3, 4, 5): {STORY}",
    ),
    "complex": (
        zeros(2, 3, 5, dtype=complex),
        TypeError,
        "expected x to hold real numbers, got dtype complex128",
    ),
    "text": ([["a"] * 5] * 3, TypeError, "expected x to hold real numbers, got dtype <U1"),
    "objects": (
        np.full((2, 3, 5), None),
        TypeError,
        "expected x to hold real numbers, got dtype object",
    ),
    "dates": (
        zeros(2, 3, 5, dtype="M8[s]"),
        TypeError,
        "expected x to hold real numbers, got dtype datetime64[s]",
    ),
    "records": (
        zeros(2, 3, dtype="f4,f4"),
        TypeError,
        "expected x to hold real numbers, got dtype [('f0', '<f4'), ('f1', '<f4')]",
    ),
    "nothing": (None, TypeError, "expected x to hold real numbers, got dtype object"),
    "masked": (
        np.ma.masked_array(zeros(2, 3, 5)),
        TypeError,
        "x: expected an array without a mask, because the mask would be lost; "
        "put values in the masked places with .filled()",
    ),
    "ragged nested lists": (
        [[1, 2, 3, 4, 5], [1, 2]],
        ValueError,
        "expected x to be an array of numbers: ...",
    ),
    "list, inputs": (
        pieces(5, 4),
        ValueError,
        f"sequence 1: expected shape (T, 5), got (4, 4): {STORY}",
    ),
    "list, dimensions": (
        [*pieces(5), zeros(2, 3, 5)],
        ValueError,
        f"sequence 1: expected shape (T, 5), got (2, 3, 5): {STORY}",
    ),
    "list, dtype": (
        [*pieces(5), np.full((4, 5), "a")],
        TypeError,
        "expected sequence 1 to hold real numbers, got dtype <U1",
    ),
    "Ragged, inputs": (
        Ragged(zeros(9, 4), [0, 9]),
        ValueError,
        f"expected a Ragged with values of shape (steps, 5), got (9, 4): {STORY}",
    ),
    "Ragged, one input": (
        Ragged(zeros(9), [0, 9]),
        ValueError,
        f"expected a Ragged with values of shape (steps, 5), got (9,): {STORY}",
    ),
}
WRONG_X_OF_ONE_INPUT = {
    "inputs": (
        zeros(4, 3, 2),
        ValueError,
        f"expected x of shape (N, T), (N, T, 1) or (T,), got (4, 3, 2): {ONE}",
    ),
    "number": (
        3.0,
        ValueError,
        f"expected x of shape (N, T), (N, T, 1) or (T,), got (): {ONE}",
    ),
    "list": (
        [zeros(4), zeros(4, 2)],
        ValueError,
        f"sequence 1: expected shape (T,) or (T, 1), got (4, 2): {ONE}",
    ),
}

X = make_input(3, 7, 5)
H_N = zeros(2, 3, 32)
WRONG_ARGUMENTS = {
    "lengths, number": (
        {"lengths": [7, 7]},
        ValueError,
        "expected lengths of shape (3,), one for each sequence, got (2,)",
    ),
    "lengths, one": (
        {"lengths": 7},
        ValueError,
        "expected lengths of shape (3,), one for each sequence, got ()",
    ),
    "lengths, 2-d": (
        {"lengths": [[7], [7], [7]]},
        ValueError,
        "expected lengths of shape (3,), one for each sequence, got (3, 1)",
    ),
    "lengths, too long": (
        {"lengths": [7, 8, 9]},
        ValueError,
        "expected lengths within 0 ... 7, the steps of x; got 8 for sequence 1",
    ),
    "lengths, negative": (
        {"lengths": [7, 7, -1]},
        ValueError,
        "expected lengths within 0 ... 7, the steps of x; got -1 for sequence 2",
    ),
    "lengths, huge": (
        {"lengths": np.uint64([7, 7, 2**64 - 1])},
        ValueError,
        "expected lengths within 0 ... 7, the steps of x; got 18446744073709551615 for sequence 2",
    ),
    "lengths, floats": (
        {"lengths": [7.0, 7.0, 7.0]},
        TypeError,
        "expected lengths to be integers, got dtype float64",
    ),
    "lengths, booleans": (
        {"lengths": [True, True, True]},
        TypeError,
        "expected lengths to be integers, got dtype bool",
    ),
    "lengths, objects": (
        {"lengths": [7, 7, None]},
        TypeError,
        "expected lengths to be integers, got dtype object",
    ),
    "state, array": (
        {"state": H_N},
        TypeError,
        "expected state to be what a call of the model returned, a list of (h, c) pairs or "
        "torch's pair (h_n, c_n), got ndarray",
    ),
    "state, number of layers": (
        {"state": (H_N[:1], H_N[:1])},
        ValueError,
        "expected a state of 2 layers, got 1",
    ),
    "state, layers of a list": (
        {"state": [(H_N[:1], H_N[:1])] * 3},
        ValueError,
        "expected a state of 2 layers, got 3",
    ),
    "state, none": ({"state": []}, ValueError, "expected a state of 2 layers, got 0"),
    "state, sequences": (
        {"state": (H_N[:, :2], H_N)},
        ValueError,
        "state h of layer 0: expected shape (1, 3, 32) (directions, sequences, hidden units), "
        "got (1, 2, 32)",
    ),
    "state, hidden units": (
        {"state": (H_N, zeros(2, 3, 31))},
        ValueError,
        "state c of layer 0: expected shape (1, 3, 32) (directions, sequences, hidden units), "
        "got (1, 3, 31)",
    ),
    "state, of the second layer": (
        {"state": [(H_N[:1], H_N[:1]), (H_N[:1], H_N[0])]},
        ValueError,
        "state c of layer 1: expected shape (1, 3, 32) (directions, sequences, hidden units), "
        "got (3, 32)",
    ),
    "state, dimensions of a pair": (
        {"state": (H_N[0], H_N[0])},
        ValueError,
        "expected h_n and c_n of shape (layers, sequences, hidden units), got (3, 32) and (3, 32)",
    ),
    "state, unequal pair": (
        {"state": (H_N, H_N[:1])},
        ValueError,
        "expected h_n and c_n of shape (layers, sequences, hidden units), "
        "got (2, 3, 32) and (1, 3, 32)",
    ),
    "state, no pair": (
        {"state": [(H_N[:1], H_N[:1]), (H_N[:1],)]},
        TypeError,
        "expected state of layer 1 to be a pair (h, c)",
    ),
    "state, dtype": (
        {"state": (H_N.astype(complex), H_N)},
        TypeError,
        "expected h_n of state to hold real numbers, got dtype complex128",
    ),
    "threads, none": ({"threads": 0}, ValueError, "expected at least one thread, got 0"),
    "threads, negative": ({"threads": -2}, ValueError, "expected at least one thread, got -2"),
    "threads, float": (
        {"threads": 2.0},
        TypeError,
        "expected threads to be an integer, got float",
    ),
    "threads, text": ({"threads": "2"}, TypeError, "expected threads to be an integer, got str"),
}
WRONG_OUT = {
    "shape": (
        {"out": zeros(3)},
        ValueError,
        "expected out of shape (3, 2) and dtype float32, got (3,) and float32",
    ),
    "dtype": (
        {"out": zeros(3, 2, dtype="f8")},
        ValueError,
        "expected out of shape (3, 2) and dtype float32, got (3, 2) and float64",
    ),
    "byte order": (
        {"out": zeros(3, 2, dtype=">f4")},
        ValueError,
        "expected out of shape (3, 2) and dtype float32, got (3, 2) and >f4",
    ),
    "every step": (
        {"out": zeros(3, 2), "return_sequences": True},
        ValueError,
        "expected out of shape (3, 7, 2) and dtype float32, got (3, 2) and float32",
    ),
    "list": ({"out": [[0, 0]] * 3}, TypeError, "expected out to be an array, got list"),
    "read-only": (
        {"out": np.broadcast_to(np.float32(0), (3, 2))},
        ValueError,
        "expected out to be writeable, got a read-only array",
    ),
}


def assert_says(error: pytest.ExceptionInfo, message: str) -> None:
    said = str(error.value)
    if message.endswith("..."):
        said = said[: len(message) - 3] + "..."
    assert said == message


@pytest.mark.parametrize("method", ["__call__", "predict", "trace"])
@pytest.mark.parametrize("wrong", WRONG_X)
def test_x(wrong, method, model):
    x, kind, message = WRONG_X[wrong]
    with pytest.raises(kind) as error:
        getattr(model, method)(x)
    assert type(error.value) is kind
    assert_says(error, message)


@pytest.mark.parametrize("wrong", WRONG_X_OF_ONE_INPUT)
def test_x_of_a_model_with_one_input(wrong, scalar):
    x, kind, message = WRONG_X_OF_ONE_INPUT[wrong]
    with pytest.raises(kind) as error:
        scalar.predict(x)
    assert_says(error, message)


@pytest.mark.parametrize("method", ["__call__", "predict", "trace"])
@pytest.mark.parametrize("wrong", WRONG_ARGUMENTS)
def test_arguments(wrong, method, model):
    kwargs, kind, message = WRONG_ARGUMENTS[wrong]
    with pytest.raises(kind) as error:
        getattr(model, method)(X, **kwargs)
    assert type(error.value) is kind
    assert_says(error, message)


@pytest.mark.parametrize("wrong", WRONG_OUT)
def test_out(wrong, model):
    kwargs, kind, message = WRONG_OUT[wrong]
    with pytest.raises(kind) as error:
        model.predict(X, **kwargs)
    assert_says(error, message)


class Foreign:
    """An array of another library, whose own conversion fails."""

    def __init__(self, error):
        self.error = error

    def __array__(self, dtype=None, copy=None):
        raise self.error


class OnAnotherDevice:
    """What has DLPack alone, and not in this machine's memory."""

    def __dlpack__(self, **_):
        raise BufferError("on a GPU")

    def __dlpack_device__(self):
        return 2, 0


class BadNdim:
    @property
    def ndim(self):
        raise RuntimeError("no dimensions")


def lists_in_lists(depth):
    x = 1.0
    for _ in range(depth):
        x = [x]
    return x


def holds_itself(*first):
    x = list(first)
    x.append(x)
    return x


ODD = {
    "RuntimeError": lambda: Foreign(RuntimeError("it requires grad")),
    "KeyError": lambda: Foreign(KeyError("x")),
    "OSError": lambda: Foreign(OSError("gone")),
    "ZeroDivisionError": lambda: Foreign(ZeroDivisionError()),
    "UnicodeDecodeError": lambda: Foreign(UnicodeDecodeError("utf8", b"x", 0, 1, "y")),
    "list of RuntimeError": lambda: [Foreign(RuntimeError("it requires grad"))],
    "nested list of RuntimeError": lambda: [[Foreign(RuntimeError("it requires grad"))]],
    "other device": OnAnotherDevice,
    "ndim": BadNdim,
    "list of ndim": lambda: [BadNdim()],
    "itself": holds_itself,
    "itself, behind": lambda: holds_itself([1.0]),
    "itself, behind an array": lambda: holds_itself(zeros(3, 5)),
    "deep": lambda: lists_in_lists(3000),
    "integers beyond float64": lambda: [[10**400] * 5],
    "bytes": lambda: b"abc",
    "generator": lambda: (i for i in range(3)),
}


@pytest.mark.parametrize("argument", ["x", "lengths", "h", "h_n", "values", "offsets", "from_list"])
@pytest.mark.parametrize("odd", ODD)
def test_odd_things_get_the_documented_kinds_of_error(odd, argument, model, scalar):
    """Whatever an object raises when it is converted, and lists without an end."""
    value = ODD[odd]()
    calls = {
        "x": lambda: [m.predict(value) for m in (model, scalar)],
        "lengths": lambda: model.predict(X, lengths=value),
        "h": lambda: model.predict(X, state=[(value, H_N[:1]), (H_N[:1], H_N[:1])]),
        "h_n": lambda: model.predict(X, state=(H_N, value)),
        "values": lambda: Ragged(value, [0, 1]),
        "offsets": lambda: Ragged(zeros(3), value),
        "from_list": lambda: Ragged.from_list(value),
    }
    with pytest.raises((TypeError, ValueError)):
        calls[argument]()


class Negated:
    """A torch tensor that negates what lies in its memory; NumPy cannot have that."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that has negative bit set.")

    def resolve_neg(self):
        return -self.array


def test_a_tensor_that_negates_its_memory(model):
    assert (model.predict(Negated(-X)) == model.predict(X)).all()
    assert (model.predict([Negated(-x) for x in X]) == model.predict(X)).all()


def test_no_sequences_of_any_number_of_ids():
    """Nothing is made of the size of what is not there."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(9, 3)).astype("float32")
    model = LSTM([Embedding(table), *make_model(3, (4,)).layers])
    assert model.predict(np.empty((0, 2**40), np.int64)).shape == (0, 4)


@pytest.mark.parametrize("value", [10**400, "one", [1.0]])
def test_a_mask_value_is_a_number(value, model):
    with pytest.raises((TypeError, ValueError), match="mask_value: expected a "):
        LSTM(model.layers, mask_value=value)


def test_warmup_is_for_models():
    with pytest.raises(TypeError, match="expected model to be an LSTM, got str"):
        warmup("model.npz")


@pytest.mark.parametrize("form", ["a Ragged", "a list of sequences"])
def test_lengths_of_what_has_its_own(form, model):
    x = Ragged(zeros(9, 5), [0, 4, 9]) if form == "a Ragged" else pieces(5, 5)
    with pytest.raises(ValueError, match=f"lengths are for padded arrays; {form} has its own"):
        model.predict(x, lengths=[4, 4])


@pytest.mark.parametrize("layer", [2, -3, 100])
def test_no_such_layer(layer, model):
    with pytest.raises(ValueError, match=re.escape(f"expected layer within -2 ... 1, got {layer}")):
        model.trace(X, layer=layer)


@pytest.mark.parametrize("layer", [0.0, "0", None])
def test_a_layer_is_an_integer(layer, model):
    kind = type(layer).__name__
    with pytest.raises(TypeError, match=f"expected layer to be an integer, got {kind}"):
        model.trace(X, layer=layer)


def test_a_wrong_call_changes_nothing(model):
    """Above all not the array that was to be written to."""
    out = np.full((3, 2), 7, np.float32)
    for kwargs in ({"lengths": [9, 9, 9]}, {"state": H_N}, {"threads": 0}):
        with pytest.raises((TypeError, ValueError)):
            model.predict(X, out=out, **kwargs)
    assert (out == 7).all()


def test_a_progress_bar_without_tqdm(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    message = 'a progress bar needs tqdm: pip install "fastlstm[cli]"'
    with pytest.raises(ImportError, match=re.escape(message)):
        model.predict(X, progress=True)


# --- making a model -----------------------------------------------------------------------------


def layer(inputs, hidden, dtype="float32", **changes):
    arrays = {
        "w_ih": np.ones((4 * hidden, inputs), dtype),
        "w_hh": np.ones((4 * hidden, hidden), dtype),
        "b_ih": np.ones(4 * hidden, dtype),
        "b_hh": None,
    }
    return Layer(**{**arrays, **changes})


WRONG_MODELS = {
    "no layers": (lambda: LSTM([]), ValueError, "expected at least one layer, got none"),
    "not a layer": (
        lambda: LSTM([layer(2, 3), "layer"]),
        TypeError,
        "layer 1: expected a Layer, got str",
    ),
    "sizes": (
        lambda: LSTM([layer(2, 3), layer(4, 3)]),
        ValueError,
        "layer 1: expected 3 inputs, the hidden units of layer 0, got 4",
    ),
    "dtypes": (
        lambda: LSTM([layer(2, 3), layer(3, 3, "float64")]),
        ValueError,
        "layer 1: expected float32 as in layer 0, got float64; convert it with .astype()",
    ),
    "head": (
        lambda: LSTM([layer(2, 3)], head=Dense(np.ones((1, 4), "float32"))),
        ValueError,
        "head: expected a weight of shape (outputs, 3) for 3 hidden units, got (1, 4)",
    ),
    "head's dtype": (
        lambda: LSTM([layer(2, 3)], head=Dense(np.ones((1, 3)))),
        ValueError,
        "head: expected float32 as in the layers, got float64; convert it with .astype()",
    ),
    "head's kind": (
        lambda: LSTM([layer(2, 3)], head="linear"),
        TypeError,
        "head: expected a Dense, a number or a pair (weight, bias), got str",
    ),
    "NaN": (
        lambda: LSTM([layer(2, 1, w_hh=np.float32([[1], [np.nan], [1], [np.inf]]))]),
        ValueError,
        "w_hh: expected finite weights, got nan at [1, 0] (2 of 4 are NaN or infinite in float32)",
    ),
    "gates": (
        lambda: LSTM.from_gates({"forget": (1, 2, 3)}),
        ValueError,
        "params: expected the gates ...",
    ),
    "too large for float32": (
        lambda: make_model(1, (1,), dtype="float64").astype("float16"),
        TypeError,
        "w_ih: expected float32 or float64, got float16; convert it with .astype()",
    ),
    "overflow": (
        lambda: LSTM([layer(1, 1, "float64", b_ih=np.full(4, 1e300))]).astype("float32"),
        ValueError,
        "b_ih: expected finite weights, got inf at [0] (4 of 4 are NaN or infinite in float32)",
    ),
}


@pytest.mark.parametrize("wrong", WRONG_MODELS)
def test_models(wrong):
    make, kind, message = WRONG_MODELS[wrong]
    with pytest.raises(kind) as error:
        make()
    assert_says(error, message)


def test_a_model_cannot_be_changed(model):
    with pytest.raises(AttributeError, match="an LSTM is immutable: cannot set 'layers'"):
        model.layers = ()
    with pytest.raises(AttributeError, match="an LSTM is immutable: cannot delete 'head'"):
        del model.head
    with pytest.raises(ValueError, match="read-only"):
        model.layers[0].w_ih[0, 0] = 1


# --- the edges of what is right -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(1,), (6,), (5, 3)])
@pytest.mark.parametrize("inputs", [1, 4])
def test_nothing_to_do(inputs, sizes, dtype):
    """No sequences, no steps, no real steps: the state that came in goes out."""
    model = make_model(inputs, sizes, 2, dtype)
    for N, T, lengths in ((0, 0, None), (0, 7, None), (5, 0, None), (5, 7, [0] * 5), (0, 7, [])):
        x = zeros(N, T, inputs, dtype=dtype)
        rng = np.random.Generator(np.random.PCG64(6))
        state = [tuple(rng.standard_normal((1, N, k)).astype(dtype) for _ in "hc") for k in sizes]
        for start in (None, state):
            expected = start or [tuple(np.zeros((1, N, k), dtype) for _ in "hc") for k in sizes]
            for given in (x, x.astype(">f8")):
                output, end = model(given, start, lengths)
                assert output.shape == (N, T, sizes[-1])
                assert not output.any()
                for pair, same in zip(end, expected, strict=True):
                    for a, b in zip(pair, same, strict=True):
                        assert a.dtype == dtype
                        assert np.array_equal(a, b)
                scores = model.predict(given, lengths, start)
                head = expected[-1][0][0] @ model.head[0].weight.T + model.head[0].bias
                np.testing.assert_allclose(scores, head, rtol=1e-5, atol=1e-6)
                assert scores.shape == (N, 2)
                every = model.predict(given, lengths, start, return_sequences=True)
                assert every.shape == (N, T, 2)
                assert not every.any()
                trace = model.trace(given, lengths, start)
                assert {v.shape for v in trace.values.values()} == {(N, T, sizes[-1])}


@pytest.mark.parametrize("inputs", [1, 4])
def test_no_sequences_in_other_forms(inputs):
    model = make_model(inputs, (3,), 2)
    empty = zeros(0, inputs) if inputs > 1 else zeros(0)
    assert model.predict(Ragged(empty, [0])).shape == (0, 2)
    assert model.predict(Ragged(empty, [0, 0, 0])).shape == (2, 2)
    assert model.predict([]).shape == (0, 2)
    assert model.predict([zeros(0, inputs)] * 3).shape == (3, 2)
    assert model.predict(zeros(0, 9, inputs), lengths=[]).shape == (0, 2)


def test_shapes_of_one_sequence():
    one, several = make_model(1, (3,), 2), make_model(4, (3,), 2)
    assert one.predict(zeros(9)).shape == (1, 2)
    assert one.predict([0.0] * 9).shape == (1, 2)
    assert one.predict(zeros(5, 9)).shape == (5, 2)
    assert one.predict([[0.0] * 9] * 5).shape == (5, 2)
    assert several.predict(zeros(9, 4)).shape == (1, 2)
    assert several.predict(zeros(9, 4).tolist()).shape == (1, 2)
    assert several(zeros(9, 4))[0].shape == (1, 9, 3)
    assert several.trace(zeros(9, 4)).cell_state.shape == (1, 9, 3)
    assert one.predict(zeros(5, 9), return_sequences=True).shape == (5, 9, 2)
    assert LSTM(one.layers, one.head, return_sequences=True).predict(zeros(5, 9)).shape == (5, 9, 2)
