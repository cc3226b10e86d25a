"""The benchmarks: the loops that the engine is measured against, and what is made of the times."""

from __future__ import annotations

import json
import math
import platform
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

# At the end: the package under test is the one that is installed, not the one beside `bench`.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from bench import __main__ as bench
from bench import engines, machine, measure, naive, plain, results, spread, worker
from bench.built import Built, Engine, fastest, part_size
from bench.engines import ENGINES
from bench.options import Run
from bench.rows import BENCHMARK_ROWS, Row
from fastlstm import reference


def is_another(name):
    """Whether it is another library that gives last hidden states of sequences of equal length."""
    engine = ENGINES[name]
    return engine.needs and not engine.from_file and not name.endswith((", step", ", packed"))


ROWS = {
    "seed": Row("seed", 5, 7, 1, 1, 1, "float64"),
    "tiny": Row("tiny", 4, 6, 1, 8, 1, "float64"),
    "mid": Row("mid", 3, 5, 4, 6, 1, "float64"),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("engine", ["fastlstm", "numpy", "python", "trace"])
def test_an_engine_agrees_with_the_reference(engine, row):
    found = ENGINES[engine].build(row, row.inputs(), 1).call()
    expected = reference.predict(row.model().network, row.inputs())
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-15)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("engine", [name for name in ENGINES if is_another(name)])
def test_another_engine_has_the_same_weights(engine, layers):
    """In a process of its own; needs the engine: `pip install -e '.[bench]'`."""
    if ENGINES[engine].missing():
        pytest.skip(f"needs {', '.join(ENGINES[engine].missing())}")
    if (engine, layers) == ("BlockLSTMV2", 2):
        pytest.skip("has one layer")
    row = Row("mid", 4, 5, 3, 6, layers, "float32")
    every = np.arange(row.N)
    with worker.Worker(engine, row, 2, every) as other:
        error = measure.errors(other.outputs, measure.float64_outputs(row, every))["max_error"]
    assert 0 < error < 1e-6


@pytest.mark.parametrize("lengths", ["uniform", "log-normal"])
@pytest.mark.parametrize("engine", ["fastlstm, padded", "fastlstm, ragged"])
def test_unequal_lengths_agree_with_the_reference(engine, lengths):
    row = Row("mid", 9, 8, 2, 3, 2, "float64", lengths)
    found = ENGINES[engine].build(row, row.inputs(), 1).call()
    expected = measure.float64_outputs(row, np.arange(row.N))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-15)


def test_the_lengths_are_what_their_names_say():
    row = Row("mid", 20_000, 1_000, 1, 1, 1, "float32")
    uniform = Row(**row.__dict__ | {"lengths": "uniform"})
    logs = Row(**row.__dict__ | {"lengths": "log-normal"})
    assert row.steps == 20_000 * 1_000
    assert (uniform.real_lengths().min(), uniform.real_lengths().max()) == (250, 1_000)
    assert uniform.real_lengths().mean() == pytest.approx(625, rel=0.01)
    assert logs.real_lengths().mean() == pytest.approx(400, rel=0.03)
    assert logs.real_lengths().min() >= 1
    assert logs.steps == logs.real_lengths().sum()


def test_the_naive_loop_agrees_with_the_reference():
    """As plain Python: Numba's own thread pool in this process would disturb other tests."""
    row = ROWS["mid"]
    (layer,) = row.model().layers
    found = naive.last_hidden.py_func(row.inputs(), layer.w_ih, layer.w_hh, layer.bias)
    expected = reference.predict(row.model().network, row.inputs())
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-15)


@pytest.mark.full
def test_the_compiled_naive_loop_stays_in_float32():
    """In a process of its own, for the same reason."""
    row = Row("mid", 20, 9, 4, 6, 1, "float32")
    every = np.arange(row.N)
    with worker.Worker("prange", row, 1, every) as prange:
        assert prange.outputs.dtype == np.float32
        error = measure.errors(prange.outputs, measure.float64_outputs(row, every))["max_error"]
    assert 0 < error < 1e-6


def test_the_tutorial_is_run_with_the_layers_own_weights():
    (layer,) = ROWS["seed"].model().layers
    params = plain.tutorial_params(layer)
    assert layer.from_gates(params).w_ih.tolist() == layer.w_ih.tolist()
    assert params["forget"] == (layer.w_ih[1, 0], layer.w_hh[1, 0], layer.bias[1])


