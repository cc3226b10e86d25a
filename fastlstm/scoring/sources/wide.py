"""Rows whose cells are the steps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastlstm.calls.sources import count_of
from fastlstm.messages import Message, Option
from fastlstm.model import LSTM
from fastlstm.network.embedding import Embedding
from fastlstm.scoring.sources import Layout
from fastlstm.scoring.sources.lists import ONE_ROW_A_STEP, is_numeric, numbers
from fastlstm.scoring.sources.sequences import NULL, UNPARSABLE, Sequences
from fastlstm.scoring.sources.table_files import Batch, Table, pyarrow, refuse_index, shown

__all__ = ["WideRows"]


class WideRows:
    """Finds a sequence in the cells of each row; see `Steps`.

    All columns but `id` and `keep` are steps, the I inputs of a step side by side. Empty cells at
    the end shorten the sequence.

    Raises
    ------
    ValueError
        A column does not hold numbers, or there are not I columns a step.
    """

    equal = False

    def __init__(self, table: Table, layout: Layout, model: LSTM) -> None:
        pa = pyarrow()
        embeds = isinstance(model.layers[0], Embedding)
        self.inputs = model.input_size
        self.dtype = np.dtype(np.int64 if embeds else np.float64)
        others = {layout.id, *layout.keep}
        fields = [field for field in table.schema if field.name not in others]
        names = [field.name for field in fields]
        otherwise = Message("name it in the first line and give that name as ", Option("id"))
        refuse_index(table.name, names, otherwise)
        texts = [f.name for f in fields if not is_numeric(table, f.name, f.type)]
        if texts or len(fields) % self.inputs:
            wrong = f"no numbers in {', '.join(texts)}" if texts else f"{len(fields)} of them"
            raise ValueError(
                Message(
                    f"{table.name}: expected columns of numbers, "
                    f"{count_of(self.inputs, 'column')} a step, beside ",
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
        self.steps: int | None = len(fields) // self.inputs

    def sequences(self, batch: Batch) -> Sequences:
        """See `Steps`."""
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
