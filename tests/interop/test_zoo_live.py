"""The networks of the zoo as live models, in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers import predictions
from zoo import keras_networks, torch_networks

from fastlstm import from_keras, from_torch, reference

pytestmark = pytest.mark.filterwarnings("ignore")  # of the frameworks

EPS = np.finfo("f4").eps


def marked(table):
    joined = pytest.mark.xfail(reason="branches that meet again", strict=False)
    return [pytest.param(n, marks=[joined] if c.joined else []) for n, c in table.items()]


def agrees(actual, expected, exact, what):
    assert actual.shape == expected.shape, what
    scale = max(1, abs(exact).max())
    own, error = abs(expected - exact).max(), abs(actual - exact).max()
    assert own <= 3e-5 * scale, what
    assert error <= 4 * (own + EPS * scale), f"{what}: {error:.2g} off, theirs is {own:.2g}"


@pytest.mark.parametrize("name", marked(keras_networks.NETWORKS))
def test_a_network_of_keras(name):
    case = keras_networks.NETWORKS[name]
    live = keras_networks.settle(case.make(keras), 5)
    model = from_keras(live)
    for steps in (case.steps, case.steps + 5) if case.free else (case.steps,):
        x = case.sequences(6, steps=steps)
        with torch.no_grad():
            y = case.run(lambda x: keras.ops.convert_to_numpy(live(x, training=False)), x)
        exact = reference.predict(model.astype("float64").network, x)
        for way, actual in predictions(model, x):
            agrees(actual, y, exact, f"{name} {steps} {way}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", marked(torch_networks.NETWORKS))
def test_a_module_of_torch(name, dtype):
    """`example` is what the module itself takes; the model takes (N, T, I) in any case."""
    case = torch_networks.NETWORKS[name]
    module = torch_networks.settle(case.make(), 5).to(getattr(torch, dtype))

    def run(x):
        given = torch.from_numpy(x)
        kind = next(module.parameters()).dtype
        with torch.no_grad():
            return module(given.to(kind) if given.is_floating_point() else given).numpy()

    x = case.sequences(6, case.batch or 3)
    example = torch.from_numpy(case.as_given(x))
    example = example.to(getattr(torch, dtype)) if example.is_floating_point() else example
    model = from_torch(module, example=example)
    assert model.dtype == dtype
    y = case.run(run, x)
    module.double()
    exact = case.run(run, x)
    for way, actual in predictions(model, x.astype(dtype) if x.dtype.kind == "f" else x):
        if dtype == "float64":
            np.testing.assert_allclose(actual, exact, rtol=1e-12, atol=1e-12, err_msg=way)
        else:
            agrees(actual, y, exact, f"{name} {way}")
