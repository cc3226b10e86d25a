"""What the results of `python -m bench score` have to reach."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

from bench import results
from bench.scoring_rows import SCORING

Results = dict[str, Any]
Checked = tuple[str, str, str, bool]  # what, wanted, got, met

SCORE, SCORE_NPY, IN_MEMORY, READ = (
    "fastlstm, score",
    "fastlstm, score .npy",
    "fastlstm",
    "read file",
)
MOST_BYTES = 500e6  # the default of `memory`; here of the whole process


def check(found: Results) -> Iterator[Checked]:
    """Every goal that the results say something about."""
    for row in found.get("scoring", []):
        goal = SCORING[row["name"]]
        shares = (
            (goal.least_of_memory, "the rate in memory", (IN_MEMORY,)),
            (goal.least_of_slower, "the slower of predict and reading", (IN_MEMORY, READ)),
        )
        for least, what, others in shares:
            part = share(row, others)
            if least is not None and part is not None:
                name = f"{row['name']}: of {what}"
                yield name, f">= {least:.0%}", f"{part:.1%}", part >= least
        times = results.times(row, SCORE, SCORE_NPY)
        if goal.most_of_npy is not None and times is not None:
            what, wanted = f"{row['name']}: times as long as from .npy", f"<= {goal.most_of_npy} x"
            yield what, wanted, f"{times:.2f} x", times <= goal.most_of_npy
    for row in found.get("scoring_memory", []):
        peak = row["engines"].get(SCORE, {}).get("peak")
        if peak is not None:
            wanted, got = f"< {MOST_BYTES / 1e6:.0f} MB", f"{peak / 1e6:.0f} MB"
            yield f"{row['name']}: peak memory of the process", wanted, got, peak < MOST_BYTES


def share(row: Results, others: tuple[str, ...]) -> float | None:
    """The rate over that of the slowest of others: the median of the ratios within rounds."""
    engines = results.measured(row)
    if SCORE not in engines or any(name not in engines for name in others):
        return None
    rounds = zip(
        engines[SCORE]["seconds"], *(engines[name]["seconds"] for name in others), strict=True
    )
    return median(max(rest) / own for own, *rest in rounds if None not in (own, *rest))
