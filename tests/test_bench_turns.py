"""Turns: an engine in a process of its own, the seconds of its calls, and its errors."""

from __future__ import annotations

import math
from types import SimpleNamespace

import bench_results
import numpy as np
import pytest

from bench.harness import accuracy, child, rounds, turns, worker
from bench.harness.engine import Engine
from bench.harness.engines import ENGINES
from bench.harness.workload import Workload


def test_quartiles_leave_out_the_rounds_that_an_engine_sat_out():
    assert rounds.quartiles([5.0, None, 1.0, 3.0, 2.0, 4.0, None]) == (2.0, 3.0, 4.0)


def test_a_ratio_is_taken_within_each_round():
    slow, fast = [10.0, 20.0, 100.0, 40.0], [1.0, 2.0, 5.0, None]
    assert rounds.ratio(slow, fast) == 10.0  # not 30 / 2


def test_errors():
    found = accuracy.errors(np.array([[1.0, 2.0]], "float32"), np.array([[1.0, 5.0], [9.0, 9.0]]))
    assert found == {"checked": 1, "max_error": 3.0, "rms_error": math.sqrt(4.5)}
    assert accuracy.errors(None, np.zeros((1, 1))) == {}


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


def test_the_time_of_some_sequences_is_scaled_to_all(monkeypatch):
    one = object.__new__(worker.Worker)
    one.workload, one.sequences, one.spent = Workload("seed", 1000, 5, 1, 1, 1, "float32"), 16, 0.0
    one._connection = SimpleNamespace(send=lambda seconds: None)
    monkeypatch.setattr(worker.Worker, "_resume", lambda self: None)
    monkeypatch.setattr(worker.Worker, "_pause", lambda self: None)
    monkeypatch.setattr(worker.Worker, "_answer", lambda self: 0.32)
    assert one.turn(0.0) == 20.0


def test_who_begins_changes_and_who_takes_too_long_sits_out():
    begun = []

    def one(name, spent):
        workload = Workload("seed", 9, 5, 1, 1, 1, "float32")
        turn = lambda seconds: begun.append(name) or 1.0  # noqa: E731
        return SimpleNamespace(turn=turn, spent=spent, workload=workload)

    found = turns.take_turns([one("a", 0.0), one("b", 99.0)], turns.LEAST_ROUNDS + 1, 0.1)
    assert begun == ["a", "b", "b", "a", "a", "b", "a"]
    assert found == [[1.0] * 4, [1.0] * 3 + [None]]


def test_engines_are_timed_and_one_that_fails_says_why():
    """In processes of their own; the loop needs no compiling."""
    workload = Workload("seed", 20, 3, 1, 2, 2, "float32")
    failing = Engine("failing", bench_results.fail)
    found = turns.time_engines(workload, [failing, ENGINES["numpy"]], 1, 2, 0.0)
    assert list(found["engines"]) == ["failing", "numpy"]
    assert found["engines"]["failing"] == {"failed": "ValueError: no such network"}
    numpy = found["engines"]["numpy"]
    assert numpy["sequences"] == numpy["checked"] == 20
    assert len(numpy["seconds"]) == 2
    assert min(numpy["seconds"]) > 0
    assert 0 < numpy["max_error"] < 1e-6
    assert numpy["flops"] == found["flops"] == workload.flops
    assert (found["name"], found["steps"]) == ("seed", 60)


def test_a_process_says_in_a_line_what_it_found(tmp_path):
    code = "import bench, os; print(os.environ['OMP_NUM_THREADS'], os.getcwd())"
    line, seconds = child.first_line("-c", code, threads=3, cwd=tmp_path)
    assert line == f"3 {tmp_path.resolve()}"
    assert seconds > 0
    with pytest.raises(child.ChildError, match=r"ValueError: no$"):
        child.first_line("-c", "raise ValueError('no')", threads=1)