def test_the_work_of_a_row():
    row = Row.named("mid", "float32")
    assert BENCHMARK_ROWS["mid"] == (row.N, row.T, row.I, row.H, row.layers)
    assert row.steps == 4096 * 100
    assert row.flops == row.steps * 4 * 32 * (8 + 32) * 2


def test_the_work_of_two_layers():
    row = Row.named("fraud", "float32")
    assert row.layers == row.model().num_layers == 2
    assert row.flops == row.steps * 8 * 200 * ((220 + 200) + (200 + 200))
    assert row.weights == sum(k.w_ih.size + k.w_hh.size for k in row.model().layers)


def test_a_stored_row_is_the_row_again():
    row = Row("mid", 3, 4, 5, 6, 2, "float64", "uniform")
    assert Row.of(row.__dict__ | {"engines": {}, "steps": 7}) == row


def test_a_slow_engine_is_timed_on_fewer_sequences():
    row = Row.named("hydro", "float32")

    def timed(**limits):
        return Engine(lambda row, x, threads: None, **limits).sequences(row)

    assert timed() == 512
    assert timed(most_work=1e3) == 1
    assert timed(most_work=1e3, share=16) == 16
    assert timed(most_work=row.work_a_sequence * 100, share=16) == 96
    assert timed(most_work=row.work_a_sequence * 1000, share=16) == 512


def test_quartiles_leave_out_the_rounds_that_an_engine_sat_out():
    assert spread.quartiles([5.0, None, 1.0, 3.0, 2.0, 4.0, None]) == (2.0, 3.0, 4.0)


def test_a_ratio_is_taken_within_each_round():
    slow, fast = [10.0, 20.0, 100.0, 40.0], [1.0, 2.0, 5.0, None]
    assert spread.ratio(slow, fast) == 10.0  # not 30 / 2


def test_errors():
    found = measure.errors(np.array([[1.0, 2.0]], "float32"), np.array([[1.0, 5.0], [9.0, 9.0]]))
    assert found == {"checked": 1, "max_error": 3.0, "rms_error": math.sqrt(4.5)}
    assert measure.errors(None, np.zeros((1, 1))) == {}


def test_a_turn_leaves_out_its_first_call_unless_that_is_all(monkeypatch):
    clock = iter([0.0, 9.0, 9.0, 10.0, 10.0, 11.5, 0.0, 70.0])
    monkeypatch.setattr(worker.time, "perf_counter", lambda: next(clock))
    assert worker.take_turn(lambda: None, 11.0) == 1.25
    assert worker.take_turn(lambda: None, 11.0) == 70.0


def test_every_call_of_an_idle_turn_comes_after_a_pause(monkeypatch):
    done = []
    monkeypatch.setattr(worker.time, "sleep", lambda seconds: done.append(seconds))
    worker.take_turn(lambda: done.append("call"), 0.3, idle=0.5)
    assert done == [0.5, "call"] * (1 + worker.IDLE_CALLS)


def test_the_fastest_way_is_kept(monkeypatch):
    seconds = {"slow": 3.0, "fast": 1.0, "middle": 2.0}
    monkeypatch.setattr("bench.built.quickest", lambda call: float(call()[0]))
    ways = {name: lambda s=s: lambda: np.array([s]) for name, s in seconds.items()}
    monkeypatch.setattr("bench.built.MOST_APART", 9.0)
    made = fastest(ways)
    assert (made.settings, made.call()) == ("fast", 1.0)


def test_ways_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"b: expected the result of a, got another"):
        fastest({"a": lambda: lambda: np.zeros(2), "b": lambda: lambda: np.array([0, 1e-3])})


def test_large_batches_are_cut_into_equal_parts():
    assert part_size(100_000) == 1_000
    assert part_size(8_192) == 1_024
    assert part_size(8_191) is None


