"""`python -m bench plot`: how many times as fast as each engine, and the roofline."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from bench.compare.limits import bandwidth, intensity, roof
from bench.harness import figures, stored
from bench.harness.own import OWN
from bench.harness.stored import Row
from bench.harness.tables import hidden

INK, QUIET = "#1f2933", "#7b8794"
OURS, THEIRS = "#0b6e4f", "#d1495b"


def main(options: argparse.Namespace) -> int:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams |= {
        "svg.hashsalt": "bench",  # the same picture is the same file
        "font.size": 9,
        "axes.edgecolor": QUIET,
        "text.color": INK,
        "axes.labelcolor": INK,
    }
    path = stored.chosen(options.path)
    result = stored.read(path)
    rows = [row for row in result.get("rows", []) if row["dtype"] == "float32"]
    if not rows:
        raise ValueError(f"{path.name} has no rows in float32")
    title = f"{result['machine']['cpu']}, {result['machine']['threads']} threads, float32"
    save(heat_map(rows, title), path, "ratios", options.format)
    if result.get("limits"):
        save(roofline(rows, result["limits"][0], title), path, "roofline", options.format)
    return 0


def save(figure: Any, beside: Path, name: str, kind: str) -> None:
    path = beside.with_name(f"{beside.stem}-{name}.{kind}")
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(path, dpi=150, bbox_inches="tight", metadata=metadata)
    print(path.name)


def heat_map(rows: list[Row], title: str) -> Any:
    """Rows by engines: green where fastlstm is faster, red where it is slower."""
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.figure import Figure

    names = figures.by_strength(rows)
    times = np.array(
        [
            [figures.times(row, k) if k in figures.rivals(row) else None for k in names]
            for row in rows
        ],
        float,
    )  # (rows, engines), NaN where there is nothing
    figure = Figure(figsize=(1.6 + 1.05 * len(names), 1.2 + 0.34 * len(rows)))
    axes = figure.subplots()
    norm = TwoSlopeNorm(0.0, -2.0, 4.0)  # log2: a quarter to sixteen times as fast
    axes.imshow(np.log2(times), cmap="PiYG", norm=norm, aspect="auto")
    for (y, x), value in np.ndenumerate(times):
        if not np.isnan(value):
            dark = np.log2(value) > 3 or np.log2(value) < -1.2
            text = f"{value:.2f}" if value < 9.995 else f"{value:.0f}"
            axes.text(x, y, text, ha="center", va="center", color="white" if dark else INK)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(rows)), [size(row) for row in rows])
    for y, row in enumerate(rows):
        axes.annotate(
            row["name"],
            (0, y),
            (-200, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            weight="bold",
        )
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(f"fastlstm's speed, as a multiple of each engine's\n{title}", pad=12, loc="left")
    return figure


def size(row: Row) -> str:
    return f"{row['N']:,} x {row['T']:,} x {row['I']} → {hidden(row)}"


def roofline(rows: list[Row], limits: Row, title: str) -> Any:
    """Achieved operations a second against operations a byte, under the machine's roofs."""
    from matplotlib.figure import Figure

    peak, speed = figures.peak(limits), bandwidth(limits)
    assert peak is not None
    assert speed is not None
    figure = Figure(figsize=(10, 6.5))
    axes = figure.subplots()
    points = []
    for row in rows:
        own, other = figures.flops(row), figures.flops(row, figures.best_rival(row))
        if own and other:
            points.append((row["name"], intensity(row), own / 1e9, other / 1e9))
    xs = [x for _, x, *_ in points]
    span = np.geomspace(min(xs) / 5, max(xs) * 2, 200)
    axes.plot(span, [roof(x, peak, speed) / 1e9 for x in span], color=INK)
    for _, x, own, other in points:
        axes.plot([x, x], [own, other], color=QUIET, linewidth=0.8, zorder=1)
        axes.plot(x, other, "o", color=THEIRS, markersize=4)
        axes.plot(x, own, "o", color=OURS, markersize=6)
    axes.plot([], [], "o", color=OURS, label=OWN)
    axes.plot([], [], "o", color=THEIRS, markersize=4, label="best other engine")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(top=2.2 * peak / 1e9)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    peak_text = f"{peak / 1e9:.0f} GFLOP/s: fused multiply-adds"
    axes.text(span[-1], 1.06 * peak / 1e9, peak_text, ha="right", va="bottom")
    x = min(span[0] * 8, peak / speed)
    note = f"{speed / 1e9:.0f} GB/s:\nreading memory"
    axes.annotate(
        note,
        (x, x * speed / 1e9),
        (-8, 8),
        textcoords="offset points",
        ha="right",
        va="bottom",
    )
    place_names(axes, points)
    axes.set_xlabel("operations a byte of input, weights and result")
    axes.set_ylabel("GFLOP/s of matrix products")
    axes.grid(color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower center", frameon=False)
    axes.set_title(title, loc="left")
    return figure


def place_names(axes: Any, points: list[tuple[str, float, float, float]]) -> None:
    """Write each name beside its point, where it hides no other name, point or line."""
    inch = 72 / axes.figure.dpi

    def at(x: float, y: float) -> Any:  # in points of 1/72 inch, as offsets are
        return axes.transData.transform((x, y)) * inch

    taken = []
    for _, x, own, other in points:
        for y in np.geomspace(own, other, 9):
            px, py = at(x, y)
            taken.append((px - 4, py - 4, px + 4, py + 4))
    for name, x, own, _ in points:
        px, py = at(x, own)
        width, height = 5.4 * len(name), 10.0
        places = [(dx, dy) for dy in (-4, 4, -12, 12, -20, 20) for dx in (7, -7 - width)] + [
            (-width / 2, 7),
            (-width / 2, -17),
        ]
        dx, dy = min(places, key=lambda d: overlap(box(px, py, d, width, height), taken))
        taken.append(box(px, py, (dx, dy), width, height))
        line = {"arrowstyle": "-", "color": QUIET, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
        axes.annotate(
            name,
            (x, own),
            (dx, dy),
            textcoords="offset points",
            va="bottom",
            arrowprops=line if abs(dy + 4) > 8 else None,
        )


Box = tuple[float, float, float, float]


def box(x: float, y: float, offset: tuple[float, float], width: float, height: float) -> Box:
    left, low = x + offset[0], y + offset[1]
    return left, low, left + width, low + height


def overlap(box: Box, others: list[Box]) -> float:
    """The area that a box shares with others."""
    return sum(
        max(0.0, min(box[2], other[2]) - max(box[0], other[0]))
        * max(0.0, min(box[3], other[3]) - max(box[1], other[1]))
        for other in others
    )
