"""The main section of `loop`: rates beside loops, and the first calls of fresh processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.harness import figures
from bench.harness.engines import ENGINES as ALL_ENGINES
from bench.harness.engines import entrants
from bench.harness.goals import SHARE, Goal, at_least
from bench.harness.limits import PEAK
from bench.harness.own import ONE_THREAD, OWN
from bench.harness.run import Run
from bench.harness.stored import Row
from bench.harness.workload import Workload
from bench.loop.start import first_calls

ENGINES = (OWN, ONE_THREAD, *entrants("loop"), PEAK)
FIRST_CALLS = (OWN, *entrants("first call"))

# Times as fast as the NumPy loop, at least: in float32, on two threads.
LEAST_TIMES_NUMPY = {
    "seed": 45.0,
    "tiny": 16.0,
    "h16": 5.0,
    "mid": 5.0,
    "h64": 4.0,
    "hydro_s": 3.0,
    "hydro": 3.0,
    "big": 2.7,
}
NAMES = tuple(LEAST_TIMES_NUMPY)
PLAIN_TIMES = ("{:g}", "{:.2f}")
LEAST_FLOAT64 = 0.6  # of half the rate in float32


def measure(run: Run) -> list[Row]:
    rows = []
    for dtype in run.options.dtypes:
        for name in run.options.rows:
            row = run.time(Workload.named(name, dtype), run.options.engines)
            if run.wants("first") and not run.quick:
                add_first_calls(row, run.threads)
            rows.append(row)
    return rows


def add_first_calls(row: Row, threads: int) -> None:
    """Add the seconds that each engine needs for its first result in a fresh process."""
    for label in FIRST_CALLS:
        if label in figures.measured(row):
            seconds = first_calls(ALL_ENGINES[label], Workload.of(row), threads)
            row["engines"][label]["first_call"] = seconds


def goals(rows: Sequence[Row]) -> Iterator[Goal]:
    rates = {(row["name"], row["dtype"]): figures.rate(row, OWN) for row in rows}
    for row in rows:
        name = row["name"]
        single, double = (rates.get((name, dtype)) for dtype in ("float32", "float64"))
        if row["dtype"] == "float32":
            times = figures.times(row, "numpy")
            yield from at_least(f"{name}: times NumPy", LEAST_TIMES_NUMPY[name], times, PLAIN_TIMES)
        elif single and double:
            what = f"{name}: float64 rate, of half the float32 rate"
            yield from at_least(what, LEAST_FLOAT64, 2 * double / single, SHARE)
