"""How far a run has come: entered chunk by chunk, written down when it is on the disk."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fastlstm.scoring.bad_rows import BadRow, BadRows
from fastlstm.scoring.chunk import Position, Scored
from fastlstm.scoring.destinations.writer import Writer
from fastlstm.scoring.partial import Partial

__all__ = ["Entry", "Ledger"]

# Waiting for the disk costs little this often, and no more than this is lost.
SECONDS_BETWEEN_COMMITS = 2.0

# results, sequences read for them, where reading goes on, and the bad rows among them
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
    targets: dict[str, Path] = field(default_factory=dict)
    resumed: int = 0
    on_bad_row: str = "error"
    moving: bool = False
    writer: Any = None
    partial: Partial | None = None
    committed: float = float("-inf")

    @classmethod
    def from_journal(cls, journal: dict[str, Any] | None, on_bad_row: str) -> Ledger:
        """Take up what a journal says, or begin.

        Raises
        ------
        ValueError
            If bad rows were treated otherwise: a run that met none yet may change its mind.
        """
        if journal is None:
            return cls(on_bad_row=on_bad_row)
        before, bad = journal["on_bad_row"], BadRows(**journal["bad"])
        if before != on_bad_row and bad.count:
            raise ValueError(
                f"cannot resume: on_bad_row was {before!r} for {bad.count} rows, is now "
                f"{on_bad_row!r}"
            )
        return cls(
            position=journal["position"],
            read=journal["read"],
            written=journal["written"],
            bad=bad,
            too_short=journal["too_short"],
            sizes=journal["sizes"],
            targets={name: Path(path) for name, path in journal["targets"].items()},
            resumed=journal["read"],
            on_bad_row=on_bad_row,
            moving=journal["moving"],
        )

    def keep(self, partial: Partial, writer: Writer) -> None:
        """Write to these from now on."""
        self.partial, self.writer = partial, writer

    def enter(self, entry: Entry) -> None:
        """Write a chunk's results; it is a thread of its own that does."""
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
        """Wait for the disk, and write down what is there."""
        self.writer.sync()
        self._write_down()

    def _write_down(self) -> None:
        assert self.partial is not None
        self.partial.commit(
            {
                "position": self.position,
                "read": self.read,
                "written": self.written,
                "bad": asdict(self.bad),
                "too_short": self.too_short,
                "sizes": self.sizes,
                "targets": {name: str(path) for name, path in self.targets.items()},
                "on_bad_row": self.on_bad_row,
                "moving": self.moving,
            }
        )
        self.committed = time.monotonic()

    def rescue(self) -> None:
        """Write down the last chunk that is whole, when something went wrong."""
        if self.partial is None or self.read == self.resumed:
            return
        # a full disk may refuse even that: then an earlier journal stands, which is as true
        with suppress(OSError):
            self.writer.cut(self.sizes)
            self.commit()

    def finish(self) -> None:
        """Complete the files, and write down that they only need to be moved."""
        self.sizes = self.writer.sizes()
        self.commit()
        self.writer.finish(self.written)
        self.targets = self.writer.targets()
        self.moving = True
        self._write_down()
