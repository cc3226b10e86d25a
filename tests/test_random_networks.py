"""Random networks of parts of all kinds, joined in all ways: the numbers of the reference, and the
same bits whichever way a row comes in.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers import assert_same_bits
from networks import Maker, chain, gives_every_step

import fastlstm
from fastlstm import LSTM, Ragged, State, UnsupportedModelError, reference
from fastlstm.engine.run import engine as run
from fastlstm.engine.run import group, job
from fastlstm.network.joints import AddInputs, From, Join
from fastlstm.network.masking import Masking
from fastlstm.network.pointwise import Activate, StepSoftmax
from fastlstm.network.pooling import Pool
from fastlstm.network.reading import Read
from fastlstm.network.steps import Flatten, Pad, Repeat, Slice, Unflatten, Upsample
from fastlstm.tutorial import RECORD_KEYS

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 12, 17, 33)
MANY = 70  # numbers of a value: wider ones only take longer
ACTIVATIONS = ("linear", "linear", "relu", "tanh", "sigmoid", "gelu", "mish", "hard_silu")
GUARD = 64


class Given(NamedTuple):
    """A value of the network that is being drawn."""

    size: int
    steps: int | None  # of a sequence of all T steps; None: a vector
    axis: int  # two sequences with the same have the same steps


class Draw:
    """Draws a network part by part, and knows what each of them gives.

    Parameters
    ----------
    seed
        Everything follows from it.
    dtype
        Of the weights.
    """

    def __init__(self, seed: int, dtype: str) -> None:
        self.rng, self.make = np.random.default_rng(seed), Maker(seed, dtype)
        self.T = self.pick(1, 2, 5, 9, 12, 20)
        self.parts: list[Any] = []
        self.axes = 1
        self.masked = self.chance(0.12)
        self.values: list[Given] = [Given(self.size(), self.T, 0)]
        self.inputs = self.values[0].size
        self.ids = self.draw_front()
        for _ in range(self.pick(1, 2, 3, 4, 6, 9)):
            self.draw_part()
        while not any(hasattr(k, "cells") for k in self.parts):
            if self.last.steps is None:
                self.repeat()
            self.recur()
        for _ in range(self.pick(0, 0, 1, 2, 4)):
            self.draw_part()
        self.draw_end()
        every = self.last.steps is not None and self.chance(0.5)
        self.model = chain(*self.parts, every=every)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, *of: Any) -> Any:
        return of[int(self.rng.integers(len(of)))]

    def size(self) -> int:
        return int(self.pick(*SIZES))

    @property
    def last(self) -> Given:
        return self.values[-1]

    def add(self, part: Any, size: int | None = None, steps: Any = ..., axis: Any = None) -> None:
        below = self.last
        self.parts.append(part)
        steps = below.steps if steps is ... else steps
        self.values.append(
            Given(below.size if size is None else size, steps, below.axis if axis is None else axis)
        )

    def move(self, part: Any, size: int | None = None) -> bool:
        """Add a part that changes the steps, if it leaves any."""
        assert self.last.steps is not None
        steps = int(part.steps(np.array([self.last.steps]))[0])
        if not 0 < steps <= 60:
            return False
        self.axes += 1
        self.add(part, size, steps, self.axes)
        return True

    def draw_front(self) -> int | None:
        if self.chance(0.2):
            ids, size = int(self.rng.integers(2, 9)), self.pick(3, 7, 30)
            padding = int(self.rng.integers(ids)) if self.masked else None
            self.values = [Given(1, self.T, 0)]
            self.add(self.make.embedding(ids, size, padding_id=padding), size)
            return ids
        if self.masked:
            self.add(Masking(self.pick(0.0, -1.0)))
        return None

    def draw_part(self) -> None:
        vector, masked = self.last.steps is None, self.masked
        kinds = [self.pointwise, self.pointwise, self.joint]
        if vector:
            kinds += [] if masked else [self.repeat, self.unflatten]
        else:
            kinds += [self.recur, self.recur, self.softmax, self.read]
            if not masked:
                kinds += [self.conv, self.conv, self.pool, self.pool, self.pad, self.cut]
                kinds += [self.upsample, self.flatten]
        self.pick(*kinds)()
        if self.last.size > MANY:
            self.dense(self.size())

    def recur(self) -> None:
        if self.last.steps is None:
            return
        units = self.size()
        options: dict[str, Any] = {k: True for k in ("h_0", "c_0") if self.chance(0.2)}
        outputs = 0
        if self.chance(0.25):
            outputs = self.size()
            options |= {"peepholes": True, "coupled": True, "clip": 1.1}
        if self.chance(0.5):
            options["merge"] = self.pick("concat", "concat", "sum", "mul", "ave")
            layer: Any = self.make.both(self.last.size, units, outputs, **options)
        else:
            direction = self.pick("forward", "forward", "reverse", "go_backwards")
            layer = self.make.layer(self.last.size, units, outputs, direction=direction, **options)
        self.add(layer, layer.output_size)

    def dense(self, outputs: int) -> None:
        activation = self.pick(*ACTIVATIONS, "softmax")
        self.add(self.make.dense(self.last.size, outputs, activation), outputs)

    def pointwise(self) -> None:
        size, make = self.last.size, self.make
        kind = self.pick("dense", "dense", "affine", "norm", "rms", "prelu", "activate")
        if kind == "dense":
            self.dense(self.size())
        elif kind == "activate":
            kinds = ("softmax", "log_softmax", "softplus", ("clip", -0.5, 0.5), ("elu", 1.3))
            self.add(Activate(self.pick(*ACTIVATIONS, *kinds)))
        else:
            of = {"affine": make.affine, "norm": make.norm, "prelu": make.prelu}
            self.add(of[kind](size) if kind in of else make.norm(size, centered=False))

    def joint(self) -> None:
        if self.chance(0.3):
            number = int(self.rng.integers(-1, len(self.parts)))
            if not (number < 0 and self.ids) and self.parts:
                value = self.values[number + 1]
                self.add(From(number), value.size, value.steps, value.axis)
            return
        how = self.pick("add", "multiply", "concatenate", "dot")
        numbers = [k for k in range(-1, len(self.parts)) if not (k < 0 and self.ids)]
        if not numbers:
            return
        chosen = [numbers[-1]]
        for number in self.rng.permutation(numbers)[: self.pick(1, 2, 3)].tolist():
            values = [self.values[k + 1] for k in (*chosen, number)]
            sizes = {k.size for k in values}
            sequences = {k.axis for k in values if k.steps is not None}
            fits = how == "concatenate" or len(sizes if how == "dot" else sizes - {1}) <= 1
            if len(sequences) <= 1 and fits:
                chosen.append(number)
        if how == "dot":
            chosen = chosen[:2]
        if len(chosen) < 2:
            return
        chosen = self.rng.permutation(chosen).tolist()
        values = [self.values[k + 1] for k in chosen]
        sizes = [k.size for k in values]
        size = {"concatenate": sum(sizes), "dot": 1}.get(how, max(sizes))
        along = next((k for k in values if k.steps is not None), values[0])
        self.add(Join(how, chosen), size, along.steps, along.axis)

    def padding(self) -> Any:
        pair = int(self.rng.integers(4)), int(self.rng.integers(4))
        return self.pick("valid", "same", "same", "causal", pair)

    def conv(self) -> None:
        taps, inputs = self.pick(1, 2, 3, 5), self.last.size
        groups = self.pick(*(k for k in range(1, inputs + 1) if inputs % k == 0))
        outputs = groups * self.pick(1, 2, 3)
        if groups == 1:
            outputs = self.size()
        options = {
            "stride": self.pick(1, 1, 2, 3),
            "dilation": self.pick(1, 1, 2, 3),
            "padding": self.padding(),
            "activation": self.pick(*ACTIVATIONS),
        }
        self.move(self.make.conv(inputs, outputs, taps, groups=groups, **options), outputs)

    def pool(self) -> None:
        try:
            pool = Pool(
                self.pick("max", "mean"),
                self.pick(1, 2, 3, 4),
                self.pick(None, 1, 2, 3),
                dilation=self.pick(1, 1, 2),
                padding=self.padding(),
                ceil=self.chance(0.3),
                counts_padding=self.chance(0.3),
            )
        except ValueError:  # nothing but padding in a window
            return
        self.move(pool)

    def pad(self) -> None:
        self.move(
            Pad(self.pick(0, 1, 2, 4), self.pick(0, 1, 3), self.pick("zeros", "edge", "reflect"))
        )

    def cut(self) -> None:
        ends = [None, None, *range(-9, 9)]
        self.move(Slice(self.pick(*ends), self.pick(*ends), self.pick(None, 1, 2, 3, -1, -2)))

    def upsample(self) -> None:
        self.move(Upsample(self.pick(1, 2, 3)))

    def softmax(self) -> None:
        self.add(StepSoftmax())

    def read(self) -> None:
        self.add(Read(self.pick("final", "last", "max", "mean", "sum")), steps=None)

    def flatten(self) -> None:
        assert self.last.steps is not None
        if self.last.steps * self.last.size < 500:
            self.add(Flatten(self.last.steps), self.last.steps * self.last.size, None)

    def repeat(self) -> None:
        self.axes += 1
        steps = self.pick(1, 3, 8)
        self.add(Repeat(steps), steps=steps, axis=self.axes)

    def unflatten(self) -> None:
        size = self.last.size
        steps = self.pick(*(k for k in range(1, size + 1) if size % k == 0))
        self.axes += 1
        self.add(Unflatten(steps), size // steps, steps, self.axes)

    def draw_end(self) -> None:
        if self.last.steps is not None and self.chance(0.7):
            self.read()
        for _ in range(self.pick(0, 1, 2)):
            self.pointwise()
        inputs = self.values[0]
        fits = self.last.size <= inputs.size and (self.last.steps is None or self.last.axis == 0)
        if fits and not self.ids and not self.masked and self.chance(0.3):
            self.add(AddInputs(self.last.size))

    # --- what it is called with --------------------------------------------------------------

    def inputs_of(self, n: int, T: int) -> np.ndarray:
        if self.ids:
            return self.rng.integers(0, self.ids, (n, T))
        x = self.rng.normal(size=(n, T, self.model.input_size)).astype(self.model.dtype)
        if self.masked:
            x[self.rng.random((n, T)) < self.pick(0.1, 0.9)] = self.model.mask_value
        return x

    def lengths_of(self, n: int, T: int) -> np.ndarray | None:
        kind = self.pick("none", "equal", "any", "any", "any", "zeros")
        if kind == "none":
            return None
        every = np.arange(T + 1)
        taken = every[~self.model.network.steps(every).refused]
        if not len(taken):
            return None
        if kind == "equal":
            return np.full(n, self.pick(*taken.tolist()))
        if kind == "zeros" and taken[0] == 0:
            return np.where(self.rng.random(n) < 0.7, 0, self.rng.choice(taken, n))
        return self.rng.choice(taken, n)

    def state_of(self, n: int) -> State | None:
        if self.chance(0.7):
            return None

        def random(layer: Any, size: int) -> np.ndarray:
            shape = len(layer.cells), n, size
            return self.rng.normal(size=shape).astype(self.model.dtype)

        return State(
            (random(k, k.cells[0].output_size), random(k, k.hidden_size))
            for k in self.model.recurrent
        )


def draw(seed: int, dtype: str) -> Draw:
    """The first network of a seed that is one."""
    for attempt in range(100):
        try:
            return Draw(seed * 100 + attempt, dtype)
        except UnsupportedModelError:  # a mask that has no one meaning there
            continue
        except ValueError as error:
            if "says how many inputs" not in str(error):
                raise
    raise AssertionError("no network")


Results = dict[str, Any]  # arrays, rows first; or errors


class Ways(NamedTuple):
    """Everything that can be asked of a model, or of the reference."""

    predict: Callable[[bool], Any]
    call: Callable[[], Any]
    trace: Callable[[int], Any]

    def results(self, model: LSTM) -> Results:
        found: Results = {}

        def keep(name: str, call: Callable[..., Any], *args: Any) -> None:
            try:
                result = call(*args)
            except ValueError as error:
                result = error
            found.update({name: result} if not isinstance(result, dict) else result)

        def outputs_and_state() -> Results:
            output, end = self.call()
            pairs = {
                f"{name} {i}": k
                for i, of in enumerate(end)
                for name, k in zip("hc", of, strict=True)
            }
            return {"output": output} | {name: np.swapaxes(k, 0, 1) for name, k in pairs.items()}

        keep("predict", self.predict, False)
        if gives_every_step(model):
            keep("every", self.predict, True)
        if gives_every_step(LSTM.from_network(model.network.without_head)):
            keep("call", outputs_and_state)
        for i in range(0 if model.masks else model.num_layers):
            keep(f"trace {i}", self.trace, i)
        return found


def everything(model: LSTM, x: Any, lengths: Any, state: Any, **options: Any) -> Results:
    """What the engine gives."""

    def trace(i: int) -> Results:
        values = model.trace(x, lengths, state, i, **options).values
        return {f"trace {i} {name}": value for name, value in values.items()}

    return Ways(
        lambda every: model.predict(x, lengths, state, every, **options),
        lambda: model(x, state, lengths, **options),
        trace,
    ).results(model)


def expected(model: LSTM, x: Any, lengths: Any, state: Any) -> Results:
    """What the reference gives."""

    def trace(i: int) -> Results:
        a, f, g, o, c, h = reference.trace(model.network, x, lengths, state, i)
        named = zip(RECORD_KEYS, (f, a, g, c, o, h), strict=True)
        return {f"trace {i} {name}": value for name, value in named}

    return Ways(
        lambda every: reference.predict(model.network, x, lengths, state, every),
        lambda: reference.lstm(model.network, x, state, lengths),
        trace,
    ).results(model)


def assert_close(actual: Any, exact: Any, what: str) -> None:
    """Compare with the reference: both are errors, or their numbers are close."""
    if isinstance(actual, ValueError) or isinstance(exact, ValueError):
        assert type(actual) is type(exact), f"{what}: {actual!r} and {exact!r}"
        return
    assert actual.shape == exact.shape, f"{what}: {actual.shape} and {exact.shape}"
    finite = exact[np.isfinite(exact)]
    largest = max(1.0, np.abs(finite).max(initial=0))
    np.testing.assert_allclose(actual, exact, rtol=1e-10, atol=1e-11 * largest, err_msg=what)


def assert_same(actual: dict[str, Any], given: dict[str, Any], what: str, rows: Any = ...) -> None:
    """Compare all bits; of sequences, the steps that both have."""
    assert actual.keys() == given.keys(), what
    for name, of_all in given.items():
        found = actual[name]
        if isinstance(of_all, ValueError) or isinstance(found, ValueError):
            assert type(of_all) is type(found), f"{what}, {name}: {found!r} and {of_all!r}"
            continue
        chosen = of_all[rows]
        if found.ndim == 3:
            n_steps = min(found.shape[1], chosen.shape[1])
            assert not found[:, n_steps:].any(), f"{what}, {name}"
            assert not chosen[:, n_steps:].any(), f"{what}, {name}"
            found, chosen = found[:, :n_steps], chosen[:, :n_steps]
        assert_same_bits(found, chosen, f"{what}, {name}")


@pytest.fixture
def small_groups(monkeypatch):
    """Rows go through the network a few at a time, and on several threads."""
    monkeypatch.setattr(run, "LEAST_WORK_A_THREAD", 1.0)
    monkeypatch.setattr(job, "LEAST_WORK_A_GROUP", 1.0)
    monkeypatch.setattr(job, "CACHE_BYTES", 4096)
    monkeypatch.setattr(job, "COPIED_BYTES", 4096)


@pytest.fixture
def guards(monkeypatch):
    """What passes between operations stands between numbers that nobody may change, NaN in it."""
    kept: list[np.ndarray] = []

    def buffer(self, number, size, dtype):
        known = self.buffers.get(number)
        if known is None or known.size < size:
            whole = np.empty(size + 2 * GUARD, dtype)
            whole.view(np.uint8)[:] = 0xFF
            if not number:  # ids past a row's length, which are never written, must be valid
                whole[GUARD : GUARD + size] = 0
            kept.append(whole)
            known = self.buffers[number] = whole[GUARD : GUARD + size]
        return known[:size]

    monkeypatch.setattr(group.Worker, "buffer", buffer)
    yield kept
    for whole in kept:
        for guard in (whole[:GUARD], whole[-GUARD:]):
            assert (guard.view(np.uint8) == 0xFF).all(), f"{whole.size=} {whole.dtype}"


def check(seed: int, dtype: str = "float64") -> None:
    """Compare one network with the reference, and its ways with each other."""
    drawn = draw(seed, dtype)
    model, rng = drawn.model, drawn.rng
    n, T = drawn.pick(0, 1, 3, 17, 40), drawn.T
    if drawn.chance(0.05):
        T = 0
    x, lengths, state = drawn.inputs_of(n, T), drawn.lengths_of(n, T), drawn.state_of(n)
    ends = np.full(n, T) if lengths is None else lengths
    if drawn.chance(0.1) and n:  # perhaps too short, or not
        lengths = ends = rng.integers(0, T + 1, n)
    given = everything(model, x, lengths, state, threads=2)
    if dtype == "float64":
        exact = expected(model, x, lengths, state)
        assert given.keys() == exact.keys()
        for name, numbers in exact.items():
            assert_close(given[name], numbers, name)
    if not n:
        return

    def of(rows: Any) -> State | None:
        return state and State((pair.h[:, rows], pair.c[:, rows]) for pair in state)

    def lengths_at(rows: Any) -> Any:
        return None if lengths is None else lengths[rows]

    assert_same(everything(model, x, lengths, state, threads=1), given, "one thread")
    other = np.asfortranarray(x.astype(x.dtype.newbyteorder()))
    assert_same(everything(model, other, lengths, state), given, "strided")
    if any(isinstance(k, ValueError) for k in given.values()):
        return
    rows = rng.permutation(n)[: int(rng.integers(1, n + 1))]
    few = everything(model, x[rows], lengths_at(rows), of(rows))
    assert_same(few, given, "other rows", rows)
    alone = slice(rows[0], rows[0] + 1)
    one = everything(model, x[alone, : ends[rows[0]]], None, of(alone), threads=1)
    assert_same(one, given, "one row alone", alone)
    sequences = [x[k][: ends[k]] for k in rows]
    assert_same(everything(model, sequences, None, of(rows)), given, "list", rows)
    offsets = np.concatenate([[0], np.cumsum(ends[rows])])
    ragged = Ragged(np.concatenate(sequences), offsets)
    assert_same(everything(model, ragged, None, of(rows)), given, "ragged", rows)
    out = np.full((*given["predict"].shape, 2), 7, dtype)
    model.predict(x, lengths, state, False, out=out[..., 0])
    assert_same_bits(np.ascontiguousarray(out[..., 0]), given["predict"], "out")
    bad = int(rng.integers(n))
    if ends[bad] and not drawn.ids:
        broken = x.copy()
        broken[bad, rng.integers(ends[bad]), 0] = drawn.pick(np.nan, np.inf)
        found = everything(model, broken, lengths, state)
        if np.isnan(broken).any() and dtype == "float64":  # never a plausible score
            lost = np.isnan(reference.predict(model.network, broken, lengths, state, False))
            np.testing.assert_array_equal(np.isnan(found["predict"]), lost)
        others = np.delete(np.arange(n), bad)
        found = {name: values[others] for name, values in found.items()}
        assert_same(found, given, "beside a bad row", others)
    if lengths is not None and not drawn.ids:
        junk = x.copy()
        junk[np.arange(T) >= lengths[:, None]] = np.nan
        assert_same(everything(model, junk, lengths, state), given, "NaN past a length")


@pytest.mark.usefixtures("small_groups", "guards")
@pytest.mark.parametrize("seed", range(20))
def test_random_network(seed):
    check(seed)


@pytest.mark.full
@pytest.mark.usefixtures("small_groups", "guards")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(1000, 1030))
def test_many_random_networks(seed, dtype):
    check(seed, dtype)


@pytest.mark.parametrize("seed", range(100, 108))
def test_saved_random_network(seed, tmp_path):
    model = draw(seed, "float32").model
    assert pickle.loads(pickle.dumps(model)) == model
    for suffix in (".npz", ".json", ".safetensors"):
        if suffix == ".safetensors":
            pytest.importorskip("safetensors")
        loaded = fastlstm.load(model.save(tmp_path / f"model{suffix}"))
        assert loaded == model, suffix
