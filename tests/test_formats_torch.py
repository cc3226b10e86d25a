"""Networks from tensors with torch's names: nothing dropped, nothing misread."""

import sys

import numpy as np
import pytest
from helpers import predictions
from model_files import (
    IN_TORCH,
    NAN,
    fc,
    layer_of,
    random,
    tensors,
)

from fastlstm import LSTM, Bidirectional, Dense, Layer, from_torch, load
from fastlstm.errors import UnsupportedModelError


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("biases", [True, False])
def test_mapping(dtype, biases):
    named = tensors((2, 5, 3, 1), dtype=dtype, biases=biases)
    model = from_torch(named)
    assert model.layers == tuple(layer_of(named, k) for k in range(3))
    assert model.dtype == dtype
    assert model.head == ()
    assert model.return_sequences is False
    assert from_torch(named, return_sequences=True).return_sequences is True


@pytest.mark.parametrize("root", ["", "lstm.", "encoder.rnn."])
def test_head_by_name(root):
    named = tensors(root=root) | fc("out.fc")
    head = Dense(named["out.fc.weight"], named["out.fc.bias"])
    prefix = root.removesuffix(".")
    models = [
        from_torch(named, head="out.fc"),
        from_torch(named, prefix=prefix, head="out.fc"),
        from_torch(named, prefix=root, head="out.fc."),
    ]
    for model in models:
        assert model.layers[1] == layer_of(named, 1, root)
        assert model.head == (head,)
    del named["out.fc.bias"]
    assert from_torch(named, head="out.fc").head == (Dense(head.weight),)
    if root:
        assert from_torch(named, prefix=prefix).head == ()


@pytest.mark.parametrize(
    "head", [Dense(random(2, 3), random(2)), (random(2, 3), random(2)), [random(2, 3), random(2)]]
)
def test_head_by_value(head):
    assert from_torch(tensors(), head=head).head == (Dense(random(2, 3), random(2)),)


def test_head_as_a_number():
    named = tensors((1, 1))
    assert from_torch(named, head=4).head == (Dense(np.array([[4]], "f4")),)


def test_one_of_two_by_prefix():
    named = tensors(root="encoder.") | tensors((4, 7), root="decoder.") | fc(hidden=7)
    model = from_torch(named, "decoder")
    assert model.layers == (layer_of(named, 0, "decoder."),)
    assert {name.partition(".")[0] for name in model.unused} == {"encoder", "fc"}
    with pytest.raises(ValueError, match=r"expected one LSTM, got 2: .*\['encoder', 'decoder'\]"):
        from_torch(named, head="fc")


def test_everything_that_a_layer_has():
    """By name, in both directions; a swapped gate or direction would not be equal."""
    named = {}
    for end in ("", "_reverse"):
        shapes = {"weight_ih": (12, 2), "weight_hh": (12, 2), "bias_hh": (12,), "weight_hr": (2, 3)}
        shapes |= {f"peephole_{gate}": (3,) for gate in "ifo"}
        for seed, (kind, shape) in enumerate(shapes.items()):
            named[f"{kind}_l0{end}"] = random(*shape, seed=seed + 10 * len(end))

    def cell(end, direction):
        peepholes = np.stack([named[f"peephole_{gate}_l0{end}"] for gate in "ifo"])
        return Layer(
            *(named.get(f"{kind}_l0{end}") for kind in IN_TORCH),
            w_hr=named[f"weight_hr_l0{end}"],
            peepholes=peepholes,
            activations=(("hard_sigmoid", 1 / 6, 0.5), "softsign", "linear"),
            direction=direction,
        )

    model = from_torch(named, activations=("hardsigmoid", "softsign", None))
    assert model.layers == (Bidirectional(cell("", "forward"), cell("_reverse", "reverse")),)
    assert model.layers[0].forward != cell("_reverse", "forward")


