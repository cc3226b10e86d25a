"""When and on which thread kernels are compiled: once, one at a time, never across a fork.

The main thread lets another thread compile and waits for it, so that Ctrl-C is answered at once;
what the other thread compiles is ready for the next call. If a process forked while it compiles,
the child would inherit locks of Numba and LLVM that are never released, so a fork waits.
"""

from __future__ import annotations

import logging  # noqa: F401 - see the end of this file
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial, wraps
from typing import Any, TypeVar

__all__ = ["alone", "clock", "compiled_once", "exit_at_once", "waited"]

F = TypeVar("F", bound=Callable[..., Any])

TELL_AFTER = 1.0  # seconds that a call waits before it says why
POLL = 0.1  # seconds; on Windows no wait is interrupted
LONGEST_FORK = 300.0  # seconds that a fork waits for the compiler
FORKED = (
    "this process was forked while its parent was compiling, so it cannot compile anything: call "
    "fastlstm.warmup(model) before forking, or start processes with spawn or forkserver"
)

_lock = threading.RLock()
_of_thread = threading.local()  # seconds waited; locks held for a fork
_tasks: list[dict[Any, _Task]] = []  # of every function that compiles
_told = threading.Lock()  # held while the word "compiling" is on the terminal
_forked_meanwhile = False


@contextmanager
def alone() -> Iterator[None]:
    """Compile, or import the compiler, while no other thread does and no thread forks."""
    with _lock:
        yield


def waited() -> float:
    """Return the seconds that the calling thread has spent on compiling so far."""
    return getattr(_of_thread, "seconds", 0.0)


def clock() -> float:
    """Return the time in seconds from which rates are computed: compiling does not count."""
    return time.perf_counter() - waited()


def exit_at_once(code: int) -> None:
    """End the process if it is compiling: a normal exit would wait for that."""
    if any(_tasks):
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # closed, or no longer there
                stream.flush()
        os._exit(code)


class _Task:
    """Something that is being compiled; all threads that want it wait for one."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.done = threading.Event()
        self.thread: int | None = None
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        self.thread = threading.get_ident()
        try:
            with alone():
                self.result = self.work()
        except BaseException as error:  # it is raised in the threads that wait
            self.error = error
        finally:
            self.done.set()

    def wait(self) -> None:
        """Wait until it is done; on a terminal, say why after a while."""
        if self.done.wait(POLL):
            return
        began = time.monotonic() - POLL
        with _Notice() as notice:
            while not self.done.wait(POLL):
                if time.monotonic() - began >= TELL_AFTER:
                    notice.show()


class _Notice:
    """The word "compiling" on a terminal, after whatever is there, for as long as it is true."""

    text = ""

    def show(self) -> None:
        """Show it, unless another thread does."""
        stream = sys.stderr
        if self.text or not _told.acquire(blocking=False):
            return
        self.text = " "  # so that the lock is given back
        with suppress(Exception):  # no stream, a closed one, or one that is not a stream
            if stream.isatty():
                self.text = " compiling …"
                if "utf" not in (stream.encoding or "").lower():
                    self.text = " compiling ..."
                stream.write(self.text)
                stream.flush()

    def __enter__(self) -> _Notice:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.text:
            return
        with suppress(Exception):
            if (n := len(self.text)) > 1:
                sys.stderr.write("\b" * n + " " * n + "\b" * n)
                sys.stderr.flush()
        _told.release()


def compiled_once(build: F) -> F:
    """`functools.cache` for functions that compile; threads that ask together wait for one of them.

    Otherwise, without a disk cache, each of them would compile it in turn.
    """
    found: dict[Any, Any] = {}
    tasks: dict[Any, _Task] = {}
    _tasks.append(tasks)

    def find(key: Any) -> Any:
        try:
            if key not in found:
                found[key] = build(*key)
            return found[key]
        finally:
            tasks.pop(key, None)

    @wraps(build)
    def get(*key: Any) -> Any:
        try:
            return found[key]
        except KeyError:
            pass
        if _forked_meanwhile:
            raise RuntimeError(FORKED)
        began = time.perf_counter()
        new = _Task(partial(find, key))
        task = tasks.setdefault(key, new)
        if task.thread == threading.get_ident():  # a finaliser or a signal, while it compiles
            return build(*key)
        try:
            if task is new:
                _start(task)
            task.wait()
        finally:
            _of_thread.seconds = waited() + time.perf_counter() - began
        if task.error is not None:
            raise task.error
        return task.result

    get.cache_clear = found.clear  # type: ignore[attr-defined]
    return get  # type: ignore[return-value]


def _start(task: _Task) -> None:
    """Run a task, in a thread of its own if this is the one that Ctrl-C interrupts."""
    main = threading.main_thread()
    if threading.current_thread() is main and main.is_alive() and not sys.is_finalizing():
        with suppress(RuntimeError):  # no thread to be had any more
            threading.Thread(target=task.run, name="fastlstm-compile").start()
            return
    task.run()


def _numba_lock() -> Any:
    """Return the lock that Numba holds while it compiles, if this version still has it there."""
    module = sys.modules.get("numba.core.compiler_lock")
    return getattr(getattr(module, "global_compiler_lock", None), "_lock", None)


def _before_fork() -> None:
    """Wait until nothing is being compiled, here or in the user's own Numba functions."""
    end = time.monotonic() + LONGEST_FORK
    _of_thread.held = held = []
    for find in (lambda: _lock, _numba_lock):  # Numba's may be there only after the wait for ours
        lock = find()
        if lock is not None and lock.acquire(timeout=max(0.0, end - time.monotonic())):
            held.append(lock)


def _after_fork() -> None:
    for lock in reversed(_of_thread.held):
        lock.release()
    _of_thread.held = []


def _after_fork_in_child() -> None:
    """Release the locks; the threads that waited or compiled do not exist in the child."""
    global _lock, _told, _forked_meanwhile
    numba_lock = _numba_lock()
    free = _lock in _of_thread.held and (numba_lock is None or numba_lock in _of_thread.held)
    _forked_meanwhile = _forked_meanwhile or not free
    _after_fork()
    _lock, _told = threading.RLock(), threading.Lock()
    for tasks in _tasks:
        tasks.clear()


if hasattr(os, "register_at_fork"):
    # Before a fork, what was registered last is called first. `logging`, which the compiler uses,
    # takes its locks then: imported above, it does so when the compiler is done.
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork_in_child,
    )
