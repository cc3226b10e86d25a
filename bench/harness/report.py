"""What the reports of several commands, and the README, say in the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.harness import figures
from bench.harness.limits import LIMITS, PEAK
from bench.harness.own import ONE_THREAD, OWN, TRACE
from bench.harness.stored import Result, Row
from bench.harness.tables import (
    error,
    number,
    percent,
    quartiles_ms,
    scaled,
    sizes,
    table,
    without_empty_columns,
)

LACKS = "NotImplementedError: "  # begins the reason of an engine whose LSTM lacks something


def heading(result: Result) -> str:
    """What stands above a report: when, where and how it was measured, what was left out."""
    of, settings = result["machine"], result["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in of["versions"].items())
    text = (
        f"# `{result['command']}`, {of['date'][:10]}\n\n"
        f"{of['cpu']}; {of['simd']} ({of['lanes']} lanes); {of['threads']} threads; "
        f"{of['system']}\n{versions}\ncommit {of['commit'] or 'unknown'}; "
        f"{settings['rounds']} rounds of turns of {settings['turn_seconds']} s"
    )
    for name, why in result["missing"].items():
        text += f"\n\n**{name} was left out: {why}.**"
    if settings["quick"]:
        text += "\n\n**Quick: few sequences and rounds, so these figures mean little.**"
    return text


def measured_on(result: Result, packages: Sequence[str] = ()) -> str:
    """How a section of the README begins: when and on what it was measured."""
    machine = result["machine"]
    versions = machine["versions"]
    others = ", ".join(f"{name} {versions[name]}" for name in packages if name in versions)
    text = (
        f"Measured {machine['date'][:10]} on {machine['threads']} threads of "
        f"{machine['cpu'].split(',')[0]}, {machine['simd'].split(',')[0]}"
    )
    return f"{text}; {others}" if others else text


def of_each_dtype(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by their dtype, in the order in which the dtypes come."""
    dtypes = dict.fromkeys(row["dtype"] for row in rows)
    return {dtype: [row for row in rows if row["dtype"] == dtype] for dtype in dtypes}


def rows_report(rows: Sequence[Row]) -> list[str]:
    """The tables of a section of rows, for each dtype, and where fastlstm loses."""
    sections = []
    for dtype, some in of_each_dtype(rows).items():
        sections += [rates(dtype, some), every_engine(dtype, some)]
    return [*sections, f"## Where fastlstm loses\n\n{losses(rows)}"] if rows else []


def rates(dtype: str, rows: Sequence[Row]) -> str:
    """Every engine beside fastlstm, and how far from the peak that is."""
    labels = [k for row in rows for k in row["engines"] if k not in (OWN, ONE_THREAD, *LIMITS)]
    labels = list(dict.fromkeys(labels))
    header = ["row", "N", "T", "I", "H", OWN, *labels, "best other", "x best", "GFLOP/s"]
    header += ["% of peak", "x 1 thread"]
    lines = []
    for row in rows:
        best = figures.best_rival(row)
        line = [row["name"], *sizes(row), *(cell(row, k) for k in (OWN, *labels)), best or ""]
        line += [number(figures.times(row, best)), scaled(figures.flops(row), 1e-9)]
        line += [percent(figures.peak_share(row)), number(figures.times(row, ONE_THREAD))]
        lines.append(line)
    return f"## {dtype}: millions of time steps a second\n\n{table(header, lines)}"


def cell(row: Row, label: str, rate: Callable[[Row, str], float | None] = figures.rate) -> str:
    """An engine's rate, or why there is none; nothing where the engine was not asked."""
    engine = row["engines"].get(label)
    if engine is None:
        return ""
    if "failed" in engine:
        return "-" if engine["failed"].startswith(LACKS) else "fails"
    if figures.is_rival(label) and label not in figures.rivals(row):
        return "wrong"
    return number(rate(row, label))


