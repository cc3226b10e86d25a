"""The package's own files: every network comes back with its bits."""

import json
import os
import sys
from dataclasses import MISSING, fields
from typing import get_args

import numpy as np
import pytest
from model_files import (
    OWN,
    OWN_TENSORS,
    assert_same,
    make_model,
    random,
    refused,
    write_tensors,
)
from networks import WITH_PARTS, make_network

from fastlstm import LSTM, Bidirectional, Dense, Embedding, Layer, load
from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.description import KINDS, OPTIONS
from fastlstm.formats.native import SUFFIXES
from fastlstm.network.activations import Activation
from fastlstm.network.convolution import Conv
from fastlstm.network.joints import AddInputs, From, Join
from fastlstm.network.masking import Masking
from fastlstm.network.network import Network, Part
from fastlstm.network.normalisation import Affine, LayerNorm
from fastlstm.network.pointwise import Activate, PReLU, StepSoftmax
from fastlstm.network.pooling import Pool
from fastlstm.network.reading import Read
from fastlstm.network.steps import Flatten, Pad, Repeat, Slice, Unflatten, Upsample


@pytest.fixture(params=SUFFIXES)
def suffix(request):
    if request.param == ".safetensors":
        pytest.importorskip("safetensors")
    return request.param


EXTREMES = [0.1, -0.0, 5e-324, 1e-40, 1e-45, 16777217.0, 3.4028234e38, 2 / 3]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dtype": "float64"},
        {"biases": False},
        {"head": False},
        {"return_sequences": True},
        {"sizes": (1, 1)},
        {"sizes": (3, 1, 7, 2)},
    ],
    ids=str,
)
def test_saved_and_loaded(tmp_path, suffix, options):
    model = make_model(**options)
    path = model.save(tmp_path / f"model{suffix}")
    assert path == tmp_path / f"model{suffix}"
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    again = load(path)
    assert_same(again, model)
    assert hash(again) == hash(model)
    assert load(model.save(str(path).replace("model", "M"))).layers == model.layers


# networks of all kinds


def layer(inputs=3, hidden=4, outputs=None, seed=0, **options):
    outputs = outputs or hidden
    if outputs != hidden:
        options["w_hr"] = random(outputs, hidden, seed=seed + 4)
    arrays = [random(4 * hidden, inputs, seed=seed), random(4 * hidden, outputs, seed=seed + 1)]
    return Layer(*arrays, random(4 * hidden, seed=seed + 2), random(4 * hidden, seed=9), **options)


def both(merge="concat", inputs=3, **options):
    halves = layer(inputs, **options), layer(inputs, seed=20, direction="reverse", **options)
    return Bidirectional(*halves, merge)


EXOTIC = (("leaky_relu", 1 / 3), "softplus", Activation("scaled_tanh", 1.7, 0.1))
NETWORKS = {
    "projection": LSTM([layer(outputs=2)]),
    "peepholes": LSTM([layer(peepholes=random(3, 4))]),
    "initial state": LSTM([layer(h_0=random(4), c_0=random(4, seed=1))]),
    "initial h": LSTM([layer(h_0=random(4))]),
    "activations": LSTM([layer(activations=EXOTIC)]),
    "coupled": LSTM([layer(coupled=True)]),
    "clip": LSTM([layer(clip=0.1)]),
    "reverse": LSTM([layer(direction="reverse")]),
    "go_backwards": LSTM([layer(direction="go_backwards")]),
    **{f"both, {merge}": LSTM([both(merge)]) for merge in ("concat", "sum", "mul", "ave")},
    "both, all options": LSTM(
        [both(outputs=2, clip=3.0, coupled=True, activations=EXOTIC, peepholes=random(3, 4))]
    ),
    "embedding": LSTM([Embedding(random(7, 3)), layer()]),
    "embedding, padding": LSTM([Embedding(random(7, 3), padding_id=np.int64(0).item()), layer()]),
    "dense in front and between": LSTM(
        [Dense(random(3, 2), activation="tanh"), layer(), Dense(random(3, 4)), both()]
    ),
    "activation of the head": LSTM([layer()], Dense(random(2, 4), activation="sigmoid")),
    "softmax": LSTM([layer()], Dense(random(2, 4), random(2), activation="softmax")),
    "deep head": LSTM(
        [both()],
        [Dense(random(5, 8), random(5), activation=("elu", 0.3)), Dense(random(2, 5))],
        True,
    ),
    **{read: LSTM([layer()], read=read) for read in ("last", "max", "mean")},
    "mask": LSTM([layer()], mask_value=-0.0),
    "mask of a third": LSTM([layer()], mask_value=1 / 3),
    "skip": LSTM([layer()], Dense(random(1, 4)), skip=1),
}


