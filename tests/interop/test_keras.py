"""Random networks against the Keras 3 that is installed, on whichever backend it has."""

import os
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import keras_layers
from helpers import predictions

import fastlstm
from fastlstm import UnsupportedModelError, from_keras, load, reference

pytestmark = pytest.mark.filterwarnings("ignore")  # of the frameworks

SEEDS = int(os.environ.get("SEEDS", 60))
L = keras.layers
GATES = ("sigmoid", "hard_sigmoid", "tanh", "softsign")
ACTIVATIONS = (
    "tanh",
    "relu",
    "elu",
    "gelu",
    "silu",
    "softsign",
    "softplus",
    "linear",
    "leaky_relu",
)
# On TensorFlow, these round their numbers to float32.
NARROW = ("gelu", "leaky_relu")


def pick(rng, *choices):
    return choices[rng.integers(len(choices))]


class Builder:
    """A random model, and sequences for it."""

    def __init__(self, seed, dtype):
        self.rng = np.random.default_rng([seed, 7])
        self.dtype = dtype
        exact = dtype == "float64"
        self.activations = [a for a in ACTIVATIONS if not (exact and a in NARROW)]
        self.masked = False
        self.stateful = bool(self.rng.random() < 0.2)
        self.n, self.t, self.inputs = 4, int(self.rng.integers(1, 9)), int(self.rng.integers(1, 4))

    def coin(self, chance=0.5):
        return bool(self.rng.random() < chance)

    def units(self):
        return int(self.rng.integers(1, 6))

    def cell(self):
        return {
            "activation": pick(self.rng, "tanh", *self.activations),
            "recurrent_activation": pick(self.rng, "sigmoid", *GATES),
            "use_bias": self.coin(0.8),
        }

    def lstm(self, units, **options):
        dropout = {"dropout": 0.2 * self.coin(0.2), "recurrent_dropout": 0.2 * self.coin(0.1)}
        unroll = self.coin(0.1) and not self.masked  # Keras on PyTorch cannot do both
        return L.LSTM(units, unroll=unroll, **self.cell(), **dropout, **options)

    def recurrent(self, sequences):
        kind = self.rng.random()
        units = self.units()
        options = {"return_sequences": sequences}
        if kind < 0.4:
            second = None
            if self.coin(0.3):
                second = self.lstm(units, go_backwards=True, **options)
            merge = pick(self.rng, "concat", "sum", "mul", "ave")
            return L.Bidirectional(self.lstm(units, **options), merge, backward_layer=second)
        if kind < 0.5:
            cells = [
                L.LSTMCell(self.units(), **self.cell()) for _ in range(self.rng.integers(1, 4))
            ]
            stacked = self.coin() and len(cells) > 1  # Keras 3.15 fails on stacks of one with JAX
            return L.RNN(L.StackedRNNCells(cells) if stacked else cells[0], **options)
        backwards = self.coin(0.3)
        return self.lstm(units, go_backwards=backwards, stateful=self.stateful, **options)

    def dense(self, last=False):
        activation = pick(self.rng, *self.activations, *(("softmax",) if last else ()))
        return L.Dense(self.units(), activation=activation, use_bias=self.coin(0.8))

    def between(self):
        kind = self.rng.integers(6)
        if kind == 0:
            return [self.dense()]
        if kind == 1:
            return [L.TimeDistributed(self.dense())]
        if kind == 2:
            return [L.SpatialDropout1D(0.3), L.Dense(self.units()), L.LeakyReLU(0.25)]
        return [L.Dropout(0.2)] if kind == 3 else []

    def layers(self):
        rng, batch = self.rng, self.n if self.stateful else None
        front = rng.random()
        steps = self.t if self.coin(0.3) or self.stateful else None
        if front < 0.3:
            self.masked = self.coin(0.7)
            self.x = rng.integers(int(not self.masked), 6, size=(self.n, self.t))
            self.x[: self.n // 2] *= rng.random((self.n // 2, self.t)) < (0.6 if self.masked else 2)
            stack = [L.Embedding(6, self.units(), mask_zero=self.masked)]
            self.input = keras.Input((steps,), batch_size=batch, dtype="int32")
        else:
            self.x = rng.normal(size=(self.n, self.t, self.inputs)).astype("float32")
            stack = []
            if front < 0.6:
                self.masked = True
                self.x[rng.random((self.n, self.t)) < 0.4] = 1.5
                stack = [L.Masking(1.5)]
            self.input = keras.Input((steps, self.inputs), batch_size=batch)
        stack += self.between()
        n_layers = rng.integers(1, 4)
        end = pick(rng, "final", "every", "mean", "max", "last")
        for k in range(n_layers):
            stack.append(self.recurrent(sequences=k < n_layers - 1 or end != "final"))
            stack += self.between() if k < n_layers - 1 or end != "final" else []
        if end == "mean":
            stack.append(L.GlobalAveragePooling1D())
        if end == "max":
            stack.append(L.GlobalMaxPooling1D())
        if end == "last":
            stack.append("last")
        return stack + [self.dense(True) for _ in range(rng.integers(3))]

    def model(self):
        stack = self.layers()
        if "last" in stack or self.coin():
            y, k = self.input, 0
            while k < len(stack):
                if stack[k] == "last":
                    y = y[:, -1]
                elif self.coin(0.1) and k + 1 < len(stack) and stack[k + 1] != "last":
                    y = keras.Sequential(stack[k : k + 2])(y)
                    k += 1
                else:
                    y = stack[k](y)
                k += 1
            model = keras.Model(self.input, y)
        else:
            model = keras.Sequential([self.input, *stack])
        model.set_weights([self.rng.uniform(-1, 1, w.shape) for w in model.get_weights()])
        return model


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    if request.param == "float64" and keras.config.backend() != "tensorflow":
        pytest.skip("computes some of float64 in float32")
    keras.config.set_dtype_policy(request.param)
    keras.config.set_floatx(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")
    keras.backend.clear_session()


def stored(model, tmp_path):
    """The model, read in every way there is."""
    yield from_keras(model)
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
        yield load(tmp_path / name)
    model.save_weights(tmp_path / "model.weights.h5")
    yield load(tmp_path / "model.weights.h5", config=model.to_json())


def check(actual, expected, exact, what):
    """Within 1e-13 in float64, in float32 within four times Keras' own error."""
    assert actual.shape == expected.shape, what
    assert np.array_equal(np.isnan(actual), np.isnan(expected)), what
    scale = max(1, np.nanmax(abs(exact), initial=0))
    own = np.nanmax(abs(expected - exact), initial=0)
    error = np.nanmax(abs(actual - exact), initial=0)
    eps = np.finfo(actual.dtype).eps
    assert error <= (1e-13 * scale if actual.dtype == "float64" else 4 * (own + eps * scale)), what
    tolerance = 1e-13 if expected.dtype == "float64" else 1e-4  # else `own` would excuse anything
    assert own <= tolerance * scale, what


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_models(seed, dtype, tmp_path):
    builder = Builder(seed, dtype)
    model = builder.model()
    expected = keras.ops.convert_to_numpy(model(builder.x))
    try:
        networks = list(stored(model, tmp_path))
    except UnsupportedModelError as error:
        reasons = ("go_backwards with a mask", "a maximum over time with a mask")
        assert builder.masked and any(reason in str(error) for reason in reasons), error  # noqa: PT017, PT018
        return
    assert all(network == networks[0] or same(network, networks[0]) for network in networks)
    exact = reference.predict(networks[0].astype("float64").network, builder.x)
    for name, actual in predictions(networks[0], builder.x):
        check(actual, expected, exact, name)


# On TensorFlow, these round some of their numbers to float32.
NARROW_LAYERS = re.compile("gelu|leaky|relu most|relu slope")
CASES = [
    *((name, T) for T in (7, None) for group in keras_layers.GROUPS for name in group),
    *((name, 7) for name in keras_layers.FIXED),
]


def randomise(model, rng):
    """Weights and statistics, none of which is as a layer begins."""
    weights = []
    for weight in model.weights:
        least = 0.2 if "variance" in weight.name else -1
        known = weight.name == "count"
        weights.append(np.asarray(weight) if known else rng.uniform(least, 1, weight.shape))
    model.set_weights(weights)
    for layer in model.layers:
        if isinstance(layer, L.Normalization):
            layer.finalize_state()


def compared(model, x, tmp_path, what, engine=True):
    """The model in all its files against itself."""
    try:
        expected = keras.ops.convert_to_numpy(model(x))
    except ValueError as error:  # negative steps of slices, on PyTorch
        pytest.skip(str(error))
    networks = list(stored(model, tmp_path))
    assert all(one.network == networks[0].network for one in networks), what
    exact = reference.predict(networks[0].astype("float64").network, x)
    check(reference.predict(networks[0].network, x), expected, exact, what)
    if engine:
        check(networks[0].predict(x), expected, exact, f"{what}, engine")


@pytest.mark.parametrize(("name", "T"), CASES)
def test_layers_and_options(name, T, dtype, tmp_path):
    if dtype == "float64" and NARROW_LAYERS.search(name):
        pytest.skip("computed in float32")
    build = keras_layers.ALL[name]
    rng = np.random.default_rng([len(name), 5])
    model = build(T)
    randomise(model, rng)
    for steps in (T or 5, T or 9):
        x = rng.normal(size=(4, steps, keras_layers.I)).astype(dtype)
        compared(model, x, tmp_path, (name, steps), engine=T is not None)


@pytest.mark.parametrize("T", [7, None])
@pytest.mark.parametrize("name", [*keras_layers.WORDS, *keras_layers.MASKED])
def test_masks_are_those_of_keras(name, T, dtype, tmp_path):
    rng = np.random.default_rng(11)
    if name in keras_layers.WORDS:
        x = rng.integers(1, 6, size=(5, 7))
    else:
        x = rng.normal(size=(5, 7, keras_layers.I)).astype(dtype)
    for row, steps in enumerate(([0, 1], [6], [3], [4, 5, 6])):
        x[row, steps] = 0
    model = {**keras_layers.WORDS, **keras_layers.MASKED}[name](T)
    randomise(model, rng)
    compared(model, x, tmp_path, name)


@pytest.mark.parametrize("name", keras_layers.VECTORS)
def test_vectors_as_inputs(name, dtype, tmp_path):
    rng = np.random.default_rng(12)
    model = keras_layers.VECTORS[name]()
    randomise(model, rng)
    compared(model, rng.normal(size=(4, 12)).astype(dtype), tmp_path, name)


def same(a, b):
    return (a.layers, a.head, a.options) == (b.layers, b.head, b.options)


@pytest.mark.parametrize("kind", ["one", "two layers", "two directions", "backwards", "by place"])
def test_initial_and_final_states(kind, dtype, tmp_path):
    """Inputs and outputs of the model that are `state` of a call here."""
    rng, units = np.random.default_rng(3), 4
    x = keras.Input((None, 3))
    begin = [keras.Input((units,)) for _ in range(4 if "two" in kind else 2)]
    options = {"return_sequences": True, "return_state": True}
    if kind == "two layers":
        y, *ends = L.LSTM(units, **options)(x, initial_state=begin[:2])
        y, *more = L.LSTM(units, **options)(y, initial_state=begin[2:])
        ends += more
    elif kind == "two directions":
        y, *ends = L.Bidirectional(L.LSTM(units, **options))(x, initial_state=begin)
    else:
        layer = L.LSTM(units, go_backwards=kind == "backwards", **options)
        y, *ends = layer(x, begin) if kind == "by place" else layer(x, initial_state=begin)
    model = keras.Model([x, *begin], [L.Dense(2)(y), *ends])
    given = [rng.normal(size=(3, 5, 3)).astype("float32")]
    given += [rng.normal(size=(3, units)).astype("float32") for _ in begin]
    expected = [keras.ops.convert_to_numpy(k) for k in model(given)]
    for network in stored(model, tmp_path):
        pairs = np.reshape(np.array(given[1:]), (network.num_layers, -1, 2, 3, units))
        start = fastlstm.State([(k[:, 0], k[:, 1]) for k in pairs])
        np.testing.assert_allclose(network.predict(given[0], state=start), expected[0], atol=1e-6)
        _, end = network(given[0], state=start)
        for (h, c), theirs in zip(end, np.reshape(expected[1:], pairs.shape), strict=True):
            np.testing.assert_allclose(np.stack([h, c], 1), theirs, atol=1e-6)


def test_most_random_models_are_computed(dtype, tmp_path):
    """The refusals that `test_random_models` lets pass are few."""
    refused = 0
    for seed in range(20):
        model = Builder(seed, dtype).model()
        try:
            assert isinstance(from_keras(model), fastlstm.LSTM)
        except UnsupportedModelError:
            refused += 1
    assert refused < 8
