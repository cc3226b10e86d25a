"""A file that only grows, and can be cut back to what is known to be sound."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from fastlstm.messages import Message
from fastlstm.scoring.partial import RESTART

__all__ = ["Appended", "known_sizes"]


class Appended:
    """A file to append to.

    Parameters
    ----------
    path
        Where it is, or will be.
    size
        How many of its bytes are sound. The rest is cut off.

    Raises
    ------
    ValueError
        It has fewer bytes, or is not a file.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path, self.size = path, size
        found = os.lstat(path) if os.path.lexists(path) else None
        if (found is None and size) or (found is not None and not stat.S_ISREG(found.st_mode)):
            raise self.damaged("it is missing" if found is None else "it is not a regular file")
        if found is not None and found.st_size < size:
            raise self.damaged(
                f"expected {size:,} bytes of an earlier run, found {found.st_size:,}"
            )
        self.file = open(path, "r+b" if size else "wb", buffering=0)  # noqa: SIM115
        self.file.truncate(size)
        self.file.seek(size)

    def damaged(self, flaw: str) -> ValueError:
        """Return an error for a file that is not as the run left it."""
        return ValueError(Message(f"{self.path} is damaged: {flaw}; ", RESTART))

    def write(self, data: Any) -> None:
        """Append all of `data`."""
        if not memoryview(data).nbytes:
            return
        left = memoryview(data).cast("B")
        while left:
            try:
                written = self.file.write(left)
            except OSError as error:  # a full disk: the system does not name the file
                raise OSError(error.errno, error.strerror, str(self.path)) from None
            self.size += written
            left = left[written:]

    def overwrite(self, data: bytes, at: int = 0) -> None:
        """Write over earlier bytes."""
        self.file.seek(at)
        self.file.write(data)
        self.file.seek(self.size)

    def read(self, at: int, count: int) -> bytes:
        """Return earlier bytes."""
        self.file.seek(at)
        data: bytes = self.file.read(count)
        self.file.seek(self.size)
        return data

    def cut(self, size: int) -> None:
        """Cut the file back to an earlier size."""
        self.file.truncate(size)
        self.file.seek(size)
        self.size = size

    def sync(self) -> None:
        """Wait until all of it is on the disk."""
        os.fsync(self.file.fileno())

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def known_sizes(folder: Path, names: Collection[str], sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the size of each file that an earlier run left, or 0 for all in a new run.

    Raises
    ------
    ValueError
        The sizes are of other files.
    """
    if not sizes:
        return dict.fromkeys(names, 0)
    if set(sizes) != set(names):
        raise ValueError(
            Message(
                f"{folder} is damaged: expected the files {', '.join(sorted(names))}, its journal "
                f"names {', '.join(sorted(sizes))}; ",
                RESTART,
            )
        )
    return dict(sizes)
