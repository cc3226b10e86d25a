"""`fastlstm info`: what a model file holds, and how it is read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fastlstm.commands.hints import add_hints, given_hints
from fastlstm.commands.parsers import new_parser

if TYPE_CHECKING:
    from fastlstm.commands.parsers import Commands


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    parser = new_parser(
        commands,
        "info",
        run,
        help="show what a model file holds and how it is read",
        description="Print what a model file holds and how it is read: a line for each part of the "
        "network, with the shape of what it gives for N sequences of T steps, how many weights it "
        "has, and its options. If it cannot be read, print the tensors in it and the reason (exit "
        "code 1).",
        examples=("fastlstm info checkpoint.pt --head fc --activation sigmoid",),
    )
    parser.add_argument("model", type=Path, help="a model file of any kind")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    add_hints(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from fastlstm.commands.info.describe import show_file

    show_file(options.model, given_hints(options), options.json)
