"""Any network and input against the reference: shapes and values that nobody thought of."""

from __future__ import annotations

import dataclasses

import helpers
import numpy as np
import pytest
from helpers import assert_same_bits
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from shapes import make_input, make_model

from fastlstm import LSTM, Layer, Ragged, reference
from fastlstm.network.state import State

# The same examples every time: a failure is never chance.
EXAMPLES = 150 if helpers.EVERY_CELL else 25
SETTINGS = settings(deadline=None, derandomize=True, database=None, max_examples=EXAMPLES)
pytestmark = pytest.mark.every_cell
EPS = {"float32": 1.2e-7, "float64": 2.3e-16}
# Hidden sizes and inputs: around vectors (8, 16), and blocks of sums (64, 128).
SIZES = st.one_of(st.integers(1, 20), st.sampled_from([31, 33, 63, 64, 65, 127, 128, 129, 130]))


@dataclasses.dataclass
class Drawn:
    """Some work."""

    I: int  # noqa: E741
    hidden_sizes: tuple[int, ...]
    outputs: int
    N: int
    T: int
    dtype: str
    seed: int
    log_scale: int  # of the input, in powers of ten
    with_lengths: bool
    with_state: bool


WORK = st.builds(
    Drawn,
    I=SIZES,
    hidden_sizes=st.lists(SIZES, min_size=1, max_size=3).map(tuple),
    outputs=st.sampled_from([0, 1, 2, 17, 70]),
    N=st.integers(0, 140),
    T=st.integers(0, 12),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
    log_scale=st.integers(-6, 3),
    with_lengths=st.booleans(),
    with_state=st.booleans(),
)


@SETTINGS
@given(WORK)
@example(Drawn(1, (1,), 1, 65, 100, "float32", 0, 0, False, False))
@example(Drawn(1, (1,), 1, 65, 100, "float64", 0, 0, True, True))
@example(Drawn(300, (300,), 3, 20, 3, "float32", 0, 0, True, True))
def test_against_the_reference(drawn):
    """In float64, to a few dozen units of the last place."""
    model = make_model(drawn.I, drawn.hidden_sizes, drawn.outputs, drawn.dtype, drawn.seed)
    x = make_input(drawn.N, drawn.T, drawn.I, "float64", drawn.seed)
    x = (x * 10.0**drawn.log_scale).astype(drawn.dtype)
    rng = np.random.Generator(np.random.PCG64(drawn.seed))
    lengths = rng.integers(0, drawn.T + 1, drawn.N) if drawn.with_lengths else None
    state = None
    if drawn.with_state:
        state = State(
            tuple(rng.standard_normal((1, drawn.N, k)).astype(drawn.dtype) for _ in "hc")
            for k in drawn.hidden_sizes
        )
    exact = model.astype("float64")
    given = exact.network, x.astype("float64")
    keywords = {"lengths": lengths, "state": state}
    atol = EPS[drawn.dtype] * 100 * max(1, drawn.T / 20)
    # the numbers that are summed are as large as the input, and so are the sums' errors
    atol *= max(1.0, 10.0**drawn.log_scale * np.sqrt(drawn.I) / 30)

    def assert_close(actual, expected, what):
        assert actual.dtype == drawn.dtype
        assert actual.shape == expected.shape, what
        np.testing.assert_allclose(actual, expected, rtol=0, atol=atol, err_msg=what)

    true_output, true_end = reference.lstm(*given, **keywords)
    output, end = model(x, **keywords)
    assert_close(output, true_output, "output")
    for i, (pair, true_pair) in enumerate(zip(end, true_end, strict=True)):
        for name, a, b in zip("hc", pair, true_pair, strict=True):
            assert_close(a, b, f"{name} of layer {i}")
    atol *= 1 + np.sqrt(drawn.hidden_sizes[-1])
    for every in (False, True):
        scores = model.predict(x, **keywords, return_sequences=every)
        true = reference.predict(*given, **keywords, return_sequences=every)
        assert_close(scores, true, f"scores, of every step: {every}")
    for i in range(len(drawn.hidden_sizes)):
        trace = model.trace(x, **keywords, layer=i)
        true = reference.trace(*given, **keywords, layer=i)
        pairs = {
            "forget_gate": true.f,
            "input_gate": true.i,
            "candidate_cell": true.g,
            "cell_state": true.c,
            "output_gate": true.o,
            "hidden_state": true.h,
        }
        for name, expected in pairs.items():
            assert_close(getattr(trace, name), expected, f"{name} of layer {i}")


FLOATS = {
    dtype: st_numpy.arrays(
        dtype,
        st.tuples(st.integers(1, 40), st.integers(1, 9), st.just(2)),
        elements=st.floats(width=width),  # NaN, infinite, denormal, huge
        fill=st.floats(-2, 2, width=32),
    )
    for dtype, width in (("float32", 32), ("float64", 64))
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("sizes", [(1,), (5, 3)])
def test_any_numbers(sizes, dtype):
    """Rows alone, reversed, ragged: the same bits, whatever the numbers; NaN where it must be."""
    model = make_model(2, sizes, 1, dtype)

    @SETTINGS
    @given(FLOATS[dtype], st.data())
    def check(x, data):
        N, T, _ = x.shape
        lengths = np.array(data.draw(st.lists(st.integers(0, T), min_size=N, max_size=N)))
        scores = model.predict(x, return_sequences=True)
        assert_same_bits(model.predict(x[::-1], return_sequences=True), scores[::-1])
        assert_same_bits(model.predict(x), scores[:, -1])
        last = model.predict(x, lengths)
        ragged = Ragged.from_list([row[:n] for row, n in zip(x, lengths, strict=True)])
        assert_same_bits(model.predict(ragged), last)
        row = data.draw(st.integers(0, N - 1))
        assert_same_bits(model.predict(x[row, : lengths[row]]), last[row : row + 1])
        # from a NaN on all scores of a row are NaN; before it, and without one, none is if the
        # sums do not overflow
        nan = np.logical_or.accumulate(np.isnan(x).any(axis=2), axis=1)
        assert np.isnan(scores[nan]).all()
        small = np.logical_and.accumulate((np.abs(x) < 1e30).all(axis=2), axis=1)
        assert not np.isnan(scores[small]).any()

    check()


@SETTINGS
@given(
    st.sampled_from(["float32", "float64"]),
    st.integers(1, 3),
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=12, max_size=12),
)
def test_any_weights(dtype, hidden, numbers):
    """Huge, tiny and zero weights: gates within their ranges, states within theirs."""
    weights = np.resize(np.array(numbers, dtype), (4 * hidden, 2 + hidden))
    model = LSTM([Layer(weights[:, :2], weights[:, 2:], weights[:, 0])])
    x = make_input(33, 6, 2, dtype)
    trace = model.trace(x)
    for gate in (trace.input_gate, trace.forget_gate, trace.output_gate):
        assert ((gate >= 0) & (gate <= 1)).all()
    assert (np.abs(trace.candidate_cell) <= 1).all()
    assert (np.abs(trace.hidden_state) <= 1).all()
    assert (np.abs(trace.cell_state) <= np.arange(1, 7)[:, None] * (1 + 1e-6)).all()
    assert_same_bits(model(x)[0], trace.hidden_state)
