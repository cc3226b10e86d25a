"""The command `fastlstm`: its parser and its exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import fastlstm
from fastlstm.commands import convert, demo, info, score, speed, trace, verify, versions
from fastlstm.commands.completion import SHELLS, PrintCompletion
from fastlstm.engine.compiling import exit_at_once
from fastlstm.messages import message_of, nearest

__all__ = ["main", "make_parser"]

DONE, FAILED = 0, 1
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended
EXIT_CODES = """\
exit codes:
  0    done
  1    bad input or another failure; one line on stderr says what is wrong
  2    wrong usage
  130  interrupted by Ctrl-C

`fastlstm COMMAND --help` describes a command and shows an example."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; `--help` and wrong usage exit at once.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the command's name; `sys.argv[1:]` if left out.
    """
    try:
        _run(arguments)
    except KeyboardInterrupt:
        print("fastlstm: interrupted", file=sys.stderr)
        exit_at_once(INTERRUPTED)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output, such as `head`, has gone: keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ImportError, MemoryError, OSError, TypeError, ValueError) as error:
        words = sys.argv[1:] if arguments is None else arguments
        said = message_of(error).on_command_line(words)
        what = " ".join(said.split()) or type(error).__name__
        print(f"fastlstm: error: {what}", file=sys.stderr)
        return FAILED
    return DONE


def make_parser() -> argparse.ArgumentParser:
    """Build the parser; each command names the function that runs it."""
    parser = argparse.ArgumentParser(
        prog="fastlstm",
        description="Score large batches of sequences with LSTM networks, on a CPU.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fastlstm {fastlstm.__version__}")
    parser.add_argument(
        "--print-completion",
        action=PrintCompletion,
        choices=SHELLS,
        help="print a completion script for this shell (needs shtab)",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (demo, info, convert, verify, score, trace, speed, versions):
        command.add_parser(commands)
    return parser


def _run(arguments: Sequence[str] | None) -> None:
    try:
        options, unknown = make_parser().parse_known_args(arguments)
        if unknown:
            _refuse_unknown(options.parser, unknown)
    except SystemExit:
        sys.stdout.flush()  # --help may find the pipe closed, too, which `main` handles
        raise
    options.run(options)
    if sys.stdout is not None:  # None if it was closed before we started
        sys.stdout.flush()


def _refuse_unknown(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> None:
    """Refuse arguments that a command does not have, and suggest the one that was meant."""
    known = [flag for action in parser._actions for flag in action.option_strings]
    flags = [word.partition("=")[0] for word in unknown if word.startswith("--")]
    meant = nearest(flags[0], known) if flags else None
    hint = f"; did you mean {meant}?" if meant else ""
    parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
