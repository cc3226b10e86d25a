"""Reading: from a sequence to a vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal, get_args

from fastlstm.network.weights import Weights

__all__ = ["READS", "How", "Read"]

How = Literal["final", "last", "max", "mean", "sum"]
READS: Final[tuple[str, ...]] = get_args(How)


@dataclass(frozen=True, eq=False)
class Read(Weights):
    """Read one vector of each sequence.

    Parameters
    ----------
    how : {"final", "last", "max", "mean", "sum"}
        ``"final"``: the last hidden states of all directions. ``"last"``: the outputs at the last
        real step, where a reverse direction has read only that step. ``"max"``, ``"mean"`` or
        ``"sum"``: of the outputs over all real steps. Behind other parts than recurrent layers,
        ``"final"`` is ``"last"``.

    Raises
    ------
    ValueError
        If `how` has another value.
    """

    takes: ClassVar = "sequence"
    gives: ClassVar = "vector"

    how: str = "final"

    def __post_init__(self) -> None:
        if self.how not in READS:
            raise ValueError(f"read: expected one of {READS}, got {self.how!r}")
