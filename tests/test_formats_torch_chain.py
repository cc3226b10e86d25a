"""The hint `parts`: all that is computed, named in order, of bare weights and of whole modules."""

from __future__ import annotations

import re

import numpy as np
import pytest
from model_files import fc, random, tensors
from torch_modules import held, linear, sequential

from fastlstm import Dense, UnsupportedModelError, from_torch, load, reference
from fastlstm.network.convolution import Conv
from fastlstm.network.embedding import Embedding
from fastlstm.network.normalisation import Affine, LayerNorm
from fastlstm.network.pointwise import Activate, PReLU
from fastlstm.network.pooling import Pool
from fastlstm.network.reading import Read
from fastlstm.network.steps import Flatten, Repeat

CONV = {"conv.weight": random(8, 1, 3), "conv.bias": random(8)}
BN = {f"bn.{name}": random(8, seed=k) for k, name in enumerate(("weight", "bias", "running_mean"))}
BN |= {"bn.running_var": abs(random(8)) + 0.1, "bn.num_batches_tracked": np.array(7)}
NORM = {"norm.weight": random(3), "norm.bias": random(3, seed=1)}
WEIGHTS = CONV | BN | tensors((8, 3), "m.lstm.") | NORM | fc()
CONV_SAID = "conv(stride=2, padding=1, dilation=1, groups=4)"
PARTS = [CONV_SAID, "bn(epsilon=1e-3)", "relu", "max_pool(2)", "lstm"]
PARTS += ["norm(layer_norm, epsilon=1e-5)", "last", "fc"]


def test_a_chain_of_weights():
    model = from_torch(WEIGHTS, parts=PARTS)
    conv, bn, act, pool, lstm, norm, read, dense = model.network.parts
    assert conv == Conv(
        CONV["conv.weight"].transpose(0, 2, 1),
        CONV["conv.bias"],
        stride=2,
        padding=(1, 1),
        groups=4,
    )
    scale = BN["bn.weight"].astype(float) / np.sqrt(BN["bn.running_var"].astype(float) + 1e-3)
    assert bn == Affine(BN["bn.running_mean"], scale.astype("float32"), BN["bn.bias"])
    assert (act, pool) == (Activate("relu"), Pool("max", 2, padding=(0, 0)))
    assert np.array_equal(lstm.w_ih, WEIGHTS["m.lstm.weight_ih_l0"])
    assert norm == LayerNorm(NORM["norm.weight"], NORM["norm.bias"], 1e-5)
    assert read == Read("last")
    assert dense == Dense(WEIGHTS["fc.weight"], WEIGHTS["fc.bias"])
    assert not model.return_sequences
    every = from_torch(WEIGHTS, parts=[k for k in PARTS if k != "last"])
    assert every.return_sequences


def test_other_parts():
    named = {"emb.weight": random(9, 4)} | tensors((4, 3), "lstm.") | {"act.weight": random(1)}
    named |= {"norm.weight": random(3), "out.weight": random(2, 12)}
    parts = ["emb(embedding)", "lstm", "act(prelu)", "norm(rms_norm, epsilon=1e-6)", "flatten(4)"]
    model = from_torch(named, parts=[*parts, "out(dense)", "leaky_relu(0.2)", "softmax"])
    emb, _, act, norm, flat, out, leaky, soft = model.network.parts
    assert emb == Embedding(named["emb.weight"])
    assert act == PReLU(np.full(3, named["act.weight"][0]))
    assert norm == LayerNorm(named["norm.weight"], np.zeros(3, "float32"), 1e-6, centered=False)
    assert (flat, leaky) == (Flatten(4), Activate(("leaky_relu", 0.2)))
    assert soft == Activate("softmax")
    assert out == Dense(named["out.weight"])
    coded = tensors((2, 3), "a.") | tensors((3, 4), "b.")
    assert from_torch(coded, parts=["a", "last", "repeat(5)", "b"]).network.parts[2] == Repeat(5)


