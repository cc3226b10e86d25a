"""What is made of stored figures: tables, who counts as a rival, where fastlstm loses."""

from __future__ import annotations

import copy

import pytest
from bench_results import cells, comparison, result, row, timed

from bench import show
from bench.harness import figures, report, tables


def test_the_report_says_how_fast_and_how_near_to_the_peak():
    found = report.rates("float32", comparison()["rows"][:1])
    line = cells(found, "| seed |")
    assert line[:5] == ["seed", "1,000", "100", "1", "1"]
    assert line[5:9] == ["10.0", "0.200", "0.250", "0.500"]  # fastlstm, numpy, PyTorch, OpenVINO
    assert line[9:] == ["OpenVINO", "20.0", "800", "50%", "1.95"]  # the peak's fastest round counts


def test_the_report_prints_losses():
    text = show.render(comparison(own=0.25))
    assert "- `seed` in float32: OpenVINO is 1.25 x as fast" in text
    assert text.count(" x as fast\n") == 1
    assert "No other engine was faster on any of these rows." in show.render(comparison())


def test_the_gains_are_the_least_and_the_most():
    rows = comparison()["rows"]  # 20 times OpenVINO's in float32, 20 times PyTorch's in float64
    rows[1]["name"] = "tiny"
    rows[1]["engines"]["PyTorch"] = timed(0.06)
    assert (
        "fastlstm is 3.00 (`tiny`) to 20.0 (`seed`) times as fast as the fastest other engine"
        in report.gains(rows)
    )
    assert report.gains([]) == "No other engine was measured."


def test_the_strongest_engine_comes_first():
    rows = comparison()["rows"]
    assert figures.by_strength(rows) == ["OpenVINO", "PyTorch", "numpy"]
    rows[0]["engines"]["JAX"] = {"failed": "ValueError: no"}
    rows[0]["engines"]["OpenVINO"]["max_error"] = 1.0
    assert figures.by_strength(rows)[:2] == ["PyTorch", "numpy"]


@pytest.mark.parametrize("error", [3e-3, float("nan")])  # the first as bfloat16's
def test_an_engine_that_computes_something_else_is_no_rival(error):
    found = comparison()
    found["rows"][0]["engines"]["OpenVINO"]["max_error"] = error
    assert figures.best_rival(found["rows"][0]) == "PyTorch"
    assert cells(report.rates("float32", found["rows"][:1]), "| seed")[8] == "wrong"


def test_engines_that_failed_or_are_missing_are_told():
    found = copy.deepcopy(comparison())
    found["rows"][0]["engines"]["JAX"] = {"failed": "ValueError: no"}
    found["missing"]["Keras"] = "not installed: keras"
    text = show.render(found)
    assert "failed: ValueError: no" in text
    assert "**Keras was left out: not installed: keras.**" in text


def test_calls_after_a_pause_are_told():
    rows = [row("mid", idle=idle, fastlstm=timed(0.01 + idle)) for idle in (0.0, 0.5)]
    text = show.render(result("compare", idle=rows))
    assert cells(text, "| mid | 1,000 | 0.5 ")[4:] == ["510", "507 to 513", "505"]


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
    assert tables.number(value) == text
