"""A section of `compare`: calls of milliseconds, one after the other and after a pause.

After a pause, threads have to wake up.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness import figures
from bench.harness.engines import entrants
from bench.harness.own import OWN
from bench.harness.rounds import fastest
from bench.harness.run import Run
from bench.harness.stored import Row
from bench.harness.tables import number, quartiles_ms, table
from bench.harness.workload import WORKLOADS, Workload

SIZES = {"mid": WORKLOADS["mid"], "short": (640, 100, 8, 32, 1)}  # N, T, I, H, layers
PAUSES = (0.0, 0.5)  # seconds


def measure(run: Run) -> list[Row]:
    return [
        run.time(Workload(name, *sizes, "float32", idle=pause), (OWN, *entrants("idle")))
        for name, sizes in SIZES.items()
        for pause in PAUSES
    ]


def report(rows: Sequence[Row]) -> list[str]:
    header = ["row", "N", "idle before, s", "engine", "ms a call", "quartiles", "fastest round"]
    lines = [
        [
            row["name"],
            f"{row['N']:,}",
            f"{row['idle']:g}",
            label,
            number(1e3 * engine["median"]),
            quartiles_ms(engine),
            number(1e3 * fastest(engine["seconds"])),
        ]
        for row in rows
        for label, engine in figures.measured(row).items()
    ]
    return [f"## Calls after a pause\n\n{table(header, lines, 4)}"]
