"""`python -m bench networks`: its networks, and what is made of its results."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bench_results import cells, missed, result, timed, workload_row
from helpers import some_of

from bench import __main__ as bench
from bench import show
from bench.harness import accuracy
from bench.harness.engines import ENGINES
from bench.harness.internals import predict_by_reference
from bench.harness.onnx_graph import WRITERS, input_layout, model_bytes
from bench.harness.parts import Activate, Join, Network, Read, Repeat, called, operations
from bench.harness.ways import laid_out
from bench.networks import command as networks
from bench.networks.kinds import KINDS, NetworkWorkload
from fastlstm import LSTM, Bidirectional, Embedding
from fastlstm.network.steps import Slice


def small(name, dtype="float64", N=5):
    return NetworkWorkload(name, N, 6, 3, 8, KINDS[name].sizes[4], dtype)


@pytest.mark.parametrize("name", some_of(KINDS, "bidir_tag", "embedding", "attention"))
@pytest.mark.parametrize("label", ["fastlstm", "NumPy"])
def test_an_engine_agrees_with_the_reference(label, name):
    workload = small(name)
    model, x = workload.model(), workload.inputs()
    expected = predict_by_reference(model, x)
    found = np.asarray(ENGINES[label].build(workload, x, 1).call())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    exact = accuracy.float64_outputs(workload, np.arange(workload.N))
    np.testing.assert_allclose(exact, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", KINDS)
def test_each_network_is_of_its_kind(name):
    """Its results are not those of the plain network, but for an embedding's vectors."""
    workload = small(name)
    x, model, plain = workload.inputs(), workload.model(), workload.plain()
    if plain is None:
        assert not model.network.usual
        return
    assert not any(isinstance(k, Bidirectional | Embedding) for k in plain.layers)
    found = predict_by_reference(model, x)
    other = predict_by_reference(plain, workload.plain_inputs(x))
    if name == "embedding":
        np.testing.assert_allclose(found, other, rtol=0, atol=1e-14)
    else:
        assert found.shape != other.shape or np.abs(found - other).max() > 1e-2


@pytest.mark.parametrize("name", ["embedding", "peephole"])
def test_only_an_embedding_is_compared_with_its_plain_network(name):
    workload = small(name)
    x = workload.inputs()
    found = ENGINES["fastlstm, plain"].build(workload, x, 1).call()
    if name == "embedding":
        expected = predict_by_reference(workload.model(), x)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    else:
        assert found is None


def test_the_work_of_a_network():
    tag = NetworkWorkload.named("bidir_tag", "float32")
    assert tag.flops == 2 * tag.plain_flops == tag.N * tag.T * 2 * 8 * 64 * (32 + 64)
    two = small("bidir_two")
    assert two.flops == two.steps * 2 * 8 * 8 * ((3 + 8) + (16 + 8))
    assert two.plain_flops == two.steps * 8 * 8 * ((3 + 8) + (8 + 8))
    projection = small("projection")
    assert projection.flops == projection.steps * (8 * 8 * (3 + 2) + 2 * 2 * 8)
    assert projection.plain_flops == projection.steps * 8 * 8 * (3 + 8)


def test_the_work_of_whole_networks():
    def work(name):
        found = small(name)
        assert found.flops == found.N * operations(found.model(), found.T)
        return found.flops / (2 * found.N)

    # T, I, H = 6, 3, 8
    assert work("cnn_lstm") == 2 * 8 * 5 * 3 + 1 * 4 * 8 * (8 + 8) + 8 * 6
    assert work("cnn_bilstm") == 6 * (8 * 3 * (3 + 8) + 2 * 4 * 8 * (8 + 8) + 16 * 30)
    up, down = 4 * 4 * (4 + 4) + 4 * 8 * (4 + 8) + 8 * 3, 4 * 8 * (3 + 8) + 4 * 4 * (8 + 4)
    assert work("autoencoder") == 6 * (up + down)
    assert work("attention") == 6 * (2 * 4 * 8 * (3 + 8) + 16 * 8 + 8) + 16
    assert work("layer_norm") == 6 * 4 * 8 * (3 + 8 + 8 + 8)


def test_the_parts_of_a_call():
    """What is read at last is a part, and is left out where every step is wanted."""

    def names(name):
        return [type(part).__name__ for part in called(small(name).model())]

    assert names("bidir_tag") == ["Bidirectional"]
    assert names("bidir_last") == ["Bidirectional", "Read"]
    assert names("autoencoder")[2:4] == ["Read", "Repeat"]
    assert {type(part) for name in KINDS for part in called(small(name).model())} == {*WRITERS} - {
        Activate
    }


def test_a_convolution_gets_its_input_steps_last():
    assert input_layout(small("cnn_lstm").model()) == "NKT"
    assert input_layout(small("bidir_tag").model()) == "TNK"
    x = np.arange(24).reshape(2, 3, 4)
    assert laid_out(x, "NKT").tolist() == x.swapaxes(1, 2).tolist()
    assert laid_out(x, "TNK").tolist() == x.swapaxes(0, 1).tolist()
    assert laid_out(x[:, :, 0], "TNK").tolist() == x[:, :, 0].T.tolist()


