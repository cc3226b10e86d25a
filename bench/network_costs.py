"""What the kinds of network cost beside plain ones, and what they may cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench import results, spread
from bench.network_rows import NETWORKS
from bench.results import OWN, PLAIN

Results = dict[str, Any]
Checked = tuple[str, str, str, bool]  # what, wanted, got, met


def costs(row: Results) -> tuple[float, float, float] | None:
    """Times the plain network's time: quartile, median, quartile of the ratios within rounds.

    By operation of the matrix products where the goal is about that.
    """
    engines = results.measured(row)
    if OWN not in engines or PLAIN not in engines:
        return None
    by = row["plain_flops"] / row["flops"] if NETWORKS[row["name"]].by_work else 1.0
    pairs = zip(engines[OWN]["seconds"], engines[PLAIN]["seconds"], strict=True)
    return spread.quartiles([None if a is None or b is None else by * a / b for a, b in pairs])


def check(found: Results) -> Iterator[Checked]:
    """Every goal that the results of `python -m bench networks` say something about."""
    for row in found.get("networks", []):
        most, cost = NETWORKS[row["name"]].most, costs(row)
        if most is not None and cost is not None:
            what = f"{row['name']}: against {NETWORKS[row['name']].beside}"
            yield what, f"<= {most:g} x", f"{cost[1]:.2f} x", cost[1] <= most
