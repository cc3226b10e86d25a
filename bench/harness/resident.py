"""The memory of this process. Linux only: elsewhere the peak of a process cannot be set back."""

from __future__ import annotations

from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def can_measure() -> bool:
    return RESET.exists()


def now() -> int:
    """Bytes of this process in memory."""
    return _bytes("VmRSS")


def peak() -> int:
    """The most since `reset_peak`. Pages of a file that are mapped count as well."""
    return _bytes("VmHWM")


def reset_peak() -> None:
    """Make what is in memory now the peak."""
    RESET.write_text("5")


def _bytes(field: str) -> int:
    (line,) = (k for k in STATUS.read_text().splitlines() if k.startswith(field))
    return 1024 * int(line.split()[1])
