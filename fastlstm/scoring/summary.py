"""What a run did, for people and for machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Summary"]


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
        ``count``, ``reasons`` (with a count each) and ``first``, the numbers of the first ten.
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
            first = ", ".join(map(str, self.bad_rows["first"]))
            text += f"; {self.bad_rows['count']:,} bad rows ({reasons}; first: {first})"
        return text
