"""What the parsers of all commands share."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["DTYPES", "new_parser", "positive"]

DTYPES = ("float32", "float64")
WIDTH = 79


def new_parser(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], None],
    *,
    help: str,
    description: str,
    examples: tuple[str, ...],
) -> argparse.ArgumentParser:
    """Add the parser of one command, with the function that runs it.

    Parameters
    ----------
    commands
        What `ArgumentParser.add_subparsers` returned.
    name : str
    run : callable
        Takes the options.
    help, description : str
        Its line in the list of commands, and the text of its own `--help`.
    examples : tuple of str
        Whole command lines; `--help` ends with them.
    """
    title = "example" if len(examples) == 1 else "examples"
    parser = commands.add_parser(
        name,
        help=help,
        description=textwrap.fill(description, WIDTH),
        epilog="\n  ".join((f"{title}:", *examples)),
        formatter_class=argparse.RawDescriptionHelpFormatter,  # an example stays on its line
    )
    parser.set_defaults(run=run, parser=parser)
    return parser


def positive(text: str) -> int:
    """An argument that is a whole number of 1 or more."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number of 1 or more, got {text!r}")
    return value
