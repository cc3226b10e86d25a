"""Keras models: their own numbers, or a refusal that names the layer; files are not trusted."""

import codecs
import copy
import io
import json
import marshal
import os
import re
import sys
import tempfile
import time
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import predictions

import fastlstm
from fastlstm import (
    Bidirectional,
    Dense,
    Layer,
    ModelFormatError,
    UnsupportedModelError,
    cli,
    load,
    reference,
)

pytestmark = pytest.mark.every_cell

h5py = pytest.importorskip("h5py")

ARCHIVE = Path(__file__).parent / "golden" / "keras" / "keras.zip"

with zipfile.ZipFile(ARCHIVE) as _archive:
    FILES = {name: _archive.read(name) for name in _archive.namelist()}
EXPECTED = np.load(io.BytesIO(FILES.pop("expected.npz")))
# Weights alone: the file, the architecture, and the model that it is.
WEIGHTS = {
    "k3_masks.weights.h5": ("k3_masks.json", "k3_masks"),
    "k2_weights.h5": ("k2_weights.json", "k2_masks"),
}
MODELS = sorted(name for name in FILES if not name.endswith(".json"))


def loaded(name, folder):
    path = folder / name
    path.write_bytes(FILES[name])
    config = json.loads(FILES[WEIGHTS[name][0]]) if name in WEIGHTS else None
    return load(path) if config is None else load(path, config=config)


def expected(name):
    base = WEIGHTS[name][1] if name in WEIGHTS else name.split(".")[0]
    return EXPECTED[f"{base}:x"], EXPECTED[f"{base}:y"]


def error(actual, wanted):
    """The error in units of what is allowed: 1e-13 in float64, in float32 what Keras' own is."""
    assert actual.shape == wanted.shape
    allowed = 1e-13 if wanted.dtype == "float64" else 5e-7
    return float(np.max(abs(actual - wanted))) / (allowed * max(1, np.max(abs(wanted))))


@pytest.mark.parametrize("name", MODELS)
def test_golden(name, tmp_path):
    model = loaded(name, tmp_path)
    x, y = expected(name)
    assert model.dtype == y.dtype
    for what, actual in predictions(model, x):
        assert error(actual, y) < 1, what


@pytest.mark.parametrize("name", [name for name in MODELS if expected(name)[1].dtype == "float32"])
def test_float32_is_as_accurate_as_keras(name, tmp_path):
    model = loaded(name, tmp_path)
    x, y = expected(name)
    exact = reference.predict(model.astype("float64").network, x)
    own, eps = np.max(abs(y - exact)), np.finfo("float32").eps
    for what, actual in predictions(model, x):
        assert np.max(abs(actual - exact)) <= 4 * max(own, eps), what


def test_files_of_one_model_are_one_model(tmp_path):
    for a, b in (
        ("k3_words.keras", "k3_words.h5"),
        ("k3_backwards.keras", "k3_backwards.h5"),
        ("k3_masks.keras", "k3_masks.weights.h5"),
        ("k2_words.keras", "k2_words.h5"),
        ("k2_masks.h5", "k2_weights.h5"),
    ):
        one, two = loaded(a, tmp_path), loaded(b, tmp_path)
        assert (one.layers, one.head, one.options) == (two.layers, two.head, two.options)


def test_what_a_file_becomes(tmp_path):
    model = loaded("k3_words.keras", tmp_path)
    assert [type(k).__name__ for k in model.layers] == ["Embedding", "Bidirectional", "Layer"]
    assert model.layers[0].padding_id == 0
    assert (model.read, model.return_sequences) == ("mean", False)
    assert [str(dense.activation) for dense in model.head] == ["relu", "softmax"]
    model = loaded("k3_masks.keras", tmp_path)
    assert [type(k).__name__ for k in model.layers] == ["Dense", "Layer", "Bidirectional"]
    assert (model.read, model.return_sequences, model.mask_value) == ("last", True, 2.5)
    assert model.layers[1].activations[0].numbers == (1 / 6, 0.5)
    assert loaded("k2_words.h5", tmp_path).layers[2].activations[0].numbers == (0.2, 0.5)
    assert loaded("k2_words.keras", tmp_path).layers[2].activations[0].numbers == (0.2, 0.5)
    assert loaded("k1_separate.h5", tmp_path).layers[0].activations[0].numbers == (0.2, 0.5)


# Planted errors: what the golden numbers must notice.


def changed(model, change):
    """The model with `change` done to every cell."""

    def of(layer):
        if isinstance(layer, Bidirectional):
            return Bidirectional(change(layer.forward), change(layer.backward), layer.merge)
        return change(layer) if isinstance(layer, Layer) else layer

    return type(model)([of(k) for k in model.layers], model.head, **model.options)


def gates_in_order(order):
    def change(layer):
        arrays = {
            name: None
            if (array := getattr(layer, name)) is None
            else np.concatenate([np.split(array, 4)[k] for k in order])
            for name in ("w_ih", "w_hh", "b_ih", "b_hh")
        }
        return replace(layer, **arrays)

    return change


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "change",
    [
        gates_in_order((1, 0, 2, 3)),
        gates_in_order((0, 3, 2, 1)),
        gates_in_order((0, 1, 3, 2)),
        lambda layer: replace(layer, b_ih=None, b_hh=None),
    ],
    ids=["i and f", "f and o", "c and o", "no bias"],
)
def test_wrong_cells_are_noticed(name, change, tmp_path):
    x, y = expected(name)
    assert error(reference.predict(changed(loaded(name, tmp_path), change).network, x), y) > 1000


def with_options(model, **options):
    return type(model)(model.layers, model.head, **{**model.options, **options})


