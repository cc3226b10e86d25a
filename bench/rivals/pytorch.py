"""PyTorch: `nn.LSTM` in inference mode."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.built import Built, Call, fastest, part_size, time_first
from bench.rows import Row
from fastlstm import LSTM

Array = npt.NDArray[Any]


def module(model: LSTM, threads: int, batch_first: bool = True) -> Any:
    """The same network as an `nn.LSTM` whose layers have equal sizes."""
    import torch

    torch.set_num_threads(threads)
    made = torch.nn.LSTM(
        model.input_size,
        model.hidden_size,
        model.num_layers,
        batch_first=batch_first,
        dtype=getattr(torch, model.dtype.name),
    )
    names = {"weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh"}
    weights = {
        f"{theirs}_l{k}": torch.from_numpy(np.array(getattr(layer, ours)))
        for k, layer in enumerate(model.layers)
        for theirs, ours in names.items()
    }
    made.load_state_dict(weights)
    return made.eval()


def last_hidden(row: Row, x: Array, threads: int, batch_first: bool) -> Call:
    import torch

    made = module(row.model(), threads, batch_first)
    steps = torch.from_numpy(np.ascontiguousarray(x) if batch_first else time_first(x))

    def call() -> Array:
        with torch.inference_mode():
            _, (h, _) = made(steps)
        return h[-1].numpy()

    return call


def at_once(row: Row, x: Array, threads: int, size: int) -> Call:
    """Parts of the batch, as many at once as there are threads, each on one."""
    calls = [last_hidden(row, x[k : k + size], 1, False) for k in range(0, len(x), size)]
    pool = ThreadPoolExecutor(threads)
    return lambda: np.concatenate(list(pool.map(lambda call: call(), calls)))


def build(row: Row, x: Array, threads: int) -> Built:
    ways = {
        f"{threads} threads, batch first": partial(last_hidden, row, x, threads, True),
        f"{threads} threads, time first": partial(last_hidden, row, x, threads, False),
    }
    sizes = {len(x) // threads: len(x) % threads == 0, part_size(len(x)): threads > 1}
    for size, fits in sizes.items():
        if size and fits and threads > 1:
            name = f"{threads} calls of 1 thread at once, parts of {size}, time first"
            ways[name] = partial(at_once, row, x, threads, size)
    return fastest(ways)


def build_packed(row: Row, x: Array, threads: int) -> Built:
    """Padded sequences and their lengths: packed, run, and brought back into order."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence

    made = module(row.model(), threads)
    steps, lengths = torch.from_numpy(x), torch.from_numpy(row.real_lengths())

    def call() -> Array:
        with torch.inference_mode():
            packed = pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
            _, (h, _) = made(packed)
        return h[-1].numpy()

    return Built(call, "pack_padded_sequence and forward")


def build_call(row: Row, x: Array, threads: int) -> Built:
    """Few short sequences: one thread is the fastest."""
    return Built(last_hidden(row, x, 1, batch_first=True), "1 thread")


def build_step(row: Row, x: Array, threads: int) -> Built:
    """One step from the state of the step before."""
    import torch

    made, steps = module(row.model(), 1), torch.from_numpy(x)
    with torch.inference_mode():
        state = made(steps)[1]

    def call() -> None:
        nonlocal state
        with torch.inference_mode():
            _, state = made(steps, state)

    return Built(call, "1 thread")
