"""Networks from torch's modules and tensors: nothing dropped, nothing misread."""

import json
import re
import sys

import numpy as np
import pytest
from helpers import predictions
from model_files import (
    IN_TORCH,
    NAN,
    assert_same,
    fc,
    layer_of,
    random,
    tensors,
    write_tensors,
)

import fastlstm
from fastlstm import LSTM, Bidirectional, Dense, Embedding, Layer, from_torch, load, reference
from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.budget import OverBudget, budgeted
from fastlstm.formats.torch.state import Holder
from fastlstm.network.state import State

# from_torch: mappings


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("biases", [True, False])
def test_mapping(dtype, biases):
    named = tensors((2, 5, 3, 1), dtype=dtype, biases=biases)
    model = from_torch(named)
    assert model.layers == tuple(layer_of(named, k) for k in range(3))
    assert model.dtype == dtype
    assert model.head == ()
    assert model.return_sequences is False
    assert from_torch(named, return_sequences=True).return_sequences is True


@pytest.mark.parametrize("root", ["", "lstm.", "encoder.rnn."])
def test_head_by_name(root):
    named = tensors(root=root) | fc("out.fc")
    head = Dense(named["out.fc.weight"], named["out.fc.bias"])
    prefix = root.removesuffix(".")
    models = [
        from_torch(named, head="out.fc"),
        from_torch(named, prefix=prefix, head="out.fc"),
        from_torch(named, prefix=root, head="out.fc."),
    ]
    for model in models:
        assert model.layers[1] == layer_of(named, 1, root)
        assert model.head == (head,)
    del named["out.fc.bias"]
    assert from_torch(named, head="out.fc").head == (Dense(head.weight),)
    if root:
        assert from_torch(named, prefix=prefix).head == ()


@pytest.mark.parametrize(
    "head", [Dense(random(2, 3), random(2)), (random(2, 3), random(2)), [random(2, 3), random(2)]]
)
def test_head_by_value(head):
    assert from_torch(tensors(), head=head).head == (Dense(random(2, 3), random(2)),)


def test_head_as_a_number():
    named = tensors((1, 1))
    assert from_torch(named, head=4).head == (Dense(np.array([[4]], "f4")),)


def test_one_of_two_by_prefix():
    named = tensors(root="encoder.") | tensors((4, 7), root="decoder.") | fc(hidden=7)
    model = from_torch(named, "decoder")
    assert model.layers == (layer_of(named, 0, "decoder."),)
    assert {name.partition(".")[0] for name in model.unused} == {"encoder", "fc"}
    with pytest.raises(ValueError, match=r"expected one LSTM, got 2: .*\['encoder', 'decoder'\]"):
        from_torch(named, head="fc")


def test_everything_that_a_layer_has():
    """By name, in both directions; a swapped gate or direction would not be equal."""
    named = {}
    for end in ("", "_reverse"):
        shapes = {"weight_ih": (12, 2), "weight_hh": (12, 2), "bias_hh": (12,), "weight_hr": (2, 3)}
        shapes |= {f"peephole_{gate}": (3,) for gate in "ifo"}
        for seed, (kind, shape) in enumerate(shapes.items()):
            named[f"{kind}_l0{end}"] = random(*shape, seed=seed + 10 * len(end))

    def cell(end, direction):
        peepholes = np.stack([named[f"peephole_{gate}_l0{end}"] for gate in "ifo"])
        return Layer(
            *(named.get(f"{kind}_l0{end}") for kind in IN_TORCH),
            w_hr=named[f"weight_hr_l0{end}"],
            peepholes=peepholes,
            activations=(("hard_sigmoid", 1 / 6, 0.5), "softsign", "linear"),
            direction=direction,
        )

    model = from_torch(named, activations=("hardsigmoid", "softsign", None))
    assert model.layers == (Bidirectional(cell("", "forward"), cell("_reverse", "reverse")),)
    assert model.layers[0].forward != cell("_reverse", "forward")