def with_layer(model, k, **options):
    layers = list(model.layers)
    layers[k] = replace(layers[k], **options)
    return type(model)(layers, model.head, **model.options)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("k3_masks.keras", lambda m: with_options(m, mask_value=None)),
        ("k3_masks.keras", lambda m: with_layer(m, 2, merge="ave")),
        ("k3_words.keras", lambda m: with_layer(m, 0, padding_id=None)),
        ("k3_words.keras", lambda m: with_options(m, read="last")),
        ("k3_merges.keras", lambda m: with_layer(m, 0, merge="sum")),
        ("k3_merges.keras", lambda m: with_layer(m, 1, merge="ave")),
        ("k3_merges.keras", lambda m: with_options(m, read="last")),
        ("k3_backwards.keras", lambda m: with_layer(m, 0, direction="forward")),
        ("k3_backwards.keras", lambda m: with_layer(m, 0, direction="reverse")),
        ("k3_backwards.keras", lambda m: with_options(m, read="mean")),
        ("k3_stateful.keras", lambda m: with_layer(m, 0, direction="forward")),
        ("k3_stateful.keras", lambda m: with_options(m, mask_value=None)),
        ("k2_masks.h5", lambda m: with_options(m, mask_value=0.0)),
        ("k1_separate.h5", lambda m: with_options(m, mask_value=None)),
    ],
)
def test_wrong_options_are_noticed(name, change, tmp_path):
    x, y = expected(name)
    model = loaded(name, tmp_path)
    assert error(reference.predict(model.network, x), y) < 1
    assert not error(reference.predict(change(model).network, x), y) < 1000


# Configs that are not computed, or have changed by the version


def keras_file(path, change_config=None, name="k3_words", version=None, weights=None):
    """A .keras archive like the golden one, with another config, version or weights."""
    with zipfile.ZipFile(io.BytesIO(FILES[f"{name}.keras"])) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    config = json.loads(members["config.json"])
    if change_config is not None:
        change_config(config)
    members["config.json"] = json.dumps(config)
    if version is not None:
        members["metadata.json"] = json.dumps({"keras_version": version})
    if weights is not None:
        members["model.weights.h5"] = weights
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return path


def layer_of(config, kind):
    return next(k for k in config["config"]["layers"] if k["class_name"] == kind)


def option(kind, **options):
    def change(config):
        layer_of(config, kind)["config"].update(options)

    return change


def inside(kind, where="layer", **options):
    def change(config):
        layer_of(config, kind)["config"][where]["config"].update(options)

    return change


def entry(kind, **values):
    def change(config):
        layer_of(config, kind).update(values)

    return change


def other_class(kind, new, **options):
    def change(config):
        layer_of(config, kind).update(class_name=new, config={"name": "other", **options})

    return change


def graph(kind, **values):
    def change(config):
        config["config"].update(copy.deepcopy(values))
        if kind:
            node = layer_of(config, kind)["inbound_nodes"]
            node.append(copy.deepcopy(node[0]))

    return change


def called_with(kind, **options):
    def change(config):
        layer_of(config, kind)["inbound_nodes"][0]["kwargs"].update(options)

    return change


def mask_of(value):
    def change(config):
        layer_of(config, "NotEqual")["inbound_nodes"][0]["args"][1] = value

    return change


def reads_output(config):
    node = layer_of(config, "GlobalAveragePooling1D")["inbound_nodes"][0]
    node["args"][0]["config"]["keras_history"][2] = 1


def two_tensors(config):
    node = layer_of(config, "Dense")["inbound_nodes"][0]
    node["args"] = [[node["args"][0], node["args"][0]]]


LAMBDA = {"class_name": "__lambda__", "config": {"code": "4wAAAA==", "defaults": None}}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("k3_words", other_class("LSTM", "GRU", units=5), "'lstm' .GRU.|GRU is not computed"),
        (
            "k3_words",
            other_class("Dropout", "Lambda", function=LAMBDA),
            "a Lambda runs code of its own",
        ),
        ("k3_words", other_class("Dropout", "BatchNormalization"), "BatchNormalization"),
        ("k3_words", other_class("Dropout", "LayerNormalization"), "LayerNormalization"),
        ("k3_masks", other_class("LSTM", "SimpleRNN"), "SimpleRNN is not computed"),
        ("k3_masks", other_class("LSTM", "ConvLSTM1D"), "ConvLSTM1D is not computed"),
        ("k3_masks", other_class("Dense", "Conv1D"), "Conv1D is not computed"),
        ("k3_masks", other_class("Dense", "Reshape", target_shape=[3, 1]), "target_shape"),
        ("k3_masks", other_class("Dense", "Flatten"), "Flatten.*of all steps"),
        ("k3_words", option("LSTM", time_major=True), "time_major"),
        ("k3_words", option("LSTM", activation="mish"), "LSTM.*'mish' is not computed"),
        ("k3_words", option("LSTM", activation="softmax"), "softmax in a cell"),
        ("k3_words", option("LSTM", activation=LAMBDA), "__lambda__ is not computed"),
        ("k3_words", option("LSTM", recurrent_activation="relu6"), "'relu6' is not computed"),
        ("k3_words", option("LSTM", zero_output_for_mask=True), "zero_output_for_mask=True"),
        ("k3_words", option("LSTM", peepholes=True), "the option peepholes='?True"),
        ("k3_words", option("Dense", lora_rank=2), "the option lora_rank"),
        ("k3_words", option("Dense", dtype="int8_from_float32"), "dtype='int8_from_float32'"),
        (
            "k3_words",
            option("Dense", dtype={"class_name": "QuantizedDTypePolicy", "config": {}}),
            "dtype=QuantizedDTypePolicy",
        ),
        ("k3_words", option("GlobalAveragePooling1D", keepdims=True), "keepdims=True"),
        ("k3_words", option("GlobalAveragePooling1D", data_format="channels_first"), "data_format"),
        ("k3_words", option("Activation", activation="log_softmax"), "'log_softmax'"),
        ("k3_words", option("Bidirectional", merge_mode=None), "merge_mode=None"),
        ("k3_words", inside("Bidirectional", go_backwards=True), "go_backwards of its layers"),
        ("k3_words", entry("LSTM", module="mine"), "LSTM.: a class of 'mine'"),
        ("k3_words", entry("LSTM", registered_name="mine>LSTM"), "LSTM.: a class of 'mine>LSTM'"),
        ("k3_words", lambda c: c.update(class_name="Encoder"), "the model is a Encoder"),
        ("k3_words", graph("LSTM"), r"'lstm\w*' \(LSTM\) is shared: it is called 2 times"),
        ("k3_words", graph(None, output_layers=[["dense", 0, 0], ["dense_1", 0, 0]]), "2 outputs"),
        ("k3_words", graph(None, output_layers=["dense", 0, 0]), "stands beside it"),
        (
            "k3_words",
            called_with("LSTM", initial_state=[["embedding", 0, 0]] * 2),
            r"'lstm\w*' .LSTM. begins with a state from 'embedding' .\?.|.Embedding.",
        ),
        (
            "k3_words",
            called_with("Embedding", initial_state=[["embedding", 0, 0]]),
            "is called with initial_state",
        ),
        ("k3_words", mask_of(1), "reads a mask of its own, from 'not_equal"),
        ("k3_words", option("Embedding", mask_zero=False), "reads a mask of its own"),
        ("k3_words", reads_output, "output 1 of call 0 of 'lstm"),
        ("k3_words", two_tensors, "reads 2 tensors: no chain"),
        ("k3_masks", other_class("TimeDistributed", "Softmax"), "Softmax.* with a mask"),
        ("k3_masks", other_class("TimeDistributed", "ReLU"), "an activation is computed behind"),
        ("k3_masks", other_class("Dense", "Masking", mask_value=1.0), "as the first layer only"),
        ("k3_masks", inside("TimeDistributed", units=2, activation="selu"), "'selu'"),
        (
            "k3_words",
            entry("GlobalAveragePooling1D", class_name="GlobalMaxPooling1D"),
            "a maximum over time with a mask",
        ),
        ("k3_masks", option("LSTM", go_backwards=True), "go_backwards with a mask"),
        ("k3_cells", lambda c: _slice(c, 0), "only the last step"),
        ("k3_cells", inside("RNN", "cell", reverse_state_order=True), "reverse_state_order"),
    ],
)
def test_refused_by_name(name, change, message, tmp_path):
    path = keras_file(tmp_path / "model.keras", change, name)
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


