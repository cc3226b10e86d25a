"""`python -m bench compare`: fastlstm beside every other engine that is installed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from bench.compare import cold, idle, limits, ragged, rows, small, threads
from bench.harness.goals import Goal
from bench.harness.run import Run, add_common_options
from bench.harness.stored import Result
from bench.harness.workload import WORKLOADS

# Each measures its section of the result, reports on it, and says which goals it has.
SECTIONS = {
    "rows": rows,
    "ragged": ragged,
    "small": small,
    "idle": idle,
    "cold": cold,
    "threads": threads,
    "limits": limits,
}

readme = rows.readme


def add_options(parser: argparse.ArgumentParser) -> None:
    add_common_options(parser, list(WORKLOADS), rows.ENGINES, list(SECTIONS), rounds=5)


def measure(run: Run) -> None:
    for name, section in SECTIONS.items():
        if run.wants(name):
            run.result[name] = section.measure(run)


def report(result: Result) -> list[str]:
    return [
        text
        for name, section in SECTIONS.items()
        if result.get(name)
        for text in section.report(result[name])
    ]


def goals(result: Result) -> Iterator[Goal]:
    yield from rows.goals(result.get("rows", []), result["machine"]["threads"])
    yield from ragged.goals(result.get("ragged", []))
    yield from small.goals(result.get("small", []))
