"""OpenVINO: the ONNX model of a static shape, computed in float32, memory shared with NumPy."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.built import Built, Call, Parts, batch_first, fastest, part_size, time_first
from bench.rivals.onnx_graph import model_bytes
from bench.rows import Row

Array = npt.NDArray[Any]


def compile_model(row: Row, N: int, threads: int, streams: int) -> Any:
    import openvino as ov

    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # by itself it would compute in bfloat16
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": streams,
    }
    core = ov.Core()
    return core.compile_model(core.read_model(model_bytes(row.model(), N, row.T)), "CPU", settings)


def tensor(x: Array) -> tuple[Any, Array]:
    """Input for a request, and the memory that it does not keep alive by itself."""
    import openvino as ov

    steps = time_first(x)
    return ov.Tensor(steps, shared_memory=True), steps


def result(compiled: Any) -> tuple[Any, Array]:
    """Where a request writes, likewise."""
    import openvino as ov

    out = np.empty(list(compiled.output(0).shape), "float32")
    return ov.Tensor(out, shared_memory=True), out


def latency(row: Row, x: Array, threads: int) -> Call:
    """One request, on all threads."""
    request = compile_model(row, len(x), threads, 1).create_infer_request()
    kept = tensor(x)
    request.set_input_tensor(kept[0])

    def call(kept: object = kept) -> Array:
        request.infer()
        return batch_first(request.get_output_tensor().data)

    return call


def streams(row: Row, x: Array, threads: int, size: int) -> Call:
    """Parts of the batch, as many at once as there are threads."""
    compiled = compile_model(row, size, threads, threads)
    requests = [compiled.create_infer_request() for _ in range(threads)]
    parts = [
        (tensor(x[start : start + size]), result(compiled)) for start in range(0, len(x), size)
    ]
    found = Parts(batch_first(out) for _, (_, out) in parts)

    def call() -> Parts:
        for k in range(0, len(parts), threads):
            running = list(zip(requests, parts[k : k + threads]))  # noqa: B905  # the last ones
            for request, ((steps, _), (out, _)) in running:
                request.set_input_tensor(steps)
                request.set_output_tensor(out)
                request.start_async()
            for request, _ in running:
                request.wait()
        return found

    return call


def build(row: Row, x: Array, threads: int) -> Built:
    ways = {"LATENCY, the whole batch": lambda: latency(row, x, threads)}
    sizes = {len(x) // threads: len(x) % threads == 0, part_size(len(x)): threads > 1}
    for size, fits in sizes.items():
        if size and fits and threads > 1:
            name = f"THROUGHPUT, {threads} streams, parts of {size}"
            ways[name] = partial(streams, row, x, threads, size)
    way = fastest(ways)
    return way._replace(settings=f"f32, time first, shared memory, {way.settings}")


def build_call(row: Row, x: Array, threads: int) -> Built:
    """One request for few short sequences."""
    return Built(latency(row, x, 1), "f32, LATENCY, infer(), 1 thread")
