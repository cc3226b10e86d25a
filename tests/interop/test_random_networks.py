"""Random chains of convolutions, norms, readings and so on around LSTM layers.

``--networks N`` chooses how many there are of each kind, and ``--first-network SEED`` the first of
them. A failure prints its seed and its layers. A network that is refused is no failure, but of a
hundred no more than five may be.
"""

from __future__ import annotations

import io
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers import predictions
from random_networks import KerasChain, TorchChain

from fastlstm import LSTM, UnsupportedModelError, from_keras, from_onnx, from_torch, load, reference

pytestmark = pytest.mark.filterwarnings("ignore")  # of the frameworks

REFUSED = 0.05
EPS = np.finfo("f4").eps


class Tally:
    """What became of each network; `report` fails if it was not well."""

    def __init__(self, what: str) -> None:
        self.what, self.count = what, 0
        self.wrong: list[str] = []
        self.refused: list[str] = []
        self.left_out: list[str] = []

    def report(self) -> None:
        said = f"{len(self.refused)} of {self.count} refused, {len(self.wrong)} wrong"
        print(f"\n{self.what}: {said}, {len(self.left_out)} that the exporter could not write")
        for text in (*self.left_out, *self.refused):
            print(f"\n{text}")
        assert not self.wrong, f"{said}\n\n" + "\n\n".join(self.wrong)
        assert len(self.refused) <= REFUSED * self.count, f"{said}\n\n" + "\n\n".join(self.refused)

    def add(self, chain: object, get, expected, exact, x: np.ndarray, engine: bool) -> None:
        """Compare the network that `get` gives with `expected`, the framework's numbers."""
        self.count += 1
        try:
            model = get()
            if exact is None:
                exact = reference.predict(model.astype("float64").network, x)
            for way, actual in ways(model, x, engine):
                compare(actual, expected, exact, way)
        except UnsupportedModelError as error:
            self.refused.append(f"{chain}\n{error}")
        except Exception as error:  # all of them are told
            self.wrong.append(f"{chain}\n{type(error).__name__}: {error}")


def ways(model: LSTM, x: np.ndarray, engine: bool):
    if engine:
        return predictions(model, x)
    return [("reference", reference.predict(model.network, x))]


def compare(actual: np.ndarray, expected: np.ndarray, exact: np.ndarray, way: str) -> None:
    """Within four times the framework's own float32 error, which has to be small."""
    assert actual.shape == expected.shape, f"{way}: shape {actual.shape}, not {expected.shape}"
    assert np.isfinite(actual).all(), way
    scale = max(1, abs(exact).max())
    own, error = abs(expected - exact).max(), abs(actual - exact).max()
    assert own <= 3e-5 * scale, f"{way}: {own:.2g} apart, of {scale:.2g}"
    assert error <= 4 * (own + EPS * scale), f"{way}: {error:.2g} off, theirs is {own:.2g}"


def test_networks_of_keras(seeds, tmp_path):
    tally = Tally("Keras")
    for seed in seeds:
        keras.utils.clear_session()
        chain = KerasChain(seed)
        x = chain.sequences()
        with torch.no_grad():
            expected = keras.ops.convert_to_numpy(chain.model(x, training=False))
        path = tmp_path / ("model.keras" if seed % 2 else "model.h5")
        chain.model.save(path)
        tally.add(chain, lambda c=chain: from_keras(c.model), expected, None, x, True)
        tally.add(f"{path.suffix} of {chain}", lambda p=path: load(p), expected, None, x, False)
    tally.report()


def of_torch(seed: int):
    chain = TorchChain(seed)
    x = torch.from_numpy(chain.sequences())
    with torch.no_grad():
        expected = chain(x).numpy()
        exact = chain.double()(x if chain.ids else x.double()).numpy()
    return chain.float(), x, expected, exact


def test_networks_of_torch(seeds):
    tally = Tally("torch")
    for seed in seeds:
        chain, x, expected, exact = of_torch(seed)
        get = lambda c=chain, x=x: from_torch(c, example=x)  # noqa: E731
        tally.add(chain, get, expected, exact, x.numpy(), True)
    tally.report()


@pytest.mark.parametrize("exporter", ["legacy", "dynamo"])
def test_networks_of_torch_as_onnx(seeds, exporter):
    tally = Tally(exporter)
    for seed in seeds:
        chain, x, expected, exact = of_torch(seed)
        try:
            model = exported(chain, x, exporter == "dynamo", expected)
        except NotWritten as error:
            tally.left_out.append(f"{chain}\n{error}")
            continue
        tally.add(chain, lambda m=model: from_onnx(m), expected, exact, x.numpy(), False)
    assert len(tally.left_out) <= len(seeds) // 5 + 1
    tally.report()


class NotWritten(Exception):
    """The exporter fails, or ONNX Runtime computes other numbers from what it wrote."""


def exported(chain: TorchChain, x: torch.Tensor, newer: bool, expected: np.ndarray):
    rng = np.random.default_rng(chain.seed)
    axes = [{}, {0: "batch"}, {0: "batch", 1: "steps"}][rng.integers(3)]
    if chain.fixed:
        axes.pop(1, None)
    options = {"input_names": ["x"], "dynamo": newer}
    if newer:
        dims = dict.fromkeys(axes, torch.export.Dim.AUTO)
        options |= {"dynamic_shapes": [dims] if axes else None, "verbose": False}
    else:
        options |= {"dynamic_axes": {"x": axes} if axes else None}
        options["opset_version"] = int(rng.choice([13, 17, 18]))
    file = io.BytesIO()
    try:
        with warnings.catch_warnings(action="ignore"):
            written = torch.onnx.export(chain, (x,), None if newer else file, **options)
        model = written.model_proto if newer else onnx.load_model_from_string(file.getvalue())
        session = onnxruntime.InferenceSession(model.SerializeToString())
        (found,) = session.run(None, {"x": x.numpy()})
    except Exception as error:
        raise NotWritten(str(error)[-300:]) from error
    if found.shape != expected.shape or abs(found - expected).max() > 1e-3:
        raise NotWritten("ONNX Runtime computes other numbers from the file")
    return model
