"""fastlstm's own ways: what is measured beside the rivals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import fastlstm
from bench.harness.engine import Engine, FirstScore, Ready
from bench.harness.ways import fastest_way
from bench.harness.workload import Workload
from fastlstm import LSTM, Ragged

Array = npt.NDArray[Any]

OWN, ONE_THREAD = "fastlstm", "fastlstm, 1 thread"
PADDED, RAGGED = "fastlstm, padded", "fastlstm, ragged"
PLAIN = "fastlstm, plain"  # the plain network beside one of another kind
CALL, STEP = "fastlstm, call", "fastlstm, step"
TRACE = "trace"
SCORE, SCORE_NPY = "fastlstm, score", "fastlstm, score .npy"


def is_own(label: str) -> bool:
    """Whether an engine's label is one of fastlstm's own."""
    return label.startswith(OWN) or label == TRACE


def build(workload: Workload, x: Array, threads: int) -> Ready:
    return build_model(workload.model(), x, threads)


def build_model(model: LSTM, x: Array, threads: int) -> Ready:
    if not model.return_sequences:
        return Ready(lambda: model.predict(x, threads=threads), "predict()")
    out = np.empty((*x.shape[:2], model.output_size), model.dtype)
    return fastest_way(
        {
            "predict()": lambda: lambda: model.predict(x, threads=threads),
            "predict(out=)": lambda: lambda: model.predict(x, threads=threads, out=out),
        }
    )


def build_one_thread(workload: Workload, x: Array, threads: int) -> Ready:
    return build(workload, x, 1)


def build_plain(workload: Any, x: Array, threads: int) -> Ready:
    """The plain network beside that of a `NetworkWorkload`."""
    below = workload.plain_inputs(x)
    call, settings = build_model(workload.plain(), below, threads)
    if below is not x:  # an embedding's vectors: the results are the same
        return Ready(call, settings)

    def uncompared() -> None:
        call()

    return Ready(uncompared, settings)


def build_padded(workload: Workload, x: Array, threads: int) -> Ready:
    model, lengths = workload.model(), workload.real_lengths()
    return Ready(lambda: model.predict(x, lengths=lengths, threads=threads), "predict(lengths=)")


def build_ragged(workload: Workload, x: Array, threads: int) -> Ready:
    model, lengths = workload.model(), workload.real_lengths()
    ragged = Ragged.from_list([sequence[:n] for sequence, n in zip(x, lengths, strict=True)])
    return Ready(lambda: model.predict(ragged, threads=threads), "predict() of a Ragged")


def build_call(workload: Workload, x: Array, threads: int) -> Ready:
    model = workload.model()
    return Ready(lambda: model.predict(x), "predict()")


def build_step(workload: Workload, x: Array, threads: int) -> Ready:
    """One step from the state of the step before."""
    model = workload.model()
    _, state = model(x)

    def call() -> None:
        nonlocal state
        _, state = model(x, state)

    return Ready(call, "model(x, state)")


def build_trace(workload: Workload, x: Array, threads: int) -> Ready:
    model = workload.model()
    return Ready(lambda: model.trace(x, threads=threads).hidden_state[:, -1], "trace()")


def build_score(workload: Any, path: Path, threads: int) -> Ready:
    """`fastlstm.score` with its defaults, on the file of a `FileWorkload`."""
    return score(workload, workload.source(path), path.with_name("score.npy"), threads)


def build_score_npy(workload: Any, path: Path, threads: int) -> Ready:
    """The same sequences from the ``.npy`` file."""
    return score(workload, path, path.with_name("score-npy.npy"), threads)


def score(workload: Workload, source: Path, destination: Path, threads: int) -> Ready:
    model = workload.model()

    def call() -> Array:
        fastlstm.score(model, source, destination, threads=threads)
        return np.load(destination, "r")

    return Ready(call, "score()")


def write_model(model: LSTM, workload: Workload, folder: Path) -> None:
    model.save(folder / "model.npz")


FIRST_SCORE = FirstScore(
    "import fastlstm",
    "model = fastlstm.load('model.npz')",
    "model.predict(x)",
    write_model,
)

ENGINES = (
    Engine(OWN, build, first_score=FIRST_SCORE),
    Engine(ONE_THREAD, build_one_thread),
    Engine(PADDED, build_padded),
    Engine(RAGGED, build_ragged),
    Engine(PLAIN, build_plain),
    Engine(CALL, build_call),
    Engine(STEP, build_step),
    Engine(TRACE, build_trace),
    Engine(SCORE, build_score, from_file=True),
    Engine(SCORE_NPY, build_score_npy, from_file=True),
)
