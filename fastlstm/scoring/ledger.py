"""How far a run has come: entered chunk by chunk, and recorded when it is on the disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fastlstm.calls.sources import count_of
from fastlstm.messages import Message, Option
from fastlstm.scoring.bad_rows import POLICIES, BadRow, BadRows
from fastlstm.scoring.chunk import Position, Scored
from fastlstm.scoring.destinations.writer import Writer
from fastlstm.scoring.partial import RESTART, Partial

__all__ = ["Entry", "Ledger"]

# How much work a crash may lose. Waiting for the disk this often costs little.
SECONDS_BETWEEN_COMMITS = 2.0

MOST_DEPTH = 4  # of lists in a position

# the results of a chunk, how many sequences it had, where the next begins, and its bad rows
Entry = tuple[Scored, int, Position, dict[int, BadRow]]


@dataclass
class Ledger:
    """What is done, and the files that hold it."""

    position: Position = None
    read: int = 0
    written: int = 0
    bad: BadRows = field(default_factory=BadRows)
    too_short: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    finished: dict[str, int] = field(default_factory=dict)  # bytes of complete files
    targets: dict[str, Path] = field(default_factory=dict)
    resumed: int = 0
    on_bad_row: str = "error"
    moving: bool = False
    writer: Any = None
    partial: Partial | None = None
    committed: float = float("-inf")

    @classmethod
    def resuming(cls, partial: Partial, on_bad_row: str) -> Ledger:
        """Return a ledger that goes on where the journal of a partial result ends, or a new one.

        Raises
        ------
        ValueError
            The journal is damaged; or there were bad rows, and another policy was applied to them.
        """
        if partial.journal is None:
            return cls(on_bad_row=on_bad_row)
        try:
            before = _Journal(partial.journal)
        except (KeyError, TypeError, ValueError) as error:
            raise partial.damaged(f"journal.json contradicts itself: {error}") from None
        if before.on_bad_row != on_bad_row and before.bad.count:
            raise ValueError(
                Message(
                    "cannot resume with ",
                    Option("on_bad_row", on_bad_row),
                    ": so far ",
                    Option("on_bad_row", before.on_bad_row),
                    f" was applied to {count_of(before.bad.count, 'bad row')}; ",
                    RESTART,
                )
            )
        return cls(
            position=before.position,
            read=before.read,
            written=before.written,
            bad=before.bad,
            too_short=before.too_short,
            sizes=before.sizes,
            finished=before.finished,
            resumed=before.read,
            on_bad_row=on_bad_row,
            moving=before.moving,
        )

    def keep(self, partial: Partial, writer: Writer) -> None:
        """Write here from now on."""
        self.partial, self.writer = partial, writer

    def enter(self, entry: Entry) -> None:
        """Write the results of a chunk. The writing thread calls this."""
        scored, count, position, bad = entry
        self.writer.write(scored)
        first = self.read
        for row, what in sorted(bad.items()):
            self.bad.add(first + row, what)
        self.too_short += scored.too_short
        self.position, self.read = position, first + count
        self.written += len(scored.rows)
        if self.partial is None:
            return
        self.sizes = self.writer.sizes()
        if time.monotonic() - self.committed > SECONDS_BETWEEN_COMMITS:
            self.commit()

    def commit(self) -> None:
        """Wait until all is on the disk, and record it."""
        self.writer.sync()
        self._record()

    def _record(self) -> None:
        assert self.partial is not None
        self.partial.commit(
            {
                "position": self.position,
                "read": self.read,
                "written": self.written,
                "bad": asdict(self.bad),
                "too_short": self.too_short,
                "sizes": self.sizes,
                "finished": self.finished,
                "on_bad_row": self.on_bad_row,
                "moving": self.moving,
            }
        )
        self.committed = time.monotonic()

    def rescue(self) -> None:
        """Record the last complete chunk after something went wrong."""
        if self.partial is None or self.read == self.resumed:
            return
        # a full disk may refuse even this; then an earlier journal stands, which is still true
        with suppress(OSError):
            self.writer.cut(self.sizes)
            self.commit()

    def finish(self, check: Callable[[], None]) -> None:
        """Complete the files, and record that they only need to be moved.

        Parameters
        ----------
        check
            Called when all results are on the disk; it raises an error if they must not be used.
        """
        assert self.partial is not None
        self.sizes = self.writer.sizes()
        self.commit()
        check()
        self.writer.finish(self.written)
        self.finished = self.partial.sizes(self.targets)
        self.moving = True
        self._record()


class _Journal:
    """What a journal says, checked.

    Raises
    ------
    KeyError, TypeError, ValueError
        It lacks an entry, or an entry is impossible.
    """

    def __init__(self, journal: Mapping[str, Any]) -> None:
        self.read, self.written = _count(journal["read"]), _count(journal["written"])
        self.position: Position = journal["position"]
        _check_position(self.position)
        bad = journal["bad"]
        self.bad = BadRows(
            _count(bad["count"]),
            _counts(bad["reasons"]),
            [_count(row) for row in bad["first"]],
            [_where(row) for row in bad["ids"]],
        )
        self.too_short = _count(journal["too_short"])
        self.on_bad_row: str = journal["on_bad_row"]
        if self.on_bad_row not in POLICIES:
            raise ValueError(f"on_bad_row {self.on_bad_row!r}")
        left_out = self.bad.count if self.on_bad_row == "skip" else 0
        if self.written != self.read - left_out:
            raise ValueError(f"{self.read} sequences were read, {self.written} written")
        self.sizes, self.finished = _counts(journal["sizes"]), _counts(journal["finished"])
        if not self.sizes:
            raise ValueError("no files")
        for name in (*self.sizes, *self.finished):
            if name in ("", ".", "..") or set(name) & set("/\\:\0"):
                raise ValueError(f"{name!r} is not a plain file name")
        self.moving: bool = journal["moving"]
        if not isinstance(self.moving, bool):
            raise TypeError("moving is neither true nor false")


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError(f"expected a number of 0 or more, got {value!r:.80}")
    return value


def _counts(values: Any) -> dict[str, int]:
    if not isinstance(values, dict):
        raise TypeError(f"expected numbers by name, got {values!r:.80}")
    return {str(name): _count(value) for name, value in values.items()}


def _where(values: Any) -> dict[str, Any]:
    if not isinstance(values, dict) or not all(
        value is None or isinstance(value, str | int | float) for value in values.values()
    ):
        raise TypeError(f"expected the id of a row, got {values!r:.80}")
    return values


def _check_position(position: Any, depth: int = 0) -> None:
    """Refuse anything but what readers use as positions: null, and counts in nested lists."""
    if position is None and depth < MOST_DEPTH:
        return
    if isinstance(position, list) and depth < MOST_DEPTH:
        for part in position:
            _check_position(part, depth + 1)
    else:
        _count(position)
