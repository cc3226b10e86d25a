"""`fastlstm convert`: write a model of any kind in fastlstm's own format."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fastlstm.commands.hints import add_hints, load_model
from fastlstm.commands.parsers import DTYPES, new_parser

if TYPE_CHECKING:
    from fastlstm.commands.parsers import Commands


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    parser = new_parser(
        commands,
        "convert",
        run,
        help="write a model in fastlstm's own format",
        description="Read a model file of any kind and write it in fastlstm's own format, which "
        "needs no hints.",
        examples=("fastlstm convert checkpoint.pt model.safetensors --head fc",),
    )
    parser.add_argument("source", type=Path, help="a model file of any kind")
    parser.add_argument("destination", type=Path, help="file to write: .safetensors, .npz or .json")
    parser.add_argument(
        "--dtype", choices=DTYPES, help="convert to this (default: the model's own)"
    )
    add_hints(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    model = load_model(options.source, options)
    if options.dtype is not None:
        model = model.astype(options.dtype)
    path = model.save(options.destination)
    print(f"{path}: {model}", file=sys.stderr)
