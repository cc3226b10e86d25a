"""`python -m bench`: time the engine and what it competes with, print and store the result."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import machine, measure, memory, report, startup
from bench.rows import BENCHMARK_ROWS, Row
from fastlstm.engine.threads import default_threads

RESULTS = Path(__file__).parent / "results"
DTYPES = ("float32", "float64")
COMPARED = ("fastlstm", report.ONE_THREAD, "numpy", "prange", "python", "peak")
FIRST_CALLS = ("fastlstm", "numpy", "prange")
PARTS = ("rows", "first", "trace", "start", "memory")
TRACE_ROWS, TRACE_SEQUENCES = ("seed", "tiny"), 20_000
START_ROWS, START_SEQUENCES = ("seed", "mid"), 1_000  # one for each of the two kinds of kernel
MEMORY_SHAPE = (100_000, 100)
QUICK = 16  # a quick run has so many times fewer sequences


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = parser().parse_args(arguments)
    if options.show:
        print(report.render(report.read(options.show)), end="")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave no stopped process behind
    results = run(options)
    print(report.render(results), end="")
    whole = all(getattr(options, k) == parser().get_default(k) for k in ("rows", "dtypes", "parts"))
    path = options.json
    if path is None and whole and not options.quick and options.engines == list(COMPARED):
        path = RESULTS / report.file_name(results["machine"])
    if path is not None:
        report.write(results, path)
        say(f"stored as {path.name}, and as Markdown beside it")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    answer = argparse.ArgumentParser(prog="python -m bench", description=__doc__)

    def names(of: Sequence[str]) -> dict[str, Any]:
        return {"nargs": "+", "choices": list(of), "default": list(of), "metavar": "NAME"}

    def listing(what: str, of: Sequence[str]) -> str:
        return f"{what}, any of: {'; '.join(of)} (default: all)"

    for name, of in (("rows", BENCHMARK_ROWS), ("dtypes", DTYPES), ("parts", PARTS)):
        answer.add_argument(f"--{name}", **names(list(of)), help=listing(name, list(of)))
    answer.add_argument("--engines", **names(COMPARED), help=listing("engines", COMPARED))
    answer.add_argument(
        "--repeats", type=int, default=7, metavar="N", help="rounds of turns (default: 7)"
    )
    answer.add_argument(
        "--turn", type=float, default=0.3, metavar="S", help="seconds a turn (default: 0.3)"
    )
    answer.add_argument(
        "--threads", type=int, default=None, metavar="N", help="default: as many as fastlstm takes"
    )
    answer.add_argument(
        "--quick", action="store_true", help="few sequences, 3 short rounds, no first calls"
    )
    answer.add_argument(
        "--json", type=Path, metavar="PATH", help="where to store (default: results/, if whole)"
    )
    answer.add_argument(
        "--show", type=Path, metavar="PATH", help="print a stored result and measure nothing"
    )
    return answer


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, and return what is stored."""
    threads = options.threads or default_threads()
    rounds, turn = (3, 0.02) if options.quick else (options.repeats, options.turn)
    fewer = QUICK if options.quick else 1
    results: dict[str, Any] = {
        "format": 1,
        "machine": machine.describe(threads),
        "settings": {"rounds": rounds, "turn_seconds": turn, "quick": options.quick},
    }

    def compare(name: str, dtype: str, engines: Sequence[str], N: int) -> dict[str, Any]:
        say(f"{name} {dtype}")
        row = Row.named(name, dtype).with_sequences(max(16, N // fewer))
        return measure.compare(row, engines, threads, rounds, turn)

    if "rows" in options.parts:
        results["rows"] = []
        for dtype in options.dtypes:
            for name in options.rows:
                row = compare(name, dtype, options.engines, BENCHMARK_ROWS[name][0])
                results["rows"].append(row)
                if "first" in options.parts and not options.quick:
                    add_first_calls(row, threads)
    if "trace" in options.parts:
        results["trace"] = [
            compare(name, dtype, ("fastlstm", "trace", "fill"), TRACE_SEQUENCES)
            for dtype in options.dtypes
            for name in TRACE_ROWS
        ]
    if "start" in options.parts:
        say("imports and first calls")
        results["start"] = measure_start(options.dtypes, threads, 3 if options.quick else 15)
    if "memory" in options.parts:
        say("memory")
        N, T = MEMORY_SHAPE
        results["memory"] = {"N": N, "T": T, "extra_bytes": memory.extra_bytes(N, T, threads)}
    return results


def add_first_calls(result: dict[str, Any], threads: int) -> None:
    """Add what the engines of a row need for their first result in a process."""
    row = Row.named(result["name"], result["dtype"])
    for name in FIRST_CALLS:
        if name in result["engines"]:
            result["engines"][name]["first_call"] = startup.first_calls(name, row, threads)


def measure_start(dtypes: Sequence[str], threads: int, repeats: int) -> dict[str, Any]:
    """Times of imports, and of first calls with few sequences."""
    imports = {}
    for name, seconds in startup.import_seconds(repeats).items():
        low, middle, high = measure.quartiles(seconds)
        imports[name] = {"seconds": seconds, "median": middle, "quartiles": [low, high]}
    first = []
    for dtype in dtypes:
        for name in START_ROWS:
            row = Row.named(name, dtype).with_sequences(START_SEQUENCES)
            seconds = startup.first_calls("fastlstm", row, threads, cold=1 if repeats < 5 else 3)
            first.append(asdict(row) | {"first_call": seconds})
    return {"imports": imports, "first_calls": first}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
