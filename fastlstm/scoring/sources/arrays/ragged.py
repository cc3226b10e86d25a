"""Sequences of unequal length that are an array of values in a file, and offsets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.calls.ragged import Ragged
from fastlstm.calls.sources import NUMBER_KINDS, count_of
from fastlstm.scoring.chunk import Chunk, MappedFile, Position, Reader
from fastlstm.scoring.sources.arrays.file import ArrayFile
from fastlstm.scoring.sources.layout import Layout
from fastlstm.scoring.sources.model_input import ModelInput

__all__ = ["RaggedReader"]


class RaggedReader(Reader):
    """Reads the sequences ``values[offsets[n]:offsets[n + 1]]``. A position is a sequence's number.

    Parameters
    ----------
    file
        The values (sum of lengths, I), or (sum of lengths,) for a model of one input.
    offsets : array (N + 1,) of int
        As in `Ragged`.
    layout, model
        As in `ArrayReader`.

    Raises
    ------
    TypeError
        Values are not numbers, or offsets not integers.
    ValueError
        They do not fit each other, the layout or the model.
    """

    def __init__(
        self, file: ArrayFile, offsets: npt.NDArray[Any], layout: Layout, model: ModelInput
    ) -> None:
        words = ("column", "id", "time", "features", "keep", "lengths", "window")
        layout.refuse("values and offsets", *words)
        self.file, self.dtype, self.inputs = file, file.dtype, model.inputs
        if self.dtype.kind not in NUMBER_KINDS:
            raise TypeError(f"{file.name}: expected real numbers, got dtype {self.dtype}")
        shape = file.shape
        if (*shape[1:],) != (self.inputs,) and not (self.inputs == 1 and len(shape) == 1):
            raise ValueError(
                f"{file.name}: expected shape (sum of lengths, {self.inputs}), got {shape}: this "
                f"model has {count_of(self.inputs, 'input')}"
            )
        try:  # the offsets are checked against as many values, which take no memory
            self.offsets = Ragged(np.broadcast_to(np.float32(0), shape), offsets).offsets
        except (TypeError, ValueError) as error:
            raise type(error)(f"{file.name}: {error}") from None
        self.lengths = np.diff(self.offsets)
        self.count = len(self.lengths)
        self.steps = int(self.lengths.max(initial=0))
        self.step_bytes = self.inputs * self.dtype.itemsize
        self.held = file.held

    def describe(self) -> str:
        return (
            f"{self.file.name}: {len(self.lengths):,} sequences of up to {self.steps:,} steps, "
            f"{self.dtype}"
        )

    def identity(self) -> dict[str, Any]:
        return self.file.identity()

    def chunks(self, n_bytes: int, position: Position | None) -> Iterator[Chunk]:
        row, offsets = position or 0, self.offsets
        most = max(1, n_bytes // self.step_bytes)
        while row < len(self.lengths):
            # results of every step are padded to the longest sequence, so padded sizes count
            lengths = np.maximum(self.lengths[row : row + most], 1)
            padded = np.maximum.accumulate(lengths) * np.arange(1, len(lengths) + 1)
            last = row + max(1, int(np.searchsorted(padded, most, "right")))
            values = self.file.read(slice(int(offsets[row]), int(offsets[last])), slice(None))
            sequences = Ragged(values, offsets[row : last + 1] - offsets[row])
            yield Chunk(sequences, last - row, last)
            row = last

    def mapped_files(self) -> Sequence[MappedFile]:
        return self.file.mapped_files()

    def close(self) -> None:
        self.file.close()
