"""A stored result as Markdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench import goals, report_loop, report_networks, report_scoring, results
from bench.results import LIMITS, ONE_THREAD, OWN
from bench.roofline import bandwidth
from bench.spread import fastest
from bench.tables import error, number, percent, quartiles, shape, table

Results = dict[str, Any]


def render(found: Results) -> str:
    """The whole report."""
    sections = [machine(found)]
    for dtype in dict.fromkeys(row["dtype"] for row in found.get("rows", [])):
        rows = [row for row in found["rows"] if row["dtype"] == dtype]
        sections += [rates(dtype, rows), every_engine(dtype, rows)]
    if found.get("rows"):
        sections.append(loss_list(found["rows"]))
    parts: dict[str, Callable[[Any], str]] = {
        "ragged": ragged,
        "small": small,
        "idle": idle,
        "cold": cold,
        "threads": curve,
        "limits": limits,
        "trace": traces,
        "networks": networks,
        "start": report_loop.start,
        "memory": report_loop.memory,
    }
    sections += [section(found[name]) for name, section in parts.items() if found.get(name)]
    if rows := found.get("scoring"):
        sections.append(report_scoring.section(rows, found.get("scoring_memory", [])))
    if not found["settings"]["quick"]:
        sections.append(goal_table(goals.check(found)))
    return "\n\n".join(sections) + "\n"


def machine(found: Results) -> str:
    of, settings = found["machine"], found["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in of["versions"].items())
    text = (
        f"# `{found['command']}`, {of['date'][:10]}\n\n"
        f"{of['cpu']}; {of['simd']} ({of['lanes']} lanes); {of['threads']} threads; "
        f"{of['system']}\n{versions}\ncommit {of['commit'] or 'unknown'}; "
        f"{settings['rounds']} rounds of turns of {settings['turn_seconds']} s"
    )
    for name, why in found["missing"].items():
        text += f"\n\n**{name} was left out: {why}.**"
    if settings["quick"]:
        text += "\n\n**Quick: fewer sequences and rounds; these figures are worth little.**"
    return text


def rates(dtype: str, rows: list[Results]) -> str:
    """Millions of steps a second: every engine beside fastlstm, and how far from the peak."""
    names = [k for row in rows for k in row["engines"] if k not in (OWN, ONE_THREAD, *LIMITS)]
    names = list(dict.fromkeys(names))
    header = ["row", "N", "T", "I", "H", OWN, *names, "best other", "x best", "GFLOP/s"]
    header += ["% of peak", "x 1 thread"]
    lines = []
    for row in rows:
        best = results.best_rival(row)
        line = [*shape(row), number(results.rate(row, OWN)), *(cell(row, k) for k in names)]
        line += [best or "", number(results.times(row, best) if best else None)]
        line += [number(scaled(results.flops(row), 1e-9)), percent(results.peak_share(row))]
        lines.append([*line, number(results.times(row, ONE_THREAD))])
    return f"## {dtype}: millions of time steps a second\n\n{table(header, lines)}"


def cell(row: Results, name: str) -> str:
    """An engine's rate, or why there is none."""
    engine = row["engines"].get(name)
    if engine is None:
        return ""
    if "failed" in engine:
        return "failed"
    wrong = name not in results.rivals(row) and name not in (OWN, ONE_THREAD)
    return number(results.rate(row, name)) + (" (wrong)" if wrong else "")


def every_engine(dtype: str, rows: list[Results]) -> str:
    header = ["row", "engine", "settings", "ms", "quartiles", "fastlstm is x", "largest error"]
    header += ["rms error", "compared", "timed", "first call, cold", "warm"]
    lines = []
    for row in rows:
        for name, engine in row["engines"].items():
            if "failed" in engine:
                rest = [""] * (len(header) - 3)
                lines.append([row["name"], name, f"failed: {engine['failed']}", *rest])
            elif name not in LIMITS:
                lines.append([row["name"], name, *engine_cells(row, name, engine)])
    filled = [k for k in range(len(header)) if any(line[k] for line in lines)]
    cut = [[line[k] for k in filled] for line in lines]
    return f"### {dtype}: every engine\n\n{table([header[k] for k in filled], cut, 3)}"


def engine_cells(row: Results, name: str, engine: Results) -> list[str]:
    first = engine.get("first_call", {})
    times = number(results.times(row, name)) if name != OWN else ""
    return [
        engine["settings"],
        number(1e3 * engine["median"]),
        quartiles(engine),
        times,
        error(engine, "max_error"),
        error(engine, "rms_error"),
        f"{engine['checked']:,}" if "checked" in engine else "",
        f"{engine['sequences']:,}" if engine["sequences"] < row["N"] else "",
        *(f"{first[k]:.2f} s" if k in first else "" for k in ("cold", "warm")),
    ]


