"""The section of a report, and of the README, on scoring from file to file."""

from __future__ import annotations

from typing import Any

from bench import results
from bench.goals_scoring import IN_MEMORY, READ, SCORE, SCORE_NPY
from bench.scoring_rows import SCORING
from bench.tables import error, number, quartiles, table

Results = dict[str, Any]

HEADERS = {
    SCORE: "`fastlstm.score`",
    "naive script": "naive script",
    "ONNX Runtime, chunks": "ONNX Runtime in chunks",
    IN_MEMORY: "`predict` in memory",
    READ: "reading the file",
    SCORE_NPY: "`score` of `.npy`",
}


def overview(rows: list[Results], memory: list[Results]) -> str:
    """Rates, peak memory, and who was faster."""
    peaks = {row["name"]: row["engines"] for row in memory}
    names = [k for k in HEADERS if any(k in row["engines"] for row in rows)]
    measured = [k for k in HEADERS if any(k in engines for engines in peaks.values())]
    header = ["row", "from", "N x T", "H", *(HEADERS[k] for k in names)]
    header += [f"MB: {HEADERS[k]}" for k in measured]
    lines = []
    for row in rows:
        line = [row["name"], f"`{SCORING[row['name']].suffix}`", f"{row['N']:,} x {row['T']}"]
        line += [f"{row['H']}", *(cell(row, k) for k in names)]
        line += [megabytes(peaks.get(row["name"], {}).get(k, {})) for k in measured]
        lines.append(line)
    return f"{table(header, lines, 2)}\n\n{losses(rows)}"


def cell(row: Results, name: str) -> str:
    """Millions of sequences a second, or why there are none."""
    engine = row["engines"].get(name)
    if engine is None:
        return ""
    if "failed" in engine:
        return "fails"
    if "max_error" in engine and not results.computes_the_same(row["dtype"], engine):
        return "wrong"
    return number(rate(row, name))


def rate(row: Results, name: str) -> float:
    return float(row["N"] / row["engines"][name]["median"] / 1e6)


def megabytes(engine: Results) -> str:
    """The peak of a process."""
    if "failed" in engine:
        return "fails"
    return f"{engine['peak'] / 1e6:,.0f}" if engine else ""


def losses(rows: list[Results]) -> str:
    found = [
        f"- `{row['name']}`: {HEADERS[name]} is {1 / times:.2f} x as fast"
        for row in rows
        for name in results.rivals(row)
        if (times := results.times(row, name, SCORE)) is not None and times < 1
    ]
    if not found:
        return "Neither script was faster on any of these rows."
    return "Where `fastlstm.score` loses:\n\n" + "\n".join(found)


def section(rows: list[Results], memory: list[Results]) -> str:
    """Everything that was measured."""
    lines = []
    for row in rows:
        for name, engine in row["engines"].items():
            if "failed" in engine:
                lines.append([row["name"], name, f"failed: {engine['failed']}", *[""] * 5])
                continue
            line = [row["name"], name, engine["settings"], number(rate(row, name))]
            line += [number(engine["median"]), quartiles(engine, 1)]
            line += [error(engine, "max_error")]
            timed = engine["sequences"]
            lines.append([*line, f"{timed:,}" if timed < row["N"] else ""])
    header = ["row", "engine", "settings", "M sequences/s", "s", "quartiles", "largest error"]
    every = table([*header, "timed"], lines, 3)
    held = []
    for row in memory:
        for name, engine in row["engines"].items():
            line = [row["name"], name, engine.get("settings", engine.get("failed", ""))]
            before = f"{engine['held'] / 1e6:.0f}" if "held" in engine else ""
            held.append([*line, megabytes(engine), before])
    processes = table(["row", "engine", "settings", "peak, MB", "before"], held, 3)
    title = "## From file to file: millions of sequences a second"
    parts = [title, overview(rows, memory), every]
    return "\n\n".join(parts + (["### Memory", processes] if held else []))
