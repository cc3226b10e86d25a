"""Fresh Python processes that print one line: what a process needs, and how long it takes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.harness.machine import ROOT

__all__ = ["ChildError", "first_line", "thread_count"]

# Where libraries look for their number of threads when they are first imported.
THREAD_VARIABLES = (
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class ChildError(RuntimeError):
    """A process failed. The message is the last line that it wrote to standard error."""


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """Let processes that are started within the block use this many threads."""
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


def first_line(
    *arguments: str, threads: int, cwd: Path = ROOT, cache: Path | None = None
) -> tuple[str, float]:
    """Run Python until it has printed a line; return the line, and the seconds until it was there.

    Parameters
    ----------
    arguments
        Python's, e.g. ``"-m", "bench.loop.memory"``.
    threads
        How many the process may use.
    cwd
        The folder that it runs in. `bench` is importable from any.
    cache
        The folder of compiled code; by default, Numba's own choice.

    Raises
    ------
    ChildError
        The process failed, or printed nothing.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    with thread_count(threads):
        environment = os.environ | {"PYTHONPATH": path}
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = str(cache)
    with tempfile.TemporaryFile() as log:  # a pipe that nobody reads would fill up
        started = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            seconds = time.perf_counter() - started
            process.stdout.read()
        if process.returncode or not line:
            log.seek(0)
            said = log.read().decode(errors="replace").strip().splitlines()
            raise ChildError(said[-1] if said else "its process ended")
    return line.rstrip("\n"), seconds
