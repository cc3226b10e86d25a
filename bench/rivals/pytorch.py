"""PyTorch: `nn.LSTM` and functions in inference mode."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt

from bench.harness.engine import Call, Engine, FirstScore, Ready, Slices
from bench.harness.torch_parts import function, input_layout, lstm
from bench.harness.ways import STEPS_FIRST, STEPS_SECOND, fastest_way, laid_out, slice_sizes
from bench.harness.workload import Workload
from fastlstm import LSTM

Array = npt.NDArray[Any]


def module(model: LSTM, threads: int) -> Any:
    """A network of nothing but equal layers as an `nn.LSTM`."""
    import torch

    torch.set_num_threads(threads)
    return lstm(model.recurrent)


def result(workload: Workload, x: Array, threads: int, layout: str) -> Call:
    """What the network gives, its recurrent layers in a layout."""
    import torch

    torch.set_num_threads(threads)
    model = workload.model()
    run = function(model, layout)
    steps = torch.from_numpy(laid_out(x, input_layout(model, layout)))

    def call() -> Array:
        with torch.inference_mode():
            found = run(steps)
        found = found.transpose(0, 1) if found.ndim == 3 and layout == STEPS_FIRST else found
        return found.numpy()

    return call


def at_once(workload: Workload, x: Array, threads: int, size: int) -> Call:
    """Slices of the batch, as many at once as there are threads, one thread each."""
    calls = [result(workload, x[k : k + size], 1, STEPS_FIRST) for k in range(0, len(x), size)]
    pool = ThreadPoolExecutor(threads)
    return lambda: Slices(pool.map(lambda call: call(), calls))


def build(workload: Workload, x: Array, threads: int) -> Ready:
    ways = {
        f"{threads} threads, batch first": partial(result, workload, x, threads, STEPS_SECOND),
        f"{threads} threads, time first": partial(result, workload, x, threads, STEPS_FIRST),
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
    return Ready(result(workload, x, 1, STEPS_SECOND), "1 thread")


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
