"""`python -m bench readme`: the tables of the README from stored results, losses included.

The whole report goes beside each result, as Markdown.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench import goals, report, report_networks, report_scoring, results
from bench.machine import ROOT
from bench.results import OWN
from bench.tables import number, percent, table

Results = dict[str, Any]

README = ROOT / "README.md"
MARKS = {"compare": "bench", "networks": "networks", "score": "scoring"}  # of a command's section
ENGINES = ("OpenVINO", "ONNX Runtime", "PyTorch", "JAX", "Keras", "numpy")


def main(options: argparse.Namespace) -> int:
    paths = [options.path] if options.path else [results.newest(command) for command in MARKS]
    for stored in paths:
        if stored is not None:
            write(stored, README)
    return 0


def write(stored: Path, path: Path) -> None:
    """Write one result's section, and its report."""
    found = results.read(stored)
    if found["command"] not in MARKS:
        raise ValueError(f"the README has no section for the results of {found['command']}")
    stored.with_suffix(".md").write_text(report.render(found), encoding="utf-8")
    if found["command"] == "networks":
        tables = network_text(found)
    elif found["command"] == "score":
        tables = scoring_text(found)
    else:
        tables = "\n\n".join([text(found), *pictures(stored, path.parent)])
    document = replaced(path.read_text(encoding="utf-8"), tables, MARKS[found["command"]])
    path.write_text(document, encoding="utf-8")


def pictures(stored: Path, root: Path) -> list[str]:
    """Links to what `python -m bench plot` drew beside the result."""
    return [
        f"![{what}]({path.relative_to(root).as_posix()})"
        for name, what in (("ratios", "times as fast, by row and engine"), ("roofline", "roofline"))
        if (path := stored.with_name(f"{stored.stem}-{name}.svg")).exists()
    ]


def replaced(document: str, tables: str, mark: str = "bench") -> str:
    """A document with what stands between its two markers replaced."""
    first, last = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, begin, rest = document.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"expected the lines {first} and {last} in the README")
    return f"{before}{first}\n{tables}\n{last}{after}"


def network_text(found: Results) -> str:
    """What stands between the markers of the kinds of network."""
    machine = found["machine"]
    checked = goals.check(found)
    met = len(checked) - len(goals.missed(checked))
    return "\n\n".join(
        [
            f"Measured {machine['date'][:10]} on {machine['threads']} threads, float32, millions "
            "of time steps a second; *takes x*: times as long as the network beside it.",
            report_networks.overview(found["networks"]),
            f"Of the project's own {len(checked)} goals for these figures, {met} are met.",
        ]
    )


def scoring_text(found: Results) -> str:
    """What stands between the markers of scoring from file to file."""
    machine = found["machine"]
    versions = machine["versions"]
    packages = ("onnxruntime", "numpy", "pyarrow")
    others = ", ".join(f"{name} {versions[name]}" for name in packages if name in versions)
    checked = goals.check(found)
    told = [f"- {g.what}: {g.got}, wanted {g.wanted}" for g in goals.missed(checked)]
    met = f"{len(checked) - len(told)} are met" + (", but not:" if told else ".")
    return "\n\n".join(
        [
            f"Measured {machine['date'][:10]} on {machine['threads']} threads; {others}. Millions "
            "of sequences a second, float32; MB: the peak memory of the process.",
            report_scoring.overview(found["scoring"], found.get("scoring_memory", [])),
            f"Of the project's own {len(checked)} goals for these figures, {met}",
            *(["\n".join(told)] if told else []),
        ]
    )


def text(found: Results) -> str:
    """What stands between the markers."""
    machine = found["machine"]
    versions = machine["versions"]
    packages = ("openvino", "onnxruntime", "torch", "jax", "keras", "numpy")
    others = ", ".join(f"{name} {versions[name]}" for name in packages if name in versions)
    single, double = (
        [row for row in found.get("rows", []) if row["dtype"] == dtype]
        for dtype in ("float32", "float64")
    )
    sections = [
        f"Measured {machine['date'][:10]} on {machine['threads']} threads of "
        f"{machine['cpu'].split(',')[0]}, {machine['simd'].split(',')[0]}; {others}. Millions of "
        "time steps a second, float32:",
        rates(single),
        losses(single + double),
    ]
    if double:
        sections.append(f"In float64, fastlstm is {float64(double)}.")
    checked = goals.check(found)
    if checked and not found["settings"]["quick"]:
        met = len(checked) - len(goals.missed(checked))
        sections.append(
            f"Of the project's own {len(checked)} goals for these figures, {met} are met."
        )
    return "\n\n".join(sections)


def rates(rows: list[Results]) -> str:
    """A line for each row; the fastest engine is in bold."""
    names = [OWN, *(k for k in ENGINES if any(k in row["engines"] for row in rows))]
    header = ["row", "N x T x inputs", "hidden", *names, "x best other", "% of FMA peak"]
    header += ["rms error, of PyTorch's"]
    lines = []
    for row in rows:
        best = results.best_rival(row)
        times = results.times(row, best) if best else None
        first = best if times is not None and times < 1 else OWN
        cells = [report.cell(row, name) or "-" for name in names]
        cells = [f"**{c}**" if k == first else c for k, c in zip(names, cells, strict=True)]
        hidden = f"{row['H']}" + (f" x {row['layers']}" if row["layers"] > 1 else "")
        size = f"{row['N']:,} x {row['T']:,} x {row['I']}"
        last = [number(times), percent(results.peak_share(row)), number(error_ratio(row), 2)]
        lines.append([row["name"], size, hidden, *cells, *last])
    return table(header, lines)


def error_ratio(row: Results) -> float | None:
    """The root-mean-square error against float64 over PyTorch's."""
    own, torch = (row["engines"].get(name, {}).get("rms_error") for name in (OWN, "PyTorch"))
    return own / torch if own and torch else None


def losses(rows: list[Results]) -> str:
    """A line for each row on which another engine was faster."""
    lines = []
    for row in rows:
        faster = {
            name: 1 / times
            for name in results.rivals(row)
            if (times := results.times(row, name)) is not None and times < 1
        }
        told = [f"{k} {faster[k]:.2f} x" for k in sorted(faster, key=lambda k: -faster[k])]
        if told:
            lines.append(f"- `{row['name']}` in {row['dtype']}: {', '.join(told)}")
    if not lines:
        return "No other engine was faster on any row."
    return "Where fastlstm loses, and how many times as fast the others are:\n\n" + "\n".join(lines)


def float64(rows: list[Results]) -> str:
    """The range over rows of how many times as fast it is."""
    found = []
    for other in ("PyTorch", "numpy"):
        times = [k for row in rows if (k := results.times(row, other)) is not None]
        if times:
            span = f"{number(min(times), 2)} to {number(max(times), 2)}"
            found.append(f"{span} times as fast as {other}")
    return " and ".join(found)
