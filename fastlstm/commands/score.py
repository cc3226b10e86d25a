"""`fastlstm score`: an array of sequences through a model."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import fastlstm
from fastlstm.commands.files import check_destination, map_array
from fastlstm.commands.parsers import DTYPES, new_parser, positive

if TYPE_CHECKING:
    from fastlstm.commands.parsers import Commands


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    parser = new_parser(
        commands,
        "score",
        run,
        help="score an array of sequences with a model",
        description="Score an array of sequences (N, T, I), or (N, T) for a model with one "
        "input, that fits in memory.",
        examples=("fastlstm score windows.npy --model model.safetensors -o scores.npy",),
    )
    parser.add_argument("windows", type=Path, help="the sequences: an .npy file")
    parser.add_argument(
        "--model", type=Path, required=True, help="a model file that needs no hints"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="the scores: an .npy file to write"
    )
    parser.add_argument("--lengths", type=Path, help="real length of each sequence: an .npy file")
    parser.add_argument(
        "--return-sequences",
        action="store_true",
        default=None,
        help="a score for every step, not for the last alone",
    )
    parser.add_argument("--dtype", choices=DTYPES, help="compute in this (default: the model's)")
    parser.add_argument("--threads", type=positive, help="default: all that this process may use")
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="a progress bar on stderr (default: if that is a terminal and tqdm is installed)",
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    import numpy as np

    from fastlstm.files import replaced

    progress = wants_progress(options.progress)
    if options.output.suffix != ".npy":
        raise ValueError(f"{options.output}: the scores are written as .npy, name them so")
    check_destination(options.output, (options.windows, options.lengths, options.model))
    x = map_array(options.windows)
    lengths = None if options.lengths is None else map_array(options.lengths)
    model = fastlstm.load(options.model)
    if options.dtype is not None:
        model = model.astype(options.dtype)
    started = time.perf_counter()
    scores = model.predict(
        x,
        lengths=lengths,
        return_sequences=options.return_sequences,
        threads=options.threads,
        progress=progress,
    )
    seconds = time.perf_counter() - started
    with replaced(options.output) as stream:
        np.save(stream, scores, allow_pickle=False)
    print(
        f"{options.output}: {'x'.join(map(str, scores.shape))} {scores.dtype}, "
        f"{len(scores):,} sequences in {seconds:.2f} s (compiling included)",
        file=sys.stderr,
    )


def wants_progress(asked: bool | None) -> bool:
    """Decide on the bar: as asked, or if it can be drawn on a terminal."""
    installed = importlib.util.find_spec("tqdm") is not None
    if asked and not installed:
        raise ImportError("--progress needs tqdm: pip install 'fastlstm[cli]'")
    return installed and sys.stderr.isatty() if asked is None else asked