@pytest.mark.parametrize("what", NETWORKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_network(tmp_path, suffix, what, dtype):
    model = NETWORKS[what].astype(dtype)
    again = load(model.save(tmp_path / f"model{suffix}"))
    assert again == model
    assert repr(again) == repr(model)
    assert again.layers == model.layers
    assert hash(again) == hash(model)


@pytest.mark.parametrize("name", WITH_PARTS)
def test_networks_of_all_parts(tmp_path, name):
    model = make_network(name, "float32")
    for suffix in (".npz", ".json"):
        again = load(model.save(tmp_path / f"model{suffix}"))
        assert again == model
        assert repr(again.network) == repr(model.network)


def test_every_option_of_a_part_comes_back(tmp_path, suffix):
    """Each with a value that is not its default."""
    model = LSTM.from_network(Network(OPTIONS_OF_PARTS))
    again = load(model.save(tmp_path / f"model{suffix}"))
    assert again.network.parts == OPTIONS_OF_PARTS
    kinds = {type(part) for part in OPTIONS_OF_PARTS}
    others = {Masking, Embedding, Bidirectional, AddInputs}  # elsewhere
    assert kinds | others == {*KINDS.values()}
    for part in OPTIONS_OF_PARTS:
        for field in fields(part):
            if field.type in OPTIONS and field.default is not MISSING and type(part) is not Layer:
                value = {getattr(k, field.name) for k in OPTIONS_OF_PARTS if type(k) is type(part)}
                assert value != {field.default}, (part, field.name)


OPTIONS_OF_PARTS = (
    Conv(
        random(4, 2, 1),
        random(4),
        stride=2,
        dilation=3,
        groups=2,
        padding=(2, 3),
        activation=("elu", 1 / 3),
    ),
    Conv(random(4, 2, 4), padding="causal"),
    Pool("max", 3, 1, dilation=2, padding="same", ceil=True),
    Pool("mean", 2, padding=(1, 0), counts_padding=True),
    Pad(1, 2, "edge"),
    Slice(None, 7, -1),
    Slice(-4, None),
    Upsample(2),
    Affine(random(4), random(4, seed=1), random(4, seed=2)),
    LayerNorm(random(4), random(4, seed=1), 1 / 3, centered=False),
    PReLU(random(4)),
    Activate("log_softmax"),
    Activate(("hard_sigmoid", 0.3, 0.5)),
    layer(4, 4),
    StepSoftmax(),
    Join("multiply", (13, 14)),
    Read("sum"),
    From(13),
    Flatten(8),
    Unflatten(2),
    Read("max"),
    Join("concatenate", (16, 20)),
    Repeat(3),
    Dense(random(2, 20), activation="softmax"),
)


@pytest.mark.parametrize(
    ("place", "changes", "message", "kind"),
    [
        (0, {"padding": 1}, "expected padding to be a padding, got 1", ModelFormatError),
        (0, {"padding": "full"}, "parts.0 is damaged: padding: expected one", ModelFormatError),
        (0, {"padding": [1]}, "parts.0 is damaged: padding: expected one", ModelFormatError),
        (0, {"padding": [1, 10**30]}, "parts.0 is damaged: padding", ModelFormatError),
        (0, {"stride": 0}, "parts.0 is damaged: stride: expected at least 1", ModelFormatError),
        (0, {"stride": True}, "expected stride to be an integer, got True", ModelFormatError),
        (0, {"groups": 3}, "parts.0 is damaged: groups", ModelFormatError),
        (0, {"activation": "softmax"}, "expected activation to be an act", ModelFormatError),
        (0, {"zoneout": 1}, r"options of parts.0 \['zoneout'\]", UnsupportedModelError),
        (2, {"how": "median"}, "parts.2 is damaged: how", ModelFormatError),
        (2, {"ceil": 1}, "ceil to be true or false", ModelFormatError),
        (5, {"step": 0}, "parts.5 is damaged: step", ModelFormatError),
        (5, {"start": 1.5}, "start to be an integer or null", ModelFormatError),
        (5, {"stop": 10**30}, "parts.5 is damaged: stop", ModelFormatError),
        (7, {"times": 10**30}, "parts.7 is damaged: times", ModelFormatError),
        (9, {"epsilon": -1.0}, "parts.9 is damaged: epsilon", ModelFormatError),
        (11, {"activation": "softmin"}, "parts.11: expected activation to be", ModelFormatError),
        (15, {"values": [13, 99]}, "reads value 99, which comes later", ModelFormatError),
        (15, {"values": 13}, "expected values to be a list of integers", ModelFormatError),
        (15, {"how": "dot", "values": [13, 12, 11]}, "parts.15 is damaged", ModelFormatError),
        (17, {"value": -2}, "parts.17 is damaged: value", ModelFormatError),
        (18, {"n_steps": 0}, "parts.18 is damaged: n_steps", ModelFormatError),
        (18, {"kind": "unflatten"}, "part 18: Unflatten takes a vector", UnsupportedModelError),
    ],
)
def test_damaged_parts_are_refused(tmp_path, place, changes, message, kind):
    saved = LSTM.from_network(Network(OPTIONS_OF_PARTS)).save(tmp_path / "model.json")
    content = json.loads(saved.read_text())
    content["fastlstm"]["network"]["parts"][place] |= changes
    saved.write_text(json.dumps(content))
    refused(saved, message, kind)


def test_every_kind_of_part_can_be_saved():
    """Each is in the table of kinds, and the types of its fields in the table of options."""
    assert {*KINDS.values()} == {*get_args(Part)}
    for kind in KINDS.values():
        for field in fields(kind):
            assert field.type in {*OPTIONS, "Array", "Array | None", "Layer"}, (kind, field.name)


def test_the_description_is_documented(tmp_path):
    content = json.loads(NETWORKS["deep head"].save(tmp_path / "model.json").read_text())
    cell = {
        "kind": "lstm",
        "activations": [["sigmoid"], ["tanh"], ["tanh"]],
        "coupled": False,
        "clip": None,
    }
    assert content["fastlstm"] == {
        "format": "fastlstm",
        "version": "3",
        "network": {
            "parts": [
                {
                    "kind": "bidirectional",
                    "forward": cell | {"direction": "forward"},
                    "backward": cell | {"direction": "reverse"},
                    "merge": "concat",
                },
                {"kind": "read", "how": "final"},
                {"kind": "dense", "activation": ["elu", 0.3]},
                {"kind": "dense", "activation": ["linear"]},
            ],
            "return_sequences": True,
        },
        "tensors": sorted(content["tensors"]),
    }
    assert "parts.0.backward.w_hh" in content["tensors"]
    assert "parts.2.weight" in content["tensors"]


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (
            "1",
            "files of version 3, got version 1, .* save the model again: .*, or fastlstm convert",
        ),
        (
            "2",
            "files of version 3, got version 2, .* save the model again: .*, or fastlstm convert",
        ),
        ("4", "files of version 3, got '4'; a later fastlstm wrote it"),
        ("x" * 500, "files of version 3, got 'x{79}; a later"),
        ("", "files of version 3, got ''; a later"),
    ],
)
def test_files_of_another_version(tmp_path, suffix, version, message):
    path = tmp_path / f"model{suffix}"
    write_tensors(path, OWN_TENSORS, OWN | {"version": version})
    refused(path, message, UnsupportedModelError)


