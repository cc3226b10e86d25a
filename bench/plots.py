"""`python -m bench plot`: how many times as fast as each engine, and the roofline."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from bench import results, roofline
from bench.results import OWN

Results = dict[str, Any]

ENGINES = ("OpenVINO", "ONNX Runtime", "JAX", "PyTorch", "Keras", "numpy")
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
    path = results.chosen(options.path)
    found = results.read(path)
    rows = [row for row in found.get("rows", []) if row["dtype"] == "float32"]
    if not rows:
        raise ValueError(f"{path.name} has no rows in float32")
    title = f"{found['machine']['cpu']}, {found['machine']['threads']} threads, float32"
    save(heat_map(rows, title), path, "ratios", options.format)
    if found.get("limits"):
        save(roof(rows, found["limits"][0], title), path, "roofline", options.format)
    return 0


def save(figure: Any, beside: Path, name: str, kind: str) -> None:
    path = beside.with_name(f"{beside.stem}-{name}.{kind}")
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(path, dpi=150, bbox_inches="tight", metadata=metadata)
    print(path.name)


def heat_map(rows: list[Results], title: str) -> Any:
    """Rows by engines: green where fastlstm is faster, red where it is slower."""
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.figure import Figure

    names = [k for k in ENGINES if any(k in results.rivals(row) for row in rows)]
    times = np.array(
        [
            [results.times(row, k) if k in results.rivals(row) else None for k in names]
            for row in rows
        ],
        float,
    )  # (rows, engines), NaN where there is nothing
    figure = Figure(figsize=(1.6 + 1.05 * len(names), 1.2 + 0.34 * len(rows)))
    axes = figure.subplots()
    norm = TwoSlopeNorm(0.0, -1.0, 4.0)  # log2: half as fast to sixteen times
    axes.imshow(np.log2(times), cmap="PiYG", norm=norm, aspect="auto")
    for (y, x), value in np.ndenumerate(times):
        if not np.isnan(value):
            dark = np.log2(value) > 3 or np.log2(value) < -0.8
            text = f"{value:.2f}" if value < 9.995 else f"{value:.0f}"
            axes.text(x, y, text, ha="center", va="center", color="white" if dark else INK)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(rows)), [label(row) for row in rows])
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(f"How many times as fast fastlstm is\n{title}", pad=12, loc="left")
    return figure


def label(row: Results) -> str:
    hidden = f"{row['H']}" + (f"x{row['layers']}" if row["layers"] > 1 else "")
    return f"{row['name']}   {row['N']:,}x{row['T']:,}x{row['I']} → {hidden}"


def roof(rows: list[Results], limits: Results, title: str) -> Any:
    """Achieved operations a second against operations a byte, under the machine's roofs."""
    from matplotlib.figure import Figure

    peak, speed = results.peak(limits), roofline.bandwidth(limits)
    assert peak is not None
    assert speed is not None
    figure = Figure(figsize=(8, 5.2))
    axes = figure.subplots()
    xs = {row["name"]: roofline.intensity(row) for row in rows}
    span = np.geomspace(min(xs.values()) / 2, max(xs.values()) * 2, 200)
    roofs = [roofline.roof(x, peak, speed) / 1e9 for x in span]
    axes.plot(span, roofs, color=INK, linewidth=1.5)
    axes.text(
        span[-1],
        1.05 * peak / 1e9,
        f"{peak / 1e9:.0f} GFLOP/s, fused multiply-adds",
        ha="right",
        va="bottom",
    )
    low = span[0] * 1.1
    axes.text(
        low,
        1.12 * low * speed / 1e9,
        f"reading memory,\n{speed / 1e9:.0f} GB/s",
        ha="left",
        va="bottom",
    )
    for row in rows:
        x, best = xs[row["name"]], results.best_rival(row)
        own, other = results.flops(row), results.flops(row, best) if best else None
        if own and other:
            axes.plot([x, x], [own / 1e9, other / 1e9], color=QUIET, linewidth=0.8, zorder=1)
        if other:
            axes.plot(x, other / 1e9, "o", color=THEIRS, markersize=4)
        if own:
            axes.plot(x, own / 1e9, "o", color=OURS, markersize=6)
    place_names(axes, rows, xs)
    axes.plot([], [], "o", color=OURS, label=OWN)
    axes.plot([], [], "o", color=THEIRS, markersize=4, label="best other engine")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations a byte of input, weights and result")
    axes.set_ylabel("GFLOP/s of matrix products")
    axes.grid(color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    axes.set_title(title, loc="left")
    return figure


def place_names(axes: Any, rows: list[Results], xs: dict[str, float]) -> None:
    """Write each row's name beside its point."""
    for row in rows:
        own = results.flops(row)
        if own:
            axes.annotate(
                row["name"], (xs[row["name"]], own / 1e9), xytext=(6, 2), textcoords="offset points"
            )
