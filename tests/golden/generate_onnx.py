"""Make ``onnx.npz`` and ``torch_*.onnx`` of ``onnx/``: ``python tests/golden/generate_onnx.py``.

What ONNX Runtime computes from the graphs of ``tests/onnx_cases.py``, and small models that
PyTorch's two exporters wrote, with ONNX Runtime's results. Needs onnxruntime, torch, onnxscript.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

HERE = Path(__file__).parent
FOLDER = HERE / "onnx"
sys.path.insert(0, str(HERE.parent))

import onnx_cases as cases  # noqa: E402


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, feeds)


class Exported(nn.Module):
    """Layers around an `nn.LSTM`, of which `kind` tells what is read."""

    def __init__(self, kind: str, layers: int, both: bool, batch_first: bool) -> None:
        super().__init__()
        self.kind, self.batch_first = kind, batch_first
        self.table = nn.Embedding(9, 3) if kind == "embedding" else None
        self.lstm = nn.LSTM(3, 4, layers, bidirectional=both, batch_first=batch_first)
        self.fc = nn.Linear(8 if both else 4, 2)
        for weight in self.parameters():
            nn.init.uniform_(weight, -0.9, 0.9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output, (h, _) = self.lstm(x if self.table is None else self.table(x))
        if self.kind == "every":
            return torch.softmax(self.fc(torch.relu(output)), -1)
        if self.kind == "mean":
            return self.fc(output.mean(dim=1 if self.batch_first else 0))
        if self.kind == "final":
            return torch.sigmoid(self.fc(torch.cat([h[-2], h[-1]], 1)))
        return self.fc(output[:, -1] if self.batch_first else output[-1])


# name: kind, layers, both directions, batch first, sizes left open, the newer exporter
EXPORTS = {
    "last": ("last", 2, True, True, True, False),
    "final": ("final", 2, True, True, True, True),
    "every": ("every", 1, False, False, True, True),
    "embedding": ("embedding", 1, True, True, True, False),
    "mean_fixed": ("mean", 1, True, False, False, False),
    "last_fixed": ("last", 1, False, True, False, True),
}


def export(name: str) -> tuple[onnx.ModelProto, np.ndarray]:
    kind, layers, both, batch_first, sizes_open, newer = EXPORTS[name]
    torch.manual_seed(len(name))
    module = Exported(kind, layers, both, batch_first).eval()
    x = torch.randn((3, 5, 3) if batch_first else (5, 3, 3))
    if kind == "embedding":
        x = torch.arange(15).reshape(3, 5) * 5 % 9
    path = FOLDER / f"torch_{name}.onnx"
    a, b = torch.export.Dim("a", min=2, max=99), torch.export.Dim("b", min=2, max=98)
    if newer:
        dims = ({0: a, 1: b},) if sizes_open else None
        more = {"dynamic_shapes": dims, "external_data": False, "verbose": False}
    else:
        more = {"dynamic_axes": {"x": {0: "a", 1: "b"}} if sizes_open else None}
    torch.onnx.export(module, (x,), path, dynamo=newer, input_names=["x"], **more)
    model = onnx.load(path)
    for part in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        part.doc_string = ""
        del part.metadata_props[:]  # the source lines that made it
    for tensor in (*model.graph.initializer, *model.graph.value_info):
        del tensor.metadata_props[:]
    del model.graph.value_info[:]
    onnx.save(model, path)
    return model, x.numpy()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found = {}
    for name, options in cases.OPERATORS.items():
        model = cases.operator(name, **options)
        for key, array in zip("Yhc", run(model, cases.feeds(name, **options)), strict=True):
            found[f"{name} {key}"] = array
    for name in cases.CHAINS:
        model = cases.chain(name)
        if name.startswith("a branch"):  # whose other branch ONNX Runtime would refuse
            model = cases.chain("every step")
        found[f"chain {name}"] = run(model, {"x": cases.chain_input(name)})[0]
    for name in EXPORTS:
        model, x = export(name)
        found[f"torch {name} x"], found[f"torch {name} y"] = x, run(model, {"x": x})[0]
    np.savez_compressed(FOLDER / "onnx.npz", **found)
