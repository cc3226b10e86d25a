"""A column of lists, each a sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.calls.sources import count_of
from fastlstm.messages import Message, Option
from fastlstm.scoring.sources.layout import Layout
from fastlstm.scoring.sources.model_input import ModelInput
from fastlstm.scoring.sources.tables.columns import import_pyarrow, number_dtype, numbers, shown
from fastlstm.scoring.sources.tables.cutter import NULL, REASONS, WRONG_INPUTS, Sequences
from fastlstm.scoring.sources.tables.row_a_sequence import SequenceColumns
from fastlstm.scoring.sources.tables.table import Batch, Table

__all__ = ["ONE_ROW_A_STEP", "ListColumn"]

Array = npt.NDArray[Any]

ONE_ROW_A_STEP = Message(
    "A table with one row for each step needs ", Option("time"), " or ", Option("features")
)


class ListColumn(SequenceColumns):
    """Finds sequences in a column of lists.

    A list of numbers is a sequence of one input. A list of lists of I numbers, or of structs of
    I numbers in the order of their fields, is a sequence of I inputs.

    Raises
    ------
    TypeError
        The lists do not hold what the model takes.
    ValueError
        There is no such column, or several and none was named; or it does not fit the model.
    """

    def __init__(self, table: Table, layout: Layout, model: ModelInput) -> None:
        self.inputs = model.inputs
        self.column = layout.column or _only_list(table, {layout.id, *layout.keep})
        kind = table.type_of(self.column, Option("column"))
        self.where = f"{table.name}: column {self.column!r}"
        if not _is_list(kind):
            raise TypeError(
                f"{self.where}: expected lists, each a sequence, got {kind}; the columns are "
                f"{shown(table.schema)}"
            )
        self.types = {self.column: kind}
        self.dtype = self._dtype(kind, model)
        fixed = import_pyarrow().types.is_fixed_size_list(kind)
        self.steps = kind.list_size if fixed else None
        self.equal = fixed

    def _dtype(self, kind: Any, model: ModelInput) -> np.dtype[Any]:
        kinds = import_pyarrow().types
        inner = kind.value_type
        fits: bool = self.inputs == 1
        if _is_list(inner):
            fits = not kinds.is_fixed_size_list(inner) or inner.list_size == self.inputs
            dtype = number_dtype(inner.value_type)
        elif kinds.is_struct(inner):
            fits = inner.num_fields == self.inputs
            found = [number_dtype(field.type) for field in inner]
            known = [k for k in found if k is not None]  # None == float64, for NumPy
            dtype = np.result_type(*known) if len(known) == len(found) > 0 else None
        else:
            dtype = number_dtype(inner)
        if dtype is None:
            raise TypeError(f"{self.where}: expected lists of numbers, got {kind}")
        if not fits:
            raise ValueError(
                f"{self.where}: expected lists of steps with {count_of(self.inputs, 'input')}, "
                f"got {kind}: this model has {model}"
            )
        if model.ids is not None and dtype.kind not in "iu":
            raise TypeError(
                f"{self.where}: expected integer ids for the model's embedding, got {kind}"
            )
        return dtype

    def sequences(self, batch: Batch) -> Sequences:
        array = batch.data.column(self.column)
        steps, offsets = _elements(array)
        if batch.address(0) == (0, 0, 0) and _is_list(steps.type):
            self._check_inputs(np.diff(_elements(steps)[1]))
        values, bad = self._values(steps)
        found = Sequences(values, offsets, bad)
        if array.null_count:
            null = array.is_null().to_numpy(zero_copy_only=False)
            _mark(found, null, self.equal)
        return found

    def _values(self, steps: Any) -> tuple[Array, Any]:
        """Return the numbers of all steps (L, I), and what is wrong with each step."""
        kinds = import_pyarrow().types
        if kinds.is_struct(steps.type):
            columns = [numbers(column, self.dtype) for column in steps.flatten()]
            nulls = [null for _, null in columns if null is not None]
            bad = np.any(nulls, axis=0) * np.uint8(NULL) if nulls else None
            return np.stack([values for values, _ in columns], axis=1), bad
        if not _is_list(steps.type):
            values, null = numbers(steps, self.dtype)
            return values.reshape(-1, 1), None if null is None else null * np.uint8(NULL)
        inner, offsets = _elements(steps)
        values, null = numbers(inner, self.dtype)
        right = np.diff(offsets) == self.inputs
        if right.all() and null is None and not steps.null_count:
            return values[offsets[0] : offsets[-1]].reshape(-1, self.inputs), None
        bad = np.where(right, 0, WRONG_INPUTS).astype(np.uint8)
        places = offsets[:-1][right][:, np.newaxis] + np.arange(self.inputs)
        whole = np.zeros((len(steps), self.inputs), self.dtype)
        whole[right] = values[places]
        if null is not None:
            bad[right] = null[places].any(axis=1) * np.uint8(NULL)
        if steps.null_count:
            missing = steps.is_null().to_numpy(zero_copy_only=False)
            bad[missing], whole[missing] = NULL, 0
        return whole, bad

    def _check_inputs(self, sizes: Array) -> None:
        """Refuse a table if its very first step has another number of inputs."""
        if len(sizes) and sizes[0] not in (0, self.inputs):
            raise ValueError(
                f"{self.where}: expected steps of {count_of(self.inputs, 'input')}, got "
                f"{sizes[0]} at the first one"
            )


def _elements(array: Any) -> tuple[Any, npt.NDArray[np.int64]]:
    """Return the elements of lists, and offsets from 0 on. Null lists are empty."""
    if not import_pyarrow().types.is_fixed_size_list(array.type):
        offsets = array.offsets.to_numpy().astype(np.int64)
        if array.null_count:  # a null list may have elements all the same
            lengths = np.diff(offsets)
            if lengths[array.is_null().to_numpy(zero_copy_only=False)].any():
                return array.flatten(), _offsets(array)
        start, stop = int(offsets[0]), int(offsets[-1])
        return array.values.slice(start, stop - start), offsets - start
    size = array.type.list_size
    inside = array.values.slice(array.offset * size, len(array) * size)
    return inside, np.arange(len(array) + 1, dtype=np.int64) * size


def _offsets(array: Any) -> npt.NDArray[np.int64]:
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _mark(found: Sequences, null: Array, equal: bool) -> None:
    """Mark null rows as broken; where all have the same length, all of their steps as bad."""
    if not equal:
        found.broken = dict.fromkeys(np.flatnonzero(null).tolist(), REASONS[NULL])
        return
    steps = np.repeat(null, np.diff(found.offsets))
    if found.bad is None:
        found.bad = np.zeros(len(steps), np.uint8)
    found.bad[steps] = NULL
    found.values = np.where(steps[:, np.newaxis], found.values.dtype.type(0), found.values)


def _only_list(table: Table, others: set[str | None]) -> str:
    names = [f.name for f in table.schema if _is_list(f.type) and f.name not in others]
    if len(names) != 1:
        found = f"{len(names)} of them" if names else "none"
        raise ValueError(
            Message(
                f"{table.name}: expected one column of lists, each a sequence, or its name as ",
                Option("column"),
                f"; got {found}: the columns are {shown(table.schema)}. ",
                ONE_ROW_A_STEP,
            )
        )
    return str(names[0])


def _is_list(kind: Any) -> bool:
    kinds = import_pyarrow().types
    return bool(kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind))
