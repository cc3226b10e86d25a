"""`python -m bench compare`: fastlstm beside every other engine that is installed."""

from __future__ import annotations

import argparse
import os
from typing import Any

from bench import cold, options, results
from bench.options import Run
from bench.rows import BENCHMARK_ROWS, Row

ENGINES = (
    "fastlstm",
    "fastlstm, 1 thread",
    "numpy",
    "PyTorch",
    "ONNX Runtime",
    "OpenVINO",
    "JAX",
    "Keras",
    "peak",
)
PARTS = ("rows", "ragged", "small", "idle", "cold", "threads", "limits")

TEXT = (1_024, 60, 100, 200, 1)  # N, T, I, H, layers
RAGGED = {name: BENCHMARK_ROWS[name] for name in ("mid", "credit")} | {"text": TEXT}
RAGGED_ENGINES = ("fastlstm, padded", "fastlstm, ragged", "PyTorch, packed", "peak")
LENGTHS = ("uniform", "log-normal")

SMALL = {
    "call": (1, 10, 8, 32, 1),
    "step": (1, 1, 8, 32, 1),
}
SMALL_ENGINES = {
    "call": ("fastlstm, call", "ONNX Runtime, call", "OpenVINO, call", "PyTorch, call"),
    "step": ("fastlstm, step", "ONNX Runtime, step", "PyTorch, step"),
}
IDLE_ROWS = {"mid": BENCHMARK_ROWS["mid"], "short": (640, 100, 8, 32, 1)}
IDLE_SECONDS = (0.0, 0.5)
IDLE_ENGINES = ("fastlstm", "PyTorch", "ONNX Runtime", "OpenVINO", "JAX")
CURVE_ROWS = ("seed", "mid", "hydro_s", "big")


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add(parser, list(BENCHMARK_ROWS), ENGINES, PARTS, rounds=5)


def main(arguments: argparse.Namespace) -> results.Results:
    """Measure the parts that are wanted."""
    run = Run("compare", arguments)
    parts = {
        "rows": measure_rows,
        "ragged": measure_ragged,
        "small": measure_small,
        "idle": measure_idle,
        "threads": measure_curve,
        "limits": measure_limits,
    }
    for name, part in parts.items():
        if run.wants(name):
            run.results[name] = part(run)
    if run.wants("cold"):
        options.say("first scores of fresh processes")
        run.results["cold"] = cold.measure(run.threads, repeats=2 if arguments.quick else 5)
    return run.store()


def measure_rows(run: Run) -> list[dict[str, Any]]:
    """Every row of the table."""
    return [
        run.compare(Row.named(name, dtype), run.options.engines)
        for dtype in run.options.dtypes
        for name in run.options.rows
    ]


def measure_ragged(run: Run) -> list[dict[str, Any]]:
    """Sequences of unequal length, and the same batch with full length for the dense rate."""
    found = []
    for name, sizes in RAGGED.items():
        for lengths in LENGTHS:
            found.append(run.compare(Row(name, *sizes, "float32", lengths), RAGGED_ENGINES))
        found.append(run.compare(Row(name, *sizes, "float32"), ("fastlstm", "PyTorch", "peak")))
    return found


def measure_small(run: Run) -> list[dict[str, Any]]:
    """Calls that take microseconds."""
    return [
        run.compare(Row(name, *sizes, "float32"), SMALL_ENGINES[name])
        for name, sizes in SMALL.items()
    ]


def measure_idle(run: Run) -> list[dict[str, Any]]:
    """Calls of milliseconds, one after the other and after a pause: threads have to wake up."""
    return [
        run.compare(Row(name, *sizes, "float32", idle=idle), IDLE_ENGINES)
        for name, sizes in IDLE_ROWS.items()
        for idle in IDLE_SECONDS
    ]


def measure_curve(run: Run) -> list[dict[str, Any]]:
    """Few rows with one thread, two, four ... and all."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    counts = sorted({*(2**k for k in range((cores or 1).bit_length())), cores or 1})
    return [
        run.compare(Row.named(name, "float32"), ("fastlstm", "peak"), n) | {"threads": n}
        for name in CURVE_ROWS
        for n in counts
        if n <= run.threads
    ]


def measure_limits(run: Run) -> list[dict[str, Any]]:
    """The peak and the bandwidth of the machine; the row itself is nothing."""
    from bench.engines import READ_BYTES

    found = run.compare(Row("limits", 1, 1, 1, 1, 1, "float32"), ("peak", "read"))
    return [found | {"read_bytes": READ_BYTES}]
