"""`python -m bench compare`: its goals, its section of the README, the roofline."""

from __future__ import annotations

import pytest
from bench_results import cells, comparison, missed, result, row, timed

from bench import __main__ as bench
from bench.compare import command, limits
from bench.harness import stored

# --- goals -------------------------------------------------------------------------------------


def test_goals_are_met():
    assert len(list(command.goals(comparison()))) == 6
    assert not missed(command, comparison())


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"other": 0.179}, "seed: against the best other engine, OpenVINO"),
        ({"float64": 0.134}, "seed float64: against PyTorch"),
        ({"rms": 2.1e-8}, "seed: rms error"),
    ],
)
def test_a_goal_is_missed(change, what):
    assert missed(command, comparison(**change))[0].startswith(what)


def test_two_threads_have_a_goal_where_there_are_two():
    found = comparison()
    found["rows"][0]["engines"]["fastlstm, 1 thread"] = timed(0.018, sequences=1, flops=1)
    assert missed(command, found) == ["seed: two threads against one"]
    found["machine"]["threads"] = 16
    assert not missed(command, found)


def test_the_part_of_the_peak_has_a_goal():
    big = row("big", fastlstm=timed(0.01), peak=timed(0.0087))
    assert missed(command, result("compare", rows=[big])) == ["big: part of the FMA peak"]


def unequal(padded=0.01, ragged=0.01, packed=0.05):
    engines = {
        "fastlstm, padded": timed(padded),
        "fastlstm, ragged": timed(ragged),
        "PyTorch, packed": timed(packed),
    }
    rows = [row("mid", lengths="uniform", **engines), row("mid", fastlstm=timed(0.0095))]
    return result("compare", ragged=rows)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({}, []),
        ({"packed": 0.039}, ["against PyTorch packed"]),
        ({"padded": 0.0107}, ["padded, of the dense rate"]),
        ({"ragged": 0.0085, "padded": 0.0098}, ["padded and ragged apart"]),
    ],
)
def test_goals_of_unequal_lengths(change, what):
    assert missed(command, unequal(**change)) == [f"mid, uniform lengths: {k}" for k in what]


def test_small_calls_have_goals():
    small = [row("call", **{"fastlstm, call": timed(16e-6)}), row("step")]
    assert missed(command, result("compare", small=small)) == ["one small call from Python"]


# --- the README --------------------------------------------------------------------------------


def test_the_section_of_the_readme():
    text = command.readme(comparison())
    line = cells(text, "| seed |")
    assert line[:3] == ["seed", "1,000 x 100 x 1", "1"]
    # fastlstm, OpenVINO, PyTorch, numpy
    assert line[3:] == ["**10.0**", "0.500", "0.250", "0.200", "20.0", "50%", "0.50"]
    assert "openvino 2026, torch 2.13, numpy 2.4." in text
    assert "times as fast as the fastest other engine. No other engine was faster" in text
    assert "fastlstm is 20 to 20 times as fast as PyTorch" in text
    assert "goals" not in text


def test_the_readme_prints_losses():
    text = command.readme(comparison(own=0.4))
    assert cells(text, "| seed |")[3:5] == ["0.250", "**0.500**"]
    assert "- `seed` in float32: OpenVINO is 2.00 x as fast" in text


# --- the roofline ------------------------------------------------------------------------------


def test_the_intensity_of_a_row():
    found = row("seed", N=10, T=5, H=3, layers=2)
    # input 10 x 5, weights 12 x (1 + 3) and 12 x (3 + 3), result 10 x 3, four bytes each
    assert limits.intensity(found) == pytest.approx(8e9 / (4 * (50 + 48 + 72 + 30)))


def test_the_roof():
    assert limits.roof(2.0, 100.0, 30.0) == 60.0
    assert limits.roof(5.0, 100.0, 30.0) == 100.0
    found = row("limits", read=timed(2.0)) | {"read_bytes": 99}
    assert limits.bandwidth(found) == pytest.approx(99 / 1.98)


def test_the_plots_are_drawn(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path = tmp_path / "some.json"
    machine = row("limits", read=timed(2.0), peak=timed(0.1)) | {"read_bytes": 1e10}
    stored.write(comparison(limits=[machine]), path)
    assert bench.main(["plot", str(path)]) == 0
    assert {p.name for p in tmp_path.glob("*.svg")} == {"some-ratios.svg", "some-roofline.svg"}
