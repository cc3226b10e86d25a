"""From file to file: bulk scoring, and the scripts that one would write oneself.

Every engine gets a row, its ``.npy`` file, and threads; it reads the file of the row's kind beside
that one, and writes an ``.npy`` file with the scores of the first N sequences ``(N, 1)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import fastlstm
from bench.built import Built, fastest, time_first
from bench.scoring_rows import ScoringRow

Array = npt.NDArray[Any]

CHUNKS = (1_000, 4_000, 16_000)  # sequences at a time, for ONNX Runtime
TRIED = 16_000  # sequences that each size is tried on
BUFFER = 2**20


def build_score(row: ScoringRow, path: Path, threads: int) -> Built:
    """`fastlstm.score`, as it is."""
    return score(row, path.with_suffix(row.suffix), path.with_name("score.npy"), threads)


def build_score_npy(row: ScoringRow, path: Path, threads: int) -> Built:
    """The same sequences from the ``.npy`` file."""
    return score(row, path, path.with_name("score-npy.npy"), threads)


def score(row: ScoringRow, source: Path, destination: Path, threads: int) -> Built:
    model = row.model()

    def call() -> Array:
        fastlstm.score(model, source, destination, threads=threads)
        return np.load(destination, "r")

    return Built(call, "score()")


def build_naive(row: ScoringRow, path: Path, threads: int) -> Built:
    """Load everything, `predict`, save."""
    model, source = row.model(), path.with_suffix(row.suffix)
    destination = path.with_name("naive.npy")

    def load() -> Array:
        if row.suffix == ".npy":
            return np.load(source)[: row.N]
        import pyarrow.parquet as pq

        column = pq.read_table(source)["x"].combine_chunks()
        return column.flatten().to_numpy().reshape(-1, row.T, row.I)[: row.N]

    def call() -> Array:
        np.save(destination, model.predict(load(), threads=threads))
        return np.load(destination, "r")

    return Built(call, "load, predict(), save")


def build_onnx_runtime(row: ScoringRow, path: Path, threads: int) -> Built:
    """A chunk at a time, of the size that is the fastest, which is noted beside the file."""
    noted = path.with_name("onnx-chunk.txt")
    if not noted.exists():
        noted.write_text(str(best_chunk(row.with_sequences(min(row.N, TRIED)), path, threads)))
    size = int(noted.read_text())
    call = onnx_runtime_script(row, path, threads, size)
    return Built(call, f"{threads} threads, chunks of {size:,}")


def best_chunk(row: ScoringRow, path: Path, threads: int) -> int:
    def way(size: int) -> Callable[[], Callable[[], Array]]:
        return lambda: onnx_runtime_script(row, path, threads, size)

    return int(fastest({str(size): way(size) for size in CHUNKS}).settings)


def onnx_runtime_script(
    row: ScoringRow, path: Path, threads: int, size: int
) -> Callable[[], Array]:
    from bench.rivals.onnx_graph import model_bytes
    from bench.rivals.onnx_runtime import session

    run = session(model_bytes(row.model(), "N", row.T), threads)
    source, destination = path.with_suffix(row.suffix), path.with_name("onnx.npy")

    def call() -> Array:
        out = np.lib.format.open_memmap(destination, "w+", row.dtype, (row.N, 1))
        done = 0
        for x in chunks(row, source, size):
            out[done : done + len(x)] = run.run(None, {"x": time_first(x)})[0]
            done += len(x)
        out.flush()
        return out

    return call


def chunks(row: ScoringRow, source: Path, size: int) -> Iterator[Array]:
    """The first N sequences of a file ``(n, T, I)``, so many at a time."""
    if row.suffix == ".npy":
        x = np.load(source, "r")
        for first in range(0, row.N, size):
            yield x[first : min(first + size, row.N)]
        return
    import pyarrow.parquet as pq

    left = row.N
    with pq.ParquetFile(source) as file:
        for batch in file.iter_batches(batch_size=size):
            x = batch.column(0).flatten().to_numpy().reshape(-1, row.T, row.I)[:left]
            yield x
            left -= len(x)
            if not left:
                return


def build_read(row: ScoringRow, path: Path, threads: int) -> Built:
    """Only read the file, into the same memory again and again."""
    source, buffer = path.with_suffix(row.suffix), bytearray(BUFFER)

    def call() -> None:
        with open(source, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass

    return Built(call, f"readinto() of {BUFFER // 2**20} MiB")
