"""Figures made of the seconds of each round; a round that an engine sat out is None."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

Rounds = Sequence["float | None"]


def timed(seconds: Rounds) -> dict[str, Any]:
    """What is stored of an engine's rounds: all of them, the median and the quartiles."""
    low, middle, high = quartiles(seconds)
    return {"seconds": list(seconds), "median": middle, "quartiles": [low, high]}


def quartiles(seconds: Rounds) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile of the rounds that took place."""
    low, middle, high = np.quantile([s for s in seconds if s is not None], [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


def ratios(slow: Rounds, fast: Rounds) -> list[float | None]:
    """How many times as long `slow` takes, within each round in which both took part.

    Within a round the two stand side by side, so a machine that changes its speed from round to
    round changes no ratio.
    """
    pairs = zip(slow, fast, strict=True)
    return [None if a is None or b is None else a / b for a, b in pairs]


def ratio(slow: Rounds, fast: Rounds) -> float:
    """The median of the ratios within rounds."""
    return median(r for r in ratios(slow, fast) if r is not None)


def fastest(seconds: Rounds) -> float:
    """The fastest round."""
    return min(s for s in seconds if s is not None)