def test_checkpoints():
    """What stands beside a state_dict is left alone; what computes is not."""
    model = from_torch(tensors() | fc(), head="fc")
    parts = tensors() | fc()
    beside = {"epoch": 3, "optimizer": {"state": {0: {"step": random(4)}}, "param_groups": [{}]}}
    for nested in (
        {"model": parts},
        {"state_dict": {f"module.{name}": value for name, value in parts.items()}},
        {"checkpoint": {"net": parts, "lr": 0.1}},
        {"model": parts, "loss": random(1)[0], "rng": np.zeros(8, "u1")},
        {"lstm": tensors(), "fc": {"weight": parts["fc.weight"], "bias": parts["fc.bias"]}},
    ):
        assert from_torch(nested | beside, head="fc") == model
    two = {"model": parts, "ema": parts | {"fc.bias": parts["fc.bias"] + 1}}
    assert from_torch(two, ignore="ema", head="fc") == model
    assert from_torch(two, prefix="model", ignore="ema", head="fc") == model
    assert from_torch(two, ignore=["model"], head="fc") != model
    callbacks = {"stop": {"best": random(1)}}
    lightning = {"state_dict": parts, "pytorch-lightning_version": "2", "callbacks": callbacks}
    assert from_torch(lightning, head="fc") == model
    itself = {"model": parts}
    itself["again"] = itself
    assert from_torch(itself, head="fc") == model


def test_several_that_follow_each_other():
    named = tensors((2, 3), "a.") | tensors((3, 4), "b.") | fc(hidden=4)
    model = from_torch(named, prefix=["a", "b"], head="fc")
    assert model.layers == (layer_of(named, 0, "a."), layer_of(named, 0, "b."))


def test_hints_of_a_head():
    named = tensors() | fc("a", 3, 4) | fc("b", 4, 2)
    model = from_torch(
        named, head=["a", "b"], activation=[("leaky_relu", 0.2), "softmax"], read="max"
    )
    assert [str(dense.activation) for dense in model.head] == ["leaky_relu(0.2)", "softmax"]
    assert model.read == "max"
    one = tensors((2, 1))
    model = from_torch(one, head=2.0, activation="sigmoid", skip=1)
    assert model.head == (Dense(np.array([[2]], "f4"), activation="sigmoid"),)
    assert model.skip == 1


def test_half_precision_is_widened():
    named = tensors(dtype="float16")
    model = from_torch(named)
    assert model.dtype == np.float32
    np.testing.assert_array_equal(model.layers[0].w_hh, named["weight_hh_l0"].astype("f4"))


def without(*names):
    return {name: value for name, value in (tensors() | fc()).items() if name not in names}


def swapped(name, value):
    return tensors() | {name: value}