def _slice(config, step):
    layer_of(config, "GetItem")["inbound_nodes"][0]["args"][1][1] = step


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (option("LSTM", units=6), "6 units, but weights of shapes"),
        (option("LSTM", units="6"), "units"),
        (option("LSTM", return_sequences=1), "expected return_sequences true or false"),
        (option("LSTM", return_sequences=False), "needs sequences"),
        (option("LSTM", use_bias=False), "weights that no layer reads: .*lstm/cell/vars/2"),
        (option("Dense", use_bias=False), "weights that no layer reads"),
        (option("Dense", units=9), "9 units, but weights"),
        (option("Embedding", input_dim=8), r"expected a table of \(8, 4\), got \(7, 4\)"),
        (inside("Bidirectional", "backward_layer", return_sequences=False), "only one of"),
        (lambda c: c["config"]["layers"].pop(-2), "the graph is broken"),
        (lambda c: c["config"].pop("layers"), "expected a list of layers|expected layers"),
        (lambda c: c.pop("config"), "expected config"),
        (lambda c: c.pop("class_name"), "expected a class_name"),
        (lambda c: c["config"].update(input_layers=5), "expected input_layers"),
        (lambda c: c["config"].update(layers=[5]), "expected a list of layers"),
        (lambda c: layer_of(c, "LSTM").update(inbound_nodes=[5]), "a call of"),
        (lambda c: layer_of(c, "LSTM").update(inbound_nodes=[[]]), "damaged|reads 0 tensors"),
        (lambda c: layer_of(c, "LSTM")["config"].pop("units"), "there is no option 'units'"),
        (lambda c: layer_of(c, "LSTM").update(inbound_nodes=[]), "the graph to begin"),
        (option("LSTM", dtype={"class_name": "DTypePolicy"}), "damaged"),
    ],
)
def test_damaged_configs(change, message, tmp_path):
    path = keras_file(tmp_path / "model.keras", change)
    refused(path, message, (ModelFormatError, UnsupportedModelError))


def test_inert_options_are_inert(tmp_path):
    """What older and later versions write, and has no say in the numbers."""
    wanted = loaded("k3_words.keras", tmp_path)

    def change(config):
        option(
            "LSTM", implementation=1, unroll=True, stateful=True, time_major=False,
            use_cudnn="auto", dropout=0.5, recurrent_dropout=0.1, kernel_regularizer={"l2": 1},
        )(config)  # fmt: skip
        layer_of(config, "LSTM")["config"].pop("zero_output_for_mask")

    model = load(keras_file(tmp_path / "model.keras", change))
    assert (model.layers, model.head, model.options) == (
        wanted.layers,
        wanted.head,
        wanted.options,
    )


@pytest.mark.parametrize(
    ("version", "slope"), [("3.0.5", 1 / 6), ("2.15.0", 0.2), ("2.2.4-tf", 0.2)]
)
def test_hard_sigmoid_by_version(version, slope, tmp_path):
    path = keras_file(tmp_path / "model.keras", name="k3_masks", version=version)
    assert load(path).layers[1].activations[0].numbers == (slope, 0.5)


LEAKY = {"class_name": "LeakyReLU", "config": {"negative_slope": 0.125}}


