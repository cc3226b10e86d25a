"""One call's work where links follow each other: a group of rows goes through all of them.

Each thread has memory of its own for what passes between links, so that a group's numbers stay
in its caches and threads wait for nobody.
"""

from __future__ import annotations

import itertools
import math
import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.engine.cpu import lanes as lanes_of
from fastlstm.engine.kernel.compiled import kernel
from fastlstm.engine.kernel.loop import STOPPED
from fastlstm.engine.plan.chain import Stack, Steps
from fastlstm.engine.run.jobs import by_length
from fastlstm.engine.run.outputs import Outputs
from fastlstm.engine.run.source import Source
from fastlstm.engine.run.states import Pair
from fastlstm.engine.run.worker import Network, Worker, stacks_of

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

# What passes between two links, or is written in two directions, should stay in the L2 cache:
# 32 rows of 1 MB in all are 8 % faster than 48 of 1.5 MB.
CACHE_BYTES = 5 * 1024 * 1024 // 4
# Calling a group's kernels takes about 50 microseconds.
LEAST_WORK_A_GROUP = 3e8


class ChainJob:
    """Rows that pass through several links; arguments as in `Engine.run`."""

    def __init__(
        self,
        network: Network,
        source: Source,
        start: Pair | None,
        outputs: Outputs,
        n_threads: int,
        work: float,
    ) -> None:
        self.network, self.source, self.start, self.outputs = network, source, start, outputs
        self.in_place = source.in_place(network.input_dtype)
        self.order = by_length(source.lengths)
        first = next(stack for link in network.links for stack in stacks_of(link))
        self.row_bytes = self._row_bytes()
        sequences = self._sequences(first, n_threads)
        self.starts = self._group_starts(sequences, work, n_threads)
        least = min(map(operator.sub, self.starts[1:], self.starts), default=sequences)
        traced = outputs.gates is not None
        self.tiles = {
            stack: network.tile(stack, least, 1, traced and link is network.links[-1])
            for link in network.links
            for stack in stacks_of(link)
        }
        self._compile()
        self.groups = itertools.count()
        self.begun = 0
        self.stopped = False
        self.counters: list[Integers] = []
        self.parts = len(self.starts)

    def _compile(self) -> None:
        """Compile what the links need, before threads and progress begin."""
        network = self.network
        for tile in self.tiles.values():
            kernel(tile.kind)
        steps = [link.dense for link in network.links if isinstance(link, Steps)]
        for dense in (*steps, *network.after, *network.head):
            network.rows_of(dense).compile()

    def _row_bytes(self) -> int:
        """Return what a row takes that passes from link to link, or is written in two directions.

        0 where nothing does.
        """
        network, outputs = self.network, self.outputs
        if len(network.links) == 1 and outputs.sequence is None and network.read == "final":
            return 0
        widest = max(link.output_size for link in network.links)
        return max(self.source.n_steps, 1) * widest * network.dtype.itemsize

    def _sequences(self, first: Stack, n_threads: int) -> int:
        """Return the sequences of the first link's tile: fewer, if more outgrow the cache."""
        network = self.network
        sequences = network.tile(first, self.source.n_rows, n_threads, False).sequences
        lanes = lanes_of(network.dtype.name)
        most = CACHE_BYTES // max(self.row_bytes, 1) // lanes * lanes
        if 2 * lanes <= most < sequences:
            sequences = network.tile(first, most, 1, False).sequences
        return sequences

    def _group_starts(self, sequences: int, work: float, n_threads: int) -> list[int]:
        """Return the first row of every group, each of whole tiles of the first link.

        The groups get smaller, so that threads finish together, but not so small that calling
        their kernels takes long, and not larger than the cache.
        """
        n_rows = self.source.n_rows
        tiles = -(-n_rows // sequences)
        least = min(math.ceil(LEAST_WORK_A_GROUP * tiles / work), -(-tiles // n_threads))
        most = max(1, CACHE_BYTES // max(sequences * self.row_bytes, 1))
        starts, tile = [0], 0
        while True:
            tile += min(most, max(least, (tiles - tile) // (2 * n_threads)))
            if tile >= tiles:
                return starts
            starts.append(tile * sequences)

    def work(self, others: int = 0) -> None:
        """See `Job`."""
        worker = Worker(self)
        for group in self.groups:
            if group >= len(self.starts) or self.stopped:
                break
            self.begun = max(self.begun, group + 1)
            rows = np.arange(self.starts[group], self._end(group))
            worker.run(self.order[rows] if self.order.size else rows)

    def finished(self, workers: int) -> bool:
        """See `Job`."""
        return False

    def rows_begun(self) -> int:
        """See `Job`."""
        return self._end(self.begun - 1) if self.begun else 0

    def _end(self, group: int) -> int:
        """Return the row behind the last one of a group."""
        return [*self.starts, self.source.n_rows][group + 1]

    def stop(self) -> None:
        """See `Job`."""
        self.stopped = True
        for counter in self.counters:
            counter[0] = STOPPED
