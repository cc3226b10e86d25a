"""`python -m bench COMMAND`: measure, store, print, draw and compare; see README.md beside this."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import diff, plots, readme, show
from bench.commands import COMMANDS
from bench.harness.run import Run

NEWEST = "default: what `compare` stored last"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = parser().parse_args(arguments)
    if options.command in COMMANDS:
        return measure(options)
    try:
        return int(options.main(options))
    except (OSError, ValueError) as error:
        print(f"bench {options.command}: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """The command line."""
    answer = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = answer.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        text = (module.__doc__ or "").split("\n")[0].split(": ", 1)[1]
        module.add_options(commands.add_parser(name, help=text, description=module.__doc__))

    def command(
        name: str, text: str, main: Callable[[argparse.Namespace], int]
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(main=main)
        return added

    showing = command("show", "print a stored result as Markdown", show.main)
    showing.add_argument("path", type=Path, nargs="?", help=NEWEST)
    plotting = command("plot", "draw a stored result of compare", plots.main)
    plotting.add_argument("path", type=Path, nargs="?", help=NEWEST)
    plotting.add_argument("--format", choices=("svg", "png"), default="svg")
    writing = command("readme", "write the tables of the README from stored results", readme.main)
    writing.add_argument("path", type=Path, nargs="?", help="default: the newest of each command")
    comparing = command("diff", "say what got slower or less accurate; 1 if anything", diff.main)
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path, nargs="?", help="default: the newest of its command")
    return answer


def measure(options: argparse.Namespace) -> int:
    """Measure, store what was found, and print the report."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave no stopped process behind
    run = Run(options.command, options)
    COMMANDS[options.command].measure(run)
    print(show.render(run.store()), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
