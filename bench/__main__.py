"""`python -m bench COMMAND`: measure, store, print, draw and compare; see README.md beside this."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import compare, diff, gates, loop, networks, plots, readme, report, results, scoring

MEASURING = {
    "compare": compare,
    "loop": loop,
    "trace": gates,
    "networks": networks,
    "score": scoring,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = parser().parse_args(arguments)
    if options.command in MEASURING:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave no stopped process behind
        found = MEASURING[options.command].main(options)
        print(report.render(found), end="")
        return 0
    try:
        return int(options.run(options))
    except (OSError, ValueError) as error:
        print(f"bench {options.command}: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """The command line."""
    answer = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = answer.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in MEASURING.items():
        text = (module.__doc__ or "").split("\n")[0].split(": ", 1)[1]
        module.add_options(commands.add_parser(name, help=text, description=module.__doc__))

    def command(name: str, text: str, run: object) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    showing = command("show", "print a stored result as Markdown", show)
    showing.add_argument("path", type=Path, nargs="?", help=NEWEST)
    plotting = command("plot", "draw a stored result of compare", plots.main)
    plotting.add_argument("path", type=Path, nargs="?", help=NEWEST)
    plotting.add_argument("--format", choices=("svg", "png"), default="svg")
    writing = command("readme", "write the tables of the README from stored results", readme.main)
    writing.add_argument("path", type=Path, nargs="?", help=NEWEST)
    comparing = command("diff", "say what got slower or less accurate; 1 if anything", diff.main)
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path, nargs="?", help=NEWEST)
    return answer


NEWEST = "default: what `compare` stored last"


def show(options: argparse.Namespace) -> int:
    print(report.render(results.read(results.chosen(options.path))), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