# what, arguments, error, message
REFUSED = {
    "half a direction": (
        swapped("bias_ih_l1_reverse", random(12)),
        {},
        ValueError,
        "layer 1: there is no tensor weight_ih_l1_reverse",
    ),
    "only backward": (
        {f"{name}_reverse": value for name, value in tensors((2, 3)).items()},
        {},
        ValueError,
        "expected the tensors of an LSTM",
    ),
    "directions of two sizes": (
        tensors((2, 3)) | {f"{name}_reverse": value for name, value in tensors((2, 4)).items()},
        {},
        ValueError,
        "layer 0: expected both directions to have the same",
    ),
    "projection": (
        swapped("weight_hr_l1", random(2, 3)),
        {},
        ValueError,
        r"layer 1 .*w_hr: expected shape \(3, H\) .* got \(2, 3\)",
    ),
    "a single peephole": (
        swapped("peephole_o_l0", random(3)),
        {},
        ValueError,
        "layer 0: there is no tensor peephole_i_l0",
    ),
    "activations": (
        tensors(),
        {"activations": ("cubic", "tanh", "tanh")},
        UnsupportedModelError,
        "activation 'cubic': this version computes",
    ),
    "two activations": (tensors(), {"activations": ("tanh", "tanh")}, ValueError, "three activ"),
    "weight norm": (
        swapped("weight_hh_l0_g", random(12, 1)),
        {},
        UnsupportedModelError,
        "weight_hh_l0_g: weight_norm or another parametrization",
    ),
    "parametrized": (
        {"lstm.parametrizations.weight_ih_l0.original0": random(12, 1)},
        {},
        UnsupportedModelError,
        "original0: weight_norm or another parametrization",
    ),
    "layers and a cell": (
        swapped("weight_ih", random(12, 3)),
        {},
        ValueError,
        "weight_ih: beside weight_ih_l0",
    ),
    "read": (tensors(), {"read": "first"}, ValueError, "read: expected one of .* got 'first'"),
    "activation without a head": (
        tensors(),
        {"activation": "tanh"},
        ValueError,
        'activation="tanh": there is no head',
    ),
    "two activations of a head": (
        tensors(),
        {"head": Dense(random(1, 3), activation="relu"), "activation": "tanh"},
        ValueError,
        'activation="tanh": the head has relu',
    ),
    "several heads, one activation": (
        tensors() | fc() | fc("out", 2, 1),
        {"head": ["fc", "out"], "activation": "sigmoid"},
        ValueError,
        r'each of the 2 layers, such as activation=\["relu", None\], got activation="sigmoid"$',
    ),
    "several heads, no activations": (
        tensors() | fc() | fc("out", 2, 1),
        {"head": ["fc", "out"]},
        ValueError,
        r'each of the 2 layers, such as activation=\["relu", None\], got none$',
    ),
    "heads in the wrong order": (
        tensors() | fc() | fc("out", 2, 1),
        {"head": ["out", "fc"], "activation": [None, None]},
        ValueError,
        r"head: expected a weight of shape \(outputs, 3\)",
    ),
    "embedding left over": (
        tensors(root="lstm.") | {"emb.weight": random(9, 2)},
        {},
        ValueError,
        r'emb \(a table of 9 x 2: .*\)\. If that is the embedding: .*\(model, embedding="emb"\)\.',
    ),
    "no such embedding": (
        tensors() | {"emb.weight": random(9, 2)},
        {"embedding": "table"},
        ValueError,
        r"embedding=\"table\": expected a tensor table.weight alone, .*candidates: \['emb'\]",
    ),
    "embedding of other size": (
        tensors() | {"emb.weight": random(9, 4)},
        {"embedding": "emb"},
        ValueError,
        "layer 1: expected 4 inputs",
    ),
    "an embedding with a bias": (
        tensors() | fc("emb", 2, 9),
        {"embedding": "emb"},
        ValueError,
        "expected a tensor emb.weight alone",
    ),
    "several ends": (
        tensors(root="lstm.") | fc("a.fc") | fc("b.fc"),
        {"head": "fc"},
        ValueError,
        r"head=\"fc\": there are several; candidates: \['a.fc.weight', 'b.fc.weight'\]",
    ),
    "several LSTMs in a checkpoint": (
        {"model": tensors(), "ema": tensors(), "epoch": 3},
        {},
        ValueError,
        r"expected one LSTM, got 2: .*candidates: \['model', 'ema'\]",
    ),
    "another model in a checkpoint": (
        {"encoder": {"conv.weight": random(3, 3)}, "decoder": tensors()},
        {},
        ValueError,
        r"more than an LSTM: encoder.conv \(a table of 3 x 3",
    ),
    "scaling by a number in the model": (
        {"model": tensors() | {"scale": random(1)[0]}},
        {},
        ValueError,
        r"more than an LSTM: model \(weights of unknown meaning, scale \(\)\)",
    ),
    "scaling of one input beside the model": (
        {"model": tensors((1, 3)), "mean": random(1)},
        {},
        ValueError,
        r"more than an LSTM: mean \(weights of unknown meaning, mean ",
    ),
    "scaling beside the model": (
        {"model": tensors(), "mean": random(2)},
        {},
        ValueError,
        r"more than an LSTM: mean \(weights of unknown meaning, mean ",
    ),
    "stack that does not fit": (
        tensors(root="a.") | tensors((2, 3), root="b."),
        {"prefix": ["a", "b"]},
        ValueError,
        "layer 2: expected 3 inputs",
    ),
    "gru": (
        {"weight_ih_l0": random(9, 2), "weight_hh_l0": random(9, 3)},
        {},
        UnsupportedModelError,
        r"layer 0 is a GRU, not an LSTM: weight_hh_l0 has shape \(9, 3\)",
    ),
    "rnn": (
        {"weight_ih_l0": random(3, 2), "weight_hh_l0": random(3, 3)},
        {},
        UnsupportedModelError,
        "layer 0 is a plain RNN",
    ),
    "integers": (
        swapped("bias_hh_l1", np.zeros(12, np.int8)),
        {},
        UnsupportedModelError,
        "bias_hh_l1: expected .* got int8",
    ),
    "unknown weight": (
        swapped("weight_xx_l0", random(3)),
        {},
        ValueError,
        "weight_xx_l0: not a weight of an LSTM",
    ),
    "odd layer number": (
        swapped("weight_ih_l01", random(3)),
        {},
        ValueError,
        "weight_ih_l01: not a weight of an LSTM",
    ),
    "no hidden weight": (
        without("weight_hh_l1"),
        {"head": "fc"},
        ValueError,
        "layer 1: there is no tensor weight_hh_l1",
    ),
    "layer left out": (
        without("weight_ih_l1", "weight_hh_l1", "bias_ih_l1", "bias_hh_l1")
        | {"weight_ih_l2": random(12, 3)},
        {"head": "fc"},
        ValueError,
        "layer 1: there is no tensor weight_ih_l1",
    ),
    "quantised": (
        {"lstm._all_weight_values.0.param": random(3)} | fc(),
        {},
        UnsupportedModelError,
        r"values\.0\.param: a quantised LSTM; save the model as it was before that",
    ),
    "a prefix that is no name": (tensors(), {"prefix": 3}, TypeError, "prefix: expected a name or"),
    "ignored by number": (tensors(), {"ignore": [3]}, TypeError, "ignore: expected a name or a li"),
    "an embedding that is no name": (
        tensors(),
        {"embedding": 3},
        TypeError,
        "embedding: expected a name, got 3",
    ),
    "no LSTM": (fc(), {}, ValueError, r"weight_ih_l0 first, got \['fc.weight', 'fc.bias'\]"),
    "nothing": ({}, {}, ValueError, r"expected the tensors of an LSTM, .*got \[\]"),
    "head not named": (
        tensors(root="lstm.") | fc(),
        {},
        ValueError,
        r'more than an LSTM: fc \(a dense layer, 3 -> 2\)\. .*from_torch\(model, head="fc"\)\.',
    ),
    "more than the head": (
        tensors(root="lstm.") | fc() | fc("out"),
        {"head": "out"},
        ValueError,
        r"LSTM and the head 'out': fc \(a dense layer, 3 -> 2\)\. Only weights of another branch",
    ),
    "more than the head, plain": (
        tensors() | fc() | {"mean": random(2)},
        {"head": "fc"},
        ValueError,
        r"LSTM and the head 'fc': mean ",
    ),
    "more than a head by value": (
        tensors(root="lstm.") | fc(),
        {"head": (random(2, 3), None)},
        ValueError,
        r"more than an LSTM and a head: fc \(",
    ),
    "no such head": (
        tensors() | fc() | fc("out"),
        {"head": "nothing"},
        ValueError,
        r"no tensor nothing.weight; candidates: \['fc', 'out'\]",
    ),
    "head with more": (
        tensors() | fc() | {"fc.scale": random(1)},
        {"head": "fc"},
        ValueError,
        r"a weight and a bias only, got also \['fc.scale'\]",
    ),
    "head of other size": (
        tensors() | fc(hidden=4),
        {"head": "fc"},
        ValueError,
        r"head: expected a weight of shape \(outputs, 3\).* got \(2, 4\)",
    ),
    "head of other dtype": (
        tensors() | fc(dtype="float64"),
        {"head": "fc"},
        ValueError,
        "head: expected float32 as in the layers, got float64",
    ),
    "no such prefix": (
        tensors(root="lstm."),
        {"prefix": "rnn"},
        ValueError,
        r"there is no rnn.weight_ih_l0; candidates: \['lstm'\]",
    ),
    "shape": (
        swapped("bias_ih_l1", random(9)),
        {},
        ValueError,
        r"layer 1 \(weight_ih_l1 ...\): b_ih: expected shape \(12,\).*got \(9,\)",
    ),
    "sizes of layers": (swapped("weight_ih_l1", random(12, 4)), {}, ValueError, "4"),
    "nan": (swapped("bias_hh_l1", NAN), {}, ValueError, r"layer 1 .*b_hh: expected finite.*\[5\]"),
    "dtypes": (swapped("bias_hh_l1", random(12, dtype="f8")), {}, ValueError, "one dtype"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what):
    source, options, error, message = REFUSED[what]
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        from_torch(source, **options)
    assert caught.type is error


@pytest.mark.parametrize("source", [None, [1], np.zeros(3)])
def test_not_a_model(source):
    with pytest.raises(TypeError, match="expected a torch module or a mapping of names"):
        from_torch(source)


def test_names_are_text():
    with pytest.raises(TypeError, match="expected names as keys, got 1"):
        from_torch({1: np.zeros(3)})


# from_torch: modules and tensors


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


def test_masks_are_not_dropped():
    masked = {name: np.ma.array(a, mask=a > 1) for name, a in tensors().items()}
    with pytest.raises(TypeError, match="the mask would be lost"):
        from_torch(masked)
    with pytest.raises(TypeError, match="the mask would be lost"):
        from_torch(tensors(), head=(np.ma.array(random(2, 3)), None))


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


def test_tensors_without_numbers(torch):
    for odd in (
        torch.nn.LSTM(2, 3, device="meta").state_dict(),
        torch.nn.LSTM(2, 3).state_dict() | {"bias_hh_l0": torch.eye(12)[0].to_sparse()},
    ):
        with pytest.raises(UnsupportedModelError, match="expected a dense tensor of floats"):
            from_torch(odd)


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


def test_half_precision_tensors(torch):
    for dtype in (torch.bfloat16, torch.float16):
        module = torch.nn.LSTM(2, 3, dtype=dtype)
        model = from_torch(module)
        assert model.dtype == np.float32
        expected = module.weight_hh_l0.detach().float().numpy()
        np.testing.assert_array_equal(model.layers[0].w_hh, expected)


def test_arrays_need_no_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it would fail
    assert from_torch(tensors() | fc(), head="fc").head


# files with torch's names


@pytest.mark.parametrize("kind", [".npz", ".safetensors"])
def test_files_with_names_of_torch(tmp_path, kind):
    named, path = tensors(root="lstm.") | fc(), tmp_path / f"torch{kind}"
    write_tensors(path, named)
    assert_same(load(path, head="fc"), from_torch(named, head="fc"))
    assert load(path, prefix="lstm").head == ()
    with pytest.raises(
        ModelFormatError, match=rf'more than.* fastlstm\.load\("\S+torch{kind}", head="fc"\)'
    ):
        load(path)
    with pytest.raises(UnsupportedModelError, match=f"torch{kind}: activation 'cubic'"):
        load(path, prefix="lstm", activations=("cubic", "tanh", "tanh"))
    with pytest.raises(TypeError, match=r"load takes no argument 'prefiks'; did you mean prefix\?"):
        load(path, prefiks="lstm")


@pytest.mark.parametrize("kind", [".npz", ".safetensors"])
def test_a_wrong_option_is_no_fault_of_the_file(tmp_path, kind):
    named, path = tensors(root="a.") | fc(), tmp_path / f"torch{kind}"
    write_tensors(path, named | tensors(root="b."))
    for options in ({}, {"head": "fc"}, {"prefix": "c"}, {"prefix": "a", "head": "typo"}):
        with pytest.raises(ValueError, match=rf"torch{kind}: .*candidates") as caught:
            load(path, **options)
        assert caught.type is ValueError
    write_tensors(path, named | fc("out"))
    for options in ({"head": "out"}, {"prefix": "a", "head": (random(2, 4), None)}):
        with pytest.raises(ValueError, match=rf"torch{kind}: ") as caught:
            load(path, **options)
        assert caught.type is ValueError
    write_tensors(path, fc())
    with pytest.raises(ModelFormatError, match="expected the tensors of an LSTM"):
        load(path, prefix="a")


def test_metadata_of_others_in_safetensors(tmp_path):
    write_tensors(tmp_path / "a.safetensors", tensors(), {"format": "pt"})
    assert_same(load(tmp_path / "a.safetensors"), from_torch(tensors()))


def test_half_precision_in_safetensors(tmp_path, torch):
    to_file = pytest.importorskip("safetensors.torch").save_file
    named = {name: torch.from_numpy(value) for name, value in tensors().items()}
    path = tmp_path / "half.safetensors"
    for dtype in (torch.bfloat16, torch.float16):
        narrow = {name: value.to(dtype) for name, value in named.items()}
        to_file(narrow, path)
        assert_same(load(path), from_torch(narrow))
    to_file(named | {"bias_ih_l0": named["bias_ih_l0"].to(torch.int8)}, path)
    with pytest.raises(UnsupportedModelError, match=r"half.safetensors: bias_ih_l0: .*got I8"):
        load(path)


def test_fortran_order_and_other_byte_order_in_npz(tmp_path):
    named = {name: np.asfortranarray(value.astype(">f4")) for name, value in tensors().items()}
    np.savez_compressed(tmp_path / "a.npz", **named)
    assert_same(load(tmp_path / "a.npz"), from_torch(tensors()))


def test_other_numbers_in_npz(tmp_path):
    path = tmp_path / "a.npz"
    for dtype in ("i1", "f16", "c8", "?"):
        np.savez(path, **tensors() | {"bias_hh_l0": np.zeros(12, dtype)})
        with pytest.raises(UnsupportedModelError, match=r"a\.npz: bias_hh_l0: expected float64"):
            load(path)


# what weights do not say


def both_directions():
    return tensors((2, 3)) | {f"{name}_reverse": -a for name, a in tensors((2, 3)).items()}


LINES = {
    "final": 'read="final") for fc(torch.cat([h_n[-2], h_n[-1]], 1))',
    "last": 'read="last") for fc(out[:, -1])',
}


@pytest.mark.parametrize("hints", [{"head": "fc"}, {"head": (random(2, 6), None)}])
def test_two_directions_and_a_head_need_read(hints):
    named = both_directions() | (fc(hidden=6) if hints["head"] == "fc" else {})
    with pytest.raises(ValueError, match="what the head of a bidirectional LSTM reads") as caught:
        from_torch(named, **hints)
    assert caught.type is ValueError
    for line in LINES.values():
        assert line in str(caught.value)
    for read in ("final", "last", "max", "mean"):
        assert from_torch(named, **hints, read=read).read == read
    assert from_torch(named, **hints, return_sequences=True).read == "last"


def test_only_they_need_read():
    assert from_torch(both_directions()).read == "final"
    assert from_torch(tensors() | fc(), head="fc").read == "final"
    below = {f"a.{name}": value for name, value in both_directions().items()}
    model = from_torch(below | tensors((6, 3), "b.") | fc(), prefix=["a", "b"], head="fc")
    assert model.read == "final"


def test_a_head_of_one_direction_alone():
    with pytest.raises(UnsupportedModelError, match=r'head="fc" reads 3 numbers, so one direction'):
        from_torch(both_directions() | fc(), head="fc", read="final")


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_a_line_ready_to_paste(tmp_path, suffix):
    """Each of the lines that a message shows is followed as it is."""
    path = tmp_path / f"model{suffix}"
    named = both_directions() | fc(hidden=6)
    if suffix == ".npz":
        np.savez(path, **named)
    else:
        path.write_text(json.dumps({name: value.tolist() for name, value in named.items()}))
    given = {} if suffix == ".npz" else {"return_sequences": False}
    for hints in (given, {"head": "fc", **given}):
        with pytest.raises(ValueError, match=r"fastlstm\.load") as caught:
            load(path, **hints)
        lines = re.findall(r"(fastlstm\.load\(.*?\)) for fc\(", str(caught.value))
        assert [eval(line, {"fastlstm": fastlstm}).read for line in lines] == ["final", "last"]


# module: its weights, what is said of it, and the error
NOT_COMPUTED = {
    "norm": ({"norm.weight": random(3), "norm.bias": random(3)}, "a normalisation of 3 numbers"),
    "batch norm": (
        {"bn.running_mean": random(3), "bn.num_batches_tracked": np.array(1)},
        "a batch normalisation of 3 numbers",
    ),
    "convolution": ({"conv.weight": random(2, 5, 3)}, "a convolution, 5 -> 2 channels"),
    "attention": ({"mha.in_proj_weight": random(9, 3)}, "an attention over 3 numbers"),
}


@pytest.mark.parametrize("what", NOT_COMPUTED)
@pytest.mark.parametrize("hints", [{}, {"head": "fc"}, {"head": "fc", "prefix": "lstm"}])
def test_layers_that_are_not_computed_are_never_left_out(what, hints):
    weights, said = NOT_COMPUTED[what]
    named = tensors(root="lstm.") | weights | fc()
    with pytest.raises(UnsupportedModelError, match=said) as caught:
        from_torch(named, **hints)
    assert "from_torch(" not in str(caught.value)  # there is no line that would mend it
    module = next(iter(weights)).partition(".")[0]
    model = from_torch(named, **{"head": "fc"} | hints, ignore=module)
    assert set(model.unused) == set(weights)
    assert model.astype("float64").unused == model.unused


def test_a_prefix_alone_takes_the_lstm_part():
    """What follows it is left out and named; what may stand in front of it is refused."""
    named = tensors(root="lstm.") | fc() | {"norm.weight": random(3), "norm.bias": random(3)}
    named |= tensors((5, 4), "other.")
    model = from_torch(named, prefix="lstm")
    assert model.head == ()
    assert set(model.unused) == {name for name in named if not name.startswith("lstm.")}
    for in_front in (
        {"norm.weight": random(2), "norm.bias": random(2)},
        fc("proj", 2, 2),
        {"conv.weight": random(2, 5, 3)},
        tensors((5, 2), "below."),
        {"scale": random(1)[0]},
    ):
        with pytest.raises(ValueError, match=r"may stand in front .*, with ignore$") as caught:
            from_torch(tensors(root="lstm.") | fc() | in_front, prefix="lstm")
        assert caught.type is ValueError


def test_a_siamese_network_gives_one_of_its_encoders():
    named = {"a_emb.weight": random(9, 2), "b_emb.weight": random(9, 2)}
    named |= tensors((2, 3, 3), "a.") | tensors((2, 3, 3), "b.")
    named |= fc("hidden", 6, 3) | fc("out", 3, 1)
    model = from_torch(named, prefix="a", embedding="a_emb")
    assert model.layers[0] == Embedding(named["a_emb.weight"])
    assert {name.partition(".")[0] for name in model.unused} == {"b_emb", "b", "hidden", "out"}
    with pytest.raises(ValueError, match=r"head 'out' and the embedding 'a_emb': b_emb .*hidden"):
        from_torch(named, prefix="a", embedding="a_emb", head="out")


def test_an_encoder_and_a_decoder_are_no_chain_unless_one_says_so():
    named = tensors((2, 3), "net.Encoder.") | tensors((3, 3), "net.Decoder.") | fc()
    names = ["net.Encoder", "net.Decoder"]
    with pytest.raises(ValueError, match=r"net.Decoder\(net.Encoder\(x\)\[0\]\)\. A decoder") as no:
        from_torch(named, names, "fc")
    assert no.type is ValueError
    assert from_torch(named, names, "fc", chain="steps").num_layers == 2
    with pytest.raises(ValueError, match="chain: expected a list of several as prefix"):
        from_torch(tensors() | fc(), head="fc", chain="steps")
    with pytest.raises(ValueError, match='chain: expected "steps", got'):
        from_torch(named, names, "fc", chain="state")
    with pytest.raises(
        ValueError, match=r"is a chain, in which each reads every step .* b\(a\(x\)"
    ):
        from_torch(named, head="fc")


def test_what_is_ignored_has_to_be_there():
    named = tensors(root="m.lstm.") | fc("m.fc") | fc("m.aux") | fc("x.aux")
    assert from_torch(named, head="fc", ignore=["m.aux", "x"]).head
    assert from_torch(named, head="fc", ignore=["m.aux.weight", "m.aux.bias", "x.aux"]).head
    with pytest.raises(ValueError, match=r'ignore="m.auks": .*nothing of that name; did you mean'):
        from_torch(named, head="fc", ignore="m.auks")
    with pytest.raises(ValueError, match=r'ignore="aux": there are several'):
        from_torch(named, head="fc", ignore="aux")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_activation_between_lstm_and_head(tmp_path, dtype):
    named = tensors((2, 3), dtype=dtype) | fc(dtype=dtype)
    model = from_torch(named, head="fc", between="relu")
    x = random(5, 4, 2, dtype=dtype)
    h = np.maximum(from_torch(named, ignore="fc").predict(x), 0)
    expected = h @ named["fc.weight"].T + named["fc.bias"]
    for _, ours in predictions(model, x):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=8 * np.finfo(dtype).eps)
    assert load(model.save(tmp_path / "model.npz")) == model
    plain = from_torch(named, head="fc")
    assert abs(plain.predict(x) - expected).max() > 0.01
    with pytest.raises(ValueError, match='between="relu": there is no head'):
        from_torch(tensors(), between="relu")


