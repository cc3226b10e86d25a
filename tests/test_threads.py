"""Threads and processes: no abort, no hang, the same bits; and how many threads a call takes.

What can abort or hang is done in processes of their own (`thread_child`), once for each of
Numba's threading layers: each aborts in ways of its own when it is forked or entered twice.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import threading
import time
import types

import numpy as np
import pytest
import thread_child
from helpers import finish, run_child, some_of, start_child
from shapes import make_input, make_model

from fastlstm.engine import cpu
from fastlstm.engine.kernel.forms import Form, Tile, possible_kinds
from fastlstm.engine.run import crew, job, packed, pool, progress, threads
from fastlstm.engine.run import engine as run

# as in the children, for which the kernels are compiled here
pytestmark = pytest.mark.usual_tiles

LAYERS = {"omp": "omppool", "workqueue": "workqueue", "tbb": "tbbpool"}


# --- scenarios in other processes ---------------------------------------------------------------


def missing(layer: str) -> str:
    """Why a threading layer cannot be used here; "" if it can."""
    if importlib.util.find_spec(f"numba.np.ufunc.{LAYERS[layer]}") is None:
        return f"this Numba was built without the layer {layer}"
    if layer == "tbb" and importlib.util.find_spec("tbb") is None:
        return "tbb is not installed"
    return ""


@pytest.mark.parametrize("layer", some_of(LAYERS, "workqueue"))
def test_scenarios(layer):
    """Beside Numba's own threads of that layer, all in one child, which ends well."""
    if missing(layer):
        pytest.skip(missing(layer))
    expected = thread_child.digest(threads=1)
    code = "import thread_child; thread_child.main()"
    with start_child(code, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2") as child:
        out, trouble = finish(child)
    entries = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    found = {entry.pop("scenario"): entry for entry in entries}
    assert list(found) == [scenario.__name__ for scenario in thread_child.SCENARIOS], trouble
    for scenario, entry in found.items():
        if "skip" not in entry:
            assert set(entry["digests"]) == {expected}, scenario
    assert trouble == ""


# --- Ctrl-C -------------------------------------------------------------------------------------

INTERRUPTED = """
import faulthandler
import sys
import threading
import time
import numpy as np
import thread_child
from shapes import make_model

faulthandler.dump_traceback_later(100, exit=True)
before = thread_child.digest()
model = make_model(1, (64,), 1)
x = np.zeros((60_000, 1000), np.float32)  # half a minute's work
for way, kwargs in (
    ("in place", {"x": x}),
    ("one thread", {"x": x, "threads": 1}),
    ("converted", {"x": x[:, ::-1]}),
):
    model.predict(x[:100], threads=1)
    print("begin", flush=True)
    try:
        model.predict(**kwargs)
        print(way, "was not interrupted", flush=True)
    except KeyboardInterrupt:
        print(way, flush=True)
    assert thread_child.digest() == before
print("the end")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
def test_ctrl_c_ends_a_long_call_and_the_process_scores_on():
    thread_child.digest()  # compile
    with start_child(INTERRUPTED) as child:
        for way in ("in place", "one thread", "converted"):
            assert child.stdout.readline() == "begin\n", finish(child)[1]
            time.sleep(0.4)
            sent = time.monotonic()
            child.send_signal(signal.SIGINT)
            assert child.stdout.readline() == f"{way}\n"
            took = time.monotonic() - sent
            print(f"{way}: {took:.2f} s from the signal to the exception")
            assert took < 3
        out, trouble = finish(child)
        assert (out, trouble) == ("the end\n", "")


class SlowJob:
    """One whose threads take a while to leave off."""

    parts, begun, stopped, ended = 2, 0, False, 0

    def work(self, others=0):
        self.begun += 1
        while not self.stopped:
            time.sleep(0.001)
        time.sleep(0.05)
        self.ended += 1

    def stop(self):
        self.stopped = True


@pytest.mark.parametrize("begins", [True, False], ids=["at work", "about to begin"])
def test_ctrl_c_while_a_thread_is_being_woken(begins, monkeypatch):
    """The caller has not heard of it, and waits for it all the same."""
    slow, woken = SlowJob(), []

    def start(work):
        woken.append(work)
        if begins:
            pool.start(work)
            while not slow.begun:
                time.sleep(0.001)
        raise KeyboardInterrupt

    monkeypatch.setattr(crew, "start", start)
    with pytest.raises(KeyboardInterrupt):
        crew.share_out(slow, 2, True, progress.Progress(1, False))
    assert slow.ended == slow.begun == begins
    woken[0]()  # late
    assert slow.begun == begins


# --- how many threads -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "rows", "work_a_thread", "expected"),
    [
        (1, 1000, 1.0, 1),
        (3, 1000, 1.0, 3),
        (None, 1000, 1.0, 5),  # the default
        (7, 1, 1.0, 1),  # a single tile
        (7, 3, 1.0, 3),  # one for each
        (7, 1000, 1e12, 1),  # not worth a second thread
    ],
)
@pytest.mark.parametrize("kind", ["in place", "converted"])
def test_a_call_takes_as_many_threads_as_asked(
    kind, asked, rows, work_a_thread, expected, monkeypatch
):
    model = make_model(3, (8,))
    x = make_input(rows, 20, 3, "float32" if kind == "in place" else "float64")
    monkeypatch.setattr(run, "default_threads", lambda: 5)
    monkeypatch.setattr(run, "LEAST_WORK_A_THREAD", work_a_thread)
    woken = []

    def start(work):
        woken.append(work)
        return pool.start(work)

    monkeypatch.setattr(crew, "start", start)
    model.predict(x, threads=asked)
    assert 1 + len(woken) == expected  # with the caller's


@pytest.mark.parametrize("tiles", [2, 3])
def test_threads_share_the_tiles(tiles, monkeypatch):
    """None takes two while another waits for one; measured by the time on a CPU."""
    model = make_model(8, (64,), 1)
    x = make_input(tiles * cpu.lanes("float32"), 3000, 8)
    monkeypatch.setattr(run, "LEAST_WORK_A_THREAD", 1.0)
    shape = possible_kinds("float32", Form(), traced=False)[0]
    tile = Tile(shape, shape.least_sequences)
    monkeypatch.setattr(packed, "choose_tile", lambda *_: tile)
    model.predict(x[:, :1], threads=1)  # compiles the kernel
    start = threading.Barrier(tiles)
    shares = []
    work = job.Job.work

    def timed(self, others=0):
        start.wait()
        began = time.thread_time()
        work(self)
        shares.append(time.thread_time() - began)

    monkeypatch.setattr(job.Job, "work", timed)
    model.predict(x, threads=tiles)
    while len(shares) < tiles:  # the kernels have finished, their threads may have a line left
        time.sleep(0.001)
    print(f"{tiles} tiles on {tiles} threads: {[f'{1e3 * share:.1f} ms' for share in shares]}")
    assert min(shares) > 0.3 * max(shares)


@pytest.fixture
def no_limits(monkeypatch, tmp_path):
    """A machine that limits nothing: a test puts its one limit in."""
    monkeypatch.setattr(threads, "_numba_threads", lambda: 64)
    monkeypatch.setattr(threads, "_affinity", lambda: 64)
    set_quota(monkeypatch, tmp_path, {})
    return tmp_path


def set_quota(monkeypatch, tmp_path, files: dict[str, str]) -> None:
    """Let the files of /sys/fs/cgroup be these."""
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(threads, "Path", lambda path: tmp_path / str(path).lstrip("/"))
    getattr(threads._quota, "cache_clear", lambda: None)()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 64),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "250000 100000\n"}, 3),  # rounded up
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "9900000 100000\n"}, 64),
        ({"cpu.max": "nonsense\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_the_control_groups_quota(files, expected, no_limits, monkeypatch):
    set_quota(monkeypatch, no_limits, files)
    assert threads.default_threads() == expected
    getattr(threads._quota, "cache_clear", lambda: None)()


@pytest.mark.parametrize("limit", ["_numba_threads", "_affinity"])
def test_the_least_limit_counts(limit, no_limits, monkeypatch):
    assert threads.default_threads() == 64
    monkeypatch.setattr(threads, limit, lambda: 3)
    assert threads.default_threads() == 3


def test_one_thread_in_a_dask_worker(no_limits, monkeypatch):
    """Dask runs several tasks at once; outside of a task its module alone changes nothing."""

    def get_worker():
        raise ValueError("No worker found")

    worker = types.SimpleNamespace(get_worker=get_worker)
    monkeypatch.setitem(sys.modules, "distributed.worker", worker)
    assert threads.default_threads() == 64
    worker.get_worker = object
    assert threads.default_threads() == 1


def test_limits_of_numba_and_of_the_scheduler():
    """As they are set by users: in an environment, by a call, by taskset."""
    out = run_child(
        """
        import os
        import numba
        from fastlstm.engine.run.threads import default_threads
        found = [default_threads()]
        numba.set_num_threads(2)
        found.append(default_threads())
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        found.append(default_threads())
        print(found, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
        """,
        NUMBA_NUM_THREADS="3",
        NUMBA_THREADING_LAYER="workqueue",
    )
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = threads._quota()
    first, second = min(3, cpus, quota), min(2, cpus, quota)
    third = 1 if hasattr(os, "sched_setaffinity") else second
    assert out.split("]")[0] + "]" == str([first, second, third])
    assert (
        run_child(
            "from fastlstm.engine.run.threads import default_threads; print(default_threads())",
            NUMBA_NUM_THREADS="1",
        )
        == "1\n"
    )


def test_nothing_of_the_process_is_changed():
    """No setting of Numba or NumPy, no variable, no signal handler; Numba's pool stays asleep."""
    run_child(
        """
        import os, signal, sys, threading, warnings
        import numpy as np
        import numba
        from numba.core import config
        from numba.np.ufunc import parallel

        def settings():
            return {
                "numba": {k: v for k, v in vars(config).items() if k.isupper()},
                "environment": dict(os.environ),
                "numpy": (np.geterr(), np.get_printoptions()),
                "signals": [signal.getsignal(s) for s in signal.valid_signals()],
                "warnings": list(warnings.filters),
                "switching": sys.getswitchinterval(),
                "recursion": sys.getrecursionlimit(),
                "numba's pool": getattr(parallel, "_is_initialized", None),
            }

        before = settings()
        import fastlstm
        import thread_child
        assert thread_child.digest(threads=3) == thread_child.digest(threads=None)
        fastlstm.warmup(thread_child.work()[0])
        after = settings()
        for name, value in before.items():
            assert after[name] == value, name
        assert before["numba's pool"] is False
        # denormal numbers are not flushed in any thread
        tiny = np.float32(1e-40)
        assert tiny * np.float32(0.5) > 0
        others = {t.name.partition("_")[0] for t in threading.enumerate()} - {"MainThread"}
        assert others == {"fastlstm"}, others
        """,
        **{f"{library}_NUM_THREADS": None for library in ("NUMBA", "OMP", "MKL", "OPENBLAS")},
    )


def test_denormal_numbers_are_kept_in_the_pools_threads(monkeypatch):
    monkeypatch.setattr(run, "LEAST_WORK_A_THREAD", 1.0)
    from fastlstm import LSTM, Layer

    weights = np.float32([[0], [0], [1], [0]])
    model = LSTM([Layer(weights, np.zeros((4, 1), np.float32))])
    x = np.full((1000, 1), 1e-40, np.float32)
    assert (model.trace(x, threads=4).candidate_cell == np.float32(1e-40)).all()
