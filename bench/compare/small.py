"""A section of `compare`: calls of microseconds, one sequence at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.harness import figures
from bench.harness.engines import entrants
from bench.harness.goals import Goal, at_most
from bench.harness.own import CALL, STEP
from bench.harness.run import Run
from bench.harness.stored import Row
from bench.harness.tables import number, span, table
from bench.harness.workload import Workload

SIZES = {"call": (1, 10, 8, 32, 1), "step": (1, 1, 8, 32, 1)}  # N, T, I, H, layers
OWN_LABELS = {"call": CALL, "step": STEP}
MOST_MICROSECONDS = {"call": 15.0, "step": 10.0}
MICROSECONDS = ("{:g} us", "{:.1f} us")


def measure(run: Run) -> list[Row]:
    return [
        run.time(Workload(name, *sizes, "float32"), (OWN_LABELS[name], *entrants(name)))
        for name, sizes in SIZES.items()
    ]


def report(rows: Sequence[Row]) -> list[str]:
    header = ["row", "T", "I", "H", "engine", "settings", "us a call", "quartiles"]
    lines = [
        [
            row["name"],
            *(str(row[k]) for k in "TIH"),
            label,
            engine["settings"],
            number(1e6 * engine["median"]),
            span(engine["quartiles"], 1e6),
        ]
        for row in rows
        for label, engine in figures.measured(row).items()
    ]
    return [f"## One sequence from Python\n\n{table(header, lines, 6)}"]


def goals(rows: Sequence[Row]) -> Iterator[Goal]:
    for row in rows:
        own = figures.measured(row).get(OWN_LABELS[row["name"]])
        got = None if own is None else 1e6 * own["median"]
        what = f"one small {row['name']} from Python"
        yield from at_most(what, MOST_MICROSECONDS[row["name"]], got, MICROSECONDS)
