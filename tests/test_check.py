"""A network beside what torch, Keras or a file gives: agreement, and what is noticed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from model_files import random, tensors
from networks import Maker, chain

from fastlstm import LSTM, UnsupportedModelError, from_keras, from_torch, reference
from fastlstm.check import _require, allowed_error, check_keras, compare, verify
from fastlstm.network.reading import Read
from fastlstm.network.steps import Flatten

pytestmark = pytest.mark.usefixtures("few_kernels")

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("ours", "theirs", "largest"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([1.0, NAN], [1.0, NAN], 0),
        ([INF, 1.0], [INF, 1.0], 0),
        ([NAN, 1.0], [1.0, 1.0], NAN),
        ([1.0, 1.0], [NAN, 1.0], NAN),
        ([INF, 1.0], [-INF, 1.0], NAN),
        ([INF, 1.0], [3.0, 5.0], NAN),
    ],
)
def test_how_far_two_results_are_apart(ours, theirs, largest):
    found = compare(np.array(ours), np.array(theirs))
    assert found.largest == largest or (math.isnan(found.largest) and math.isnan(largest))
    assert found.within(1.0) == (not math.isnan(largest))


def test_nothing_to_compare():
    for theirs in (np.zeros((0, 2)), np.full((3, 2), NAN)):
        with pytest.raises(ValueError, match="no finite numbers to compare"):
            compare(theirs, theirs)


def test_what_float32_explains():
    model = from_torch(tensors((3, 8)))
    x = random(5, 20, 3)
    y = reference.predict(model.network, x)
    allowed = allowed_error(model, x, y)
    apart = abs(y - reference.predict(model.astype("float64").network, x)).max()
    assert 4 * apart < allowed < 1e-5
    wide = model.astype("float64")
    assert allowed_error(wide, x, y) < 1e-13
    assert allowed_error(wide, x, y, np.float32) == pytest.approx(allowed, rel=0.5)


def test_what_would_agree_is_said_of_networks_of_any_parts():
    make = Maker(0, "float64")
    model = chain(make.conv(3, 4, 2), make.layer(4, 5), Read(), make.norm(5))
    x = random(5, 20, 3)
    other = LSTM.from_network(model.network.reading("max")).predict(x)
    with pytest.raises(UnsupportedModelError, match='; they agree with read="max"'):
        _require(model, x, [other], "the model")
    flat = chain(make.layer(3, 4), Flatten(20))
    with pytest.raises(UnsupportedModelError, match="rounding in float64 explains only"):
        _require(flat, x, [flat.predict(x) + 1], "the model")


# --- torch ----------------------------------------------------------------------------------


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def make_net(torch, read, both, batch_first=True):
    """A classifier whose forward says what the head reads."""

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(3, 4, batch_first=batch_first, bidirectional=both)
            self.drop = torch.nn.Dropout(0.5)
            self.fc = torch.nn.Linear(8 if both else 4, 2)

        def forward(self, x):
            out, (h_n, c_n) = self.lstm(x)
            if not batch_first:
                out = out.transpose(0, 1)
            h = torch.cat([h_n[-2], h_n[-1]], 1) if both else h_n[-1]
            what = {"final": h, "last": out[:, -1], "relu": torch.relu(h), "mean": out.mean(1)}
            return self.fc(self.drop(what[read])), (h_n, c_n)

    torch.manual_seed(3)
    return Net()


HINTS = {
    "final": {"read": "final"},
    "last": {"read": "last"},
    "relu": {"read": "final", "between": "relu"},
    "mean": {"read": "mean"},
}


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_module_is_compared(torch, batch_first):
    """As it is in eval() mode, of which nothing is left afterwards."""
    x = random(6, 6, 3)  # as many steps as sequences: orders are told apart
    for read, hints in HINTS.items():
        net = make_net(torch, read, True, batch_first).train()
        net.lstm.eval()
        from_torch(net, head="fc", check=x, **hints)
        assert (net.training, net.lstm.training, net.drop.training) == (True, False, True)
        for other in HINTS:
            if other != read:
                with pytest.raises(UnsupportedModelError, match="what the module does: they are 0"):
                    from_torch(net, head="fc", check=torch.from_numpy(x), **HINTS[other])


def test_a_module_of_float64_is_compared_in_float64(torch):
    module, x = torch.nn.LSTM(3, 4, batch_first=True).double(), random(4, 5, 3, dtype="float64")
    from_torch(module, check=x)
    forward = module.forward
    module.forward = lambda x: (forward(x)[0] + 1e-7, tuple(k + 1e-7 for k in forward(x)[1]))
    with pytest.raises(UnsupportedModelError, match=r"they are 1e-07 apart .* float64 explains"):
        from_torch(module, check=x)


def test_what_would_agree_is_said(torch):
    with pytest.raises(UnsupportedModelError, match=r'; they agree with read="last"$'):
        from_torch(make_net(torch, "last", True), head="fc", read="final", check=random(4, 5, 3))


def test_modules_of_other_kinds_are_compared(torch):
    nn = torch.nn
    x = random(4, 5, 3)
    for module in (nn.LSTM(3, 4, 2, bidirectional=True), nn.LSTMCell(3, 4)):
        from_torch(module, check=x)
    from_torch(nn.LSTM(3, 4), return_sequences=True, check=x)
    half = nn.LSTM(3, 4).bfloat16()
    from_torch(half, check=x)
    assert half.weight_hh_l0.dtype == torch.bfloat16
    ids = np.arange(20).reshape(4, 5) % 7
    net = nn.ModuleDict({"emb": nn.Embedding(7, 3), "lstm": nn.LSTM(3, 4, batch_first=True)})
    net.forward = lambda ids: net["lstm"](net["emb"](ids))[1][0][-1]
    from_torch(net, embedding="emb", check=ids)


def test_nan_is_no_agreement(torch):
    x = random(4, 5, 3)
    x[1, 2] = NAN
    net = make_net(torch, "last", False)
    from_torch(net, head="fc", check=x)
    forward = net.forward
    net.forward = lambda x: torch.nan_to_num(forward(x)[0])
    with pytest.raises(UnsupportedModelError, match=r"nan apart \(at \[1, 0\] nan, expected 0\)"):
        from_torch(net, head="fc", check=x)


def test_what_cannot_be_compared(torch):
    lstm, x = torch.nn.LSTM(3, 4), random(4, 5, 3)
    with pytest.raises(TypeError, match="check: weights alone compute nothing"):
        from_torch(lstm.state_dict(), check=x)
    with pytest.raises(TypeError, match=r"check: expected an array \(N, T, 3\), got str"):
        from_torch(lstm, check="x")
    with pytest.raises(
        UnsupportedModelError, match=r"cannot be run on inputs of shape \(4, 5, 2\)"
    ):
        from_torch(lstm, check=x[..., :2])
    net = make_net(torch, "last", False)
    forward = net.forward
    net.forward = lambda x: forward(x)[0]
    with pytest.raises(UnsupportedModelError, match=r"gives \(4, 2\) .*, the network \(4, 4\)"):
        from_torch(net, prefix="lstm", check=x)


# --- Keras ----------------------------------------------------------------------------------


class Live:
    """What of a Keras model the comparison uses."""

    layers: tuple = ()

    def __init__(self, y):
        self.y = y

    def __call__(self, x, training):
        assert training is False
        return self.y


def test_a_keras_model_is_compared():
    model, x = from_torch(tensors((3, 4))), random(4, 5, 3)
    check_keras(Live(model.predict(x)), model, x)
    with pytest.raises(UnsupportedModelError, match=r"what the Keras model does: they are 0\.01"):
        check_keras(Live(model.predict(x) + 0.01), model, x)
    with pytest.raises(ValueError, match=r"check: no sequences to compare, got shape \(0, 5, 3\)"):
        check_keras(Live(model.predict(x[:0])), model, x[:0])


def test_a_masked_keras_model_is_compared():
    """With a mask there is no maximum to try: the message says how far apart they are."""
    plain = from_torch(tensors((3, 4)))
    model, x = LSTM(plain.layers, mask_value=0.0), random(4, 5, 3)
    with pytest.raises(UnsupportedModelError, match=r"what the Keras model does: they are 0\.01"):
        check_keras(Live(model.predict(x) + 0.01), model, x)


def test_ids_are_compared_as_they_are(tmp_path):
    model = from_torch(tensors((3, 4)) | {"emb.weight": random(7, 3)}, embedding="emb")
    ids = np.arange(10).reshape(2, 5) % 7
    y = model.predict(ids)
    for right in (ids, ids.astype(np.uint8), ids[..., None]):
        check_keras(Live(y), model, right)
    for wrong in (ids + 0.7, ids.astype(np.float32), ids > 2, np.zeros((2, 5, 4), np.int64)):
        said = rf"integer ids \(N, T\), got {wrong.dtype} of shape \(2, 5"
        with pytest.raises(TypeError, match=rf"check: expected an array of {said}"):
            check_keras(Live(y), model, wrong)
        np.save(tmp_path / "x.npy", wrong)
        np.save(tmp_path / "y.npy", y)
        with pytest.raises(TypeError, match=rf"x\.npy: expected an array of {said}"):
            verify(model, tmp_path / "x.npy", tmp_path / "y.npy")


def test_from_keras_takes_it():
    with pytest.raises(TypeError, match=r"from_keras takes no argument 'chek'; did you mean check"):
        from_keras(None, chek=1)
