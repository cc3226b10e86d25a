"""Random networks of layers of all kinds, on random inputs: the numbers of the reference loop, and
the same bits whichever way a row comes in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers import assert_same_bits, some_of
from networks import Maker

from fastlstm import LSTM, Embedding, Layer, Ragged, State, UnsupportedModelError, reference
from fastlstm.engine.plan import plan
from fastlstm.engine.run import engine as run
from fastlstm.engine.run import job

pytestmark = pytest.mark.usefixtures("few_kernels", "small_groups")

# Of these and their projections; every other kind of cell would have to be compiled.
OPTIONS: dict[str, Any] = {"peepholes": True, "coupled": True, "clip": 1.1}
SIZES = (1, 2, 3, 5, 7, 8, 9, 16, 17, 33)
GUARD = 256


@pytest.fixture
def small_groups(monkeypatch):
    """Rows go through the network a few at a time, and on several threads."""
    monkeypatch.setattr(run, "LEAST_WORK_A_THREAD", 1.0)
    monkeypatch.setattr(job, "LEAST_WORK_A_GROUP", 1.0)
    monkeypatch.setattr(job, "CACHE_BYTES", 4096)
    monkeypatch.setattr(job, "COPIED_BYTES", 4096)


@pytest.fixture
def guards(monkeypatch):
    """Scratch memory between numbers that nobody may change, and NaN in it."""
    kept: list[np.ndarray] = []

    def guarded_empty(size, dtype):
        whole = aligned_empty(size + 2 * GUARD, dtype)
        whole.view(np.uint8)[:] = 0xFF  # NaN, or -1
        kept.append(whole)
        return whole[GUARD : GUARD + size]

    aligned_empty = plan.aligned_empty
    for name in ("aligned_empty", "aligned_zeros"):  # kernels need no zeros, they are fast by them
        monkeypatch.setattr(plan, name, guarded_empty)
    yield kept
    for whole in kept:
        for guard in (whole[:GUARD], whole[-GUARD:]):
            assert (guard.view(np.uint8) == 0xFF).all(), f"{whole.size=} {whole.dtype}"


class Drawn:
    """A random network with inputs, lengths and a state."""

    def __init__(self, seed: int, dtype: str) -> None:
        self.rng, self.make = np.random.default_rng(seed), Maker(seed, dtype)
        while True:
            try:
                self.model = self.network()
                break
            except UnsupportedModelError:  # a mask that has no one meaning here
                continue
        N, T = (int(self.rng.choice(sizes)) for sizes in ((1, 3, 17, 40, 0), (1, 2, 9, 20, 0)))
        self.n, self.steps = N, T
        self.x = self.values()
        self.lengths = self.rng.integers(0, T + 1, N) if self.coin(0.7) else None
        self.state = self.start() if self.coin() else None
        self.ends = np.full(N, T) if self.lengths is None else self.lengths

    def coin(self, probability: float = 0.5) -> bool:
        return bool(self.rng.random() < probability)

    def size(self) -> int:
        return int(self.rng.choice(SIZES))

    def network(self) -> LSTM:
        make, rng = self.make, self.rng
        inputs = width = self.size()
        mask_value = None
        layers: list[Any] = []
        if self.coin(0.3):
            ids, width = int(rng.integers(1, 9)), int(rng.choice([3, 30]))
            padding = int(rng.integers(ids)) if self.coin() else None
            layers.append(make.embedding(ids, width, padding_id=padding))
            inputs = 0
        elif self.coin(0.3):
            mask_value = float(rng.choice([0.0, -1.0]))
        for i in range(rng.integers(1, 4)):
            if i and self.coin(0.3):
                layers.append(make.dense(width, self.size(), "tanh"))
            units, outputs, options = self.size(), 0, {}
            if self.coin(0.4):
                outputs, options = self.size(), dict(OPTIONS)
            options |= {name: True for name in ("h_0", "c_0") if self.coin(0.3)}
            before = layers[-1].output_size if layers else width
            if self.coin():
                merge = str(rng.choice(["concat", "sum", "mul", "ave"]))
                layers.append(make.both(before, units, outputs, merge=merge, **options))
            else:
                direction = str(rng.choice(["forward", "reverse", "go_backwards"]))
                layers.append(make.layer(before, units, outputs, direction=direction, **options))
            width = layers[-1].output_size
        head = []
        for activation in ("relu", "linear")[: rng.integers(3)]:
            head.append(make.dense(width, self.size(), activation))
            width = head[-1].output_size
        skip = width if width <= inputs and mask_value is None and self.coin() else 0
        read = str(rng.choice(["final", "last", "max", "mean"]))
        return LSTM(layers, head, self.coin(0.3), read=read, mask_value=mask_value, skip=skip)

    def values(self) -> np.ndarray:
        first, shape = self.model.layers[0], (self.n, self.steps)
        if isinstance(first, Embedding):
            return self.rng.integers(0, first.ids, shape)
        x = self.rng.normal(size=(*shape, self.model.input_size)).astype(self.model.dtype)
        if self.model.mask_value is not None:
            x[self.rng.random(shape) < self.rng.choice([0.1, 0.9])] = self.model.mask_value
        return x

    def start(self) -> State:
        def random(layer: Any, size: int) -> np.ndarray:
            shape = len(layer.cells), self.n, size
            return self.rng.normal(size=shape).astype(self.model.dtype)

        return State(
            (random(k, k.cells[0].output_size), random(k, k.hidden_size))
            for k in self.model.recurrent
        )

    @property
    def mask(self) -> np.ndarray | None:
        if self.model.mask_value is not None:
            return np.asarray((self.x != self.model.mask_value).any(-1))
        return self.x != self.model.layers[0].padding_id if self.model.masks else None

    @property
    def gives_steps(self) -> bool:
        """Whether the outputs of every step have a meaning."""
        top = self.model.recurrent[-1]
        alone = isinstance(top, Layer) and top.direction != "forward"
        return not (self.model.masks and alone)

    def ways(self) -> Iterator[tuple[str, Any, Any, Any, Any]]:
        """What to call it, x, lengths and state of some rows, and which."""
        x, ends = self.x, self.ends
        rows = self.rng.permutation(self.n)[: int(self.rng.integers(1, self.n + 1))]
        sequences = [x[n][: ends[n]] for n in rows]
        offsets = np.concatenate([[0], np.cumsum(ends[rows])])
        yield "list", sequences, None, self.state_of(rows), rows
        yield "ragged", Ragged(np.concatenate(sequences), offsets), None, self.state_of(rows), rows
        lengths = None if self.lengths is None else self.lengths[rows]
        yield "other rows", x[rows], lengths, self.state_of(rows), rows
        other = x.astype(x.dtype.newbyteorder())
        yield "swapped", np.asfortranarray(other), self.lengths, self.state, np.arange(self.n)

    def state_of(self, rows: Any) -> State | None:
        if self.state is None:
            return None
        return State((pair.h[:, rows], pair.c[:, rows]) for pair in self.state)


def assert_close(actual: Any, exact: Any, dtype: str, what: str) -> None:
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    assert actual.dtype == dtype, what
    np.testing.assert_allclose(actual, exact, tolerance, tolerance, err_msg=what)


def check(seed: int, dtype: str) -> Drawn:
    drawn = Drawn(seed, dtype)
    model, x, lengths, state = drawn.model, drawn.x, drawn.lengths, drawn.state
    exact = model.astype("float64")
    every = (False, True) if drawn.gives_steps else (False,)
    ys = [model.predict(x, lengths, state, sequences, threads=2) for sequences in every]
    for y, sequences in zip(ys, every, strict=True):
        expected = reference.predict(exact.network, x, lengths, state, sequences)
        assert_close(y, expected, dtype, f"{sequences=}")
        out = np.full((*y.shape, 2), 7, dtype)
        model.predict(x, lengths, state, sequences, out=out[..., 0])
        assert_same_bits(np.ascontiguousarray(out[..., 0]), y, "out")
        assert (out[..., 1] == 7).all()
    if drawn.gives_steps:
        output, end = model(x, state, lengths, threads=3)
        true_output, true_end = reference.lstm(exact.network, x, state, lengths)
        assert_close(output, true_output, dtype, "output")
        for given, true in zip(end, true_end, strict=True):
            assert_close(given.h, true.h, dtype, "h")
            assert_close(given.c, true.c, dtype, "c")
    if not model.masks:
        trace = model.trace(x, lengths, state)
        i, f, g, o, c, h = reference.trace(exact.network, x, lengths, state)
        for given, true in zip(trace.values.values(), (f, i, g, c, o, h), strict=True):
            assert_close(given, true, dtype, "trace")
    for what, form, of_form, start, rows in drawn.ways() if drawn.n else ():
        for y, sequences in zip(ys, every, strict=True):
            z = model.predict(form, of_form, start, sequences, threads=3)
            chosen = y[rows][:, : z.shape[1]] if sequences else y[rows]
            assert_same_bits(z, chosen, what)
    return drawn


@pytest.mark.parametrize("seed", some_of(range(40), *range(6)))
def test_any_network(seed, guards):
    assert check(seed, "float64").n == 0 or guards


@pytest.mark.slow
@pytest.mark.usefixtures("guards")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(1000, 1500))
def test_many_networks(seed, dtype):
    check(seed, dtype)
