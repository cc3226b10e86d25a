"""A section of `compare`: a few workloads with one thread, two, four ... and all."""

from __future__ import annotations

import os
from collections.abc import Sequence

from bench.harness import figures
from bench.harness.limits import PEAK
from bench.harness.own import OWN
from bench.harness.run import Run
from bench.harness.stored import Row
from bench.harness.tables import number, percent, table
from bench.harness.workload import Workload

NAMES = ("seed", "mid", "hydro_s", "big")


def measure(run: Run) -> list[Row]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    counts = sorted({*(2**k for k in range((cores or 1).bit_length())), cores or 1})
    return [
        run.time(Workload.named(name, "float32"), (OWN, PEAK), n) | {"threads": n}
        for name in NAMES
        for n in counts
        if n <= run.threads
    ]


def report(rows: Sequence[Row]) -> list[str]:
    header = ["row", "threads", "M steps/s", "x 1 thread", "% of peak"]
    alone = {row["name"]: figures.rate(row, OWN) for row in rows if row["threads"] == 1}
    lines = []
    for row in rows:
        rate, one = figures.rate(row, OWN), alone.get(row["name"])
        times = rate / one if rate and one else None
        line = [row["name"], str(row["threads"]), number(rate), number(times)]
        lines.append([*line, percent(figures.peak_share(row))])
    return [f"## Threads\n\n{table(header, lines)}"]
