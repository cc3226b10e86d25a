"""The sections of a report that only `python -m bench loop` fills."""

from __future__ import annotations

from typing import Any

from bench.memory import CASES
from bench.tables import number, quartiles, table

Results = dict[str, Any]


def start(found: Results) -> str:
    """Imports, and first results of fresh processes."""
    numpy = found["imports"]["numpy"]["median"]
    lines = [
        [name, number(1e3 * k["median"]), quartiles(k), number(k["median"] / numpy)]
        for name, k in found["imports"].items()
    ]
    imports = table(["import", "ms", "quartiles", "x numpy"], lines)
    lines = [
        [row["name"], row["dtype"], *(f"{row[k]:,}" for k in "NTIH")]
        + [f"{row['first_call'][k]:.2f}" for k in ("cold", "warm")]
        for row in found["first_calls"]
    ]
    header = ["row", "dtype", *"NTIH", "cold, s", "warm, s"]
    return (
        f"## Start\n\n{imports}\n\nFrom the start of a process to the first result of `predict`:"
        f"\n\n{table(header, lines, text_columns=2)}"
    )


def memory(found: Results) -> str:
    """Peak memory beyond input and output."""
    lines = [
        [case, CASES[case], f"{size / 1e6:.1f}"] for case, size in found["extra_bytes"].items()
    ]
    title = f"## Peak memory of `predict` on {found['N']:,} x {found['T']:,}"
    if not lines:
        return f"{title}\n\nnot measured: needs Linux"
    header = ["case", "", "MB beyond input and output"]
    return f"{title}\n\n{table(header, lines, text_columns=2)}"
