"""Bulk scoring: from files to files, larger than memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastlstm.messages import Message, Option, spelt
from fastlstm.network.network import as_flag
from fastlstm.network.reading import How
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
    node: str | None = None,
    config: Any = None,
) -> Summary:
    """Score the sequences of files and write the results to a file, in bounded memory.

    Reading, scoring and writing go on side by side, a chunk of sequences at a time. The
    destination appears when it is complete and on the disk. Until then ``DESTINATION.partial``
    holds what is done: with ``resume=True`` the same call goes on from there, whatever ended it,
    and the result has the same bytes.

    Parameters
    ----------
    model : LSTM or path
        The model, or a file that `fastlstm.load` reads; for those that do not say everything
        themselves there are the hints below.
    source : path
        ``.npy``, ``.npz``, ``.parquet``, ``.feather``, ``.arrow``, ``.zarr``,
        ``.h5:/path/inside``, ``.csv``, ``.csv.gz``, a folder or a glob of files of one kind, or
        ``"-"`` for standard input (an Arrow stream or ``.npy``).

        A table holds its sequences as lists, one row a sequence: lists of numbers, or for I
        inputs lists of lists, or of structs, of I numbers. In CSV the cells of a row are the
        steps, and empty cells at the end shorten the sequence. With `time` or `features` a table
        has one row a step.
    destination : path
        ``.npy``, ``.parquet``, ``.zarr``, ``.csv``, or ``"-"`` for CSV on standard output.
    lengths : array (N,) of int or path to an .npy file, optional
        The real steps of each row of a padded array.
    column : str, optional
        The column that holds the sequences as lists, if there are several.
    id, time, features : str, str, sequence of str, optional
        Columns of a table in long format, with one row a step: which sequence it is of, its
        order in it, and the inputs (by default all other columns of numbers). Sequences come in
        the order in which their ids appear first, and rows of the same id and time in the order
        of the table. The rows of an id need not follow each other; a table where they do not,
        and that is larger than memory, is sorted by DuckDB. Without `id` all rows are one
        sequence. `id` alone names the column that tells sequences apart in a table with one row
        a sequence.
    keep : sequence of str
        Columns that are carried along to the destination; `id` always is. In long format they
        have the value of the first step of a sequence, or of a window. With windows they come
        with a column ``window``, the number of a window in its sequence, which begins at step
        number * stride.
    window, stride : int, optional
        Score every stretch of `window` steps, each `stride` steps behind the one before.
    fill_missing : bool
        Chunks of a Zarr array that have no file hold nothing but the array's fill value. Most
        writers of Zarr leave such chunks out; but one that was deleted, or never copied, looks
        the same, and so the sequences that reach into it are bad rows unless this is said.
        Likewise the chunks of an HDF5 dataset that were never written.
    max_steps : int, optional
        Longer sequences are bad rows.
    return_sequences : bool, optional
        Scores of every step; by default as the model says.
    state, trace : bool
        Write the final states, and the gates of the last layer at every step, too.
    dtype : dtype, optional
        Compute in this; by default in the model's.
    on_bad_row : {"error", "nan", "skip"}
        What to do with a sequence that holds NaN, infinity or a number that the model's dtype
        cannot hold, is too long or cannot be read: end the run, write NaN, or leave it out.
    resume, restart : bool
        Go on with what an earlier run left, or throw that away. Without either, a run that
        finds such refuses. With nothing there, both begin at the beginning.
    memory : int or str
        What scoring may take beside what the process holds already, such as ``"500MB"``.
    threads : int, optional
        At most so many; by default what the process may use.
    progress : bool
        Draw a progress bar on stderr (needs tqdm).
    dask : str or distributed.Client, optional
        Score on the workers of a Dask cluster: its address, ``"local"``, or a client. They read
        the files themselves, file by file or array rows by rows; the result is written here.
    prefix, head, embedding, activation, activations, between, read, optional
    ignore, chain, skip, node, config : optional
        Hints for a model file, as `fastlstm.load` takes them.

    Returns
    -------
    Summary
        What was done, with the bad rows' count, reasons and first numbers, and how many sequences
        were shorter than a window.

    Raises
    ------
    TypeError, ValueError
        If an argument, the source or the model does not fit; or a row is bad. The message says
        what was expected.
    OSError
        If a file cannot be read or written, or the source changed while it was scored. What was
        done stays resumable, in the latter case only once the source is again what it was.
    ImportError
        If a format needs a package that is not installed; the message names what brings it.
    """
    from fastlstm.scoring.job import Job
    from fastlstm.scoring.outputs import Wanted
    from fastlstm.scoring.sources import Layout

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
        "node": node,
        "config": config,
    }
    hints = {name: value for name, value in given.items() if value is not None}
    if return_sequences is not None:
        return_sequences = as_flag("return_sequences", return_sequences)
    numbers = {"window": window, "stride": stride, "max_steps": max_steps, "threads": threads}
    for name, value in numbers.items():
        if isinstance(value, bool | np.bool_):  # Python counts them among the integers
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
    job = Job(
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
    with job:
        return job.run(**how)


def _names(option: str, names: Sequence[str]) -> tuple[str, ...]:
    """Names of columns; a single one is no sequence of them but of letters."""
    if isinstance(names, str):
        listed = Option(option, [names])
        raise TypeError(Message("expected a list of columns, ", listed, f", got {names!r}"))
    return tuple(names)
