"""What a model gives for a chunk: scores, final states, gates."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.calls.trace import Trace
from fastlstm.messages import Message, Option
from fastlstm.model import LSTM
from fastlstm.network.reading import Read
from fastlstm.scoring.chunk import Chunk, Field, Scored

__all__ = [
    "Wanted",
    "check_wanted",
    "compute",
    "fields_of",
    "most_steps",
    "scratch_bytes",
    "spoil",
    "steps_of",
    "steps_of_all",
    "without",
]

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

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


def check_wanted(model: LSTM, wanted: Wanted) -> None:
    """Refuse outputs that the model does not have, or that do not fit side by side.

    Raises
    ------
    UnsupportedModelError
        It has no outputs of every step.
    ValueError
        Its outputs have other steps than the gates of its last layer.
    """
    if not wanted.return_sequences:
        return
    model.network.check_every_step()
    if wanted.trace and not model.network.keeps_steps:
        some = np.arange(4096)
        scores, gates = (
            steps_of(model, Wanted(every, False, not every), some) for every in (True, False)
        )
        if not np.array_equal(scores, gates):
            raise ValueError(
                Message(
                    "the outputs of every step have other steps than the last layer, whose gates "
                    "are traced: ",
                    Option("return_sequences", True),
                    " and ",
                    Option("trace", True),
                    " need a run each",
                )
            )


def steps_of(model: LSTM, wanted: Wanted, lengths: Integers) -> Integers:
    """Return how many steps the results of every step have, of sequences of these lengths."""
    network = model.network
    if network.keeps_steps:
        return lengths
    at = network.read_at - 1
    if not wanted.return_sequences:
        top = network.recurrent[-1]
        at = max(i for i, part in enumerate(network.parts) if part is top)
    found = network.steps(lengths).value(at)
    assert found is not None
    return found


def steps_of_all(model: LSTM, wanted: Wanted) -> int | None:
    """Return how many steps the results of every step have if all sequences have as many."""
    of_none = int(steps_of(model, wanted, np.zeros(1, np.int64))[0])
    return of_none or None  # steps that do not come from the sequence are there without one


def most_steps(model: LSTM, wanted: Wanted, steps: int) -> int:
    """Return the most steps of a result, of sequences that have at most so many."""
    # a slice can leave more of a shorter sequence
    shorter = np.arange(min(steps, 4096))
    return int(steps_of(model, wanted, np.append(shorter, steps)).max())


def scratch_bytes(model: LSTM, wanted: Wanted, steps: int) -> int:
    """Return how many bytes `compute` needs for a sequence beside what it returns.

    Final states may need a call that also returns the last layer's outputs at every step.

    Parameters
    ----------
    model, wanted
        As for `compute`.
    steps
        The most steps of a sequence.
    """
    if not wanted.state or _in_one_call(model, wanted):
        return 0
    of_layer = most_steps(model, Wanted(False, False, True), steps)
    return of_layer * model.network.without_head.output_size * model.dtype.itemsize


def _in_one_call(model: LSTM, wanted: Wanted) -> bool:
    """Tell whether one call gives both scores and final states.

    A reverse direction of which the last step is read is walked over that step alone.
    """
    reads = (part.how for part in model.network.parts if isinstance(part, Read))
    return not wanted.return_sequences and "last" not in reads


def compute(
    model: LSTM, chunk: Chunk, wanted: Wanted, threads: int | None
) -> tuple[dict[str, Array], Integers | None]:
    """Score a chunk; return the values by field, and their steps if rows differ in them.

    Rows of a number of steps that the network does not take get zeros, and no steps.
    """
    network = model.network
    if network.keeps_steps:
        values = _values(model, chunk.sequences, chunk.lengths, wanted, threads)
        return values, getattr(chunk.sequences, "lengths", chunk.lengths)
    lengths = chunk.steps
    refused = network.steps(lengths).refused
    steps = steps_of(model, wanted, lengths)
    if not refused.any():
        values = _values(model, chunk.sequences, chunk.lengths, wanted, threads)
        return values, None if chunk.equal else steps
    taken = np.flatnonzero(~refused)
    fields = fields_of(model, wanted)
    values = {}
    if len(taken):
        values = _values(model, *chunk.rows(taken), wanted, threads)
    spread: dict[str, Array] = {}
    for name, _, width, stepwise in fields:
        shape = [0, width] if stepwise else [width]
        found = values.get(name, np.zeros((0, *shape), model.dtype))
        spread[name] = np.zeros((chunk.count, *found.shape[1:]), found.dtype)
        spread[name][taken] = found
    return spread, np.where(refused, 0, steps)


def _values(
    model: LSTM, x: Any, lengths: Array | None, wanted: Wanted, threads: int | None
) -> dict[str, Array]:
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
            rows = [part.swapaxes(0, 1).reshape(part.shape[1], -1) for part in parts]
            values[name] = np.concatenate(rows, axis=1)
    if wanted.trace:
        trace = model.trace(x, lengths=lengths, threads=threads)
        values.update({name: getattr(trace, name) for name in GATES})
    return values


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
