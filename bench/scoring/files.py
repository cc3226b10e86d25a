"""The workloads of `python -m bench score`: sequences in files too large to load with comfort."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.harness.workload import Workload
from fastlstm import LSTM
from tests.shapes import make_model

__all__ = ["INPUTS", "FileWorkload"]

Array = npt.NDArray[Any]

AT_ONCE = 100_000  # sequences that are drawn


class Input(NamedTuple):
    """A file of sequences to score: its sizes and kind, and the goals."""

    sizes: tuple[int, int, int, int, int]  # N, T, I, H, layers
    suffix: str
    least_of_memory: float | None = None  # of the rate in memory
    least_of_slower: float | None = None  # of that or of reading, whichever is slower
    most_of_npy: float | None = None  # times as long as from .npy


INPUTS = {
    "npy_1": Input((10_000_000, 100, 1, 1, 1), ".npy", least_of_slower=0.7),
    "npy_32": Input((1_000_000, 100, 1, 32, 1), ".npy", least_of_memory=0.9),
    "parquet_32": Input((1_000_000, 100, 1, 32, 1), ".parquet", most_of_npy=1.5),
}


@dataclass(frozen=True)
class FileWorkload(Workload):
    """A workload whose sequences lie in a file, and whose network has a head of one output.

    They are always in ``x.npy``; the file that is read is that one, or a Parquet file beside it.
    """

    most_seconds: ClassVar[float] = 60.0  # a call takes several

    @classmethod
    def named(cls, name: str, dtype: str) -> FileWorkload:
        return cls(name, *INPUTS[name].sizes, dtype)

    @property
    def suffix(self) -> str:
        """That of the file that is read."""
        return INPUTS[self.name].suffix

    @property
    def needs(self) -> tuple[str, ...]:
        """The modules that write and read the file."""
        return ("pyarrow",) if self.suffix == ".parquet" else ()

    @property
    def file_bytes(self) -> int:
        """The size of the sequences in one file."""
        return self.N * self.T * self.I * np.dtype(self.dtype).itemsize

    def model(self) -> LSTM:
        return make_model(self.I, (self.H,) * self.layers, outputs=1, dtype=self.dtype)

    def pieces(self) -> Iterator[Array]:
        """Standard normal input, some sequences ``(n, T, I)`` at a time."""
        for first in range(0, self.N, AT_ONCE):
            rng = np.random.Generator(np.random.PCG64([first, self.T, self.I]))
            shape = min(AT_ONCE, self.N - first), self.T, self.I
            yield rng.standard_normal(shape, dtype=np.dtype(self.dtype).type)

    def inputs(self) -> Array:
        return np.concatenate(list(self.pieces()))

    def write(self, folder: Path) -> Path:
        """Write the files and wait until they are on the disk; return the path of ``x.npy``.

        A disk that is still busy would slow down whoever writes results.
        """
        path = folder / "x.npy"
        with open(path, "wb") as file:
            head = {"descr": np.dtype(self.dtype).str, "fortran_order": False}
            shape = (self.N, self.T, self.I)
            np.lib.format.write_array_header_1_0(file, head | {"shape": shape})
            for piece in self.pieces():
                file.write(piece.data)
            file.flush()
            os.fsync(file.fileno())
        if self.suffix == ".parquet":
            write_parquet(self.source(path), np.load(path, "r"))
        return path

    def source(self, path: Path) -> Path:
        """The file that is read, beside the ``x.npy`` of `path`."""
        return path.with_suffix(self.suffix)

    def load(self, path: Path) -> Array:
        """The first N sequences of the file, as a script would load them."""
        if self.suffix == ".npy":
            return np.load(path)[: self.N]
        import pyarrow.parquet as pq

        column = pq.read_table(self.source(path))["x"].combine_chunks()
        return column.flatten().to_numpy().reshape(-1, self.T, self.I)[: self.N]

    def chunks(self, path: Path, size: int) -> Iterator[Array]:
        """The first N sequences of the file, in chunks ``(n, T, I)`` of this size."""
        if self.suffix == ".npy":
            x = np.load(path, "r")
            for first in range(0, self.N, size):
                yield x[first : min(first + size, self.N)]
            return
        import pyarrow.parquet as pq

        left = self.N
        with pq.ParquetFile(self.source(path)) as file:
            for batch in file.iter_batches(batch_size=size):
                x = batch.column(0).flatten().to_numpy().reshape(-1, self.T, self.I)[:left]
                yield x
                left -= len(x)
                if not left:
                    return


def write_parquet(path: Path, x: Array) -> None:
    """Sequences ``(N, T, 1)`` as a column of lists, with pyarrow's own settings."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    offsets = np.arange(0, x.size + 1, x.shape[1], dtype="int32")
    lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(x.reshape(-1)))
    with open(path, "wb") as file:
        pq.write_table(pa.table({"x": lists}), file)
        file.flush()
        os.fsync(file.fileno())
