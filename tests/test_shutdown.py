"""Ends that come early: Ctrl-C inside one long sequence, and an interpreter that shuts down."""

from __future__ import annotations

import subprocess
import sys

import pytest

SETUP = """
import atexit, os, signal, threading, time
import numpy as np
import fastlstm
from fastlstm import LSTM, Layer

weights = np.random.default_rng(0)
model = LSTM([Layer(weights.normal(size=(256, 7)), weights.normal(size=(256, 64)))])
model = model.astype("float32")
x = weights.normal(size=(20_000, 20, 7)).astype("float32")
"""

LATE_THREAD = """
def late():
    threading.main_thread().join()
    print(model.predict(x, threads=2).shape)
threading.Thread(target=late).start()
"""

DAEMON = """
big = np.zeros((600_000, 200, 7), "float32")  # minutes of work
model.predict(x)
threading.Thread(target=model.predict, args=(big,), kwargs={"threads": 2}, daemon=True).start()
time.sleep(0.1)
print("at the end")
"""

AT_EXIT = "atexit.register(lambda: print(model.predict(x, threads=2).shape))"

ONE_SEQUENCE = """
steps = np.zeros((1, 4_000_000, 7), "{dtype}")
model.predict(steps[:, :5])
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    model.predict(steps)
    print("not interrupted")
except KeyboardInterrupt:
    print("interrupted")
assert model.predict(x[:3]).shape == (3, 64)
"""


def run(code: str) -> str:
    """Run `code` after SETUP in a process of its own; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", SETUP + code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize("code", [LATE_THREAD, AT_EXIT], ids=["late thread", "atexit"])
def test_scores_while_the_interpreter_shuts_down(code):
    assert run(code) == "(20000, 64)"


def test_a_daemon_threads_call_neither_crashes_nor_delays_the_end():
    """The threads of the pool are at work in compiled code when the process ends."""
    assert run(DAEMON) == "at the end"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_interrupt_inside_one_sequence(dtype):
    """The call would take some ten seconds: the signal comes in the middle of its only row."""
    assert run(ONE_SEQUENCE.format(dtype=dtype)) == "interrupted"
