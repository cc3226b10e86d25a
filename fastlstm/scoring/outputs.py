"""What a model gives for a chunk: scores, final states, gates."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.calls.trace import Trace
from fastlstm.model import LSTM
from fastlstm.scoring.chunk import Chunk, Field, Scored

__all__ = ["Wanted", "compute", "fields_of", "scratch_bytes", "spoil", "without"]

Array = npt.NDArray[Any]

GATES = tuple(field.name for field in dataclasses.fields(Trace) if field.name != "lengths")


class Wanted(NamedTuple):
    """Which outputs are written."""

    return_sequences: bool | None  # None: as the model says
    state: bool
    trace: bool


def fields_of(model: LSTM, wanted: Wanted) -> list[Field]:
    """Return the fields that are written, the scores first.

    The final states of all layers stand side by side, layer by layer, each direction by
    direction: for layers of one size ``h_n.reshape(N, L * D, H).swapaxes(0, 1)`` is PyTorch's.
    """
    fields = [Field("score", model.dtype, model.output_size, bool(wanted.return_sequences))]
    if wanted.state:
        cells = [cell for layer in model.recurrent for cell in layer.cells]
        fields.append(Field("h_n", model.dtype, sum(cell.output_size for cell in cells), False))
        fields.append(Field("c_n", model.dtype, sum(cell.hidden_size for cell in cells), False))
    if wanted.trace:
        top = model.recurrent[-1]
        units, outputs = len(top.cells) * top.hidden_size, len(top.cells) * top.cells[0].output_size
        fields += [
            Field(name, model.dtype, outputs if name == "hidden_state" else units, True)
            for name in GATES
        ]
    return fields


def scratch_bytes(model: LSTM, wanted: Wanted) -> int:
    """Return how many bytes `compute` needs for each step beside what it returns.

    Final states may need a call that also returns the last layer's outputs at every step.
    """
    if not wanted.state or _in_one_call(model, wanted):
        return 0
    top = model.recurrent[-1]
    return sum(cell.output_size for cell in top.cells) * model.dtype.itemsize


def _in_one_call(model: LSTM, wanted: Wanted) -> bool:
    """Tell whether one call gives both scores and final states."""
    return not wanted.return_sequences and model.read != "last"


def compute(
    model: LSTM, chunk: Chunk, wanted: Wanted, threads: int | None
) -> tuple[dict[str, Array], npt.NDArray[np.int64] | None]:
    """Score a chunk; return the values by field, and the lengths if rows differ in length."""
    x, lengths = chunk.sequences, chunk.lengths
    values: dict[str, Array] = {}
    if wanted.state and _in_one_call(model, wanted):
        values["score"], state = model._scores_and_state(x, lengths, threads)
    else:
        values["score"] = model.predict(
            x, lengths=lengths, return_sequences=wanted.return_sequences, threads=threads
        )
        if wanted.state:
            _, state = model(x, lengths=lengths, threads=threads)
    if wanted.state:
        for name, parts in (("h_n", [k.h for k in state]), ("c_n", [k.c for k in state])):
            rows = [part.swapaxes(0, 1).reshape(chunk.count, -1) for part in parts]
            values[name] = np.concatenate(rows, axis=1)
    if wanted.trace:
        trace = model.trace(x, lengths=lengths, threads=threads)
        values.update({name: getattr(trace, name) for name in GATES})
    return values, getattr(x, "lengths", lengths)


def spoil(scored: Scored, rows: Sequence[int]) -> None:
    """Write NaN over the results of some rows, at their real steps."""
    scored.bad = rows
    for array in scored.values.values():
        for row in rows:
            steps = slice(None)
            if array.ndim == 3 and scored.lengths is not None and scored.lengths[row]:
                steps = slice(int(scored.lengths[row]))
            array[row, steps] = np.nan


def without(scored: Scored, rows: Sequence[int]) -> Scored:
    """Return the results without some rows."""
    left = np.ones(len(scored.rows), bool)
    left[list(rows)] = False
    kept = scored.kept
    if kept is not None:
        kept = kept.take(np.flatnonzero(left))
    lengths = None if scored.lengths is None else scored.lengths[left]
    values = {name: array[left] for name, array in scored.values.items()}
    return Scored(scored.rows[left], values, lengths, kept, too_short=scored.too_short)
