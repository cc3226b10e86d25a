"""The code of every operation of a program: what it prepares, and what it does with a group."""

from __future__ import annotations

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.engine.plan.plan import Plan
from fastlstm.engine.plan.program import (
    Add,
    Apply,
    Convolve,
    JoinValues,
    LookUp,
    Merge,
    Operation,
    PoolWindows,
    ReduceSteps,
    SoftmaxOfSteps,
    Spread,
    TakeLast,
    TakeState,
    TakeSteps,
    Walk,
)
from fastlstm.engine.run.call import NO_INTEGERS, run_kernel
from fastlstm.engine.run.group import Group, Groups, Task
from fastlstm.engine.run.moves import NOWHERE, come_from
from fastlstm.engine.run.over_steps import prepare_steps, reduce_steps, softmax_steps
from fastlstm.engine.run.packed import Packed
from fastlstm.engine.run.rows import Rows
from fastlstm.engine.run.window_rows import WindowRows

__all__ = ["execute", "prepare", "prepare_convolution"]

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

# As many of a convolution's outputs are computed at once, if more is done with them. They should
# stay in the L2 cache until then, but each piece is two more calls of kernels, for which threads
# wait for each other: with 512 KB, one thread was as fast, and two took 1.2 times as long.
WINDOW_BYTES = 2 * 1024 * 1024
SCRATCH = -1  # the buffer that they are in, if they are pooled


@singledispatch
def prepare(operation: Operation, task: Task, groups: Groups) -> Any:
    """Return what an operation needs for the groups of a call, compiled; most need nothing."""
    return None


@singledispatch
def execute(operation: Operation, prepared: Any, group: Group) -> None:
    """Execute an operation for a group of rows.

    Parameters
    ----------
    operation
        The operation. `group.array` returns the memory of the values that it reads and writes.
    prepared
        What `prepare` returned.
    group
        The rows.
    """
    raise TypeError(f"no code is known for a {type(operation).__name__}")


@prepare.register(Walk)
def _(walk: Walk, task: Task, groups: Groups) -> Plan:
    traced = task.outputs.gates is not None and walk.writes == task.program.result
    tile = task.packed.tile(walk.stack, groups.tile_rows, groups.tile_threads, traced)
    return task.packed.plan(walk.stack, walk.head, tile, walk.writes.every)


@execute.register(Walk)
def _(walk: Walk, plan: Plan, group: Group) -> None:
    task, worker = group.task, group.worker
    (below,), to = walk.reads, walk.writes
    if below.buffer:
        values, starts = group.array(below), NO_INTEGERS
    else:  # the inputs, where they are
        values, starts = group.values, group.starts
    assert below.axis is not None
    steps, of_rows = group.axis(below.axis)
    lengths = NO_INTEGERS if of_rows is None else of_rows
    if walk.only_last:
        step = 0 if below.repeated else walk.stack.width
        ends = np.full(group.n, steps, np.int64) if of_rows is None else of_rows
        if not starts.size:
            starts = np.arange(group.n, dtype=np.int64) * max(group.steps_of(below), 1)
            starts *= walk.stack.width
        starts, lengths = starts + np.maximum(ends - 1, 0) * step, np.minimum(ends, 1)
    last = sequence = gates = None
    out_rows, out_steps, first_step = NO_INTEGERS, steps, 0
    if task.program.direct and to == task.program.result:  # to where the caller wants it
        last, sequence, gates, _ = task.outputs
        out_rows, first_step = group.rows, group.first
        out_steps = 1 if sequence is None else sequence.shape[1]
    elif to.every:
        sequence = group.array(to)
    else:
        last = group.array(to)
    worker.counter[:] = 0
    if worker.stopped:  # asked behind the counter, which `stop` may set from now on
        return
    run_kernel(
        plan, values, group.n, steps,
        starts=starts, lengths=lengths,
        start=group.state if group.started else None,
        end=group.state if group.keeps_state else None,
        last=last, sequence=sequence, gates=gates,
        out_rows=out_rows, out_steps=out_steps, first_step=first_step,
        counter=worker.counter,
    )  # fmt: skip


@execute.register(Merge)
def _(merge: Merge, prepared: None, group: Group) -> None:
    a, b = map(group.array, merge.reads)
    out = group.array(merge.writes)
    with np.errstate(all="ignore"):  # past a length stands anything
        if merge.how == "mul":
            np.multiply(a, b, out=out)
            return
        np.add(a, b, out=out)
        if merge.how == "ave":
            out *= 0.5


@prepare.register(Apply)
def _(apply: Apply, task: Task, groups: Groups) -> Rows:
    return task.packed.compiled_rows(apply.part, apply.reads[0].size)


@execute.register(Apply)
def _(apply: Apply, rows: Rows, group: Group) -> None:
    out = group.array(apply.writes)
    if out.size:
        rows.run(group.array(apply.reads[0]), out)