@pytest.mark.parametrize(
    ("value", "activation"),
    [
        ("swish", fastlstm.Activation("silu")),
        ("leaky_relu", fastlstm.Activation("leaky_relu", 0.2)),
        ({"class_name": "function", "config": "elu", "registered_name": "elu"}, "elu"),
        (LEAKY, fastlstm.Activation("leaky_relu", 0.125)),
        ({"class_name": "LeakyReLU", "config": {"alpha": 0.5}}, ("leaky_relu", 0.5)),
        ({"class_name": "ELU", "config": {"alpha": 0.5}}, ("elu", 0.5)),
        ({"class_name": "ReLU", "config": {"negative_slope": 0.5}}, ("leaky_relu", 0.5)),
        ({"class_name": "ReLU", "config": {"max_value": None, "threshold": 0.0}}, "relu"),
        ({"class_name": "ThresholdedReLU", "config": {"theta": 2.0}}, ("thresholded_relu", 2.0)),
        ({"class_name": "Activation", "config": {"activation": "relu"}}, "relu"),
        (None, "linear"),
    ],
)
def test_activations(value, activation, tmp_path):
    path = keras_file(tmp_path / "model.keras", option("LSTM", activation=value))
    layer = load(path).layers[-1]
    dense = Dense(np.ones((1, 1)), activation="relu")
    assert layer.activations[1] == replace(dense, activation=activation).activation


@pytest.mark.parametrize(
    "value",
    [
        {"class_name": "ReLU", "config": {"max_value": 6.0}},
        {"class_name": "ReLU", "config": {"threshold": 1.0}},
        {"class_name": "PReLU", "config": {}},
        {"class_name": "Softmax", "config": {"axis": 1}},
        {"class_name": "function", "config": "f", "registered_name": "mine>f"},
        "selu",
        "exponential",
    ],
)
def test_other_activations(value, tmp_path):
    path = keras_file(tmp_path / "model.keras", option("LSTM", activation=value))
    with pytest.raises(UnsupportedModelError, match=r"LSTM.*activation"):
        load(path)


# States that are inputs and outputs of the model


def tensor(name, output=0):
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, output]}}


def with_states(kind, keras_2=False, inputs=None, outputs=(1, 2)):
    """The config whose first layer of a kind takes states from inputs and gives its last ones."""

    def change(config):
        graph, layer = config["config"], layer_of(config, kind)
        number = 4 if kind == "Bidirectional" else 2
        names = [f"state_{k}" for k in range(number if inputs is None else inputs)]
        for name in names:
            entry = {"class_name": "InputLayer", "name": name, "config": {"name": name}}
            graph["layers"].append({**entry, "inbound_nodes": []})
        node = layer["inbound_nodes"][0]
        if keras_2:
            history = node["args"][0]["config"]["keras_history"]
            calls = [[*history, {}], *([name, 0, 0, {}] for name in names)]
            layer["inbound_nodes"] = [calls]
        elif names:
            node["kwargs"]["initial_state"] = [tensor(name) for name in names]
        histories = [graph["input_layers"], *([name, 0, 0] for name in names)]
        graph["input_layers"] = histories
        name = layer["config"]["name"]
        given = [[name, 0, k] for k in outputs]
        graph["output_layers"] = [*given, graph["output_layers"]]

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("k3_words", with_states("LSTM")),
        ("k3_words", with_states("LSTM", outputs=(2,), inputs=0)),
        ("k3_words", with_states("LSTM", outputs=())),
        ("k3_words", with_states("Bidirectional", outputs=(4, 3, 2, 1))),
        ("k3_backwards", with_states("LSTM")),
        ("k3_backwards", with_states("LSTM", keras_2=True)),
    ],
)
def test_states_are_those_of_a_call(name, change, tmp_path):
    model = load(keras_file(tmp_path / "model.keras", change, name))
    wanted = loaded(f"{name}.keras", tmp_path)
    assert (model.layers, model.head, model.options) == (
        wanted.layers,
        wanted.head,
        wanted.options,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_states("LSTM", inputs=1), "expected 2 initial states, got 1"),
        (with_states("LSTM", inputs=4), "expected 2 initial states, got 4"),
        (with_states("Bidirectional", inputs=2), "expected 4 initial states, got 2"),
        (with_states("LSTM", outputs=(3,)), "the model has 2 outputs beside final states"),
        (with_states("LSTM", outputs=(0,)), "the model has 2 outputs beside final states"),
        (with_states("Dense", inputs=0), "the model has 3 outputs beside final states"),
        (with_states("Dense", outputs=()), "is called with initial_state"),
    ],
)
def test_other_states(change, message, tmp_path):
    path = keras_file(tmp_path / "model.keras", change)
    refused(path, message, (ModelFormatError, UnsupportedModelError))


def test_one_state_for_two_and_an_input_for_none(tmp_path):
    def shared(config):
        with_states("LSTM")(config)
        node = layer_of(config, "LSTM")["inbound_nodes"][0]
        node["kwargs"]["initial_state"] = [tensor("state_0")] * 2

    def spare(config):
        with_states("LSTM")(config)
        layer_of(config, "LSTM")["inbound_nodes"][0]["kwargs"].pop("initial_state")

    def encoder(config):
        with_states("LSTM", inputs=0, outputs=())(config)
        name = layer_of(config, "Bidirectional")["config"]["name"]
        node = layer_of(config, "LSTM")["inbound_nodes"][0]
        node["kwargs"]["initial_state"] = [tensor(name, 1), tensor(name, 2)]

    def states_alone(config):
        with_states("LSTM", inputs=0)(config)
        config["config"]["output_layers"].pop()

    for change, message in (
        (states_alone, "all outputs of the model are final states; add the layer's output as the"),
        (shared, "begins with a state from 'state_0' .InputLayer."),
        (spare, "the model has 3 inputs beside initial states"),
        (encoder, "begins with a state from 'bidirectional.*' .Bidirectional."),
    ):
        path = keras_file(tmp_path / "model.keras", change)
        refused(path, message, (UnsupportedModelError,))


# Published exploits: what made Keras run code of a file must neither run nor be dropped

WATCHED = """compile exec import marshal.loads os.exec os.posix_spawn os.spawn os.system
    pickle.find_class shutil.unpack_archive socket.connect subprocess.Popen urllib.Request"""
