"""`python -m bench trace`: all gates of all steps, beside TensorFlow's `BlockLSTMV2`.

TensorFlow needs an environment of its own, so these results have a file of their own.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from bench.harness import figures
from bench.harness.engines import entrants
from bench.harness.goals import Goal, at_least
from bench.harness.limits import FILL, PEAK
from bench.harness.own import OWN, TRACE
from bench.harness.report import trace_report
from bench.harness.run import Run, add_common_options
from bench.harness.stored import Result
from bench.harness.workload import Workload

# N, T, I, H, layers
SIZES = {"h8": (4_096, 100, 4, 8, 1), "h32": (2_048, 100, 8, 32, 1), "h128": (512, 100, 16, 128, 1)}
ENGINES = (TRACE, *entrants("trace"), OWN, FILL, PEAK)
LEAST_TIMES = 3.0  # as fast as any other engine


def add_options(parser: argparse.ArgumentParser) -> None:
    add_common_options(parser, list(SIZES), ENGINES, ("trace",), rounds=7, dtypes=("float32",))


def measure(run: Run) -> None:
    run.result["trace"] = [
        run.time(Workload(name, *SIZES[name], dtype), run.options.engines)
        for dtype in run.options.dtypes
        for name in run.options.rows
    ]


def report(result: Result) -> list[str]:
    return [trace_report(result["trace"])]


def goals(result: Result) -> Iterator[Goal]:
    for row in result.get("trace", []):
        for other in figures.rivals(row):
            what = f"trace {row['name']}: against {other}"
            yield from at_least(what, LEAST_TIMES, figures.times(row, other, TRACE))
