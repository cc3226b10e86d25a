"""A file that only grows, and is cut back to what was known to be sound."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

__all__ = ["Appended"]


class Appended:
    """A file to append to.

    Parameters
    ----------
    path
        Where it is, or will be.
    size
        The bytes of it that are sound: the rest is cut off.

    Raises
    ------
    ValueError
        If it has fewer bytes than that.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path, self.size = path, size
        self.file = open(path, "r+b" if size else "wb", buffering=0)  # noqa: SIM115
        there = os.fstat(self.file.fileno()).st_size
        if there < size:
            self.file.close()
            raise ValueError(
                f"{path} is damaged: expected {size:,} bytes of an earlier run, found {there:,}; "
                "restart to begin anew"
            )
        self.file.truncate(size)
        self.file.seek(size)

    def write(self, data: Any) -> None:
        """Append all of `data`."""
        if not memoryview(data).nbytes:
            return
        left = memoryview(data).cast("B")
        while left:
            try:
                written = self.file.write(left)
            except OSError as error:  # a full disk: which one?
                raise OSError(error.errno, error.strerror, str(self.path)) from None
            self.size += written
            left = left[written:]

    def overwrite(self, data: bytes, at: int = 0) -> None:
        """Write over bytes that are there."""
        self.file.seek(at)
        self.file.write(data)
        self.file.seek(self.size)

    def cut(self, size: int) -> None:
        """Go back to an earlier size."""
        self.file.truncate(size)
        self.file.seek(size)
        self.size = size

    def sync(self) -> None:
        """Wait until all of it is on the disk."""
        os.fsync(self.file.fileno())

    def close(self) -> None:
        """Close the file."""
        self.file.close()
