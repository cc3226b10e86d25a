"""PyTorch: `nn.LSTM` in inference mode."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.built import Built, Call, Parts, fastest, part_size, time_first
from bench.rows import Row
from fastlstm import LSTM, Embedding, Layer
from fastlstm.network.activations import STANDARD

Array = npt.NDArray[Any]


def module(model: LSTM, threads: int, batch_first: bool = True) -> Any:
    """The same network as an `nn.LSTM` whose layers have equal sizes, without its embedding.

    Raises
    ------
    NotImplementedError
        `nn.LSTM` does not have what the network has.
    """
    import torch

    torch.set_num_threads(threads)
    first = model.recurrent[0].cells[0]
    refuse(first)
    made = torch.nn.LSTM(
        first.input_size,
        first.hidden_size,
        model.num_layers,
        batch_first=batch_first,
        bidirectional=len(model.recurrent[0].cells) == 2,
        proj_size=0 if first.w_hr is None else first.output_size,
        dtype=getattr(torch, model.dtype.name),
    )
    names = {"weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh"}
    names |= {} if first.w_hr is None else {"weight_hr": "w_hr"}
    weights = {
        f"{theirs}_l{k}{direction}": torch.from_numpy(np.array(getattr(cell, ours)))
        for k, layer in enumerate(model.recurrent)
        for direction, cell in zip(("", "_reverse"), layer.cells, strict=False)
        for theirs, ours in names.items()
    }
    made.load_state_dict(weights)
    return made.eval()


def refuse(layer: Layer) -> None:
    lacks = {
        "peepholes": layer.peepholes is not None,
        "other activations": layer.activations != STANDARD,
        "coupled gates": layer.coupled,
    }
    if any(lacks.values()):
        raise NotImplementedError(f"nn.LSTM has no {', '.join(k for k in lacks if lacks[k])}")


def result(row: Row, x: Array, threads: int, batch_first: bool) -> Call:
    """What the row asks for: last states of the top layer, or its outputs at every step."""
    import torch

    model = row.model()
    made = module(model, threads, batch_first)
    steps = torch.from_numpy(np.ascontiguousarray(x) if batch_first else time_first(x))
    below = model.layers[0]
    table = torch.from_numpy(np.array(below.weight)) if isinstance(below, Embedding) else None
    directions = len(model.recurrent[-1].cells)

    def call() -> Array:
        with torch.inference_mode():
            taken = steps if table is None else torch.nn.functional.embedding(steps, table)
            every, (h, _) = made(taken)
            if model.return_sequences:
                return (every if batch_first else every.transpose(0, 1)).numpy()
            last = h[-1] if directions == 1 else torch.cat((h[-2], h[-1]), 1)
        return last.numpy()

    return call


def at_once(row: Row, x: Array, threads: int, size: int) -> Call:
    """Parts of the batch, as many at once as there are threads, each on one."""
    calls = [result(row, x[k : k + size], 1, False) for k in range(0, len(x), size)]
    pool = ThreadPoolExecutor(threads)
    return lambda: Parts(pool.map(lambda call: call(), calls))


def build(row: Row, x: Array, threads: int) -> Built:
    ways = {
        f"{threads} threads, batch first": partial(result, row, x, threads, True),
        f"{threads} threads, time first": partial(result, row, x, threads, False),
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
    return Built(result(row, x, 1, batch_first=True), "1 thread")


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
