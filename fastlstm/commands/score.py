"""`fastlstm score`: score the sequences of files, and write the scores to a file."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from typing import TYPE_CHECKING

from fastlstm.commands.hints import add_hints, given_hints, name_unused
from fastlstm.commands.layout import SOURCE, add_layout, given_layout
from fastlstm.commands.parsers import DTYPES, new_parser, positive

if TYPE_CHECKING:
    from fastlstm.commands.parsers import Commands
    from fastlstm.scoring.run import Run

# --memory counts the whole process, unless it already held more than this: then `main` was called
# from another program, whose memory does not count.
OWN_PROCESS = 200e6  # bytes
POLICIES = ("error", "nan", "skip")


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    parser = new_parser(
        commands,
        "score",
        run,
        help="score the sequences in files of any size",
        description="Score the sequences in files and write the scores to a file. Memory is "
        "bounded, whatever the size of the files. The output appears when it is complete; until "
        "then OUTPUT.partial holds what is done, and the same command with --resume goes on from "
        "there. Standard output gets only what you ask for: the scores (-o -), the summary "
        "(--json) or the plan (--dry-run).",
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
        help="the file to write: .npy, .parquet, .arrow, .feather, .zarr, .csv, or -, CSV on "
        "standard output",
    )
    layout = add_layout(parser, keep="further columns to copy to the output (--id always is)")
    layout.add_argument("--max-steps", type=positive, help="sequences with more steps are bad rows")
    _add_outputs(parser)
    _add_running(parser)
    add_hints(parser, leave_out=("return_sequences",))


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is written")
    group.add_argument(
        "--return-sequences",
        action="store_true",
        default=None,
        help="one score a step, not one a sequence",
    )
    group.add_argument("--state", action="store_true", help="also the final states h_n and c_n")
    group.add_argument(
        "--trace", action="store_true", help="also the gates of the last layer at every step"
    )
    group.add_argument("--dtype", choices=DTYPES, help="compute in this (default: the model's)")
    group.add_argument(
        "--on-bad-row",
        choices=POLICIES,
        default="error",
        help="what to do with a sequence that has NaN or infinity in it, is too long or cannot be "
        "read: end the run (the default), write NaN for it, or leave it out",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how it runs")
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on with what an earlier run left, if there is anything",
    )
    group.add_argument(
        "--restart", action="store_true", help="throw away what an earlier run left, and start anew"
    )
    group.add_argument(
        "--memory", default="500MB", help="what the process may take (default: 500MB)"
    )
    group.add_argument(
        "--threads", type=positive, metavar="K", help="default: all that this process may use"
    )
    group.add_argument(
        "--dask",
        help="score on the workers of a Dask cluster: its address, such as tcp://HOST:8786, or "
        "local",
    )
    group.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="draw a progress bar on stderr (default: if that is a terminal and tqdm is installed)",
    )
    group.add_argument("--json", action="store_true", help="print the summary as JSON")
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan and stop: what would be read and written, about how long it takes",
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    if options.json and options.output == "-" and not options.dry_run:
        raise ValueError(
            "standard output cannot take the scores and the summary: --json needs -o FILE"
        )
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
    """Whether to draw a progress bar: as asked, or by default if stderr is a terminal."""
    installed = importlib.util.find_spec("tqdm") is not None
    if asked and not installed:
        raise ImportError('--progress needs tqdm: pip install "fastlstm[cli]"')
    return installed and sys.stderr.isatty() if asked is None else asked
