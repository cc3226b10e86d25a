"""One thread's share of a `ChainJob`: a group of rows on its way through the links.

What passes between links is the thread's own, so that it stays in its caches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from fastlstm.engine.kernel.dense import DenseRows
from fastlstm.engine.plan.chain import Both, Link, Stack, Steps
from fastlstm.engine.plan.cost import Tile
from fastlstm.engine.plan.plan import Plan
from fastlstm.engine.run.call import NO_INTEGERS, new_counter, run_kernel
from fastlstm.engine.run.jobs import as_slice
from fastlstm.engine.run.pooling import pool
from fastlstm.engine.run.states import Pair, StateRows
from fastlstm.network.dense import Dense

if TYPE_CHECKING:
    from fastlstm.engine.run.chain_job import ChainJob

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]


class Network(Protocol):
    """What a job asks of the engine."""

    links: tuple[Link, ...]
    after: tuple[Dense, ...]
    head: tuple[Dense, ...]
    read: str
    skip: int
    dtype: np.dtype[Any]
    input_dtype: np.dtype[Any]
    width: int
    states: StateRows

    def plan(self, stack: Stack, head: Dense | None, tile: Tile, sequences: bool) -> Plan:
        """Return the plan of a stack for one kind of tile."""

    def tile(self, stack: Stack, n_rows: int, n_threads: int, traced: bool) -> Tile:
        """Return the tile that a stack takes."""

    def rows_of(self, dense: Dense) -> DenseRows:
        """Return a dense layer as the engine runs it."""


class _Group:
    """Some rows on their way through the links, in the memory of one thread."""

    def __init__(self, rows: Integers, lengths: Integers | None, n_steps: int) -> None:
        self.rows, self.lengths = rows, lengths
        self.n = len(rows)
        self.steps = n_steps if lengths is None else int(lengths.max())
        self.values: Array = NO_INTEGERS  # what the next link reads, flat
        self.starts = NO_INTEGERS
        self.state: Pair | None = None
        self.started = False


class Worker:
    """One thread's share of a job, and its memory."""

    def __init__(self, job: ChainJob) -> None:
        self.job, self.network = job, job.network
        self.counter = new_counter()
        job.counters.append(self.counter)

    def run(self, rows: Integers) -> None:
        """Score some rows."""
        source, outputs, network = self.job.source, self.job.outputs, self.network
        group = _Group(
            rows, None if source.lengths is None else source.lengths[rows], source.n_steps
        )
        self._read(group)
        inputs = group.values, group.starts
        selection = as_slice(rows)
        group.state = network.states.take(self.job.start, source.n_rows, selection, group.n)
        group.started = group.state is not None
        if group.state is None and outputs.end is not None:
            group.state = network.states.zeros(group.n)
        *before, top = network.links
        for link in before:
            group.values = self._every_step(link, group)
            group.starts = NO_INTEGERS
        if outputs.last is not None:
            y = self._dense(network.head, self._single(top, group))
            if network.skip:
                with np.errstate(all="ignore"):  # a bad row may give inf - inf
                    y += self._skipped(*inputs, group)[:, -1]
            outputs.last[rows] = y
        elif outputs.sequence is not None:
            self._write_every_step(top, group, inputs)
        if outputs.end is not None and group.state is not None and not self.job.stopped:
            network.states.put(outputs.end, group.state, source.n_rows, selection, group.n)

    def _read(self, group: _Group) -> None:
        """Find the group's inputs where they are, or copy them out."""
        job, width = self.job, self.network.width
        if job.in_place is not None:
            group.values, starts = job.in_place
            whole = job.source.n_steps * width
            group.starts = starts[group.rows] if starts.size else group.rows * whole
            return
        shape = group.n, group.steps, width
        group.values = np.zeros(group.n * group.steps * width, self.network.input_dtype)
        job.source.copy_into(group.values.reshape(shape), as_slice(group.rows), 0)
        group.starts = NO_INTEGERS

    def _single(self, top: Link, group: _Group) -> Array:
        """Return what the head reads of the last link: (rows, numbers)."""
        network = self.network
        if network.read in ("max", "mean"):
            values = self._every_step(top, group)
            size = top.output_size
            for dense in network.after:
                values, size = self._dense_rows(dense, values), dense.output_size
            return pool(values.reshape(group.n, group.steps, size), group.lengths, network.read)
        # in a direction that reads from the end, the last step is the first to be read
        last = network.read == "last"
        y = self._of_directions(
            top,
            group.n * top.output_size,
            lambda stack, to: self._walk(
                stack, group, last=to, only_first=last and stack.out_reversed
            ),
        )
        return self._dense(network.after, y.reshape(group.n, -1))

    def _of_directions(self, link: Link, size: int, walk: Callable[[Stack, Array], None]) -> Array:
        """Return flat outputs of a link that `walk` writes, a direction at a time."""
        stacks = stacks_of(link)
        apart = isinstance(link, Both) and link.merge != "concat"
        first = np.empty(size, self.network.dtype)  # side by side, if not apart
        parts = [first, np.empty(size, self.network.dtype) if apart else first]
        for stack, to in zip(stacks, parts, strict=False):
            walk(stack, to)
        if isinstance(link, Both) and apart:
            merge_into(link.merge, parts[1], first)
        return first

    def _write_every_step(self, top: Link, group: _Group, inputs: tuple[Array, Integers]) -> None:
        outputs, network = self.job.outputs, self.network
        sequence = outputs.sequence
        assert sequence is not None
        denses = (*network.after, *network.head)
        merges = isinstance(top, Both) and top.merge != "concat"
        if not denses and not merges and not network.skip:
            for stack in stacks_of(top):
                self._walk(
                    stack, group, sequence=sequence, gates=outputs.gates, out_rows=group.rows
                )
            return
        values = self._every_step(top, group)
        y = self._dense(denses, values.reshape(-1, top.output_size))
        y = y.reshape(group.n, group.steps, sequence.shape[2])
        if network.skip:
            with np.errstate(all="ignore"):  # past a length stands anything
                y += self._skipped(*inputs, group, every=True)
        if group.lengths is None:
            sequence[as_slice(group.rows)] = y
        else:
            for row, length, numbers in zip(group.rows, group.lengths, y, strict=True):
                sequence[row, :length] = numbers[:length]

    def _every_step(self, link: Link, group: _Group) -> Array:
        """Return the outputs of a link at every step, flat: (rows, steps, numbers)."""
        if isinstance(link, Steps):
            if group.starts.size:
                group.values = self._together(group)
            return self._dense_rows(link.dense, group.values)
        return self._of_directions(
            link,
            group.n * group.steps * link.output_size,
            lambda stack, to: self._walk(stack, group, sequence=to),
        )

    def _together(self, group: _Group) -> Array:
        """Return the group's inputs one row behind the other."""
        width = self.network.width
        values = np.empty(group.n * group.steps * width, self.network.dtype)
        table = values.reshape(group.n, group.steps * width)
        ends = np.full(group.n, group.steps) if group.lengths is None else group.lengths
        for row, start, length in zip(table, group.starts, ends, strict=True):
            row[: length * width] = group.values[start : start + length * width]
            row[length * width :] = 0
        return values

    def _skipped(
        self, values: Array, starts: Integers, group: _Group, every: bool = False
    ) -> Array:
        """Return the inputs that are added to the outputs, (rows, steps or 1, skip)."""
        width, skip = self.network.width, self.network.skip
        ends = np.full(group.n, group.steps) if group.lengths is None else group.lengths
        if not starts.size:
            starts = np.arange(group.n) * group.steps * width
        found = np.zeros((group.n, group.steps if every else 1, skip), self.network.dtype)
        for row, start, length in zip(found, starts, ends, strict=True):
            steps = values[start : start + length * width].reshape(-1, width)[:, :skip]
            if every:
                row[:length] = steps
            elif length:
                row[0] = steps[-1]
        return found

    def _dense(self, denses: tuple[Dense, ...], values: Array) -> Array:
        """Return dense layers of `values` (rows, numbers)."""
        for dense in denses:
            flat = self._dense_rows(dense, np.ascontiguousarray(values).reshape(-1))
            values = flat.reshape(len(values), dense.output_size)
        return values

    def _dense_rows(self, dense: Dense, values: Array) -> Array:
        rows = len(values) // dense.input_size
        out = np.empty(rows * dense.output_size, self.network.dtype)
        if rows:
            self.network.rows_of(dense).run(values, out)
        return out

    def _walk(
        self,
        stack: Stack,
        group: _Group,
        *,
        last: Array | None = None,
        sequence: Array | None = None,
        gates: tuple[Array, ...] | None = None,
        out_rows: Integers = NO_INTEGERS,
        only_first: bool = False,
    ) -> None:
        """Run a stack over the group's rows."""
        plan = self.network.plan(stack, None, self.job.tiles[stack], sequence is not None)
        lengths = NO_INTEGERS if group.lengths is None else group.lengths
        starts, steps = group.starts, group.steps
        if only_first:
            ends = np.full(group.n, steps) if group.lengths is None else group.lengths
            if not starts.size:
                starts = np.arange(group.n) * steps * stack.width
            starts = starts + np.maximum(ends - 1, 0) * stack.width
            lengths = np.minimum(ends, 1)
        self.counter[:] = 0
        if self.job.stopped:  # asked behind the counter, which `stop` may set from now on
            return
        run_kernel(
            plan, group.values, group.n, steps,
            starts=starts, lengths=lengths,
            start=group.state if group.started else None,
            end=group.state if self.job.outputs.end is not None else None,
            last=last, sequence=sequence, gates=gates, out_rows=out_rows,
            out_steps=self.job.source.n_steps if out_rows.size else steps,
            counter=self.counter,
        )  # fmt: skip


def stacks_of(link: Link) -> tuple[Stack, ...]:
    if isinstance(link, Both):
        return link.forward, link.backward
    return (link,) if isinstance(link, Stack) else ()


def merge_into(merge: str, other: Array, out: Array) -> None:
    """Merge the outputs of two directions into those of one, by ``sum``, ``mul`` or ``ave``."""
    with np.errstate(all="ignore"):
        if merge == "mul":
            np.multiply(out, other, out=out)
            return
        np.add(out, other, out=out)
        if merge == "ave":
            out *= 0.5
