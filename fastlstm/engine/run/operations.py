"""The code of every operation of a program: what it prepares, and what it does with a group."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.engine.plan.plan import Plan
from fastlstm.engine.plan.program import Add, ApplyDense, Merge, Operation, Pool, Walk
from fastlstm.engine.run.call import NO_INTEGERS, run_kernel
from fastlstm.engine.run.group import Group, Groups, Task
from fastlstm.engine.run.window_rows import DenseRows

__all__ = ["execute", "prepare"]

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]


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
    lengths = NO_INTEGERS if group.lengths is None else group.lengths
    if walk.only_last:
        ends = np.full(group.n, group.steps, np.int64) if group.lengths is None else group.lengths
        if not starts.size:
            starts = np.arange(group.n, dtype=np.int64) * group.steps * walk.stack.width
        starts, lengths = starts + np.maximum(ends - 1, 0) * walk.stack.width, np.minimum(ends, 1)
    last = sequence = gates = None
    out_rows, out_steps, first_step = NO_INTEGERS, group.steps, 0
    if task.program.direct and to == task.program.result:  # to where the caller wants it
        last, sequence, gates, _ = task.outputs
        out_rows, out_steps, first_step = group.rows, task.source.n_steps, group.first
    elif to.every:
        sequence = group.array(to)
    else:
        last = group.array(to)
    worker.counter[:] = 0
    if worker.stopped:  # asked behind the counter, which `stop` may set from now on
        return
    run_kernel(
        plan, values, group.n, group.steps,
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


@prepare.register(ApplyDense)
def _(dense: ApplyDense, task: Task, groups: Groups) -> DenseRows:
    layer = task.packed.dense(dense.dense)
    layer.compile()
    return layer


@execute.register(ApplyDense)
def _(dense: ApplyDense, layer: DenseRows, group: Group) -> None:
    out = group.array(dense.writes)
    if out.size:
        layer.run(group.array(dense.reads[0]), out)


@execute.register(Pool)
def _(pool: Pool, prepared: None, group: Group) -> None:
    """Add the steps in order, or take their maximum. For no steps at all, the result is NaN."""
    (value,) = pool.reads
    values = group.array(value).reshape(group.n, group.steps, value.size)
    total = group.array(pool.writes).reshape(group.n, value.size)
    real = np.full(group.n, group.steps) if group.lengths is None else group.lengths
    total.fill(np.nan)
    with np.errstate(all="ignore"):
        for t in range(group.steps):
            now = values[:, t]
            if t == 0:
                joined = now
            elif pool.how == "max":
                joined = np.maximum(total, now)
            else:
                joined = total + now
            np.copyto(total, joined, where=(real > t)[:, np.newaxis])
        if pool.how == "mean":
            total /= real[:, np.newaxis].astype(total.dtype)


@execute.register(Add)
def _(add: Add, prepared: None, group: Group) -> None:
    """Add inputs of the same step, or of the last step; zero for a row without steps."""
    to = add.writes
    out = group.array(to).reshape(group.n, -1, to.size)
    out[...] = group.array(add.reads[0]).reshape(out.shape)
    with np.errstate(all="ignore"):  # a bad row may give inf - inf
        for row, steps in zip(out, group.each_input(), strict=True):
            if to.every:
                row[: len(steps)] += steps[:, : to.size]
            else:
                row[0] += steps[-1, : to.size] if len(steps) else 0
