"""One call's work where links follow each other: a group of rows goes through all of them.

Each thread has memory of its own for what passes between links, so that a group's numbers stay
in its caches and threads wait for nobody.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.engine.chain_worker import Network, Worker, stacks_of
from fastlstm.engine.jobs import by_length
from fastlstm.engine.outputs import Outputs
from fastlstm.engine.states import Pair
from fastlstm.engine.tiles import STOPPED
from fastlstm.inputs import Source

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

# What passes between two links for a group of rows should stay in the L2 cache.
GROUP_BYTES = 1024 * 1024
# Calling a group's kernels takes about 50 microseconds.
GROUPS_A_THREAD, LEAST_WORK_A_GROUP = 8, 3e8


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
        stacks = [stack for link in network.links for stack in stacks_of(link)]
        first = network.tile(stacks[0], source.n_rows, n_threads, False).sequences
        self.group_rows = first * self._tiles_a_group(first, work, n_threads)
        traced = outputs.gates is not None
        self.tiles = {
            stack: network.tile(stack, self.group_rows, 1, traced and link is network.links[-1])
            for link in network.links
            for stack in stacks_of(link)
        }
        self.groups = itertools.count()
        self.begun = 0
        self.stopped = False
        self.counters: list[Integers] = []
        self.parts = -(-source.n_rows // self.group_rows)

    def _tiles_a_group(self, sequences: int, work: float, n_threads: int) -> int:
        """Return how many tiles of the first link a group has.

        As many as leave every thread some groups and each group enough work, but no more than
        fit into the cache with what passes from link to link and is written in two directions.
        """
        network, source = self.network, self.source
        tiles = -(-source.n_rows // sequences)
        groups = max(n_threads, min(GROUPS_A_THREAD * n_threads, int(work / LEAST_WORK_A_GROUP)))
        share = -(-tiles // groups)
        widest = max(link.output_size for link in network.links)
        if len(network.links) == 1 and self.outputs.sequence is None and network.read == "final":
            return share
        row_bytes = max(source.n_steps, 1) * widest * network.dtype.itemsize
        return max(1, min(share, GROUP_BYTES // (sequences * row_bytes)))

    def work(self, others: int = 0) -> None:
        """See `Job`."""
        worker = Worker(self)
        for group in self.groups:
            first = group * self.group_rows
            if first >= self.source.n_rows or self.stopped:
                break
            self.begun = max(self.begun, group + 1)
            rows = np.arange(first, min(first + self.group_rows, self.source.n_rows))
            worker.run(self.order[rows] if self.order.size else rows)

    def finished(self, workers: int) -> bool:
        """See `Job`."""
        return False

    def rows_begun(self) -> int:
        """See `Job`."""
        return min(self.begun * self.group_rows, self.source.n_rows)

    def stop(self) -> None:
        """See `Job`."""
        self.stopped = True
        for counter in self.counters:
            counter[0] = STOPPED
