"""`python -m bench score`: from file to file, beside the scripts that one would write oneself.

The rates of bulk scoring, of `predict` in memory and of reading the file; and peak memory.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.harness.engine import not_installed
from bench.harness.engines import entrants
from bench.harness.goals import SHARE, Goal, at_least, at_most
from bench.harness.limits import READ_FILE
from bench.harness.own import OWN, SCORE, SCORE_NPY
from bench.harness.run import Run, add_common_options
from bench.harness.stored import Result
from bench.scoring import memory
from bench.scoring.files import INPUTS, FileWorkload
from bench.scoring.report import readme, section, share, times_npy

__all__ = ["add_options", "goals", "measure", "readme", "report"]

ENGINES = (SCORE, SCORE_NPY, OWN, *entrants("score"), READ_FILE)
MEMORY_ENGINES = (SCORE, *entrants("score"))
SECTIONS = ("rates", "memory")
RESULT_BYTES = 200  # a sequence: the results of all engines, twice

MOST_BYTES = 500e6  # the default of `memory`; here of the whole process


def add_options(parser: argparse.ArgumentParser) -> None:
    add_common_options(parser, list(INPUTS), ENGINES, SECTIONS, rounds=5, dtypes=("float32",))
    parser.add_argument(
        "--folder", type=Path, metavar="PATH", help="where files lie meanwhile (default: temporary)"
    )


def measure(run: Run) -> None:
    """Write each workload's files to a folder that is removed afterwards, and measure on them."""
    rows: dict[str, list[dict[str, Any]]] = {"scoring": [], "scoring_memory": []}
    for dtype in run.options.dtypes:
        for name in run.options.rows:
            workload = FileWorkload.named(name, dtype)
            if missing := not_installed(workload.needs):
                run.result["missing"][name] = f"not installed: {', '.join(missing)}"
                continue
            workload = run.sized(workload)
            with tempfile.TemporaryDirectory(dir=run.options.folder) as folder:
                check_space(workload, Path(folder))
                run.say(f"{name}: writing {workload.file_bytes / 1e9:.1f} GB")
                path = workload.write(Path(folder))
                if run.wants("rates"):
                    rows["scoring"].append(rates(run, workload, path))
                if run.wants("memory"):
                    run.say(f"{name} memory")
                    labels = [k for k in run.options.engines if k in MEMORY_ENGINES]
                    found = memory.measure(workload, labels, run.threads, path)
                    rows["scoring_memory"].append(found)
    run.result |= {section: found for section, found in rows.items() if found}


def check_space(workload: FileWorkload, folder: Path) -> None:
    """Refuse a folder without enough room for a workload's files."""
    files = 1 if workload.suffix == ".npy" else 2
    needed = files * workload.file_bytes + RESULT_BYTES * workload.N
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SystemExit(
            f"bench score: {workload.name} needs {needed / 1e9:.1f} GB of disk, {folder.parent} "
            f"has {free / 1e9:.1f} GB free: give another --folder"
        )


def rates(run: Run, workload: FileWorkload, path: Path) -> dict[str, Any]:
    """Time the engines."""
    twice = workload.suffix == ".npy"  # then `SCORE_NPY` is `SCORE`
    labels = [k for k in run.options.engines if not (twice and k == SCORE_NPY)]
    return run.time(workload, labels, input_file=path)


def report(result: Result) -> list[str]:
    rows = result.get("scoring")
    return [section(rows, result.get("scoring_memory", []))] if rows else []


def goals(result: Result) -> Iterator[Goal]:
    for row in result.get("scoring", []):
        name, file = row["name"], INPUTS[row["name"]]
        of_memory, of_slower = share(row, (OWN,)), share(row, (OWN, READ_FILE))
        yield from at_least(
            f"{name}: of the rate in memory", file.least_of_memory, of_memory, SHARE
        )
        what = f"{name}: of the slower of predict and reading"
        yield from at_least(what, file.least_of_slower, of_slower, SHARE)
        yield from at_most(f"{name}: times as long as from .npy", file.most_of_npy, times_npy(row))
    for row in result.get("scoring_memory", []):
        peak = row["engines"].get(SCORE, {}).get("peak")
        if peak is not None:
            wanted, got = f"< {MOST_BYTES / 1e6:.0f} MB", f"{peak / 1e6:.0f} MB"
            what = f"{row['name']}: peak memory of the process"
            yield Goal(what, wanted, got, peak < MOST_BYTES)
