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
        help="what a model file holds, and how it is read",
        description="Print what a model file holds and how it is read: its layers and options, "
        "or its tensors and why it cannot be read (exit code 1).",
        examples=("fastlstm info checkpoint.pt --head fc --activation sigmoid",),
    )
    parser.add_argument("model", type=Path, help="a model file of any kind")
    add_hints(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from fastlstm.info import print_info

    print_info(options.model, given_hints(options))
