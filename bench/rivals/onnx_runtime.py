"""ONNX Runtime: LSTM nodes of a static shape, time first, all optimisations."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bench.built import Built, Call, Parts, batch_first, fastest, part_size, time_first
from bench.rivals.onnx_graph import model_bytes
from bench.rows import Row

Array = npt.NDArray[Any]


def session(model: bytes | str, threads: int) -> Any:
    """A session on the CPU; `model` is a model or its file."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def build(row: Row, x: Array, threads: int) -> Built:
    ways = {"the whole batch": lambda: bound(row, x, threads)}
    if size := part_size(len(x)):
        ways[f"parts of {size}"] = lambda: in_parts(row, x, threads, size)
    way = fastest(ways)
    return way._replace(settings=f"{threads} threads, time first, bound memory, {way.settings}")


def in_parts(row: Row, x: Array, threads: int, size: int) -> Call:
    run = session(model_bytes(row.model(), size, row.T), threads)
    parts, found = [], Parts()
    for start in range(0, len(x), size):
        steps, out = time_first(x[start : start + size]), empty_result(run, row)
        parts.append((bind(run, steps, out), steps))
        found.append(batch_first(out))

    def call() -> Parts:
        for memory, _ in parts:
            run.run_with_iobinding(memory)
        return found

    return call


def bound(row: Row, x: Array, threads: int) -> Call:
    """Calls that read and write NumPy's memory in place."""
    run = session(model_bytes(row.model(), len(x), row.T), threads)
    out, steps = empty_result(run, row), time_first(x)
    bound_to = (bind(run, steps, out), steps)  # and keeps the memory

    def call() -> Array:
        run.run_with_iobinding(bound_to[0])
        return batch_first(out)

    return call


def empty_result(run: Any, row: Row) -> Array:
    return np.empty(run.get_outputs()[0].shape, row.dtype)


def bind(run: Any, steps: Array, out: Array) -> Any:
    """Let a run read and write NumPy's memory; both arrays have to outlive it."""
    memory = run.io_binding()
    memory.bind_cpu_input("x", steps)
    memory.bind_output("y", "cpu", 0, out.dtype.type, out.shape, out.ctypes.data)
    return memory


def build_call(row: Row, x: Array, threads: int) -> Built:
    """A plain `run` for few short sequences, as one does it from Python."""
    run = session(model_bytes(row.model(), row.N, row.T), 1)
    steps = time_first(x)
    return Built(lambda: run.run(None, {"x": steps})[0], "run(), 1 thread")


def build_step(row: Row, x: Array, threads: int) -> Built:
    """One step from the state of the step before: the states go in and come out again."""
    model = row.model()
    run = session(model_bytes(model, row.N, 1, state=True), 1)
    names = [f"{kind}{k}" for k in range(row.layers) for kind in "hc"]
    feed: dict[str, Array] = {"x": time_first(x)}
    feed |= {name: np.zeros((1, row.N, row.H), row.dtype) for name in names}

    def call() -> None:
        feed.update(zip(names, run.run(None, feed), strict=True))

    return Built(call, "run(), 1 thread")