def changed(content, path, value):
    """A saved .json with one thing changed in its network, or taken away."""
    *path, last = path
    at = content["fastlstm"]["network"]
    for key in path:
        at = at[key]
    if value is KeyError:
        del at[last]
    else:
        at[last] = value
    return content


FIRST, READ, HEAD = (("parts", k) for k in range(3))


@pytest.mark.parametrize(
    ("path", "value", "message", "kind"),
    [
        ((*FIRST, "zoneout"), 0.1, r"options of parts.0 \['zoneout'\]", UnsupportedModelError),
        (("dropout",), 0.1, r"options \['dropout'\]", UnsupportedModelError),
        ((*FIRST, "kind"), "gru", "parts.0: .* of kind 'gru'", UnsupportedModelError),
        (
            (*FIRST, "forward", "kind"),
            "dense",
            "parts.0.forward: there is no tensor parts.0.forward.weight",
            ModelFormatError,
        ),
        (
            (*FIRST, "forward", "activations"),
            [["cubic"], ["tanh"], ["tanh"]],
            "activation 'cubic'",
            UnsupportedModelError,
        ),
        ((*FIRST, "forward"), None, "parts.0.forward: expected an obj", ModelFormatError),
        ((*FIRST, "forward", "clip"), KeyError, "there is no clip", ModelFormatError),
        ((*FIRST, "forward", "clip"), -1, "parts.0.forward is damaged: clip", ModelFormatError),
        ((*FIRST, "forward", "clip"), True, "clip to be a number or null", ModelFormatError),
        ((*FIRST, "forward", "coupled"), "no", "coupled to be true or false", ModelFormatError),
        ((*FIRST, "forward", "activations"), ["tanh"] * 3, "three activations", ModelFormatError),
        ((*FIRST, "forward", "direction"), "reverse", "parts.0 is damaged", ModelFormatError),
        ((*FIRST, "merge"), "max", "parts.0 is damaged: merge", ModelFormatError),
        ((*HEAD, "activation"), [1], "an activation or one of .'softmax'", ModelFormatError),
        (("parts",), None, "expected a list of parts", ModelFormatError),
        (("parts", 3), KeyError, r"belong to no part: \['parts.3.weight'\]", ModelFormatError),
        ((*READ, "how"), "first", "read: expected one of", ModelFormatError),
        (READ, {"kind": "add_inputs", "size": 1.5}, "size to be an integer", ModelFormatError),
        (READ, {"kind": "masking", "value": None}, "value to be a number", ModelFormatError),
        (READ, {"kind": "masking", "value": 10**400}, "parts.1 is damaged", ModelFormatError),
        (("return_sequences",), 1, "return_sequences to be true or false", ModelFormatError),
    ],
)
def test_other_networks_are_refused(tmp_path, path, value, message, kind):
    saved = NETWORKS["deep head"].save(tmp_path / "model.json")
    saved.write_text(json.dumps(changed(json.loads(saved.read_text()), path, value)))
    refused(saved, message, kind)


