"""OpenVINO: the ONNX model of a static shape, computed in float32, memory shared with NumPy."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness.engine import Call, Engine, Ready, Slices
from bench.harness.onnx_graph import model_bytes, model_input
from bench.harness.ways import batch_first, fastest_way, slice_sizes
from bench.harness.workload import Workload

Array = npt.NDArray[Any]


def compile_model(workload: Workload, N: int, threads: int, streams: int) -> Any:
    import openvino as ov

    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # its own choice would be bfloat16
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": streams,
    }
    core = ov.Core()
    return core.compile_model(
        core.read_model(model_bytes(workload.model(), N, workload.T)), "CPU", settings
    )


def tensor(workload: Workload, x: Array) -> tuple[Any, Array]:
    """Input for a request, and its memory, which the request does not keep alive."""
    import openvino as ov

    steps = model_input(workload.model(), x)
    return ov.Tensor(steps, shared_memory=True), steps


def result(compiled: Any) -> tuple[Any, Array]:
    """Where a request writes, and its memory."""
    import openvino as ov

    out = np.empty(list(compiled.output(0).shape), "float32")
    return ov.Tensor(out, shared_memory=True), out


def latency(workload: Workload, x: Array, threads: int) -> Call:
    """One request, on all threads."""
    request = compile_model(workload, len(x), threads, 1).create_infer_request()
    kept = tensor(workload, x)
    request.set_input_tensor(kept[0])

    def call(kept: object = kept) -> Array:
        request.infer()
        return batch_first(request.get_output_tensor().data)

    return call


def streams(workload: Workload, x: Array, threads: int, size: int) -> Call:
    """Slices of the batch, as many at once as there are threads."""
    compiled = compile_model(workload, size, threads, threads)
    requests = [compiled.create_infer_request() for _ in range(threads)]
    work = [
        (tensor(workload, x[start : start + size]), result(compiled))
        for start in range(0, len(x), size)
    ]
    found = Slices(batch_first(out) for _, (_, out) in work)

    def call() -> Slices:
        for k in range(0, len(work), threads):
            running = list(zip(requests, work[k : k + threads]))  # noqa: B905  # the last ones
            for request, ((steps, _), (out, _)) in running:
                request.set_input_tensor(steps)
                request.set_output_tensor(out)
                request.start_async()
            for request, _ in running:
                request.wait()
        return found

    return call


def build(workload: Workload, x: Array, threads: int) -> Ready:
    ways = {"LATENCY, the whole batch": lambda: latency(workload, x, threads)}
    for size in slice_sizes(len(x), threads):
        name = f"THROUGHPUT, {threads} streams, slices of {size}"
        ways[name] = partial(streams, workload, x, threads, size)
    way = fastest_way(ways)
    return way._replace(settings=f"f32, time first, shared memory, {way.settings}")


def build_call(workload: Workload, x: Array, threads: int) -> Ready:
    """One request for few short sequences."""
    return Ready(latency(workload, x, 1), "f32, LATENCY, infer(), 1 thread")


OPENVINO: dict[str, Any] = {
    "needs": ("openvino", "onnx"),
    "versions": ("openvino",),
    "steady": True,
}
ENGINES = (
    Engine(
        "OpenVINO", build, enters=("compare", "idle", "networks"), dtypes=("float32",), **OPENVINO
    ),
    Engine("OpenVINO, call", build_call, enters=("call",), **OPENVINO),
)
