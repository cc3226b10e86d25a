"""How long processes take to begin: imports, and the first result of an engine.

Every figure is of a fresh process. `python -m bench.startup ENGINE ROW DTYPE N THREADS` is that
process: it says so on standard output when the first result is there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from statistics import median

import numpy as np

from bench.engines import ENGINES, thread_count
from bench.machine import ROOT
from bench.rows import Row

IMPORTS = {
    "numpy": "import numpy",
    "fastlstm": "import fastlstm",
    "fastlstm.LSTM": "from fastlstm import LSTM",
}
TIMED_IMPORT = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"


def import_seconds(repeats: int) -> dict[str, list[float]]:
    """Seconds of each of `IMPORTS`, by turns, without the start of Python itself."""
    seconds: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(repeats + 1):
        for name, statement in IMPORTS.items():
            command = [sys.executable, "-c", TIMED_IMPORT.format(statement)]
            answer = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
            seconds[name].append(float(answer.stdout))
    return {name: values[1:] for name, values in seconds.items()}  # the first reads the disk


def first_calls(engine: str, row: Row, threads: int, cold: int = 1) -> dict[str, float]:
    """Seconds from the start of a process to an engine's first result for a row.

    Parameters
    ----------
    engine, row, threads
        As in `measure.compare`.
    cold
        How many times to begin with an empty folder of compiled code.

    Returns
    -------
    dict
        ``"cold"``: a median with such a folder; ``"warm"``: of three more processes each time,
        which find there what the first compiled.
    """
    seconds: dict[str, list[float]] = {"cold": [], "warm": []}
    row = row.with_sequences(ENGINES[engine].sequences(row))
    for _ in range(cold):
        with tempfile.TemporaryDirectory() as folder:
            for kind in ("cold", "warm", "warm", "warm"):
                seconds[kind].append(first_call(engine, row, threads, folder))
    return {kind: median(values) for kind, values in seconds.items()}


def first_call(engine: str, row: Row, threads: int, cache_folder: str) -> float:
    """Seconds from the start of one process to the engine's first result."""
    arguments = [engine, row.name, row.dtype, str(row.N), str(threads)]
    with thread_count(threads):
        environment = os.environ | {"NUMBA_CACHE_DIR": cache_folder}
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "bench.startup", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - started
    if line != b"done\n" or process.returncode:
        raise RuntimeError(f"{engine} on {row}: its process failed")
    return seconds


def main(engine: str, row: str, dtype: str, N: str, threads: str) -> None:
    """Run in the child."""
    work = Row.named(row, dtype).with_sequences(int(N))
    x = np.zeros((work.N, work.T, work.I), dtype)  # random numbers would cost time of their own
    ENGINES[engine].build(work, x, int(threads)).call()
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