def test_tensors_of_other_places_are_refused(tmp_path):
    saved = NETWORKS["deep head"].save(tmp_path / "model.json")
    content = json.loads(saved.read_text())
    content["tensors"]["parts.0.forward.w_xx"] = content["tensors"].pop("parts.0.forward.b_ih")
    content["fastlstm"]["tensors"] = sorted(content["tensors"])
    saved.write_text(json.dumps(content))
    refused(saved, r"belong to no part: \['parts.0.forward.w_xx'\]")
    del content["tensors"]["parts.0.forward.w_xx"], content["tensors"]["parts.0.backward.w_ih"]
    content["fastlstm"]["tensors"] = sorted(content["tensors"])
    saved.write_text(json.dumps(content))
    refused(saved, "parts.0.backward: there is no tensor parts.0.backward.w_ih")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_bit_of_a_weight(tmp_path, suffix, dtype):
    w_ih = np.array(EXTREMES, dtype)[:, None]
    model = LSTM([Layer(w_ih, random(8, 2, dtype=dtype), None, random(8, dtype=dtype))])
    (layer,) = load(model.save(tmp_path / f"model{suffix}")).layers
    assert layer.w_ih.tobytes() == w_ih.tobytes()
    assert layer == model.layers[0]
    assert layer.b_ih is None


