"""A job on several threads: Ctrl-C, progress, and who waits for whom."""

from __future__ import annotations

import time
from concurrent.futures import Future, wait
from typing import Protocol

from fastlstm.engine.run.pool import start
from fastlstm.engine.run.progress import Progress

__all__ = ["Work", "share_out"]


class Work(Protocol):
    """Work that several threads do together."""

    def work(self, others: int = 0) -> None:
        """Draw rows and walk them until none are left: what every thread does.

        Then wait a moment for `others` more threads to finish, if that is cheap.
        """

    def finished(self, workers: int) -> bool:
        """Tell whether this many threads are known to have finished."""

    def rows_begun(self) -> int:
        """Return how many rows have been drawn so far."""

    def stop(self) -> None:
        """Make every thread stop soon: a kernel stops within a block of time steps."""


class _Crew:
    """The threads that work on a job besides the caller's.

    Ctrl-C may come when a thread has been woken and the caller does not know of it yet: it is
    counted here all the same.
    """

    def __init__(self, job: Work) -> None:
        self.job, self.stopped = job, False
        self.inside: list[None] = []  # an item a thread

    def work(self) -> None:
        """Do a thread's share."""
        self.inside.append(None)
        try:
            if not self.stopped:
                self.job.work()
        finally:
            self.inside.pop()

    def stop(self) -> None:
        """Return when all threads have stopped; none of them writes after that."""
        self.stopped = True
        self.job.stop()
        while self.inside:
            time.sleep(0.001)


def share_out(job: Work, n_threads: int, short: bool, bar: Progress) -> None:
    """Run a job on threads, one of which is the caller's if the job takes only moments."""
    if n_threads == 1 and short:
        return job.work()
    crew = _Crew(job)
    workers: list[Future[None]] = []
    try:
        for _ in range(n_threads - short):
            worker = start(crew.work)
            if worker is None:  # the interpreter is shutting down
                short = True
                break
            workers.append(worker)
        if short:
            job.work(len(workers))
            if job.finished(len(workers) + 1):
                return
        running = bool(workers)
        while running:
            running = bool(wait(workers, timeout=bar.interval).not_done)
            bar.show(job.rows_begun())
    except BaseException:  # on Ctrl-C the kernels stop at their next block of steps
        crew.stop()
        raise
    for worker in workers:
        worker.result()
