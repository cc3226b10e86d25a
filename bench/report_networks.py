"""The section of a report, and of the README, on kinds of network beside plain stacks."""

from __future__ import annotations

from typing import Any

from bench import results
from bench.network_costs import costs
from bench.network_rows import NETWORKS
from bench.results import OWN, PLAIN
from bench.tables import number, shape, table

Results = dict[str, Any]

LACKS = "NotImplementedError: "  # how a rival says that its LSTM does not have something


def section(rows: list[Results]) -> str:
    """Rates of all engines, and what each kind costs beside a plain network."""
    return f"## Kinds of network: millions of time steps a second\n\n{overview(rows)}"


def overview(rows: list[Results]) -> str:
    names = [k for k in dict.fromkeys(k for row in rows for k in row["engines"]) if k != PLAIN]
    header = ["row", "what", "N", "T", "I", "H", *names, "x best other", "beside", "takes x"]
    header += ["quartiles"]
    lines = []
    for row in rows:
        kind, best, cost = NETWORKS[row["name"]], results.best_rival(row), costs(row)
        name, *sizes = shape(row)
        times = results.times(row, best) if best else None
        first = best if times is not None and times < 1 else OWN
        cells = [f"**{cell(row, k)}**" if k == first else cell(row, k) for k in names]
        line = [name, kind.what, *sizes, *cells, number(times), kind.beside]
        line.append("" if cost is None else number(cost[1]))
        line.append("" if cost is None else f"{number(cost[0])} to {number(cost[2])}")
        lines.append(line)
    return "\n\n".join([table(header, lines, 2), notes(rows), losses(rows)])


def cell(row: Results, name: str) -> str:
    """An engine's rate, or that it has none to give."""
    engine = row["engines"].get(name)
    if engine is None or engine.get("failed", "").startswith(LACKS):
        return "-"
    if "failed" in engine:
        return "fails"
    if name != OWN and name not in results.rivals(row):
        return "wrong"
    return number(results.rate(row, name))


def notes(rows: list[Results]) -> str:
    """Why some cells hold no rate."""
    lines = ["`-`: the engine's LSTM does not have it; `fails`: it refuses the model.", ""]
    for row in rows:
        for name, engine in row["engines"].items():
            if name != PLAIN and cell(row, name) == "wrong":
                apart = f"{engine['max_error']:.1g}"
                lines.append(f"- `{row['name']}`: {name} is wrong, by up to {apart}.")
    return "\n".join(lines)


def losses(rows: list[Results]) -> str:
    found = [
        f"- `{row['name']}`: {name} is {1 / times:.2f} x as fast"
        for row in rows
        for name in results.rivals(row)
        if (times := results.times(row, name)) is not None and times < 1
    ]
    if not found:
        return "No other engine was faster on any of these rows."
    return "Where fastlstm loses:\n\n" + "\n".join(found)
