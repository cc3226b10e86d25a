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
from bench import goals, machine, measure, naive, plain, report, worker
from bench.engines import ENGINES, Engine
from bench.rows import BENCHMARK_ROWS, Row
from fastlstm import reference

ROWS = {
    "seed": Row("seed", 5, 7, 1, 1, "float64"),
    "tiny": Row("tiny", 4, 6, 1, 8, "float64"),
    "mid": Row("mid", 3, 5, 4, 6, "float64"),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("engine", ["fastlstm", "numpy", "python", "trace"])
def test_an_engine_agrees_with_the_reference(engine, row):
    found = ENGINES[engine].build(row, 1)(row.inputs())
    expected = reference.predict(row.model().layers, row.inputs())
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-15)


def test_the_naive_loop_agrees_with_the_reference():
    """As plain Python: Numba's own thread pool in this process would disturb other tests."""
    row = ROWS["mid"]
    (layer,) = row.model().layers
    found = naive.last_hidden.py_func(row.inputs(), layer.w_ih, layer.w_hh, layer.bias)
    expected = reference.predict(row.model().layers, row.inputs())
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-15)


def test_the_compiled_naive_loop_stays_in_float32():
    """In a process of its own, for the same reason."""
    row = Row("mid", 20, 9, 4, 6, "float32")
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
    assert BENCHMARK_ROWS["mid"] == (row.N, row.T, row.I, row.H)
    assert row.steps == 4096 * 100
    assert row.flops == row.steps * 4 * 32 * (8 + 32) * 2


def test_a_slow_engine_is_timed_on_fewer_sequences():
    row = Row.named("hydro", "float32")

    def timed(**limits):
        return Engine(lambda row, threads: None, **limits).sequences(row)

    assert timed() == 512
    assert timed(most_work=1e3) == 1
    assert timed(most_work=1e3, share=16) == 16
    assert timed(most_work=row.work_a_sequence * 100, share=16) == 96
    assert timed(most_work=row.work_a_sequence * 1000, share=16) == 512


def test_quartiles_leave_out_the_rounds_that_an_engine_sat_out():
    assert measure.quartiles([5.0, None, 1.0, 3.0, 2.0, 4.0, None]) == (2.0, 3.0, 4.0)


def test_a_ratio_is_taken_within_each_round():
    slow, fast = [10.0, 20.0, 100.0, 40.0], [1.0, 2.0, 5.0, None]
    assert measure.ratio(slow, fast) == 10.0  # not 30 / 2


def test_errors():
    found = measure.errors(np.array([[1.0, 2.0]], "float32"), np.array([[1.0, 5.0], [9.0, 9.0]]))
    assert found == {"checked": 1, "max_error": 3.0, "rms_error": math.sqrt(4.5)}
    assert measure.errors(None, np.zeros((1, 1))) == {}


def test_a_turn_leaves_out_its_first_call_unless_that_is_all(monkeypatch):
    clock = iter([0.0, 9.0, 9.0, 10.0, 10.0, 11.5, 0.0, 70.0])
    monkeypatch.setattr(worker.time, "perf_counter", lambda: next(clock))
    assert worker.take_turn(lambda: None, 11.0) == 1.25
    assert worker.take_turn(lambda: None, 11.0) == 70.0


def test_the_time_of_some_sequences_is_scaled_to_all(monkeypatch):
    part = object.__new__(worker.Worker)
    part.row, part.sequences, part.spent = Row("seed", 1000, 5, 1, 1, "float32"), 16, 0.0
    part._connection = SimpleNamespace(send=lambda seconds: None)
    monkeypatch.setattr(worker.Worker, "_resume", lambda self: None)
    monkeypatch.setattr(worker.Worker, "_pause", lambda self: None)
    monkeypatch.setattr(worker.Worker, "_answer", lambda self: 0.32)
    assert part.turn(0.0) == 20.0


def test_a_comparison_times_engines_in_processes_of_their_own():
    row = Row("seed", 200, 5, 1, 1, "float32")
    found = measure.compare(row, ["fastlstm", "numpy"], threads=1, rounds=2, turn_seconds=0.0)
    own, loop = found["engines"]["fastlstm"], found["engines"]["numpy"]
    assert found["name"] == "seed"
    assert own["sequences"] == own["checked"] == 200
    assert len(own["seconds"]) == 2
    assert min(own["seconds"]) > 0
    assert own["max_error"] < 1e-6
    assert own["flops"] == row.flops
    assert loop["times_numpy"] == 1.0
    expected = [a / b for a, b in zip(loop["seconds"], own["seconds"], strict=True)]
    assert own["times_numpy"] == pytest.approx(np.median(expected))