SEEN: list = []  # of this kind, while somebody looks


def _watch(event, arguments):
    written = event == "open" and isinstance(arguments[1], str) and "r" not in arguments[1]
    if SEEN and (event in WATCHED.split() or written):
        SEEN.append(event)


@pytest.fixture(scope="module")
def watch():
    """A call, during which nothing may run, be imported or be written."""
    sys.addaudithook(_watch)  # for ever, but mostly asleep

    def call(function, path):
        SEEN.append("started")
        try:
            return function(path)
        finally:
            happened = SEEN[1:]
            SEEN.clear()
            assert not happened, " ".join(happened)
            assert not CANARY.exists()

    return call


def refused_by(watch, path, message):
    load_before = path.with_name("good.keras")
    load_before.write_bytes(FILES["k3_words.keras"])
    load(load_before)  # what needs importing is imported
    with pytest.raises(UnsupportedModelError, match=message):
        watch(load, path)


CANARY = Path(tempfile.gettempdir()) / f"fastlstm_canary_{os.getpid()}"
SHELL = f"echo x> {CANARY}"  # to the shells of all systems
CODE = marshal.dumps(compile(f"__import__('os').system({SHELL!r})", "<lambda>", "eval"))
LAMBDA_OF_KERAS_3 = {
    "class_name": "__lambda__",
    "config": {"code": codecs.encode(CODE, "base64").decode(), "defaults": None, "closure": None},
}


def function(module, name, kind="function"):
    return {"module": module, "class_name": kind, "config": name, "registered_name": kind}


GET_FILE = {"fname": "x", "origin": "file:///etc/passwd", "cache_dir": str(CANARY), "extract": True}
# Where a config may name what is to be run, in the place of a layer: CVE and the entry.
LAYERS_THAT_RUN = {
    "CVE-2024-3660": {"class_name": "Lambda", "config": {"function": LAMBDA_OF_KERAS_3}},
    "CVE-2025-1550": {"module": "os", "class_name": "system", "config": {"command": SHELL}},
    "CVE-2025-1550 registered": {
        "module": "keras.layers",
        "class_name": "Dense",
        "registered_name": "os>system",
        "config": {"command": SHELL},
    },
    "CVE-2025-1550 function": {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": function("subprocess", "run"), "arguments": {"args": [SHELL]}},
    },
    "CVE-2025-8747": {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": function("keras.utils", "get_file"), "arguments": GET_FILE},
    },
    "CVE-2025-9906": {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": function("keras.config", "enable_unsafe_deserialization")},
    },
    "CVE-2025-9906 module": {
        "module": "keras.config",
        "class_name": "enable_unsafe_deserialization",
        "config": {},
    },
}


def put(layer):
    """The layer in the place of the Dropout, under its name."""

    def change(config):
        place = layer_of(config, "Dropout")
        name = place["config"]["name"]
        place.update(copy.deepcopy({"registered_name": None} | layer))
        place["config"]["name"] = name

    return change


@pytest.mark.parametrize("name", LAYERS_THAT_RUN)
def test_layers_that_run_code(name, watch, tmp_path):
    path = keras_file(tmp_path / "model.keras", put(LAYERS_THAT_RUN[name]))
    kind = LAYERS_THAT_RUN[name]["class_name"]
    refused_by(watch, path, f"layer 'dropout.*' .{kind}.")


@pytest.mark.parametrize(
    "value",
    [
        LAMBDA_OF_KERAS_3,
        function("os", "system"),
        function("builtins", "exec", "builtin_function"),
        {"module": "subprocess", "class_name": "Popen", "config": {"args": SHELL, "shell": True}},
        function("keras.config", "enable_unsafe_deserialization"),
    ],
)
@pytest.mark.parametrize(("kind", "option_name"), [("LSTM", "activation"), ("Dense", "activation")])
def test_options_that_run_code(kind, option_name, value, watch, tmp_path):
    path = keras_file(tmp_path / "model.keras", option(kind, **{option_name: value}))
    message = f"layer '{kind.lower()}.*' .{kind}., {option_name}"
    refused_by(watch, path, message)
    # an initializer changes nothing in a trained layer, and is not looked at
    path = keras_file(tmp_path / "model.keras", option(kind, kernel_initializer=value))
    assert watch(load, path).layers == loaded("k3_words.keras", tmp_path).layers


def test_a_lambda_in_h5(watch, tmp_path):
    """CVE-2025-9905: Keras 2 keeps it as ``[code, defaults, closure]``, and runs it in any mode."""
    code = [codecs.encode(CODE, "base64").decode(), None, None]
    options = {"name": "dropper", "function": code, "function_type": "lambda"}

    def change(file):
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][-1] = {"class_name": "Lambda", "config": options}
        file.attrs["model_config"] = json.dumps(config)

    path = h5_file(tmp_path / "model.h5", "k2_words", change)
    refused_by(watch, path, "layer 'dropper' .Lambda.: .*runs code")


def test_what_is_compiled_is_not_looked_at(watch, tmp_path):
    """Losses, metrics and how a model is built may name functions, too."""

    def change(config):
        config["compile_config"] = {"loss": function("os", "system"), "metrics": [SHELL]}
        config["build_config"] = LAMBDA_OF_KERAS_3
        config["config"]["layers"][1]["build_config"] = function("os", "system")

    path = keras_file(tmp_path / "model.keras", change)
    wanted = loaded("k3_words.keras", tmp_path)
    assert watch(load, path).layers == wanted.layers


def test_the_watch_sees_what_runs(watch, tmp_path):
    with pytest.raises(AssertionError, match=r"marshal\.loads.*exec.*os\.system"):
        watch(lambda code: eval(marshal.loads(code)), CODE)
    CANARY.unlink()  # so it has run
    with pytest.raises(AssertionError, match="open"):
        watch(lambda path: path.write_text(""), tmp_path / "written")


# Old files


