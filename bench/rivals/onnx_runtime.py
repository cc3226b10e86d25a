"""ONNX Runtime: LSTM nodes of a static shape, time first, all optimisations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness.engine import Call, Engine, FirstScore, Ready, Slices
from bench.harness.onnx_graph import model_bytes, model_input
from bench.harness.ways import batch_first, fastest_way, slice_size, time_first
from bench.harness.workload import Workload
from fastlstm import LSTM

Array = npt.NDArray[Any]


def session(model: bytes | str, threads: int) -> Any:
    """A session on the CPU; `model` is a model or its file."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def build(workload: Workload, x: Array, threads: int) -> Ready:
    ways = {"the whole batch": lambda: bound(workload, x, threads)}
    if size := slice_size(len(x)):
        ways[f"slices of {size}"] = lambda: in_slices(workload, x, threads, size)
    way = fastest_way(ways)
    return way._replace(settings=f"{threads} threads, time first, bound memory, {way.settings}")


def in_slices(workload: Workload, x: Array, threads: int, size: int) -> Call:
    model = workload.model()
    run = session(model_bytes(model, size, workload.T), threads)
    bindings, found = [], Slices()
    for start in range(0, len(x), size):
        steps, out = model_input(model, x[start : start + size]), empty_result(run, workload)
        bindings.append((bind(run, steps, out), steps))  # keeps the memory of the steps
        found.append(batch_first(out))

    def call() -> Slices:
        for binding, _ in bindings:
            run.run_with_iobinding(binding)
        return found

    return call


def bound(workload: Workload, x: Array, threads: int) -> Call:
    """Calls that read and write NumPy's memory in place."""
    model = workload.model()
    run = session(model_bytes(model, len(x), workload.T), threads)
    out, steps = empty_result(run, workload), model_input(model, x)
    binding = bind(run, steps, out), steps  # keeps the memory of the steps

    def call() -> Array:
        run.run_with_iobinding(binding[0])
        return batch_first(out)

    return call


def empty_result(run: Any, workload: Workload) -> Array:
    return np.empty(run.get_outputs()[0].shape, workload.dtype)


def bind(run: Any, steps: Array, out: Array) -> Any:
    """Have a session read and write NumPy's memory; both arrays have to outlive the binding."""
    binding = run.io_binding()
    binding.bind_cpu_input("x", steps)
    binding.bind_output("y", "cpu", 0, out.dtype.type, out.shape, out.ctypes.data)
    return binding


def build_call(workload: Workload, x: Array, threads: int) -> Ready:
    """A plain `run` for few short sequences, as one would call it from Python."""
    run = session(model_bytes(workload.model(), workload.N, workload.T), 1)
    steps = time_first(x)
    return Ready(lambda: run.run(None, {"x": steps})[0], "run(), 1 thread")


def build_step(workload: Workload, x: Array, threads: int) -> Ready:
    """One step from the state of the step before: states go in and come out."""
    model = workload.model()
    run = session(model_bytes(model, workload.N, 1, state=True), 1)
    names = [f"{kind}{k}" for k in range(workload.layers) for kind in "hc"]
    feed: dict[str, Array] = {"x": time_first(x)}
    feed |= {name: np.zeros((1, workload.N, workload.H), workload.dtype) for name in names}

    def call() -> None:
        feed.update(zip(names, run.run(None, feed), strict=True))

    return Ready(call, "run(), 1 thread")


CHUNKS = (1_000, 4_000, 16_000)  # sequences at a time, from file to file
TRIED = 16_000  # sequences that each size is tried on


def build_score(workload: Any, path: Path, threads: int) -> Ready:
    """From file to file, with the chunks that are the fastest.

    The choice is noted beside the file, so that other processes need not try again.
    """
    note = path.with_name("onnx-chunk.txt")
    if not note.exists():
        some = workload.with_sequences(min(workload.N, TRIED))
        note.write_text(fastest_way(score_ways(some, path, threads)).settings)
    size = int(note.read_text())
    return Ready(score(workload, path, threads, size), f"{threads} threads, chunks of {size:,}")


def score_ways(workload: Any, path: Path, threads: int) -> dict[str, Callable[[], Call]]:
    return {str(size): partial(score, workload, path, threads, size) for size in CHUNKS}


def score(workload: Any, path: Path, threads: int, size: int) -> Call:
    """Read, score and write chunks of this size."""
    run = session(model_bytes(workload.model(), "N", workload.T), threads)
    destination = path.with_name("onnx.npy")

    def call() -> Array:
        out = np.lib.format.open_memmap(destination, "w+", workload.dtype, (workload.N, 1))
        done = 0
        for x in workload.chunks(path, size):
            out[done : done + len(x)] = run.run(None, {"x": time_first(x)})[0]
            done += len(x)
        out.flush()
        return out

    return call


def write_model(model: LSTM, workload: Workload, folder: Path) -> None:
    (folder / "model.onnx").write_bytes(model_bytes(model, workload.N, workload.T))


FIRST_SCORE = FirstScore(
    "import onnxruntime",
    "model = onnxruntime.InferenceSession('model.onnx', providers=['CPUExecutionProvider'])",
    "model.run(None, {'x': x.swapaxes(0, 1)})",
    write_model,
)

ONNX_RUNTIME: dict[str, Any] = {
    "needs": ("onnxruntime", "onnx"),
    "versions": ("onnxruntime",),
    "steady": True,
}
ENGINES = (
    Engine(
        "ONNX Runtime",
        build,
        enters=("compare", "idle", "networks"),
        dtypes=("float32",),
        first_score=FIRST_SCORE,
        **ONNX_RUNTIME,
    ),
    Engine("ONNX Runtime, call", build_call, enters=("call",), **ONNX_RUNTIME),
    Engine("ONNX Runtime, step", build_step, enters=("step",), **ONNX_RUNTIME),
    Engine(
        "ONNX Runtime, chunks",
        build_score,
        enters=("score",),
        dtypes=("float32",),
        from_file=True,
        most_sequences=100_000,
        **ONNX_RUNTIME,
    ),
)
