"""`python -m bench score`: from file to file, beside the scripts that one would write oneself.

The rate of bulk scoring, of `predict` in memory and of reading the file; and the peak memory.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import options, results, scoring_memory
from bench.built import Engine
from bench.options import Run, say
from bench.scoring_rows import SCORING, ScoringRow

ENGINES = (
    "fastlstm, score",
    "fastlstm, score .npy",
    "fastlstm",
    "read file",
    "naive script",
    "ONNX Runtime, chunks",
)
PARTS = ("rates", "memory")
WITHOUT_FILE = ("fastlstm", "read file", "fastlstm, score .npy")  # their memory says nothing
RESULT_BYTES = 200  # a sequence: what all engines write, twice


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add(parser, list(SCORING), ENGINES, PARTS, rounds=5, dtypes=("float32",))
    parser.add_argument(
        "--folder", type=Path, metavar="PATH", help="where files lie meanwhile (default: temporary)"
    )


def main(arguments: argparse.Namespace) -> results.Results:
    """Measure every row in a folder that is gone afterwards."""
    run = Run("score", arguments)
    parts: dict[str, list[dict[str, Any]]] = {"rates": [], "memory": []}
    for dtype in arguments.dtypes:
        for name in arguments.rows:
            row = ScoringRow.named(name, dtype)
            if row.suffix == ".parquet" and (missing := Engine(None, ("pyarrow",)).missing()):
                run.results["missing"][name] = f"not installed: {', '.join(missing)}"
                continue
            row = run.sized(row)
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                check_space(row, Path(folder))
                say(f"{name}: writing {row.file_bytes / 1e9:.1f} GB")
                path = row.write(Path(folder))
                if run.wants("rates"):
                    parts["rates"].append(rates(run, row, path))
                if run.wants("memory"):
                    parts["memory"].append(memory(run, row, path))
    found = {"scoring": parts["rates"], "scoring_memory": parts["memory"]}
    run.results |= {name: rows for name, rows in found.items() if rows}
    return run.store()


def check_space(row: ScoringRow, folder: Path) -> None:
    """Refuse a folder that has not the room for a row's files."""
    files = 1 if row.suffix == ".npy" else 2
    needed = files * row.file_bytes + RESULT_BYTES * row.N
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SystemExit(
            f"bench score: {row.name} needs {needed / 1e9:.1f} GB of disk, {folder.parent} has "
            f"{free / 1e9:.1f} GB: give another --folder"
        )


def rates(run: Run, row: ScoringRow, path: Path) -> dict[str, Any]:
    """Time the engines, in turns."""
    engines = [k for k in run.options.engines if row.suffix != ".npy" or k != ENGINES[1]]
    return run.compare(row, engines, input_file=path)


def memory(run: Run, row: ScoringRow, path: Path) -> dict[str, Any]:
    """The peak memory of each engine that reads and writes, in a process of its own."""
    say(f"{row.name} memory")
    engines = [k for k in run.options.engines if k not in WITHOUT_FILE]
    found = {k: scoring_memory.peak(k, row, run.threads, path) for k in engines}
    return asdict(row) | {"engines": {name: k for name, k in found.items() if k}}