def h5_file(path, name="k1_separate", change=None):
    path.write_bytes(FILES[f"{name}.h5"])
    if change is not None:
        with h5py.File(path, "r+") as file:
            change(file)
    return path


def renamed(file):
    """The weights of one layer under names that say nothing, as early Keras 1 had them."""
    group = file["model_weights/lstm_1"]
    names = [*group.attrs["weight_names0"], *group.attrs["weight_names1"]]
    for k, name in enumerate(names):
        group.move(name, f"param_{k}")
    group.attrs["weight_names0"] = [f"param_{k}".encode() for k in range(6)]
    group.attrs["weight_names1"] = [f"param_{k}".encode() for k in range(6, 12)]


def test_weights_without_names(tmp_path):
    wanted = loaded("k1_separate.h5", tmp_path)
    assert load(h5_file(tmp_path / "model.h5", change=renamed)).layers == wanted.layers


def fused(file):
    """One matrix for all gates: consume_less="gpu" of Keras 1."""
    group = file["model_weights/lstm_1"]
    names = {}
    for kind in "WUb":
        gates = [group[f"lstm_1_{kind}_{gate}"][()] for gate in "ifco"]
        group[f"lstm_1_{kind}"] = np.concatenate(gates, -1)
        names[kind] = f"lstm_1_{kind}".encode()
    del group.attrs["weight_names0"], group.attrs["weight_names1"]
    group.attrs["weight_names"] = list(names.values())


def test_fused_gates_of_keras_1(tmp_path):
    wanted = loaded("k1_separate.h5", tmp_path)
    assert load(h5_file(tmp_path / "model.h5", change=fused)).layers == wanted.layers


def swapped(file):
    names = file["model_weights/lstm_1"].attrs["weight_names0"]
    file["model_weights/lstm_1"].attrs["weight_names0"] = names[[3, 1, 2, 0, 4, 5]]


def backward_first(file):
    group = file["model_weights/bidirectional"]
    names = list(group.attrs["weight_names"])
    group.attrs["weight_names"] = names[3:] + names[:3]


def test_an_order_that_names_contradict(tmp_path):
    refused(h5_file(tmp_path / "model.h5", change=swapped), "expected the kernel of i, got")


def test_directions_are_told_by_their_names(tmp_path):
    """Weights that are not to be trained are stored last, whichever direction they are of."""
    wanted = loaded("k3_words.h5", tmp_path)
    path = h5_file(tmp_path / "model.h5", "k3_words", backward_first)
    assert load(path).layers == wanted.layers


def attribute(place, name, value):
    def change(file):
        del file[place].attrs[name]
        file[place].attrs[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f["model_weights"].attrs.pop("layer_names"), "expected weights of"),
        (lambda f: f["model_weights/dense"].attrs.pop("weight_names"), "expected weights of"),
        (lambda f: f["model_weights/dense/dense"].pop("bias"), "there is no 'dense/bias'"),
        (lambda f: f.pop("model_weights"), "expected weights of"),
        (attribute("/", "model_config", 5), "expected text"),
        (attribute("/", "model_config", "{"), "damaged"),
        (attribute("/", "keras_version", "new"), "a version of Keras"),
        (
            attribute("model_weights/dense", "weight_names", ["dense/kernel"]),
            "expected weights",
        ),
        (
            attribute("model_weights/dense", "weight_names", ["dense/kernel"] * 2),
            "named twice",
        ),
        (
            attribute("model_weights/top_level_model_weights", "weight_names", "a"),
            "weights of no layer",
        ),
    ],
)
def test_damaged_h5(change, message, tmp_path):
    refused(h5_file(tmp_path / "model.h5", "k3_words", change), message)


def test_weights_alone_need_a_config(tmp_path):
    path = tmp_path / "model.weights.h5"
    path.write_bytes(FILES["k3_masks.weights.h5"])
    with pytest.raises(ValueError, match="holds weights alone"):
        load(path)
    text = tmp_path / "model.json"
    text.write_bytes(FILES["k3_masks.json"])
    models = [load(path, config=c) for c in (text, str(text), text.read_text())]
    assert models[0].layers == models[1].layers == models[2].layers
    with pytest.raises(TypeError, match="config: expected"):
        load(path, config=5)
    whole = tmp_path / "model.keras"
    whole.write_bytes(FILES["k3_masks.keras"])
    with pytest.raises(ValueError, match="holds the model's config itself: config is for files"):
        load(whole, config=text)


def test_the_config_is_named_as_it_was_given(tmp_path, capsys):
    path, text = tmp_path / "model.weights.h5", tmp_path / "model.json"
    path.write_bytes(FILES["k3_masks.weights.h5"])
    (no_json := tmp_path / "no.json").write_text("[1")
    (no_text := tmp_path / "no.txt").write_bytes(b"\xff\xfe\xfa")
    for given, kind, message in (
        (None, ValueError, 'gives, as a file: config="model.json"'),
        (text, FileNotFoundError, f"config: there is no file {text}"),
        (tmp_path, OSError, "config: "),
        (no_json, ValueError, "config: expected JSON as model.to_json() gives it"),
        (no_text, ValueError, f"config: expected a text file of model.to_json(), got {no_text}"),
    ):
        with pytest.raises(kind, match=re.escape(message)):
            load(path, config=given)
        flags = [] if given is None else ["--config", str(given)]
        assert cli.main(["info", str(path), *flags]) == 1
        wanted = message.replace('config="model.json"', "--config model.json")
        assert wanted.replace("config: ", "--config: ") in capsys.readouterr().err
    text.write_bytes(FILES["k3_masks.json"])  # as the message says
    assert load(path, config=str(text)).layers == loaded("k3_masks.keras", tmp_path).layers


@pytest.mark.parametrize("name", ["k3_words.keras", "k2_words.h5"])
def test_files_are_read_by_no_other_package(name, tmp_path, monkeypatch):
    """The HDF5 library crashes on damaged files; strangers' models do not reach it."""
    for package in ("h5py", "pyfive", "keras", "tensorflow"):
        monkeypatch.setitem(sys.modules, package, None)
    assert loaded(name, tmp_path).num_layers


