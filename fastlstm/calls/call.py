"""The arguments of a call, checked once."""

from __future__ import annotations

import operator
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.calls.ids import as_ids
from fastlstm.calls.masks import MaskedSource
from fastlstm.calls.sources import as_source
from fastlstm.calls.state import flat_state, learned_state
from fastlstm.engine.run.source import Source
from fastlstm.network.network import Network

__all__ = ["as_integer", "check_call", "check_out", "is_lazy", "new_array", "output_steps"]

Array = npt.NDArray[Any]


def check_call(
    network: Network,
    x: Any,
    lengths: Any,
    state: Any,
    threads: int | None,
    first: Network | None = None,
) -> tuple[Source, tuple[Array, Array] | None, int | None]:
    """Check the arguments of a call, which are those of `LSTM.predict`.

    Parameters
    ----------
    network, x, lengths, state, threads
        The network of the model and the arguments.
    first
        The first parts of the network, if only they are run: sequences that are too short for
        later ones are then no error.

    Returns
    -------
    source : Source
        The sequences without their masked steps.
    start : (h, c) or None
        The state before the first step, as `flat_state`; None for zeros.
    threads : int or None
        As given.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit the network; the message says what was expected.
    """
    if type(x) is not np.ndarray:
        refuse_lazy(x)
    n_hidden = network.cells[0].hidden_size
    if network.embedding is not None:
        source = as_ids(x, lengths, network.embedding.ids, n_hidden)
    else:
        source = as_source(x, lengths, network.input_size, n_hidden)
    if (masked := network.masked_input) is not None:
        source = MaskedSource(source, masked, network.input_size, network.input_dtype)
    run = network if first is None else first
    if not run.keeps_steps:
        run.steps(steps_of(source)).check()
    if state is None and not network.learns_state:
        start = None
    elif state is None:
        start = learned_state(network.cells, source.n_rows, network.dtype)
    else:
        start = flat_state(state, network.state_sizes, source.n_rows, network.dtype)
    if threads is not None:
        threads = as_integer("threads", threads)
        if threads < 1:
            raise ValueError(f"expected at least one thread, got {threads}")
    return source, start, threads


def steps_of(source: Source) -> npt.NDArray[np.int64]:
    """Return the steps of each sequence, or (1,) those of all if they are alike."""
    if source.lengths is not None:
        return source.lengths
    return np.full(min(source.n_rows, 1), source.n_steps, np.int64)


def output_steps(network: Network, source: Source) -> tuple[int, npt.NDArray[np.int64] | None]:
    """Return how many steps the outputs have, and how many of each row are real, if not all."""
    if network.keeps_steps:
        return source.n_steps, source.lengths
    whole = network.steps(np.array([source.n_steps], np.int64)).value(network.read_at - 1)
    n_steps = 0 if whole is None else int(whole[0])
    if source.lengths is None:
        return n_steps, None
    steps = network.output_steps(source.lengths)
    return max(n_steps, int(steps.max(initial=0))), steps


def new_array(shape: tuple[int, ...], dtype: np.dtype[Any], source: Source) -> Array:
    """Return an array for values of every sequence, or of every step, zero past each length."""
    if source.lengths is None or len(shape) == 2:
        return np.empty(shape, dtype)
    return np.zeros(shape, dtype)  # untouched memory, which costs nothing until it is written


def check_out(
    out: Array,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    source: Source,
    start: tuple[Array, Array] | None,
) -> Array | None:
    """Return `out` in the form that the engine writes to, or None if it cannot write in place.

    It cannot where it shares memory with what is read: the sequences, or the state before the
    first step.

    Raises
    ------
    TypeError, ValueError
        If it cannot hold the result.
    """
    if not isinstance(out, np.ndarray):
        raise TypeError(f"expected out to be an array, got {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(
            f"expected out of shape {shape} and dtype {dtype}, got {out.shape} and {out.dtype}"
        )
    if not out.flags.writeable:
        raise ValueError("expected out to be writeable, got a read-only array")
    if not (out.flags.c_contiguous and out.flags.aligned) or source.overlaps(out):
        return None
    if start is not None and any(np.may_share_memory(part, out) for part in start):
        return None
    return out.view(np.ndarray)


def is_lazy(x: Any) -> bool:
    """Tell whether x is a Dask collection; Dask is imported if there is one."""
    base = sys.modules.get("dask.base")
    return base is not None and bool(base.is_dask_collection(x))


def refuse_lazy(x: Any) -> None:
    """Refuse a Dask collection where all of x is needed at once.

    Raises
    ------
    TypeError
        If x is one.
    """
    if is_lazy(x):
        raise TypeError(
            f"expected x in memory, got a Dask {type(x).__name__}: only predict takes a Dask "
            "array; bring x into memory with .compute(), or work on its blocks with "
            "dask.array.map_blocks"
        )


def as_integer(name: str, value: Any) -> int:
    """Return an argument that counts something as a Python integer.

    Raises
    ------
    TypeError
        If it is not an integer.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"expected {name} to be an integer, got {type(value).__name__}") from None