def fastest_in_bold(row: Row, labels: Sequence[str]) -> list[str]:
    """The cells of some engines, that of the fastest in bold."""
    best = figures.best_rival(row)
    times = figures.times(row, best)
    first = best if times is not None and times < 1 else OWN
    cells = [(label, cell(row, label) or "-") for label in labels]
    return [f"**{text}**" if label == first else text for label, text in cells]


def every_engine(dtype: str, rows: Sequence[Row]) -> str:
    """All that was measured, a line for each engine and row."""
    header = ["row", "engine", "settings", "ms", "quartiles", "fastlstm is x", "largest error"]
    header += ["rms error", "compared", "timed", "first call, cold", "warm"]
    lines = []
    for row in rows:
        for label, engine in row["engines"].items():
            if "failed" in engine:
                lines.append([row["name"], *failed_cells(label, engine, len(header) - 1)])
            elif label not in LIMITS:
                lines.append([row["name"], label, *engine_cells(row, label, engine)])
    return f"### {dtype}: every engine\n\n{table(*without_empty_columns(header, lines), 3)}"


def failed_cells(label: str, engine: Row, columns: int) -> list[str]:
    """An engine and the reason why it failed, in a line with this many columns."""
    return [label, f"failed: {engine['failed']}", *[""] * (columns - 2)]


def engine_cells(row: Row, label: str, engine: Row) -> list[str]:
    first = engine.get("first_call", {})
    return [
        engine["settings"],
        number(1e3 * engine["median"]),
        quartiles_ms(engine),
        number(figures.times(row, label)) if label != OWN else "",
        error(engine, "max_error"),
        error(engine, "rms_error"),
        f"{engine['checked']:,}" if "checked" in engine else "",
        fewer(row, engine),
        *(f"{first[k]:.2f} s" if k in first else "" for k in ("cold", "warm")),
    ]


def fewer(row: Row, engine: Row) -> str:
    """How many sequences an engine was timed on, if not on all."""
    return f"{engine['sequences']:,}" if engine["sequences"] < row["N"] else ""


def losses(rows: Sequence[Row], own: str = OWN, others: str = "other engine") -> str:
    """A line for each row and engine that is faster than fastlstm, or that there is none."""
    lines = []
    for row in rows:
        rivals = figures.rivals(row)
        for label in sorted(rivals, key=lambda k: rivals[k]["median"]):
            times = figures.times(row, label, own)
            if times is not None and times < 1:
                where = f"`{row['name']}` in {row['dtype']}"
                lines.append(f"- {where}: {label} is {1 / times:.2f} x as fast")
    if not lines:
        return f"No {others} was faster on any of these rows."
    return "Where fastlstm is not the fastest:\n\n" + "\n".join(lines)


def gains(
    rows: Sequence[Row], own: str = OWN, subject: str = "fastlstm", others: str = "other engine"
) -> str:
    """From how many to how many times as fast as the fastest of the others on each row."""
    found = [(times, row["name"]) for row in rows if (times := times_best(row, own)) is not None]
    if not found:
        return f"No {others} was measured."
    (least, where), (most, there) = min(found), max(found)
    return (
        f"On each row, {subject} is {number(least)} (`{where}`) to {number(most)} (`{there}`) "
        f"times as fast as the fastest {others}."
    )


def times_best(row: Row, own: str = OWN) -> float | None:
    """How many times as fast as the best other engine."""
    return figures.times(row, figures.best_rival(row), own)


def trace_report(rows: Sequence[Row]) -> str:
    """`trace` beside what else there is: another engine, `predict`, filling as much memory."""
    header = ["row", "dtype", "N", "T", "H", "engine", "ms", "quartiles", "x trace"]
    header += ["largest error"]
    lines = []
    for row in rows:
        for label, engine in figures.measured(row).items():
            if label != PEAK:
                times = figures.times(row, TRACE, label)
                line = [row["name"], row["dtype"], *(f"{row[k]:,}" for k in "NTH")]
                line += ["predict" if label == OWN else label, number(1e3 * engine["median"])]
                line += [quartiles_ms(engine), number(times), error(engine, "max_error")]
                lines.append(line)
    return f"## All six values of every step\n\n{table(header, lines, 6)}"
