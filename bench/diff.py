"""`python -m bench diff OLD [NEW]`: what got slower, or less accurate, since a stored result.

A machine changes its speed between runs, by more than what one looks for. So an engine's time in
a round is taken relative to what else was measured in the same round: the peak, and other engines
of the same version in both results (their geometric mean). Slower means that the quartiles of
these relative times do not overlap and that their medians differ by more than `LEAST_CHANGE`.
Errors come from the same weights and input in every run, so nothing but the code changes them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bench import results
from bench.results import OWN
from bench.spread import quartiles
from bench.tables import table

Results = dict[str, Any]

PARTS = ("rows", "ragged", "small", "idle", "threads", "trace", "networks", "scoring")
LEAST_CHANGE = 1.03  # of a relative time
LEAST_ABSOLUTE = 1.15  # where nothing was measured beside it
LEAST_ERROR_CHANGE = {"rms_error": 1.01, "max_error": 1.10}
# What the speed of each reference depends on; nothing but the machine: ().
REFERENCES = {
    "peak": (),
    "numpy": ("numpy", "BLAS of NumPy"),
    "NumPy": ("numpy", "BLAS of NumPy"),
    "PyTorch": ("torch",),
    "ONNX Runtime": ("onnxruntime",),
    "OpenVINO": ("openvino",),
    "JAX": ("jax", "jaxlib"),
    "BlockLSTMV2": ("tensorflow",),
}


class Change(NamedTuple):
    """One engine on one row, then and now."""

    row: str
    engine: str
    what: str  # "time", "rms_error" or "max_error"
    times: float  # the new figure over the old one
    worse: bool
    better: bool
    beside: tuple[str, ...] = ()  # what the times are relative to


def main(options: argparse.Namespace) -> int:
    old = results.read(options.old)
    new = results.read(results.chosen(options.new, old["command"]))
    warn_of_differences(old, new)
    changes = compare(old, new)
    print(render(changes))
    return int(any(change.worse for change in changes))


def warn_of_differences(old: Results, new: Results) -> None:
    for name in ("cpu", "threads"):
        then, now = old["machine"][name], new["machine"][name]
        if then != now:
            raise ValueError(f"expected results of one machine, got {name} {then} and {now}")


def compare(old: Results, new: Results) -> list[Change]:
    """Every change of what is fastlstm's own, worse and better and neither."""
    unchanged = same_versions(old, new)
    changes = []
    for part in PARTS:
        before = {results.key(row): row for row in old.get(part, [])}
        for row in new.get(part, []):
            then = before.get(results.key(row))
            if then is not None and same_work(then, row):
                changes += compare_row(part, then, row, unchanged)
    return changes


def same_versions(old: Results, new: Results) -> set[str]:
    """The references whose packages did not change."""
    then, now = (result["machine"]["versions"] for result in (old, new))
    return {
        name
        for name, packages in REFERENCES.items()
        if all(then.get(k) == now.get(k) for k in packages)
    }


def same_work(old: Results, new: Results) -> bool:
    return all(old[name] == new[name] for name in ("N", "T", "I", "H", "layers"))


def compare_row(part: str, old: Results, new: Results, unchanged: set[str]) -> list[Change]:
    then, now = results.measured(old), results.measured(new)
    both = [name for name in now if name in then]
    references = [name for name in both if reference_name(name) in unchanged]
    label = " ".join(str(k) for k in (part, *results.key(new)) if k not in (None, "full"))
    changes = []
    for name in both:
        if name.startswith(OWN) or name == "trace":
            changes.append(compare_times(label, name, then, now, references))
            changes += compare_errors(label, name, then[name], now[name])
    return changes


def reference_name(engine: str) -> str:
    """`PyTorch, packed` is PyTorch."""
    return engine.split(",")[0]


def compare_times(
    label: str, name: str, then: Results, now: Results, references: Sequence[str]
) -> Change:
    before, after = (relative(engines, name, references) for engines in (then, now))
    (old_low, old, old_high), (new_low, new, new_high) = quartiles(before), quartiles(after)
    least = LEAST_CHANGE if references else LEAST_ABSOLUTE
    worse = new > least * old and new_low > old_high
    better = old > least * new and old_low > new_high
    return Change(label, name, "time", new / old, worse, better, tuple(references))


def relative(engines: Results, name: str, references: Sequence[str]) -> list[float | None]:
    """The seconds of each round over the geometric mean of the references' in that round.

    A reference that sat out rounds counts in those with its median.
    """
    own = engines[name]["seconds"]
    if not references:
        return list(own)
    logs = []
    for reference in references:
        middle = engines[reference]["median"]
        logs.append([np.log(middle if s is None else s) for s in engines[reference]["seconds"]])
    scale = np.exp(np.mean(logs, axis=0))
    return [None if s is None else float(s / k) for s, k in zip(own, scale, strict=True)]


def compare_errors(label: str, name: str, then: Results, now: Results) -> list[Change]:
    changes = []
    for kind, least in LEAST_ERROR_CHANGE.items():
        if then.get("checked") == now.get("checked") and kind in then and kind in now:
            old, new = then[kind], now[kind]
            if old != new:
                times = new / old if old else float("inf")
                worse, better = new > least * old, old > least * new
                changes.append(Change(label, name, kind, times, worse, better))
    return changes


def render(changes: Sequence[Change]) -> str:
    """A line for each change beyond the spread, the worst first."""
    told = sorted((c for c in changes if c.worse or c.better), key=lambda c: -c.times)
    counts = f"{len(changes)} figures compared: {sum(c.worse for c in changes)} worse, "
    counts += f"{sum(c.better for c in changes)} better"
    if not changes:
        return "nothing to compare: no row of the same work is in both results"
    if not told:
        return f"{counts}\n\nnothing changed beyond the spread"
    lines = [
        [
            "WORSE" if c.worse else "better",
            c.row,
            c.engine,
            c.what.replace("_", " "),
            f"{c.times:.2f} x",
            ", ".join(c.beside) or "absolute" * (c.what == "time"),
        ]
        for c in told
    ]
    header = ["", "row", "engine", "what", "now", "relative to"]
    return f"{counts}\n\n{table(header, lines, text_columns=4)}"
