"""Make the golden data in ``torch/``: ``python tests/golden/generate_torch.py``.

``lstm_*.npz`` hold an `nn.LSTM`'s tensors, an input, and what PyTorch computed from it, over
directions, layers, projections, biases, initial states and packed lengths. The other files are
models as people have them, checkpoints, TorchScript archives and JSON, with ``files.npz``
holding an input and PyTorch's outputs for each. Gates get clearly different biases and scales, and
all biases and states are random: no mistake in them can pass.
"""

import io
import json
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

FOLDER = Path(__file__).parent / "torch"

# name: layers, bidirectional, projection, biases, initial state, packed lengths
LSTMS = {
    "both": (1, True, 0, True, False, False),
    "both_packed": (2, True, 0, True, True, True),
    "both_deep": (3, True, 0, True, True, False),
    "both_no_bias": (2, True, 0, False, False, True),
    "projected": (1, False, 2, True, True, False),
    "projected_deep": (2, False, 3, True, True, True),
    "projected_both": (2, True, 2, True, True, True),
    "projected_no_bias": (1, False, 2, False, False, False),
    "one_bias": (2, True, 0, "ih", True, True),
}
GATE_BIAS = (-0.5, 1.0, 0.3, -1.2)  # i f g o
GATE_SCALE = (1.0, 0.7, 1.6, 1.3)
N, T, INPUTS, HIDDEN = 5, 7, 3, 5


def shake(module: nn.Module, rng: torch.Generator) -> nn.Module:
    """Random weights, in an LSTM with a bias and a scale of its own for each gate."""
    for name, weight in module.named_parameters():
        values = torch.randn(weight.shape, generator=rng, dtype=torch.float64) * 0.6
        kind = name.rpartition(".")[2]
        if kind.startswith(("weight_ih", "weight_hh", "bias_ih", "bias_hh")):
            gates = values.reshape(4, -1)
            for gate in range(4):
                gates[gate] *= GATE_SCALE[gate]
                if kind.startswith("bias"):
                    gates[gate] += GATE_BIAS[gate]
        weight.data = values.reshape(weight.shape).to(weight.dtype)
    return module.eval()


def tensors_of(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in module.state_dict().items()}


def make_lstm(name: str, dtype: torch.dtype) -> dict[str, np.ndarray]:
    layers, both, projection, biases, with_state, packed = LSTMS[name]
    rng = torch.Generator().manual_seed(100 + list(LSTMS).index(name))
    lstm = nn.LSTM(
        *(INPUTS, HIDDEN, layers),
        bias=bool(biases),
        batch_first=True,
        bidirectional=both,
        proj_size=projection,
        dtype=dtype,
    )
    shake(lstm, rng)
    tensors = tensors_of(lstm)
    if biases == "ih":  # a mapping may leave out what is zero
        for key in [key for key in tensors if key.startswith("bias_hh")]:
            getattr(lstm, key).data.zero_()
            del tensors[key]
    x = torch.randn(N, T, INPUTS, generator=rng, dtype=torch.float64).to(dtype)
    ends = layers * (2 if both else 1)
    h_0 = torch.randn(ends, N, projection or HIDDEN, generator=rng, dtype=torch.float64).to(dtype)
    c_0 = torch.randn(ends, N, HIDDEN, generator=rng, dtype=torch.float64).to(dtype)
    start = (h_0, c_0) if with_state else None
    case = {"x": x}
    if packed:
        lengths = torch.tensor([T, 1, 4, T - 1, 2])
        rows = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        rows, (h_n, c_n) = lstm(rows, start)
        output, _ = pad_packed_sequence(rows, batch_first=True, total_length=T)
        case["lengths"] = lengths
    else:
        output, (h_n, c_n) = lstm(x, start)
    if with_state:
        case |= {"h_0": h_0, "c_0": c_0}
    case |= {"output": output, "h_n": h_n, "c_n": c_n}
    return {key: value.detach().numpy() for key, value in case.items()} | {
        f"lstm.{key}": value for key, value in tensors.items()
    }


class Classifier(nn.Module):
    """Ids in, probabilities out: both final states through two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(11, 4, padding_idx=0)
        self.lstm = nn.LSTM(4, 3, num_layers=2, batch_first=True, bidirectional=True, dropout=0.5)
        self.fc = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
        self.out = nn.Softmax(dim=1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        h = self.lstm(self.emb(ids))[1][0]
        return self.out(self.fc(torch.cat([h[-2], h[-1]], 1)))


class Forecaster(nn.Module):
    """A score for every step, or for the last."""

    def __init__(self, every: bool = False) -> None:
        super().__init__()
        self.rnn = nn.LSTM(2, 4, batch_first=True)
        self.tail = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2), nn.Sigmoid())
        self.every = every

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output = self.rnn(x)[0]
        return self.tail(output if self.every else output[:, -1])


class Cell(nn.Module):
    """An LSTMCell in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(2, 4)
        self.out = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, c = self.cell(x[:, 0])
        for t in range(1, x.shape[1]):
            h, c = self.cell(x[:, t], (h, c))
        return torch.nn.functional.leaky_relu(self.out(h), 0.2)