def test_the_time_of_some_sequences_is_scaled_to_all(monkeypatch):
    part = object.__new__(worker.Worker)
    part.row, part.sequences, part.spent = Row("seed", 1000, 5, 1, 1, 1, "float32"), 16, 0.0
    part._connection = SimpleNamespace(send=lambda seconds: None)
    monkeypatch.setattr(worker.Worker, "_resume", lambda self: None)
    monkeypatch.setattr(worker.Worker, "_pause", lambda self: None)
    monkeypatch.setattr(worker.Worker, "_answer", lambda self: 0.32)
    assert part.turn(0.0) == 20.0


@pytest.mark.full
def test_a_comparison_times_engines_in_processes_of_their_own():
    row = Row("seed", 200, 5, 1, 1, 1, "float32")
    found = measure.compare(row, ["fastlstm", "numpy"], threads=1, rounds=2, turn_seconds=0.0)
    own = found["engines"]["fastlstm"]
    assert found["name"] == "seed"
    assert own["sequences"] == own["checked"] == 200
    assert len(own["seconds"]) == 2
    assert min(own["seconds"]) > 0
    assert own["max_error"] < 1e-6
    assert own["flops"] == found["flops"] == row.flops
    assert found["steps"] == 1000
    assert list(found["engines"]) == ["fastlstm", "numpy"]


def test_an_engine_that_fails_says_why():
    row = Row("seed", 0, 5, 0, 1, 1, "float32")  # no inputs: not a network
    with pytest.raises(RuntimeError, match=r"(?s)numpy on Row.*ValueError"):
        worker.Worker("numpy", row, 1, np.arange(0))


def test_an_engine_that_fails_does_not_end_the_run(monkeypatch):
    """`prange` has one layer and is given two; it fails in its own process."""
    row = Row("seed", 20, 3, 1, 2, 2, "float32")
    found = measure.compare(row, ["prange", "numpy"], threads=1, rounds=1, turn_seconds=0.0)
    assert found["engines"]["prange"]["failed"].startswith("ValueError: ")
    assert found["engines"]["numpy"]["median"] > 0


def test_an_engine_that_is_not_installed_is_reported(monkeypatch):
    nowhere = Engine(lambda row, x, threads: Built(lambda: None), needs=("no_such_module",))
    monkeypatch.setitem(engines.ENGINES, "nowhere", nowhere)
    chosen = bench.parser().parse_args(["compare", "--quick", "--threads", "1"])
    run = Run("compare", chosen)
    found = run.compare(Row("seed", 20, 3, 1, 1, 1, "float32"), ["nowhere"])
    assert found["engines"] == {}
    assert run.results["missing"] == {"nowhere": "not installed: no_such_module"}


@pytest.mark.parametrize("command", ["compare", "loop", "trace", "networks", "score"])
def test_a_whole_run_is_stored_and_no_other(command, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    for more, stored in (["--threads", "3"], 1), (["--quick"], 0), (["--engines", "fastlstm"], 0):
        run = Run(command, bench.parser().parse_args([command, *more]))
        run.store()
        found = list(tmp_path.glob("*"))
        assert len(found) == stored
        for path in found:
            assert path.name.endswith(f"-{run.threads}-threads-{command}.json")
            path.unlink()


def test_a_tiny_run_from_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(BENCHMARK_ROWS, "seed", (320, 5, 1, 1, 1))
    path = tmp_path / "results.json"
    options = ["compare", "--rows", "seed", "--dtypes", "float32", "--parts", "rows", "--quick"]
    options += ["--engines", "fastlstm", "numpy", "--threads", "1", "--json", str(path)]
    assert bench.main(options) == 0
    printed = capsys.readouterr().out
    assert "| seed |" in printed
    assert "Goals" not in printed  # a quick run shows nothing
    stored = json.loads(path.read_text())
    assert stored["rows"][0]["engines"]["fastlstm"]["sequences"] == 20
    assert bench.main(["show", str(path)]) == 0
    assert capsys.readouterr().out == printed


def test_the_machine_is_described_without_names_of_hosts_and_paths():
    described = machine.describe(3)
    text = json.dumps(described)
    assert described["threads"] == 3
    assert not re.search(rf"\b{re.escape(platform.node())}\b", text)
    assert str(machine.ROOT) not in text
    assert str(Path.home()) + "/" not in text
    assert set(described["versions"]) >= {"fastlstm", "numpy", "numba"}
    name = results.file_name({"machine": described, "command": "loop"})
    assert name.endswith("-3-threads-loop.json")
