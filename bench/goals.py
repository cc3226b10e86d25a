"""What the figures have to reach, and whether they do."""

from __future__ import annotations

from typing import Any, NamedTuple

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


class Goal(NamedTuple):
    """One figure beside what it has to be."""

    what: str
    wanted: str
    got: str
    met: bool


def check(results: dict[str, Any]) -> list[Goal]:
    """Every goal that the results say something about; `results` as `__main__` stores them."""
    return [
        *_rates(results.get("rows", [])),
        *_traces(results.get("trace", [])),
        *_starts(results.get("start", {})),
        *_memory(results.get("memory", {})),
    ]


def missed(goals: list[Goal]) -> list[Goal]:
    return [goal for goal in goals if not goal.met]


def _rates(rows: list[dict[str, Any]]) -> list[Goal]:
    goals = []
    seconds = {
        (row["name"], row["dtype"]): row["engines"]["fastlstm"]["median"]
        for row in rows
        if "fastlstm" in row["engines"]
    }
    for row in rows:
        name, dtype = row["name"], row["dtype"]
        times = row["engines"].get("fastlstm", {}).get("times_numpy")
        if dtype == "float32" and times is not None and name in LEAST_TIMES_NUMPY:
            least = LEAST_TIMES_NUMPY[name]
            goals.append(
                Goal(f"{name}: times NumPy", f">= {least:g}", f"{times:.2f}", times >= least)
            )
        if dtype == "float64" and (name, "float32") in seconds and (name, dtype) in seconds:
            part = 2 * seconds[name, "float32"] / seconds[name, dtype]
            met = part >= LEAST_FLOAT64
            what = f"{name}: float64 rate, of half the float32 rate"
            goals.append(Goal(what, f">= {LEAST_FLOAT64:.0%}", f"{part:.0%}", met))
    return goals


def _traces(rows: list[dict[str, Any]]) -> list[Goal]:
    goals = []
    for row in rows:
        trace, predict, fill = (row["engines"][k]["median"] for k in ("trace", "fastlstm", "fill"))
        most = max(MOST_TIMES_PREDICT * predict, MOST_TIMES_FILL * fill)
        what = f"{row['name']} {row['dtype']}: trace"
        got = f"{1e3 * trace:.1f} ms"
        goals.append(Goal(what, f"<= {1e3 * most:.1f} ms", got, trace <= most))
    return goals


def _starts(start: dict[str, Any]) -> list[Goal]:
    goals = []
    if "imports" in start:
        times = start["imports"]["fastlstm"]["median"] / start["imports"]["numpy"]["median"]
        met, wanted = times <= MOST_TIMES_IMPORT_NUMPY, f"<= {MOST_TIMES_IMPORT_NUMPY}"
        goals.append(Goal("import fastlstm: times NumPy's", wanted, f"{times:.2f}", met))
    for row in start.get("first_calls", []):
        for kind, most in MOST_SECONDS.items():
            seconds = row["first_call"][kind]
            what = f"first predict, {kind} cache: {row['name']} {row['dtype']}"
            goals.append(Goal(what, f"<= {most:g} s", f"{seconds:.2f} s", seconds <= most))
    return goals


def _memory(memory: dict[str, Any]) -> list[Goal]:
    return [
        Goal(
            f"memory beyond input and output, {case}",
            "< 50 MB",
            f"{size / 1e6:.1f} MB",
            size < MOST_EXTRA_BYTES,
        )
        for case, size in memory.get("extra_bytes", {}).items()
        if case != "first call"
    ]
