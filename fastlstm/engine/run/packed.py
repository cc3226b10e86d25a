"""A network's weights in the order in which the kernels read them, packed once per kind of tile."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.engine.kernel.forms import Kind, Tile
from fastlstm.engine.plan.chain import Stack
from fastlstm.engine.plan.cost import choose_tile, choose_tiles
from fastlstm.engine.plan.plan import Plan, make_plan, pack_sums
from fastlstm.engine.plan.program import Walk
from fastlstm.engine.run.rows import Rows, rows_of
from fastlstm.engine.run.state import StateRows
from fastlstm.engine.run.window_rows import DenseRows, WindowRows
from fastlstm.network.convolution import Conv
from fastlstm.network.dense import Dense
from fastlstm.network.network import Network, Pointwise

__all__ = ["Packed"]

Array = npt.NDArray[Any]


class Packed:
    """What jobs need of a network. Everything is made once and kept.

    Attributes
    ----------
    plan : function of a stack, a head, a tile and whether every step is written
        Returns the plan.
    plans : function of a walk, rows, threads, whether gates are wanted, and may tiles be mixed
        Returns the plans of a walk that is the whole program, with how many rows each takes.
    tile : function of a stack, rows, threads and whether gates are wanted
        Returns the fastest tile.
    rows : function of a pointwise part and the numbers of a row
        Returns the part as the engine runs it.
    convolution : function of a convolution
        Returns it as the engine runs it, compiled.
    adder : function of a number of terms
        Returns what adds them up, in the order of `kernel.sums`, compiled.
    states : StateRows
        The layout of states.
    """

    def __init__(self, network: Network) -> None:
        self.dtype, self.input_dtype = network.dtype, network.input_dtype
        self.input_size = network.input_size
        self.states = StateRows(network.cells)
        # What is cached must not refer to its cache: then weights that are no longer in use, and
        # all memory with them, are freed at once rather than by the next garbage collection.
        self.plan = cache(_Plans().plan)
        self.rows = cache(partial(rows_of, dtype=network.dtype))
        self.convolution = cache(_convolution)
        self.adder = cache(partial(_adder, dtype=network.dtype))
        self.tile = lru_cache(maxsize=1024)(choose_tile)
        self.plans = lru_cache(maxsize=1024)(_Choice(self).plans)

    def compiled_rows(self, part: Pointwise, size: int) -> Rows:
        """Return a pointwise part as the engine runs it, compiled."""
        rows = self.rows(part, size)
        rows.compile()
        return rows


class _Plans:
    """Makes plans, and keeps the weights that they share."""

    def __init__(self) -> None:
        self.panels: dict[tuple[Stack, Dense | None, Kind], Array] = {}
        self.tables: dict[tuple[Stack, Kind], Array] = {}
        self.sums = cache(_sums)

    def plan(self, stack: Stack, head: Dense | None, tile: Tile, sequences: bool) -> Plan:
        """Return the plan of a stack for one kind of tile."""
        plan = make_plan(stack, head, tile, sequences)
        # plans of one kind of tile, whatever its number of sequences, share their weights; the
        # head's are among them, and the outputs of every step may have one where others do not
        kind = tile.kind._replace(traced=False)
        plan = replace(plan, panels=self.panels.setdefault((stack, head, kind), plan.panels))
        if stack.embedding is None:
            return plan
        if not stack.looks_up_sums:
            return replace(plan, looked_up=stack.embedding.weight.flatten())
        if (stack, kind) not in self.tables:
            self.tables[stack, kind] = pack_sums(self.sums(stack), tile)
        return replace(plan, looked_up=self.tables[stack, kind])


class _Choice:
    """Chooses the plans of a walk that is the whole program."""

    def __init__(self, packed: Packed) -> None:
        self.tile, self.plan = packed.tile, packed.plan

    def plans(
        self, walk: Walk, n_rows: int, n_threads: int, traced: bool, mixed: bool
    ) -> tuple[tuple[Plan, int], ...]:
        """Return the plans, with how many rows each takes: one, unless they may be mixed."""
        if mixed:
            tiles = choose_tiles(walk.stack, n_rows, n_threads, traced)
        else:
            tiles = ((self.tile(walk.stack, n_rows, n_threads, traced), n_rows),)
        every = walk.writes.every
        return tuple((self.plan(walk.stack, walk.head, tile, every), n) for tile, n in tiles)


def _convolution(conv: Conv) -> WindowRows:
    windows = WindowRows(
        conv.weight, conv.bias, conv.activation,
        groups=conv.groups, tap_step=conv.dilation * conv.input_size,
    )  # fmt: skip
    windows.compile()
    return windows


def _adder(size: int, dtype: np.dtype[Any]) -> Rows:
    rows = DenseRows(Dense(np.ones((1, size), dtype)))
    rows.compile()
    return rows


def _sums(stack: Stack) -> Array:
    """Return the biases and the sums over the inputs of every id of an embedding (V, 4H)."""
    layer, embedding = stack.layers[0], stack.embedding
    assert embedding is not None
    out = np.empty(embedding.ids * 4 * layer.hidden_size, layer.dtype)
    DenseRows(Dense(layer.w_ih, layer.bias)).run(embedding.weight.flatten(), out)
    return out.reshape(embedding.ids, -1)