UNSAID = {
    "conv": (1, "convolution"),
    "conv(stride=2)": (1, "convolution"),
    "bn": (1, "batch normalisation"),
    "norm": (1, "a normalisation over the numbers of a step, or the like"),
    "norm(layer_norm)": (1, "a normalisation"),
    "norm(epsilon=1e-5)": (1, "a normalisation"),
    "a": (3, "a normalisation"),
    "t": (2, "a dense layer without bias, or an embedding"),
}


@pytest.mark.parametrize("item", UNSAID)
def test_what_weights_do_not_say_has_to_be_said(item):
    """Each way that the message shows is taken, by itself."""
    ways, what = UNSAID[item]
    named = WEIGHTS | {"t.weight": random(5, 3), "a.weight": random(3)}
    with pytest.raises(ValueError, match=f"the weights are those of .*{what}.* expected") as caught:
        from_torch(named, parts=[item])
    shown = re.findall(r"'(.*?)'", str(caught.value).partition("expected")[2])
    assert len(shown) == ways
    for way in shown:
        with pytest.raises(ValueError, match="holds more"):
            from_torch(named, parts=[way] if "prelu" not in way else ["lstm", way])


def test_what_does_not_fit():
    cases = {
        r'parts=\["lsm"\]: the model has no .*lstm': ["lsm"],
        "expected a name, or name": ["conv(stride=1"],
        "fc is a dense layer, with no options": ["fc(3)"],
        "it does not go together with head": PARTS,
        r"parts: the model holds more: .*fc \(a dense": PARTS[:-1],
        "stride": ["conv(stride=0, padding=1, dilation=1, groups=4)"],
        "unexpected keyword argument 'strid'": ["max_pool(2, strid=1)"],
    }
    for said, parts in cases.items():
        hints = {"head": "fc"} if "head" in said else {}
        with pytest.raises(ValueError, match=said) as caught:
            from_torch(WEIGHTS, parts=parts, **hints)
        assert caught.type is ValueError
    with pytest.raises(ValueError, match="expected 4 numbers, got a sequence of 8"):
        from_torch(
            WEIGHTS | {"fc2.weight": random(2, 4), "fc2.bias": random(2)},
            parts=["conv(stride=1, padding=0, dilation=1, groups=4)", "fc2", *PARTS[1:]],
        )
    with pytest.raises(UnsupportedModelError, match=r"does not compute two .a 2-D convolution"):
        from_torch(WEIGHTS | {"two.weight": random(2, 2, 3, 3)}, parts=["two"])
    model = from_torch(WEIGHTS | fc("aux"), parts=PARTS, ignore="aux")
    assert model.unused == ("aux.weight", "aux.bias")


def test_names_are_proposed_for_what_is_left_over():
    with pytest.raises(UnsupportedModelError, match=r"conv, bn and norm do not say .* with parts"):
        from_torch(WEIGHTS, head="fc")


# --- whole modules ----------------------------------------------------------------------------


def conv_module(**changes):
    options = {"stride": (1,), "padding": "same", "dilation": (2,), "groups": 4}
    options |= {"padding_mode": "zeros"} | changes
    return held("Conv1d", weight=CONV["conv.weight"], bias=CONV["conv.bias"], **options)


def whole(**changes):
    bn = {name.removeprefix("bn."): array for name, array in BN.items()}
    pool = {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 1, "ceil_mode": True}
    norm = held("LayerNorm", weight=NORM["norm.weight"], bias=NORM["norm.bias"], eps=1e-3)
    cnn = [conv_module(), held("BatchNorm1d", eps=1e-3, **bn), held("ReLU"), held("Dropout")]
    cnn += [held("MaxPool1d", **pool)]
    lstm = held("LSTM", **tensors((8, 3)))
    head = sequential(linear(3, 2), held("PReLU", weight=random(2)), held("Identity"))
    parts = {"cnn": sequential(*cnn), "lstm": lstm, "norm": norm, "head": head} | changes
    return held("project.Net", **parts)


