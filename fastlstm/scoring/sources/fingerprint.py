"""What tells an input file from a changed one, without reading all of it."""

from __future__ import annotations

import hashlib
import os
from typing import Any

__all__ = ["fingerprint"]

SAMPLE = 2**16  # bytes that are looked at, at the beginning, in the middle and at the end


def fingerprint(path: str) -> dict[str, Any]:
    """Return a file's name, size, time of its last change and a digest of samples of it."""
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
