"""Scoring on the workers of a Dask cluster, which read pieces of the source; the result is here.

Workers open the files themselves, so they must see them under the same paths. Results come back in
the order of the source and are written as on one machine: the file has the same bytes, and an
interrupted run can be resumed. If a worker dies, Dask gives its piece to another one.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from fastlstm.messages import Message, Option
from fastlstm.scoring.bad_rows import BadRow
from fastlstm.scoring.chunk import Position, Scored
from fastlstm.scoring.ledger import Entry
from fastlstm.scoring.scorer import Scorer
from fastlstm.scoring.sources.arrays.reader import ArrayReader
from fastlstm.scoring.sources.layout import Layout
from fastlstm.scoring.sources.open import find_files, open_source

__all__ = ["Piece", "check_source", "connected", "make_pieces", "score_pieces"]

PIECE_BYTES = 2**26  # of an array; a task costs Dask about a millisecond
CHUNK_BYTES = 2**23  # fixed, since a run resumes at the number of a chunk
RETRIES = 3
AHEAD = 2  # pieces in flight for each thread of the cluster


class Piece(NamedTuple):
    """What one task scores: a file, or rows of an array in a file."""

    path: str
    first: int | None = None
    last: int | None = None


def check_source(source: str, layout: Layout) -> None:
    """Refuse a source that cannot be read in pieces.

    Raises
    ------
    ValueError
        It is standard input, or a table whose sequences may go on in the next file.
    """
    if source == "-":
        raise ValueError(
            "a cluster cannot read standard input: give files that its workers can see"
        )
    if layout.a_row_is_a_step:
        raise ValueError(
            Message(
                "a table with one row for each step cannot be scored on a cluster, which reads "
                "each file by itself: leave out ",
                Option("dask"),
                ", or shuffle a dask.dataframe by its ids",
            )
        )


def make_pieces(source: str, layout: Layout, scorer: Scorer) -> list[Piece]:
    """Return the pieces of a source in its order; they depend on the source alone."""
    pieces = []
    for path in map(_absolute, find_files(source)):
        reader = open_source(path, layout, scorer.model)
        try:
            if isinstance(reader, ArrayReader) and reader.rows:
                rows = max(1, PIECE_BYTES // max(reader.step_bytes * reader.row_steps, 1))
                pieces += [
                    Piece(path, first, min(first + rows, reader.rows))
                    for first in range(0, reader.rows, rows)
                ]
            else:
                pieces.append(Piece(path))
        finally:
            reader.close()
    return pieces


def score_piece(
    scorer: Scorer, layout: Layout, piece: Piece
) -> list[tuple[Scored | None, int, dict[int, BadRow]]]:
    """Score a piece on a worker: for each chunk its results, its row count, and its bad rows."""
    done: list[tuple[Scored | None, int, dict[int, BadRow]]] = []
    reader = open_source(piece.path, layout, scorer.model)
    try:
        position = None
        if piece.last is not None and isinstance(reader, ArrayReader):
            reader.rows = piece.last
            position = (piece.first, 0)
        for chunk in reader.chunks(CHUNK_BYTES, position):
            bad = scorer.bad_rows(chunk)
            if bad and scorer.on_bad_row == "error":  # the caller knows the number of the row
                return [*done, (None, chunk.count, bad)]
            done.append((scorer.score(chunk, 0, bad), chunk.count, bad))
    finally:
        reader.close()
    return done


def score_pieces(
    client: Any,
    scorer: Scorer,
    layout: Layout,
    pieces: Sequence[Piece],
    position: Position,
    done: int,
) -> Iterator[Entry]:
    """Yield the results of all pieces from a position on, in order.

    Parameters
    ----------
    client
        A `distributed.Client`.
    scorer, layout, pieces
        What to score, and how.
    position
        The next piece, and how many of its chunks are done; None for the beginning.
    done
        How many sequences are done.

    Raises
    ------
    OSError
        Workers died while they scored a piece, again and again.
    """
    from distributed.scheduler import KilledWorker

    # a task of its own, so that Dask sends the scorer once, and again if it is lost
    shared = client.submit(_same, scorer, pure=False)
    under_way: deque[tuple[int, Any]] = deque()
    most = AHEAD * max(1, sum(client.nthreads().values()))
    start, skipped = position or (0, 0)
    waiting = iter(range(start, len(pieces)))
    try:
        while True:
            for number in waiting:
                piece = pieces[number]
                future = client.submit(
                    score_piece, shared, layout, piece, pure=False, retries=RETRIES
                )
                under_way.append((number, future))
                if len(under_way) >= most:
                    break
            if not under_way:
                return
            number, future = under_way.popleft()
            try:
                results = future.result()
            except KilledWorker as error:
                raise OSError(
                    f"workers died while scoring {pieces[number].path}: {error}"
                ) from None
            future.release()
            for i, (scored, count, bad) in enumerate(results):
                if i < skipped:
                    continue
                scorer.refuse(bad, pieces[number].path, done)
                assert scored is not None
                scored.rows += done
                after = (number + 1, 0) if i == len(results) - 1 else (number, i + 1)
                yield scored, count, after, bad
                done += count
            skipped = 0
    finally:
        client.cancel([future for _, future in under_way])


@contextmanager
def connected(where: Any) -> Iterator[Any]:
    """A client of the cluster at an address, of a new ``"local"`` cluster, or the one given.

    Raises
    ------
    ImportError
        Dask is not installed.
    OSError
        There is no cluster at the address.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise ImportError(
            Message(Option("dask"), ' needs Dask: pip install "fastlstm[dask]"')
        ) from None
    if isinstance(where, Client):
        yield where
    elif where == "local":
        # processes with one thread each: reading and decoding hold the interpreter's lock
        with (
            LocalCluster(threads_per_worker=1, dashboard_address=":0") as cluster,
            Client(cluster) as client,
        ):
            yield client
    else:
        with Client(os.fspath(where)) as client:
            print(f"Dask's dashboard: {client.dashboard_link}", file=sys.stderr)
            yield client


def _same(scorer: Scorer) -> Scorer:
    return scorer


def _absolute(path: str) -> str:
    return os.path.abspath(path)
