"""Where a row stands under the machine's two roofs: the peak of its arithmetic, and its memory.

The intensity of a row is its operations, 8 H (I + H) a step and layer (activations are not
counted), over the bytes that have to come from memory or go there whatever the engine: the input
and the weights once, and the last hidden states. What an engine moves beyond that is its own.
"""

from __future__ import annotations

from typing import Any

from bench import spread
from bench.results import measured
from bench.rows import Row

Results = dict[str, Any]
SIZE = {"float32": 4, "float64": 8}


def intensity(result: Results) -> float:
    """Operations a byte of a stored row."""
    row = Row.of(result)
    numbers = result["steps"] * row.I + row.weights + row.N * row.H
    return float(result["flops"] / (numbers * SIZE[row.dtype]))


def bandwidth(limits: Results) -> float | None:
    """Bytes a second that all threads read: the fastest round."""
    engines = measured(limits)
    if "read" not in engines:
        return None
    return float(limits["read_bytes"] / spread.fastest(engines["read"]["seconds"]))


def roof(operations_a_byte: float, peak: float, bytes_a_second: float) -> float:
    """The most operations a second at an intensity."""
    return min(peak, operations_a_byte * bytes_a_second)
