"""The main section of `compare`: last hidden states of whole batches, by every engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.harness import figures
from bench.harness.engines import ENGINES as ALL_ENGINES
from bench.harness.engines import entrants
from bench.harness.goals import SHARE, Goal, at_least, at_most
from bench.harness.limits import PEAK
from bench.harness.own import ONE_THREAD, OWN
from bench.harness.report import (
    fastest_in_bold,
    gains,
    losses,
    measured_on,
    rows_report,
    times_best,
)
from bench.harness.run import Run
from bench.harness.stored import Result, Row
from bench.harness.tables import hidden, number, percent, span, table
from bench.harness.workload import Workload

ENGINES = (OWN, ONE_THREAD, *entrants("compare"), PEAK)

# Times as fast as the best other engine, at least: in float32, on two threads.
LEAST_TIMES_BEST = {
    "seed": 18.0,
    "tiny": 5.0,
    "h16": 2.0,
    "mid": 1.8,
    "h64": 1.7,
    "credit": 1.5,
    "fraud": 1.5,
    "har": 1.8,
    "forecast": 2.0,
    "telemetry": 1.4,
    "hydro_s": 1.3,
    "hydro": 1.2,
    "big": 1.2,
    "b32": 1.5,
    "b8": 1.5,
    "amp": 2.0,
    "vad": 1.3,
}
LEAST_PEAK = {"big": 0.88, "hydro": 0.82, "hydro_s": 0.75}
LEAST_FLOAT64 = {"PyTorch": 3.0, "numpy": 1.5}
LEAST_TWO_THREADS = 1.9
FEW_TILES = ("big", "b32", "b8", "amp", "vad")  # too few to share among threads evenly
SCIENTIFIC = ("{:.3e}", "{:.3e}")


def measure(run: Run) -> list[Row]:
    """Every workload of the table."""
    return [
        run.time(Workload.named(name, dtype), run.options.engines)
        for dtype in run.options.dtypes
        for name in run.options.rows
    ]


report = rows_report


def goals(rows: Sequence[Row], threads: int) -> Iterator[Goal]:
    single = [row for row in rows if row["dtype"] == "float32"]
    for row in single:
        best = figures.best_rival(row)
        least = LEAST_TIMES_BEST.get(row["name"])
        what = f"{row['name']}: against the best other engine, {best}"
        yield from at_least(what, least, figures.times(row, best))
    for row in single:
        own, torch = (figures.measured(row).get(name, {}) for name in (OWN, "PyTorch"))
        for kind, word in (("rms_error", "rms error"), ("max_error", "largest error")):
            what = f"{row['name']}: {word}, PyTorch's at most"
            yield from at_most(what, torch.get(kind), own.get(kind), SCIENTIFIC)
    for row in single:
        least, share = LEAST_PEAK.get(row["name"]), figures.peak_share(row)
        yield from at_least(f"{row['name']}: part of the FMA peak", least, share, SHARE)
    for row in single:
        if threads == 2 and row["name"] not in FEW_TILES:
            times = figures.times(row, ONE_THREAD)
            yield from at_least(f"{row['name']}: two threads against one", LEAST_TWO_THREADS, times)
    for row in rows:
        for other, least in LEAST_FLOAT64.items():
            if row["dtype"] == "float64" and other in figures.rivals(row):
                what = f"{row['name']} float64: against {other}"
                yield from at_least(what, least, figures.times(row, other))


# --- the README --------------------------------------------------------------------------------


def readme(result: Result) -> str:
    """The section of the README."""
    rows = result.get("rows", [])
    single, double = ([k for k in rows if k["dtype"] == d] for d in ("float32", "float64"))
    known = [ALL_ENGINES[k] for k in figures.by_strength(single) if k in ALL_ENGINES]
    packages = [name for engine in known for name in engine.versions[:1]]
    texts = [
        f"{measured_on(result, packages)}. Millions of time steps a second, float32:",
        readme_table(single),
        f"{gains(single)} {losses(rows)}",
    ]
    if double:
        texts.append(f"In float64, fastlstm is {float64(double)}.")
    return "\n\n".join(texts)


def readme_table(rows: Sequence[Row]) -> str:
    """A line for each row; the fastest engine is in bold."""
    labels = [OWN, *figures.by_strength(rows)]
    header = ["row", "N x T x inputs", "hidden", *labels, "x best other", "% of FMA peak"]
    header += ["rms error, of PyTorch's"]
    lines = []
    for row in rows:
        line = [row["name"], f"{row['N']:,} x {row['T']:,} x {row['I']}", hidden(row)]
        line += [*fastest_in_bold(row, labels), number(times_best(row))]
        line += [percent(figures.peak_share(row)), number(error_ratio(row), 2)]
        lines.append(line)
    return table(header, lines)


def error_ratio(row: Row) -> float | None:
    """The root-mean-square error against float64, over PyTorch's."""
    own, torch = (row["engines"].get(name, {}).get("rms_error") for name in (OWN, "PyTorch"))
    return own / torch if own and torch else None


def float64(rows: Sequence[Row]) -> str:
    """From how many to how many times as fast as those that have goals in float64."""
    found = []
    for other in LEAST_FLOAT64:
        times = sorted(k for row in rows if (k := figures.times(row, other)) is not None)
        if times:
            found.append(f"{span(times, digits=2)} times as fast as {other}")
    return " and ".join(found)
