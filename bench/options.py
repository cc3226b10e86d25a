"""What the commands that measure have in common: options, progress, storing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import machine, measure, results
from bench.engines import ENGINES
from bench.rows import Row
from fastlstm.engine.run.threads import default_threads

DTYPES = ("float32", "float64")
QUICK = 16  # a quick run has so many times fewer sequences


def add(
    parser: argparse.ArgumentParser,
    rows: Sequence[str],
    engines: Sequence[str],
    parts: Sequence[str],
    rounds: int,
    dtypes: Sequence[str] = DTYPES,
) -> None:
    """Add the options; each of the names given is a choice, and all are the default."""
    choices = {"rows": rows, "dtypes": dtypes, "engines": engines, "parts": parts}
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
        help="keep what the stored result has and was not measured this time",
    )


class Run:
    """One run of a command: what it measures by, and the results so far."""

    def __init__(self, command: str, options: argparse.Namespace) -> None:
        self.options = options
        self.threads = options.threads or default_threads()
        self.rounds, self.turn = (3, 0.02) if options.quick else (options.rounds, options.turn)
        settings = {"rounds": self.rounds, "turn_seconds": self.turn, "quick": options.quick}
        self.results: results.Results = {
            "format": results.FORMAT,
            "command": command,
            "machine": machine.describe(self.threads),
            "settings": settings,
            "missing": {},
        }

    def wants(self, part: str) -> bool:
        return part in self.options.parts

    def sized(self, row: Row) -> Row:
        """The row, or with fewer sequences in a quick run."""
        if not self.options.quick:
            return row
        return row.with_sequences(max(min(16, row.N), row.N // QUICK))

    def compare(
        self,
        row: Row,
        engines: Sequence[str],
        threads: int | None = None,
        input_file: Path | None = None,
    ) -> dict[str, Any]:
        """Time those of the engines that are installed and compute in the row's dtype.

        With a file of its input, the row is taken as it is.
        """
        if input_file is None:
            row = self.sized(row)
        say(f"{row.name} {row.dtype} {row.lengths if row.lengths != 'full' else ''}")
        present = []
        for name in engines:
            if missing := ENGINES[name].missing():
                self.results["missing"][name] = f"not installed: {', '.join(missing)}"
            elif row.dtype in ENGINES[name].dtypes:
                present.append(name)
        found = measure.compare(
            row, present, threads or self.threads, self.rounds, self.turn, input_file
        )
        for name, engine in found["engines"].items():
            if "failed" in engine:
                say(f"  {name} failed: {engine['failed']}")
            elif not measure.computes_the_same(row.dtype, engine):
                say(f"  {name} computes something else: error {engine['max_error']:.1e}")
        return found

    def store(self) -> results.Results:
        """Store the results if that was asked for, or if nothing was left out; return them all."""
        path, found = self.options.json, self.results
        everything = self.options.everything
        whole = all(getattr(self.options, name) == every for name, every in everything.items())
        if path is None and not self.options.quick and (whole or self.options.update):
            path = results.FOLDER / results.file_name(found)
        if path is None:
            return found
        if self.options.update and path.exists():
            found = results.update(found, results.read(path))
        results.write(found, path)
        say(f"stored as {path.name}")
        return found


def say(text: str) -> None:
    print(text.rstrip(), file=sys.stderr, flush=True)
