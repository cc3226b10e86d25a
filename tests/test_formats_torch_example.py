"""`from_torch(module, example=x)`: a module's own forward, at other sizes than the example's."""

from __future__ import annotations

import re

import numpy as np
import pytest

from fastlstm import UnsupportedModelError, from_torch, load, reference
from fastlstm.formats.torch import example as followed

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def one_thread():
    """Of torch: on a busy machine, several wait for each other far longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Module(nn.Module):
    """A module of these parts and this forward."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.__dict__["code"] = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs):
        return self.code(self, *inputs)


def module_of(forward, inputs=3, hidden=5, outputs=2, **options):
    """An LSTM, a dense layer, and this forward."""
    torch.manual_seed(1)
    lstm = nn.LSTM(inputs, hidden, **{"batch_first": True} | options)
    width = hidden * (2 if options.get("bidirectional") else 1)
    return Module(forward, lstm=lstm, fc=nn.Linear(width, outputs))


def inputs_of(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def agree(model, module, x, turned=None, lengths=None):
    """The model's numbers are the module's."""
    with torch.no_grad():
        given = () if lengths is None else (torch.as_tensor(lengths),)
        theirs = module.eval()(x, *given)
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    ours = reference.predict(model.network, np.asarray(x if turned is None else turned), lengths)
    theirs = theirs.numpy().reshape(ours.shape)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def last(self, x):
    return self.fc(self.lstm(x)[0][:, -1])


def zeros_in_forward(self, x):
    h = torch.zeros(2, x.size(0), 5).to(x.device)
    out, _ = self.lstm(x, (h, h.clone()))
    return self.fc(out[:, -1, :])


def functions_between(self, x):
    _, (h_n, _) = self.lstm(x)
    return torch.sigmoid(self.fc(F.leaky_relu(h_n[-1], 0.2)))


def time_first_inside(self, x):
    out, _ = self.lstm(x.transpose(0, 1))
    return self.fc(F.dropout(out[-1], 0.5, self.training))


def both_ends(self, x):
    _, (h_n, _) = self.lstm(x)
    return self.fc(torch.cat((h_n[-2], h_n[-1]), dim=1))


def views(self, x):
    batch, steps, _ = x.shape
    out, _ = self.lstm(x)
    return self.fc(out.contiguous().view(batch * steps, -1)).view(batch, steps, -1)[:, -1]


def with_its_state(self, x, state=None):
    out, state = self.lstm(x, state)
    return self.fc(out[:, -1]), state


def checked(self, x):
    assert x.size(2) == 3, "three inputs"
    if x.dim() != 3:
        raise ValueError("three axes")
    return last(self, x)


def decided_by_widths(self, x):
    """By as many numbers as there are sequences in some trace."""
    for width in range(2, 8):
        wide = x.new_zeros(x.size(0), width)
        assert wide.size(1) != x.size(2) + 9
    return last(self, x)


def largest_of_all(self, x):
    return self.fc(F.adaptive_max_pool1d(self.lstm(x)[0].transpose(1, 2), 1).squeeze(-1))


def largest_of_window(self, x):
    out = self.lstm(x)[0].transpose(1, 2)
    return self.fc(F.max_pool1d(out, out.size(2)).squeeze(2))


USUAL = {
    "last step": (last, {"num_layers": 2, "dropout": 0.3}),
    "zeros in forward": (zeros_in_forward, {"num_layers": 2}),
    "functions between": (functions_between, {"num_layers": 2}),
    "time first inside": (time_first_inside, {"batch_first": False}),
    "both ends": (both_ends, {"bidirectional": True, "num_layers": 2}),
    "last of both": (last, {"bidirectional": True}),
    "every step": (lambda self, x: F.softmax(self.fc(self.lstm(x)[0]), -1), {}),
    "views": (views, {}),
    "with its state": (with_its_state, {}),
    "checked": (checked, {}),
    "decided by widths": (decided_by_widths, {}),
    "mean": (lambda self, x: self.fc(self.lstm(x)[0].mean(dim=1)), {}),
    "largest": (lambda self, x: self.fc(self.lstm(x)[0].max(dim=1)[0]), {}),
    "largest of all": (largest_of_all, {}),
    "largest of a window": (largest_of_window, {}),
    "one number": (lambda self, x: last(self, x).squeeze(), {"outputs": 1}),
    "as many steps as inputs": (last, {"inputs": 7}),
    "float64": (last, {"dtype": torch.float64}),
}


@pytest.mark.parametrize("kind", USUAL)
def test_modules_in_one_line(kind):
    forward, options = USUAL[kind]
    dtype = options.get("dtype", torch.float32)
    module, inputs = module_of(forward, **options).to(dtype), options.get("inputs", 3)
    model = from_torch(module, example=inputs_of(4, 7, inputs, dtype=dtype))
    assert model.dtype == str(dtype)[6:]
    for sizes in ((4, 7), (6, 12), (2, 3)):
        agree(model, module, inputs_of(*sizes, inputs, seed=5, dtype=dtype))


def test_inputs_of_other_kinds():
    module = module_of(lambda self, x: self.fc(self.lstm(x)[0][-1]), batch_first=False)
    model = from_torch(module, example=inputs_of(7, 4, 3))  # time first
    x = inputs_of(9, 5, 3, seed=2)
    agree(model, module, x, x.transpose(0, 1))
    module = module_of(lambda self, x: last(self, x.transpose(1, 2)))
    model = from_torch(module, example=inputs_of(4, 3, 7).numpy().astype(np.float64))
    x = inputs_of(5, 3, 9, seed=2)  # channels first
    agree(model, module, x, x.transpose(1, 2))
    module = module_of(lambda self, x: last(self, x.unsqueeze(-1)), inputs=1)
    x = inputs_of(5, 9, seed=2)
    agree(from_torch(module, example=inputs_of(1, 7)), module, x, x[..., None])
    module = module_of(lambda self, x: last(self, self.emb(x.long())))
    module.emb = nn.Embedding(20, 3, padding_idx=0)
    ids = np.arange(28).reshape(4, 7) % 20
    for dtype in (np.int64, np.int32, np.uint8):
        model = from_torch(module, example=ids.astype(dtype))
        agree(model, module, torch.from_numpy(np.arange(45).reshape(5, 9) % 20))


def test_half_precision_is_widened():
    module = module_of(last).bfloat16()
    model = from_torch(module, example=inputs_of(4, 7, 3))
    assert model.dtype == np.float32
    assert module.fc.weight.dtype == torch.bfloat16


# --- lengths ----------------------------------------------------------------------------------


def packed(self, x, lengths):
    rows = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    out, (h_n, _) = self.lstm(rows)
    out, _ = pad_packed_sequence(out, batch_first=True)
    return self.read(out, h_n, lengths)


READ = {
    "final": lambda self, out, h_n, lengths: self.fc(torch.cat((h_n[-2], h_n[-1]), 1)),
    "every step": lambda self, out, h_n, lengths: self.fc(out),
    "gathered": lambda self, out, h_n, lengths: self.fc(out[torch.arange(len(out)), lengths - 1]),
}


@pytest.mark.parametrize("given", [[7, 3, 5, 1], [7, 7, 7, 7], [6, 3, 5, 1]])
@pytest.mark.parametrize("read", READ)
def test_packed_sequences(read, given):
    module = module_of(packed, bidirectional=True)
    module.read = READ[read].__get__(module)
    x = inputs_of(4, 7, 3)
    model = from_torch(module, example=(x, torch.tensor(given)))
    lengths = np.array([9, 2, 5, 9, 1])
    if read != "every step":  # behind the end, it applies the dense layer to zeros
        agree(model, module, inputs_of(5, 9, 3, seed=4), lengths=lengths)


def test_lengths_as_they_are_given():
    def forward(self, x, lengths):
        assert isinstance(lengths, list)
        rows = pack_padded_sequence(x, lengths, batch_first=True)
        return self.fc(self.lstm(rows)[1][0][-1])

    model = from_torch(module_of(forward), example=(inputs_of(3, 7, 3), [7, 5, 2]))
    assert model.network.read == "final"


def test_lengths_that_mean_something_else():
    """Than what a row has alone: the mean over the padded steps, too."""

    def forward(self, x, lengths):
        rows = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.fc(pad_packed_sequence(self.lstm(rows)[0], batch_first=True)[0].mean(1))

    for given in ([7, 3, 5, 1], [7, 7, 7, 7]):
        with pytest.raises(UnsupportedModelError, match="does not compute what the module does"):
            from_torch(module_of(forward), example=(inputs_of(4, 7, 3), torch.tensor(given)))


# --- steps that a module fixes ------------------------------------------------------------------


def at_most_hundred(self, x):
    if x.size(1) > 100:
        x = x[:, :100]
    return last(self, x)


def in_pieces(self, x):
    for begin in range(0, x.size(1), 50):
        out, _ = self.lstm(x[:, begin : begin + 50])
    return self.fc(out[:, -1])


def in_chunks(self, x):
    for piece in x.split(50, dim=1):
        out, _ = self.lstm(piece)
    return self.fc(out[:, -1])


FIXED = {
    "decided by steps": at_most_hundred,
    "cut": lambda self, x: last(self, x[:, :100]),
    "the last of many": lambda self, x: last(self, x[:, -100:]),
    "the last of many, after all": lambda self, x: last(self, x[..., -100:, :]),
    "loop": in_pieces,
    "chunks": in_chunks,
    "the smaller": lambda self, x: last(self, x[:, : min(x.size(1), 100)]),
    "length": lambda self, x: last(self, x if len(x[0]) < 100 else x[:, :100]),
}


@pytest.mark.parametrize("kind", FIXED)
def test_what_is_decided_by_steps_is_computed_for_those_alone(kind):
    """At 200 steps, each of them gives other numbers than an LSTM over all."""
    module = module_of(FIXED[kind])
    model = from_torch(module, example=inputs_of(4, 7, 3))
    agree(model, module, inputs_of(6, 7, 3, seed=3))
    with pytest.raises(ValueError, match=r"Flatten, takes exactly 7 steps, and gets 200"):
        model.network.output_steps(np.array([200]))


def test_ids_of_fixed_steps():
    module = module_of(lambda self, x: last(self, self.emb(x)[:, :100]))
    module.emb = nn.Embedding(20, 3)
    x = torch.arange(28).reshape(4, 7) % 20
    model = from_torch(module, example=x)
    assert [type(k).__name__ for k in model.network.parts[:3]] == [
        "Embedding",
        "Flatten",
        "Unflatten",
    ]
    agree(model, module, x.flip(0))


def test_a_fixed_step():
    module = module_of(lambda self, x: self.fc(self.lstm(x)[0][:, 6]))  # the last of seven alone
    model = from_torch(module, example=inputs_of(4, 7, 3))
    agree(model, module, inputs_of(6, 7, 3, seed=3))
    with pytest.raises(ValueError, match="takes exactly 7 steps"):
        model.network.output_steps(np.array([8]))


# --- what is refused --------------------------------------------------------------------------


def decided_by_numbers(self, x):
    out = last(self, x)
    return out if out.sum() > 0 else -out


REFUSED = {
    "numbers": (decided_by_numbers, {}, r"decides by numbers of its inputs, in test_.*:\d+"),
    "item": (lambda self, x: last(self, x) * float(x.max()), {}, "decides by numbers"),
    "random": (lambda self, x: last(self, x + torch.rand_like(x)), {}, "torch exports it: node"),
    "mixed": (lambda self, x: last(self, x) - x.mean(), {}, "torch exports it: node"),
    "projection": (last, {"proj_size": 5, "hidden": 6}, "LSTMs with projections.*by hints"),
    "no LSTM": (lambda self, x: self.fc(torch.tanh(x)[..., :1].mean(1)), {}, "no LSTM operator"),
    "does not run": (
        lambda self, x: last(self, x[..., :2]),
        {},
        "cannot be run on inputs of shape",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_computed(kind, capfd):
    forward, options, said = REFUSED[kind]
    module = module_of(forward, **options)
    if kind in ("projection", "no LSTM"):
        module.fc = nn.Linear(5 if kind == "projection" else 1, 2)
    with pytest.raises(UnsupportedModelError, match=said):
        from_torch(module, example=inputs_of(4, 7, 3))
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_torchscript_is_refused():
    module = nn.Sequential(nn.LSTM(3, 5, batch_first=True))
    x = inputs_of(4, 7, 3)
    with pytest.raises(UnsupportedModelError, match=r"0 is TorchScript, .* or name its parts by"):
        from_torch(nn.Sequential(torch.jit.trace(module[0], x)), example=x)


def test_arguments():
    x, module = inputs_of(4, 7, 3), module_of(last)
    with pytest.raises(TypeError, match=r"example: the module's own .* takes no hint; got head"):
        from_torch(module, head="fc", example=x)
    with pytest.raises(TypeError, match="example: weights alone compute nothing"):
        from_torch(module.state_dict(), example=x)
    with pytest.raises(TypeError, match="example: expected an array of numbers, got str"):
        from_torch(module, example="x")
    with pytest.raises(TypeError, match=r"example: expected an array \(N, T, I\), not a mapping"):
        from_torch(module, example={"x": x})
    with pytest.raises(ValueError, match=r"example: expected several sequences .* got \(7,\)"):
        from_torch(module, example=x[0, :, 0])
    module = Module(None)

    def forward(x, static):
        return x

    module.forward = forward
    with pytest.raises(UnsupportedModelError, match="a further input, static: this version"):
        from_torch(module, example=(x, x[:, 0]))


def test_a_wrong_reading_is_noticed(monkeypatch):
    module = module_of(last, bidirectional=True)
    right = followed.onnx.from_model

    def wrong(model, node, numbers):
        found = right(model, node, numbers)
        return found._replace(network=found.network.reading("final"))

    monkeypatch.setattr(followed.onnx, "from_model", wrong)
    with pytest.raises(UnsupportedModelError, match=r"not compute what the module does: .* apart"):
        from_torch(module, example=inputs_of(4, 7, 3))


def test_it_is_checked_on_other_inputs_too(monkeypatch):
    seen = []
    monkeypatch.setattr("fastlstm.loading.check_module", lambda *given: seen.append(given))
    module, x = module_of(last), inputs_of(4, 7, 3)
    from_torch(module, example=x, check=x)
    assert [given[0] for given in seen] == [module]


# --- what remains -----------------------------------------------------------------------------


def test_the_module_remains_as_it_is(capfd):
    def forward(self, x):
        self.calls.append(x)
        out, self.hidden = self.lstm(x, getattr(self, "hidden", None) if self.keep else None)
        return self.fc(self.norm(out[:, -1]))

    module = module_of(forward)
    module.calls, module.keep, module.norm = [], False, nn.Identity()
    module.lstm.eval()
    module(inputs_of(2, 3, 3))  # its state belongs to the graph of this call
    before = {k: id(v) for k, v in vars(module).items()}
    weights = {k: (id(v), v.detach().clone()) for k, v in module.named_parameters()}
    x = inputs_of(4, 7, 3)
    kept = x.clone()
    from_torch(module, example=x)
    assert {k: id(v) for k, v in vars(module).items()} == before
    assert len(module.calls) == 1
    assert (module.training, module.lstm.training, module.fc.training) == (True, False, True)
    for name, weight in module.named_parameters():
        assert id(weight) == weights[name][0]
        assert torch.equal(weight, weights[name][1])
    assert torch.equal(x, kept)
    assert capfd.readouterr() == ("", "")


def test_the_example_is_that_of_eval_mode():
    module = module_of(lambda self, x: self.fc(self.drop(self.lstm(x)[0][:, -1])))
    module.drop = nn.Dropout(0.5)
    module.train()
    model = from_torch(module, example=inputs_of(4, 7, 3))
    agree(model, module, inputs_of(5, 8, 3, seed=1))


# --- advice -----------------------------------------------------------------------------------


def test_advice_is_followed():
    """Refusals of a live module show the line; it is run as it stands."""
    ways = {
        "more": (lambda self, x: last(self, torch.relu(x)), {}, {"act": nn.Mish()}),
        "which read": (both_ends, {"bidirectional": True}, {}),
        "left over": (lambda self, x: last(self, self.inp(x)), {}, {"inp": nn.Linear(3, 3)}),
    }
    for what, (forward, options, parts) in ways.items():
        module = module_of(forward, **options)
        for name, part in parts.items():
            setattr(module, name, part)
        with pytest.raises(ValueError, match="own forward followed") as caught:
            from_torch(module, head="fc")
        (line,) = re.findall(r"fastlstm\.(from_torch\(module, example=x\))", str(caught.value))
        x = inputs_of(4, 7, 3)
        model = eval(line, {"from_torch": from_torch, "module": module, "x": x})
        agree(model, module, x), what


def test_advice_for_weights_is_to_build_the_module():
    module = module_of(both_ends, bidirectional=True)
    with pytest.raises(ValueError, match=r"build the module, load the weights .*example=x\)$"):
        from_torch(module.state_dict(), head="fc")


def test_no_advice_that_would_not_help():
    module = module_of(last)
    module.mha = nn.MultiheadAttention(5, 1)
    with pytest.raises(UnsupportedModelError, match="attention") as caught:
        from_torch(module, head="fc")
    assert "example" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")  # torch's own
def test_archives_of_torch_export(tmp_path):
    """Are refused by name, also under another; the line in the message is followed."""
    module, x = module_of(last).eval(), inputs_of(4, 7, 3)
    torch.export.save(torch.export.export(module, (x,)), tmp_path / "model.pt2")
    for name in ("model.pt2", "model.pt"):
        path = (tmp_path / "model.pt2").rename(tmp_path / name)
        with pytest.raises(UnsupportedModelError, match=r"torch\.export.*example=x\)") as caught:
            load(path)
        path.rename(tmp_path / "model.pt2")
    (line,) = re.findall(r'(from_torch\(.*"model.pt2".*)', str(caught.value))
    line = line.replace('"model.pt2"', "path")
    names = {"from_torch": from_torch, "torch": torch, "path": tmp_path / "model.pt2", "x": x}
    agree(eval(line, names), module, x)


def test_numbers_of_float64_are_not_those_of_float32():
    """ONNX keeps an epsilon in float32."""
    module = module_of(lambda self, x: F.leaky_relu(last(self, self.norm(x)), 1 / 3)).double()
    module.norm = nn.LayerNorm(3, eps=0.1, dtype=torch.float64)
    x = inputs_of(4, 7, 3, dtype=torch.float64)
    ours = reference.predict(from_torch(module, example=x).network, x.numpy())
    np.testing.assert_allclose(ours, module(x).detach().numpy(), rtol=1e-13, atol=1e-15)
