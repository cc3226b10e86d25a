"""What a run did, for people and for programs."""

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
        How many were read, including bad ones and those of the run that was resumed.
    written : int
        Sequences in the destination.
    resumed : int
        How many of the sequences an earlier run had scored.
    seconds : float
        From the first chunk to the finished file, in this run.
    bad_rows : dict
        ``count``, ``reasons`` (each with its count) and ``first``, the numbers of the first ten;
        if sequences have ids, also ``ids``, the ids of these: ``{"user": "u7", "window": 3}``.
    too_short : int
        Sequences with fewer steps than a window, which give no score.
    outputs : dict
        The path of each kind of result, by its name.
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
        """Sequences per second in this run."""
        return (self.sequences - self.resumed) / self.seconds if self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as a dict that JSON can hold."""
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
    """Return what messages call a number of sequences that are too short for a window."""
    return f"{count:,} sequence{'' if count == 1 else 's'} shorter than a window"
