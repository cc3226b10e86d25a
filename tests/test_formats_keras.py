"""Keras' golden models give Keras' own numbers, and planted errors are noticed."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import predictions
from keras_cases import MODELS, error, expected, loaded

from fastlstm import (
    Bidirectional,
    Layer,
    reference,
)

pytestmark = pytest.mark.every_cell


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