def test_what_is_not_written_is_refused():
    """The table then says `-`; a part is never left out."""
    pytest.importorskip("onnx")
    model = small("layer_norm").model()
    parts = model.network.parts
    sliced = LSTM.from_network(Network([parts[0], Slice(1, None), *parts[1:]]))
    with pytest.raises(NotImplementedError, match="Slice is not written"):
        model_bytes(sliced, 5, 6)
    curved = LSTM.from_network(Network([*parts, Activate("gelu")]))
    with pytest.raises(NotImplementedError, match="gelu is not written"):
        model_bytes(curved, 5, 6)
    with pytest.raises(NotImplementedError, match="nothing but layers of one direction"):
        model_bytes(model, 5, 6, state=True)
    twice = [parts[0], Read("final"), Repeat(6), Join("add", (0, 2)), *parts[2:]]
    with pytest.raises(NotImplementedError, match="last states beside outputs of every step"):
        model_bytes(LSTM.from_network(Network(twice)), 5, 6)


# --- costs, goals, tables ----------------------------------------------------------------------


def stored_row(name, own, plain, **others):
    """A stored row; the engines' seconds by name, or what they have instead."""
    workload = NetworkWorkload.named(name, "float32")
    engines = {"fastlstm": own, "fastlstm, plain": plain} | others
    return workload_row(workload, engines, plain_flops=workload.plain_flops)


def found(*rows):
    return result("networks", networks=list(rows))


@pytest.mark.parametrize(
    ("name", "own", "wanted"),
    [
        ("bidir_tag", 2.11, "<= 2.1 x"),
        ("peephole", 1.11, "<= 1.1 x"),
        ("embedding", 1.01, "<= 1 x"),
        ("bidir_two", 2.75, "<= 1.05 x"),  # 544 operations against 208
        ("projection", 0.40, "<= 1 x"),  # 7 against 18
    ],
)
def test_a_cost_has_a_goal(name, own, wanted):
    (goal,) = networks.goals(found(stored_row(name, own, 1.0)))
    assert (goal.wanted, goal.met) == (wanted, False)
    assert not missed(networks, found(stored_row(name, 0.9 * own, 1.0)))


def test_a_whole_network_has_a_goal_beside_the_best_other_engine():
    row = stored_row("attention", 1.0, {"failed": "not asked"}, PyTorch=1.4, JAX=3.0)
    (goal,) = networks.goals(found(row))
    assert (goal.what, goal.wanted, goal.met) == ("attention: against PyTorch", ">= 1.5 x", False)
    assert not missed(networks, found(stored_row("attention", 0.9, {"failed": ""}, PyTorch=1.4)))


def test_a_cost_is_taken_within_each_round():
    row = stored_row("peephole", 1.0, 1.0)
    row["engines"]["fastlstm"]["seconds"] = [2.0, 4.0, 60.0, None]
    row["engines"]["fastlstm, plain"]["seconds"] = [1.0, 2.0, 10.0, 5.0]
    assert networks.costs(row) == (2.0, 2.0, 4.0)
    del row["engines"]["fastlstm, plain"]
    assert networks.costs(row) is None
    assert not list(networks.goals(found(row)))


def test_the_table_of_networks():
    lacks = {"failed": "NotImplementedError: no peepholes"}
    wrong = timed(0.01, max_error=0.3, rms_error=0.1, checked=9)
    others = {"PyTorch": lacks, "OpenVINO": wrong, "JAX": {"failed": "RuntimeError: no"}}
    row = stored_row("peephole", 0.1024, 0.1, NumPy=1.024, **others)
    text = show.render(found(row))
    line = cells(text, "| peephole | peepholes")
    assert line[2:7] == ["4,096", "100", "8", "32", "**4.00**"]
    assert line[7:12] == ["0.400", "-", "wrong", "fails", "10.0"]
    assert line[12:14] == ["none", "1.02"]
    assert "- `peephole`: OpenVINO is wrong, by up to 0.3." in text
    assert "No other engine was faster" in text
    assert "10.0 (`peephole`) times as fast" in networks.readme(found(row))


def test_losses_are_printed():
    text = networks.overview([stored_row("embedding", 0.4, 0.5, PyTorch=0.2)])
    assert "- `embedding` in float32: PyTorch is 2.00 x as fast" in text
    assert cells(text, "| embedding")[7] == f"**{8_192 * 64 / 0.2e6:.2f}**"


@pytest.mark.full
def test_a_tiny_run_from_the_command_line(tmp_path, capsys):
    path = tmp_path / "result.json"
    options = ["networks", "--rows", "coupled", "--quick", "--threads", "1", "--json", str(path)]
    options += ["--engines", "fastlstm", "fastlstm, plain"]
    assert bench.main(options) == 0
    assert "| coupled |" in capsys.readouterr().out
    (row,) = json.loads(path.read_text())["networks"]
    assert row["N"] == 256
    assert row["plain_flops"] == row["flops"]
    assert row["engines"]["fastlstm"]["max_error"] < 1e-6
    assert "max_error" not in row["engines"]["fastlstm, plain"]
