"""`python -m bench networks`: its networks, how they reach the engines, and what is made of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import some_of

# At the end: the package under test is the one that is installed, not the one beside `bench`.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from test_bench_results import cells, stored, timed

from bench import __main__ as bench
from bench import goals, measure, network_costs, networks, readme, report_networks, results, worker
from bench.built import Parts, batch_first
from bench.engines import ENGINES
from bench.network_rows import NETWORKS, NetworkRow
from fastlstm import Bidirectional, Embedding, reference

RIVALS = ("PyTorch", "ONNX Runtime", "OpenVINO")
LACKS = {
    "PyTorch": ("peephole", "hard_sigmoid", "relu", "coupled"),
    "ONNX Runtime": ("projection",),
    "OpenVINO": ("projection",),
}
# OpenVINO 2026.4: leaves out peepholes and coupled gates, does not compile hard sigmoids.
OPENVINO_FAILS = ("peephole", "coupled", "hard_sigmoid")


def small(name, dtype="float32", N=5):
    return NetworkRow(name, N, 6, 3, 8, NETWORKS[name].sizes[4], dtype)


@pytest.mark.parametrize("name", some_of(NETWORKS, "bidir_tag", "peephole", "embedding"))
@pytest.mark.parametrize("engine", ["fastlstm", "NumPy"])
def test_an_engine_agrees_with_the_reference(engine, name):
    row = small(name, "float64")
    model, x = row.model(), row.inputs()
    expected = reference.predict(model.network, x, return_sequences=model.return_sequences)
    found = np.asarray(ENGINES[engine].build(row, x, 1).call())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    exact = measure.float64_outputs(row, np.arange(row.N))
    np.testing.assert_allclose(exact, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("engine", RIVALS)
def test_another_engine_has_the_same_network(engine, name):
    """In a process of its own; needs the engine: `pip install -e '.[bench]'`."""
    if ENGINES[engine].missing():
        pytest.skip(f"needs {', '.join(ENGINES[engine].missing())}")
    if engine == "OpenVINO" and name in OPENVINO_FAILS:
        pytest.skip("is wrong or fails")
    row, every = small(name), np.arange(5)
    if name in LACKS[engine]:
        with pytest.raises(worker.EngineError) as caught:
            worker.Worker(engine, row, 2, every)
        assert caught.value.reason.startswith(report_networks.LACKS)
        return
    with worker.Worker(engine, row, 2, every) as other:
        error = measure.errors(other.outputs, measure.float64_outputs(row, every))["max_error"]
    assert 0 < error < 1e-6


@pytest.mark.parametrize("name", some_of(NETWORKS, "bidir_tag", "peephole", "embedding"))
def test_each_network_is_of_its_kind(name):
    """Its results are not those of the plain network, but for an embedding's vectors."""
    row = small(name)
    x = row.inputs()
    model, plain = row.model(), row.plain()
    assert not any(isinstance(k, Bidirectional | Embedding) for k in plain.layers)
    found, other = model.predict(x), plain.predict(row.plain_inputs(x))
    call = ENGINES["fastlstm, plain"].build(row, x, 1).call
    if name == "embedding":
        np.testing.assert_array_equal(other, call())
        np.testing.assert_allclose(found, other, rtol=0, atol=1e-6)
    else:
        assert call() is None  # another result, which is not compared
        assert found.shape != other.shape or np.abs(found - other).max() > 1e-2


def test_the_work_of_a_network():
    tag = NetworkRow.named("bidir_tag", "float32")
    assert tag.flops == 2 * tag.plain_flops == tag.N * tag.T * 2 * 8 * 64 * (32 + 64)
    two = small("bidir_two")
    assert two.flops == two.steps * 2 * 8 * 8 * ((3 + 8) + (16 + 8))
    assert two.plain_flops == two.steps * 8 * 8 * ((3 + 8) + (8 + 8))
    projection = small("projection")
    assert projection.flops == projection.steps * (8 * 8 * (3 + 2) + 2 * 2 * 8)
    assert projection.plain_flops == projection.steps * 8 * 8 * (3 + 8)


def test_parts_are_put_together_where_they_are_compared():
    y = np.arange(12.0).reshape(2, 3, 2)  # (T, N, K)
    both = np.asarray(Parts([batch_first(y[:, :2]), batch_first(y[:, 2:])]))
    np.testing.assert_array_equal(both, y.swapaxes(0, 1))


