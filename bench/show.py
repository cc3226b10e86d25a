"""`python -m bench show`: a stored result as Markdown."""

from __future__ import annotations

import argparse

from bench.commands import COMMANDS
from bench.harness import stored
from bench.harness.goals import goal_table
from bench.harness.report import heading
from bench.harness.stored import Result


def main(options: argparse.Namespace) -> int:
    print(render(stored.read(stored.chosen(options.path))), end="")
    return 0


def render(result: Result) -> str:
    """The whole report; without the goals, if the run was a quick one."""
    command = COMMANDS[result["command"]]
    sections = [heading(result), *command.report(result)]
    if not result["settings"]["quick"]:
        sections.append(goal_table(list(command.goals(result))))
    return "\n\n".join(sections) + "\n"
