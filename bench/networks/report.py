"""What the results of `networks` say: the tables of the report and of the README."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness import figures, rounds
from bench.harness.own import OWN, PLAIN
from bench.harness.report import (
    cell,
    fastest_in_bold,
    gains,
    losses,
    measured_on,
    times_best,
)
from bench.harness.stored import Result, Row
from bench.harness.tables import number, sizes, span, table
from bench.networks.kinds import KINDS


def costs(row: Row) -> tuple[float, float, float] | None:
    """Times as long as the plain network: quartile, median, quartile of the ratios within rounds.

    For as many operations of matrix products, where the kind is held against that.
    """
    engines = figures.measured(row)
    if OWN not in engines or PLAIN not in engines:
        return None
    by = row["plain_flops"] / row["flops"] if KINDS[row["name"]].by_work else 1.0
    ratios = rounds.ratios(engines[OWN]["seconds"], engines[PLAIN]["seconds"])
    return rounds.quartiles([None if r is None else by * r for r in ratios])


def overview(rows: Sequence[Row]) -> str:
    """Rates of all engines, what each kind costs, and where fastlstm is not the fastest."""
    labels = [k for k in dict.fromkeys(k for row in rows for k in row["engines"]) if k != PLAIN]
    header = ["row", "what", "N", "T", "I", "H", *labels, "x best other", "beside", "takes x"]
    header += ["quartiles"]
    lines = []
    for row in rows:
        kind, cost = KINDS[row["name"]], costs(row)
        line = [row["name"], kind.what, *sizes(row), *fastest_in_bold(row, labels)]
        line += [number(times_best(row)), kind.beside]
        line += ["", ""] if cost is None else [number(cost[1]), span((cost[0], cost[2]))]
        lines.append(line)
    return "\n\n".join([table(header, lines, 2), notes(rows), losses(rows)])


def notes(rows: Sequence[Row]) -> str:
    """Why some cells hold no rate."""
    lines = ["`-`: the engine's LSTM does not have it; `fails`: it refuses the model.", ""]
    for row in rows:
        for label, engine in row["engines"].items():
            if cell(row, label) == "wrong":
                apart = f"{engine['max_error']:.1g}"
                lines.append(f"- `{row['name']}`: {label} is wrong, by up to {apart}.")
    return "\n".join(lines)


def readme(result: Result) -> str:
    """The section of the README."""
    rows = result["networks"]
    return "\n\n".join(
        [
            f"{measured_on(result)}. Millions of time steps a second, float32; *takes x*: times "
            "as long as the network beside it.",
            overview(rows),
            gains(rows),
        ]
    )
