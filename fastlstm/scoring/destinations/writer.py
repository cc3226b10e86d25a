"""What writes results, and what it has to know of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from fastlstm.scoring.chunk import Field, Scored
from fastlstm.scoring.partial import Partial

__all__ = ["MakesWriter", "Results", "StreamWriter", "Writer"]


class Results(NamedTuple):
    """What is known of the results before any is computed."""

    suffix: str  # of the destination
    fields: Sequence[Field]  # at least one
    steps: int | None  # the most of a sequence, if known
    equal: bool  # all sequences have as many
    kept: Any  # pyarrow.Schema of the columns that are carried along, or None


class StreamWriter(Protocol):
    """Writes results to standard output."""

    def write(self, scored: Scored) -> None:
        """Write the results of a chunk."""

    def finish(self) -> None:
        """Write what belongs at the end."""


class Writer(Protocol):
    """Writes results to files that grow in a `Partial`, and can be cut back to a known size."""

    def open(self, sizes: Mapping[str, int], written: int) -> None:
        """Open the files, before anything is written.

        Parameters
        ----------
        sizes
            The bytes of each file that an earlier run left; empty in a new run.
        written
            How many sequences they hold.

        Raises
        ------
        ValueError
            A file is missing, or cannot hold that many. Any that were opened are closed.
        """

    def write(self, scored: Scored) -> None:
        """Append the results of a chunk."""

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each file, including all chunks written so far."""

    def sync(self) -> None:
        """Wait until all is on the disk."""

    def cut(self, sizes: Mapping[str, int]) -> None:
        """Cut the files back to sizes that were returned earlier."""

    def finish(self, written: int) -> None:
        """Complete the files, on the disk, for a number of sequences. It may be interrupted."""

    def targets(self) -> dict[str, Path]:
        """Return where each complete file belongs, by its name; the destination comes last.

        The files need not be open.
        """

    def close(self) -> None:
        """Close the files."""


MakesWriter = Callable[[Partial, Results], Writer]
