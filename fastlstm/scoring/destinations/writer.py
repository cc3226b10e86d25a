"""What writes results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from fastlstm.scoring.chunk import Scored

__all__ = ["StreamWriter", "Writer"]


class StreamWriter(Protocol):
    """Writes results to standard output."""

    def write(self, scored: Scored) -> None:
        """Append the results of a chunk."""

    def finish(self) -> None:
        """Write what stands at the end."""


class Writer(Protocol):
    """Writes results to files that grow in a `Partial`, and can be cut back to a known size."""

    def open(self, sizes: Mapping[str, int], written: int) -> None:
        """Open the files, before anything is written.

        Parameters
        ----------
        sizes
            Bytes of each file that an earlier run left, if one is taken up.
        written
            How many sequences they hold.

        Raises
        ------
        ValueError
            They are not there, or cannot hold so many. What has been opened is closed.
        """

    def write(self, scored: Scored) -> None:
        """Append the results of a chunk."""

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each file, all chunks written so far included."""

    def sync(self) -> None:
        """Wait until all is on the disk."""

    def cut(self, sizes: Mapping[str, int]) -> None:
        """Cut the files back to sizes that were returned earlier."""

    def finish(self, written: int) -> None:
        """Make the finished files of so many sequences, on the disk; it may be interrupted."""

    def targets(self) -> dict[str, Path]:
        """Return where each finished file belongs, by its name; the destination last.

        It needs no open files.
        """

    def close(self) -> None:
        """Close the files."""
