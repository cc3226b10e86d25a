"""`python -m bench loop` and `trace`: their goals and reports."""

from __future__ import annotations

import pytest
from bench_results import missed, result, row, timed

from bench import show, trace
from bench.loop import command


def loop(predict=0.01, float64=0.02, trace=0.1, fill=0.1, imported=0.01, warm=0.6, extra=1e6):
    """A result of `loop` that meets every goal, if nothing is changed."""
    imports = {"numpy": timed(0.1), "fastlstm": timed(imported), "fastlstm.LSTM": timed(0.11)}
    small = {"name": "seed", "dtype": "float32", "N": 1000, "T": 100, "I": 1, "H": 1}
    return result(
        "loop",
        rows=[
            row("seed", fastlstm=timed(predict), numpy=timed(0.5), peak=timed(0.005)),
            row("seed", "float64", fastlstm=timed(float64), numpy=timed(0.5)),
        ],
        trace=[row("seed", N=50, fastlstm=timed(0.01), trace=timed(trace), fill=timed(fill))],
        start={
            "imports": imports,
            "first_calls": [small | {"first_call": {"cold": 7.0, "warm": warm}}],
        },
        memory={"N": 10, "T": 10, "extra_bytes": {"kernels loaded": extra, "first call": 1e9}},
    )


def test_goals_are_met():
    assert len(list(command.goals(loop()))) == 7
    assert not missed(command, loop())


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"predict": 0.0112}, "seed: times NumPy"),
        ({"float64": 0.034}, "seed: float64 rate"),
        ({"trace": 0.131}, "seed float32: trace"),
        ({"trace": 0.026, "fill": 0.01}, "seed float32: trace"),
        ({"imported": 0.14}, "import fastlstm"),
        ({"warm": 0.71}, "first predict, warm cache: seed float32"),
        ({"extra": 50e6}, "memory beyond input and output, kernels loaded"),
    ],
)
def test_a_goal_is_missed(change, what):
    assert [k.startswith(what) for k in missed(command, loop(**change))] == [True]


def test_the_report_has_every_section():
    text = show.render(loop())
    assert "kernels loaded" in text
    assert "first result of `predict`" in text
    assert "All six values of every step" in text
    assert "## Goals: 7 of 7 met" in text


def test_traces_beside_another_engine_have_goals():
    h8 = row("h8", trace=timed(0.01), BlockLSTMV2=timed(0.029))
    assert missed(trace, result("trace", trace=[h8])) == ["trace h8: against BlockLSTMV2"]
    h8["engines"]["BlockLSTMV2"]["max_error"] = 0.5  # another order of gates
    assert not list(trace.goals(result("trace", trace=[h8])))
