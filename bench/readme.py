"""`python -m bench readme`: the tables of the README from stored results, losses included.

The whole report goes beside each result, as Markdown.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.commands import COMMANDS
from bench.harness import stored
from bench.harness.machine import ROOT
from bench.show import render

README = ROOT / "README.md"
PICTURES = {"ratios": "times as fast, by row and engine", "roofline": "roofline"}


def main(options: argparse.Namespace) -> int:
    paths = [options.path] if options.path else [stored.newest(name) for name in sections()]
    for path in paths:
        if path is not None:
            write(path, README)
    return 0


def sections() -> list[str]:
    """The commands that have a section in the README."""
    return [name for name, command in COMMANDS.items() if hasattr(command, "readme")]


def write(path: Path, document: Path) -> None:
    """Write a stored result's section of a document, and its report beside the result."""
    result = stored.read(path)
    name = result["command"]
    if name not in sections():
        raise ValueError(f"the README has no section for the results of {name}")
    path.with_suffix(".md").write_text(render(result), encoding="utf-8")
    section = "\n\n".join([COMMANDS[name].readme(result), *pictures(path, document.parent)])
    text = replaced(document.read_text(encoding="utf-8"), section, name)
    document.write_text(text, encoding="utf-8")


def pictures(path: Path, root: Path) -> list[str]:
    """Links to what `python -m bench plot` drew beside the result."""
    drawn = {path.with_name(f"{path.stem}-{name}.svg"): what for name, what in PICTURES.items()}
    return [
        f"![{what}]({k.relative_to(root).as_posix()})" for k, what in drawn.items() if k.exists()
    ]


def replaced(document: str, section: str, name: str) -> str:
    """A document with what stands between the two markers of a section replaced."""
    first, last = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, begin, rest = document.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"expected the lines {first} and {last} in the README")
    return f"{before}{first}\n{section}\n{last}{after}"
