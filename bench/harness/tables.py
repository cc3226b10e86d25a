"""Markdown tables that read well as plain text too, and what stands in their cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def table(header: Sequence[str], lines: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    """An aligned Markdown table; columns after the first `text_columns` hold numbers."""
    both = [list(header), *(list(line) for line in lines)]
    widths = [max(len(line[k]) for line in both) for k in range(len(header))]

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
    return "\n".join([line_of(both[0]), f"|{rule}|", *map(line_of, both[1:])])


def without_empty_columns(
    header: Sequence[str], lines: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    """The same header and lines without the columns in which no line has anything."""
    filled = [k for k in range(len(header)) if any(line[k] for line in lines)]
    return [header[k] for k in filled], [[line[k] for k in filled] for line in lines]


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


def scaled(value: float | None, factor: float) -> str:
    """A number times a factor; nothing for None."""
    return "" if value is None else number(factor * value)


def percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def span(values: Sequence[float], scale: float = 1.0, digits: int = 3) -> str:
    """From the first to the last of some values."""
    return f"{number(scale * values[0], digits)} to {number(scale * values[-1], digits)}"


def quartiles_ms(timed: dict[str, Any]) -> str:
    return span(timed["quartiles"], 1e3)


def hidden(row: dict[str, Any]) -> str:
    """H, with the number of layers where there are several."""
    return f"{row['H']:,}" + (f" x {row['layers']}" if row["layers"] > 1 else "")


def sizes(row: dict[str, Any]) -> list[str]:
    """N, T, I and H."""
    return [*(f"{row[k]:,}" for k in "NTI"), hidden(row)]


def error(engine: dict[str, Any], kind: str) -> str:
    return f"{engine[kind]:.1e}" if kind in engine else ""
