"""Stored results as Markdown tables, and as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench import goals
from bench.memory import CASES

Results = dict[str, Any]
ONE_THREAD = "fastlstm, 1 thread"
NOT_RIVALS = {"fastlstm", ONE_THREAD, "peak"}


def render(results: Results) -> str:
    """The whole report as Markdown, whose tables read well as plain text too."""
    sections = [_machine(results)]
    for dtype in dict.fromkeys(row["dtype"] for row in results.get("rows", [])):
        rows = [row for row in results["rows"] if row["dtype"] == dtype]
        sections += [_summary(dtype, rows), _engines(dtype, rows)]
    if "rows" in results:
        sections.append(_losses(results["rows"]))
    if "trace" in results:
        sections.append(_trace(results["trace"]))
    if "start" in results:
        sections.append(_start(results["start"]))
    if "memory" in results:
        sections.append(_memory(results["memory"]))
    if not results["settings"]["quick"]:
        sections.append(_goals(goals.check(results)))
    return "\n\n".join(sections) + "\n"


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


def _machine(results: Results) -> str:
    machine, settings = results["machine"], results["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    text = (
        f"# Benchmarks of {machine['date'][:10]}\n\n"
        f"{machine['cpu']}; {machine['simd']} ({machine['lanes']} lanes); {machine['threads']} "
        f"threads; {machine['system']}\n{versions}\ncommit {machine['commit'] or 'unknown'}; "
        f"{settings['rounds']} rounds of turns of {settings['turn_seconds']} s"
    )
    if settings["quick"]:
        text += "\n\n**Quick: fewer sequences and rounds; these figures are worth little.**"
    return text


def _shape(row: Results) -> list[str]:
    return [row["name"], *(f"{row[key]:,}" for key in "NTIH")]


def _range(timed: Results) -> str:
    """The quartiles in milliseconds."""
    return " to ".join(number(1e3 * s) for s in timed["quartiles"])


def _rate(row: Results, engine: str) -> float | None:
    """Millions of time steps a second."""
    if engine not in row["engines"]:
        return None
    return row["N"] * row["T"] / row["engines"][engine]["median"] / 1e6


def _fastest(timed: Results) -> float:
    return min(s for s in timed["seconds"] if s is not None)


def _gigaflops(row: Results) -> list[str]:
    """What fastlstm reaches, the peak (of which the fastest round counts), and the part of it."""
    own, peak = (row["engines"].get(k) for k in ("fastlstm", "peak"))
    reached = own["flops"] / own["median"] / 1e9 if own else None
    most = peak["flops"] / _fastest(peak) / 1e9 if peak else None
    part = f"{reached / most:.1%}" if reached and most else ""
    return [number(reached), number(most), part]


def _summary(dtype: str, rows: list[Results]) -> str:
    rivals = [k for row in rows for k in row["engines"] if k not in NOT_RIVALS]
    rivals = list(dict.fromkeys(rivals))
    header = ["row", *"NTIH", "fastlstm", *rivals, *(f"x {k}" for k in rivals)]
    header += ["GFLOP/s", "peak", "% of peak", "x 1 thread"]
    lines = []
    for row in rows:
        line = _shape(row) + [number(_rate(row, k)) for k in ["fastlstm", *rivals]]
        own = row["engines"].get("fastlstm", {})
        median = own.get("median")
        for k in rivals:
            other = row["engines"].get(k)
            if k == "numpy" and "times_numpy" in own:
                line.append(number(own["times_numpy"]))
            else:
                line.append(number(other["median"] / median if other and median else None))
        line += _gigaflops(row)
        alone = row["engines"].get(ONE_THREAD)
        line.append(number(alone["median"] / median if alone and median else None))
        lines.append(line)
    return f"## {dtype}: millions of time steps a second\n\n{table(header, lines)}"


def _engines(dtype: str, rows: list[Results]) -> str:
    header = ["row", "engine", "timed", "ms", "quartiles", "x numpy", "largest error", "rms error"]
    header += ["compared", "first call, cold", "warm"]
    lines = []
    for row in rows:
        for name, engine in row["engines"].items():
            if name == "peak":
                continue
            first = engine.get("first_call", {})
            error = [
                f"{engine[key]:.1e}" if key in engine else "" for key in ("max_error", "rms_error")
            ]
            lines.append(
                [row["name"], name, f"{engine['sequences']:,}", number(1e3 * engine["median"])]
                + [_range(engine), number(engine.get("times_numpy")), *error]
                + [f"{engine['checked']:,}" if "checked" in engine else ""]
                + [f"{first[k]:.2f} s" if k in first else "" for k in ("cold", "warm")]
            )
    return f"### {dtype}: every engine\n\n{table(header, lines, text_columns=2)}"


def losses(rows: list[Results]) -> list[str]:
    """Every row and engine that is faster than fastlstm."""
    found = []
    for row in rows:
        own = row["engines"].get("fastlstm")
        for name, engine in row["engines"].items():
            if own and name not in NOT_RIVALS and engine["median"] < own["median"]:
                times = own["median"] / engine["median"]
                found.append(f"{row['name']} {row['dtype']}: {name} is {times:.2f} times as fast")
    return found


def _losses(rows: list[Results]) -> str:
    lines = losses(rows) or ["none: no other engine was faster on any row"]
    return "## Where fastlstm loses\n\n" + "\n".join(f"- {line}" for line in lines)


def _trace(rows: list[Results]) -> str:
    header = ["row", "dtype", "N", "predict ms", "trace ms", "quartiles", "fill ms", "quartiles"]
    header += ["x predict", "x fill", "fastest x fill"]
    lines = []
    for row in rows:
        predict, trace, fill = (row["engines"][k] for k in ("fastlstm", "trace", "fill"))
        lines.append(
            [row["name"], row["dtype"], f"{row['N']:,}", number(1e3 * predict["median"])]
            + [number(1e3 * trace["median"]), _range(trace)]
            + [number(1e3 * fill["median"]), _range(fill)]
            + [number(trace["median"] / k["median"]) for k in (predict, fill)]
            + [number(_fastest(trace) / _fastest(fill))]
        )
    return f"## All six values of every step\n\n{table(header, lines, text_columns=2)}"


def _start(start: Results) -> str:
    numpy = start["imports"]["numpy"]["median"]
    lines = [
        [name, number(1e3 * k["median"]), _range(k), number(k["median"] / numpy)]
        for name, k in start["imports"].items()
    ]
    imports = table(["import", "ms", "quartiles", "x numpy"], lines)
    lines = [
        [row["name"], row["dtype"], *(f"{row[k]:,}" for k in "NTIH")]
        + [f"{row['first_call'][k]:.2f}" for k in ("cold", "warm")]
        for row in start["first_calls"]
    ]
    header = ["row", "dtype", *"NTIH", "cold, s", "warm, s"]
    return (
        f"## Start\n\n{imports}\n\nFrom the start of a process to the first result of `predict`:"
        f"\n\n{table(header, lines, text_columns=2)}"
    )


def _memory(memory: Results) -> str:
    lines = [
        [case, CASES[case], f"{size / 1e6:.1f}"] for case, size in memory["extra_bytes"].items()
    ]
    title = f"## Peak memory of `predict` on {memory['N']:,} x {memory['T']:,}"
    if not lines:
        return f"{title}\n\nnot measured: needs Linux"
    header = ["case", "", "MB beyond input and output"]
    return f"{title}\n\n{table(header, lines, text_columns=2)}"


def _goals(found: list[goals.Goal]) -> str:
    lines = [[g.what, g.wanted, g.got, "yes" if g.met else "NO"] for g in found]
    title = f"## Goals: {len(found) - len(goals.missed(found))} of {len(found)} met"
    return f"{title}\n\n{table(['what', 'wanted', 'got', 'met'], lines)}"


def write(results: Results, path: Path) -> None:
    """Store the results as JSON, and the report beside it as Markdown."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(render(results), encoding="utf-8")


def read(path: Path) -> Results:
    return json.loads(path.read_text(encoding="utf-8"))


def file_name(machine: Results) -> str:
    """A name for the results of a kind of machine: ``some-cpu-2-threads.json``."""
    words = re.sub(r"\(r\)|\(tm\)|, \d+ logical", "", machine["cpu"].lower())
    slug = re.sub(r"[^a-z0-9]+", "-", words).strip("-")
    return f"{slug}-{machine['threads']}-threads.json"
