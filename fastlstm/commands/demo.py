"""`fastlstm demo`: the tutorial's table, then forecasts on real weather and their speed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from fastlstm.commands.parsers import new_parser

if TYPE_CHECKING:
    from fastlstm.commands.parsers import Commands


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    new_parser(
        commands,
        "demo",
        run,
        help="the tutorial's table, then forecasts on real weather and their speed",
        description="Print the tutorial's table, forecasts of the bundled model on real weather "
        "beside what came, and the speed of the engine beside a NumPy loop.",
        examples=("fastlstm demo",),
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from fastlstm.demo import run_demo

    run_demo()
