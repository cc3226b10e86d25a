"""`python -m bench loop`: fastlstm beside the loops that one would write oneself.

Rows against NumPy, Numba's `prange` and plain Python; first calls, traces, imports and memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from bench.harness.goals import Goal
from bench.harness.report import rows_report, trace_report
from bench.harness.run import Run, add_common_options
from bench.harness.stored import Result
from bench.loop import memory, rows, start, trace

SECTIONS = ("rows", "first", "trace", "start", "memory")


def add_options(parser: argparse.ArgumentParser) -> None:
    add_common_options(parser, rows.NAMES, rows.ENGINES, SECTIONS, rounds=7)


def measure(run: Run) -> None:
    if run.wants("rows"):
        run.result["rows"] = rows.measure(run)
    if run.wants("trace"):
        run.result["trace"] = trace.measure(run)
    if run.wants("start"):
        run.result["start"] = start.measure(run)
    if run.wants("memory"):
        run.result["memory"] = memory.measure(run)


def report(result: Result) -> list[str]:
    sections = rows_report(result.get("rows", []))
    if result.get("trace"):
        sections.append(trace_report(result["trace"]))
    if result.get("start"):
        sections.append(start.report(result["start"]))
    if result.get("memory"):
        sections.append(memory.report(result["memory"]))
    return sections


def goals(result: Result) -> Iterator[Goal]:
    yield from rows.goals(result.get("rows", []))
    yield from trace.goals(result.get("trace", []))
    yield from start.goals(result.get("start", {}))
    yield from memory.goals(result.get("memory", {}))
