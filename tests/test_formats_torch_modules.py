"""Networks from torch's modules, live ones and those of files."""

import numpy as np
import pytest
from model_files import (
    assert_same,
    layer_of,
    random,
)
from torch_modules import held, held_net, linear, sequential

from fastlstm import Dense, Embedding, Layer, from_torch, reference
from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.budget import OverBudget, budgeted
from fastlstm.network.state import State


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def net(torch):
    torch.manual_seed(0)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(2, 3, num_layers=2, batch_first=True, dropout=0.5)
            self.fc = torch.nn.Linear(3, 1)
            self.drop = torch.nn.Dropout(0.5)

    return Net()


def test_module(torch):
    module = torch.nn.LSTM(2, 3, num_layers=2)
    model = from_torch(module)
    expected = {name: value.detach().numpy() for name, value in module.named_parameters()}
    assert model.layers == (layer_of(expected, 0), layer_of(expected, 1))
    assert from_torch(module.state_dict()).layers == model.layers
    assert from_torch(dict(module.named_parameters())).layers == model.layers
    before = model.layers[0].w_ih.copy()
    with torch.no_grad():
        module.weight_ih_l0.zero_()
    np.testing.assert_array_equal(model.layers[0].w_ih, before)


def test_module_that_holds_one(torch, net):
    model = from_torch(net, head="fc")
    assert model.layers == from_torch(net.lstm).layers
    assert model.head == (Dense(net.fc.weight.detach().numpy(), net.fc.bias.detach().numpy()),)
    by_value = from_torch(net, prefix="lstm", head=(net.fc.weight, net.fc.bias))
    assert by_value.head == model.head
    assert from_torch(net, prefix="lstm").head == ()
    with pytest.raises(ValueError, match=r"more than an LSTM: fc \(a dense layer, 3 -> 1\)"):
        from_torch(net)
    net.norm = torch.nn.LayerNorm(3)
    with pytest.raises(UnsupportedModelError, match='head="norm" is a LayerNorm'):
        from_torch(net, head="norm")
    del net.norm
    net.other = torch.nn.LSTM(1, 1)
    with pytest.raises(ValueError, match=r"candidates: \['lstm', 'other'\]"):
        from_torch(net, head="fc")


def test_modules_beside_the_head(torch, net):
    """Whatever computes, with weights or without, is refused unless a part is asked for."""
    nn = torch.nn
    net.fc = nn.Sequential(nn.Dropout(), nn.Linear(3, 1), nn.Identity(), nn.Sequential())
    head = Dense(net.fc[1].weight.detach().numpy(), net.fc[1].bias.detach().numpy())
    assert from_torch(net, head="fc.1").head == (head,)
    for other in (
        nn.ReLU(),
        nn.Sigmoid(),
        nn.Softmax(1),
        nn.LayerNorm(1, elementwise_affine=False),
    ):
        net.fc[2] = other
        kind = type(other).__name__
        for options in ({}, {"prefix": "lstm"}):
            with pytest.raises(UnsupportedModelError, match=rf"\['fc.2 \({kind}\)'\]"):
                from_torch(net, head="fc.1", **options)
        assert from_torch(net, head="fc.1", ignore="fc.2").head == (head,)
    for other in (nn.LayerNorm(1), nn.BatchNorm1d(1), nn.Linear(1, 1)):
        net.fc[2] = other
        for source in (net, net.state_dict()):
            for options in ({}, {"prefix": "lstm"}):
                with pytest.raises(ValueError, match=r"head 'fc.1': fc.2 \(a "):
                    from_torch(source, head="fc.1", **options)
    net.fc = nn.ReLU()
    with pytest.raises(UnsupportedModelError, match=r"\['fc \(ReLU\)'\]"):
        from_torch(net)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript(torch):
    """Its modules' types do not say what they are."""
    nn = torch.nn
    net = nn.Sequential(nn.LSTM(2, 3), nn.Linear(3, 1))
    holder = nn.ModuleDict({"lstm": net[0], "out": net[1]})
    script = torch.jit.script(holder)
    assert_same(from_torch(script, head="out"), from_torch(holder, head="out"))
    holder["relu"] = nn.ReLU()
    with pytest.raises(UnsupportedModelError, match=r"relu \(ReLU\)"):
        from_torch(torch.jit.script(holder), head="out")