@pytest.mark.parametrize("name", ["k3_words", "k3_backwards", "k3_cells"])
def test_files_of_windows(name, tmp_path):
    """There Keras 3.0 joins the names in a path by backslashes, and HDF5 takes it for one name."""
    with zipfile.ZipFile(io.BytesIO(FILES[f"{name}.keras"])) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    flat = io.BytesIO()
    with h5py.File(content) as old, h5py.File(flat, "w") as new:

        def copy_to(key, item):
            if isinstance(item, h5py.Dataset):
                group, number = key.rsplit("/vars/")
                new.create_group(group.replace("/", "\\") + "/vars") if group not in done else None
                done.add(group)
                new[group.replace("/", "\\")]["vars"][number] = item[()]

        done = set()
        old.visititems(copy_to)
        assert all("\\" in group for group in new)
    path = keras_file(tmp_path / "model.keras", name=name, weights=flat.getvalue())
    one, two = load(path), loaded(f"{name}.keras", tmp_path)
    assert (one.layers, one.head, one.options) == (two.layers, two.head, two.options)


# Live models: what from_keras asks of them


class Node:
    """A layer with weights, and whatever is inside of it."""

    def __init__(self, weights=(), **inside):
        self.weights = [*weights, *(w for node in inside.values() for w in node.weights)]
        self._own = list(weights)
        self.__dict__.update(inside)

    def get_weights(self):
        return self._own


class LSTM(Node):
    pass


class LiveModel:
    def __init__(self, config, layers):
        self._config, self.layers = config, layers
        self.weights = [w for layer in layers for w in layer.weights]

    def to_json(self):
        return json.dumps(self._config)


def live(*arrays, **options):
    config = {"name": "lstm", "units": 2, "activation": "tanh", "recurrent_activation": "sigmoid"}
    layers = [{"class_name": "LSTM", "config": {**config, **options}}]
    model = {"class_name": "Sequential", "config": {"layers": layers}, "module": "keras"}
    return LiveModel(model, [LSTM(cell=Node(arrays))])


def test_live_models():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype("float32") for shape in ((3, 8), (2, 8), (8,))]
    (layer,) = fastlstm.from_keras(live(*arrays)).layers
    assert layer == Layer(arrays[0].T, arrays[1].T, arrays[2])
    with pytest.raises(ValueError, match="got 0 arrays; is the model built"):
        fastlstm.from_keras(live())
    with pytest.raises(ValueError, match="got 3 arrays"):
        fastlstm.from_keras(live(*arrays, use_bias=False))
    with pytest.raises(TypeError, match="expected a Keras model, got dict"):
        fastlstm.from_keras({})
    with pytest.raises(UnsupportedModelError, match="expected floats, got int8"):
        fastlstm.from_keras(live(*(a.astype("int8") for a in arrays)))


# Hostile files

FORMAT_OR_NOT = (ModelFormatError, UnsupportedModelError)


def refused(path, message, kinds=(ModelFormatError,)):
    """Loading fails at once, without much memory, and the error names the file."""
    tracemalloc.start()
    start = time.process_time()  # of our own, however busy the machine is
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    seconds = time.process_time() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.type in kinds
    assert str(path) in str(caught.value)
    assert seconds < 1
    assert peak < 1 << 25


@pytest.mark.parametrize("name", ["k3_masks.keras", "k2_words.h5"])
def test_truncated_files(name, tmp_path):
    whole = FILES[name]
    path = tmp_path / name
    for length in {0, 1, 7, 8, 9, *range(0, len(whole), len(whole) // 40), len(whole) - 1}:
        path.write_bytes(whole[:length])
        refused(path, ".")


@pytest.mark.parametrize("name", ["k3_masks.keras", "k2_words.h5"])
def test_changed_bytes_load_or_are_refused_but_nothing_else(name, tmp_path):
    whole, path, rng = FILES[name], tmp_path / name, np.random.default_rng(0)
    refusals = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for at in rng.integers(len(whole), size=rng.integers(1, 20)):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load(path)
        except (ModelFormatError, UnsupportedModelError) as error:
            assert str(path) in str(error)  # noqa: PT017
            refusals += 1
    assert refusals > 20


def weights_with(change):
    """The weights of the golden archive, changed."""
    with zipfile.ZipFile(io.BytesIO(FILES["k3_masks.keras"])) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content, "r+") as file:
        change(file)
    return content.getvalue()


KERNEL = "layers/lstm/cell/vars/0"  # (4, 12)


def instead(**options):
    def change(file):
        del file[KERNEL]
        file.create_dataset(KERNEL, **options)

    return change


def linked(link):
    def change(file):
        del file[KERNEL]
        file[KERNEL] = link

    return change


def around(file):
    """A group that holds itself."""
    file["layers/lstm/again"] = file["layers"]


def virtual(file):
    layout = h5py.VirtualLayout((4, 12), "f8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "data", (4, 12))
    del file[KERNEL]
    file.create_virtual_dataset(KERNEL, layout)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (instead(shape=(1 << 20, 1 << 20), dtype="f8"), "takes 8796093022208 bytes, there are 0"),
        (instead(shape=(4, 12), dtype="f8"), "takes 384 bytes, there are 0"),
        (
            instead(shape=(1 << 20, 1 << 10), dtype="f8", chunks=(64, 64), compression="gzip"),
            "refuses to unfold 0 bytes to 8589934592",
        ),
        (
            instead(shape=(1 << 13, 1 << 11), dtype="f8", chunks=(1 << 13, 1 << 11)),
            "refuses to unfold 0 bytes to 134217728",
        ),
        (
            instead(data=np.zeros((1 << 12, 1 << 11)), chunks=(1 << 9, 1 << 11), compression=9),
            r"refuses to unfold \d+ bytes to 67108864",
        ),
        (instead(shape=(4, 12), dtype="f8", external=[("/etc/passwd", 0, 384)]), "another file"),
        (virtual, "another file"),
        (linked(h5py.SoftLink("/layers/dense/vars/0")), "is a link to elsewhere"),
        (linked(h5py.ExternalLink("/etc/passwd", "/data")), "is a link to elsewhere"),
        (around, "several links lead to the group 'layers/lstm/again/"),
        (lambda f: f.create_group("layers/" + "a/" * 30), "groups in groups without end"),
        (instead(data=np.full((4, 12), "a", object)), "expected numbers"),
        (instead(data=np.zeros((4, 12), [("a", "f4")])), "expected numbers"),
        (instead(data=np.zeros((4, 12), "V2")), "expected numbers"),
        (instead(data=h5py.Empty("f8")), "expected numbers"),
        (instead(data=np.zeros((12, 4))), "3 units, but weights of shapes"),
        (instead(data=np.full((4, 12), np.nan)), "expected finite weights, got nan"),
        (lambda f: f.pop(KERNEL), "there is no kernel under"),
        (lambda f: f.pop("layers"), "there is no 'layers'"),
        (lambda f: f.create_dataset("layers/lstm/cell/vars/3", data=[1.0]), "that no layer reads"),
        (lambda f: f.create_dataset("layers/gru/vars/0", data=[1.0]), "that no layer reads"),
        (lambda f: f.create_dataset("vars/0", data=[1.0]), "that no layer reads"),
    ],
)
def test_hostile_weights(change, message, tmp_path):
    path = keras_file(tmp_path / "model.keras", name="k3_masks", weights=weights_with(change))
    refused(path, message)