@pytest.mark.parametrize("value", ["no", 1, None])
def test_return_sequences_is_true_or_false(value):
    with pytest.raises(TypeError, match="expected return_sequences to be True or False, got"):
        from_torch(tensors(), return_sequences=value)
    with pytest.raises(TypeError, match="expected return_sequences to be True or False, got"):
        LSTM([layer_of(tensors())], return_sequences=value)


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


# modules as a file has them, and what is named by their kinds


def held(kind, **attributes):
    """A module of a file; `kind` is its class in torch, or a class of a stranger's."""
    home = {"LSTM": "rnn", "Linear": "linear", "Embedding": "sparse", "LayerNorm": "normalization"}
    home |= {"Sequential": "container", "Dropout": "dropout", "Identity": "linear"}
    torchs = f"torch.nn.modules.{home.get(kind, 'activation')}.{kind}"
    holder = Holder(kind if "." in kind else torchs)
    holder.attributes = attributes
    return holder


def sequential(*modules):
    return held("Sequential", **{str(k): module for k, module in enumerate(modules)})


def linear(inputs, outputs, seed=0):
    weight, bias = random(outputs, inputs, seed=seed), random(outputs, seed=seed)
    return held("Linear", weight=weight, bias=bias)


def held_net(head=None, sizes=(2, 3), **more):
    head = {"fc": linear(sizes[-1], 1)} if head is None else {"head": head}
    return held("project.Net", lstm=held("LSTM", **tensors(sizes)), **head, **more)


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
    with pytest.raises(UnsupportedModelError, match="expected modules of up to 16 inside of each"):
        from_torch(net, head="fc")