# --- costs, goals, tables ----------------------------------------------------------------------


def result(name, own, plain, **others):
    """A stored row; the engines' times by name, or what they have instead."""
    row = NetworkRow.named(name, "float32")
    errors = {"checked": 9, "rms_error": 1e-8, "max_error": 1e-7}
    engines = {
        "fastlstm": timed(own, **errors),
        "fastlstm, plain": timed(plain),
        **{k: timed(v, **errors) if isinstance(v, float) else v for k, v in others.items()},
    }
    for engine in engines.values():
        if "median" in engine:
            engine.update({"sequences": row.N, "flops": row.flops} | engine)
    work = {"steps": row.steps, "flops": row.flops, "plain_flops": row.plain_flops}
    return row.__dict__ | work | {"engines": engines}


def found(*rows):
    return stored("networks", networks=list(rows))


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
    (goal,) = goals.check(found(result(name, own, 1.0)))
    assert (goal.wanted, goal.met) == (wanted, False)
    (goal,) = goals.check(found(result(name, 0.9 * own, 1.0)))
    assert goal.met


def test_a_cost_is_taken_within_each_round():
    row = result("peephole", 1.0, 1.0)
    row["engines"]["fastlstm"]["seconds"] = [2.0, 4.0, 60.0, None]
    row["engines"]["fastlstm, plain"]["seconds"] = [1.0, 2.0, 10.0, 5.0]
    assert network_costs.costs(row) == (2.0, 2.0, 4.0)
    del row["engines"]["fastlstm, plain"]
    assert network_costs.costs(row) is None
    assert not goals.check(found(row))


def test_the_table_of_networks():
    lacks = {"failed": "NotImplementedError: no peepholes"}
    wrong = timed(0.01, max_error=0.3, rms_error=0.1, checked=9)
    others = {"PyTorch": lacks, "OpenVINO": wrong, "JAX": {"failed": "RuntimeError: no"}}
    row = result("peephole", 0.1024, 0.1, NumPy=1.024, **others)
    text = report_networks.overview([row])
    line = cells(text, "| peephole")
    assert line[2:7] == ["4,096", "100", "8", "32", "**4.00**"]
    assert line[7:12] == ["0.400", "-", "wrong", "fails", "10.0"]
    assert line[12:14] == ["none", "1.02"]
    assert "- `peephole`: OpenVINO is wrong, by up to 0.3." in text
    assert "No other engine was faster" in text


def test_losses_are_printed():
    text = report_networks.overview([result("embedding", 0.4, 0.5, PyTorch=0.2)])
    assert "- `embedding`: PyTorch is 2.00 x as fast" in text
    assert cells(text, "| embedding")[7] == f"**{8_192 * 64 / 0.2e6:.2f}**"


def test_the_readme_has_a_section_of_each_command(tmp_path, monkeypatch):
    document, path = tmp_path / "README.md", tmp_path / "found.json"
    markers = "<!-- networks: begin -->\nold\n<!-- networks: end -->\n"
    document.write_text(f"before\n{markers}after\n")
    monkeypatch.setattr(readme, "README", document)
    results.write(found(result("peephole", 1.0, 1.0)), path)
    for _ in range(2):  # the second time it is the same
        assert bench.main(["readme", str(path)]) == 0
        text = document.read_text()
        assert text.startswith("before\n<!-- networks: begin -->\nMeasured 2026-01-02")
        assert text.endswith(
            "1 goals for these figures, 1 are met.\n<!-- networks: end -->\nafter\n"
        )
        assert "| peephole |" in path.with_suffix(".md").read_text()
    results.write(stored("trace"), path)
    assert bench.main(["readme", str(path)]) == 2


@pytest.mark.full
def test_a_tiny_run_from_the_command_line(tmp_path, capsys):
    path = tmp_path / "results.json"
    options = ["networks", "--rows", "coupled", "--quick", "--threads", "1", "--json", str(path)]
    options += ["--engines", "fastlstm", "fastlstm, plain"]
    assert bench.main(options) == 0
    assert "| coupled |" in capsys.readouterr().out
    (row,) = json.loads(path.read_text())["networks"]
    assert row["N"] == 256
    assert row["plain_flops"] == row["flops"]
    assert row["engines"]["fastlstm"]["max_error"] < 1e-6
    assert "max_error" not in row["engines"]["fastlstm, plain"]
    assert set(networks.ENGINES) <= set(ENGINES)
