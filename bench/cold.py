"""How long a fresh process needs for its first score: import, load a model file, predict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.engines import ENGINES, thread_count
from bench.machine import ROOT
from bench.rows import Row
from bench.spread import timed

ROW = Row("cold", 1_000, 100, 8, 32, 1, "float32")
STEPS = ("import", "load", "score", "process")

# What each process does: imports, loading, first score of `x (N, T, I)`.
PROGRAMS = {
    "fastlstm": (
        "import fastlstm",
        "model = fastlstm.load('model.npz')",
        "model.predict(x)",
    ),
    "ONNX Runtime": (
        "import onnxruntime",
        "model = onnxruntime.InferenceSession('model.onnx', providers=['CPUExecutionProvider'])",
        "model.run(None, {'x': x.swapaxes(0, 1)})",
    ),
    "PyTorch": (
        "import torch",
        f"model = torch.nn.LSTM({ROW.I}, {ROW.H}, batch_first=True)\n"
        "model.load_state_dict(torch.load('model.pt', weights_only=True))",
        "with torch.inference_mode(): model(torch.from_numpy(x))[1][0].numpy()",
    ),
}
CHILD = """
import json, time
marks = [time.perf_counter()]
import numpy
{}
marks.append(time.perf_counter())
{}
marks.append(time.perf_counter())
x = numpy.load("x.npy")
{}
marks.append(time.perf_counter())
print(json.dumps([b - a for a, b in zip(marks, marks[1:])]), flush=True)
"""


def measure(threads: int, repeats: int) -> list[dict[str, Any]]:
    """Seconds of each step by engine, and of the whole process from its start to the score.

    fastlstm is there twice: with an empty folder of compiled code, and with a full one.
    """
    engines = [name for name in PROGRAMS if not ENGINES[name].missing()]
    found = []
    with tempfile.TemporaryDirectory() as name, thread_count(threads):
        folder = Path(name)
        write_files(folder, engines)
        kinds = [("fastlstm", "cold cache")]
        kinds += [(k, "warm cache" if k == "fastlstm" else "") for k in engines]
        runs: dict[tuple[str, str], list[list[float]]] = {kind: [] for kind in kinds}
        for kind in kinds[1:]:
            start(kind[0], folder, folder / "cache")  # reads the disk; fills the cache
        for _ in range(repeats):
            for kind in kinds:
                with tempfile.TemporaryDirectory() as empty:
                    cache = Path(empty) if kind[1] == "cold cache" else folder / "cache"
                    runs[kind].append(start(kind[0], folder, cache))
        for (engine, cache_state), seconds in runs.items():
            columns = dict(zip(STEPS, zip(*seconds, strict=True), strict=True))
            found.append(
                {"name": engine, "cache": cache_state}
                | {step: timed(column) for step, column in columns.items()}
            )
    return found


def write_files(folder: Path, engines: list[str]) -> None:
    """The same network in each engine's file, and the input."""
    model = ROW.model()
    np.save(folder / "x.npy", ROW.inputs())
    model.save(folder / "model.npz")
    if "ONNX Runtime" in engines:
        from bench.rivals.onnx_graph import model_bytes

        (folder / "model.onnx").write_bytes(model_bytes(model, ROW.N, ROW.T))
    if "PyTorch" in engines:
        import torch

        from bench.rivals.pytorch import module

        torch.save(module(model, 1).state_dict(), folder / "model.pt")


def start(engine: str, folder: Path, cache: Path) -> list[float]:
    """Seconds of one process: its three steps, and all from its start."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": path}
    program = CHILD.format(*PROGRAMS[engine])
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=folder, env=environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - started
    if process.returncode or not line:
        raise RuntimeError(f"{engine}: its process failed")
    return [*json.loads(line), seconds]
