"""An engine in a process of its own, stopped while it is not its turn.

A stopped process cannot disturb: thread pools of several libraries spin for a while when they
have nothing to do.
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

from bench.engines import ENGINES
from bench.rows import Row

__all__ = ["EngineError", "Worker"]

Array = npt.NDArray[Any]

IDLE_CALLS = 4  # in a turn, where each has to wait


class EngineError(RuntimeError):
    """An engine failed in its process. `reason` is one line, the message all there is to say."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Worker:
    """The parent's side of one engine on one row. It is stopped whenever `turn` is not running.

    Attributes
    ----------
    sequences : int
        How many of the row's sequences the engine is timed on.
    settings : str
        How the engine is used.
    outputs : array or None
        The engine's results for the `checked` sequences that are among them.
    spent : float
        Seconds that its turns have taken.
    """

    def __init__(
        self, engine: str, row: Row, threads: int, checked: Array, input_file: Path | None = None
    ) -> None:
        self.engine, self.row, self.spent = engine, row, 0.0
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, engine, row, threads, checked, input_file)
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
        """Let the engine call for so many seconds; return a call's, scaled to the whole row."""
        started = time.perf_counter()
        self._resume()
        self._connection.send(seconds)
        call = self._answer()
        self._pause()
        self.spent += time.perf_counter() - started
        return call * self.row.N / self.sequences

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
            raise EngineError(f"{self.engine} on {self.row}: {reason}\n{details}", reason)
        return answer

    def _pause(self) -> None:
        if hasattr(signal, "SIGSTOP"):
            os.kill(self._process.pid, signal.SIGSTOP)

    def _resume(self) -> None:
        if hasattr(signal, "SIGCONT"):
            os.kill(self._process.pid, signal.SIGCONT)


def serve(
    connection: Connection,
    engine: str,
    row: Row,
    threads: int,
    checked: Array,
    input_file: Path | None,
) -> None:
    """Run in the child: build, answer with the outputs, then take turns until killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    try:
        n = ENGINES[engine].sequences(row)
        if ENGINES[engine].from_file:
            call, settings = ENGINES[engine].build(row.with_sequences(n), input_file, threads)
        else:
            x = row.inputs()[:n] if input_file is None else np.array(np.load(input_file, "r")[:n])
            call, settings = ENGINES[engine].build(row, x, threads)
        outputs = call()
        if outputs is not None:
            outputs = np.asarray(outputs)[checked[checked < n]]
        connection.send((False, (n, settings, outputs)))
        while True:
            connection.send((False, take_turn(call, connection.recv(), row.idle)))
    except EOFError:
        pass
    except Exception as error:
        first_line = next(iter(str(error).splitlines()), "")
        connection.send((True, (f"{type(error).__name__}: {first_line}", traceback.format_exc())))


def take_turn(call: Callable[[], Any], seconds: float, idle: float = 0.0) -> float:
    """Call until so many seconds have passed, and return the median of one call's.

    The first call finds caches full of other engines' data, so it counts only if it is alone.
    After an idle time of so many seconds before each there are `IDLE_CALLS` calls.
    """
    times: list[float] = []
    while len(times) <= IDLE_CALLS if idle else not times or sum(times) < seconds:
        if idle:
            time.sleep(idle)
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return median(times[1:] or times)