def test_checkpoints():
    """What stands beside a state_dict is left alone; what computes is not."""
    model = from_torch(tensors() | fc(), head="fc")
    parts = tensors() | fc()
    beside = {"epoch": 3, "optimizer": {"state": {0: {"step": random(4)}}, "param_groups": [{}]}}
    for nested in (
        {"model": parts},
        {"state_dict": {f"module.{name}": value for name, value in parts.items()}},
        {"checkpoint": {"net": parts, "lr": 0.1}},
        {"model": parts, "loss": random(1)[0], "rng": np.zeros(8, "u1")},
        {"lstm": tensors(), "fc": {"weight": parts["fc.weight"], "bias": parts["fc.bias"]}},
    ):
        assert from_torch(nested | beside, head="fc") == model
    two = {"model": parts, "ema": parts | {"fc.bias": parts["fc.bias"] + 1}}
    assert from_torch(two, ignore="ema", head="fc") == model
    assert from_torch(two, prefix="model", ignore="ema", head="fc") == model
    assert from_torch(two, ignore=["model"], head="fc") != model
    callbacks = {"stop": {"best": random(1)}}
    lightning = {"state_dict": parts, "pytorch-lightning_version": "2", "callbacks": callbacks}
    assert from_torch(lightning, head="fc") == model
    itself = {"model": parts}
    itself["again"] = itself
    assert from_torch(itself, head="fc") == model


def test_several_that_follow_each_other():
    named = tensors((2, 3), "a.") | tensors((3, 4), "b.") | fc(hidden=4)
    model = from_torch(named, prefix=["a", "b"], head="fc")
    assert model.layers == (layer_of(named, 0, "a."), layer_of(named, 0, "b."))


def test_hints_of_a_head():
    named = tensors() | fc("a", 3, 4) | fc("b", 4, 2)
    model = from_torch(
        named, head=["a", "b"], activation=[("leaky_relu", 0.2), "softmax"], read="max"
    )
    assert [str(dense.activation) for dense in model.head] == ["leaky_relu(0.2)", "softmax"]
    assert model.read == "max"
    one = tensors((2, 1))
    model = from_torch(one, head=2.0, activation="sigmoid", skip=1)
    assert model.head == (Dense(np.array([[2]], "f4"), activation="sigmoid"),)
    assert model.skip == 1


def test_half_precision_is_widened():
    named = tensors(dtype="float16")
    model = from_torch(named)
    assert model.dtype == np.float32
    np.testing.assert_array_equal(model.layers[0].w_hh, named["weight_hh_l0"].astype("f4"))


def without(*names):
    return {name: value for name, value in (tensors() | fc()).items() if name not in names}


def swapped(name, value):
    return tensors() | {name: value}


