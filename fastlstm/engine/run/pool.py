"""The threads that a call shares its work with.

Numba's own thread pools abort the process if a forked child uses them (GNU OpenMP) or if two
Python threads do (workqueue). Therefore the kernels release the GIL and run on plain Python
threads. These sleep between calls, belong to one process, and are not inherited by its children. A
call wakes each of them directly rather than through a queue, so that it can keep it off its own
CPU.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from threading import Lock, Thread

__all__ = ["start"]

_idle: list[_Worker] = []


def start(work: Callable[[], None]) -> Future[None] | None:
    """Run `work` on another thread; return None if there can be no other thread any more.

    That is the case while the interpreter shuts down. The threads of the pool are daemons, so a
    call made by a daemon thread does not delay the end of the process.
    """
    if sys.is_finalizing():  # a thread that sleeps now will never run again
        return None
    try:
        worker = _idle.pop()
    except IndexError:
        try:
            worker = _Worker()
        except RuntimeError:
            return None
    return worker.run(work)


class _Worker:
    """A thread that sleeps until there is work.

    After a pause, Linux often wakes it on the caller's CPU, where it waits behind the caller for
    milliseconds while another CPU is idle. So before it wakes the thread, the caller takes its own
    CPU out of the thread's affinity, and the thread puts it back as soon as it runs. That takes 3
    microseconds. (Doing so only if the thread fell asleep on the caller's CPU is not enough: both
    were still on one CPU in 11 of 30 calls. With a new thread for each call: in 17 of 25. Measured
    on an Ice Lake Xeon with two cores.)
    """

    def __init__(self) -> None:
        self._task: tuple[Callable[[], None], Future[None]] | None = None  # what it wakes up for
        self._affinity: tuple[set[int], set[int]] | None = None  # what it was, what it is
        self._asleep = Lock()
        self._asleep.acquire()
        thread = Thread(target=self._work_on_demand, name="fastlstm", daemon=True)
        thread.start()
        self._thread_id = thread.native_id or 0

    def run(self, work: Callable[[], None]) -> Future[None]:
        """Wake the thread for some work."""
        future: Future[None] = Future()
        self._task = work, future
        self._keep_off(current_cpu())
        self._asleep.release()
        return future

    def _work_on_demand(self) -> None:
        while True:
            self._asleep.acquire()
            self._put_back()
            assert self._task is not None
            (work, future), self._task = self._task, None
            error = None
            try:
                work()
            except BaseException as raised:  # for the caller, who gets it from the future
                error = raised
            _idle.append(self)  # before the caller is told, since it may call again at once
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
            del work, future, error  # nothing of a call outlives it here

    def _keep_off(self, cpu: int | None) -> None:
        if cpu is None:
            return
        with suppress(OSError):  # a sandbox may forbid it; the call computes all the same
            before = os.sched_getaffinity(self._thread_id)
            if before > {cpu}:
                self._affinity = before, before - {cpu}
                os.sched_setaffinity(self._thread_id, before - {cpu})

    def _put_back(self) -> None:
        if self._affinity is None:
            return
        (before, after), self._affinity = self._affinity, None
        with suppress(OSError):  # the control group has lost those CPUs meanwhile
            if os.sched_getaffinity(0) == after:  # nobody else has set it meanwhile
                os.sched_setaffinity(0, before)


def current_cpu() -> int | None:
    """Return the CPU that this thread runs on; None if threads cannot be kept off a CPU."""
    cpu = _sched_getcpu()()
    return None if cpu < 0 else cpu


@cache
def _sched_getcpu() -> Callable[[], int]:
    if hasattr(os, "sched_setaffinity"):
        with suppress(OSError, AttributeError):
            return ctypes.PyDLL(None).sched_getcpu
    return lambda: -1


def _forget_threads() -> None:
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
