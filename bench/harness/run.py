"""One run of a command that measures: its options, its progress, storing what it found."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.harness import machine, stored
from bench.harness.accuracy import computes_the_same
from bench.harness.engines import ENGINES
from bench.harness.internals import default_threads
from bench.harness.stored import Result, Row
from bench.harness.turns import time_engines
from bench.harness.workload import Workload

DTYPES = ("float32", "float64")
QUICK = 16  # a quick run takes one sequence in so many ...
LEAST_QUICK = 16  # ... but no fewer than these
FILE_PACKAGES = ("pyarrow",)  # that read and write the files of `score`


def add_common_options(
    parser: argparse.ArgumentParser,
    rows: Sequence[str],
    engines: Sequence[str],
    sections: Sequence[str],
    rounds: int,
    dtypes: Sequence[str] = DTYPES,
) -> None:
    """Add the options; the names given are the choices, and all of them the default."""
    choices = {"rows": rows, "dtypes": dtypes, "engines": engines, "sections": sections}
    for name, of in choices.items():
        text = f"any of: {'; '.join(of)} (default: all)"
        parser.add_argument(
            f"--{name}", nargs="+", choices=list(of), default=list(of), metavar="NAME", help=text
        )
    parser.set_defaults(everything={name: list(of) for name, of in choices.items()})

    def value(flag: str, kind: type, default: Any, metavar: str, text: str) -> None:
        parser.add_argument(flag, type=kind, default=default, metavar=metavar, help=text)

    value("--rounds", int, rounds, "N", f"rounds of turns (default: {rounds})")
    value("--turn", float, 0.3, "S", "seconds a turn (default: 0.3)")
    value("--threads", int, None, "N", "default: as many as fastlstm takes")
    value("--json", Path, None, "PATH", "where to store (default: results/, if whole)")
    parser.add_argument(
        "--quick", action="store_true", help="few sequences, 3 short rounds: does it run?"
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="replace in the stored result what is measured again, and keep the rest",
    )


class Run:
    """One run of a command: how it measures, and the result so far."""

    def __init__(self, command: str, options: argparse.Namespace) -> None:
        self.options, self.quick = options, options.quick
        self.threads = options.threads or default_threads()
        self.rounds, self.turn = (3, 0.02) if options.quick else (options.rounds, options.turn)
        settings = {"rounds": self.rounds, "turn_seconds": self.turn, "quick": options.quick}
        self.result: Result = {
            "format": stored.FORMAT,
            "command": command,
            "machine": machine.describe(self.threads, packages()),
            "settings": settings,
            "missing": {},
        }

    def wants(self, section: str) -> bool:
        return section in self.options.sections

    def say(self, text: str) -> None:
        """Show on standard error how far the run is."""
        print(text.rstrip(), file=sys.stderr, flush=True)

    def sized(self, workload: Workload) -> Workload:
        """The workload, with fewer sequences in a quick run."""
        if not self.quick:
            return workload
        return workload.with_sequences(max(min(LEAST_QUICK, workload.N), workload.N // QUICK))

    def time(
        self,
        workload: Workload,
        labels: Sequence[str],
        threads: int | None = None,
        input_file: Path | None = None,
    ) -> Row:
        """Time those of the engines that are installed and compute in the workload's dtype.

        With a file of its input, the workload is taken as it is.
        """
        if input_file is None:
            workload = self.sized(workload)
        lengths = workload.lengths if workload.lengths != "full" else ""
        self.say(f"{workload.name} {workload.dtype} {lengths}")
        present = []
        for label in labels:
            if missing := ENGINES[label].missing():
                self.result["missing"][label] = f"not installed: {', '.join(missing)}"
            elif workload.dtype in ENGINES[label].dtypes:
                present.append(ENGINES[label])
        threads = threads or self.threads
        row = time_engines(workload, present, threads, self.rounds, self.turn, input_file)
        for label, engine in row["engines"].items():
            if "failed" in engine:
                self.say(f"  {label} failed: {engine['failed']}")
            elif not computes_the_same(workload.dtype, engine):
                self.say(f"  {label} computes something else: error {engine['max_error']:.1e}")
        return row

    def store(self) -> Result:
        """Store the result if that was asked for, or if nothing was left out; return all of it."""
        path, result = self.options.json, self.result
        everything = self.options.everything
        whole = all(getattr(self.options, name) == every for name, every in everything.items())
        if path is None and not self.quick and (whole or self.options.update):
            path = stored.FOLDER / stored.file_name(result)
        if path is None:
            return result
        if self.options.update and path.exists():
            result = stored.update(result, stored.read(path), everything["rows"])
        stored.write(result, path)
        self.say(f"stored as {path.name}")
        return result


def packages() -> list[str]:
    """The packages whose versions say what was measured."""
    named = [name for engine in ENGINES.values() for name in (*engine.needs, *engine.versions)]
    return list(dict.fromkeys([*named, *FILE_PACKAGES]))
