"""A group of rows on its way through a program, in the memory of one thread."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.engine.kernel.loop import STOPPED
from fastlstm.engine.plan.program import Program, Value
from fastlstm.engine.run.call import NO_INTEGERS, new_counter
from fastlstm.engine.run.packed import Packed
from fastlstm.engine.run.source import Outputs, Rows, Source
from fastlstm.engine.run.state import Pair

__all__ = ["Group", "Groups", "Task", "Worker"]

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]


class Task(NamedTuple):
    """What a call asks for, with the arguments of `Engine.run`."""

    program: Program
    packed: Packed
    source: Source
    inputs: tuple[Array, Integers] | None  # of the source in place, if they can be read there
    start: Pair | None
    outputs: Outputs


class Groups(NamedTuple):
    """How rows are divided into groups, which threads draw."""

    starts: Sequence[int]  # the first row of every group, and last the number of rows
    piece_steps: int  # how many steps of a group are read and walked at once
    tile_rows: int  # tiles are chosen for this many rows
    tile_threads: int  # and this many threads


class Worker:
    """A thread that works on a job, and its memory."""

    def __init__(self) -> None:
        self.counter = new_counter()  # of the kernel that it is in
        self.stopped = False
        self.buffers: dict[int, Array] = {}  # by their number

    def buffer(self, number: int, size: int, dtype: np.dtype[Any]) -> Array:
        """Return the thread's memory for a buffer, whose content is arbitrary."""
        buffer = self.buffers.get(number)
        if buffer is None or buffer.size < size:
            # zeros: ids past a row's length, which are never written, must be valid
            buffer = self.buffers[number] = (np.empty if number else np.zeros)(size, dtype)
        return buffer[:size]

    def stop(self) -> None:
        """Make it stop, within a block of time steps if it is in a kernel."""
        self.stopped = True
        self.counter[0] = STOPPED