def test_an_engine_that_fails_says_why():
    row = Row("seed", 0, 5, 0, 1, "float32")  # no inputs: not a network
    with pytest.raises(RuntimeError, match=r"(?s)numpy on Row.*ValueError"):
        worker.Worker("numpy", row, 1, np.arange(0))


def test_a_tiny_run_from_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(BENCHMARK_ROWS, "seed", (320, 5, 1, 1))
    path = tmp_path / "results.json"
    options = ["--rows", "seed", "--dtypes", "float32", "--parts", "rows", "--quick"]
    options += ["--engines", "fastlstm", "numpy", "--threads", "1", "--json", str(path)]
    assert bench.main(options) == 0
    printed = capsys.readouterr().out
    assert "| seed |" in printed
    assert "Goals" not in printed  # a quick run shows nothing
    stored = json.loads(path.read_text())
    assert stored["rows"][0]["engines"]["fastlstm"]["sequences"] == 20
    assert path.with_suffix(".md").read_text() == printed
    assert bench.main(["--show", str(path)]) == 0
    assert capsys.readouterr().out == printed


def test_the_machine_is_described_without_names_of_hosts_and_paths():
    described = machine.describe(3)
    text = json.dumps(described)
    assert described["threads"] == 3
    assert not re.search(rf"\b{re.escape(platform.node())}\b", text)
    assert str(machine.ROOT) not in text
    assert str(Path.home()) + "/" not in text
    assert set(described["versions"]) >= {"fastlstm", "numpy", "numba"}
    assert report.file_name(described).endswith("-3-threads.json")


def timed(seconds, **more):
    return {"median": seconds, "quartiles": [seconds, seconds], "seconds": [seconds]} | more


def results(predict=0.01, float64=0.02, trace=0.1, fill=0.1):
    """Stored results with figures that are easy to follow."""

    def row(name, dtype, N, **engines):
        for engine in engines.values():
            engine |= {"sequences": N, "flops": 8e9}
        return {"name": name, "N": N, "T": 100, "I": 1, "H": 1, "dtype": dtype, "engines": engines}

    imports = {"numpy": timed(0.1), "fastlstm": timed(0.01), "fastlstm.LSTM": timed(0.11)}
    small = {"name": "seed", "dtype": "float32", "N": 1000, "T": 100, "I": 1, "H": 1}
    return {
        "machine": machine.describe(2),
        "settings": {"rounds": 1, "turn_seconds": 0.1, "quick": False},
        "rows": [
            row(
                "seed",
                "float32",
                1000,
                fastlstm=timed(predict, times_numpy=0.5 / predict),
                numpy=timed(0.5, times_numpy=1.0),
                peak=timed(0.005),
            ),
            row("seed", "float64", 1000, fastlstm=timed(float64), numpy=timed(0.5)),
        ],
        "trace": [
            row("seed", "float32", 50, fastlstm=timed(0.01), trace=timed(trace), fill=timed(fill))
        ],
        "start": {
            "imports": imports,
            "first_calls": [small | {"first_call": {"cold": 7.0, "warm": 0.6}}],
        },
        "memory": {"N": 10, "T": 10, "extra_bytes": {"kernels loaded": 1e6, "first call": 1e9}},
    }


def test_the_report_says_how_fast_and_how_near_to_the_peak():
    text = report.render(results())
    (line,) = (k for k in text.splitlines() if k.startswith("| seed |") and "50.0%" in k)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:5] == ["seed", "1,000", "100", "1", "1"]
    assert cells[5:8] == ["10.0", "0.200", "50.0"]  # rates of fastlstm and numpy, times numpy
    assert cells[8:] == ["800", "1,600", "50.0%", ""]  # GFLOP/s, peak, part of it, x 1 thread
    assert "none: no other engine was faster" in text


def test_the_report_prints_losses():
    slow = results(predict=1.0)
    assert report.losses(slow["rows"]) == ["seed float32: numpy is 2.00 times as fast"]
    assert "numpy is 2.00 times as fast" in report.render(slow)


def test_goals_are_met():
    found = goals.check(results())
    assert len(found) == 7
    assert not goals.missed(found)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"predict": 0.0112}, "seed: times NumPy"),
        ({"float64": 0.034}, "seed: float64 rate"),
        ({"trace": 0.131}, "seed float32: trace"),
        ({"trace": 0.026, "fill": 0.01}, "seed float32: trace"),
    ],
)
def test_a_goal_is_missed(change, what):
    missed = goals.missed(goals.check(results(**change)))
    assert [goal.what.startswith(what) for goal in missed] == [True]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.0, "0"),
        (0.9996, "1.00"),
        (9.996, "10.0"),
        (12.34, "12.3"),
        (123.4, "123"),
        (99950.0, "100,000"),
        (0.00012345, "0.000123"),
    ],
)
def test_numbers_are_short(value, text):
    assert report.number(value) == text
