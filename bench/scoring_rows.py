"""The rows of `python -m bench score`: files of sequences, larger than what one likes to load."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.rows import Row
from fastlstm import LSTM
from tests.shapes import make_model

__all__ = ["SCORING", "ScoringRow"]

Array = npt.NDArray[Any]

AT_ONCE = 100_000  # sequences that are drawn


class Scoring(NamedTuple):
    """The sizes of a row, the kind of file it is read from, and what it has to reach."""

    sizes: tuple[int, int, int, int, int]  # N, T, I, H, layers
    suffix: str
    least_of_memory: float | None = None  # of the rate in memory
    least_of_slower: float | None = None  # of that or of reading, whichever is slower
    most_of_npy: float | None = None  # times as long as from .npy


SCORING = {
    "npy_1": Scoring((10_000_000, 100, 1, 1, 1), ".npy", least_of_slower=0.7),
    "npy_32": Scoring((1_000_000, 100, 1, 32, 1), ".npy", least_of_memory=0.9),
    "parquet_32": Scoring((1_000_000, 100, 1, 32, 1), ".parquet", most_of_npy=1.5),
}


@dataclass(frozen=True)
class ScoringRow(Row):
    """A row whose sequences lie in a file, and whose network has a head of one output."""

    most_seconds: ClassVar[float] = 60.0  # a call takes several

    @classmethod
    def named(cls, name: str, dtype: str) -> ScoringRow:
        return cls(name, *SCORING[name].sizes, dtype)

    @property
    def suffix(self) -> str:
        """Of the file that is read."""
        return SCORING[self.name].suffix

    @property
    def file_bytes(self) -> int:
        """Of the sequences in a file."""
        return self.N * self.T * self.I * np.dtype(self.dtype).itemsize

    def model(self) -> LSTM:
        return make_model(self.I, (self.H,) * self.layers, outputs=1, dtype=self.dtype)

    def pieces(self) -> Any:
        """Standard normal input, some sequences ``(n, T, I)`` at a time."""
        for first in range(0, self.N, AT_ONCE):
            rng = np.random.Generator(np.random.PCG64([first, self.T, self.I]))
            shape = min(AT_ONCE, self.N - first), self.T, self.I
            yield rng.standard_normal(shape, dtype=np.dtype(self.dtype).type)

    def inputs(self) -> Array:
        return np.concatenate(list(self.pieces()))

    def write(self, folder: Path) -> Path:
        """Write ``x.npy``, and beside it the file that is read, if it is another; on the disk.

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
            write_parquet(path.with_suffix(".parquet"), np.load(path, "r"))
        return path


def write_parquet(path: Path, x: Array) -> None:
    """Sequences ``(N, T, 1)`` as a column of lists, all as pyarrow does it by itself."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    offsets = np.arange(0, x.size + 1, x.shape[1], dtype="int32")
    lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(x.reshape(-1)))
    with open(path, "wb") as file:
        pq.write_table(pa.table({"x": lists}), file)
        file.flush()
        os.fsync(file.fileno())
