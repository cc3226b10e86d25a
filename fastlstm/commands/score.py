"""`fastlstm score`: from files to files."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from typing import TYPE_CHECKING

from fastlstm.commands.hints import add_model_hints, given_hints, name_unused
from fastlstm.commands.layout import SOURCE, add_layout, given_layout
from fastlstm.commands.parsers import DTYPES, new_parser, positive

if TYPE_CHECKING:
    from fastlstm.commands.parsers import Commands
    from fastlstm.scoring.run import Run

# The option --memory is of the whole process, unless that is somebody else's and larger.
OWN_PROCESS = 200e6
POLICIES = ("error", "nan", "skip")


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    parser = new_parser(
        commands,
        "score",
        run,
        help="score the sequences of files, larger than memory",
        description="Score the sequences of files and write the scores to a file, in bounded "
        "memory. The destination appears when it is complete; until then DESTINATION.partial "
        "holds what is done, and the same command with --resume goes on from there. Scores are "
        "all that goes to standard output, or the summary with --json or --dry-run.",
        examples=(
            "fastlstm score windows.npy --model model.npz -o scores.npy",
            "fastlstm score events.parquet --model model.npz --id user --time at "
            "--features price size -o scores.parquet",
            "fastlstm score series.npy --model model.npz --window 48 -o scores.npy --resume",
            "fastlstm score 'data/*.parquet' --model model.npz --column history --keep user "
            "-o scores.csv",
        ),
    )
    parser.add_argument("source", help=SOURCE)
    parser.add_argument("--model", required=True, help="a model file of any kind")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        help="the scores: .npy, .parquet, .arrow, .feather, .zarr, .csv, or - for CSV on standard "
        "output",
    )
    layout = add_layout(parser, keep="columns that are carried along")
    layout.add_argument("--max-steps", type=positive, help="longer sequences are bad rows")
    _add_outputs(parser)
    _add_running(parser)
    add_model_hints(parser)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is written")
    group.add_argument(
        "--return-sequences",
        action="store_true",
        default=None,
        help="a score for every step, not for the last alone",
    )
    group.add_argument("--state", action="store_true", help="the final states h_n and c_n, too")
    group.add_argument("--trace", action="store_true", help="the gates at every step, too")
    group.add_argument("--dtype", choices=DTYPES, help="compute in this (default: the model's)")
    group.add_argument(
        "--on-bad-row",
        choices=POLICIES,
        default="error",
        help="a sequence with NaN or infinity, too long, or unreadable ends the run (the "
        "default), becomes NaN, or is left out",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how it runs")
    group.add_argument(
        "--resume", action="store_true", help="go on with what an earlier run left, if it did"
    )
    group.add_argument("--restart", action="store_true", help="throw away what an earlier run left")
    group.add_argument("--memory", default="500MB", help="what the process may take (500MB)")
    group.add_argument("--threads", type=positive, help="default: all that this process may use")
    group.add_argument(
        "--dask", help="score on a Dask cluster: its address, such as tcp://HOST:8786, or local"
    )
    group.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="a progress bar on stderr (default: if that is a terminal and tqdm is installed)",
    )
    group.add_argument("--json", action="store_true", help="the summary as JSON on stdout")
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be read and written, and about how long it would take",
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    if options.json and options.output == "-" and not options.dry_run:
        raise ValueError("standard output takes the scores or the summary: --json needs -o FILE")
    progress = wants_progress(options.progress)
    with _scoring(options) as scoring:
        name_unused(scoring.model)
        if options.dry_run:
            _print_dry_run(scoring, options.json)
            return
        try:
            summary = scoring.score(
                resume=options.resume, restart=options.restart, progress=progress
            )
        except BaseException:
            if scoring.resumable:
                print(
                    f"fastlstm: {scoring.partial_folder} holds what is done: the same command "
                    "with --resume goes on from there",
                    file=sys.stderr,
                )
            raise
    if options.json:
        print(json.dumps(summary.as_dict()))
    else:
        print(summary, file=sys.stderr)


def _scoring(options: argparse.Namespace) -> Run:
    from fastlstm.scoring.memory import resident_bytes
    from fastlstm.scoring.outputs import Wanted
    from fastlstm.scoring.run import Run

    return Run(
        options.model,
        options.source,
        options.output,
        layout=given_layout(options),
        wanted=Wanted(options.return_sequences, options.state, options.trace),
        hints={k: v for k, v in given_hints(options).items() if k != "return_sequences"},
        dtype=options.dtype,
        max_steps=options.max_steps,
        on_bad_row=options.on_bad_row,
        memory=options.memory,
        held=0 if resident_bytes() < OWN_PROCESS else None,
        threads=options.threads,
        dask=options.dask,
    )


def _print_dry_run(scoring: Run, as_json: bool) -> None:
    from fastlstm.scoring.dry_run import dry_run

    found = dry_run(scoring)
    print(json.dumps(found.as_dict()) if as_json else found)


def wants_progress(asked: bool | None) -> bool:
    """Decide on the bar: as asked, or if it can be drawn on a terminal."""
    installed = importlib.util.find_spec("tqdm") is not None
    if asked and not installed:
        raise ImportError('--progress needs tqdm: pip install "fastlstm[cli]"')
    return installed and sys.stderr.isatty() if asked is None else asked
