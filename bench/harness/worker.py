"""An engine in a process of its own, stopped while it is not its turn.

A stopped process cannot disturb the others. A waiting one can: the thread pools of several
libraries spin for a while when they have nothing to do.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness.engine import Engine
from bench.harness.workload import Workload

__all__ = ["EngineError", "Worker"]

Array = npt.NDArray[Any]

IDLE_CALLS = 4  # in a turn with a pause before each call; one more comes first


class EngineError(RuntimeError):
    """An engine failed in its process. `reason` is one line; the message has the traceback."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Worker:
    """The parent's side of one engine on one workload, stopped except during `turn`.

    Attributes
    ----------
    sequences : int
        How many of the workload's sequences the engine is timed on.
    settings : str
        How the engine is used.
    outputs : array or None
        The engine's results for those of the `checked` sequences that it is timed on.
    spent : float
        Seconds that its turns have taken.
    """

    def __init__(
        self,
        engine: Engine,
        workload: Workload,
        threads: int,
        checked: Array,
        input_file: Path | None = None,
    ) -> None:
        self.engine, self.workload, self.spent = engine, workload, 0.0
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, engine, workload, threads, checked, input_file)
        self._process = context.Process(target=serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        try:
            self.sequences, self.settings, self.outputs = self._answer()
        except BaseException:
            self.close()
            raise
        self._pause()

    def turn(self, seconds: float) -> float:
        """Let the engine run for this long; return the seconds of one call on all sequences."""
        started = time.perf_counter()
        self._resume()
        self._connection.send(seconds)
        call = self._answer()
        self._pause()
        self.spent += time.perf_counter() - started
        return call * self.workload.N / self.sequences

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self._connection.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _answer(self) -> Any:
        try:
            failed, answer = self._connection.recv()
        except EOFError:
            failed, answer = True, ("its process ended", "")
        if failed:
            reason, details = answer
            raise EngineError(
                f"{self.engine.label} on {self.workload}: {reason}\n{details}", reason
            )
        return answer

    def _pause(self) -> None:
        if hasattr(signal, "SIGSTOP"):
            os.kill(self._process.pid, signal.SIGSTOP)

    def _resume(self) -> None:
        if hasattr(signal, "SIGCONT"):
            os.kill(self._process.pid, signal.SIGCONT)


def serve(
    connection: Connection,
    engine: Engine,
    workload: Workload,
    threads: int,
    checked: Array,
    input_file: Path | None,
) -> None:
    """Run in the child: build, answer with the outputs, then take turns until killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    try:
        n = engine.sequences(workload)
        if engine.from_file:
            call, settings = engine.build(workload.with_sequences(n), input_file, threads)
        elif input_file is None:
            call, settings = engine.build(workload, workload.inputs()[:n], threads)
        else:
            call, settings = engine.build(workload, np.array(np.load(input_file, "r")[:n]), threads)
        outputs = call()
        if outputs is not None:
            outputs = np.asarray(outputs)[checked[checked < n]]
        connection.send((False, (n, settings, outputs)))
        while True:
            connection.send((False, take_turn(call, connection.recv(), workload.idle)))
    except EOFError:
        pass
    except Exception as error:
        first_line = next(iter(str(error).splitlines()), "")
        connection.send((True, (f"{type(error).__name__}: {first_line}", traceback.format_exc())))


def take_turn(call: Callable[[], Any], seconds: float, idle: float = 0.0) -> float:
    """Call until `seconds` have passed; return the median of the seconds of one call.

    The first call finds the caches full of other engines' data, so it counts only if it is the
    only one. If there is a pause of `idle` seconds before each call, `IDLE_CALLS` calls count.
    """
    times: list[float] = []
    while len(times) <= IDLE_CALLS if idle else not times or sum(times) < seconds:
        if idle:
            time.sleep(idle)
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return median(times[1:] or times)
