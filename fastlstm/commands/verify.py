"""`fastlstm verify`: compare a model's scores with those of its framework."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fastlstm.commands.hints import add_hints, load_model
from fastlstm.commands.parsers import new_parser

if TYPE_CHECKING:
    from fastlstm.commands.parsers import Commands


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    parser = new_parser(
        commands,
        "verify",
        run,
        help="compare a model's scores with those of its framework",
        description="Score sequences and compare the scores with those that you expect, such as "
        "what the model's own framework gave for them. Print how far apart they are; the exit code "
        "is 1 if that is more than rounding to float32 explains, or than --tolerance.",
        examples=(
            "fastlstm verify model.onnx x.npy expected.npy",
            "fastlstm verify checkpoint.pt x.npy expected.npy --head fc --read last",
        ),
    )
    parser.add_argument("model", type=Path, help="a model file of any kind")
    parser.add_argument("x", type=Path, help="the sequences: an .npy file (N, T, I), or ids (N, T)")
    parser.add_argument("expected", type=Path, help="their scores: an .npy file (N, outputs)")
    parser.add_argument(
        "--tolerance",
        type=tolerance,
        help="the largest difference to accept (default: 16 times the rounding error of float32 "
        "in this network on these sequences)",
    )
    add_hints(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from fastlstm.check import verify

    model = load_model(options.model, options)
    print(verify(model, options.x, options.expected, options.tolerance))


def tolerance(text: str) -> float:
    """An argument that is a number of 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of 0 or more, got {text!r}")
    return value
