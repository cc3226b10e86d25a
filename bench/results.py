"""Stored results: files, and the figures that are made of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bench import spread
from bench.measure import computes_the_same
from bench.network_rows import NETWORKS
from bench.rows import BENCHMARK_ROWS
from bench.scoring_rows import SCORING

Results = dict[str, Any]

FOLDER = Path(__file__).parent / "results"
FORMAT = 2
OWN, ONE_THREAD = "fastlstm", "fastlstm, 1 thread"
PLAIN = "fastlstm, plain"  # the plain network beside another kind
LIMITS = ("peak", "read", "fill", "read file")  # not engines, but what bounds one


def write(results: Results, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Results:
    """A stored result.

    Raises
    ------
    ValueError
        It has the format of another version.
    """
    results = json.loads(path.read_text(encoding="utf-8"))
    if results.get("format") != FORMAT:
        raise ValueError(
            f"{path.name}: expected a result of format {FORMAT}, got {results.get('format')}: "
            "measure again"
        )
    return results


def file_name(results: Results) -> str:
    """A name for the results of a kind of machine: ``some-cpu-2-threads-compare.json``."""
    machine = results["machine"]
    words = re.sub(r"\(r\)|\(tm\)|, \d+ logical", "", machine["cpu"].lower())
    slug = re.sub(r"[^a-z0-9]+", "-", words).strip("-")
    return f"{slug}-{machine['threads']}-threads-{results['command']}.json"


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


def update(results: Results, older: Results) -> Results:
    """`older` with everything in it that was measured again replaced by the newer figures."""
    merged = older | results
    for part, value in older.items():
        if isinstance(value, list):
            again = {key(row) for row in results.get(part, [])}
            rows = [row for row in value if key(row) not in again] + results.get(part, [])
            merged[part] = sorted(rows, key=place)
    return merged


def place(row: Results) -> tuple[Any, ...]:
    """Where a row stands in its part: by dtype, then as in the table of rows."""
    names = [*BENCHMARK_ROWS, *NETWORKS, *SCORING]
    known = names.index(row["name"]) if row["name"] in names else len(names)
    return row.get("dtype", ""), known


def key(row: Results) -> tuple[Any, ...]:
    """What a measured row is known by within its part."""
    names = ("name", "dtype", "lengths", "threads")
    return *(row.get(name) for name in names), row.get("idle") or None


# --- one row -----------------------------------------------------------------------------------


def measured(row: Results) -> dict[str, Results]:
    """The engines of a row that gave a time."""
    return {name: engine for name, engine in row["engines"].items() if "median" in engine}


def rivals(row: Results) -> dict[str, Results]:
    """The other engines that did the same work."""
    return {
        name: engine
        for name, engine in measured(row).items()
        if not name.startswith(OWN)
        and name not in LIMITS
        and computes_the_same(row["dtype"], engine)
    }


def best_rival(row: Results) -> str | None:
    """The fastest of the other engines."""
    found = rivals(row)
    return min(found, key=lambda name: found[name]["median"], default=None)


def times(row: Results, other: str, own: str = OWN) -> float | None:
    """How many times as fast as another engine; see `spread.ratio`."""
    engines = measured(row)
    if own not in engines or other not in engines:
        return None
    return spread.ratio(engines[other]["seconds"], engines[own]["seconds"])


def rate(row: Results, engine: str) -> float | None:
    """Millions of time steps a second."""
    engines = measured(row)
    return row["steps"] / engines[engine]["median"] / 1e6 if engine in engines else None


def flops(row: Results, engine: str = OWN) -> float | None:
    """Operations of matrix products a second."""
    engines = measured(row)
    return engines[engine]["flops"] / engines[engine]["median"] if engine in engines else None


def peak(row: Results) -> float | None:
    """The most operations a second, measured beside the engines: the fastest round counts."""
    engines = measured(row)
    if "peak" not in engines:
        return None
    return engines["peak"]["flops"] / spread.fastest(engines["peak"]["seconds"])


def peak_share(row: Results, engine: str = OWN) -> float | None:
    """The part of the peak that an engine reaches."""
    most, reached = peak(row), flops(row, engine)
    return reached / most if most and reached else None
