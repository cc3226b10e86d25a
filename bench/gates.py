"""`python -m bench trace`: all gates of all steps, beside TensorFlow's `BlockLSTMV2`.

TensorFlow needs an environment of its own; what is measured here is stored in a file of its own.
"""

from __future__ import annotations

import argparse

from bench import options, results
from bench.options import Run
from bench.rows import Row

ROWS = {"h8": (4_096, 100, 4, 8, 1), "h32": (2_048, 100, 8, 32, 1), "h128": (512, 100, 16, 128, 1)}
ENGINES = ("trace", "BlockLSTMV2", "fastlstm", "fill", "peak")


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add(parser, list(ROWS), ENGINES, ("trace",), rounds=7, dtypes=("float32",))


def main(arguments: argparse.Namespace) -> results.Results:
    run = Run("trace", arguments)
    run.results["trace"] = [
        run.compare(Row(name, *ROWS[name], dtype), arguments.engines)
        for dtype in arguments.dtypes
        for name in arguments.rows
    ]
    return run.store()
