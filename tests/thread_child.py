"""What `test_threads` has done in processes of their own: every scenario scores the same work.

``python -c "import thread_child; thread_child.main()"`` prints a line of JSON for each scenario:
its name, the digests of what was scored in it (or why it was left out). Functions live in this
module so that other processes can import them.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache

import numpy as np
from shapes import make_input, make_model

from fastlstm import Ragged

TIMES = 8


class Skip(Exception):
    """The scenario needs something that is not here."""


@cache
def work():
    """A model and inputs large enough for several threads a call."""
    x = make_input(700, 40, 3)
    lengths = np.arange(len(x)) % 41
    ragged = Ragged.from_list([row[:n] for row, n in zip(x, lengths, strict=True)])
    return make_model(3, (16,), 2), (x, x.astype("f8"), ragged)


def digest(k: int = 0, threads: int | None = 4) -> str:
    """Score by all kinds of input and return what stands for the bits; k is ignored."""
    model, inputs = work()
    content = hashlib.blake2b(digest_size=8)
    for x in inputs:
        content.update(model.predict(x, threads=threads).tobytes())
    content.update(model.trace(inputs[0], threads=threads).cell_state.tobytes())
    return content.hexdigest()


def use_numba_in_parallel() -> None:
    """Start Numba's own threads, in the layer that the environment asks for."""
    import numba

    @numba.njit(parallel=True)
    def total(values):
        sums = np.zeros(8)
        for i in numba.prange(8):
            sums[i] = values[i::8].sum()
        return sums.sum()

    assert total(np.ones(1000)) == 1000
    wanted = os.environ.get("NUMBA_THREADING_LAYER")
    assert wanted in (None, numba.threading_layer()), numba.threading_layer()


def in_forked_child(function) -> str:
    """Call a function in a forked child and return what it returns."""
    if not hasattr(os, "fork"):
        raise Skip("this system has no fork")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(60)  # a child that hangs dies; its faulthandler would hang in any case
            os.write(writing, function().encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with status {status}"
    return answer


# --- scenarios: each returns digests ------------------------------------------------------------


def one_thread():
    return [digest(threads=1)]


def default_threads():
    return [digest(threads=None)]


def eight_python_threads():
    """All at once, through the one model of this process; it has not been used before."""
    work.cache_clear()
    start = threading.Barrier(TIMES)

    def run(k):
        start.wait()
        return digest(threads=1 + k % 4)

    work()
    with ThreadPoolExecutor(TIMES) as pool:
        return list(pool.map(run, range(TIMES)))


def fork_after_use():
    return [digest(), in_forked_child(digest), digest()]


def fork_in_fork():
    return [in_forked_child(lambda: in_forked_child(digest))]


def fork_during_use():
    """While all threads of the pool are at work."""
    stop = threading.Event()
    found = []

    def keep_on():
        while not stop.is_set():
            found.append(digest())

    threads = [threading.Thread(target=keep_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            time.sleep(0.02)
            found.append(in_forked_child(digest))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return found


def fork_and_numba_in_the_parent():
    """The child scores while Numba's threads of the parent stand still and live on."""
    found = in_forked_child(digest)
    use_numba_in_parallel()
    return [found, digest()]


def spawned_process():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(digest, [0])


def process_pool():
    """As it comes: forked or by a server, according to the version of Python."""
    with ProcessPoolExecutor(2) as pool:
        return list(pool.map(digest, range(3)))


def forked_process_pool():
    if "fork" not in multiprocessing.get_all_start_methods():
        raise Skip("this system has no fork")
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        return list(pool.map(digest, range(3)))


def dask_threads():
    try:
        import dask
    except ImportError:
        raise Skip("dask is not installed") from None
    calls = [dask.delayed(digest)(k) for k in range(TIMES)]
    return list(dask.compute(*calls, scheduler="threads", num_workers=4))


SCENARIOS = [
    one_thread,
    default_threads,
    eight_python_threads,
    fork_after_use,
    fork_in_fork,
    fork_during_use,
    fork_and_numba_in_the_parent,
    spawned_process,
    process_pool,
    forked_process_pool,
    dask_threads,
]


def main() -> None:
    faulthandler.dump_traceback_later(100, exit=True)
    use_numba_in_parallel()
    for scenario in SCENARIOS:
        try:
            entry = {"digests": scenario()}
        except Skip as reason:
            entry = {"skip": str(reason)}
        print(json.dumps({"scenario": scenario.__name__, **entry}))
        sys.stdout.flush()
