"""What a model takes: all that a source needs to know of it."""

from __future__ import annotations

from typing import NamedTuple

from fastlstm.calls.sources import count_of
from fastlstm.model import LSTM

__all__ = ["ModelInput"]


class ModelInput(NamedTuple):
    """The numbers that a model reads at each step."""

    inputs: int  # I
    hidden_units: int  # of the first recurrent layer, for messages
    ids: int | None  # 0 ... ids - 1 are the ids of its embedding; None if it has none

    @classmethod
    def of(cls, model: LSTM) -> ModelInput:
        """Return what a model takes."""
        embedding = model.network.embedding
        ids = None if embedding is None else embedding.ids
        return cls(model.input_size, model.recurrent[0].hidden_size, ids)

    def __str__(self) -> str:
        return f"{count_of(self.inputs, 'input')} and {count_of(self.hidden_units, 'hidden unit')}"