def test_other_cells(torch):
    for module in (torch.nn.GRU(2, 3), torch.nn.GRUCell(2, 3)):
        with pytest.raises(UnsupportedModelError, match="layer 0 is a GRU"):
            from_torch(module)
    with pytest.raises(UnsupportedModelError, match="layer 0 is a plain RNN"):
        from_torch(torch.nn.RNN(2, 3))


def test_classes_of_their_own(torch):
    """Their forward may compute anything."""

    class Mine(torch.nn.LSTM):
        pass

    with pytest.raises(UnsupportedModelError, match=r"is a Mine, .*pass its state_dict\(\)"):
        from_torch(Mine(2, 3))
    assert from_torch(Mine(2, 3).state_dict()).hidden_size == 3

    class Linear(torch.nn.Linear):
        pass

    class ReLU(torch.nn.ReLU):
        pass

    net = torch.nn.ModuleDict({"lstm": torch.nn.LSTM(2, 3), "fc": Linear(3, 1)})
    with pytest.raises(UnsupportedModelError, match='head="fc" is a Linear'):
        from_torch(net, head="fc")
    net["fc"] = torch.nn.Sequential(torch.nn.Linear(3, 1), ReLU())
    with pytest.raises(UnsupportedModelError, match=r"fc\.1 is a ReLU"):
        from_torch(net, head="fc")
    net["fc"], net["act"] = net["fc"][0], net["fc"][1]
    with pytest.raises(UnsupportedModelError, match=r"act \(ReLU\)"):
        from_torch(net, head="fc", activation="relu")
    normed = torch.nn.utils.parametrizations.weight_norm(torch.nn.LSTM(2, 3), "weight_hh_l0")
    with pytest.raises(UnsupportedModelError, match="ParametrizedLSTM"):
        from_torch(normed)
    with pytest.raises(ValueError, match="weight_hh_l0"):
        from_torch(normed.state_dict())


def test_cells(torch):
    cell = torch.nn.LSTMCell(2, 3)
    expected = (Layer(*(value.detach().numpy() for value in cell.parameters())),)
    assert from_torch(cell).layers == expected
    assert from_torch(cell.state_dict()).layers == expected
    two = torch.nn.ModuleList([cell, torch.nn.LSTMCell(3, 3)])
    assert from_torch(two, prefix=["0", "1"]).num_layers == 2


TAILS = {
    "ReLU": ((), {}, "relu"),
    "Tanh": ((), {}, "tanh"),
    "Sigmoid": ((), {}, "sigmoid"),
    "SiLU": ((), {}, "silu"),
    "Softsign": ((), {}, "softsign"),
    "Softplus": ((), {}, "softplus"),
    "GELU": ((), {}, "gelu"),
    "GELU of tanh": ((), {"approximate": "tanh"}, "gelu_tanh"),
    "LeakyReLU": ((0.3,), {}, ("leaky_relu", 0.3)),
    "ELU": ((0.7,), {}, ("elu", 0.7)),
    "Hardsigmoid": ((), {}, ("hard_sigmoid", 1 / 6, 0.5)),
    "Softmax": ((-1,), {}, "softmax"),
    "Softmax of 1": ((1,), {}, "softmax"),
}


@pytest.mark.parametrize("kind", TAILS)
def test_activations_of_modules(torch, net, kind):
    """The module's own numbers on random values, as the reference computes the activation."""
    arguments, options, expected = TAILS[kind]
    activation = getattr(torch.nn, kind.partition(" ")[0])(*arguments, **options)
    net.fc = torch.nn.Sequential(torch.nn.Linear(3, 4), activation).double()
    model = from_torch(net.double(), head="fc")
    assert model.head == (
        Dense(*(k.detach().numpy() for k in net.fc[0].parameters()), activation=expected),
    )
    h = np.linspace(-4, 4, 15).reshape(5, 3)
    ours = reference.predict(model.network, np.zeros((5, 0, 2)), None, start_at(h))
    np.testing.assert_allclose(ours, net.fc(torch.from_numpy(h)).detach().numpy(), 1e-13, 1e-15)


