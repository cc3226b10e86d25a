"""`python -m bench networks`: other kinds of layers, and whole networks.

Two directions, peepholes, projections ..., each beside the other engines that compute it, and
beside a plain network: what it costs. Networks with convolution, attention ... beside the other
engines.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from bench.harness import figures, rounds
from bench.harness.engines import entrants
from bench.harness.goals import Goal, at_least, at_most
from bench.harness.limits import LIMITS, PEAK
from bench.harness.own import OWN, PLAIN
from bench.harness.report import (
    cell,
    every_engine,
    fastest_in_bold,
    gains,
    losses,
    measured_on,
    of_each_dtype,
    times_best,
)
from bench.harness.run import Run, add_common_options
from bench.harness.stored import Result, Row
from bench.harness.tables import number, percent, sizes, span, table, without_empty_columns
from bench.networks.kinds import KINDS, NetworkWorkload

ENGINES = (OWN, PLAIN, *entrants("networks"), PEAK)

# --- measuring ---------------------------------------------------------------------------------


def add_options(parser: argparse.ArgumentParser) -> None:
    sections, dtypes = ("networks",), ("float32",)
    add_common_options(parser, list(KINDS), ENGINES, sections, rounds=5, dtypes=dtypes)


def measure(run: Run) -> None:
    rows = run.result["networks"] = []
    for dtype in run.options.dtypes:
        for name in run.options.rows:
            workload = NetworkWorkload.named(name, dtype)
            labels = [k for k in run.options.engines if k != PLAIN or KINDS[name].plain]
            row = run.time(workload, labels)
            rows.append(row | {"plain_flops": workload.with_sequences(row["N"]).plain_flops})


# --- what the results say ----------------------------------------------------------------------


def report(result: Result) -> list[str]:
    rows = result["networks"]
    tables = [every_engine(dtype, some) for dtype, some in of_each_dtype(rows).items()]
    return [f"## Kinds of network: millions of time steps a second\n\n{overview(rows)}", *tables]


def goals(result: Result) -> Iterator[Goal]:
    for row in result.get("networks", []):
        kind, cost = KINDS[row["name"]], costs(row)
        what = f"{row['name']}: against {kind.beside}"
        yield from at_most(what, kind.most, cost and cost[1])
        what = f"{row['name']}: against {figures.best_rival(row)}"
        yield from at_least(what, kind.least, times_best(row))


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
    labels = list(dict.fromkeys(k for row in rows for k in row["engines"]))
    labels = [k for k in labels if k not in (PLAIN, *LIMITS)]
    header = ["row", "what", "N", "T", "I", "H", *labels, "x best other", "% of peak"]
    header += ["beside", "takes x", "quartiles"]
    lines = []
    for row in rows:
        kind, cost = KINDS[row["name"]], costs(row)
        line = [row["name"], kind.what, *sizes(row), *fastest_in_bold(row, labels)]
        line += [number(times_best(row)), percent(figures.peak_share(row)), kind.beside]
        line += ["", ""] if cost is None else [number(cost[1]), span((cost[0], cost[2]))]
        lines.append(line)
    overview = table(*without_empty_columns(header, lines), 2)
    return "\n\n".join([overview, notes(rows), losses(rows)])


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
