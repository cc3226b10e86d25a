"""Keras' graphs: states of a call, masks, and what is no chain."""

import pytest
from keras_cases import keras_file, layer_of, loaded, refused

from fastlstm import (
    ModelFormatError,
    UnsupportedModelError,
    load,
)

pytestmark = pytest.mark.every_cell


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
        (with_states("Dense", outputs=()), "the model has 3 inputs beside initial states"),
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
