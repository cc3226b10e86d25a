"""PyTorch itself: modules of all kinds, live and through its files, against its own numbers."""

from __future__ import annotations

import itertools
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers import outputs, predictions

from fastlstm import from_torch, load, reference
from fastlstm.errors import UnsupportedModelError
from fastlstm.network.state import State

N, T, INPUTS, HIDDEN = 5, 9, 3, 6
GATE_BIAS = (-0.5, 1.0, 0.3, -1.2)  # i f g o: a swapped order cannot pass

GRID = list(
    itertools.product(
        (1, 2, 3),  # layers
        (False, True),  # bidirectional
        (0, 2),  # projection
        (False, True),  # biases
        (torch.float32, torch.float64, torch.float16, torch.bfloat16),
        (False, True),  # initial state
        (False, True),  # packed lengths
    )
)


def shaken(module, seed):
    """Random weights, in an LSTM with a bias of its own for each gate."""
    rng = torch.Generator().manual_seed(seed)
    for name, weight in module.named_parameters():
        values = torch.randn(weight.shape, generator=rng, dtype=torch.float64) * 0.6
        if "bias_" in name:
            values += torch.tensor(GATE_BIAS).repeat_interleave(len(values) // 4)
        weight.data = values.to(weight.dtype)
    return module.eval()


def agree(ours, theirs, true):
    """Within 1e-13 in float64, within 4 times PyTorch's own error in float32."""
    scale = max(1, abs(true).max())
    if theirs.dtype == np.float64:
        np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-13 * scale)
    else:
        allowed = 4 * max(abs(theirs - true).max(), np.finfo(np.float32).eps * scale)
        assert abs(ours - true).max() <= allowed


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(
    ("layers", "both", "projection", "biases", "dtype", "start", "packed"), GRID
)
def test_an_lstm(layers, both, projection, biases, dtype, start, packed):
    seed = GRID.index((layers, both, projection, biases, dtype, start, packed))
    module = nn.LSTM(
        INPUTS,
        HIDDEN,
        layers,
        bias=biases,
        batch_first=True,
        dropout=0.3 if layers > 1 else 0,
        bidirectional=both,
        proj_size=projection,
        dtype=dtype,
    )
    model = from_torch(shaken(module, seed))
    wide = dtype if dtype == torch.float64 else torch.float32
    assert model.dtype == str(wide)[6:]
    module = module.to(wide)  # it computes what was widened
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(N, T, INPUTS, generator=rng, dtype=wide)
    directions = 2 if both else 1
    h_0 = torch.randn(layers * directions, N, projection or HIDDEN, generator=rng, dtype=wide)
    c_0 = torch.randn(layers * directions, N, HIDDEN, generator=rng, dtype=wide)
    lengths = torch.tensor([T, 1, 4, T - 1, 2]) if packed else None
    with torch.no_grad():
        rows = x
        if packed:
            rows = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        output, (h_n, c_n) = module(rows, (h_0, c_0) if start else None)
        if packed:
            output, _ = pad_packed_sequence(output, batch_first=True, total_length=T)
    state = by_layer(h_0.numpy(), c_0.numpy(), directions) if start else None
    lengths = None if lengths is None else lengths.numpy()
    exact, end = reference.lstm(model.astype("float64").network, x.numpy(), state, lengths)
    for _, ours, (h, c) in (
        (engine, ours, (end.h_n, end.c_n))
        for engine, ours, end in outputs(model, x.numpy(), state, lengths)
    ):
        agree(ours, output.numpy(), exact)
        agree(h, h_n.numpy(), end.h_n)
        agree(c, c_n.numpy(), end.c_n)


def by_layer(h, c, directions):
    """Torch's (L * D, N, H) as one (D, N, H) a layer."""
    return State(
        (h[k : k + directions], c[k : k + directions]) for k in range(0, len(h), directions)
    )


class Net(nn.Module):
    """An embedding, a bidirectional LSTM, and dense layers on what is read."""

    def __init__(self, read):
        super().__init__()
        self.emb = nn.Embedding(11, 4, padding_idx=0)
        self.lstm = nn.LSTM(4, 5, 2, batch_first=True, bidirectional=True)
        self.fc = nn.Sequential(
            nn.Linear(10, 6), nn.LeakyReLU(0.3), nn.Linear(6, 3), nn.Softmax(-1)
        )
        self.read = read

    def forward(self, ids):
        output, (h_n, _) = self.lstm(self.emb(ids))
        read = {
            "final": torch.cat([h_n[-2], h_n[-1]], 1),
            "last": output[:, -1],
            "max": output.max(1).values,
            "mean": output.mean(1),
            "every": output,
        }
        return self.fc(read[self.read])