def test_weights_of_other_dtypes(tmp_path):
    change = instead(data=np.zeros((4, 12), "int8"))
    path = keras_file(tmp_path / "model.keras", name="k3_masks", weights=weights_with(change))
    refused(path, "expected floats, got int8", (UnsupportedModelError,))
    change = instead(data=np.zeros((4, 12), "f4"))
    path = keras_file(tmp_path / "model.keras", name="k3_masks", weights=weights_with(change))
    refused(path, "dtype", (UnsupportedModelError, ModelFormatError))


def test_compressed_weights_load(tmp_path):
    """As h5repack or a zip of one's own may leave them."""

    def compress(file):
        array = file[KERNEL][()]
        del file[KERNEL]
        file.create_dataset(KERNEL, data=array, compression="gzip", shuffle=True)

    path = keras_file(tmp_path / "a.keras", name="k3_masks", weights=weights_with(compress))
    assert load(path).layers == loaded("k3_masks.keras", tmp_path).layers


def archive_of(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_hostile_archives(tmp_path):
    path = tmp_path / "model.keras"
    good = {"config.json": "{}", "metadata.json": "{}"}
    refused(archive_of(path, {}), "no model of Keras: there is no config.json")
    refused(archive_of(path, good), "there is no model.weights.h5")
    refused(archive_of(path, {**good, "model.weights.h5": b"junk"}), "damaged")
    refused(archive_of(path, {**good, "config.json": "[" * 100_000}), "damaged")
    refused(archive_of(path, {**good, "config.json": '{"a": 1, "a": 2}'}), "given twice")
    bomb = {**good, "model.weights.h5": bytes(1 << 26)}
    refused(archive_of(path, bomb, zipfile.ZIP_DEFLATED), "refuses to unfold model.weights.h5 to")
    bomb = {**good, "config.json": " " * (1 << 25)}
    refused(archive_of(path, bomb, zipfile.ZIP_DEFLATED), "refuses to unfold config.json to 33")
    refused(archive_of(path, good, zipfile.ZIP_LZMA), "expected it stored or deflated")


def new_style(name, path, **options):
    """The file with headers of the new kind that HDF5 has, which h5py writes when told to."""
    with (
        h5py.File(io.BytesIO(FILES[name])) as old,
        h5py.File(path, "w", libver="latest", **options) as new,
    ):
        for key, value in old.attrs.items():
            new.attrs[key] = value

        def copy_to(key, item):
            if isinstance(item, h5py.Dataset):
                new[key] = item[()]
            else:
                for attribute, value in item.attrs.items():
                    new.require_group(key).attrs[attribute] = value

        old.visititems(copy_to)
    return path


@pytest.mark.parametrize("name", [name for name in MODELS if name.endswith(".h5")])
def test_headers_of_the_new_kind(name, tmp_path):
    if name in WEIGHTS:
        pytest.skip("a whole model is enough")
    model = load(new_style(name, tmp_path / "model.h5"))
    assert model.layers == loaded(name, tmp_path).layers


def test_texts_that_do_not_fit(tmp_path):
    """HDF5 itself crashes on some of these."""
    whole, path = FILES["k2_words.h5"], tmp_path / "model.h5"
    text = whole.index(b'{"class_name"')  # the config, in a heap
    length = int.from_bytes(whole[text - 8 : text], "little")
    heap = whole.rindex(b"GCOL", 0, text)
    reference = length.to_bytes(4, "little") + heap.to_bytes(8, "little")
    assert whole.count(reference) == 1
    at = whole.index(reference)

    def changed(where, value, size):
        content = bytearray(whole)
        content[where : where + size] = value.to_bytes(size, "little")
        path.write_bytes(content)
        return path

    refused(changed(at, length + 1, 4), f"a text of {length + 1} bytes in {length}")
    refused(changed(at, (1 << 32) - 1, 4), "longer than the file")
    refused(changed(at + 4, heap + 8, 8), "there is no text")
    refused(changed(at + 4, 1 << 60, 8), "there are no 16 bytes")
    refused(changed(at + 12, 999, 4), "there is no text 999")
    refused(changed(text - 8, 1 << 40, 8), "there are no 1099511627776 bytes")
    refused(changed(text - 8, 5, 8), f"a text of {length} bytes in 5")
