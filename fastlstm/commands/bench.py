"""`fastlstm bench`: the engine beside a NumPy loop, on this machine, in a few seconds."""

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


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    parser = new_parser(
        commands,
        "bench",
        run,
        help="the speed of a model, or of some shapes, on this machine",
        description="Time `predict` and a plain NumPy loop in turn on random data, and print the "
        "medians and quartiles of both and the largest difference between their results. "
        "Without a model, networks of a few sizes with random weights are timed.",
        examples=(
            "fastlstm bench",
            "fastlstm bench --model model.safetensors --sequences 10000 --steps 48",
            "fastlstm bench --model checkpoint.pt --head fc",
            "fastlstm bench --hidden 64 --threads 1 --json",
        ),
    )
    network = parser.add_mutually_exclusive_group()
    network.add_argument("--model", type=Path, help="a model file of any kind")
    network.add_argument(
        "--hidden", type=positive, metavar="H", help="one layer of so many hidden units"
    )
    parser.add_argument(
        "--sequences", type=positive, metavar="N", help="default: as many as suit the network"
    )
    parser.add_argument("--steps", type=positive, metavar="T", help="steps of each sequence")
    parser.add_argument(
        "--threads",
        type=positive,
        metavar="K",
        help="the engine's (default: all that this process may use); NumPy's are NumPy's own",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with every round's time")
    add_hints(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from fastlstm import benchmark
    from fastlstm.engine.run.threads import default_threads

    threads = options.threads or default_threads()
    if options.model is not None:
        cases = [benchmark.Case(load_model(options.model, options))]
    elif hints := given_hints(options):
        raise ValueError(Message(*separated(hints), ": hints are about a file, --model"))
    elif options.hidden is not None:
        cases = [benchmark.Case(benchmark.make_model(options.hidden))]
    else:
        cases = benchmark.default_cases()
    cases = [case.resized(options.sequences, options.steps) for case in cases]
    rows = []
    if not options.json:
        print(benchmark.heading(threads), flush=True)
    for case in cases:
        rows.append(benchmark.run_case(case, threads))
        if not options.json:
            print(benchmark.as_line(rows[-1]), flush=True)
    if options.json:
        print(json.dumps(benchmark.as_json(rows, threads), indent=2, allow_nan=False))
    if any(map(benchmark.is_unsteady, rows)):
        print(
            "fastlstm: the rounds differ much: the machine may be busy with other work; "
            "repeat it before you trust the medians",
            file=sys.stderr,
        )
