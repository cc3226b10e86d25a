"""`fastlstm versions`: what a bug report needs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import fastlstm
from fastlstm.commands.parsers import new_parser

if TYPE_CHECKING:
    from fastlstm.commands.parsers import Commands


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    new_parser(
        commands,
        "versions",
        run,
        help="what a bug report needs: versions, CPU, threads, cache folder",
        description="Print what a bug report needs: versions, CPU, threads, cache folder.",
        examples=("fastlstm versions",),
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    fastlstm.show_versions()