def start_at(h):
    """A state of two layers whose last h is given."""
    return State([(np.zeros_like(h)[None],) * 2, (h[None], np.zeros_like(h)[None])])


def test_tails_of_modules(torch, net):
    nn = torch.nn
    net.fc = nn.Sequential(
        nn.Linear(3, 4), nn.Sequential(nn.Dropout(), nn.ReLU()), nn.Linear(4, 2), nn.Softmax(1)
    )
    assert [str(dense.activation) for dense in from_torch(net, head="fc").head] == [
        "relu",
        "softmax",
    ]
    net.fc[1] = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.ReLU())
    model = from_torch(net, head="fc")
    assert [str(dense.activation) for dense in model.head] == ["linear", "relu", "softmax"]
    with pytest.raises(UnsupportedModelError, match=r"fc.3 is Softmax\(dim=1\)"):
        from_torch(net, head="fc", return_sequences=True)
    with pytest.raises(ValueError, match='has the activation softmax already, got activation="ta'):
        from_torch(net, head="fc", activation="tanh")
    for other in (nn.Softmax(0), nn.Softplus(2.0), nn.Softplus(1, 3)):
        net.fc[3] = other
        with pytest.raises(UnsupportedModelError, match=r"fc\.3 is Soft"):
            from_torch(net, head="fc")
    for other in (nn.BatchNorm1d(2), nn.LogSoftmax(1), nn.Flatten(), nn.PReLU()):
        net.fc[3] = other
        with pytest.raises(UnsupportedModelError, match=f"fc.3 is a {type(other).__name__}"):
            from_torch(net, head="fc")


def test_activation_modules_beside_the_head(torch, net):
    """They are accounted for when they are what the caller has named."""
    net.act = torch.nn.Sigmoid()
    model = from_torch(net, head="fc", activation="sigmoid")
    assert str(model.head[0].activation) == "sigmoid"
    for activation in (None, "tanh", "relu"):
        with pytest.raises(UnsupportedModelError, match=r"act \(Sigmoid\)"):
            from_torch(net, head="fc", activation=activation)
    net.out, net.act = torch.nn.Linear(1, 2), torch.nn.ReLU()
    model = from_torch(net, head=["fc", "out"], activation=["relu", "softmax"])
    assert [str(dense.activation) for dense in model.head] == ["relu", "softmax"]


def test_embedding(torch, net):
    net.emb = torch.nn.Embedding(7, 2, padding_idx=1)
    model = from_torch(net, head="fc", embedding="emb")
    assert model.layers[0] == Embedding(net.emb.weight.detach().numpy())
    assert from_torch(net.state_dict(), head="fc", embedding="emb") == model
    assert not model.masks
    with pytest.raises(ValueError, match=r"head 'fc': emb \(a table of 7 x 2: an embedding"):
        from_torch(net, head="fc")
    net.emb = torch.nn.Embedding(7, 2, max_norm=1.0)
    with pytest.raises(UnsupportedModelError, match="max_norm"):
        from_torch(net, head="fc", embedding="emb")
    net.emb = torch.nn.EmbeddingBag(7, 2)
    with pytest.raises(UnsupportedModelError, match="is a EmbeddingBag"):
        from_torch(net, head="fc", embedding="emb")


def test_an_activation_module_that_a_hint_names(torch, net):
    net.relu = torch.nn.ReLU()
    with pytest.raises(UnsupportedModelError, match=r'and head is between="relu", one'):
        from_torch(net, head="fc")
    assert len(from_torch(net, head="fc", between="relu").head) == 2
    net.fc = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(3, 1))
    assert from_torch(net, head="fc", ignore="relu").head == (
        Dense(np.eye(3, dtype="f4"), activation="relu"),
        Dense(*(k.detach().numpy() for k in net.fc[1].parameters())),
    )


