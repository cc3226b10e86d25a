"""A section of `compare`: sequences of unequal length, padded and not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.harness import figures
from bench.harness.engines import entrants
from bench.harness.goals import Goal, at_least, at_most
from bench.harness.limits import LIMITS, PEAK
from bench.harness.own import OWN, PADDED, RAGGED
from bench.harness.run import Run
from bench.harness.stored import Row
from bench.harness.tables import error, number, quartiles_ms, table
from bench.harness.workload import WORKLOADS, Workload

TEXT = (1_024, 60, 100, 200, 1)  # N, T, I, H, layers
SIZES = {name: WORKLOADS[name] for name in ("mid", "credit")} | {"text": TEXT}
LENGTHS = ("uniform", "log-normal")
ENGINES = (PADDED, RAGGED, *entrants("ragged"), PEAK)
DENSE_ENGINES = (OWN, *entrants("dense"), PEAK)

LEAST_DENSE = 0.9  # of the rate of full sequences
LEAST_PACKED = 4.0  # times as fast as PyTorch
MOST_APART = 1.1


def measure(run: Run) -> list[Row]:
    """Each batch with sequences of unequal length, and with full ones for the dense rate."""
    rows = []
    for name, sizes in SIZES.items():
        for lengths in LENGTHS:
            rows.append(run.time(Workload(name, *sizes, "float32", lengths), ENGINES))
        rows.append(run.time(Workload(name, *sizes, "float32"), DENSE_ENGINES))
    return rows


def report(rows: Sequence[Row]) -> list[str]:
    header = ["row", "lengths", "real steps", "engine", "M steps/s", "quartiles, ms"]
    header += ["largest error"]
    lines = [
        [
            row["name"],
            row["lengths"],
            f"{row['steps']:,}",
            label,
            number(figures.rate(row, label)),
            quartiles_ms(engine),
            error(engine, "max_error"),
        ]
        for row in rows
        for label, engine in figures.measured(row).items()
        if label not in LIMITS
    ]
    return [f"## Unequal lengths: real steps a second\n\n{table(header, lines, 4)}"]


def goals(rows: Sequence[Row]) -> Iterator[Goal]:
    dense = {row["name"]: row for row in rows if row["lengths"] == "full"}
    for row in rows:
        padded, ragged = (figures.rate(row, label) for label in (PADDED, RAGGED))
        if padded is None or ragged is None:
            continue
        what = f"{row['name']}, {row['lengths']} lengths"
        whole = of_peak(dense.get(row["name"]), OWN)
        for label, kind in ((PADDED, "padded"), (RAGGED, "ragged")):
            rate = of_peak(row, label)
            share = rate / whole if rate and whole else None
            yield from at_least(f"{what}: {kind}, of the dense rate", LEAST_DENSE, share)
        packed = figures.rate(row, "PyTorch, packed")
        times = min(padded, ragged) / packed if packed else None
        yield from at_least(f"{what}: against PyTorch packed", LEAST_PACKED, times)
        apart = max(padded, ragged) / min(padded, ragged)
        yield from at_most(f"{what}: padded and ragged apart", MOST_APART, apart)


def of_peak(row: Row | None, label: str) -> float | None:
    """A rate to compare between rows: over the peak beside it, where that was measured."""
    if row is None:
        return None
    rate, most = figures.rate(row, label), figures.peak(row)
    return rate / most if rate and most else rate
