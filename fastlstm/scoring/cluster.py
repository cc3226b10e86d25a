"""Scoring on the workers of a Dask cluster: pieces of the source there, the result here.

Workers open the files themselves, so that they must see them under the same paths. Results come
back in the order of the source and are written as those of one machine are: the file has the same
bytes, and an interrupted run is resumable. Dask gives a piece to another worker if one dies.
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
from fastlstm.scoring.sources import Layout, find_files, open_source
from fastlstm.scoring.sources.arrays import ArrayReader

__all__ = ["Piece", "check_source", "connected", "make_pieces", "score_pieces"]

PIECE_BYTES = 2**26  # of an array: a task costs Dask about a millisecond
CHUNK_BYTES = 2**23  # a worker's; results are taken up again by the number of their chunk
RETRIES = 3
AHEAD = 2  # pieces under way for every thread of the cluster


class Piece(NamedTuple):
    """What one task scores: a file, or rows of an array in a file."""

    path: str
    first: int | None = None
    last: int | None = None


def check_source(source: str, layout: Layout) -> None:
    """Refuse what cannot be read in pieces.

    Raises
    ------
    ValueError
        It is standard input, or a table whose sequences may lie in several files.
    """
    if source == "-":
        raise ValueError("a cluster cannot read standard input: give files that its workers see")
    if layout.time is not None or layout.features is not None:
        raise ValueError(
            Message(
                "a sequence of a table in long format may lie in several files, which a cluster "
                "reads apart: leave out ",
                Option("dask"),
                ", or partition a dask.dataframe by its id",
            )
        )


def make_pieces(source: str, layout: Layout, scorer: Scorer) -> list[Piece]:
    """Return the pieces of a source, in its order; they depend on nothing else."""
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
    """Score a piece, on a worker: for each chunk its results, its rows, and the bad ones."""
    done: list[tuple[Scored | None, int, dict[int, BadRow]]] = []
    reader = open_source(piece.path, layout, scorer.model)
    try:
        position = None
        if piece.last is not None and isinstance(reader, ArrayReader):
            reader.rows = piece.last
            position = (piece.first, 0)
        for chunk in reader.chunks(CHUNK_BYTES, position):
            bad = scorer.bad_rows(chunk)
            if bad and scorer.on_bad_row == "error":  # told where the row's number is known
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
        What is scored how.
    position, done
        The next piece and how many of its chunks are done, None for the beginning; and how many
        sequences.

    Raises
    ------
    OSError
        Workers died of a piece, again and again.
    """
    from distributed.scheduler import KilledWorker

    # a task of its own, so that it is sent once and made anew where it was lost
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
                raise OSError(f"workers died of {pieces[number].path}: {error}") from None
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
    """A client of the cluster at an address, of a ``"local"`` one, or the client that was given.

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
        # processes of one thread each: what they read and decode holds the interpreter's lock
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