class Convolution(NamedTuple):
    """What is run for a convolution and the parts behind it."""

    windows: WindowRows
    then: list[Rows]


def prepare_convolution(convolve: Convolve, packed: Packed) -> Convolution:
    """Compile what a convolution needs."""
    conv, pool = convolve.conv, convolve.pool
    if pool is not None:
        prepare_steps(pool.how, packed.dtype, pool.size, conv.output_size)
    then = [packed.compiled_rows(part, conv.output_size) for part in convolve.then]
    return Convolution(packed.convolution(conv), then)


@prepare.register(Convolve)
def _(convolve: Convolve, task: Task, groups: Groups) -> Convolution:
    return prepare_convolution(convolve, task.packed)


@execute.register(Convolve)
def _(convolve: Convolve, prepared: Convolution, group: Group) -> None:
    """Let each window be a row of the kernel's: a step of a sequence, and those behind it."""
    (value,), out = convolve.reads, group.array(convolve.writes)
    if not out.size:
        return
    pool, size, stride = convolve.pool, convolve.writes.size, convolve.conv.stride
    steps, together = np.arange(group.steps_of(convolve.writes), dtype=np.int64), 1
    if pool is not None:  # their windows are rows that follow each other
        together = pool.size
        steps = (steps[:, np.newaxis] * pool.window.stride + np.arange(together)).reshape(-1)
    rows = np.arange(group.n, dtype=np.int64)[:, np.newaxis] * group.steps_of(value)
    starts = ((rows + steps * stride) * value.size).reshape(-1)
    values, dtype = group.array(value), out.dtype
    total = some = len(out) // size
    if pool is not None or prepared.then:
        some = max(1, WINDOW_BYTES // (together * size * dtype.itemsize))
    for first in range(0, total, some):
        n = min(some, total - first)
        to = found = out[first * size : (first + n) * size]
        if pool is not None:
            found = group.worker.buffer(SCRATCH, n * together * size, dtype)
        prepared.windows.run(values, starts[first * together : (first + n) * together], found)
        for rows_kernel in prepared.then:
            rows_kernel.run(found, found)
        if pool is not None:
            lengths = np.full(n, together, np.int64)
            reduce_steps(pool.how, found, None, lengths, n, together, size, to)


@execute.register(PoolWindows)
def _(of: PoolWindows, prepared: None, group: Group) -> None:
    """Add the steps of a window in order, and divide; or take their maximum."""
    pool, window, (value,) = of.pool, of.pool.window, of.reads
    values, out = group.steps_array(value), group.steps_array(of.writes)
    n_steps = out.shape[1]
    if not out.size:
        return
    last = (n_steps - 1) * window.stride + 1
    with np.errstate(all="ignore"):  # a bad row, or what stands past a length
        for tap in range(window.size):
            first = tap * window.dilation
            now = values[:, first : first + last : window.stride]
            if tap == 0:
                out[...] = now
            elif pool.how == "mean":
                np.add(out, now, out=out)
            else:  # not np.maximum: of 0 and -0 it may take either
                np.copyto(out, now, where=(now > out) | np.isnan(now))
        if pool.how == "mean":
            counts = _window_counts(of, group, np.arange(n_steps, dtype=np.int64))
            out /= counts[..., np.newaxis].astype(out.dtype)


def _window_counts(of: PoolWindows, group: Group, to: Integers) -> Integers:
    """Return how many steps of each window count: (rows, steps), or (1, steps) for all."""
    window = of.pool.window
    steps, lengths = group.axis(of.axis)
    ends = np.array([steps]) if lengths is None else lengths
    before, after = window.padding_of(ends)
    ends, before, after = ends[:, np.newaxis], before[:, np.newaxis], after[:, np.newaxis]
    padded = of.pool.counts_padding
    counts = np.zeros((len(ends), len(to)), np.int64)
    for tap in range(window.size):
        step = to * window.stride + tap * window.dilation - before
        counts += (step >= (-before if padded else 0)) & (step < ends + (after if padded else 0))
    return np.maximum(counts, 1)


@execute.register(TakeSteps)
def _(take: TakeSteps, prepared: None, group: Group) -> None:
    (value,) = take.reads
    values, out = group.steps_array(value), group.steps_array(take.writes)
    if not out.size:
        return
    assert value.axis is not None
    assert take.writes.axis is not None
    steps, lengths = group.axis(value.axis)
    _, to_lengths = group.axis(take.writes.axis)
    ends = np.array([steps]) if lengths is None else lengths
    to = np.arange(out.shape[1], dtype=np.int64)
    source = come_from(take.part, ends[:, np.newaxis], to)
    if to_lengths is not None:
        source[to >= to_lengths[:, np.newaxis]] = NOWHERE
    if not values.shape[1]:
        out[...] = take.fill
    elif lengths is None:
        np.take(values, source[0], axis=1, out=out, mode="clip")
        out[:, source[0] == NOWHERE] = take.fill
    else:
        rows = np.arange(group.n, dtype=np.int64)[:, np.newaxis] * values.shape[1]
        flat = values.reshape(-1, value.size)
        np.take(flat, np.maximum(source, 0) + rows, axis=0, out=out, mode="clip")
        out[source == NOWHERE] = take.fill


@execute.register(Spread)
def _(spread: Spread, prepared: None, group: Group) -> None:
    group.steps_array(spread.writes)[...] = group.steps_array(spread.reads[0])


@execute.register(LookUp)
def _(look_up: LookUp, prepared: None, group: Group) -> None:
    out = group.array(look_up.writes).reshape(-1, look_up.writes.size)
    # clip: ids have been checked, but they are in the caller's memory
    np.take(look_up.embedding.weight, group.array(look_up.reads[0]), axis=0, out=out, mode="clip")


@prepare.register(ReduceSteps)
def _(reduce: ReduceSteps, task: Task, groups: Groups) -> None:
    value = reduce.reads[0]
    steps = task.program.steps(np.array([task.source.n_steps], np.int64))[value.axis or 0]
    weighted = len(reduce.reads) > 1
    prepare_steps(reduce.how, task.packed.dtype, int(steps[0]), value.size, weighted)


@execute.register(ReduceSteps)
def _(reduce: ReduceSteps, prepared: None, group: Group) -> None:
    value, *weights = reduce.reads
    steps, lengths = group.steps_of(value), group.lengths_of(value)
    reduce_steps(
        reduce.how, group.array(value), group.array(weights[0]) if weights else None,
        lengths, group.n, steps, value.size, group.array(reduce.writes),
    )  # fmt: skip


@prepare.register(SoftmaxOfSteps)
def _(softmax: SoftmaxOfSteps, task: Task, groups: Groups) -> None:
    (value,) = softmax.reads
    steps = task.program.steps(np.array([task.source.n_steps], np.int64))[value.axis or 0]
    prepare_steps("softmax", task.packed.dtype, int(steps[0]), value.size)


@execute.register(SoftmaxOfSteps)
def _(softmax: SoftmaxOfSteps, prepared: None, group: Group) -> None:
    (value,), out = softmax.reads, group.array(softmax.writes)
    if out.size:
        steps, lengths = group.steps_of(value), group.lengths_of(value)
        softmax_steps(group.array(value), lengths, group.n, steps, value.size, out)


@execute.register(TakeLast)
def _(take: TakeLast, prepared: None, group: Group) -> None:
    """Take the last step; for a row without steps the second value, or NaN."""
    value, *others = take.reads
    values, out = group.steps_array(value), group.steps_array(take.writes)[:, 0]
    out[...] = group.steps_array(others[0])[:, 0] if others else np.nan
    lengths = group.lengths_of(value)
    some = np.flatnonzero(lengths)
    out[some] = values[some, lengths[some] - 1]


@execute.register(TakeState)
def _(take: TakeState, prepared: None, group: Group) -> None:
    out, at = group.steps_array(take.writes)[:, 0], 0
    assert group.state is not None
    for stack in take.stacks:
        size = stack.output_size
        first = stack.first_h + sum(k.output_size for k in stack.layers[:-1])
        h = group.state[0][first * group.n : (first + size) * group.n]
        out[:, at : at + size] = h.reshape(group.n, size)
        at += size


@prepare.register(JoinValues)
def _(join: JoinValues, task: Task, groups: Groups) -> Rows | None:
    return task.packed.adder(join.reads[0].size) if join.how == "dot" else None


@execute.register(JoinValues)
def _(join: JoinValues, adder: Rows | None, group: Group) -> None:
    values = [group.steps_array(k) for k in join.reads]
    out = group.steps_array(join.writes)
    with np.errstate(all="ignore"):  # a bad row may give inf - inf
        if join.how == "concatenate":
            at = 0
            for value in values:
                out[..., at : at + value.shape[2]] = value
                at += value.shape[2]
            return
        if adder is not None:  # rounded products, added up in the order of `kernel.sums`
            products = np.multiply(*values)
            adder.run(products.reshape(-1), out.reshape(-1))
            return
        operation = np.add if join.how == "add" else np.multiply
        operation(values[0], values[1], out=out)
        for value in values[2:]:
            operation(out, value, out=out)


@execute.register(Add)
def _(add: Add, prepared: None, group: Group) -> None:
    """Add inputs of the same step, or of the last step; zero for a row without steps."""
    to = add.writes
    out = group.steps_array(to)
    out[...] = group.steps_array(add.reads[0])
    with np.errstate(all="ignore"):  # a bad row may give inf - inf
        for row, steps in zip(out, group.each_input(), strict=True):
            if to.every:
                row[: len(steps)] += steps[:, : to.size]
            else:
                row[0] += steps[-1, : to.size] if len(steps) else 0
