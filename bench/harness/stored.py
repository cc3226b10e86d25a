"""Stored results: the files, and what a run that measures again replaces in one."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Result = dict[str, Any]  # all that a command measured, and where: one file
Row = dict[str, Any]  # one workload in it, with the figures of every engine

FOLDER = Path(__file__).parents[1] / "results"
FORMAT = 2


def write(result: Result, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Result:
    """A stored result.

    Raises
    ------
    ValueError
        Its format is that of another version.
    """
    result: Result = json.loads(path.read_text(encoding="utf-8"))
    if result.get("format") != FORMAT:
        raise ValueError(
            f"{path.name}: expected a result of format {FORMAT}, got {result.get('format')}: "
            "measure again"
        )
    return result


def file_name(result: Result) -> str:
    """A name for results of a kind of machine: ``some-cpu-2-threads-compare.json``."""
    machine = result["machine"]
    words = re.sub(r"\(r\)|\(tm\)|, \d+ logical", "", machine["cpu"].lower())
    slug = re.sub(r"[^a-z0-9]+", "-", words).strip("-")
    return f"{slug}-{machine['threads']}-threads-{result['command']}.json"


def newest(command: str) -> Path | None:
    """The stored result of a command that was measured last."""
    paths = FOLDER.glob(f"*-{command}.json")
    return max(paths, key=lambda path: read(path)["machine"]["date"], default=None)


def chosen(path: Path | None, command: str = "compare") -> Path:
    """The path that was asked for, or else the newest result of a command."""
    found = path or newest(command)
    if found is None:
        raise ValueError(f"nothing is stored yet: run `python -m bench {command}`")
    return found


def update(result: Result, older: Result, names: Sequence[str]) -> Result:
    """`older`, with everything that was measured again replaced by the newer figures.

    Rows stand by dtype, then in the order of `names`.
    """

    def place(row: Row) -> tuple[str, int]:
        known = names.index(row["name"]) if row["name"] in names else len(names)
        return row.get("dtype", ""), known

    merged = older | result
    for section, value in older.items():
        if isinstance(value, list):
            again = {key(row) for row in result.get(section, [])}
            rows = [row for row in value if key(row) not in again] + result.get(section, [])
            merged[section] = sorted(rows, key=place)
    return merged


def key(row: Row) -> tuple[Any, ...]:
    """What tells a row from the others of its section."""
    names = ("name", "dtype", "lengths", "threads")
    return *(row.get(name) for name in names), row.get("idle") or None