def test_suffix_in_capitals_and_a_path_with_dots(tmp_path, suffix):
    path = tmp_path / f"my.model.v2{suffix.upper()}"
    assert_same(load(make_model().save(path)), make_model())


def test_a_failed_save_leaves_the_old_file(tmp_path, suffix, monkeypatch):
    model, path = make_model(), tmp_path / f"model{suffix}"
    model.save(path)
    monkeypatch.setattr("os.fsync", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_model(dtype="float64").save(path)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    assert_same(load(path), model)


def test_saving_through_a_link_keeps_the_link(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "model.npz"
    link.symlink_to(tmp_path / "real" / "model.npz")
    make_model().save(link)
    assert link.is_symlink()
    assert_same(load(tmp_path / "real" / "model.npz"), make_model())


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_saving_keeps_the_permissions(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    for mode in (0o600, 0o640, 0o666):
        path.touch()
        path.chmod(mode)
        make_model().save(path)
        assert path.stat().st_mode & 0o777 == mode
    new = make_model().save(tmp_path / f"new{suffix}")
    (tmp_path / "plain").touch()
    assert new.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_saving_to_what_is_not_a_file(tmp_path):
    loop = tmp_path / "loop.npz"
    loop.symlink_to(loop)
    (tmp_path / "folder.npz").mkdir()
    for path in (loop, tmp_path / "folder.npz"):
        with pytest.raises(OSError, match=path.name):
            make_model().save(path)
    assert loop.is_symlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.npz")
        with pytest.raises(OSError, match="expected a regular file to replace"):
            make_model().save(tmp_path / "pipe.npz")
    assert not list(tmp_path.glob("*.part"))


def test_saved_files_are_plain(tmp_path):
    """The files are documented: NumPy, json and safetensors read them without this package."""
    model = make_model()
    arrays = np.load(model.save(tmp_path / "model.npz"), allow_pickle=False)
    np.testing.assert_array_equal(arrays["parts.1.b_hh"], model.layers[1].b_hh)
    metadata = json.loads(arrays["fastlstm"].item())
    assert metadata["tensors"] == sorted(set(arrays) - {"fastlstm"})
    content = json.loads(model.save(tmp_path / "model.json").read_text())
    assert content["fastlstm"] == metadata
    assert content["tensors"]["parts.3.bias"] == {
        "dtype": "float32",
        "shape": [2],
        "values": model.head[0].bias.tolist(),
    }


def test_saved_safetensors_are_plain(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    model = make_model()
    arrays = numpy.load_file(model.save(tmp_path / "model.safetensors"))
    assert len(arrays) == 10
    np.testing.assert_array_equal(arrays["parts.3.weight"], model.head[0].weight)


def test_no_options_for_own_files(tmp_path):
    path = make_model().save(tmp_path / "model.npz")
    with pytest.raises(TypeError, match=r"model.npz was saved by fastlstm .* got head"):
        load(path, head="head")


@pytest.mark.parametrize("foreign", [".onnx", ".keras", ".h5", ".pt", ".pth", ".nam"])
def test_foreign_files_are_not_written(tmp_path, foreign):
    with pytest.raises(ValueError, match=r"expected a suffix of \.safetensors, \.npz, \.json"):
        make_model().save(tmp_path / f"model{foreign}")


def test_without_safetensors(tmp_path, monkeypatch):
    (tmp_path / "there.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for call in (make_model().save, load):
        with pytest.raises(ImportError, match=r'pip install "fastlstm\[safetensors\]"'):
            call(tmp_path / "there.safetensors")
    assert len(list(tmp_path.iterdir())) == 1
    assert_same(load(make_model().save(tmp_path / "model.npz")), make_model())