class Group:
    """Some rows that go through the program together.

    Attributes
    ----------
    rows, n : array (n,), int
        The numbers of the rows, and how many there are.
    values, starts : array, array (n,) of int
        The inputs of the rows, flat, and where those of each row begin; without starts, one row
        follows the other.
    lengths : array (n,) or None
        How many of the steps that are being walked are real; None if all `steps` are.
    first, steps : int
        The first step that is being walked, and how many there are. These are the steps and
        lengths of the inputs; `axis` has those of other values.
    state, started : pair or None, bool
        The state of these rows, if it is needed; whether it holds anything yet.
    """

    def __init__(self, task: Task, worker: Worker, rows: Integers, piece_steps: int) -> None:
        self.task, self.worker, self.rows, self.n = task, worker, rows, len(rows)
        source, states = task.source, task.packed.states
        self.selection = as_slice(rows)
        self.ends = None if source.lengths is None else source.lengths[rows]
        self.longest = source.n_steps if self.ends is None else int(self.ends.max())
        self.piece_steps = piece_steps
        self.keeps_state = task.outputs.end is not None or self.longest > piece_steps
        self.keeps_state |= task.program.reads_state
        self.started, self.state = task.start is not None, None
        if task.start is not None:
            self.state = states.take(task.start, source.n_rows, self.selection, self.n)
        elif self.keeps_state:
            self.state = states.zeros(self.n)

    def pieces(self) -> Iterator[int]:
        """Yield the first step of each piece, whose inputs can then be read."""
        for first in range(0, max(self.longest, 1), self.piece_steps):
            self._read(first)
            yield first
            self.started = self.state is not None

    def _read(self, first: int) -> None:
        """Find the inputs from a step on in place, or copy them out."""
        source, packed = self.task.source, self.task.packed
        self.first, self.lengths = first, self.ends
        self.steps = min(self.longest - first, self.piece_steps)
        if self.ends is not None and self.steps < self.longest:
            self.lengths = np.clip(self.ends - first, 0, self.steps)
        self._axes: list[Integers] = []
        if self.task.inputs is None:
            shape = self.n, self.steps, packed.input_size
            self.values = self.worker.buffer(0, math.prod(shape), packed.input_dtype)
            source.copy_into(self.values.reshape(shape), self.selection, first)
            self.starts = NO_INTEGERS
            return
        values, starts = self.task.inputs
        whole = source.n_steps * packed.input_size
        if starts.size:
            self.values, self.starts = values, starts[self.rows]
        elif isinstance(self.selection, slice) and self.steps == source.n_steps:
            rows = self.selection  # each of which ends where the next begins
            self.values, self.starts = values[rows.start * whole : rows.stop * whole], NO_INTEGERS
        else:
            self.values, self.starts = values, self.rows * whole

    def axis(self, number: int) -> tuple[int, Integers | None]:
        """Return how many steps an axis has, and the steps of each row if they differ."""
        if number == 0:
            return self.steps, self.lengths
        if not self._axes:
            whole = np.array([self.steps], np.int64)
            self._axes = self.task.program.steps(whole if self.lengths is None else self.lengths)
        lengths = self._axes[number]
        longest = int(lengths.max(initial=0))
        return longest, None if self.lengths is None else lengths

    def steps_of(self, value: Value) -> int:
        """Return how many steps a value has for each row; 1 if it is a vector."""
        return 1 if value.axis is None or value.repeated else self.axis(value.axis)[0]

    def lengths_of(self, value: Value) -> Integers:
        """Return how many steps of each row are real."""
        assert value.axis is not None
        steps, lengths = self.axis(value.axis)
        return np.full(self.n, steps, np.int64) if lengths is None else lengths

    def array(self, value: Value) -> Array:
        """Return a value, flat; inputs have one row after the other."""
        if value.buffer:
            size = self.n * value.size * self.steps_of(value)
            return self.worker.buffer(value.buffer, size, self.task.packed.dtype)
        if not self.starts.size:
            return self.values
        found = np.zeros((self.n, self.steps, self.task.packed.input_size), self.values.dtype)
        for row, steps in zip(found, self.each_input(), strict=True):
            row[: len(steps)] = steps
        self.values, self.starts = found.reshape(-1), NO_INTEGERS
        return self.values

    def steps_array(self, value: Value) -> Array:
        """Return a value (rows, steps, K); a vector has one step."""
        return self.array(value).reshape(self.n, self.steps_of(value), value.size)

    def each_input(self) -> Iterator[Array]:
        """Yield the inputs (length, I) of each row."""
        width = self.task.packed.input_size
        ends = np.full(self.n, self.steps) if self.lengths is None else self.lengths
        starts = self.starts
        if not starts.size:
            starts = np.arange(self.n, dtype=np.int64) * self.steps * width
        for start, length in zip(starts, ends, strict=True):
            yield self.values[start : start + length * width].reshape(-1, width)

    def write(self) -> None:
        """Write the result, if no walk has written it, and the state to the caller's arrays."""
        outputs, program = self.task.outputs, self.task.program
        if not program.direct:
            result, found = program.result, self.array(program.result)
            if outputs.last is not None:
                outputs.last[self.selection] = found.reshape(self.n, -1)
            elif outputs.sequence is not None:
                self._write_steps(self.steps_array(result), result, outputs.sequence)
        if outputs.end is not None and self.state is not None:
            n_rows, states = self.task.source.n_rows, self.task.packed.states
            states.put(outputs.end, self.state, n_rows, self.selection, self.n)

    def _write_steps(self, found: Array, result: Value, sequence: Array) -> None:
        assert result.axis is not None
        steps, lengths = self.axis(result.axis)
        if lengths is None:
            sequence[self.selection, :steps] = found
            return
        for row, length, numbers in zip(self.rows, lengths, found, strict=True):
            sequence[row, :length] = numbers[:length]


def as_slice(rows: Integers) -> Rows:
    """Return consecutive rows as a slice, which NumPy reads without a copy."""
    if rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