# what, arguments, error, message
REFUSED = {
    "half a direction": (
        swapped("bias_ih_l1_reverse", random(12)),
        {},
        ValueError,
        "layer 1: there is no tensor weight_ih_l1_reverse",
    ),
    "only backward": (
        {f"{name}_reverse": value for name, value in tensors((2, 3)).items()},
        {},
        ValueError,
        "expected the tensors of an LSTM",
    ),
    "directions of two sizes": (
        tensors((2, 3)) | {f"{name}_reverse": value for name, value in tensors((2, 4)).items()},
        {},
        ValueError,
        "layer 0: expected both directions to have the same",
    ),
    "projection": (
        swapped("weight_hr_l1", random(2, 3)),
        {},
        ValueError,
        r"layer 1 .*w_hr: expected shape \(3, H\) .* got \(2, 3\)",
    ),
    "a single peephole": (
        swapped("peephole_o_l0", random(3)),
        {},
        ValueError,
        "layer 0: there is no tensor peephole_i_l0",
    ),
    "activations": (
        tensors(),
        {"activations": ("cubic", "tanh", "tanh")},
        UnsupportedModelError,
        "activation 'cubic': this version computes",
    ),
    "two activations": (tensors(), {"activations": ("tanh", "tanh")}, ValueError, "three activ"),
    "weight norm": (
        swapped("weight_hh_l0_g", random(12, 1)),
        {},
        UnsupportedModelError,
        "weight_hh_l0_g: weight_norm or another parametrization",
    ),
    "parametrized": (
        {"lstm.parametrizations.weight_ih_l0.original0": random(12, 1)},
        {},
        UnsupportedModelError,
        "original0: weight_norm or another parametrization",
    ),
    "layers and a cell": (
        swapped("weight_ih", random(12, 3)),
        {},
        ValueError,
        "weight_ih: there is weight_ih_l0 too",
    ),
    "read": (tensors(), {"read": "first"}, ValueError, "read: expected one of .* got 'first'"),
    "activation without a head": (
        tensors(),
        {"activation": "tanh"},
        ValueError,
        'activation="tanh": there is no head',
    ),
    "two activations of a head": (
        tensors(),
        {"head": Dense(random(1, 3), activation="relu"), "activation": "tanh"},
        ValueError,
        'activation="tanh": the head has relu',
    ),
    "several heads, one activation": (
        tensors() | fc() | fc("out", 2, 1),
        {"head": ["fc", "out"], "activation": "sigmoid"},
        ValueError,
        r'each of the 2 layers, such as activation=\["relu", None\], got activation="sigmoid"$',
    ),
    "several heads, no activations": (
        tensors() | fc() | fc("out", 2, 1),
        {"head": ["fc", "out"]},
        ValueError,
        r'each of the 2 layers, such as activation=\["relu", None\], got none$',
    ),
    "heads in the wrong order": (
        tensors() | fc() | fc("out", 2, 1),
        {"head": ["out", "fc"], "activation": [None, None]},
        ValueError,
        r"head: expected a weight of shape \(outputs, 3\)",
    ),
    "embedding left over": (
        tensors(root="lstm.") | {"emb.weight": random(9, 2)},
        {},
        ValueError,
        r'emb \(a table of 9 x 2: .*\)\. If that is the embedding: .*\(model, embedding="emb"\)\.',
    ),
    "no such embedding": (
        tensors() | {"emb.weight": random(9, 2)},
        {"embedding": "table"},
        ValueError,
        r"embedding=\"table\": expected a tensor table.weight alone, .*candidates: \['emb'\]",
    ),
    "embedding of other size": (
        tensors() | {"emb.weight": random(9, 4)},
        {"embedding": "emb"},
        ValueError,
        "layer 1: expected 4 inputs",
    ),
    "an embedding with a bias": (
        tensors() | fc("emb", 2, 9),
        {"embedding": "emb"},
        ValueError,
        "expected a tensor emb.weight alone",
    ),
    "several ends": (
        tensors(root="lstm.") | fc("a.fc") | fc("b.fc"),
        {"head": "fc"},
        ValueError,
        r"head=\"fc\": there are several; candidates: \['a.fc.weight', 'b.fc.weight'\]",
    ),
    "several LSTMs in a checkpoint": (
        {"model": tensors(), "ema": tensors(), "epoch": 3},
        {},
        ValueError,
        r"expected one LSTM, got 2: .*candidates: \['model', 'ema'\]",
    ),
    "another model in a checkpoint": (
        {"encoder": {"conv.weight": random(3, 3)}, "decoder": tensors()},
        {},
        ValueError,
        r"more than an LSTM: encoder.conv \(a table of 3 x 3",
    ),
    "scaling by a number in the model": (
        {"model": tensors() | {"scale": random(1)[0]}},
        {},
        ValueError,
        r"more than an LSTM: model \(weights of unknown meaning, scale \(\)\)",
    ),
    "scaling of one input beside the model": (
        {"model": tensors((1, 3)), "mean": random(1)},
        {},
        ValueError,
        r"more than an LSTM: mean \(weights of unknown meaning, mean ",
    ),
    "scaling beside the model": (
        {"model": tensors(), "mean": random(2)},
        {},
        ValueError,
        r"more than an LSTM: mean \(weights of unknown meaning, mean ",
    ),
    "stack that does not fit": (
        tensors(root="a.") | tensors((2, 3), root="b."),
        {"prefix": ["a", "b"]},
        ValueError,
        "layer 2: expected 3 inputs",
    ),
    "gru": (
        {"weight_ih_l0": random(9, 2), "weight_hh_l0": random(9, 3)},
        {},
        UnsupportedModelError,
        r"layer 0 is a GRU, not an LSTM: weight_hh_l0 has shape \(9, 3\)",
    ),
    "rnn": (
        {"weight_ih_l0": random(3, 2), "weight_hh_l0": random(3, 3)},
        {},
        UnsupportedModelError,
        "layer 0 is a plain RNN",
    ),
    "integers": (
        swapped("bias_hh_l1", np.zeros(12, np.int8)),
        {},
        UnsupportedModelError,
        "bias_hh_l1: expected .* got int8",
    ),
    "unknown weight": (
        swapped("weight_xx_l0", random(3)),
        {},
        ValueError,
        "weight_xx_l0: not a weight of an LSTM",
    ),
    "odd layer number": (
        swapped("weight_ih_l01", random(3)),
        {},
        ValueError,
        "weight_ih_l01: not a weight of an LSTM",
    ),
    "no hidden weight": (
        without("weight_hh_l1"),
        {"head": "fc"},
        ValueError,
        "layer 1: there is no tensor weight_hh_l1",
    ),
    "layer left out": (
        without("weight_ih_l1", "weight_hh_l1", "bias_ih_l1", "bias_hh_l1")
        | {"weight_ih_l2": random(12, 3)},
        {"head": "fc"},
        ValueError,
        "layer 1: there is no tensor weight_ih_l1",
    ),
    "quantised": (
        {"lstm._all_weight_values.0.param": random(3)} | fc(),
        {},
        UnsupportedModelError,
        r"values\.0\.param: a quantised LSTM; save the model as it was before quantisation",
    ),
    "a prefix that is no name": (tensors(), {"prefix": 3}, TypeError, "prefix: expected a name or"),
    "ignored by number": (tensors(), {"ignore": [3]}, TypeError, "ignore: expected a name or a li"),
    "an embedding that is no name": (
        tensors(),
        {"embedding": 3},
        TypeError,
        "embedding: expected a name, got 3",
    ),
    "no LSTM": (fc(), {}, ValueError, r"weight_ih_l0 first, got \['fc.weight', 'fc.bias'\]"),
    "nothing": ({}, {}, ValueError, r"expected the tensors of an LSTM, .*got \[\]"),
    "head not named": (
        tensors(root="lstm.") | fc(),
        {},
        ValueError,
        r'more than an LSTM: fc \(a dense layer, 3 -> 2\)\. .*from_torch\(model, head="fc"\)\.',
    ),
    "more than the head": (
        tensors(root="lstm.") | fc() | fc("out"),
        {"head": "out"},
        ValueError,
        r"LSTM and the head 'out': fc \(a dense layer, 3 -> 2\)\. Only weights of another branch",
    ),
    "more than the head, plain": (
        tensors() | fc() | {"mean": random(2)},
        {"head": "fc"},
        ValueError,
        r"LSTM and the head 'fc': mean ",
    ),
    "more than a head by value": (
        tensors(root="lstm.") | fc(),
        {"head": (random(2, 3), None)},
        ValueError,
        r"more than an LSTM and a head: fc \(",
    ),
    "no such head": (
        tensors() | fc() | fc("out"),
        {"head": "nothing"},
        ValueError,
        r"no tensor nothing.weight; candidates: \['fc', 'out'\]",
    ),
    "head with more": (
        tensors() | fc() | {"fc.scale": random(1)},
        {"head": "fc"},
        ValueError,
        r"only a weight and a bias, but also got \['fc.scale'\]",
    ),
    "head of other size": (
        tensors() | fc(hidden=4),
        {"head": "fc"},
        ValueError,
        r"head: expected a weight of shape \(outputs, 3\).* got \(2, 4\)",
    ),
    "head of other dtype": (
        tensors() | fc(dtype="float64"),
        {"head": "fc"},
        ValueError,
        "head: expected float32 as in the layers, got float64",
    ),
    "no such prefix": (
        tensors(root="lstm."),
        {"prefix": "rnn"},
        ValueError,
        r"there is no rnn.weight_ih_l0; candidates: \['lstm'\]",
    ),
    "shape": (
        swapped("bias_ih_l1", random(9)),
        {},
        ValueError,
        r"layer 1 \(weight_ih_l1 ...\): b_ih: expected shape \(12,\).*got \(9,\)",
    ),
    "sizes of layers": (swapped("weight_ih_l1", random(12, 4)), {}, ValueError, "4"),
    "nan": (swapped("bias_hh_l1", NAN), {}, ValueError, r"layer 1 .*b_hh: expected finite.*\[5\]"),
    "dtypes": (swapped("bias_hh_l1", random(12, dtype="f8")), {}, ValueError, "one dtype"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what):
    source, options, error, message = REFUSED[what]
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        from_torch(source, **options)
    assert caught.type is error


@pytest.mark.parametrize("source", [None, [1], np.zeros(3)])
def test_not_a_model(source):
    with pytest.raises(TypeError, match="expected a torch module or a mapping of names"):
        from_torch(source)


def test_names_are_text():
    with pytest.raises(TypeError, match="expected names as keys, got 1"):
        from_torch({1: np.zeros(3)})


def test_masks_are_not_dropped():
    masked = {name: np.ma.array(a, mask=a > 1) for name, a in tensors().items()}
    with pytest.raises(TypeError, match="the mask would be lost"):
        from_torch(masked)
    with pytest.raises(TypeError, match="the mask would be lost"):
        from_torch(tensors(), head=(np.ma.array(random(2, 3)), None))


def test_tensors_without_numbers():
    torch = pytest.importorskip("torch")
    for odd in (
        torch.nn.LSTM(2, 3, device="meta").state_dict(),
        torch.nn.LSTM(2, 3).state_dict() | {"bias_hh_l0": torch.eye(12)[0].to_sparse()},
    ):
        with pytest.raises(UnsupportedModelError, match="expected a dense tensor of floats"):
            from_torch(odd)


def test_half_precision_tensors():
    torch = pytest.importorskip("torch")
    for dtype in (torch.bfloat16, torch.float16):
        module = torch.nn.LSTM(2, 3, dtype=dtype)
        model = from_torch(module)
        assert model.dtype == np.float32
        expected = module.weight_hh_l0.detach().float().numpy()
        np.testing.assert_array_equal(model.layers[0].w_hh, expected)


def test_arrays_need_no_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it would fail
    assert from_torch(tensors() | fc(), head="fc").head


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_activation_between_lstm_and_head(tmp_path, dtype):
    named = tensors((2, 3), dtype=dtype) | fc(dtype=dtype)
    model = from_torch(named, head="fc", between="relu")
    x = random(5, 4, 2, dtype=dtype)
    h = np.maximum(from_torch(named, ignore="fc").predict(x), 0)
    expected = h @ named["fc.weight"].T + named["fc.bias"]
    for _, ours in predictions(model, x):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=8 * np.finfo(dtype).eps)
    assert load(model.save(tmp_path / "model.npz")) == model
    plain = from_torch(named, head="fc")
    assert abs(plain.predict(x) - expected).max() > 0.01
    with pytest.raises(ValueError, match='between="relu": there is no head'):
        from_torch(tensors(), between="relu")


@pytest.mark.parametrize("value", ["no", 1, None])
def test_return_sequences_is_true_or_false(value):
    with pytest.raises(TypeError, match="expected return_sequences to be True or False, got"):
        from_torch(tensors(), return_sequences=value)
    with pytest.raises(TypeError, match="expected return_sequences to be True or False, got"):
        LSTM([layer_of(tensors())], return_sequences=value)
