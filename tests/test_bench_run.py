"""A run of a command that measures: what is left out, what is stored, what is said."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path

import bench_results
import pytest
from bench_results import comparison, result, row, timed

from bench import __main__ as bench
from bench.commands import COMMANDS
from bench.harness import engines, machine, stored
from bench.harness.engine import Engine
from bench.harness.engines import ENGINES
from bench.harness.run import Run
from bench.harness.workload import WORKLOADS, Workload


def test_an_engine_that_is_not_installed_is_reported(monkeypatch):
    nowhere = Engine("nowhere", bench_results.fail, needs=("no_such_module",))
    monkeypatch.setitem(engines.ENGINES, "nowhere", nowhere)
    run = Run("compare", bench.parser().parse_args(["compare", "--quick", "--threads", "1"]))
    found = run.time(Workload("seed", 20, 3, 1, 1, 1, "float32"), ["nowhere"])
    assert found["engines"] == {}
    assert run.result["missing"] == {"nowhere": "not installed: no_such_module"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_whole_run_is_stored_and_no_other(command, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "FOLDER", tmp_path)
    monkeypatch.setattr(machine, "commit", lambda: None)  # git takes a while
    for more, count in (["--threads", "3"], 1), (["--quick"], 0), (["--engines", "fastlstm"], 0):
        run = Run(command, bench.parser().parse_args([command, *more]))
        assert set(run.options.everything["engines"]) <= set(ENGINES)
        run.store()
        found = list(tmp_path.glob("*"))
        assert len(found) == count
        for path in found:
            assert path.name.endswith(f"-{run.threads}-threads-{command}.json")
            path.unlink()


def test_a_tiny_run_from_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(WORKLOADS, "seed", (320, 5, 1, 1, 1))
    path = tmp_path / "result.json"
    options = ["compare", "--rows", "seed", "--dtypes", "float32", "--sections", "rows", "--quick"]
    options += ["--engines", "numpy", "--threads", "1", "--json", str(path)]
    assert bench.main(options) == 0
    printed = capsys.readouterr().out
    assert "| seed |" in printed
    assert "Goals" not in printed  # a quick run shows nothing
    assert json.loads(path.read_text())["rows"][0]["engines"]["numpy"]["sequences"] == 20
    assert bench.main(["show", str(path)]) == 0
    assert capsys.readouterr().out == printed


def test_results_of_another_format_are_refused(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"format": 1}))
    with pytest.raises(ValueError, match="expected a result of format 2, got 1"):
        stored.read(path)


def test_an_update_replaces_what_was_measured_again():
    old = comparison(small=[row("call")], cold=[{"name": "fastlstm", "cache": "warm"}])
    new = result("compare", rows=[row("tiny"), row("seed", fastlstm=timed(7.0))])
    merged = stored.update(new, old, ["seed", "tiny"])
    found = [(k["name"], k["dtype"]) for k in merged["rows"]]
    assert found == [("seed", "float32"), ("tiny", "float32"), ("seed", "float64")]
    assert merged["rows"][0]["engines"]["fastlstm"]["median"] == 7.0
    assert merged["small"] == old["small"]
    assert merged["cold"] == old["cold"]


def test_calls_after_a_pause_are_rows_of_their_own():
    rows = [row("mid", idle=idle, fastlstm=timed(0.01 + idle)) for idle in (0.0, 0.5)]
    again = result("compare", idle=[row("mid", idle=0.5, fastlstm=timed(0.02))])
    merged = stored.update(again, result("compare", idle=rows), ["mid"])["idle"]
    assert [k["engines"]["fastlstm"]["median"] for k in merged] == [0.01, 0.02]


def test_the_machine_is_described_without_names_of_hosts_and_paths():
    described = machine.describe(3, ["numpy", "no such package"])
    text = json.dumps(described)
    assert described["threads"] == 3
    assert not re.search(rf"\b{re.escape(platform.node())}\b", text)
    assert str(machine.ROOT) not in text
    assert str(Path.home()) + "/" not in text
    assert set(described["versions"]) >= {"fastlstm", "numpy", "numba"}
    assert "no such package" not in described["versions"]
    name = stored.file_name({"machine": described, "command": "loop"})
    assert name.endswith("-3-threads-loop.json")
