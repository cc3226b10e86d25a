"""ONNX models against ONNX Runtime itself, PyTorch's exporters and ONNX' own cases."""

import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

import onnx_cases as cases
from helpers import predictions

from fastlstm import State, UnsupportedModelError, from_onnx, reference

pytestmark = pytest.mark.filterwarnings("ignore")  # of the exporters


def run(model, feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    content = model if isinstance(model, str) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options).run(None, feeds)


@pytest.mark.parametrize("seed", range(150))
def test_random_operators(seed):
    """Options of the operator drawn at random."""
    rng = np.random.default_rng(seed)
    names = ["Sigmoid", "Tanh", "Relu", "HardSigmoid", "Softsign", "LeakyRelu", "Elu"]
    direction = str(rng.choice(["forward", "reverse", "bidirectional"]))
    D = 2 if direction == "bidirectional" else 1
    options = {
        "direction": direction,
        "lens": bool(rng.integers(2)),
        "state": bool(rng.integers(2)),
        "peepholes": bool(rng.integers(2)),
        "coupled": bool(rng.integers(2)),
        "no_bias": bool(rng.integers(2)),
        "opset": int(rng.choice([7, 14, 22])),
    }
    if rng.integers(2):
        options["activations"] = [str(name) for name in rng.choice(names, 3 * D)]
        takes = sum(n in ("HardSigmoid", "LeakyRelu", "Elu") for n in options["activations"])
        given = int(rng.integers(takes + 1))
        if given:
            options["alpha"] = [float(k) for k in rng.uniform(0.1, 0.6, given)]
    name = f"random {seed}"
    graph, given = cases.operator(name, **options), cases.feeds(name, **options)
    model = from_onnx(graph)
    x, lengths = given["X"].swapaxes(0, 1), given.get("sequence_lens")
    state = State([(given["initial_h"], given["initial_c"])]) if options["state"] else None
    output, end = reference.lstm(model.network, x, state, lengths)
    y, h, c = run(graph, given)
    shape = (cases.T, cases.N, D, cases.H)
    scale = max(1, np.abs(c).max())
    np.testing.assert_allclose(
        output.swapaxes(0, 1).reshape(shape).swapaxes(1, 2), y, rtol=1e-5, atol=2e-6 * scale
    )
    np.testing.assert_allclose(end.h_n, h, rtol=1e-5, atol=2e-6 * scale)
    np.testing.assert_allclose(end.c_n, c, rtol=1e-5, atol=2e-6 * scale)


@pytest.mark.parametrize("name", cases.CHAINS)
@pytest.mark.parametrize("sizes", [(1, 1), (1, 4), (4, 2), (6, 11)])
def test_chains_of_other_sizes(name, sizes):
    n, t = sizes
    x = (cases.random(f"{name} {sizes}", t, n, cases.I) * 2).astype(np.float32)
    if name == "embedding":
        x = np.arange(t * n).reshape(t, n) % 7
    model = from_onnx(cases.chain(name))
    ran = "every step" if name.startswith("a branch") else name
    (expected,) = run(cases.chain(ran), {"x": x})
    if model.return_sequences:
        expected = expected.reshape(t, n, -1).swapaxes(0, 1)
    for engine, y in predictions(model, x.swapaxes(0, 1)):
        np.testing.assert_allclose(y, expected.reshape(y.shape), atol=2e-6, err_msg=engine)


class Net(nn.Module):
    def __init__(self, kind, layers, both, batch_first):
        super().__init__()
        self.kind, self.time = kind, 1 if batch_first else 0
        self.lstm = nn.LSTM(3, 5, layers, bidirectional=both, batch_first=batch_first)
        self.fc = nn.Linear(10 if both else 5, 2)
        self.table = nn.Embedding(11, 3)

    def forward(self, x):
        output, (h, c) = self.lstm(self.table(x) if self.kind == "embedding" else x)
        kind, both = self.kind, self.lstm.bidirectional
        if kind in ("last", "embedding"):
            return self.fc(output.select(self.time, -1))
        if kind == "final":
            return torch.relu(self.fc(torch.cat([h[-2], h[-1]], 1) if both else h[-1]))
        if kind == "permuted":
            return self.fc(h[-2:].transpose(0, 1).reshape(h.shape[1], -1) if both else h[-1])
        if kind == "every":
            return torch.softmax(self.fc(torch.tanh(output)), -1)
        if kind == "flattened":
            rows = self.fc(output.reshape(-1, output.shape[-1]))
            return rows.view(output.shape[0], output.shape[1], 2)
        if kind == "maximum":
            return self.fc(output.max(dim=self.time)[0])
        if kind == "mean":
            return self.fc(output.mean(dim=self.time))
        if kind == "states":
            return output, h, c
        # wrong: batch and directions mixed
        return self.fc(h.reshape(h.shape[1], -1)[:, : self.fc.in_features])