def test_no_line_for_what_may_stand_in_front():
    lstm = tensors((4, 4), "lstm.")
    ways = {
        "in front by sizes": fc("inp", 4, 4) | lstm | fc(hidden=4),
        "behind in the file": lstm | fc("inp", 4, 4) | fc(hidden=4),
        "two in front": fc("a", 4, 6) | fc("b", 6, 4) | lstm | fc(hidden=4),
        "before in the file": fc("z", 3, 2) | tensors(root="lstm."),
        "without bias": {"inp.weight": random(4, 4)} | lstm,
    }
    for what, named in ways.items():
        with pytest.raises(ValueError, match=r"\. Dense layers behind the LSTM, in") as caught:
            from_torch(named)
        assert "from_torch(" not in str(caught.value), what


def test_lines_for_what_may_be_an_embedding_or_a_head():
    """Each line is followed; which of them is meant, sizes do not say."""
    shown = {
        ((2, 4), (2, 4)): ['head="t"'],
        ((2, 4), (9, 2)): ['embedding="t"'],
        ((4, 4), (9, 4)): ['head="t"', 'embedding="t"'],
    }
    for (sizes, shape), hints in shown.items():
        named = tensors(sizes, "lstm.") | {"t.weight": random(*shape)}
        with pytest.raises(ValueError, match="more than an LSTM: t ") as caught:
            from_torch(named)
        lines = re.findall(r"fastlstm\.from_torch\(model, (.*?)\)", str(caught.value))
        assert lines == hints
        for line in lines:
            eval(f"from_torch(named, {line})", {"from_torch": from_torch, "named": named})
    both = tensors((4, 4), "lstm.") | {"t.weight": random(9, 4)} | fc(hidden=4)
    with pytest.raises(ValueError, match=r'parts: fastlstm.*, embedding="t", head="fc"\)\.'):
        from_torch(both)