def losses(rows: list[Results]) -> list[str]:
    """Every row and engine that is faster than fastlstm."""
    found = []
    for row in rows:
        for name in results.rivals(row):
            times = results.times(row, name)
            if times is not None and times < 1:
                found.append(f"{row['name']} {row['dtype']}: {name} is {1 / times:.2f} x as fast")
    return found


def loss_list(rows: list[Results]) -> str:
    lines = losses(rows) or ["none: no other engine was faster on any row"]
    return "## Where fastlstm loses\n\n" + "\n".join(f"- {line}" for line in lines)


def ragged(rows: list[Results]) -> str:
    header = ["row", "lengths", "real steps", "engine", "M steps/s", "quartiles, ms"]
    header += ["largest error"]
    lines = [
        [
            row["name"],
            row["lengths"],
            f"{row['steps']:,}",
            name,
            number(results.rate(row, name)),
            quartiles(engine),
            error(engine, "max_error"),
        ]
        for row in rows
        for name, engine in results.measured(row).items()
        if name not in LIMITS
    ]
    return f"## Unequal lengths: real steps a second\n\n{table(header, lines, 4)}"


def small(rows: list[Results]) -> str:
    header = ["row", "T", "I", "H", "engine", "settings", "us a call", "quartiles"]
    lines = [
        [
            row["name"],
            *(str(row[k]) for k in "TIH"),
            name,
            engine["settings"],
            number(1e6 * engine["median"]),
            quartiles(engine, 1e6),
        ]
        for row in rows
        for name, engine in results.measured(row).items()
    ]
    return f"## One sequence from Python\n\n{table(header, lines, 6)}"


def idle(rows: list[Results]) -> str:
    header = ["row", "N", "idle before, s", "engine", "ms a call", "quartiles", "fastest round"]
    lines = [
        [
            row["name"],
            f"{row['N']:,}",
            f"{row['idle']:g}",
            name,
            number(1e3 * engine["median"]),
            quartiles(engine),
            number(1e3 * fastest(engine["seconds"])),
        ]
        for row in rows
        for name, engine in results.measured(row).items()
    ]
    return f"## Calls after a pause\n\n{table(header, lines, 4)}"


def cold(rows: list[Results]) -> str:
    header = ["engine", "cache", "import, s", "load", "first score", "process to score"]
    lines = [
        [row["name"], row["cache"]]
        + [f"{row[step]['median']:.3f}" for step in ("import", "load", "score", "process")]
        for row in rows
    ]
    return f"## A fresh process's first score\n\n{table(header, lines, 2)}"


def curve(rows: list[Results]) -> str:
    header = ["row", "threads", "M steps/s", "x 1 thread", "% of peak"]
    alone = {row["name"]: results.rate(row, OWN) for row in rows if row["threads"] == 1}
    lines = []
    for row in rows:
        rate, one = results.rate(row, OWN), alone.get(row["name"])
        times = rate / one if rate and one else None
        line = [row["name"], str(row["threads"]), number(rate), number(times)]
        lines.append([*line, percent(results.peak_share(row))])
    return f"## Threads\n\n{table(header, lines)}"


def limits(rows: list[Results]) -> str:
    lines = []
    for row in rows:
        most, speed = results.peak(row), bandwidth(row)
        lines.append(["fused multiply-adds, GFLOP/s", number(scaled(most, 1e-9))])
        lines.append(["reading memory, GB/s", number(scaled(speed, 1e-9))])
    return f"## The machine\n\n{table(['limit', 'measured'], lines)}"


def traces(rows: list[Results]) -> str:
    """`trace` beside what else there is: another engine, `predict`, filling as much memory."""
    header = ["row", "dtype", "N", "T", "H", "engine", "ms", "quartiles", "x trace"]
    header += ["largest error"]
    lines = []
    for row in rows:
        for name, engine in results.measured(row).items():
            if name != "peak":
                times = results.times(row, "trace", name)
                label = "predict" if name == OWN else name
                line = [row["name"], row["dtype"], *(f"{row[k]:,}" for k in "NTH"), label]
                line += [number(1e3 * engine["median"]), quartiles(engine), number(times)]
                lines.append([*line, error(engine, "max_error")])
    return f"## All six values of every step\n\n{table(header, lines, 6)}"


def networks(rows: list[Results]) -> str:
    tables = [report_networks.section(rows)]
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        tables.append(every_engine(dtype, [row for row in rows if row["dtype"] == dtype]))
    return "\n\n".join(tables)


def goal_table(found: list[goals.Goal]) -> str:
    lines = [[g.what, g.wanted, g.got, "yes" if g.met else "NO"] for g in found]
    title = f"## Goals: {len(found) - len(goals.missed(found))} of {len(found)} met"
    return f"{title}\n\n{table(['what', 'wanted', 'got', 'met'], lines)}"


def scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
