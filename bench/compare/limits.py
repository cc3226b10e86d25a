"""A section of `compare`: the machine's two roofs, the peak of its arithmetic and its memory.

The intensity of a row is its operations, 8 H (I + H) a step and layer (activations not counted),
over the bytes that have to come from memory or go there whatever the engine: the input and the
weights once, and the last hidden states. Anything beyond that an engine moves of its own accord.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness import figures, rounds
from bench.harness.limits import PEAK, READ, READ_BYTES
from bench.harness.run import Run
from bench.harness.stored import Row
from bench.harness.tables import scaled, table
from bench.harness.workload import Workload

SIZE = {"float32": 4, "float64": 8}


def measure(run: Run) -> list[Row]:
    """One row, of which only the limits count: its workload is next to nothing."""
    row = run.time(Workload("limits", 1, 1, 1, 1, 1, "float32"), (PEAK, READ))
    return [row | {"read_bytes": READ_BYTES}]


def report(rows: Sequence[Row]) -> list[str]:
    lines = []
    for row in rows:
        peak, speed = scaled(figures.peak(row), 1e-9), scaled(bandwidth(row), 1e-9)
        lines.append(["fused multiply-adds, GFLOP/s", peak])
        lines.append(["reading memory, GB/s", speed])
    return [f"## The machine\n\n{table(['limit', 'measured'], lines)}"]


def bandwidth(limits: Row) -> float | None:
    """Bytes a second that all threads read: those of the fastest round."""
    engines = figures.measured(limits)
    if READ not in engines:
        return None
    return float(limits["read_bytes"] / rounds.fastest(engines[READ]["seconds"]))


def intensity(row: Row) -> float:
    """Operations a byte of a stored row."""
    workload = Workload.of(row)
    numbers = row["steps"] * workload.I + workload.weights + workload.N * workload.H
    return float(row["flops"] / (numbers * SIZE[workload.dtype]))


def roof(operations_a_byte: float, peak: float, bytes_a_second: float) -> float:
    """The most operations a second at an intensity."""
    return min(peak, operations_a_byte * bytes_a_second)
