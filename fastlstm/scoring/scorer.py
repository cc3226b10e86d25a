"""From a chunk as it was read to the results that are written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastlstm.messages import Message, Option
from fastlstm.model import LSTM
from fastlstm.scoring.bad_rows import BadRow, find_bad_rows, named_rows, with_remedy
from fastlstm.scoring.chunk import Chunk, Scored
from fastlstm.scoring.outputs import Wanted, compute, spoil, without

__all__ = ["Scorer"]


@dataclass(frozen=True)
class Scorer:
    """A model, and what is wanted of it, in the words of `fastlstm.score`."""

    model: LSTM
    wanted: Wanted
    max_steps: int | None
    on_bad_row: str
    threads: int | None

    def bad_rows(self, chunk: Chunk) -> dict[int, BadRow]:
        """Return what is wrong with which rows, and make the chunk safe to compute."""
        return named_rows(chunk, find_bad_rows(self.model, chunk, self.max_steps))

    def refuse(self, bad: dict[int, BadRow], source: str, first: int) -> None:
        """Raise an error for the first bad row, if that is the policy.

        Parameters
        ----------
        bad
            As `bad_rows` gives them.
        source
            What was read.
        first
            The number of the chunk's first row in the source.

        Raises
        ------
        ValueError
            There is a bad row, and the policy is "error".
        """
        if bad and self.on_bad_row == "error":
            row = min(bad)
            more = f" ({len(bad) - 1} more in its chunk)" if len(bad) > 1 else ""
            reason, name = bad[row].reason, f" ({bad[row].name})" if bad[row].name else ""
            raise ValueError(
                Message(
                    f"{source}: sequence {first + row}{name} is bad: ",
                    with_remedy(reason),
                    f"{more}; ",
                    Option("on_bad_row", "nan"),
                    " writes NaN for it, ",
                    Option("on_bad_row", "skip"),
                    " leaves it out",
                )
            )

    def score(self, chunk: Chunk, first: int, bad: dict[int, BadRow]) -> Scored:
        """Return a chunk's results; bad rows are NaN or left out."""
        values, lengths = compute(self.model, chunk, self.wanted, self.threads)
        rows = np.arange(first, first + chunk.count)
        scored = Scored(rows, values, lengths, chunk.kept, too_short=chunk.too_short)
        if bad and self.on_bad_row == "nan":
            spoil(scored, list(bad))
        return without(scored, list(bad)) if bad and self.on_bad_row == "skip" else scored
