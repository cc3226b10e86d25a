"""`LSTM.predict` on a Dask array: a task for every block of rows.

Dask is not imported here: a caller with a Dask array has imported it.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fastlstm.calls.call import check_call, is_lazy
from fastlstm.calls.sources import check_length_form, check_lengths, check_numbers, padded_shape
from fastlstm.network.network import Network

__all__ = ["predict_blocks"]

Array = npt.NDArray[Any]


class Model(Protocol):
    """What is needed of an `LSTM`."""

    @property
    def network(self) -> Network:
        """The network."""

    def predict(
        self, x: Any, lengths: Any, *, return_sequences: bool, threads: int | None
    ) -> Array:
        """Return the outputs of x."""


def predict_blocks(
    model: Model,
    x: Any,
    lengths: Any,
    state: Any,
    every: bool,
    threads: int | None,
    out: Any,
    progress: bool,
) -> Any:
    """Return the outputs of a Dask array as a Dask array, with the same blocks of rows.

    Parameters
    ----------
    model
        The model. It goes into the graph once, and compiles in the process that runs a task.
    x : dask.array.Array (N, T, I)
        Or another shape that `LSTM.predict` takes. Blocks along T and I are joined in the task of
        their rows. The sizes of the blocks of rows may be unknown.
    lengths : array (N,) of int, or Dask array, optional
        A Dask array is rechunked to the row blocks of x.
    every
        Whether to return the outputs of every step.
    threads
        The threads of each task; None means one, since Dask runs several tasks at once.
    state, out, progress
        Refused, unless they have their default values.

    Returns
    -------
    dask.array.Array (N, outputs), or (N, T, outputs)

    Raises
    ------
    TypeError, ValueError
        As `LSTM.predict`, for what shapes and dtypes tell before any task runs; if x is another
        Dask collection; or if an argument is refused.
    """
    import dask
    import dask.array as da

    if not isinstance(x, da.Array):
        raise TypeError(
            f"expected an array in memory or a Dask array, got a Dask {type(x).__name__}: score "
            "the partitions of a bag or a data frame with map_partitions (docs/clusters.md)"
        )
    _refuse(state, out, progress)
    check_numbers(x._meta, "x")
    network = model.network
    n_rows, n_steps, n_inputs = padded_shape(
        x.shape, network.input_size, network.recurrent[0].hidden_size
    )
    steps, taken = np.array([n_steps]), n_steps
    if network.keeps_steps:
        taken = 1 if n_steps else 0
    elif lengths is not None and network.steps(steps).refused[0]:
        taken = network.step_limits[0]  # of these steps there need not be a row
    check_call(network, np.zeros((1, taken, n_inputs), x.dtype), None, None, threads)
    if x.ndim == 1 or (x.ndim == 2 and n_inputs > 1):
        x = x[np.newaxis]
    found = network.steps(steps).value(network.read_at - 1) if every else None
    of_outputs = n_steps if found is None else int(found[0])
    axes = "nti"[: x.ndim]
    if lengths is not None:
        lengths = _blocks_of_lengths(lengths, x, n_rows, n_steps)
    return da.blockwise(
        _predict_block,
        "nso" if every else "no",
        *(x, axes),
        *(lengths, None if lengths is None else "n"),
        *(da.arange(x.numblocks[0], chunks=1), "n"),
        *(dask.delayed(model, pure=True, traverse=False), None),
        *(every, None),
        *(1 if threads is None else threads, None),
        new_axes={"o": network.output_size} | ({"s": of_outputs} if every else {}),
        dtype=network.dtype,
        meta=np.empty((0,) * (3 if every else 2), network.dtype),
        align_arrays=False,  # they are aligned; blocks of unknown size could not be
        token="lstm-predict",
    )


def _predict_block(
    blocks: Any, lengths: Any, number: Array, model: Model, every: bool, threads: int
) -> Array:
    try:
        x = _joined(blocks)
        return model.predict(x, lengths, return_sequences=every, threads=threads)
    except ValueError as error:  # it counts the sequences from the first one of the block
        raise ValueError(f"block {number[0]} of the rows: {error}") from error


def _joined(blocks: Any, axis: int = 1) -> Any:
    """Return one block with all steps and inputs, joined from nested lists of blocks."""
    if not isinstance(blocks, list):
        return blocks
    parts = [_joined(block, axis + 1) for block in blocks]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis)


def _refuse(state: Any, out: Any, progress: bool) -> None:
    instead = "an argument for arrays in memory, got one with a Dask array: "
    if state is not None:
        raise ValueError(
            f"state is {instead}call the model on each block, with that block's state, in "
            "dask.array.map_blocks"
        )
    if out is not None:
        raise ValueError(f"out is {instead}write the result with its to_zarr or dask.array.store")
    if progress:
        raise ValueError(
            f"progress is {instead}Dask shows its own, dask.diagnostics.ProgressBar or "
            "distributed.progress"
        )


def _blocks_of_lengths(lengths: Any, x: Any, n_rows: int, n_steps: int) -> Any:
    """Return lengths (N,) as a Dask array with the blocks of rows of x."""
    import dask.array as da

    rows = x.chunks[0]
    unknown = math.isnan(n_rows)
    if not is_lazy(lengths):
        if unknown:
            raise ValueError(
                "expected lengths as a Dask array with the row blocks of x, whose sizes are "
                "unknown: an array in memory cannot be cut to match; or call "
                "x.compute_chunk_sizes() first"
            )
        return da.from_array(check_lengths(lengths, n_rows, n_steps), chunks=(rows,))
    if not isinstance(lengths, da.Array):
        raise TypeError(
            f"expected lengths as an array or a Dask array, got a Dask {type(lengths).__name__}"
        )
    unknown |= any(math.isnan(size) for size in lengths.shape)
    shape = x.shape[:1] if unknown and lengths.ndim == 1 else lengths.shape
    check_length_form(shape, lengths.dtype, n_rows)
    if not unknown:
        return lengths.rechunk((rows,))
    if lengths.numblocks != x.numblocks[:1]:
        raise ValueError(
            f"expected lengths in the {x.numblocks[0]} row blocks of x, since the sizes of some "
            f"are unknown, got {lengths.numblocks[0]}"
        )
    return lengths
