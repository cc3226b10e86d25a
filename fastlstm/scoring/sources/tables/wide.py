"""Rows whose cells are the steps of a sequence."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastlstm.calls.sources import count_of
from fastlstm.messages import Message, Option
from fastlstm.scoring.sources.layout import Layout
from fastlstm.scoring.sources.model_input import ModelInput
from fastlstm.scoring.sources.tables.columns import import_pyarrow, numbers, refuse_index, shown
from fastlstm.scoring.sources.tables.cutter import NULL, UNPARSABLE, Sequences
from fastlstm.scoring.sources.tables.lists import ONE_ROW_A_STEP
from fastlstm.scoring.sources.tables.row_a_sequence import SequenceColumns
from fastlstm.scoring.sources.tables.table import Batch, Table

__all__ = ["WideRows"]


class WideRows(SequenceColumns):
    """Finds a sequence in the cells of each row.

    All columns but `id` and `keep` hold steps, the I inputs of a step side by side. Empty cells
    at the end shorten the sequence.

    Raises
    ------
    ValueError
        A column does not hold numbers, or there are not I columns for each step.
    """

    equal = False

    def __init__(self, table: Table, layout: Layout, model: ModelInput) -> None:
        pa = import_pyarrow()
        embeds = model.ids is not None
        self.inputs = model.inputs
        self.dtype = np.dtype(np.int64 if embeds else np.float64)
        others = {layout.id, *layout.keep}
        fields = [field for field in table.schema if field.name not in others]
        names = [field.name for field in fields]
        otherwise = Message("name it in the first line, and give that name as ", Option("id"))
        refuse_index(table.name, names, otherwise)
        texts = [f.name for f in fields if not table.is_numeric(f)]
        if texts or len(fields) % self.inputs:
            wrong = f"text in {', '.join(texts)}" if texts else count_of(len(fields), "column")
            raise ValueError(
                Message(
                    f"{table.name}: expected {count_of(self.inputs, 'column')} of numbers for each "
                    "step, beside ",
                    Option("id"),
                    " and ",
                    Option("keep"),
                    f"; got {wrong}: the columns are {shown(table.schema)}. ",
                    ONE_ROW_A_STEP,
                )
            )
        kind = pa.int64() if embeds else pa.float64()
        self.types = {field.name: kind for field in fields}
        for name in self.types:
            table.type_of(name, "a step")
        self.steps = len(fields) // self.inputs

    def sequences(self, batch: Batch) -> Sequences:
        assert self.steps is not None
        n, shape = len(batch), (len(batch), self.steps, self.inputs)
        cells = np.empty((n, len(self.types)), self.dtype)
        null = np.zeros(cells.shape, bool)
        for k, name in enumerate(self.types):
            cells[:, k], missing = numbers(batch.data.column(name), self.dtype)
            if missing is not None:
                null[:, k] = missing
        steps = null.reshape(shape)
        there: npt.NDArray[np.bool_] = ~np.all(steps, axis=2)
        lengths = np.where(there.any(axis=1), self.steps - np.argmax(there[:, ::-1], axis=1), 0)
        bad = steps.any(axis=2) * np.uint8(NULL)
        unparsable = list(batch.unparsable)
        lengths[unparsable] = self.steps
        bad[unparsable] = UNPARSABLE
        real = np.arange(self.steps) < lengths[:, np.newaxis]
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        if real.all():
            values, bad = cells.reshape(-1, self.inputs), bad.reshape(-1)
        else:
            values, bad = cells.reshape(shape)[real], bad[real]
        return Sequences(values, offsets, bad if bad.any() else None)
