"""The figures of one row: who computed the same, how many times as fast, what part of the peak."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.harness import rounds
from bench.harness.accuracy import computes_the_same
from bench.harness.limits import LIMITS, PEAK
from bench.harness.own import OWN, is_own
from bench.harness.stored import Row


def measured(row: Row) -> dict[str, Row]:
    """The engines of a row that gave a time."""
    return {label: engine for label, engine in row["engines"].items() if "median" in engine}


def rivals(row: Row) -> dict[str, Row]:
    """The other engines that did the same work."""
    return {
        label: engine
        for label, engine in measured(row).items()
        if is_rival(label) and computes_the_same(row["dtype"], engine)
    }


def is_rival(label: str) -> bool:
    """Whether a label is neither one of fastlstm's own nor a limit."""
    return not is_own(label) and label not in LIMITS


def best_rival(row: Row) -> str | None:
    """The fastest of the other engines."""
    found = rivals(row)
    return min(found, key=lambda label: found[label]["median"], default=None)


def times(row: Row, other: str | None, own: str = OWN) -> float | None:
    """How many times as fast as another engine; see `rounds.ratio`."""
    engines = measured(row)
    if own not in engines or other is None or other not in engines:
        return None
    return rounds.ratio(engines[other]["seconds"], engines[own]["seconds"])


def by_strength(rows: Sequence[Row], own: str = OWN) -> list[str]:
    """The rivals of some rows, the one that comes closest to `own` on average first.

    The average is the geometric mean; one that did no row's work comes last.
    """
    labels = dict.fromkeys(label for row in rows for label in row["engines"] if is_rival(label))

    def strength(label: str) -> float:
        found = [times(row, label, own) for row in rows if label in rivals(row)]
        logs = [math.log(t) for t in found if t is not None]
        return sum(logs) / len(logs) if logs else math.inf

    return sorted(labels, key=strength)


def rate(row: Row, label: str) -> float | None:
    """Millions of time steps a second."""
    engines = measured(row)
    return row["steps"] / engines[label]["median"] / 1e6 if label in engines else None


def flops(row: Row, label: str | None = OWN) -> float | None:
    """Operations of matrix products a second."""
    engines = measured(row)
    if label is None or label not in engines:
        return None
    return float(engines[label]["flops"] / engines[label]["median"])


def peak(row: Row) -> float | None:
    """The most operations a second, measured beside the engines: those of the fastest round."""
    engines = measured(row)
    if PEAK not in engines:
        return None
    return float(engines[PEAK]["flops"] / rounds.fastest(engines[PEAK]["seconds"]))


def peak_share(row: Row, label: str = OWN) -> float | None:
    """The part of the peak that an engine reaches."""
    most, reached = peak(row), flops(row, label)
    return reached / most if most and reached else None