@pytest.mark.parametrize("read", ["final", "last", "max", "mean", "every"])
@pytest.mark.parametrize("way", ["live", "state_dict", "checkpoint", "old file", "traced"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_module(tmp_path, read, way):
    net = shaken(Net(read), 3).double()
    ids = torch.randint(0, 11, (N, T), generator=torch.Generator().manual_seed(4))
    options = {"embedding": "emb", "head": "fc"}
    options |= {"return_sequences": True} if read == "every" else {"read": read}
    by_name = {"head": ["fc.0", "fc.2"], "activation": [("leaky_relu", 0.3), "softmax"]}
    path = tmp_path / "model.pt"
    if way == "live":
        model = from_torch(net, **options)
    elif way == "state_dict":
        model = from_torch(net.state_dict(), **options | by_name)
    elif way == "traced":
        torch.jit.trace(net, ids).save(path)
        # a file of TorchScript does not hold the slope
        with pytest.raises(UnsupportedModelError, match=r"fc\.1 .*does not hold its options"):
            load(path, **options)
        with pytest.raises(UnsupportedModelError, match=r"fc\.1 \(LeakyReLU\)"):
            load(path, **options | by_name | {"activation": ["relu", "softmax"]})
        model = load(path, **options | by_name)
    else:
        optimizer = torch.optim.Adam(net.parameters())
        content = {"model": nn.DataParallel(net).state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(content, path, _use_new_zipfile_serialization=way == "checkpoint")
        model = load(path, **options | by_name)
    theirs = net(ids).detach().numpy()
    for _, ours in predictions(model, ids.numpy()):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-15)


def test_time_first_modules_take_batches_first():
    module = shaken(nn.LSTM(INPUTS, HIDDEN), 5).double()
    x = torch.randn(N, T, INPUTS, dtype=torch.float64)
    _, (h_n, _) = module(x.transpose(0, 1))
    for _, ours in predictions(from_torch(module), x.numpy()):
        np.testing.assert_allclose(ours, h_n[-1].detach().numpy(), rtol=1e-13, atol=1e-15)


# --- modules that are followed ------------------------------------------------------------------


class Random(nn.Module):
    """A network of the usual kinds, with sizes and options by chance."""

    ACTIVATIONS = (torch.relu, torch.tanh, F.gelu, F.elu, F.silu, torch.sigmoid, F.leaky_relu)
    READS = ("last", "final", "mean", "max", "sum", "adaptive", "attention", "dot", "every", "flat")

    def __init__(self, rng):
        super().__init__()
        self.inputs, self.packs = rng.randint(1, 6), False
        self.embedding = nn.Embedding(11, self.inputs) if rng.random() < 0.2 else None
        width = self.inputs
        self.front = nn.ModuleList()
        for _ in range(rng.choice((0, 0, 1, 2))):
            groups = rng.choice([k for k in range(1, width + 1) if width % k == 0])
            taps, dilation = rng.randint(1, 4), rng.randint(1, 2)
            stride = rng.choice((1, 1, 2))
            padding = "same" if stride == 1 and rng.random() < 0.4 else rng.randint(0, 2)
            out = groups * rng.randint(1, 4)
            self.front.append(
                nn.Conv1d(
                    width, out, taps, stride, padding, dilation, groups, bias=rng.random() < 0.7
                )
            )
            width = out
            more = [nn.BatchNorm1d(width, eps=10.0 ** -rng.randint(2, 6)), nn.ReLU(), nn.Dropout()]
            more += [nn.PReLU(rng.choice((1, width))), nn.Hardtanh(), nn.SELU()]
            more += [nn.MaxPool1d(2, stride=rng.choice((1, 2)), padding=rng.randint(0, 1))]
            more += [nn.AvgPool1d(2, stride=2, ceil_mode=rng.random() < 0.5)]
            more += [nn.ConstantPad1d((rng.randint(0, 2), rng.randint(0, 2)), 0.0)]
            self.front.extend(rng.sample(more, rng.randint(0, 3)))
        self.lstms, self.norms = nn.ModuleList(), nn.ModuleList()
        for _ in range(rng.randint(1, 2)):
            hidden, both = rng.randint(1, 7), rng.random() < 0.4
            self.lstms.append(
                nn.LSTM(
                    width,
                    hidden,
                    rng.randint(1, 2),
                    bidirectional=both,
                    bias=rng.random() < 0.9,
                    batch_first=rng.random() < 0.7,
                )
            )
            width = hidden * (1 + both)
            norm = rng.random()
            self.norms.append(nn.LayerNorm(width) if norm < 0.3 else nn.Identity())
        self.residual = rng.random() < 0.2
        self.read = rng.choice(self.READS)
        if not self.front and rng.random() < 0.25:
            self.packs, self.read, self.residual = True, "final", False
            self.norms = nn.ModuleList(nn.Identity() for _ in self.lstms)
            self.lstms = nn.ModuleList(self.lstms[:1])
            width = self.lstms[0].hidden_size * (1 + self.lstms[0].bidirectional)
        self.score = nn.Linear(width, 1)
        self.steps = None
        self.between = rng.choice((*self.ACTIVATIONS, None))
        self.head = nn.LazyLinear(rng.randint(1, 3))
        self.behind = rng.choice((None, nn.Softmax(-1), nn.LogSoftmax(-1), nn.Sigmoid()))

    def forward(self, x, lengths=None):
        if self.embedding is not None:
            x = self.embedding(x)
        for part in self.front:
            x = part(x.transpose(1, 2)).transpose(1, 2)
        for lstm, norm in zip(self.lstms, self.norms, strict=False):
            below = x
            if self.packs:
                rows = pack_padded_sequence(
                    x if lstm.batch_first else x.transpose(0, 1),
                    lengths,
                    lstm.batch_first,
                    enforce_sorted=False,
                )
                _, (h_n, _) = lstm(rows)
            else:
                x, (h_n, _) = lstm(x if lstm.batch_first else x.transpose(0, 1))
                x = norm(x if lstm.batch_first else x.transpose(0, 1))
            if self.residual and x.shape[-1] == below.shape[-1]:
                x = x + below
        y = self.read_of(x, h_n)
        y = y if self.between is None else self.between(y)
        y = self.head(y)
        return y if self.behind is None else self.behind(y)

    def read_of(self, x, h_n):
        both = self.lstms[-1].bidirectional if not self.packs else self.lstms[0].bidirectional
        final = torch.cat((h_n[-2], h_n[-1]), 1) if both else h_n[-1]
        if self.read == "attention":
            return (torch.softmax(self.score(torch.tanh(x)), dim=1) * x).sum(dim=1)
        if self.read == "dot":
            weights = torch.softmax(torch.bmm(x, final.unsqueeze(2)).squeeze(2), 1)
            return torch.bmm(weights.unsqueeze(1), x).squeeze(1)
        return {
            "last": lambda: x[:, -1],
            "final": lambda: final,
            "mean": lambda: x.mean(1),
            "max": lambda: x.max(dim=1)[0],
            "sum": lambda: x.sum(1),
            "adaptive": lambda: F.adaptive_avg_pool1d(x.transpose(1, 2), 1).squeeze(-1),
            "every": lambda: x,
            "flat": lambda: x.flatten(1),
        }[self.read]()


@pytest.mark.parametrize("seed", range(150))
def test_a_module_is_followed(seed):
    """Its numbers at other sizes and lengths are the module's, in float64."""
    rng = random.Random(seed)
    module, steps = Random(rng).double(), rng.randint(9, 14)

    def inputs(n, t):
        generator = torch.Generator().manual_seed(seed + n + t)
        if module.embedding is not None:
            return torch.randint(0, 11, (n, t), generator=generator)
        return torch.randn(n, t, module.inputs, generator=generator, dtype=torch.float64)

    lengths = torch.tensor([steps, 3, steps - 1, 1]) if module.packs else None
    x = inputs(4, steps)
    module.eval()(x, lengths)  # sizes the head
    shaken(module, seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        model = from_torch(module, example=(x, lengths) if module.packs else x)
        sizes = ((6, steps), (3, steps + 4), (1, 2 * steps))
        for n, t in sizes[: 1 if module.read == "flat" else None]:
            x = inputs(n, t)
            lengths = None
            if module.packs:
                lengths = torch.arange(t, t - n, -1).clamp(min=1)
            theirs = module(x, lengths).numpy()
            given = None if lengths is None else lengths.numpy()
            runs = [reference.predict(model.network, x.numpy(), given)]
            if seed % 10 == 0:
                runs.append(model.predict(x.numpy(), given))
            scale = max(1, abs(theirs).max())
            for ours in runs:
                np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13 * scale)
