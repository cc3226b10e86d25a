"""What stands around an LSTM in Keras models: Keras' own numbers; planted errors are noticed."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from keras_cases import error

from fastlstm import Layer, ModelFormatError, UnsupportedModelError, load, reference
from fastlstm.network.convolution import Conv
from fastlstm.network.dense import Dense
from fastlstm.network.joints import From, Join
from fastlstm.network.network import Network
from fastlstm.network.normalisation import Affine, LayerNorm
from fastlstm.network.pointwise import PReLU, StepSoftmax
from fastlstm.network.pooling import Pool
from fastlstm.network.reading import Read
from fastlstm.network.steps import Flatten, Pad, Repeat, Slice, Unflatten, Upsample
from fastlstm.network.values import input_size_of

pytest.importorskip("h5py")

with zipfile.ZipFile(Path(__file__).parent / "golden" / "keras" / "parts.zip") as _archive:
    FILES = {name: _archive.read(name) for name in _archive.namelist()}
EXPECTED = np.load(io.BytesIO(FILES.pop("expected.npz")))


def loaded(name, folder):
    path = folder / name
    path.write_bytes(FILES[name])
    return load(path)


def expected(name):
    base = name.split(".")[0]
    return EXPECTED[f"{base}:x"], EXPECTED[f"{base}:y"]


@pytest.mark.parametrize("name", sorted(FILES))
def test_golden(name, tmp_path):
    x, y = expected(name)
    model = loaded(name, tmp_path)
    assert model.dtype == y.dtype
    assert error(reference.predict(model.network, x), y) < 1


@pytest.mark.parametrize("name", sorted({name.split(".")[0] for name in FILES}))
def test_files_of_one_model_are_one_model(name, tmp_path):
    models = [loaded(file, tmp_path) for file in FILES if file.startswith(f"{name}.")]
    assert all(model.network == models[0].network for model in models)


def test_a_saved_network_is_the_same(tmp_path):
    for name in ("k3_conv.keras", "k3_attention.keras", "k3_joints.keras", "k3_words.keras"):
        model = loaded(name, tmp_path)
        assert load(model.save(tmp_path / "own.npz")).network == model.network


def changed(network, kind, change, which=0):
    """The network with one part of a kind changed."""
    parts = list(network.parts)
    places = [i for i, part in enumerate(parts) if isinstance(part, kind)]
    parts[places[which]] = change(parts[places[which]])
    return Network(parts, network.return_sequences)


def scaled(k):
    return lambda part: replace(part, scale=part.scale * k)


@pytest.mark.parametrize(
    ("name", "kind", "change"),
    [
        ("conv", Conv, lambda k: replace(k, padding=(0, 4))),
        ("conv", Conv, lambda k: replace(k, dilation=1)),
        ("conv", Conv, lambda k: replace(k, weight=k.weight[:, ::-1])),
        ("conv", Conv, lambda k: replace(k, bias=None)),
        ("conv", Conv, lambda k: replace(k, activation="linear")),
        ("conv", (Affine, 0), lambda k: replace(k, center=k.center * 0)),
        ("conv", (Affine, 1), lambda k: replace(k, center=k.shift, shift=k.center)),
        ("conv", (Affine, 1), scaled(1.01)),
        ("conv", (Conv, 1), lambda k: replace(k, padding=(2, 1))),
        ("conv", Pad, lambda k: Pad(0, 2)),
        ("conv", Pool, lambda k: replace(k, how="mean")),
        ("conv", (Pool, 1), lambda k: replace(k, how="max")),
        ("autoencoder", LayerNorm, lambda k: replace(k, epsilon=0.001)),
        ("autoencoder", LayerNorm, lambda k: replace(k, centered=False)),
        ("autoencoder", PReLU, lambda k: replace(k, slope=k.slope * 0)),
        ("autoencoder", Repeat, lambda k: Repeat(5)),
        ("autoencoder", Slice, lambda k: Slice(2, -1)),
        ("autoencoder", Upsample, lambda k: Upsample(1)),
        ("autoencoder", Read, lambda k: Read("max")),
        ("attention", StepSoftmax, lambda k: Dense(np.eye(1))),
        ("attention", (StepSoftmax, 2), lambda k: Dense(np.eye(1))),
        ("attention", (Join, -1), lambda k: replace(k, values=k.values[::-1])),
        ("joints", (Affine, 0), scaled(-1)),
        ("joints", (Join, 0), lambda k: replace(k, how="multiply")),
        ("words", Slice, lambda k: Slice(1, None, 2)),
    ],
)
def test_planted_errors_are_noticed(name, kind, change, tmp_path):
    kind, which = kind if isinstance(kind, tuple) else (kind, 0)
    model = loaded(f"k3_{name}.keras", tmp_path)
    x, y = expected(f"k3_{name}")
    wrong = reference.predict(changed(model.network, kind, change, which), x)
    assert wrong.shape != y.shape or error(wrong, y) > 1000


def test_what_a_file_becomes(tmp_path):
    def kinds(name):
        parts = loaded(name, tmp_path).network.parts
        return " ".join(type(k).__name__ for k in parts)

    assert kinds("k3_autoencoder.keras") == (
        "Affine Layer LayerNorm Layer Read Repeat Layer PReLU Slice Upsample Dense Read"
    )
    assert kinds("k2_conv.h5") == (
        "Affine Conv Affine Conv Activate Pad Pool Layer Conv Dense Pool Flatten Dense Affine "
        "Activate"
    ).replace("Conv Activate Pad", "Conv Pad")
    words = loaded("k3_words.keras", tmp_path)
    assert words.network.embedding.padding_id is None  # the convolution loses the mask


def test_the_engine_gives_the_same(tmp_path):
    for name in ("k3_conv.keras", "k3_autoencoder.keras"):
        model, (x, y) = loaded(name, tmp_path), expected(name)
        assert error(model.predict(x), y) < 1
    x, _ = expected("k3_conv.keras")
    with pytest.raises(ValueError, match="takes exactly 2 steps, and gets 1"):
        loaded("k3_conv.keras", tmp_path).predict(x[:, :4])


def test_taps_of_theano_are_in_the_other_order(tmp_path):
    h5py = pytest.importorskip("h5py")
    plain = loaded("k1_conv.h5", tmp_path).network.parts[0]
    path = tmp_path / "theano.h5"
    path.write_bytes(FILES["k1_conv.h5"])
    with h5py.File(path, "r+") as file:
        kernel = file["model_weights/convolution1d_1/convolution1d_1_W"]
        kernel[...] = kernel[...][::-1]
        file["model_weights"].attrs["backend"] = b"theano"
    assert load(path).network.parts[0] == plain


def rewritten(name, change, folder):
    """The file with another config."""
    path = folder / f"changed_{name}"
    path.write_bytes(FILES[name])
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    config = json.loads(members["config.json"])
    change({entry["class_name"]: entry for entry in config["config"]["layers"]})
    members["config.json"] = json.dumps(config)
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return path


@pytest.mark.parametrize(
    ("name", "kind", "options", "message"),
    [
        ("conv", "Conv1D", {"data_format": "channels_first"}, "Conv1D.*data_format="),
        ("conv", "Conv1D", {"padding": "full"}, "Conv1D.*expected padding of"),
        ("conv", "Conv1D", {"kernel_size": [2]}, "2 taps and 4 filters, but a kernel of"),
        ("conv", "Conv1D", {"strides": [0]}, "expected strides >= 1, got 0"),
        ("conv", "Conv1D", {"groups": 3}, "groups"),
        ("conv", "BatchNormalization", {"axis": 2}, "axis=2 is not computed"),
        ("conv", "BatchNormalization", {"center": False}, "a variance of -.* is negative|weights"),
        ("conv", "Normalization", {"axis": [1]}, r"axis=\[1\] of .* is not computed; only that of"),
        ("conv", "Flatten", {"data_format": "channels_first"}, "Flatten.*data_format="),
        ("conv", "InputLayer", {"batch_shape": [None, None, 3]}, None),
        ("conv", "InputLayer", {"batch_shape": [None, 4, 8, 3]}, r"inputs of shape \(N, 4, 8, 3\)"),
        ("conv", "InputLayer", {"batch_shape": [None, 9, 3]}, "9|kernel of"),
        ("autoencoder", "LayerNormalization", {"rms_scaling": True}, "rms_scaling=True"),
        ("autoencoder", "LayerNormalization", {"axis": [1, 2]}, r"axis=\[1, 2\]"),
        ("autoencoder", "LayerNormalization", {"epsilon": -1.0}, "expected a number as epsilon"),
        ("autoencoder", "RepeatVector", {"n": 0}, "expected n >= 1 copies"),
        ("autoencoder", "Cropping1D", {"cropping": [3, 3]}, "Cropping1D. leaves no step of 6"),
        ("attention", "Permute", {"dims": [2, 2]}, "expected an order of 2 axes"),
        ("attention", "Attention", {"causal": True}, "causal=True"),
        ("attention", "Concatenate", {"axis": 0}, "axis=0 is not computed"),
        ("joints", "Dot", {"normalize": True}, "normalize=True"),
        ("words", "Embedding", {"input_dim": 9}, r"expected a table of \(9, 4\)"),
    ],
)
def test_other_options_are_refused_by_name(name, kind, options, message, tmp_path):
    path = rewritten(
        f"k3_{name}.keras", lambda layers: layers[kind]["config"].update(options), tmp_path
    )
    if message is None:  # the dense layer behind says how many steps are flattened
        x, y = expected("k3_conv")
        assert error(reference.predict(load(path).network, x), y) < 1
        return
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert isinstance(caught.value, UnsupportedModelError | ModelFormatError)


def test_the_size_of_the_inputs_is_seen_through_moved_axes():
    """One step of 20 numbers that become 20 steps of one, in the first of two branches."""
    rng = np.random.default_rng(0)
    conv, dense = Conv(rng.normal(size=(4, 3, 1))), Dense(rng.normal(size=(2, 4)))
    layer = Layer(rng.normal(size=(8, 4)), rng.normal(size=(8, 2)))
    network = Network([Flatten(1), Unflatten(20), conv, layer, Read("final"), Dense(np.eye(2))])
    assert network.input_size == 20
    parts = [Flatten(1), Unflatten(2), From(-1), dense, layer]
    with pytest.raises(ValueError, match="expected 4 numbers, got a sequence of 2"):
        Network(parts)  # the layer takes four
    assert input_size_of(parts) == 4
