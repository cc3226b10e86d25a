"""Keras' layers and options: computed exactly, or refused by name."""

import json
from dataclasses import replace

import numpy as np
import pytest
from keras_cases import (
    called_with,
    entry,
    graph,
    inside,
    keras_file,
    layer_of,
    loaded,
    mask_of,
    option,
    other_class,
    reads_output,
    refused,
    two_tensors,
)

import fastlstm
from fastlstm import (
    Dense,
    Layer,
    ModelFormatError,
    UnsupportedModelError,
    load,
)

pytestmark = pytest.mark.every_cell


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
        ("k3_masks", other_class("LSTM", "SimpleRNN"), "SimpleRNN is not computed"),
        ("k3_masks", other_class("LSTM", "ConvLSTM1D"), "ConvLSTM1D is not computed"),
        ("k3_masks", other_class("Dense", "Conv2D"), "Conv2D is not computed: only sequences"),
        (
            "k3_masks",
            other_class("Dense", "Reshape", target_shape=[3, 1]),
            "number of steps is not known",
        ),
        (
            "k3_masks",
            other_class("Dense", "UnitNormalization"),
            "UnitNormalization is not computed",
        ),
        ("k3_masks", other_class("Dense", "MultiHeadAttention"), "attention of every step over"),
        ("k3_words", option("LSTM", time_major=True), "time_major"),
        ("k3_words", option("LSTM", activation="glu"), "LSTM.*'glu' is not computed"),
        ("k3_words", option("LSTM", activation="softmax"), "softmax in a cell"),
        ("k3_words", option("LSTM", activation=LAMBDA), "__lambda__ is not computed"),
        ("k3_words", option("LSTM", recurrent_activation="sparsemax"), "'sparsemax'"),
        ("k3_words", option("LSTM", zero_output_for_mask=True), "zero_output_for_mask=True"),
        ("k3_words", option("LSTM", peepholes=True), "the option peepholes='?True"),
        ("k3_words", option("Dense", lora_rank=2), "the option lora_rank"),
        ("k3_words", option("Dense", dtype="int8_from_float32"), "dtype='int8_from_float32'"),
        (
            "k3_words",
            option("Dense", dtype={"class_name": "QuantizedDTypePolicy", "config": {}}),
            "dtype=QuantizedDTypePolicy",
        ),
        ("k3_words", option("GlobalAveragePooling1D", data_format="channels_first"), "data_format"),
        ("k3_words", option("Activation", activation="tanh_shrink"), "'tanh_shrink'"),
        ("k3_words", option("Bidirectional", merge_mode=None), "merge_mode=None"),
        ("k3_words", inside("Bidirectional", go_backwards=True), "go_backwards of its layers"),
        ("k3_words", entry("LSTM", module="mine"), "LSTM.: a class of 'mine'"),
        ("k3_words", entry("LSTM", registered_name="mine>LSTM"), "LSTM.: a class of 'mine>LSTM'"),
        ("k3_words", lambda c: c.update(class_name="Encoder"), "the model is a Encoder"),
        ("k3_words", graph("LSTM"), r"'lstm\w*' \(LSTM\) is shared: it is called 2 times"),
        (
            "k3_words",
            graph(None, output_layers=[["dense", 0, 0], ["activation", 0, 0]]),
            "2 outputs",
        ),
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
        ("k3_words", two_tensors, r"Dense\) reads 2 tensors; one is expected"),
        ("k3_masks", other_class("TimeDistributed", "Softmax"), "Softmax.* with a mask"),
        ("k3_masks", other_class("Dense", "Masking", mask_value=1.0), "as the first layer only"),
        ("k3_masks", inside("TimeDistributed", units=2, activation="glu"), "'glu'"),
        (
            "k3_words",
            entry("GlobalAveragePooling1D", class_name="GlobalMaxPooling1D"),
            "Bidirectional.* leaves out the steps that the Embedding layer masks, and .*Max",
        ),
        ("k3_masks", option("LSTM", go_backwards=True), "go_backwards with a mask"),
        ("k3_cells", lambda c: _slice(c, [1, 2]), "only integers and slices"),
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
        (option("LSTM", return_sequences=1), "expected return_sequences to be true or false"),
        (option("LSTM", return_sequences=False), "takes a sequence"),
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
        ({"class_name": "ReLU", "config": {"max_value": 6.0}}, ("clip", 0.0, 6.0)),
        ({"class_name": "ReLU", "config": {"threshold": 1.0}}, ("thresholded_relu", 1.0)),
        ({"class_name": "Activation", "config": {"activation": "relu"}}, "relu"),
        ("relu6", ("clip", 0.0, 6.0)),
        ("hard_tanh", ("clip", -1.0, 1.0)),
        ("exponential", "exp"),
        ("hard_swish", "hard_silu"),
        ("celu", "elu"),
        ("selu", "selu"),
        ("mish", "mish"),
        ("log_sigmoid", "log_sigmoid"),
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
        {"class_name": "ReLU", "config": {"max_value": 6.0, "negative_slope": 0.1}},
        {"class_name": "ReLU", "config": {"threshold": 1.0, "max_value": 6.0}},
        {"class_name": "PReLU", "config": {}},
        {"class_name": "Softmax", "config": {"axis": 1}},
        {"class_name": "function", "config": "f", "registered_name": "mine>f"},
        "sparsemax",
        "tanh_shrink",
    ],
)
def test_other_activations(value, tmp_path):
    path = keras_file(tmp_path / "model.keras", option("LSTM", activation=value))
    with pytest.raises(UnsupportedModelError, match=r"LSTM.*activation"):
        load(path)


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
    with pytest.raises(UnsupportedModelError, match=r"expected float64, .* got int8"):
        fastlstm.from_keras(live(*(a.astype("int8") for a in arrays)))
