"""Weights and modules that no hint names: refused, with the hint that would name them."""

import json
import re

import numpy as np
import pytest
from model_files import (
    fc,
    random,
    tensors,
)
from torch_modules import both_directions, held, held_net, linear, sequential

import fastlstm
from fastlstm import Embedding, from_torch, load
from fastlstm.errors import UnsupportedModelError

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


def test_the_line_keeps_the_activations_of_the_cell():
    named, activations = both_directions() | fc(hidden=6), ("hardsigmoid", "tanh", "softsign")
    with pytest.raises(ValueError, match='read="final"') as caught:
        from_torch(named, head="fc", activations=list(activations))
    assert 'activations=("hardsigmoid", "tanh", "softsign"), read="last")' in str(caught.value)
    with pytest.raises(ValueError, match='read="final"') as caught:
        from_torch(named, head="fc", activations=["sigmoid", "tanh", "tanh"])
    assert "activations" not in str(caught.value)


def test_only_they_need_read():
    assert from_torch(both_directions()).read == "final"
    assert from_torch(tensors() | fc(), head="fc").read == "final"
    below = {f"a.{name}": value for name, value in both_directions().items()}
    model = from_torch(below | tensors((6, 3), "b.") | fc(), prefix=["a", "b"], head="fc")
    assert model.read == "final"


def test_a_head_of_one_direction_alone():
    with pytest.raises(UnsupportedModelError, match=r'head="fc" reads 3 numbers: one direction'):
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
    assert "from_torch(model" not in str(caught.value)  # there is no line that would mend it
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
    with pytest.raises(
        ValueError, match=r"net.Decoder\(net.Encoder\(x\)\[0\]\)\. Most decoders"
    ) as no:
        from_torch(named, names, "fc")
    assert no.type is ValueError
    assert from_torch(named, names, "fc", chain="steps").num_layers == 2
    with pytest.raises(ValueError, match="chain: expected a list of several names as prefix"):
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
        with pytest.raises(ValueError, match=r"\. Dense layers behind the LSTM, each") as caught:
            from_torch(named)
        assert "from_torch(model" not in str(caught.value), what


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


@pytest.mark.parametrize("name", ["lstm.bias_hh_l0", "head.2.bias", "head.1", "head.2"])
def test_parts_of_what_is_used_are_not_ignored(name):
    head = sequential(linear(3, 2), held("ReLU"), linear(2, 1))
    with pytest.raises(ValueError, match=rf'ignore="{name}.*": this is a part of the') as caught:
        from_torch(held_net(head), head="head", ignore=name)
    assert caught.type is ValueError


def test_half_an_lstm_is_not_ignored():
    named = both_directions() | fc(hidden=6)
    backward = [name for name in named if name.endswith("_reverse")]
    with pytest.raises(
        ValueError, match=r'ignore="weight_ih_l0_reverse": this is a part of the LSTM'
    ):
        from_torch(named, ignore=[*backward, "fc"])
    with pytest.raises(ValueError, match=r"ignore=\"fc.bias\": this is a part of the head 'fc'"):
        from_torch(named, head="fc", read="last", ignore="fc.bias")
