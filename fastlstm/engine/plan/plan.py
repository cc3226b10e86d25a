"""The plan of a kernel, which is the same for many calls, and scratch memory to work in."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlstm.engine.kernel.compiled import kernel
from fastlstm.engine.kernel.forms import UNITS, Tile
from fastlstm.engine.kernel.loop import FINISHED
from fastlstm.engine.plan.chain import Stack
from fastlstm.engine.plan.packing import pack_table, pack_unit_table
from fastlstm.engine.plan.places import ALIGNMENT, lay_out
from fastlstm.network.dense import Dense

Array = NDArray[Any]

# How much scratch memory a plan keeps: of more threads than this, only some are at work at once.
MOST_SPARE = os.cpu_count() or 1
SEATS = 5  # integers for each sequence of a tile, see `kernel.layout.Seats`


class Scratch(NamedTuple):
    """A thread's memory, and the plan's record that leads to it."""

    record: Array  # (1,) of `records.PLAN`
    counter: NDArray[np.int64]  # for a call of this thread alone
    memory: tuple[Array, ...]  # everything that the record has addresses of


@dataclass(frozen=True, eq=False)
class Plan:
    """A stack laid out and packed for one kind of tile."""

    tile: Tile
    every_step: bool  # whether the outputs of every step are written, or those of the last
    layers: Array  # (L,) of `records.LAYER`
    record: Array  # (1,) of `records.PLAN`, without addresses
    panels: Array  # (sum of panels,)
    nothing: Array  # (0,), stands for arrays that a call does not have
    scratch_size: int  # numbers
    kernel: Any  # compiled
    looked_up: Array | None = None  # (ids * numbers,), what an embedding's steps begin with
    spare: list[Scratch] = field(default_factory=list)  # scratch memory that no thread uses now

    def take_scratch(self) -> Scratch:
        """Return scratch memory for a thread."""
        try:
            return self.spare.pop()
        except IndexError:
            return self._new_scratch()

    def give_back(self, scratch: Scratch) -> None:
        """Keep scratch memory for the next thread that takes some."""
        if len(self.spare) < MOST_SPARE:
            self.spare.append(scratch)

    def _new_scratch(self) -> Scratch:
        """Make scratch memory. Only here are addresses put into a record."""
        memory = {
            "layers": self.layers,
            "panels": self.panels,
            "scratch": aligned_zeros(self.scratch_size, self.tile.kind.dtype),
            "seats": aligned_empty(SEATS * self.tile.sequences, np.int64),
        }
        if self.looked_up is not None:
            memory["table"] = self.looked_up
        record = self.record.copy()
        for name, array in memory.items():
            record[name] = array.ctypes.data
        return Scratch(record, np.zeros(FINISHED + 1, np.int64), tuple(memory.values()))


def make_plan(stack: Stack, head: Dense | None, tile: Tile, every_step: bool) -> Plan:
    """Lay out scratch memory and pack the weights for one kind of tile.

    Parameters
    ----------
    stack, head
        The layers, and the head; without one the hidden states are the outputs.
    tile
        The tile.
    every_step
        Whether the outputs of every step are written, instead of those of the last one.
    """
    places = lay_out(stack, head, tile, every_step)
    panels = aligned_empty(places.packed, tile.kind.dtype)
    np.concatenate(places.panels, out=panels)
    return Plan(
        tile,
        every_step,
        places.layers,
        places.plan,
        panels,
        np.empty(0, panels.dtype),  # a view would keep panels that another plan's have replaced
        places.size,
        kernel(tile.kind),
    )


def pack_sums(sums: Array, tile: Tile) -> Array:
    """Return an embedding's sums over the inputs (V, 4H) as a kind of tile looks them up."""
    kind = tile.kind
    if kind.lanes_hold == UNITS:
        return pack_unit_table(sums, kind.vector_lanes, kind.padded(sums.shape[1] // 4))
    return pack_table(sums, kind.group)


def aligned_zeros(size: int, dtype: Any) -> Array:
    """Return an array of zeros that begins at a cache line.

    Kernels also compute with whatever is in the padding of their vectors. Most leftover bytes in
    memory are denormal as float32: on an Ice Lake, a call of one step took 8 us with them, and 2.5
    with zeros.
    """
    array = aligned_empty(size, dtype)
    array.fill(0)
    return array


def aligned_empty(size: int, dtype: Any) -> Array:
    """Return an uninitialised array that begins at a cache line, for whole-vector loads."""
    itemsize = np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT // itemsize, dtype)
    offset = (-memory.ctypes.data % ALIGNMENT) // itemsize
    return memory[offset : offset + size]