def test_a_module_that_is_there_twice_is_used_twice():
    act, tied = held("ReLU"), linear(3, 3)
    twice = sequential(linear(3, 3, 1), act, tied, act, tied)
    apart = sequential(linear(3, 3, 1), held("ReLU"), linear(3, 3), held("ReLU"), linear(3, 3))
    model = from_torch(held_net(twice), head="head")
    assert [str(dense.activation) for dense in model.head] == ["relu", "relu", "linear"]
    assert_same(model, from_torch(held_net(apart), head="head"))
    net = held_net()
    net.attributes["again"] = net.attributes["lstm"]
    with pytest.raises(ValueError, match=r"candidates: \['lstm', 'again'\]"):
        from_torch(net, head="fc")
    net.attributes["again"] = net  # which would have no end
    assert from_torch(net, head="fc").head


def test_what_is_there_twice_again_and_again_takes_steps():
    net = held_net()
    for _ in range(15):
        net = held("project.Two", a=net, b=net)
    with budgeted(2000), pytest.raises(OverBudget, match="more steps than"):
        from_torch(net, head="fc")


def test_modules_too_deep_are_not_dropped():
    net = held_net()
    for depth in range(16):
        assert from_torch(net, head="fc").head, depth
        net = held("project.Wrapper", model=net)
    with pytest.raises(UnsupportedModelError, match="expected modules nested at most 16 deep"):
        from_torch(net, head="fc")


def test_kinds_are_not_told_by_name_alone():
    own = held("project.Embedding", weight=random(9, 2))
    with pytest.raises(UnsupportedModelError, match='"emb" is a Embedding, not torch'):
        from_torch(held_net(emb=own), head="fc", embedding="emb")
    assert from_torch(
        held_net(emb=held("Embedding", weight=random(9, 2))), head="fc", embedding="emb"
    )
    for kind in ("Dropout", "Identity"):
        own = held(f"project.{kind}")
        with pytest.raises(UnsupportedModelError, match=rf"'own \({kind}\)'"):
            from_torch(held_net(own=own), head="fc")
        with pytest.raises(UnsupportedModelError, match=rf"head.1 is a {kind}"):
            from_torch(held_net(sequential(linear(3, 1), own)), head="head")
        assert from_torch(held_net(own=held(kind)), head="fc").head


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_kinds_of_live_torchscript(torch):
    class Dropout(torch.nn.Module):
        def forward(self, x):
            return 2 * x

    parts = {"lstm": torch.nn.LSTM(2, 3), "fc": torch.nn.Linear(3, 1)}
    for drop in (torch.nn.Dropout(), Dropout()):
        script = torch.jit.script(torch.nn.ModuleDict(parts | {"drop": drop}))
        if isinstance(drop, Dropout):
            with pytest.raises(UnsupportedModelError, match=r"drop \(Dropout\)"):
                from_torch(script, head="fc")
        else:
            assert from_torch(script, head="fc").head


def test_a_hint_stands_for_one_module():
    post = held("Sigmoid")
    one = held_net(post=post, again=post)
    assert str(from_torch(one, head="fc", activation="sigmoid").head[0].activation) == "sigmoid"
    two = held_net(pre=held("Sigmoid"), post=post, out=held("ReLU"))
    hints = {"head": "fc", "activation": "sigmoid", "between": "relu"}
    with pytest.raises(UnsupportedModelError, match=r"\['pre \(Sigmoid\)', 'post \(Sigmoid\)'\]"):
        from_torch(two, **hints)
    assert from_torch(two, **hints, ignore="pre").head
    head = sequential(linear(3, 1), held("ReLU"))
    with pytest.raises(UnsupportedModelError, match=r"\['pre \(ReLU\)'\]"):
        from_torch(held_net(head, pre=held("ReLU")), head="head", activation="relu")
