"""A section of `compare`: how long a fresh process needs to import, load a model file and score."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.harness import child
from bench.harness.engine import FirstScore
from bench.harness.engines import ENGINES
from bench.harness.own import OWN
from bench.harness.rounds import timed
from bench.harness.run import Run
from bench.harness.stored import Row
from bench.harness.tables import table
from bench.harness.workload import Workload

WORKLOAD = Workload("cold", 1_000, 100, 8, 32, 1, "float32")
STEPS = ("import", "load", "score", "process")
EMPTY, FULL = "cold cache", "warm cache"

PROGRAM = """
import json, time
marks = [time.perf_counter()]
import numpy
{}
marks.append(time.perf_counter())
{}
marks.append(time.perf_counter())
x = numpy.load("x.npy")
{}
marks.append(time.perf_counter())
print(json.dumps([b - a for a, b in zip(marks, marks[1:])]), flush=True)
"""


def measure(run: Run) -> list[Row]:
    """Seconds of each step by engine, and of the whole process from its start to the score.

    fastlstm is there twice: with an empty folder of compiled code, and with a full one.
    """
    run.say("first scores of fresh processes")
    scripts = {
        label: engine.first_score
        for label, engine in ENGINES.items()
        if engine.first_score and not engine.missing()
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = WORKLOAD.model()
        np.save(folder / "x.npy", WORKLOAD.inputs())
        for script in scripts.values():
            script.write(model, WORKLOAD, folder)
        kinds = [(OWN, EMPTY), *((k, FULL if k == OWN else "") for k in scripts)]
        seconds: dict[tuple[str, str], list[list[float]]] = {kind: [] for kind in kinds}
        for script in scripts.values():
            first_score(script, folder, folder / "cache", run.threads)  # reads the disk, compiles
        for _ in range(2 if run.quick else 5):
            for label, kind in kinds:
                with tempfile.TemporaryDirectory() as empty:
                    cache = Path(empty) if kind == EMPTY else folder / "cache"
                    took = first_score(scripts[label], folder, cache, run.threads)
                seconds[label, kind].append(took)
    return [
        {"name": label, "cache": kind}
        | {step: timed(column) for step, column in zip(STEPS, zip(*took, strict=True), strict=True)}
        for (label, kind), took in seconds.items()
    ]


def first_score(script: FirstScore, folder: Path, cache: Path, threads: int) -> list[float]:
    """Seconds of one process: its three steps, and all from its start."""
    program = PROGRAM.format(script.imports, script.load, script.score)
    line, whole = child.first_line("-c", program, threads=threads, cwd=folder, cache=cache)
    return [*json.loads(line), whole]


def report(rows: Sequence[Row]) -> list[str]:
    header = ["engine", "cache", "import, s", "load", "first score", "process to score"]
    lines = [
        [row["name"], row["cache"], *(f"{row[step]['median']:.3f}" for step in STEPS)]
        for row in rows
    ]
    return [f"## A fresh process's first score\n\n{table(header, lines, 2)}"]
