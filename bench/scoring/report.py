"""What the results of `score` say: the tables of the report and of the README."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bench.harness import figures
from bench.harness.limits import READ_FILE
from bench.harness.own import OWN, SCORE, SCORE_NPY
from bench.harness.report import cell, failed_cells, fewer, gains, losses, measured_on
from bench.harness.stored import Result, Row
from bench.harness.tables import error, number, span, table
from bench.scoring.files import INPUTS

OWN_HEADERS = {SCORE: "`fastlstm.score`"}  # before the rivals in a table, and after them:
MORE_HEADERS = {
    OWN: "`predict` in memory",
    READ_FILE: "reading the file",
    SCORE_NPY: "`score` of `.npy`",
}
OTHERS = "script"


def sequences(row: Row, label: str) -> float | None:
    """Millions of sequences a second."""
    engines = figures.measured(row)
    return row["N"] / engines[label]["median"] / 1e6 if label in engines else None


def share(row: Row, others: tuple[str, ...]) -> float | None:
    """The rate over that of the slowest of others: the median of the ratios within rounds."""
    engines = figures.measured(row)
    if SCORE not in engines or any(label not in engines for label in others):
        return None
    rounds = zip(*(engines[label]["seconds"] for label in (SCORE, *others)), strict=True)
    return median(max(rest) / own for own, *rest in rounds if None not in (own, *rest))


def times_npy(row: Row) -> float | None:
    """Times as long as from the ``.npy`` file of the same sequences."""
    return figures.times(row, SCORE, SCORE_NPY)


def overview(rows: Sequence[Row], memory: Sequence[Row]) -> str:
    """Rates, peak memory, and where a script is faster."""
    peaks = {row["name"]: row["engines"] for row in memory}
    headers = OWN_HEADERS | {k: k for k in figures.by_strength(rows, SCORE)} | MORE_HEADERS
    timed = [k for k in headers if any(k in row["engines"] for row in rows)]
    weighed = [k for k in headers if any(k in engines for engines in peaks.values())]
    header = ["row", "from", "N x T", "H", *(headers[k] for k in timed)]
    header += [f"MB: {headers[k]}" for k in weighed]
    lines = []
    for row in rows:
        line = [row["name"], f"`{INPUTS[row['name']].suffix}`", f"{row['N']:,} x {row['T']}"]
        line += [f"{row['H']}", *(cell(row, k, sequences) for k in timed)]
        line += [megabytes(peaks.get(row["name"], {}).get(k, {})) for k in weighed]
        lines.append(line)
    return f"{table(header, lines, 2)}\n\n{losses(rows, SCORE, OTHERS)}"


def megabytes(engine: Row) -> str:
    """The peak of a process."""
    if "failed" in engine:
        return "fails"
    return f"{engine['peak'] / 1e6:,.0f}" if engine else ""


def section(rows: Sequence[Row], memory: Sequence[Row]) -> str:
    """Everything that was measured."""
    header = ["row", "engine", "settings", "M sequences/s", "s", "quartiles", "largest error"]
    header += ["timed"]
    lines = []
    for row in rows:
        for label, engine in row["engines"].items():
            if "failed" in engine:
                lines.append([row["name"], *failed_cells(label, engine, len(header) - 1)])
                continue
            line = [row["name"], label, engine["settings"], number(sequences(row, label))]
            line += [number(engine["median"]), span(engine["quartiles"])]
            lines.append([*line, error(engine, "max_error"), fewer(row, engine)])
    title = "## From file to file: millions of sequences a second"
    texts = [title, overview(rows, memory), table(header, lines, 3)]
    return "\n\n".join([*texts, *memory_table(memory)])


def memory_table(memory: Sequence[Row]) -> list[str]:
    lines = []
    for row in memory:
        for label, engine in row["engines"].items():
            line = [row["name"], label, engine.get("settings", engine.get("failed", ""))]
            before = f"{engine['held'] / 1e6:.0f}" if "held" in engine else ""
            lines.append([*line, megabytes(engine), before])
    header = ["row", "engine", "settings", "peak, MB", "before"]
    return ["### Memory", table(header, lines, 3)] if lines else []


def readme(result: Result) -> str:
    """The section of the README."""
    rows = result["scoring"]
    return "\n\n".join(
        [
            f"{measured_on(result, ('onnxruntime', 'numpy', 'pyarrow'))}. Millions of sequences "
            "a second, float32; MB: the peak memory of the process.",
            overview(rows, result.get("scoring_memory", [])),
            gains(rows, SCORE, OWN_HEADERS[SCORE], OTHERS),
        ]
    )
