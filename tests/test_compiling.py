"""Compiling: once, answered by Ctrl-C, told of at a terminal, left out of rates, not across forks.

What forks or ends its process is done in processes of their own.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers import finish, run_child, start_child

from fastlstm.engine import compiling
from fastlstm.engine.run.progress import Progress

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def slow_build(seconds, built):
    @compiling.compiled_once
    def build(kind):
        time.sleep(seconds)
        built.append(kind)
        return object()

    return build


def test_one_of_the_threads_that_want_a_kernel_compiles_it():
    built = []
    build = slow_build(0.05, built)
    all_there = threading.Barrier(4)

    def want(kind):
        all_there.wait()
        return build(kind)

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(want, ["a", "b", "a", "a"]))
    assert sorted(built) == ["a", "b"]
    assert len(found) == 2
    assert found == {build("a"), build("b")}


def test_what_fails_to_compile_is_tried_again():
    calls = []

    @compiling.compiled_once
    def build(kind):
        calls.append(kind)
        if len(calls) < 3:
            raise OSError("no room")
        return kind

    for _ in range(2):
        with pytest.raises(OSError, match="no room"):
            build("a")
    assert build("a") == "a"
    assert len(calls) == 3


def test_a_finaliser_that_wants_what_is_being_compiled_does_not_wait_for_itself():
    calls = []

    @compiling.compiled_once
    def build(kind):
        calls.append(kind)
        return build(kind) if len(calls) == 1 else kind

    assert build("a") == "a"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
def test_ctrl_c_is_answered_at_once_and_the_next_call_has_what_was_compiled():
    built = []
    build = slow_build(2.0, built)
    # a process that a shell starts in the background ignores SIGINT, unless told otherwise
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            build("a")
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - began < 1.9
    assert not built
    build("a")
    assert built == ["a"]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (Terminal(), " compiling …" + "\b" * 12 + " " * 12 + "\b" * 12),
        (io.StringIO(), ""),
        (None, ""),
    ],
)
def test_a_terminal_is_told(stream, expected, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(compiling, "TELL_AFTER", 0.1)
    monkeypatch.setattr(compiling, "POLL", 0.02)
    slow_build(0.0, [])("quick")
    if stream is not None:
        assert stream.getvalue() == ""
    slow_build(0.3, [])("slow")
    if stream is not None:
        assert stream.getvalue() == expected


def test_compiling_does_not_count_for_rates(monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    began = time.perf_counter(), compiling.clock()
    with Progress(100, True) as bar:
        slow_build(0.4, [])("a")
        bar.show(50)
        assert bar.bar.format_dict["elapsed"] < 0.3
    passed = time.perf_counter() - began[0], compiling.clock() - began[1]
    assert passed[0] >= 0.4
    assert passed[0] - passed[1] >= 0.4


FORKING = """
import os, signal, sys, threading, time
from fastlstm.engine import compiling

inside = threading.Event()

@compiling.compiled_once
def build(seconds):
    inside.set()
    time.sleep(seconds)
    import numba.core.compiler_lock  # a fork that waits since before has to find it

    return os.getpid()

made = compiling.compiled_once(lambda kind: kind)
made("before")

def in_child(work):
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)  # a child that hangs dies
        try:
            work()
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0

threading.Thread(target=build, args=(1.0,)).start()
inside.wait()
"""


@needs_fork
def test_a_fork_waits_for_the_compiler_and_the_child_has_what_it_made():
    out = run_child(
        FORKING
        + "in_child(lambda: print(build(1.0) == os.getppid(), made('now'), flush=True))\n"
        + "in_child(lambda: print(build(0.0) == os.getpid(), flush=True))\n"
    )
    assert out == "True now\nTrue\n"


@needs_fork
def test_the_child_compiles_what_a_thread_of_its_parent_was_about_to():
    out = run_child(
        FORKING
        + "with compiling.alone():\n"
        + "    threading.Thread(target=build, args=(0.0,)).start()\n"
        + "    while not any(compiling._tasks): time.sleep(0.01)\n"
        + "    in_child(lambda: print(build(0.0) == os.getpid(), flush=True))\n"
    )
    assert out == "True\n"


@needs_fork
def test_where_it_waited_in_vain_the_child_says_so():
    """What is compiled already can be used."""
    out = run_child(
        FORKING
        + "compiling.LONGEST_FORK = 0.05\n"
        + "in_child(lambda: print(made('before'), flush=True) or print(build(0.0), flush=True))"
    )
    known, error = out.splitlines()
    assert known == "before"
    assert error.startswith("RuntimeError this process was forked while its parent was compiling")
    assert "fastlstm.warmup(model)" in error


@needs_fork
def test_a_child_forked_in_the_first_call_of_another_thread_scores():
    """With a real kernel, and what a first call imports."""
    out = run_child(
        """
        import os, signal, sys, threading, time
        from shapes import make_input, make_model

        model, x = make_model(1, (1,)), make_input(3, 9, 1)
        first = threading.Thread(target=model.predict, args=(x,))
        first.start()
        time.sleep(float(sys.argv[1]))
        pid = os.fork()
        if pid == 0:
            signal.alarm(100)  # a child that hangs dies
            print(model.predict(x).tobytes().hex(), flush=True)
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        print(status, model.predict(x).tobytes().hex())
        """,
        "1.0",
        FASTLSTM_CACHE="0",
    )
    by_child, by_parent = out.splitlines()
    assert by_parent == f"0 {by_child}"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
def test_an_interrupted_command_does_not_wait_for_the_compiler():
    code = """
    import signal, sys, time
    from fastlstm import cli
    from fastlstm.engine import compiling

    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background

    @compiling.compiled_once
    def build():
        print("compiles", flush=True)
        time.sleep(60)

    cli._run = lambda arguments: build()
    sys.exit(cli.main([]))
    """
    with start_child(code) as child:
        assert child.stdout.readline() == "compiles\n"
        sent = time.monotonic()
        child.send_signal(signal.SIGINT)
        _, trouble = finish(child)
    assert time.monotonic() - sent < 20
    assert trouble == "exit code 130\n\nfastlstm: interrupted\n"
