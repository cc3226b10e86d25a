"""`python -m bench diff OLD [NEW]`: what got slower, or less accurate, since a stored result.

Between runs, a machine changes its speed by more than the changes that one looks for. So the time
of a round is divided by what else was measured in that round: the geometric mean of the peak and of
the other engines whose versions are the same in both results. Slower means that the quartiles of
these relative times do not overlap, and that their medians differ by more than `LEAST_CHANGE`.
Errors come from the same weights and input in every run, so only the code changes them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.harness import figures, stored
from bench.harness.engines import ENGINES
from bench.harness.own import is_own
from bench.harness.rounds import quartiles
from bench.harness.stored import Result, Row
from bench.harness.tables import table

LEAST_CHANGE = 1.03  # of a relative time
LEAST_ABSOLUTE = 1.15  # where nothing was measured beside it
LEAST_ERROR_CHANGE = {"rms_error": 1.01, "max_error": 1.10}


class Change(NamedTuple):
    """One engine on one row, then and now."""

    row: str
    engine: str
    what: str  # "time", "rms_error" or "max_error"
    times: float  # the new figure over the old one
    worse: bool
    better: bool
    beside: tuple[str, ...] = ()  # what the times are relative to


def main(options: argparse.Namespace) -> int:
    old = stored.read(options.old)
    new = stored.read(stored.chosen(options.new, old["command"]))
    check_machines(old, new)
    changes = compare(old, new)
    print(render(changes))
    return int(any(change.worse for change in changes))


def check_machines(old: Result, new: Result) -> None:
    """Refuse results of two machines."""
    for name in ("cpu", "threads"):
        then, now = old["machine"][name], new["machine"][name]
        if then != now:
            raise ValueError(f"expected results of one machine, got {name} {then} and {now}")


def compare(old: Result, new: Result) -> list[Change]:
    """Every figure of fastlstm's own that is in both results."""
    references = same_versions(old, new)
    changes = []
    for section, rows in new.items():
        if isinstance(rows, list) and isinstance(old.get(section), list):
            before = {stored.key(row): row for row in old[section]}
            for row in rows:
                then = before.get(stored.key(row))
                if then is not None and same_work(then, row):
                    changes += compare_rows(section, then, row, references)
    return changes


def same_versions(old: Result, new: Result) -> set[str]:
    """The labels of the steady engines whose packages did not change."""
    then, now = (result["machine"]["versions"] for result in (old, new))
    return {
        label
        for label, engine in ENGINES.items()
        if engine.steady and all(then.get(k) == now.get(k) for k in engine.versions)
    }


def same_work(old: Row, new: Row) -> bool:
    """Whether both are rows of engines, on the same workload."""
    names = ("N", "T", "I", "H", "layers", "engines")
    if any(name not in row for row in (old, new) for name in names):
        return False
    return all(old[name] == new[name] for name in names[:-1])


def compare_rows(section: str, old: Row, new: Row, references: set[str]) -> list[Change]:
    then, now = figures.measured(old), figures.measured(new)
    both = [label for label in now if label in then]
    beside = [label for label in both if label in references]
    name = " ".join(str(k) for k in (section, *stored.key(new)) if k not in (None, "full"))
    changes = []
    for label in both:
        if is_own(label):
            changes.append(compare_times(name, label, then, now, beside))
            changes += compare_errors(name, label, then[label], now[label])
    return changes


def compare_times(row: str, label: str, then: Row, now: Row, references: Sequence[str]) -> Change:
    before, after = (relative(engines, label, references) for engines in (then, now))
    (old_low, old, old_high), (new_low, new, new_high) = quartiles(before), quartiles(after)
    least = LEAST_CHANGE if references else LEAST_ABSOLUTE
    worse = new > least * old and new_low > old_high
    better = old > least * new and old_low > new_high
    return Change(row, label, "time", new / old, worse, better, tuple(references))


def relative(engines: Row, label: str, references: Sequence[str]) -> list[float | None]:
    """The seconds of each round over the geometric mean of the references' in that round.

    Where a reference sat out a round, its median stands in.
    """
    own = engines[label]["seconds"]
    if not references:
        return list(own)
    logs = []
    for reference in references:
        middle = engines[reference]["median"]
        logs.append([np.log(middle if s is None else s) for s in engines[reference]["seconds"]])
    scale = np.exp(np.mean(logs, axis=0))
    return [None if s is None else float(s / k) for s, k in zip(own, scale, strict=True)]


def compare_errors(row: str, label: str, then: Row, now: Row) -> list[Change]:
    changes = []
    for kind, least in LEAST_ERROR_CHANGE.items():
        if then.get("checked") == now.get("checked") and kind in then and kind in now:
            old, new = then[kind], now[kind]
            if old != new:
                times = new / old if old else float("inf")
                worse, better = new > least * old, old > least * new
                changes.append(Change(row, label, kind, times, worse, better))
    return changes


def render(changes: Sequence[Change]) -> str:
    """A line for each change beyond the spread, the worst first."""
    told = sorted((c for c in changes if c.worse or c.better), key=lambda c: -c.times)
    counts = f"{len(changes)} figures compared: {sum(c.worse for c in changes)} worse, "
    counts += f"{sum(c.better for c in changes)} better"
    if not changes:
        return "nothing to compare: no row of the same work is in both results"
    if not told:
        return f"{counts}\n\nnothing changed beyond the spread"
    lines = [
        [
            "WORSE" if c.worse else "better",
            c.row,
            c.engine,
            c.what.replace("_", " "),
            f"{c.times:.2f} x",
            ", ".join(c.beside) or "absolute" * (c.what == "time"),
        ]
        for c in told
    ]
    header = ["", "row", "engine", "what", "now", "relative to"]
    return f"{counts}\n\n{table(header, lines, text_columns=4)}"
