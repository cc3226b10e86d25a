"""Memory: input and output, and little beside them, whatever the form of the input.

NumPy tells `tracemalloc` of every array, in any thread; what else the process takes shows in
its resident size, once.
"""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest
from helpers import run_child
from shapes import make_model

from fastlstm import Ragged

MB = 1e6
N, T = 100_000, 100
LIMIT = 50 * MB  # of the contract's work, 100,000 sequences of 100 steps
# No float32 copy of all input (40 MB); about 2 MB a thread and some bookkeeping of rows.
LITTLE = 20 * MB

PEAK = """
import re
import sys
from pathlib import Path
import numpy as np
from shapes import make_model

def status(name):  # unlike ru_maxrss, VmHWM knows nothing of the process that started this one
    return 1024 * int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

hidden, dtype, every = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "every step"
model = make_model(1, (hidden,), 1)
for threads in (1, 2):
    model.predict(np.ones((5000, 100), dtype), return_sequences=every, threads=threads)
x = np.empty((100_000, 100), dtype)
x[...] = 0.5
before = status("VmRSS")
scores = model.predict(x, return_sequences=every, threads=2)
print(status("VmHWM") - before - scores.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("hidden", "dtype", "outputs"),
    [(1, "float32", "last step"), (8, "float64", "every step")],
)
def test_resident_memory(hidden, dtype, outputs):
    """The whole process, at its largest, less what it had with the input in memory."""
    beyond = int(run_child(PEAK, str(hidden), dtype, outputs))
    print(f"{beyond / MB:.1f} MB beyond input and output")
    assert beyond < LIMIT


def padded(dtype, order="C"):
    return np.ones((N, T), dtype, order=order)


RAGGED = np.arange(N + 1, dtype=np.int64) * T
WORK = {
    "float32": (lambda: padded("float32"), {}),
    "float64": (lambda: padded("float64"), {}),
    "float16": (lambda: padded("float16"), {}),
    "Fortran": (lambda: padded("float32", "F"), {}),
    "big-endian": (lambda: padded(">f8"), {}),
    "strided": (lambda: np.ones((N, 2 * T), "float32")[:, ::2], {}),
    "broadcast": (lambda: np.broadcast_to(np.float64(1), (N, T, 1)), {}),
    "every step": (lambda: padded("float64"), {"return_sequences": True}),
    "one thread": (lambda: padded("float64"), {"threads": 1}),
    "lengths": (lambda: padded("float64"), {"lengths": np.arange(N) % (T + 1)}),
    "ragged": (lambda: Ragged(np.ones(N * T), RAGGED), {}),
    "ragged in place": (lambda: Ragged(np.ones(N * T, "float32"), RAGGED), {}),
    "list": (lambda: list(np.ones((5000, 20 * T))), {}),
    "few long": (lambda: np.ones((7, N * T // 7)), {}),
    "one long": (lambda: np.ones(N * T // 10), {}),
    "few long, ragged": (lambda: list(np.ones((7, N * T // 7))), {}),
    "state": (lambda: padded("float64"), {"state": [np.ones((2, 1, N, 1), "float32")]}),
}


@pytest.mark.parametrize("name", WORK)
def test_arrays(name):
    make, kwargs = WORK[name]
    x, kwargs = make(), {"threads": 2, **kwargs}
    if "state" in kwargs:
        kwargs["state"] = [tuple(kwargs["state"][0])]
    model = make_model(1, (1,), 1)
    model.predict(x[:100] if not isinstance(x, Ragged) else Ragged(np.ones(5), [0, 5]), threads=1)
    tracemalloc.start()
    try:
        scores = model.predict(x, **kwargs)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    beyond = peak - scores.nbytes
    print(f"{name}: {beyond / MB:.2f} MB beyond input and output")
    assert beyond < LITTLE


@pytest.mark.parametrize("kind", ["call", "trace"])
def test_calls_and_traces(kind):
    """They return more; beyond that they take no more."""
    model, x = make_model(2, (3,)), np.ones((20_000, 50, 2))
    (model if kind == "call" else model.trace)(x, threads=2)  # compiles
    tracemalloc.start()
    try:
        if kind == "call":
            output, state = model(x, threads=2)
            arrays = [output, state.h_n, state.c_n]
        else:
            arrays = list(model.trace(x, threads=2).values.values())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    beyond = peak - sum(array.nbytes for array in arrays)
    print(f"{kind}: {beyond / MB:.2f} MB beyond input and output")
    assert beyond < LITTLE


def test_tiles_of_one_kind_share_their_weights():
    """However many numbers of sequences are asked for, and traced or not."""
    model = make_model(16, (64,))
    for n in range(1, 40):
        model.predict(np.zeros((n, 2, 16), "float32"), threads=1)
    engine = model._engine
    stack = engine.alone
    plans = [engine.plan(stack, None, engine.tile(stack, n, 1, False), False) for n in range(1, 40)]
    kinds = {plan.tile.kind for plan in plans}
    assert len({plan.tile for plan in plans}) > len(kinds)
    assert len({id(plan.panels) for plan in plans}) == len(kinds)
