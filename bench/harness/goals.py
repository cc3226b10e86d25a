"""Goals: figures beside what they have to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.harness.tables import table

# How the limit and the figure are written.
TIMES = ("{:g} x", "{:.2f} x")
SHARE = ("{:.0%}", "{:.1%}")


class Goal(NamedTuple):
    """One figure, and what it has to be."""

    what: str
    wanted: str
    got: str
    met: bool


def at_least(
    what: str, least: float | None, got: float | None, form: tuple[str, str] = TIMES
) -> Iterator[Goal]:
    """The goal that a figure is no smaller than a limit; none if there is no limit or figure."""
    if least is not None and got is not None:
        yield Goal(what, f">= {form[0].format(least)}", form[1].format(got), got >= least)


def at_most(
    what: str, most: float | None, got: float | None, form: tuple[str, str] = TIMES
) -> Iterator[Goal]:
    """The goal that a figure is no larger than a limit; none if there is no limit or figure."""
    if most is not None and got is not None:
        yield Goal(what, f"<= {form[0].format(most)}", form[1].format(got), got <= most)


def goal_table(goals: Sequence[Goal]) -> str:
    """The section of a report."""
    lines = [[g.what, g.wanted, g.got, "yes" if g.met else "NO"] for g in goals]
    met = sum(goal.met for goal in goals)
    title = f"## Goals: {met} of {len(goals)} met"
    return f"{title}\n\n{table(['what', 'wanted', 'got', 'met'], lines)}"
