"""`fastlstm demo`: the tutorial's cell, then forecasts of real weather and their speed."""

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
        help="run the tutorial's cell and a small weather model, and time them",
        description="Print every step of the tutorial's cell, then temperature forecasts of the "
        "bundled model next to what was observed, then how fast the engine made them, compared "
        "with a plain NumPy loop.",
        examples=("fastlstm demo",),
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from fastlstm.commands.demo.show import show_demo

    show_demo()
