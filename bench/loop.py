"""`python -m bench loop`: fastlstm beside the loops that one would write oneself.

Rows against NumPy, Numba's `prange` and plain Python; first calls, traces, imports and memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench import memory, options, results, startup
from bench.options import Run, say
from bench.rows import Row
from bench.spread import timed

ROWS = ("seed", "tiny", "h16", "mid", "h64", "hydro_s", "hydro", "big")
ENGINES = ("fastlstm", "fastlstm, 1 thread", "numpy", "prange", "python", "peak")
FIRST_CALLS = ("fastlstm", "numpy", "prange")
PARTS = ("rows", "first", "trace", "start", "memory")
TRACE_ROWS, TRACE_SEQUENCES = ("seed", "tiny"), 20_000
START_ROWS, START_SEQUENCES = ("seed", "mid"), 1_000  # one for each of the two kinds of kernel
MEMORY_SHAPE = (100_000, 100)


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add(parser, ROWS, ENGINES, PARTS, rounds=7)


def main(arguments: argparse.Namespace) -> results.Results:
    """Measure the parts that are wanted."""
    run = Run("loop", arguments)
    found, quick = run.results, arguments.quick
    if run.wants("rows"):
        found["rows"] = []
        for dtype in arguments.dtypes:
            for name in arguments.rows:
                row = run.compare(Row.named(name, dtype), arguments.engines)
                found["rows"].append(row)
                if run.wants("first") and not quick:
                    add_first_calls(row, run.threads)
    if run.wants("trace"):
        found["trace"] = [
            run.compare(
                Row.named(name, dtype).with_sequences(TRACE_SEQUENCES),
                ("fastlstm", "trace", "fill"),
            )
            for dtype in arguments.dtypes
            for name in TRACE_ROWS
        ]
    if run.wants("start"):
        say("imports and first calls")
        found["start"] = measure_start(arguments.dtypes, run.threads, 3 if quick else 15)
    if run.wants("memory"):
        say("memory")
        N, T = MEMORY_SHAPE
        found["memory"] = {"N": N, "T": T, "extra_bytes": memory.extra_bytes(N, T, run.threads)}
    return run.store()


def add_first_calls(result: dict[str, Any], threads: int) -> None:
    """Add what the engines of a row need for their first result in a process."""
    row = Row.of(result)
    for name in FIRST_CALLS:
        if name in results.measured(result):
            result["engines"][name]["first_call"] = startup.first_calls(name, row, threads)


def measure_start(dtypes: Sequence[str], threads: int, repeats: int) -> dict[str, Any]:
    """Times of imports, and of first calls with few sequences."""
    imports = {name: timed(k) for name, k in startup.import_seconds(repeats).items()}
    first = []
    for dtype in dtypes:
        for name in START_ROWS:
            row = Row.named(name, dtype).with_sequences(START_SEQUENCES)
            seconds = startup.first_calls("fastlstm", row, threads, cold=1 if repeats < 5 else 3)
            first.append(asdict(row) | {"first_call": seconds})
    return {"imports": imports, "first_calls": first}
