"""`fastlstm speed`: compare the engine with a NumPy loop on this machine, in a few seconds."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fastlstm.commands.hints import add_hints, given_hints, load_model
from fastlstm.commands.parsers import new_parser, positive
from fastlstm.messages import Message, separated

if TYPE_CHECKING:
    from fastlstm.commands.parsers import Commands
    from fastlstm.commands.speed.cases import Case


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    parser = new_parser(
        commands,
        "speed",
        run,
        help="time a model, or networks of a few sizes, on this machine",
        description="Time `predict` and a plain NumPy loop in turn on random data. Print the "
        "median and quartiles of each, and the largest difference between their results. Without "
        "a model, time networks of a few sizes with random weights.",
        examples=(
            "fastlstm speed",
            "fastlstm speed --model model.safetensors --sequences 10000 --steps 48",
            "fastlstm speed --model checkpoint.pt --head fc",
            "fastlstm speed --hidden 64 --threads 1 --json",
        ),
    )
    network = parser.add_mutually_exclusive_group()
    network.add_argument("--model", type=Path, help="a model file of any kind")
    network.add_argument(
        "--hidden", type=positive, metavar="H", help="one layer of this many hidden units"
    )
    parser.add_argument(
        "--sequences",
        type=positive,
        metavar="N",
        help="number of sequences (default: chosen for each network)",
    )
    parser.add_argument(
        "--steps",
        type=positive,
        metavar="T",
        help="steps in each sequence (default: chosen for each network)",
    )
    parser.add_argument(
        "--threads",
        type=positive,
        metavar="K",
        help="threads of the engine (default: all that this process may use); NumPy keeps its own "
        "setting",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with the time of each run")
    add_hints(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from fastlstm.commands.speed import cases, report
    from fastlstm.engine.run.threads import default_threads

    threads = options.threads or default_threads()
    results = []
    chosen = [case.resized(options.sequences, options.steps) for case in _cases(options)]
    if not options.json:
        print(report.heading(threads), flush=True)
    for case in chosen:
        results.append(cases.run_case(case, threads))
        if not options.json:
            print(report.as_line(results[-1]), flush=True)
    if options.json:
        print(json.dumps(report.as_json(results, threads), indent=2, allow_nan=False))
    if any(map(report.is_unsteady, results)):
        print(
            "fastlstm: the times of some runs differ a lot: the machine may be busy with other "
            "work; repeat the measurement before you trust the medians",
            file=sys.stderr,
        )


def _cases(options: argparse.Namespace) -> list[Case]:
    from fastlstm.commands.speed.cases import Case, default_cases, make_model

    if options.model is not None:
        return [Case(load_model(options.model, options))]
    if hints := given_hints(options):
        raise ValueError(Message(*separated(hints), ": hints are about a model file; give --model"))
    if options.hidden is not None:
        return [Case(make_model(options.hidden))]
    return default_cases()
