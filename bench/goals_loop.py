"""What the results of `python -m bench loop` have to reach."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench import results

Results = dict[str, Any]
Checked = tuple[str, str, str, bool]  # what, wanted, got, met

# Times as fast as the NumPy loop in the same run: float32, two threads, whole rows.
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
LEAST_FLOAT64 = 0.6  # of half the float32 rate
MOST_TIMES_PREDICT, MOST_TIMES_FILL = 2.5, 1.3  # trace: whichever is longer
MOST_TIMES_IMPORT_NUMPY = 1.3
MOST_SECONDS = {"warm": 0.7, "cold": 8.0}  # from the start of a process to the first predict
MOST_EXTRA_BYTES = 50e6


def check(found: Results) -> Iterator[Checked]:
    """Every goal that the results say something about."""
    yield from _rates(found.get("rows", []))
    yield from _traces(found.get("trace", []))
    yield from _starts(found.get("start", {}))
    yield from _memory(found.get("memory", {}))


def _rates(rows: list[Results]) -> Iterator[Checked]:
    rates = {(row["name"], row["dtype"]): results.rate(row, "fastlstm") for row in rows}
    for row in rows:
        name, dtype = row["name"], row["dtype"]
        times, least = results.times(row, "numpy"), LEAST_TIMES_NUMPY[name]
        if dtype == "float32" and times is not None:
            yield f"{name}: times NumPy", f">= {least:g}", f"{times:.2f}", times >= least
        single, double = rates.get((name, "float32")), rates[name, dtype]
        if dtype == "float64" and single and double:
            part = 2 * double / single
            what = f"{name}: float64 rate, of half the float32 rate"
            yield what, f">= {LEAST_FLOAT64:.0%}", f"{part:.0%}", part >= LEAST_FLOAT64


def _traces(rows: list[Results]) -> Iterator[Checked]:
    for row in rows:
        trace, predict, fill = (row["engines"][k]["median"] for k in ("trace", "fastlstm", "fill"))
        most = max(MOST_TIMES_PREDICT * predict, MOST_TIMES_FILL * fill)
        what = f"{row['name']} {row['dtype']}: trace"
        yield what, f"<= {1e3 * most:.1f} ms", f"{1e3 * trace:.1f} ms", trace <= most


def _starts(start: Results) -> Iterator[Checked]:
    if "imports" in start:
        times = start["imports"]["fastlstm"]["median"] / start["imports"]["numpy"]["median"]
        met, wanted = times <= MOST_TIMES_IMPORT_NUMPY, f"<= {MOST_TIMES_IMPORT_NUMPY}"
        yield "import fastlstm: times NumPy's", wanted, f"{times:.2f}", met
    for row in start.get("first_calls", []):
        for kind, most in MOST_SECONDS.items():
            seconds = row["first_call"][kind]
            what = f"first predict, {kind} cache: {row['name']} {row['dtype']}"
            yield what, f"<= {most:g} s", f"{seconds:.2f} s", seconds <= most


def _memory(memory: Results) -> Iterator[Checked]:
    for case, size in memory.get("extra_bytes", {}).items():
        if case != "first call":
            what = f"memory beyond input and output, {case}"
            yield what, "< 50 MB", f"{size / 1e6:.1f} MB", size < MOST_EXTRA_BYTES
