"""What a run did, for people and for machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from fastlstm.scoring.bad_rows import row_name

__all__ = ["Summary", "shorter_than_a_window"]


@dataclass(frozen=True)
class Summary:
    """What `fastlstm.score` did.

    Parameters
    ----------
    source, destination : str
        What was read and written.
    sequences : int
        Read, the bad ones included, those of earlier runs that were taken up included.
    written : int
        Sequences in the destination.
    resumed : int
        How many of those read an earlier run had done.
    seconds : float
        From the first chunk to the finished file, in this run.
    bad_rows : dict
        ``count``, ``reasons`` (with a count each) and ``first``, the numbers of the first ten;
        where they have an id, ``ids`` tells the same ten by it: ``{"user": "u7", "window": 3}``.
    too_short : int
        Sequences that have fewer steps than a window: nothing is scored of them.
    outputs : dict
        Where each kind of result is: a path by its name.
    """

    source: str
    destination: str
    sequences: int
    written: int
    resumed: int
    seconds: float
    bad_rows: dict[str, Any] = field(default_factory=dict)
    too_short: int = 0
    outputs: dict[str, str] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Sequences a second of this run."""
        return (self.sequences - self.resumed) / self.seconds if self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return it as what JSON can say."""
        return {**asdict(self), "rate": self.rate}

    def __str__(self) -> str:
        where = "standard output" if self.destination == "-" else self.destination
        text = f"{where}: {self.written:,} sequences in {self.seconds:.2f} s"
        if self.resumed:
            text += f", {self.resumed:,} of them from an earlier run"
        if self.bad_rows["count"]:
            reasons = ", ".join(f"{n:,} {reason}" for reason, n in self.bad_rows["reasons"].items())
            ids = self.bad_rows.get("ids")
            first = ", ".join(map(row_name, ids) if ids else map(str, self.bad_rows["first"]))
            text += f"; {self.bad_rows['count']:,} bad rows ({reasons}; first: {first})"
        if self.too_short:
            text += f"; {shorter_than_a_window(self.too_short)} left out"
        return text


def shorter_than_a_window(count: int) -> str:
    """Say how many sequences no window fits into."""
    return f"{count:,} sequence{'' if count == 1 else 's'} shorter than a window"
