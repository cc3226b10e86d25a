"""PyTorch: `nn.LSTM` in inference mode."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness.engine import Call, Engine, FirstScore, Ready, Slices
from bench.harness.ways import fastest_way, slice_sizes, time_first
from bench.harness.workload import Workload
from fastlstm import LSTM, Embedding, Layer
from fastlstm.network.activations import STANDARD

Array = npt.NDArray[Any]


def module(model: LSTM, threads: int, batch_first: bool = True) -> Any:
    """A network of equal layers as an `nn.LSTM`, without its embedding.

    Raises
    ------
    NotImplementedError
        `nn.LSTM` lacks something that the network has.
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


def result(workload: Workload, x: Array, threads: int, batch_first: bool) -> Call:
    """What the network gives: last states of its top layer, or the outputs of every step."""
    import torch

    model = workload.model()
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


def at_once(workload: Workload, x: Array, threads: int, size: int) -> Call:
    """Slices of the batch, as many at once as there are threads, one thread each."""
    calls = [result(workload, x[k : k + size], 1, False) for k in range(0, len(x), size)]
    pool = ThreadPoolExecutor(threads)
    return lambda: Slices(pool.map(lambda call: call(), calls))


def build(workload: Workload, x: Array, threads: int) -> Ready:
    ways = {
        f"{threads} threads, batch first": partial(result, workload, x, threads, True),
        f"{threads} threads, time first": partial(result, workload, x, threads, False),
    }
    for size in slice_sizes(len(x), threads):
        name = f"{threads} calls of 1 thread at once, slices of {size}, time first"
        ways[name] = partial(at_once, workload, x, threads, size)
    return fastest_way(ways)


def build_packed(workload: Workload, x: Array, threads: int) -> Ready:
    """Padded sequences and their lengths: packed, run, and put back into order."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence

    made = module(workload.model(), threads)
    steps, lengths = torch.from_numpy(x), torch.from_numpy(workload.real_lengths())

    def call() -> Array:
        with torch.inference_mode():
            packed = pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
            _, (h, _) = made(packed)
        return h[-1].numpy()

    return Ready(call, "pack_padded_sequence and forward")


def build_call(workload: Workload, x: Array, threads: int) -> Ready:
    """Few short sequences: one thread is the fastest."""
    return Ready(result(workload, x, 1, batch_first=True), "1 thread")


def build_step(workload: Workload, x: Array, threads: int) -> Ready:
    """One step from the state of the step before."""
    import torch

    made, steps = module(workload.model(), 1), torch.from_numpy(x)
    with torch.inference_mode():
        state = made(steps)[1]

    def call() -> None:
        nonlocal state
        with torch.inference_mode():
            _, state = made(steps, state)

    return Ready(call, "1 thread")


def write_weights(model: LSTM, workload: Workload, folder: Path) -> None:
    import torch

    torch.save(module(model, 1).state_dict(), folder / "model.pt")


FIRST_SCORE = FirstScore(
    "import torch",
    """
weights = torch.load("model.pt", weights_only=True)
sizes = weights["weight_ih_l0"].shape[1], weights["weight_hh_l0"].shape[1]
model = torch.nn.LSTM(*sizes, batch_first=True)
model.load_state_dict(weights)
""",
    "with torch.inference_mode(): model(torch.from_numpy(x))[1][0].numpy()",
    write_weights,
)

TORCH: dict[str, Any] = {"needs": ("torch",), "versions": ("torch",), "steady": True}
ENGINES = (
    Engine(
        "PyTorch",
        build,
        enters=("compare", "idle", "dense", "networks"),
        first_score=FIRST_SCORE,
        **TORCH,
    ),
    Engine("PyTorch, packed", build_packed, enters=("ragged",), **TORCH),
    Engine("PyTorch, call", build_call, enters=("call",), **TORCH),
    Engine("PyTorch, step", build_step, enters=("step",), **TORCH),
)