def test_modules_say_it_themselves():
    model = from_torch(whole(), parts=["cnn", "lstm", "norm", "last", "head"])
    conv, bn, act, pool, _, norm, _, dense, prelu = model.network.parts
    assert (conv.padding, conv.dilation, conv.groups, conv.stride) == ((2, 2), 2, 4, 1)
    assert bn == from_torch(WEIGHTS, parts=PARTS).network.parts[1]
    assert act == Activate("relu")
    assert pool == Pool("max", 3, 2, padding=(1, 1), ceil=True)
    assert norm.epsilon == 1e-3
    assert isinstance(dense, Dense)
    assert prelu == PReLU(random(2))
    bracketed = from_torch(
        whole(), parts=["cnn", "lstm", "norm(layer_norm, epsilon=0.5)", "last", "head"]
    )
    assert bracketed.network.parts[5].epsilon == 0.5


REFUSED = {
    "padding mode": ({"cnn": conv_module(padding_mode="circular")}, "cnn: padding_mode 'circular'"),
    "no options": ({"cnn": conv_module(stride=None)}, "stride"),
    "of a stranger": ({"norm": held("project.LayerNorm", weight=random(3), eps=1e-3)}, "norm is a"),
    "not named": ({"more": held("Tanh")}, r"computes more: \['more \(Tanh\)'\]"),
    "statistics": ({"cnn": held("BatchNorm1d", eps=1e-3, weight=random(2))}, "running statistics"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_modules_that_are_not_computed(what):
    changes, said = REFUSED[what]
    with pytest.raises(ValueError, match=said):
        from_torch(whole(**changes), parts=["cnn", "lstm", "norm", "last", "head"])


# --- torch's own numbers ------------------------------------------------------------------------


def test_the_numbers_of_torch(tmp_path):
    """Of a live module, of it in a file, and of its weights with all that they do not say."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            same = nn.Conv1d(8, 8, 4, groups=4, dilation=2, padding="same")
            self.cnn = nn.Sequential(
                nn.Conv1d(3, 8, 3, padding=1, stride=2),
                nn.BatchNorm1d(8),
                nn.ReLU(),
                nn.MaxPool1d(3, 2, padding=1, ceil_mode=True),
                same,
                nn.PReLU(),
                nn.AvgPool1d(2, 1, padding=1),
            )
            self.lstm = nn.LSTM(8, 5, batch_first=True)
            self.norm = nn.LayerNorm(5)
            self.both = nn.LSTM(5, 4, batch_first=True, bidirectional=True)
            self.fc = nn.Sequential(nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 2, bias=False))

        def forward(self, x):
            x = self.norm(self.lstm(self.cnn(x.transpose(1, 2)).transpose(1, 2))[0])
            return self.fc(self.both(x)[0][:, -1])

    torch.manual_seed(2)
    net = Net().double().eval()
    net.cnn[1].running_mean.normal_()
    net.cnn[1].running_var.uniform_(0.5, 2)
    x = torch.randn(4, 21, 3, dtype=torch.float64)
    with torch.no_grad():
        theirs = net(x).numpy()
    names = ["cnn", "lstm", "norm", "both", "last", "fc"]
    said = ["cnn.0(stride=2, padding=1, dilation=1, groups=1)", "cnn.1(epsilon=1e-5)", "relu"]
    said += ["max_pool(3, stride=2, padding=1, ceil=True)"]
    said += ["cnn.4(stride=1, padding=same, dilation=2, groups=4)", "cnn.5(prelu)"]
    said += ["avg_pool(2, stride=1, padding=1)", "lstm", "norm(layer_norm, epsilon=1e-5)", "both"]
    said += ["last", "fc.0", "gelu", "fc.2(dense)"]
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    state_dict = load(tmp_path / "weights.pt", parts=said)
    for model in (
        from_torch(net, parts=names),
        from_torch(net.state_dict(), parts=said),
        state_dict,
    ):
        ours = reference.predict(model.network, x.numpy())
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)
