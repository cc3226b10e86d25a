"""The threads of calls: woken away from the caller's CPU, and nothing of a call left behind."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from fastlstm.engine.run import pool


def done(future) -> None:
    future.result(timeout=20)


def test_work_runs_on_a_thread_that_is_used_again():
    seen = []
    for _ in range(5):
        done(pool.start(lambda: seen.append(threading.get_ident())))
    assert len(set(seen)) == 1
    assert seen[0] != threading.get_ident()


def test_an_exception_is_the_callers():
    def fail():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        done(pool.start(fail))
    done(pool.start(lambda: None))


@pytest.mark.parametrize("fails", [False, True])
def test_an_idle_thread_keeps_nothing_of_a_call(fails):
    array = np.empty(10)
    alive = weakref.ref(array)

    def work(array=array):
        if fails:
            raise ValueError(array.shape)

    future = pool.start(work)
    assert (future.exception(timeout=20) is not None) is fails
    del array, work, future
    for _ in range(100):  # the thread may have a line left to run
        gc.collect()
        if alive() is None:
            return
    raise AssertionError("the array is still alive")


def test_no_thread_while_the_interpreter_shuts_down(monkeypatch):
    monkeypatch.setattr(pool, "sys", SimpleNamespace(is_finalizing=lambda: True))
    assert pool.start(lambda: None) is None


# --- where a thread wakes up --------------------------------------------------------------------


class Scheduler:
    """Stands for the system's: affinities of threads, and what was set."""

    def __init__(self, allowed: set[int], cpu: int | None):
        self.allowed, self.cpu = set(allowed), cpu
        self.set: list[set[int]] = []
        self.while_awake: set[int] | None = None
        self.refuses = False

    def sched_getaffinity(self, thread):
        return set(self.allowed)

    def sched_setaffinity(self, thread, cpus):
        if self.refuses:
            raise PermissionError(1, "Operation not permitted")
        assert cpus
        self.set.append(set(cpus))
        self.allowed = set(cpus)

    def wake(self, meanwhile=None):
        """Have a thread of the pool do something that looks at its affinity."""
        if meanwhile:
            put_back = pool._Worker._put_back
            pool._Worker._put_back = lambda worker: (meanwhile(), put_back(worker))
        try:
            done(pool.start(lambda: setattr(self, "while_awake", set(self.allowed))))
        finally:
            if meanwhile:
                pool._Worker._put_back = put_back


@pytest.fixture
def scheduler(monkeypatch):
    done(pool.start(lambda: None))  # there is a thread

    def make(allowed, cpu):
        system = Scheduler(allowed, cpu)
        monkeypatch.setattr(pool, "os", system)
        monkeypatch.setattr(pool, "current_cpu", lambda: cpu)
        return system

    return make


def test_a_thread_is_woken_on_another_cpu_and_may_then_run_on_all(scheduler):
    system = scheduler({0, 1, 5}, cpu=1)
    system.wake()
    assert system.set == [{0, 5}, {0, 1, 5}]
    assert system.while_awake == {0, 1, 5}


def test_a_thread_with_one_cpu_keeps_it(scheduler):
    system = scheduler({3}, cpu=3)
    system.wake()
    assert system.set == []


def test_the_users_affinity_is_never_widened(scheduler):
    """The thread may run on some CPUs only, and the caller is on another."""
    system = scheduler({4, 5}, cpu=0)
    system.wake()
    assert system.allowed == {4, 5}
    assert system.set == []


def test_an_affinity_that_was_set_meanwhile_stays(scheduler):
    system = scheduler({0, 1, 2}, cpu=0)
    system.wake(meanwhile=lambda: system.sched_setaffinity(0, {2}))
    assert system.allowed == {2}


@pytest.mark.parametrize("cpu", [0, None], ids=["forbidden", "unknown CPU"])
def test_where_affinity_cannot_be_set_the_work_is_done_all_the_same(cpu, scheduler):
    system = scheduler({0, 1}, cpu)
    system.refuses = True
    system.wake()
    assert system.while_awake == {0, 1}
    assert system.set == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_affinities_are_what_they_were():
    for _ in range(50):
        done(pool.start(lambda: None))
    mine = os.sched_getaffinity(0)
    assert pool.current_cpu() in mine
    assert pool._idle
    for worker in pool._idle:
        assert os.sched_getaffinity(worker._thread_id) == mine
