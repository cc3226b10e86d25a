"""What the figures have to reach, and whether they do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from bench import goals_loop, goals_scoring, network_costs, results
from bench.results import ONE_THREAD, OWN

Results = dict[str, Any]

# float32, two threads: times as fast as the best other engine in the same run.
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
LEAST_DENSE, LEAST_PACKED, MOST_APART = 0.9, 4.0, 1.1
MOST_SMALL = {"call": 15e-6, "step": 10e-6}
LEAST_TRACE = 3.0


class Goal(NamedTuple):
    """One figure beside what it has to be."""

    what: str
    wanted: str
    got: str
    met: bool


def check(found: Results) -> list[Goal]:
    """Every goal that the results of a command say something about."""
    others = {"loop": goals_loop, "networks": network_costs, "score": goals_scoring}
    if found["command"] in others:
        return [Goal(*goal) for goal in others[found["command"]].check(found)]
    rows = found.get("rows", [])
    single = [row for row in rows if row["dtype"] == "float32"]
    return [
        *_against_best(single),
        *_accuracy(single),
        *_peaks(single),
        *(_threads(single) if found["machine"]["threads"] == 2 else ()),
        *_float64([row for row in rows if row["dtype"] == "float64"]),
        *_ragged(found.get("ragged", [])),
        *_small(found.get("small", [])),
        *_trace(found.get("trace", [])),
    ]


def missed(goals: list[Goal]) -> list[Goal]:
    return [goal for goal in goals if not goal.met]


def at_least(what: str, least: float, got: float | None) -> Iterator[Goal]:
    if got is not None:
        yield Goal(what, f">= {least:g} x", f"{got:.2f} x", got >= least)


def _against_best(rows: list[Results]) -> Iterator[Goal]:
    for row in rows:
        best = results.best_rival(row)
        if best and row["name"] in LEAST_TIMES_BEST:
            what = f"{row['name']}: against the best other engine, {best}"
            yield from at_least(what, LEAST_TIMES_BEST[row["name"]], results.times(row, best))


def _accuracy(rows: list[Results]) -> Iterator[Goal]:
    for row in rows:
        own, torch = (results.measured(row).get(name, {}) for name in (OWN, "PyTorch"))
        for kind, word in (("rms_error", "rms error"), ("max_error", "largest error")):
            if kind in own and kind in torch:
                what = f"{row['name']}: {word}, PyTorch's at most"
                met = own[kind] <= torch[kind]
                yield Goal(what, f"<= {torch[kind]:.3e}", f"{own[kind]:.3e}", met)


def _peaks(rows: list[Results]) -> Iterator[Goal]:
    for row in rows:
        least, share = LEAST_PEAK.get(row["name"]), results.peak_share(row)
        if least is not None and share is not None:
            what = f"{row['name']}: part of the FMA peak"
            yield Goal(what, f">= {least:.0%}", f"{share:.1%}", share >= least)


def _threads(rows: list[Results]) -> Iterator[Goal]:
    for row in rows:
        if row["name"] not in FEW_TILES:
            what = f"{row['name']}: two threads against one"
            yield from at_least(what, LEAST_TWO_THREADS, results.times(row, ONE_THREAD))


def _float64(rows: list[Results]) -> Iterator[Goal]:
    for row in rows:
        for other, least in LEAST_FLOAT64.items():
            if other in results.rivals(row):
                what = f"{row['name']} float64: against {other}"
                yield from at_least(what, least, results.times(row, other))


def _ragged(rows: list[Results]) -> Iterator[Goal]:
    dense = {row["name"]: row for row in rows if row["lengths"] == "full"}
    for row in rows:
        what = f"{row['name']}, {row['lengths']} lengths"
        padded, unpadded, packed = (
            results.rate(row, k)
            for k in ("fastlstm, padded", "fastlstm, ragged", "PyTorch, packed")
        )
        if padded is None or unpadded is None:
            continue
        if row["name"] in dense and (whole := of_peak(dense[row["name"]], OWN)):
            for kind in ("padded", "ragged"):
                part = (of_peak(row, f"fastlstm, {kind}") or 0) / whole
                yield from at_least(f"{what}: {kind}, of the dense rate", LEAST_DENSE, part)
        if packed is not None:
            slower = min(padded, unpadded)
            yield from at_least(f"{what}: against PyTorch packed", LEAST_PACKED, slower / packed)
        apart = max(padded, unpadded) / min(padded, unpadded)
        wanted = f"<= {MOST_APART:g} x"
        yield Goal(
            f"{what}: padded and ragged apart", wanted, f"{apart:.2f} x", apart <= MOST_APART
        )


def of_peak(row: Results, engine: str) -> float | None:
    """A rate that compares between rows: by the peak beside it, where that was measured."""
    rate, most = results.rate(row, engine), results.peak(row)
    return rate / most if rate and most else rate


def _small(rows: list[Results]) -> Iterator[Goal]:
    for row in rows:
        own = results.measured(row).get(f"fastlstm, {row['name']}")
        if own is not None:
            most, got = MOST_SMALL[row["name"]], own["median"]
            what = f"one small {row['name']} from Python"
            yield Goal(what, f"<= {1e6 * most:g} us", f"{1e6 * got:.1f} us", got <= most)


def _trace(rows: list[Results]) -> Iterator[Goal]:
    for row in rows:
        if "BlockLSTMV2" in results.rivals(row):
            times = results.times(row, "BlockLSTMV2", "trace")
            yield from at_least(f"trace {row['name']}: against BlockLSTMV2", LEAST_TRACE, times)
