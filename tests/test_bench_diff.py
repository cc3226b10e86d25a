"""`python -m bench diff`: what changed between two results, beyond the machine and the noise."""

from __future__ import annotations

import copy

import pytest
from bench_results import comparison

from bench import __main__ as bench
from bench import diff
from bench.harness import stored


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
    stored.write(comparison(), old)
    stored.write(scaled(comparison(), 0.8, ["fastlstm"]), new)
    assert bench.main(["diff", str(old), str(new)]) == 0
    assert "better" in capsys.readouterr().out
    assert bench.main(["diff", str(new), str(old)]) == 1
    assert "WORSE" in capsys.readouterr().out


def test_results_of_two_machines_are_not_compared(tmp_path, capsys):
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    stored.write(comparison(), old)
    other = comparison()
    other["machine"]["cpu"] = "another"
    stored.write(other, new)
    assert bench.main(["diff", str(old), str(new)]) == 2
    assert "expected results of one machine" in capsys.readouterr().err
