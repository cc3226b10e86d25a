"""What is timed: every engine takes a row and its input and gives a call to last hidden states."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from bench import file_engines
from bench.built import Built, Engine, fastest
from bench.network_rows import NetworkRow
from bench.rows import Row
from fastlstm import LSTM

__all__ = ["ENGINES", "thread_count"]

Array = npt.NDArray[Any]

# What the libraries below take their number of threads from, when they are first imported.
THREAD_VARIABLES = (
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

PEAK_FLOPS = 4e10  # a tenth of a second on two cores with AVX-512
READ_BYTES = 2**31  # far more than a cache holds


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """Let processes that are started within use so many threads."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def build_fastlstm(row: Row, x: Array, threads: int, model: LSTM | None = None) -> Built:
    model = model or row.model()
    if not model.return_sequences:
        return Built(lambda: model.predict(x, threads=threads), "predict()")
    out = np.empty((*x.shape[:2], model.output_size), row.dtype)
    return fastest(
        {
            "predict()": lambda: lambda: model.predict(x, threads=threads),
            "predict(out=)": lambda: lambda: model.predict(x, threads=threads, out=out),
        }
    )


def build_plain(row: NetworkRow, x: Array, threads: int) -> Built:
    """The plain network beside a row's; only that of an embedding has the same results."""
    plain, below = row.plain(), row.plain_inputs(x)
    call, settings = build_fastlstm(row, below, threads, plain)
    if below is not x:
        return Built(call, settings)

    def uncompared() -> None:
        call()

    return Built(uncompared, settings)


def build_one_thread(row: Row, x: Array, threads: int) -> Built:
    return build_fastlstm(row, x, 1)


def build_padded(row: Row, x: Array, threads: int) -> Built:
    model, lengths = row.model(), row.real_lengths()
    return Built(lambda: model.predict(x, lengths=lengths, threads=threads), "predict(lengths=)")


def build_ragged(row: Row, x: Array, threads: int) -> Built:
    from fastlstm import Ragged

    model = row.model()
    pieces = [sequence[:n] for sequence, n in zip(x, row.real_lengths(), strict=True)]
    ragged = Ragged.from_list(pieces)
    return Built(lambda: model.predict(ragged, threads=threads), "predict() of a Ragged")


def build_step(row: Row, x: Array, threads: int) -> Built:
    """One step from the state of the step before."""
    model = row.model()
    _, state = model(x)

    def call() -> None:
        nonlocal state
        _, state = model(x, state)

    return Built(call, "model(x, state)")


def build_default(row: Row, x: Array, threads: int) -> Built:
    model = row.model()
    return Built(lambda: model.predict(x), "predict()")


def build_numpy(row: Row, x: Array, threads: int) -> Built:
    from fastlstm import reference

    model = row.model()
    every = model.return_sequences
    return Built(
        lambda: reference.predict(model.network, x, return_sequences=every), "the reference loop"
    )


def build_prange(row: Row, x: Array, threads: int) -> Built:
    from bench.naive import last_hidden

    (layer,) = row.model().layers
    return Built(lambda: last_hidden(x, layer.w_ih, layer.w_hh, layer.bias))


def build_python(row: Row, x: Array, threads: int) -> Built:
    from bench import plain

    (layer,) = row.model().layers
    if row.I == row.H == 1:
        params = plain.tutorial_params(layer)
        return Built(
            lambda: np.array(
                [[plain.scalar_last_hidden(params, series)] for series in x[:, :, 0].tolist()]
            )
        )
    weights = layer.w_ih.tolist(), layer.w_hh.tolist(), layer.bias.tolist()
    return Built(lambda: np.array([plain.last_hidden(*weights, k) for k in x.tolist()]))


def build_trace(row: Row, x: Array, threads: int) -> Built:
    model = row.model()
    return Built(lambda: model.trace(x, threads=threads).hidden_state[:, -1], "trace()")


def build_fill(row: Row, x: Array, threads: int) -> Built:
    """Only write as many numbers as a trace holds, to fresh memory, with NumPy."""

    def fill() -> None:
        np.empty((6, len(x), row.T, row.H), row.dtype).fill(1)

    return Built(fill)


def build_peak(row: Row, x: Array, threads: int) -> Built:
    from bench import peak

    return Built(peak.build_peak(row.dtype, threads, PEAK_FLOPS))


def build_read(row: Row, x: Array, threads: int) -> Built:
    from bench import peak

    return Built(peak.build_read(threads, READ_BYTES))


def rival(module: str, function: str, *needs: str, **more: Any) -> Engine:
    """An engine of `bench.rivals`, which is imported when it is built."""

    def build(row: Row, x: Array, threads: int) -> Built:
        made: Callable[..., Built] = getattr(import_module(f"bench.rivals.{module}"), function)
        return made(row, x, threads)

    return Engine(build, needs=needs, **more)


FLOAT32 = ("float32",)

ENGINES = {
    "fastlstm": Engine(build_fastlstm),
    "fastlstm, 1 thread": Engine(build_one_thread),
    "numpy": Engine(build_numpy),
    "PyTorch": rival("pytorch", "build", "torch"),
    "ONNX Runtime": rival("onnx_runtime", "build", "onnxruntime", "onnx", dtypes=FLOAT32),
    "OpenVINO": rival("openvino", "build", "openvino", "onnx", dtypes=FLOAT32),
    "JAX": rival("jax_scan", "build", "jax", dtypes=FLOAT32),
    "Keras": rival("keras_jax", "build", "keras", "jax", dtypes=FLOAT32),
    "prange": Engine(build_prange, most_work=4e9, share=16),
    "python": Engine(build_python, most_work=2e7),
    "peak": Engine(build_peak, flops=PEAK_FLOPS),
    "read": Engine(build_read),
    # sequences of unequal length
    "fastlstm, padded": Engine(build_padded),
    "fastlstm, ragged": Engine(build_ragged),
    "PyTorch, packed": rival("pytorch", "build_packed", "torch"),
    # other kinds of network
    "fastlstm, plain": Engine(build_plain),
    "NumPy": Engine(build_numpy, most_work=1e9, share=64),
    # one small call
    "fastlstm, call": Engine(build_default),
    "PyTorch, call": rival("pytorch", "build_call", "torch"),
    "ONNX Runtime, call": rival("onnx_runtime", "build_call", "onnxruntime", "onnx"),
    "OpenVINO, call": rival("openvino", "build_call", "openvino", "onnx"),
    "fastlstm, step": Engine(build_step),
    "PyTorch, step": rival("pytorch", "build_step", "torch"),
    "ONNX Runtime, step": rival("onnx_runtime", "build_step", "onnxruntime", "onnx"),
    # from file to file
    "fastlstm, score": Engine(file_engines.build_score, from_file=True),
    "fastlstm, score .npy": Engine(file_engines.build_score_npy, from_file=True),
    "naive script": Engine(file_engines.build_naive, from_file=True),
    "ONNX Runtime, chunks": Engine(
        file_engines.build_onnx_runtime,
        ("onnxruntime", "onnx"),
        dtypes=FLOAT32,
        from_file=True,
        most_sequences=100_000,
    ),
    "read file": Engine(file_engines.build_read, from_file=True),
    # every value of every step
    "trace": Engine(build_trace),
    "fill": Engine(build_fill),
    "BlockLSTMV2": rival("tensorflow", "build", "tensorflow", dtypes=FLOAT32),
}
