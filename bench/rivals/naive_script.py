"""The script that one would write first: load a whole file, `predict`, save."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness.engine import Engine, Ready

Array = npt.NDArray[Any]


def build(workload: Any, path: Path, threads: int) -> Ready:
    model, destination = workload.model(), path.with_name("naive.npy")

    def call() -> Array:
        np.save(destination, model.predict(workload.load(path), threads=threads))
        return np.load(destination, "r")

    return Ready(call, "load, predict(), save")


ENGINES = (Engine("naive script", build, enters=("score",), from_file=True),)
