"""`python -m bench networks`: two directions, peepholes, projections, embeddings, activations.

Each kind of network beside the other engines that compute it, and beside a plain network: what it
costs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from bench.harness import run
from bench.harness.engines import entrants
from bench.harness.goals import Goal, at_most
from bench.harness.own import OWN, PLAIN
from bench.harness.report import every_engine, of_each_dtype
from bench.harness.run import Run
from bench.harness.stored import Result
from bench.networks.kinds import KINDS, NetworkWorkload
from bench.networks.report import costs, overview, readme

__all__ = ["add_options", "goals", "measure", "readme", "report"]

ENGINES = (OWN, PLAIN, *entrants("networks"))


def add_options(parser: argparse.ArgumentParser) -> None:
    sections, dtypes = ("networks",), ("float32",)
    run.add_options(parser, list(KINDS), ENGINES, sections, rounds=5, dtypes=dtypes)


def measure(run: Run) -> None:
    rows = run.result["networks"] = []
    for dtype in run.options.dtypes:
        for name in run.options.rows:
            workload = NetworkWorkload.named(name, dtype)
            row = run.time(workload, run.options.engines)
            rows.append(row | {"plain_flops": workload.with_sequences(row["N"]).plain_flops})


def report(result: Result) -> list[str]:
    rows = result["networks"]
    tables = [every_engine(dtype, some) for dtype, some in of_each_dtype(rows).items()]
    return [f"## Kinds of network: millions of time steps a second\n\n{overview(rows)}", *tables]


def goals(result: Result) -> Iterator[Goal]:
    for row in result.get("networks", []):
        kind, cost = KINDS[row["name"]], costs(row)
        what = f"{row['name']}: against {kind.beside}"
        yield from at_most(what, kind.most, cost and cost[1])
