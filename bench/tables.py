"""Markdown tables that read well as plain text too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def table(header: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    """An aligned Markdown table; columns after the first `text_columns` hold numbers."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]

    def line_of(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if k < text_columns else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    rule = "|".join(
        "-" * (width + 2) if k < text_columns else "-" * (width + 1) + ":"
        for k, width in enumerate(widths)
    )
    return "\n".join([line_of(lines[0]), f"|{rule}|", *map(line_of, lines[1:])])


def number(value: float | None, digits: int = 3) -> str:
    """A few significant digits without an exponent; nothing for None."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    if abs(rounded) >= 10 ** (digits - 1):
        return f"{rounded:,.0f}"
    decimals = digits - 1 - int(f"{rounded:e}".split("e")[1])
    return f"{rounded:.{decimals}f}"


def percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def shape(row: dict[str, Any]) -> list[str]:
    """Name, N, T, I and H, with the layers where there are several."""
    hidden = f"{row['H']:,}" + (f" x {row['layers']}" if row["layers"] > 1 else "")
    return [row["name"], *(f"{row[k]:,}" for k in "NTI"), hidden]


def quartiles(timed: dict[str, Any], scale: float = 1e3) -> str:
    """The quartiles, in milliseconds by default."""
    return " to ".join(number(scale * s) for s in timed["quartiles"])


def error(engine: dict[str, Any], kind: str) -> str:
    return f"{engine[kind]:.1e}" if kind in engine else ""