def make_files() -> None:
    rng = torch.Generator().manual_seed(7)
    ids = torch.randint(0, 11, (4, 6), generator=rng)
    x = torch.randn(3, 6, 2, generator=rng)
    results = {"ids": ids, "x": x}

    net = shake(Classifier(), rng)
    checkpoint = {
        "epoch": 9,
        "model_state_dict": net.state_dict(),
        "optimizer_state_dict": torch.optim.Adam(net.parameters()).state_dict(),
        "loss": torch.tensor(0.25),
        "names": ["a", "b"],
    }
    torch.save(checkpoint, FOLDER / "checkpoint.pt")
    results["checkpoint"] = net(ids)
    torch.save(net.half().state_dict(), FOLDER / "half.pth", _use_new_zipfile_serialization=False)
    results["half"] = net.float()(ids)

    net = shake(Forecaster(), rng)
    torch.save(net.bfloat16().state_dict(), FOLDER / "bfloat16.pt")
    results["bfloat16"] = net.float()(x)
    net = shake(Forecaster(every=True), rng)
    results["traced"] = net(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save_script(torch.jit.trace(net, x), "traced.pt")
        net = shake(Forecaster(), rng)
        save_script(torch.jit.script(net), "scripted.pt")
    results["scripted"] = net(x)
    torch.save(net, FOLDER / "whole_module.pt")

    net = shake(Cell(), rng)
    torch.save(
        {"module." + key: value for key, value in net.state_dict().items()}, FOLDER / "cell.pt"
    )
    results["cell"] = net(x)

    make_json(rng, x, results)
    arrays = {key: value.detach().numpy() for key, value in results.items()}
    np.savez(FOLDER / "files.npz", **arrays)


def save_script(module: torch.jit.ScriptModule, name: str) -> None:
    """Save a TorchScript archive without where its source lines were on this machine."""
    whole = io.BytesIO()
    torch.jit.save(module, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(FOLDER / name, "w") as target:
        for info in source.infolist():
            if not info.filename.endswith(".debug_pkl"):
                target.writestr(info, source.read(info))


def write_json(name: str, content: object) -> None:
    (FOLDER / name).write_text(json.dumps(content, default=lambda value: value.tolist()))


def make_json(rng: torch.Generator, x: torch.Tensor, results: dict[str, torch.Tensor]) -> None:
    def keras(layer: nn.Module) -> list[torch.Tensor]:
        if isinstance(layer, nn.Linear):
            return [layer.weight.T, layer.bias]
        return [layer.weight_ih_l0.T, layer.weight_hh_l0.T, layer.bias_ih_l0 + layer.bias_hh_l0]

    def entry(kind: str, layer: nn.Module, size: int, activation: str = "") -> dict[str, object]:
        shape = [None, None, size]
        return {"type": kind, "activation": activation, "shape": shape, "weights": keras(layer)}

    below, hidden = shake(nn.Linear(2, 3), rng), shake(nn.Linear(5, 4), rng)
    lstm, head = shake(nn.LSTM(3, 5, batch_first=True), rng), shake(nn.Linear(4, 1), rng)
    write_json(
        "rtneural.json",
        {
            "in_shape": [None, None, 2],
            "in_skip": 1,
            "samplerate": 48000,
            "layers": [
                entry("time-distributed-dense", below, 3, "tanh"),
                entry("lstm", lstm, 5, "tanh"),
                entry("dense", hidden, 4, "relu"),
                entry("dense", head, 1),
            ],
        },
    )
    h = torch.relu(hidden(lstm(torch.tanh(below(x)))[0]))
    results["rtneural"] = head(h) + x[..., :1]

    first, second = (shake(nn.LSTM(k, 4, batch_first=True), rng) for k in (2, 4))
    dense = shake(nn.Linear(4, 1), rng)
    named = {"lstm": first, "lstm2": second, "dense": dense}
    state = {f"{a}.{b}": value for a, k in named.items() for b, value in k.state_dict().items()}
    write_json("rtneural_torch.json", state)
    results["rtneural_torch"] = dense(second(first(x)[0])[0])

    lstm, head = shake(nn.LSTM(2, 4, 2, batch_first=True), rng), shake(nn.Linear(4, 1), rng)
    h_0, c_0 = (torch.randn(2, 4, generator=rng) for _ in range(2))
    parts = []
    for k in range(2):
        w_ih, w_hh, b_ih, b_hh = lstm.all_weights[k]
        parts += [torch.cat([w_ih, w_hh], 1), b_ih + b_hh, h_0[k], c_0[k]]
    weights = torch.cat([part.flatten() for part in [*parts, head.weight, head.bias]])
    config = {"input_size": 2, "hidden_size": 4, "num_layers": 2}
    write_json(
        "amp.nam",
        {
            "version": "0.5.4",
            "architecture": "LSTM",
            "config": config,
            "weights": weights,
            "sample_rate": 48000.0,
            "metadata": {"loudness": -20.0},
        },
    )
    start = tuple(state[:, None].repeat(1, len(x), 1) for state in (h_0, c_0))
    results["amp"] = head(lstm(x, start)[0])

    lstm, head = shake(nn.LSTM(2, 4, batch_first=True), rng), shake(nn.Linear(4, 1), rng)
    sizes = {"input_size": 2, "hidden_size": 4, "output_size": 1, "num_layers": 1}
    data = {"model": "SimpleRNN", "unit_type": "LSTM", "skip": 1, "bias_fl": True} | sizes
    state = {f"rec.{name}": value for name, value in lstm.state_dict().items()}
    state |= {f"lin.{name}": value for name, value in head.state_dict().items()}
    write_json("guitarml.json", {"model_data": data, "state_dict": state})
    results["guitarml"] = head(lstm(x)[0]) + x[..., :1]


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in LSTMS:
        for dtype in (torch.float32, torch.float64):
            case = make_lstm(name, dtype)
            np.savez_compressed(FOLDER / f"lstm_{name}_{str(dtype)[6:]}.npz", **case)
    make_files()
