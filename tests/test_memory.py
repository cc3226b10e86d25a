"""Memory: input and output, and little beside them, whatever the form of the input.

NumPy tells `tracemalloc` of every array, in any thread; what else the process takes shows in
its resident size, once.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
import tracemalloc
import weakref
from dataclasses import fields

import numpy as np
import pytest
from helpers import run_child
from shapes import make_model

from fastlstm import LSTM, Bidirectional, Dense, Embedding, Layer, Ragged
from fastlstm.engine.plan import plan
from fastlstm.engine.run import packed as packed_weights

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
    packed = model._engine.packed
    (walk,) = model._engine.programs[False].operations
    plans = [packed.plans(walk, n, 1, False, False)[0][0] for n in range(1, 40)]
    kinds = {plan.tile.kind for plan in plans}
    assert len({plan.tile for plan in plans}) > len(kinds)
    assert len({id(plan.panels) for plan in plans}) == len(kinds)
    owners = {id(owner): owner for plan in set(plans) for owner in kept_by(plan)}
    most = len(kinds) * max(plan.panels.nbytes for plan in plans)
    assert sum(owner.nbytes for owner in owners.values()) < 1.1 * most


def kept_by(plan):
    """The memory of every array of a plan, whole where the array is a part of it."""
    for field in fields(plan):
        array = getattr(plan, field.name)
        if isinstance(array, np.ndarray):
            yield array if array.base is None else array.base


def networks():
    """A network for every way through the engine."""
    rng = np.random.default_rng(0)

    def random(*shape):
        return rng.normal(size=shape).astype(np.float32)

    def layer(inputs, **options):
        return Layer(random(12, inputs), random(12, 3), random(12), **options)

    both = Bidirectional(layer(2), layer(2, direction="reverse"), merge="sum")
    yield "alone", LSTM([layer(2), layer(3)], head=Dense(random(1, 3)))
    yield "chain", LSTM([both, Dense(random(4, 3)), layer(4)], head=Dense(random(1, 3)))
    yield "looked up", LSTM([Embedding(random(9, 2)), Dense(random(24, 2)), layer(24)])


@pytest.mark.usefixtures("few_kernels")
def test_a_model_goes_at_once_with_all_that_was_packed_for_it():
    """Without the garbage collector: nothing leads round in a circle."""
    gc.collect()
    gc.disable()
    try:
        for name, model in networks():
            x = np.zeros((20, 5, 2), np.float32)
            if name == "looked up":
                x = np.zeros((20, 5), np.int64)
            for threads in (1, 2):
                model.predict(x, threads=threads)
                model.predict(x, lengths=np.arange(20) % 6, threads=threads)
                model.predict(x[:, ::-1], return_sequences=True, threads=threads)
                model(x, threads=threads)
                model.trace(x, layer=0, threads=threads)
            engines = [model._engine, model._network_engine, model._engine_up_to(0)]
            kept = [weakref.ref(thing) for thing in (model, *engines)]
            kept += [weakref.ref(a) for a in packed(engines)]
            assert len(kept) > 5
            del model, engines
            until = time.monotonic() + 5  # a thread of the pool may have a line left
            while any(ref() is not None for ref in kept) and time.monotonic() < until:
                time.sleep(0.01)
            assert not [ref() for ref in kept if ref() is not None], name
    finally:
        gc.enable()


def packed(engines):
    """The arrays that plans of the engines hold."""
    for engine in engines:
        for every, program in engine.programs.items():
            for walk in program.walks:
                tile = engine.packed.tile(walk.stack, 20, 1, False)
                yield engine.packed.plan(walk.stack, walk.head, tile, every).panels


@pytest.mark.usefixtures("few_kernels")
def test_a_trace_packs_weights_once(monkeypatch):
    packs = []
    make = packed_weights.make_plan

    def counted(*args):
        packs.append(args)
        return make(*args)

    monkeypatch.setattr(packed_weights, "make_plan", counted)
    for _, model in networks():
        x = np.zeros((4, 5, 2) if model.input_size == 2 else (4, 5), np.int64)
        for layer in range(model.num_layers):
            before = len(packs)
            model.trace(x, layer=layer)
            made = len(packs)
            assert made > before or layer == model.num_layers - 1
            for _ in range(3):
                model.trace(x, layer=layer)
            assert len(packs) == made


def plan_of_a_call(model):
    """The plan for four rows and one thread."""
    (walk,) = model._engine.programs[False].operations
    return model._engine.packed.plans(walk, 4, 1, False, False)[0][0]


@pytest.mark.usefixtures("few_kernels")
def test_scratch_memory_of_many_threads_is_not_kept(monkeypatch):
    """Thirty calls at once, and the plan keeps what so many threads as there are CPUs need."""
    model, x = make_model(2, (3,)), np.zeros((4, 5, 2), np.float32)
    model.predict(x, threads=1)
    of_call = plan_of_a_call(model)
    all_there = threading.Barrier(30)
    taken = [of_call.take_scratch() for _ in range(30)]
    threads = [
        threading.Thread(target=lambda s=s: (all_there.wait(), of_call.give_back(s)))
        for s in taken
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(of_call.spare) <= plan.MOST_SPARE
    monkeypatch.setattr(plan, "MOST_SPARE", 2)
    del of_call.spare[:]
    for scratch in taken:
        of_call.give_back(scratch)
    assert len(of_call.spare) == 2


@pytest.mark.usefixtures("few_kernels")
def test_scratch_memory_begins_without_denormal_numbers(monkeypatch):
    """Kernels fill up their vectors with it, and each of them takes a hundred cycles."""
    empty = plan.aligned_empty

    def denormal(size, dtype):
        array = empty(size, dtype)
        array.view(np.int32)[:] = 1
        return array

    of_call = plan_of_a_call(make_model(2, (3,)))
    monkeypatch.setattr(plan, "aligned_empty", denormal)
    numbers = [a for a in of_call.take_scratch().memory if a.dtype == np.float32]
    assert any(array.size == of_call.scratch_size for array in numbers)
    for array in numbers:
        assert not (np.abs(array[array != 0]) < np.finfo(np.float32).tiny).any()


@pytest.mark.usefixtures("few_kernels")
def test_scratch_memory_comes_back_from_a_call_that_fails():
    model, x = make_model(2, (3,)), np.zeros((4, 5, 2))
    model.predict(x, threads=1)
    of_call = plan_of_a_call(model)
    (scratch,) = of_call.spare

    def fail(*_):
        assert not of_call.spare  # the kernel has it
        raise OSError("the disk is gone")

    object.__setattr__(of_call, "kernel", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        model.predict(x, threads=1)
    assert [spare[0] is scratch[0] for spare in of_call.spare] == [True]
