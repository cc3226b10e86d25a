"""``fastlstm speed``: what it measures is `predict` and the NumPy loop, and what it prints."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from model_files import fc, tensors
from networks import make_network

from fastlstm import LSTM, cli, reference
from fastlstm.commands.speed import cases, report, timing
from fastlstm.engine import compiling

pytestmark = pytest.mark.usefixtures("few_kernels")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(cases, "SECONDS", 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return cases.make_model(5, 1).save(tmp_path / "model.npz")


def numbers_of(capsys, *arguments: str) -> dict:
    assert cli.main(["speed", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_table_of_default_shapes(capsys, monkeypatch):
    few = [case.resized(64, 5) for case in cases.default_cases()]
    monkeypatch.setattr(cases, "default_cases", lambda: few)
    assert cli.main(["speed", "--threads", "1"]) == 0
    heading, _, blank, columns, *lines = capsys.readouterr().out.splitlines()
    assert re.match(r"fastlstm \S+, on 1 thread, \S", heading)
    assert blank == ""
    assert len(lines) == len(few)
    for line, case in zip(lines, few, strict=True):
        model = case.model
        assert line.startswith(f"64 x 5 x {model.input_size}, {model.hidden_size} ")
        rates = r" +[\d.,]+ \([\d.,]+ to [\d.,]+\)"
        found = re.search(rf"{rates}{rates} +[\d.]+ +(\S+) +3$", line)
        assert float(found[1]) < 1e-5
    assert columns.startswith("N x T x inputs, hidden ")


def test_a_line_of_the_table():
    found = timing.Timing((0.002, 0.001, 0.004), (1.0, 0.5, 0.25), 1.25e-7)
    result = cases.Result(cases.Case(cases.make_model(16), 2000, 10), 0.1, found)
    line, heading = report.as_line(result), report.heading(2).splitlines()[-1]
    assert line.split("  ", 1)[0] == "2,000 x 10 x 8, 16"
    numbers = " ".join(line.split()[6:])
    assert numbers == "1,000 (667 to 1,333) 4.0 (2.7 to 5.3) 250.0 1.2e-07 3"
    assert len(line) == len(heading) == 100


def test_json_for_a_model(capsys, path):
    report = numbers_of(
        capsys, "--model", str(path), "--sequences", "40", "--steps", "6", "--threads", "2"
    )
    assert report["threads"] == 2
    assert {"fastlstm", "numpy", "numba", "CPU", "SIMD"} <= set(report["machine"])
    (case,) = report["cases"]
    assert (case["sequences"], case["steps"], case["inputs"]) == (40, 6, 1)
    assert case["hidden"] == [5]
    assert case["dtype"] == "float32"
    assert 0 < case["largest_difference"] < 1e-5
    for name in ("engine", "numpy_loop"):
        seconds = case[name]["run_seconds"]
        assert len(seconds) == cases.FEWEST
        assert case[name]["median_seconds"] == sorted(seconds)[1]
        assert case[name]["sequences_per_second"] == 40 / sorted(seconds)[1]
        lower, upper = case[name]["quartile_seconds"]
        assert min(seconds) <= lower <= sorted(seconds)[1] <= upper <= max(seconds)
    ratio = case["numpy_loop"]["median_seconds"] / case["engine"]["median_seconds"]
    assert case["times_as_fast"] == pytest.approx(ratio)


def test_the_size_that_was_asked_for(capsys):
    (case,) = numbers_of(capsys, "--hidden", "7", "--sequences", "30", "--steps", "4")["cases"]
    assert (case["sequences"], case["steps"], case["hidden"]) == (30, 4, [7])


def test_the_engine_runs_on_the_threads_that_were_asked_for(capsys, monkeypatch):
    asked = []
    predict = LSTM.predict

    def watched(self, x, **options):
        asked.append(options["threads"])
        return predict(self, x, **options)

    monkeypatch.setattr(LSTM, "predict", watched)
    numbers_of(capsys, "--hidden", "7", "--sequences", "30", "--steps", "4", "--threads", "3")
    assert asked == [3] * (1 + cases.FEWEST)


def test_a_wrong_result_is_seen(capsys, monkeypatch):
    predict = LSTM.predict

    def wrong(self, x, **options):
        y = predict(self, x, **options)
        y[-1] += 0.5
        return y

    monkeypatch.setattr(LSTM, "predict", wrong)
    (case,) = numbers_of(capsys, "--hidden", "7", "--sequences", "30", "--steps", "4")["cases"]
    assert case["largest_difference"] == pytest.approx(0.5, abs=1e-5)


def test_runs_that_differ_a_lot_are_reported(capsys, monkeypatch):
    arguments = ["speed", "--hidden", "7", "--sequences", "30", "--steps", "4"]
    for engine, loop, unsteady in (
        ((1, 1, 1), (1.0, 1.4, 1.5), False),
        ((1, 1, 1), (1.0, 2.0, 4.0), True),
        ((1, 2, 4), (1, 1, 1), True),
    ):
        found = timing.Timing(engine, loop, 0.0)
        monkeypatch.setattr(cases, "time_both", lambda *_, found=found, **__: found)
        assert cli.main(arguments) == 0
        assert ("repeat the measurement" in capsys.readouterr().err) == unsteady


@pytest.mark.parametrize(
    "arguments",
    [
        ["--hidden", "0"],
        ["--sequences", "0"],
        ["--steps", "-1"],
        ["--hidden", "4", "--model", "m.npz"],
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["speed", *arguments])
    assert stop.value.code == 2


def test_a_model_that_cannot_be_read(tmp_path, capsys):
    assert cli.main(["speed", "--model", str(tmp_path / "nowhere.npz")]) == 1
    assert "nowhere.npz" in capsys.readouterr().err


# --- the timing ---------------------------------------------------------------------------------


KINDS = ("embedding, dense", "skip, two inputs", "head of three")


@pytest.mark.parametrize("name", KINDS)
def test_random_input_fits_every_network(name):
    model = make_network(name, "float64")
    x = cases.make_input(cases.Case(model, 9, 6))
    assert reference.predict(model.network, x).shape == (9, model.output_size)
    assert len(np.unique(x)) > 3


def test_compiling_counts_in_a_first_call_and_not_in_a_rate(monkeypatch):
    monkeypatch.setattr(compiling._of_thread, "seconds", 0.0, raising=False)

    def compile_for_a_minute():
        compiling._of_thread.seconds += 60

    assert timing.timed(compile_for_a_minute)[0] >= 0
    assert timing.timed(compile_for_a_minute, compiling.clock)[0] < -59


def test_both_run_in_turn_until_the_time_is_up(monkeypatch):
    turns = []

    def timed(call, clock=None):
        turns.append(clock)
        return 0.25, np.zeros(3)

    monkeypatch.setattr(timing, "timed", timed)
    model = make_network("reverse", "float32")
    for fewest, seconds, runs in ((3, 0.0, 3), (3, 2.0, 4), (5, 2.0, 5)):
        turns.clear()
        found = timing.time_both(model, np.zeros((1, 1, 3)), fewest=fewest, seconds=seconds)
        assert len(found.engine) == len(found.loop) == runs
        assert turns == [compiling.clock, None] * runs  # the engine's leaves compiling out


@pytest.mark.parametrize(
    ("a", "b", "apart"),
    [
        ([1, 2], [1, 2.5], 0.5),
        ([np.nan, 2], [np.nan, 2], 0),
        ([np.inf, 2], [np.inf, 1], 1),
        ([np.nan, 2], [1, 2], np.nan),
        ([np.inf, 2], [-np.inf, 2], np.inf),
        ([], [], 0),
    ],
)
def test_the_largest_difference(a, b, apart):
    found = timing._largest_difference(np.array(a, float), np.array(b, float))
    np.testing.assert_equal(found, apart)


def test_hints(tmp_path, capsys):
    np.savez(path := tmp_path / "torch.npz", **tensors((3, 4)), **fc(hidden=4))
    assert cli.main(["speed", "--model", str(path)]) == 1
    line = f"fastlstm speed --model {path} --head fc"
    assert f"If that is the head: {line}. " in capsys.readouterr().err
    assert cli.main([*line.split()[1:], "--sequences", "4", "--steps", "3"]) == 0
    assert "4 x 3 x 3, 4" in capsys.readouterr().out
    assert cli.main(["speed", "--head", "fc", "--skip", "1"]) == 1
    assert "--head, --skip: hints are about a model file; give --model" in capsys.readouterr().err
