"""Bulk scoring: from files to files, larger than memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastlstm.messages import Message, Option, spelt
from fastlstm.network.network import as_flag
from fastlstm.network.reading import How
from fastlstm.scoring.outputs import Wanted
from fastlstm.scoring.run import Run
from fastlstm.scoring.sources.layout import Layout
from fastlstm.scoring.summary import Summary

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["Summary", "score"]


@spelt
def score(
    model: LSTM | str | os.PathLike[str],
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    lengths: Any = None,
    column: str | None = None,
    id: str | None = None,
    time: str | None = None,
    features: Sequence[str] | None = None,
    keep: Sequence[str] = (),
    window: int | None = None,
    stride: int = 1,
    fill_missing: bool = False,
    max_steps: int | None = None,
    return_sequences: bool | None = None,
    state: bool = False,
    trace: bool = False,
    dtype: Any = None,
    on_bad_row: Literal["error", "nan", "skip"] = "error",
    resume: bool = False,
    restart: bool = False,
    memory: int | str = "500MB",
    threads: int | None = None,
    progress: bool = False,
    dask: Any = None,
    prefix: str | Sequence[str] | None = None,
    head: Any = None,
    embedding: str | None = None,
    activation: Any = None,
    activations: Sequence[Any] | None = None,
    between: Any = None,
    read: How | None = None,
    ignore: str | Sequence[str] | None = None,
    chain: Literal["steps"] | None = None,
    skip: int | None = None,
    parts: str | Sequence[str] | None = None,
    node: str | None = None,
    config: Any = None,
) -> Summary:
    """Score the sequences of files and write the results to a file, in bounded memory.

    Sequences are read, scored and written side by side, a chunk at a time. The destination appears
    when it is complete and on the disk. Until then ``DESTINATION.partial`` holds what is done:
    with ``resume=True`` the same call goes on from there, whatever ended the run, and the result
    has the same bytes.

    Parameters
    ----------
    model : LSTM or path
        The model, or a file that `fastlstm.load` reads; the hints below say what the file does
        not.
    source : path
        ``.npy``, ``.npz``, ``.parquet``, ``.feather``, ``.arrow``, ``.zarr``,
        ``.h5:/path/inside``, ``.csv``, ``.csv.gz``, a folder or a glob of files of one kind, or
        ``"-"`` for standard input (an Arrow stream or ``.npy``).

        A table has one row for each sequence, with a column of lists: of numbers, or for I inputs
        of lists (or structs) of I numbers. In CSV the cells of a row are the steps, and empty
        cells at the end shorten the sequence. With `time` or `features` a table has one row for
        each step.
    destination : path
        ``.npy``, ``.parquet``, ``.zarr``, ``.csv``, or ``"-"`` for CSV on standard output.
    lengths : array (N,) of int or path to an .npy file, optional
        The real length of each row of a padded array.
    column : str, optional
        The column that holds the sequences, if a table has several columns of lists.
    id, time, features : str, str, sequence of str, optional
        Columns of a table with one row for each step: the id of its sequence, its time, and its
        inputs (by default all other columns of numbers). Sequences come in the order in which
        their ids first appear, and steps of the same time in the order of the table. The rows of
        an id need not follow each other; if they do not, a table larger than memory is sorted by
        DuckDB. Without `id` all rows are one sequence. In a table with one row for each sequence,
        `id` names the column that identifies them.
    keep : sequence of str
        Columns to carry along to the destination; `id` always is. If a row is a step, they have
        the value of the first step of a sequence, or of a window. With windows there is also a
        column ``window``: window number k of a sequence begins at step k * stride.
    window, stride : int, optional
        Score every stretch of `window` steps; each begins `stride` steps after the previous one.
    fill_missing : bool
        Take missing chunks of a Zarr array to hold the array's fill value. Most writers of Zarr
        leave such chunks out, but a chunk that was deleted or never copied looks the same;
        without this, sequences that reach into a missing chunk are bad rows. The same holds for
        chunks of an HDF5 dataset that were never written.
    max_steps : int, optional
        Longer sequences are bad rows.
    return_sequences : bool, optional
        Write scores of every step; by default as the model says.
    state, trace : bool
        Also write the final states, and the gates of the last layer at every step.
    dtype : dtype, optional
        Compute in this dtype; by default in the model's.
    on_bad_row : {"error", "nan", "skip"}
        What to do with a sequence that holds NaN, infinity or a number that the model's dtype
        cannot hold, that is too long, or that cannot be read: end the run, write NaN, or leave it
        out.
    resume, restart : bool
        Go on with what an earlier run left, or throw it away. Without either, finding something
        is an error. If there is nothing, both start at the beginning.
    memory : int or str
        How much memory scoring may take beside what the process already holds.
    threads : int, optional
        The most threads to use; by default all that the process may.
    progress : bool
        Draw a progress bar on stderr (needs tqdm).
    dask : str or distributed.Client, optional
        Score on the workers of a Dask cluster: its address, ``"local"``, or a client. The workers
        read the files themselves, by files or by rows of an array; the result is written here.
    prefix, head, embedding, activation, activations, between, read, optional
    ignore, chain, skip, parts, node, config : optional
        Hints for a model file, as `fastlstm.load` takes them.

    Returns
    -------
    Summary
        What was done, with the count, reasons and first numbers of bad rows, and how many
        sequences were shorter than a window.

    Raises
    ------
    TypeError, ValueError
        An argument, the source or the model does not fit, or a row is bad. The message says what
        was expected.
    OSError
        A file cannot be read or written, or the source changed while it was scored. What was done
        can be resumed, in the latter case only once the source is again what it was.
    ImportError
        A format needs a package that is not installed; the message says how to install it.

    Examples
    --------
    >>> score("model.npz", "windows.npy", "scores.npy").written  # doctest: +SKIP
    50000
    """
    given = {
        "prefix": prefix,
        "head": head,
        "embedding": embedding,
        "activation": activation,
        "activations": activations,
        "between": between,
        "read": read,
        "ignore": ignore,
        "chain": chain,
        "skip": skip,
        "parts": parts,
        "node": node,
        "config": config,
    }
    hints = {name: value for name, value in given.items() if value is not None}
    if return_sequences is not None:
        return_sequences = as_flag("return_sequences", return_sequences)
    numbers = {"window": window, "stride": stride, "max_steps": max_steps, "threads": threads}
    for name, value in numbers.items():
        if isinstance(value, bool | np.bool_):  # which Python takes for integers
            raise TypeError(f"expected {name} to be an integer of 1 or more, got {value!r}")
    if isinstance(dask, bool):
        raise TypeError(f"expected dask to be an address, 'local' or a client, got {dask!r}")
    flags = {"resume": resume, "restart": restart, "progress": progress}
    how = {name: as_flag(name, value) for name, value in flags.items()}
    layout = Layout(
        lengths=lengths,
        column=column,
        id=id,
        time=time,
        features=None if features is None else _names("features", features),
        keep=_names("keep", keep),
        window=window,
        stride=stride,
        fill_missing=as_flag("fill_missing", fill_missing),
    )
    run = Run(
        model,
        source,
        destination,
        layout=layout,
        wanted=Wanted(return_sequences, as_flag("state", state), as_flag("trace", trace)),
        hints=hints,
        dtype=dtype,
        max_steps=max_steps,
        on_bad_row=on_bad_row,
        memory=memory,
        threads=threads,
        dask=dask,
    )
    with run:
        return run.score(**how)


def _names(option: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return names of columns as a tuple, and refuse a single name: it is a sequence of letters."""
    if isinstance(names, str):
        listed = Option(option, [names])
        raise TypeError(Message("expected a list of columns, ", listed, f", got {names!r}"))
    return tuple(names)
