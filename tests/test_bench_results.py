"""What the benchmarks make of stored results: tables, goals, losses, the README, differences."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import pytest

# At the end: the package under test is the one that is installed, not the one beside `bench`.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from bench import __main__ as bench
from bench import diff, goals, readme, report, results, roofline, tables

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"

MACHINE = {
    "date": "2026-01-02T03:04:05+00:00",
    "commit": "0" * 40,
    "cpu": "Some(R) CPU, 2 logical",
    "simd": "AVX-512",
    "lanes": "16",
    "threads": 2,
    "system": "Linux",
    "versions": {"numpy": "2.4", "torch": "2.13", "openvino": "2026"},
}


def timed(seconds, **more):
    rounds = [seconds * k for k in (0.99, 1.0, 1.01)]
    return {
        "median": seconds,
        "quartiles": [0.995 * seconds, 1.005 * seconds],
        "seconds": rounds,
        "settings": "",
    } | more


def row(name, dtype="float32", N=1000, T=100, H=1, layers=1, lengths="full", idle=0.0, **engines):
    for engine in engines.values():
        if "median" in engine:
            engine.update({"sequences": N, "flops": 8e9} | engine)
    return {
        "name": name,
        "N": N,
        "T": T,
        "I": 1,
        "H": H,
        "layers": layers,
        "dtype": dtype,
        "lengths": lengths,
        "idle": idle,
        "steps": N * T,
        "flops": 8e9,
        "engines": {k.replace("_", " "): v for k, v in engines.items()},
    }


def stored(command, **parts):
    settings = {"rounds": 3, "turn_seconds": 0.1, "quick": False}
    head = {"format": results.FORMAT, "command": command, "machine": copy.deepcopy(MACHINE)}
    return head | {"settings": settings, "missing": {}} | parts


def comparison(own=0.01, float64=0.02, other=0.2, rms=1e-8, **more):
    """A result of `compare` with figures that are easy to follow."""
    errors = {"checked": 10, "rms_error": rms, "max_error": 10 * rms}
    single = row(
        "seed",
        fastlstm=timed(own, **errors),
        numpy=timed(0.5),
        PyTorch=timed(0.4, checked=10, rms_error=2e-8, max_error=2e-7),
        OpenVINO=timed(other, checked=10, rms_error=3e-8, max_error=3e-7),
        peak=timed(0.005),
    )
    single["engines"]["fastlstm, 1 thread"] = timed(1.95 * own, sequences=1000, flops=8e9)
    double = row("seed", "float64", fastlstm=timed(float64), numpy=timed(0.5), PyTorch=timed(0.4))
    return stored("compare", rows=[single, double], **more)


def loop(predict=0.01, float64=0.02, trace=0.1, fill=0.1):
    """A result of `loop`, likewise."""
    imports = {"numpy": timed(0.1), "fastlstm": timed(0.01), "fastlstm.LSTM": timed(0.11)}
    small = {"name": "seed", "dtype": "float32", "N": 1000, "T": 100, "I": 1, "H": 1}
    return stored(
        "loop",
        rows=[
            row("seed", fastlstm=timed(predict), numpy=timed(0.5), peak=timed(0.005)),
            row("seed", "float64", fastlstm=timed(float64), numpy=timed(0.5)),
        ],
        trace=[row("seed", N=50, fastlstm=timed(0.01), trace=timed(trace), fill=timed(fill))],
        start={
            "imports": imports,
            "first_calls": [small | {"first_call": {"cold": 7.0, "warm": 0.6}}],
        },
        memory={"N": 10, "T": 10, "extra_bytes": {"kernels loaded": 1e6, "first call": 1e9}},
    )


def cells(text, start):
    (line,) = (k for k in text.splitlines() if k.startswith(start))
    return [cell.strip() for cell in line.strip("|").split("|")]


# --- tables ------------------------------------------------------------------------------------


def test_the_report_says_how_fast_and_how_near_to_the_peak():
    found = report.rates("float32", comparison()["rows"][:1])
    line = cells(found, "| seed |")
    assert line[:5] == ["seed", "1,000", "100", "1", "1"]
    assert line[5:9] == ["10.0", "0.200", "0.250", "0.500"]  # fastlstm, numpy, PyTorch, OpenVINO
    assert line[9:] == ["OpenVINO", "20.0", "800", "50%", "1.95"]  # the peak's fastest round counts


def test_every_command_has_a_report():
    assert "none: no other engine was faster" in report.render(comparison())
    text = report.render(loop())
    assert "kernels loaded" in text
    assert "first result of `predict`" in text


def test_calls_after_a_pause_are_rows_of_their_own():
    rows = [row("mid", idle=idle, fastlstm=timed(0.01 + idle)) for idle in (0.0, 0.5)]
    found = stored("compare", idle=rows)
    assert cells(report.render(found), "| mid | 1,000 | 0.5 ")[4:] == ["510", "507 to 513", "505"]
    again = stored("compare", idle=[row("mid", idle=0.5, fastlstm=timed(0.02))])
    merged = results.update(again, found)["idle"]
    assert [k["engines"]["fastlstm"]["median"] for k in merged] == [0.01, 0.02]


def test_the_report_prints_losses():
    slow = comparison(own=1.0)
    assert "seed float32: OpenVINO is 5.00 x as fast" in report.losses(slow["rows"])
    assert "OpenVINO is 5.00 x as fast" in report.render(slow)


def test_an_engine_that_computes_something_else_is_no_rival():
    found = comparison()
    found["rows"][0]["engines"]["OpenVINO"]["max_error"] = 3e-3  # as bfloat16
    assert results.best_rival(found["rows"][0]) == "PyTorch"
    assert "0.500 (wrong)" in report.rates("float32", found["rows"][:1])


def test_an_engine_whose_error_is_not_a_number_is_no_rival():
    found = comparison()
    found["rows"][0]["engines"]["OpenVINO"]["max_error"] = float("nan")
    assert results.best_rival(found["rows"][0]) == "PyTorch"


def test_engines_that_failed_or_are_missing_are_told():
    found = comparison()
    found["rows"][0]["engines"]["JAX"] = {"failed": "ValueError: no"}
    found["missing"]["Keras"] = "not installed: keras"
    text = report.render(found)
    assert "failed: ValueError: no" in text
    assert "**Keras was left out: not installed: keras.**" in text


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


# --- goals -------------------------------------------------------------------------------------


def missed(found):
    return [goal.what for goal in goals.missed(goals.check(found))]


def test_goals_are_met():
    assert len(goals.check(comparison())) == 6
    assert not missed(comparison())
    assert len(goals.check(loop())) == 7
    assert not missed(loop())


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"other": 0.179}, "seed: against the best other engine, OpenVINO"),
        ({"float64": 0.134}, "seed float64: against PyTorch"),
        ({"rms": 2.1e-8}, "seed: rms error"),
    ],
)
def test_a_goal_of_the_comparison_is_missed(change, what):
    assert missed(comparison(**change))[0].startswith(what)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"predict": 0.0112}, "seed: times NumPy"),
        ({"float64": 0.034}, "seed: float64 rate"),
        ({"trace": 0.131}, "seed float32: trace"),
        ({"trace": 0.026, "fill": 0.01}, "seed float32: trace"),
    ],
)
def test_a_goal_of_the_loop_is_missed(change, what):
    assert [k.startswith(what) for k in missed(loop(**change))] == [True]


def test_two_threads_have_a_goal_where_there_are_two():
    found = comparison()
    found["rows"][0]["engines"]["fastlstm, 1 thread"] = timed(0.018, sequences=1, flops=1)
    assert missed(found) == ["seed: two threads against one"]
    found["machine"]["threads"] = 16
    assert not missed(found)


def test_the_part_of_the_peak_has_a_goal():
    big = row("big", fastlstm=timed(0.01), peak=timed(0.0087))
    assert missed(stored("compare", rows=[big])) == ["big: part of the FMA peak"]


def unequal(padded=0.01, ragged=0.01, packed=0.05):
    engines = {
        "fastlstm, padded": timed(padded),
        "fastlstm, ragged": timed(ragged),
        "PyTorch, packed": timed(packed),
    }
    return stored(
        "compare",
        ragged=[row("mid", lengths="uniform", **engines), row("mid", fastlstm=timed(0.0095))],
    )


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
    assert missed(unequal(**change)) == [f"mid, uniform lengths: {k}" for k in what]


def test_small_calls_and_traces_have_goals():
    small = [row("call", **{"fastlstm, call": timed(16e-6)}), row("step")]
    assert missed(stored("compare", small=small)) == ["one small call from Python"]
    h8 = row("h8", trace=timed(0.01), BlockLSTMV2=timed(0.029))
    assert missed(stored("trace", trace=[h8])) == ["trace h8: against BlockLSTMV2"]
    h8["engines"]["BlockLSTMV2"]["max_error"] = 0.5  # another order of gates
    assert not goals.check(stored("trace", trace=[h8]))


# --- the README --------------------------------------------------------------------------------


def test_the_table_of_the_readme():
    text = readme.text(comparison())
    line = cells(text, "| seed |")
    assert line[:3] == ["seed", "1,000 x 100 x 1", "1"]
    assert line[3:] == ["**10.0**", "0.500", "0.250", "0.200", "20.0", "50%", "0.50"]
    assert "Of the project's own 6 goals for these figures, 6 are met." in text


def test_the_readme_prints_losses():
    text = readme.text(comparison(own=0.4))
    assert cells(text, "| seed |")[3:5] == ["0.250", "**0.500**"]
    assert "- `seed` in float32: OpenVINO 2.00 x" in text
    assert "No other engine was faster" in readme.text(comparison())


def test_only_what_stands_between_the_markers_is_replaced(tmp_path, monkeypatch):
    document = tmp_path / "README.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    monkeypatch.setattr(readme, "README", document)
    path = tmp_path / "found.json"
    results.write(comparison(), path)
    (tmp_path / "found-roofline.svg").touch()
    for _ in range(2):  # the second time it is the same
        assert bench.main(["readme", str(path)]) == 0
        text = document.read_text()
        assert text.startswith(f"before\n{BEGIN}\nMeasured 2026-01-02")
        assert text.endswith(f"\n![roofline](found-roofline.svg)\n{END}\nafter\n")
        assert "old" not in text
        assert path.with_suffix(".md").read_text().startswith("# `compare`, 2026-01-02")
    with pytest.raises(ValueError, match="expected the lines"):
        readme.replaced("no markers", "")


def test_the_readme_of_the_project_has_its_markers():
    text = readme.README.read_text(encoding="utf-8")
    for mark in readme.MARKS.values():
        for place in ("begin", "end"):
            assert text.count(f"<!-- {mark}: {place} -->") == 1


# --- differences -------------------------------------------------------------------------------


def scaled(found, by, names=None):
    """The same result on a machine whose speed is another."""
    found = copy.deepcopy(found)
    for part in found["rows"]:
        for name, engine in part["engines"].items():
            if names is None or name in names:
                engine["median"] *= by
                engine["quartiles"] = [by * s for s in engine["quartiles"]]
                engine["seconds"] = [by * s for s in engine["seconds"]]
    return found


def worse(old, new):
    return [(c.row, c.engine, c.what) for c in diff.compare(old, new) if c.worse]


def test_a_slower_machine_is_no_slower_engine():
    changes = diff.compare(comparison(), scaled(comparison(), 1.1))
    assert [c.times for c in changes] == pytest.approx([1.0] * len(changes))
    assert not any(c.worse or c.better for c in changes)


def test_a_slower_engine_is_found_on_a_faster_machine():
    new = scaled(scaled(comparison(), 0.9), 1.06, ["fastlstm"])
    assert worse(comparison(), new) == [
        ("rows seed float32", "fastlstm", "time"),
        ("rows seed float64", "fastlstm", "time"),
    ]


def test_a_change_within_the_spread_is_none():
    old, new = comparison(), scaled(comparison(), 1.06, ["fastlstm"])
    for found in (old, new):
        engine = found["rows"][0]["engines"]["fastlstm"]
        engine["seconds"] = [s * k for s, k in zip(engine["seconds"], (0.9, 1.0, 1.1), strict=True)]
    assert ("rows seed float32", "fastlstm", "time") not in worse(old, new)


def test_a_change_of_two_percent_is_none_however_steady():
    old, new = comparison(), scaled(comparison(), 1.02, ["fastlstm"])
    for found in (old, new):
        for part in found["rows"]:
            for engine in part["engines"].values():
                engine["seconds"] = [engine["median"]] * 3
    assert not worse(old, new)


def test_another_version_of_an_engine_is_no_reference():
    new = scaled(comparison(), 0.5, ["OpenVINO", "PyTorch"])  # they became faster
    for name in ("openvino", "torch"):
        new["machine"]["versions"][name] = "newer"
    assert not worse(comparison(), new)
    assert diff.compare(comparison(), new)[0].beside == ("numpy", "peak")


def test_a_larger_error_is_found():
    changes = worse(comparison(), comparison(rms=1.2e-8))
    assert changes == [
        ("rows seed float32", "fastlstm", "rms_error"),
        ("rows seed float32", "fastlstm", "max_error"),
    ]


def test_an_improvement_is_told_and_is_no_failure(tmp_path, capsys):
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    results.write(comparison(), old)
    results.write(scaled(comparison(), 0.8, ["fastlstm"]), new)
    assert bench.main(["diff", str(old), str(new)]) == 0
    assert "better" in capsys.readouterr().out
    assert bench.main(["diff", str(new), str(old)]) == 1
    assert "WORSE" in capsys.readouterr().out


def test_results_of_two_machines_are_not_compared(tmp_path, capsys):
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    results.write(comparison(), old)
    other = comparison()
    other["machine"]["cpu"] = "another"
    results.write(other, new)
    assert bench.main(["diff", str(old), str(new)]) == 2
    assert "expected results of one machine" in capsys.readouterr().err


def test_results_of_another_format_are_refused(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"format": 1}))
    with pytest.raises(ValueError, match="expected a result of format 2, got 1"):
        results.read(path)


def test_an_update_replaces_what_was_measured_again():
    old = comparison(small=[row("call")], cold=[{"name": "fastlstm", "cache": "warm"}])
    new = stored("compare", rows=[row("seed", fastlstm=timed(7.0))])
    merged = results.update(new, old)
    assert [k["dtype"] for k in merged["rows"]] == ["float32", "float64"]
    assert merged["rows"][0]["engines"]["fastlstm"]["median"] == 7.0
    assert merged["small"] == old["small"]
    assert merged["cold"] == old["cold"]


# --- the roofline ------------------------------------------------------------------------------


def test_the_intensity_of_a_row():
    found = row("seed", N=10, T=5, H=3, layers=2)
    # input 10 x 5, weights 12 x (1 + 3) and 12 x (3 + 3), result 10 x 3, four bytes each
    assert roofline.intensity(found) == pytest.approx(8e9 / (4 * (50 + 48 + 72 + 30)))


def test_the_roof():
    assert roofline.roof(2.0, 100.0, 30.0) == 60.0
    assert roofline.roof(5.0, 100.0, 30.0) == 100.0
    limits = row("limits", read=timed(2.0)) | {"read_bytes": 99}
    assert roofline.bandwidth(limits) == pytest.approx(99 / 1.98)


def test_the_plots_are_drawn(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path = tmp_path / "some.json"
    limits = row("limits", read=timed(2.0), peak=timed(0.1)) | {"read_bytes": 1e10}
    results.write(comparison(limits=[limits]), path)
    assert bench.main(["plot", str(path)]) == 0
    assert {p.name for p in tmp_path.glob("*.svg")} == {"some-ratios.svg", "some-roofline.svg"}