KINDS = ("last", "embedding", "final", "permuted", "every", "flattened", "maximum")
KINDS += ("mean", "states", "mixed")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("newer", [False, True])
@pytest.mark.parametrize("sizes_open", [False, True])
def test_exports(tmp_path, kind, layers, both, batch_first, newer, sizes_open):
    if newer and (layers == 2) == batch_first and kind not in ("last", "final"):
        pytest.skip("a part of them will do: an export takes a second")
    torch.manual_seed(3)
    module = Net(kind, layers, both, batch_first).eval()
    x = torch.randn((4, 6, 3) if batch_first else (6, 4, 3))
    if kind == "embedding":
        x = torch.randint(0, 11, x.shape[:2])
    path = str(tmp_path / "model.onnx")
    if newer:
        a, b = torch.export.Dim("a", min=2, max=99), torch.export.Dim("b", min=2, max=98)
        more = {"dynamic_shapes": ({0: a, 1: b},) if sizes_open else None}
        more |= {"external_data": False, "verbose": False}
    else:
        more = {"dynamic_axes": {"x": {0: "a", 1: "b"}} if sizes_open else None}
    torch.onnx.export(module, (x,), path, dynamo=newer, input_names=["x"], **more)
    if kind == "mixed" and (both or layers == 2):
        with pytest.raises(UnsupportedModelError):
            from_onnx(path)
        return
    model = from_onnx(path)
    x = x.numpy()
    expected = run(path, {"x": x})[0]
    if not batch_first:
        x = x.swapaxes(0, 1)
        expected = expected.swapaxes(0, 1) if expected.ndim == 3 else expected
    assert model.return_sequences is (kind in ("every", "flattened", "states"))
    for engine, y in predictions(model, x):
        np.testing.assert_allclose(y, expected, atol=2e-6, err_msg=engine)


def test_onnx_own_cases():
    """Weak: all gates have the same weights."""
    from onnx.backend.test.loader import load_model_tests

    found = [case for case in load_model_tests(kind="node") if case.name.startswith("test_lstm")]
    assert len(found) >= 4
    for case in found:
        model, arrays, results = _case(case)
        named = {v.name: array for v, array in zip(model.graph.input, arrays, strict=True)}
        x, lengths = named.pop("X"), named.pop("sequence_lens", None)
        for name, array in named.items():
            model.graph.initializer.append(numpy_helper.from_array(array, name))
        loaded = from_onnx(model, model.graph.node[0].output[-1])
        attributes = {a.name: a.i for a in model.graph.node[0].attribute}
        x = x if attributes.get("layout") else x.swapaxes(0, 1)
        _, state = reference.lstm(loaded.network, x, lengths=lengths)
        last = [v.name for v in model.graph.output].index("Y_h")
        np.testing.assert_allclose(state.h_n.ravel(), results[last].ravel(), rtol=1e-5)


def _case(case):
    """A case's model, inputs and outputs; older packages kept them in files."""
    if case.model is not None:
        return case.model, *case.data_sets[0]
    folder = Path(case.model_dir)
    model = onnx.load(folder / "model.onnx")
    kinds = (("input", model.graph.input), ("output", model.graph.output))
    data = [
        [
            numpy_helper.to_array(onnx.load_tensor(folder / f"test_data_set_0/{kind}_{k}.pb"))
            for k in range(len(values))
        ]
        for kind, values in kinds
    ]
    return model, *data


warnings.filterwarnings("ignore", module="onnxscript")
