"""JSON models of RTNeural, Neural Amp Modeler and GuitarML: what is in them, or why not.

Their numbers are compared with PyTorch's in ``test_torch_golden.py``.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from model_files import fc, random, refused, tensors

from fastlstm import LSTM, Dense, Layer, from_torch, load, reference
from fastlstm.errors import ModelFormatError, UnsupportedModelError

GOLDEN = Path(__file__).parent / "golden" / "torch"
FILES = ("rtneural.json", "rtneural_torch.json", "amp.nam", "guitarml.json")


def content_of(name):
    return json.loads((GOLDEN / name).read_text())


def written(path, content):
    path.write_text(json.dumps(content))
    return path


def changed(content, path, value):
    """The content with one thing changed, or taken away by `KeyError`."""
    *path, last = path
    at = content
    for key in path:
        at = at[key]
    if value is KeyError:
        del at[last]
    else:
        at[last] = value
    return content


def test_rtneural():
    content = content_of("rtneural.json")
    model = load(GOLDEN / "rtneural.json")
    before, cell = model.layers
    hidden, head = model.head
    kernel, recurrent, bias = (np.array(k, "f4") for k in content["layers"][1]["weights"])
    assert cell == Layer(kernel.T, recurrent.T, bias)
    assert str(before.activation) == "tanh"
    assert str(hidden.activation) == "relu"
    assert str(head.activation) == "linear"
    assert model.return_sequences
    assert model.skip == 1


def test_dtypes():
    """All digits of the file, if asked for."""
    content = content_of("rtneural.json")
    for name in ("rtneural.json", "guitarml.json", "amp.nam"):
        assert load(GOLDEN / name).dtype == "float32"
        assert load(GOLDEN / name, dtype="float64").dtype == "float64"
    wide = load(GOLDEN / "rtneural.json", dtype="float64")
    assert wide.layers[1].w_ih[3, 1] == content["layers"][1]["weights"][0][1][3]
    for name in FILES:
        assert load(GOLDEN / name, dtype="float64").astype("float32") == load(GOLDEN / name)
    with pytest.raises(ValueError, match="expected dtype 'float32' or 'float64', got 'f2'"):
        load(GOLDEN / "amp.nam", dtype="f2")


def test_files_that_say_themselves_what_they_are_take_no_hints():
    for name in ("rtneural.json", "amp.nam", "guitarml.json"):
        with pytest.raises(TypeError, match=rf"{name} .*it does not take head"):
            load(GOLDEN / name, head="x")


def test_a_suffix_says_nothing(tmp_path):
    """What is in the file decides, under .json and .nam alike."""
    for name in FILES:
        for suffix in (".json", ".nam", ".NAM"):
            path = tmp_path / f"model{suffix}"
            path.write_text((GOLDEN / name).read_text())
            assert load(path) == load(GOLDEN / name)


def torch_json(path, named):
    return written(path, {name: value.tolist() for name, value in named.items()})


def test_chains_with_names_of_torch(tmp_path):
    """In the order of the file; hints decide otherwise."""
    path = tmp_path / "model.json"
    stack = tensors((2, 3), "a.") | tensors((3, 3, 3), "b.") | fc()
    model = load(torch_json(path, stack))
    assert model == from_torch(stack, ["a", "b"], "fc", return_sequences=True)
    assert load(path, ignore="a", head="fc", return_sequences=False) == from_torch(
        stack, "b", "fc", ignore="a"
    )
    assert load(path, prefix=["a", "b"], head="fc", activation="tanh") == from_torch(
        stack, ["a", "b"], "fc", activation="tanh", return_sequences=True
    )
    assert load(path, head="fc", activation="relu").head[0].activation.name == "relu"
    refused_with = {"head": "b"}, {"head": (random(2, 3), None)}
    for options in refused_with:
        with pytest.raises(ValueError, match="got 2: choose by prefix"):
            load(path, **options)
    assert load(torch_json(path, tensors())) == from_torch(tensors(), return_sequences=True)
    assert load(torch_json(path, tensors() | fc())) == from_torch(
        tensors() | fc(), head="fc", return_sequences=True
    )


@pytest.mark.parametrize(
    ("named", "message", "kind"),
    [
        (fc() | tensors((2, 3), "a.") | tensors((3, 3), "b."), "got 2: choose", ValueError),
        (tensors((2, 3), "a.") | fc() | tensors((3, 3), "b."), "got 2: choose", ValueError),
        (tensors(root="a.") | fc() | fc("x"), "holds more than an LSTM", ModelFormatError),
        (tensors(root="a.") | {"a.scale": random(3)}, "more than an LSTM", ModelFormatError),
        (
            tensors((2, 3), "a.") | tensors((3, 3), "b.") | {"a.scale": random(3)},
            "got 2: choose",
            ValueError,
        ),
        (tensors(root="a.") | {"n.weight": random(3)}, 'head="n"', ModelFormatError),
        (tensors((2, 3), "a.") | tensors((2, 3), "b."), "layer 1: expected 3", ModelFormatError),
    ],
)
def test_what_is_no_chain(tmp_path, named, message, kind):
    refused(torch_json(tmp_path / "model.json", named), message, kind)


LSTM_1, DENSE_2 = ("layers", 1), ("layers", 2)

# file, where, what, error
CHANGES = [
    ("rtneural.json", (*LSTM_1, "type"), "gru", r"layer 1 \(gru\) is a GRU", UnsupportedModelError),
    ("rtneural.json", (*LSTM_1, "type"), "conv1d", "is a convolution", UnsupportedModelError),
    ("rtneural.json", (*LSTM_1, "type"), "batchnorm", "is a 'batchnorm'", UnsupportedModelError),
    ("rtneural.json", (*LSTM_1, "type"), None, "layer 1: expected an object", ModelFormatError),
    ("rtneural.json", (*LSTM_1, "shape"), [None, None, 4], "declares 4 units", ModelFormatError),
    ("rtneural.json", (*LSTM_1, "shape"), [None], "ends in a number", ModelFormatError),
    ("rtneural.json", (*LSTM_1, "shape"), [1 << 60], "declares 115", ModelFormatError),
    ("rtneural.json", (*LSTM_1, "activation"), "relu", "'relu', not tanh", UnsupportedModelError),
    ("rtneural.json", (*LSTM_1, "go_backwards"), True, "go_backwards", UnsupportedModelError),
    ("rtneural.json", (*LSTM_1, "weights", 1), [[1.0]], r"carries \(1, 1\)", ModelFormatError),
    ("rtneural.json", (*LSTM_1, "weights"), [], "expected 3 arrays", ModelFormatError),
    ("rtneural.json", (*LSTM_1, "weights", 2, 3), "a", "lists of numbers", ModelFormatError),
    ("rtneural.json", (*LSTM_1, "weights", 2, 3), 1e39, "finite weights", ModelFormatError),
    ("rtneural.json", (*DENSE_2, "activation"), "prelu", "'prelu'", UnsupportedModelError),
    ("rtneural.json", (*DENSE_2, "activation"), 3, "activation 3", UnsupportedModelError),
    ("rtneural.json", ("in_shape",), [None, 3], "declares 3 units|carries", ModelFormatError),
    ("rtneural.json", ("in_shape",), None, "ends in a number", ModelFormatError),
    ("rtneural.json", ("layers",), {}, "expected a list of layers", ModelFormatError),
    ("rtneural.json", ("layers",), [], "at least one layer", ModelFormatError),
    ("rtneural.json", ("in_gain",), 3.0, "in_gain or out_gain are not 0 dB", UnsupportedModelError),
    ("rtneural.json", ("in_gain",), "3", "in_gain: expected a gain in dB", ModelFormatError),
    ("rtneural.json", ("out_gain",), 1e9, "out_gain: expected a gain in dB", ModelFormatError),
    ("rtneural.json", ("input_batch",), [1.0], "output_batch: expected lists", ModelFormatError),
    ("rtneural.json", ("in_skip",), 2, "in_skip: expected 0 or 1", UnsupportedModelError),
    ("rtneural.json", ("quantised",), 1, "quantised: the meaning", UnsupportedModelError),
    ("amp.nam", ("architecture",), "WaveNet", "'WaveNet', a network", UnsupportedModelError),
    ("amp.nam", ("architecture",), ["LSTM"], "this version computes", UnsupportedModelError),
    ("amp.nam", ("version",), "1.0.0", "version 0.x, got '1.0.0'", UnsupportedModelError),
    ("amp.nam", ("config", "gated"), True, r"\['gated'\] in config", UnsupportedModelError),
    ("amp.nam", ("gain",), 2, r"options \['gain'\]", UnsupportedModelError),
    ("amp.nam", ("config", "num_layers"), 3, "weights: expected", ModelFormatError),
    ("amp.nam", ("config", "num_layers"), 1, "weights: expected", ModelFormatError),
    ("amp.nam", ("config", "num_layers"), 1 << 19, "weights: expected", ModelFormatError),
    ("amp.nam", ("config", "num_layers"), 1 << 60, "num_layers of 1", ModelFormatError),
    ("amp.nam", ("config", "hidden_size"), -4, "hidden_size of 1", ModelFormatError),
    ("amp.nam", ("config", "hidden_size"), KeyError, "hidden_size of 1", ModelFormatError),
    ("amp.nam", ("config", "in_channels"), 1, "in_channels and", UnsupportedModelError),
    ("amp.nam", ("config", "out_channels"), 2, "weights: expected", ModelFormatError),
    ("amp.nam", ("config",), [], "expected a config", ModelFormatError),
    ("amp.nam", ("weights",), KeyError, "weights: expected lists", ModelFormatError),
    ("amp.nam", ("weights",), 3.0, "got an array of shape", ModelFormatError),
    ("amp.nam", ("weights",), [], "weights: expected", ModelFormatError),
    ("guitarml.json", ("model_data", "unit_type"), "GRU", "unit_type 'GRU'", UnsupportedModelError),
    ("guitarml.json", ("model_data", "model"), "GatedConv", "'GatedConv'", UnsupportedModelError),
    ("guitarml.json", ("model_data", "blocks"), 2, r"\['blocks'\]", UnsupportedModelError),
    ("guitarml.json", ("model_data", "hidden_size"), 5, "hidden_size is 5", ModelFormatError),
    ("guitarml.json", ("model_data", "num_layers"), 2, "num_layers is 2", ModelFormatError),
    ("guitarml.json", ("model_data", "skip"), 2, "skip: expected", ModelFormatError),
    ("guitarml.json", ("model_data", "skip"), "1", "expected a skip", ModelFormatError),
    ("guitarml.json", ("model_data",), 1, "to be objects", ModelFormatError),
    ("guitarml.json", ("state_dict",), KeyError, "to be objects", ModelFormatError),
    ("guitarml.json", ("state_dict", "lin.bias"), [1.0, 2.0], "bias", ModelFormatError),
    ("guitarml.json", ("state_dict", "x.weight"), [1.0], "more than", ModelFormatError),
    ("guitarml.json", ("state_dict", "lin.weight"), KeyError, "lin.weight", ModelFormatError),
    ("rtneural_torch.json", ("dense.weight",), [[1.0]], r"got \(1, 1\)", ModelFormatError),
    ("rtneural_torch.json", ("dense.weight",), KeyError, "no tensor dense", ModelFormatError),
    ("rtneural_torch.json", ("lstm.weight_hh_l0",), None, "lists of num", ModelFormatError),
    ("rtneural_torch.json", ("lstm.weight_hh_l0",), KeyError, "weight_hh_l0", ModelFormatError),
]


@pytest.mark.parametrize(("name", "where", "value", "message", "kind"), CHANGES)
def test_other_files_are_refused(tmp_path, name, where, value, message, kind):
    path = written(tmp_path / "model.json", changed(content_of(name), where, value))
    refused(path, message, kind)


STEPS = 150  # of a test; AIDA-X' own have 2048, which takes the NumPy loop a second


def aida(skip=0, in_gain=None, out_gain=None, inputs=1, **changes):
    """A file of AIDA-X, one unit and one input, and what its plugin makes of a signal.

    The four gates of the unit have unlike weights. AIDA-X takes the gain of the input first, and
    that of the output of the sum.
    """
    w, u, b = [0.5, -0.75, 1.5, 0.25], [0.3, 0.6, -0.9, 1.1], [0.1, 0.2, -0.3, 0.4]  # i f c o
    weight, bias = 0.8, -0.05
    kernel = [w] + [[9.0] * 4] * (inputs - 1)  # of parameters, which are 0 in the test
    shapes = [None, None, 1]
    layers = [
        {"type": "lstm", "activation": "", "shape": shapes, "weights": [kernel, [u], b]},
        {"type": "dense", "activation": "", "shape": shapes, "weights": [[[weight]], [bias]]},
    ]

    def played(signal, gain, volume):
        h = c = 0.0
        for x in (gain * x for x in signal):
            i, f, g, o = (a * x + r * h + d for a, r, d in zip(w, u, b, strict=True))
            i, f, o = (1 / (1 + math.exp(-z)) for z in (i, f, o))
            c = f * c + i * math.tanh(g)
            h = o * math.tanh(c)
            yield volume * (weight * h + bias + skip * x)

    signal = np.random.default_rng(6).uniform(-1, 1, STEPS).astype("f4").tolist()
    content = {"in_shape": [None, None, inputs], "in_skip": skip, "layers": layers}
    content |= {} if in_gain is None else {"in_gain": in_gain, "out_gain": out_gain}
    content |= {"input_batch": signal, "output_batch": list(played(signal, 1, 1))}
    content |= {"metadata": {"name": "amp", "samplerate": "48000", "esr": 0.1}}
    factors = [10 ** ((k or 0) / 20) for k in (in_gain, out_gain)]
    return content | changes, np.array(signal, "f4"), list(played(signal, *factors))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"skip": 1},
        {"skip": 1, "in_gain": 0, "out_gain": 0.0},
        {"in_gain": 6, "out_gain": -12.5},
        {"in_gain": 6, "out_gain": -12.5, "inputs": 3},
        {"inputs": 2, "skip": 1},
    ],
)
def test_aida_x(tmp_path, options):
    content, signal, played = aida(**options)
    model = load(written(tmp_path / "amp.json", content))
    x = np.zeros((1, len(signal), model.input_size), "f4")
    x[0, :, 0] = signal
    np.testing.assert_allclose(reference.predict(model.network, x)[0, :, 0], played, atol=2e-6)


def test_a_test_that_fails(tmp_path):
    """Gates in another order, a bias left out, the skip forgotten, one number changed."""

    def refused_as_apart(content):
        refused(
            written(tmp_path / "amp.json", content), "other outputs for input_batch than output"
        )

    content, *_ = aida()
    kernel, _, biases = content["layers"][0]["weights"]
    for values in (kernel[0], biases):
        values[1], values[2] = values[2], values[1]
        refused_as_apart(content)
        values[1], values[2] = values[2], values[1]
    content["layers"][1]["weights"].pop()
    refused_as_apart(content)
    refused_as_apart(aida(skip=1)[0] | {"in_skip": 0})
    content, *_ = aida()
    content["output_batch"][STEPS - 9] += 1e-4
    refused_as_apart(content)
    content["output_batch"].pop()
    refused(
        written(tmp_path / "amp.json", content),
        rf"of one length, got \({STEPS},\) and \({STEPS - 1},\)",
    )


def test_activations_as_layers(tmp_path):
    content = content_of("rtneural.json")
    activation = {"type": "activation", "activation": "sigmoid", "shape": [None, None, 1]}
    content["layers"].append(activation)
    model = load(written(tmp_path / "model.json", content))
    assert str(model.head[-1].activation) == "sigmoid"
    content["layers"].append(activation)
    refused(
        written(tmp_path / "model.json", content),
        "expected a dense layer without activation before it",
        UnsupportedModelError,
    )
    content["layers"][-2:] = []
    content["layers"].insert(2, activation | {"shape": [None, None, 5]})
    refused(tmp_path / "model.json", "without activation", UnsupportedModelError)
    content["layers"][2]["shape"] = [3]
    refused(written(tmp_path / "model.json", content), "expected 5 outputs, got 3")


def test_without_biases(tmp_path):
    content = content_of("rtneural.json")
    for layer in content["layers"]:
        layer["weights"].pop()
    model = load(written(tmp_path / "model.json", content))
    assert model.layers[1].b_ih is None
    assert model.head[0].bias is None


def test_several_outputs_of_an_amp(tmp_path):
    rng = np.random.default_rng(3)
    H, inputs, outputs = 3, 2, 4
    parts = [rng.normal(size=shape).astype("f4") for shape in [(12, 5), (12,), (H,), (H,)]]
    head = [rng.normal(size=shape).astype("f4") for shape in [(outputs, H), (outputs,)]]
    sizes = {"num_layers": 1, "input_size": inputs, "hidden_size": H}
    content = {
        "version": "0.7.0",
        "architecture": "LSTM",
        "config": sizes | {"in_channels": inputs, "out_channels": outputs},
        "weights": np.concatenate([k.ravel() for k in parts + head]).tolist(),
    }
    w, b, h_0, c_0 = parts
    layer = Layer(w[:, :inputs], w[:, inputs:], b, h_0=h_0, c_0=c_0)
    expected = LSTM([layer], Dense(*head), return_sequences=True)
    assert load(written(tmp_path / "a.nam", content)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "{}", '{"a": 1}', '{"layers": []}', "[" * 100_000, '{"in_shape": NaN}'],
)
def test_what_is_no_model(tmp_path, text):
    for name in ("model.json", "model.nam"):
        (tmp_path / name).write_text(text)
        refused(tmp_path / name, "damaged|not a network|expected")


@pytest.mark.parametrize("name", FILES)
def test_no_file_that_is_cut_short_loads(tmp_path, name):
    whole = (GOLDEN / name).read_bytes()
    path = tmp_path / name
    for length in range(0, len(whole) - 1, len(whole) // 40):
        path.write_bytes(whole[:length])
        refused(path, "damaged")


def test_an_encoder_and_a_decoder_are_no_chain_by_their_order(tmp_path):
    """As in every other file with torch's names, the caller has to say it."""
    named = tensors((2, 3), "encoder.") | tensors((3, 3), "decoder.") | fc()
    path = tmp_path / "model.json"
    path.write_text(json.dumps({name: value.tolist() for name, value in named.items()}))
    with pytest.raises(ValueError, match=r'Most decoders .*say so with chain="steps"$') as caught:
        load(path)
    assert caught.type is ValueError
    assert load(path, chain="steps").num_layers == 2
