"""What tells an input file from a changed one, without reading all of it."""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any, NamedTuple

__all__ = ["PATIENCE", "Status", "fingerprint", "settle", "status_of"]

SAMPLE = 2**16  # bytes that are read at the beginning, in the middle and at the end

TICK = 20_000_000  # nanoseconds, longer than a tick of the clock that Linux dates files by
PATIENCE = 5  # times to wait for a file that is being written to


class Status(NamedTuple):
    """What changes when a file is written to or replaced."""

    file: int  # its number in the file system
    size: int
    modified: int


def status_of(path: str) -> Status:
    """Return a file's status.

    Raises
    ------
    OSError
        There is no such file.
    """
    status = os.stat(path)
    return Status(status.st_ino, status.st_size, status.st_mtime_ns)


def fingerprint(path: str) -> dict[str, Any]:
    """Return the name and size of a file, the time of its last change, and a digest of samples."""
    for _ in range(PATIENCE):
        if not settle(os.stat(path).st_mtime_ns):
            break
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        digest = hashlib.sha256()
        for at in (0, status.st_size // 2, max(0, status.st_size - SAMPLE)):
            file.seek(at)
            digest.update(file.read(SAMPLE))
    return {
        "name": os.path.basename(path),
        "bytes": status.st_size,
        "modified": status.st_mtime_ns,
        "samples": digest.hexdigest(),
    }


def settle(modified: int) -> bool:
    """Wait until another change would give the file a later time; tell whether that took waiting.

    Otherwise a second change right after the first would not show.
    """
    young = 0 <= time.time_ns() - modified < TICK
    if young:
        time.sleep(TICK / 1e9)
    return young