def test_the_name_of_a_sequential_is_proposed():
    head = sequential(linear(3, 2), held("ReLU"), sequential(linear(2, 1), held("Sigmoid")))
    with pytest.raises(ValueError, match=r'the head: fastlstm.from_torch\(model, head="head"\)\.'):
        from_torch(held_net(head))
    head.attributes["3"] = held("project.Scale")
    with pytest.raises(ValueError, match=r'head=\["head.0", "head.2.0"\], activation='):
        from_torch(held_net(head))


IN_FRONT = {
    "activation": held("Tanh"),
    "norm": held("LayerNorm", elementwise_affine=0),
    "own": held("project.Scale"),
    "own by a known name": held("project.Dropout"),
    "in another": sequential(held("Tanh")),
}


@pytest.mark.parametrize("what", IN_FRONT)
def test_a_prefix_alone_refuses_modules_without_weights(what):
    net = held("project.Net", pre=IN_FRONT[what], lstm=held("LSTM", **tensors()))
    with pytest.raises(UnsupportedModelError, match=r"'pre.*, which may stand in front .* ignore$"):
        from_torch(net, prefix="lstm")
    assert from_torch(net, prefix="lstm", ignore="pre").layers


def test_a_prefix_alone_leaves_out_what_is_behind():
    head = sequential(linear(3, 2), held("ReLU"), linear(2, 1))
    net = held_net(head, drop=held("Dropout"), fc2=linear(1, 1))
    assert len(from_torch(held("DataParallel", module=net), prefix="lstm").unused) == 6
    named = tensors((2, 3), "lstm.") | fc("a", 2, 5) | fc("b", 5, 2)
    with pytest.raises(
        ValueError, match=r"LSTM: a \(.*, b \(.*which by its sizes may stand in fro"
    ):
        from_torch(named, prefix="lstm")


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


@pytest.mark.parametrize("name", ["lstm.bias_hh_l0", "head.2.bias", "head.1", "head.2"])
def test_parts_of_what_is_used_are_not_ignored(name):
    head = sequential(linear(3, 2), held("ReLU"), linear(2, 1))
    with pytest.raises(ValueError, match=rf'ignore="{name}.*": is a part of the') as caught:
        from_torch(held_net(head), head="head", ignore=name)
    assert caught.type is ValueError


def test_half_an_lstm_is_not_ignored():
    named = both_directions() | fc(hidden=6)
    backward = [name for name in named if name.endswith("_reverse")]
    with pytest.raises(ValueError, match=r'ignore="weight_ih_l0_reverse": is a part of the LSTM'):
        from_torch(named, ignore=[*backward, "fc"])
    with pytest.raises(ValueError, match=r"ignore=\"fc.bias\": is a part of the head 'fc'"):
        from_torch(named, head="fc", read="last", ignore="fc.bias")
