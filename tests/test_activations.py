"""sigmoid and tanh against the contract, through the public API, by bit pattern.

A cell with one input of weight 1 shows them: traced gates, and the cell and hidden states,
which are computed from shared fractions instead of the gates that `trace` shows. A unit in the
last place (ULP) is that of the true value. The worst errors are printed on a pass, too
(``pytest -s`` or ``-rP``).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal, localcontext
from functools import cache
from typing import NamedTuple

import numba
import numpy as np
import pytest

from fastlstm import LSTM, Layer
from fastlstm.engine import cpu
from fastlstm.engine.simd import sigmoid_tanh as activations
from fastlstm.engine.simd.arithmetic import empty_pack
from fastlstm.engine.simd.memory import load, store

LIMIT = 2.5  # ULP, of the contract
OPEN = 100.0  # a bias that opens a gate altogether: sigmoid and tanh round to 1
# Within this the states are exact, too. Beyond, they count a sigmoid as the one of the limit.
STATE_LIMIT = {"float32": 87.0, "float64": 708.0}
INTEGERS = {"float32": np.uint32, "float64": np.uint64}
MANTISSA_BITS = {"float32": 23, "float64": 52}


# --- what is true -------------------------------------------------------------------------------


def sigmoid(x: np.ndarray) -> np.ndarray:
    """The logistic function in the dtype of x; nothing overflows and no tail is lost."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, x.dtype.type(1)) / (1 + e)


TRUE = {"sigmoid": sigmoid, "tanh": np.tanh}


def wider(dtype: str) -> type:
    """A dtype with at least ten more bits than `dtype`."""
    if dtype == "float32":
        return np.float64
    if np.finfo(np.longdouble).nmant < MANTISSA_BITS[dtype] + 10:
        pytest.skip(f"needs a wider long double than {np.finfo(np.longdouble).nmant} bits")
    return np.longdouble


def errors_in_ulp(actual: np.ndarray, true: np.ndarray, dtype: str) -> np.ndarray:
    """|actual - true| in units of the last place of a number of `dtype` as large as `true`."""
    info = np.finfo(dtype)
    _, exponent = np.frexp(true)  # true = m * 2^exponent, 1/2 <= m < 1
    exponent = np.maximum(exponent - 1, info.minexp) - info.nmant
    return np.ldexp(np.abs(actual.astype(true.dtype) - true), -exponent).astype(np.float64)


# --- what the engine gives ----------------------------------------------------------------------


class View(NamedTuple):
    """How to see an activation: a cell, the state before its one step, and what to look at."""

    function: str
    gates: dict[str, tuple[float, float]]  # weight of the input and bias; the rest is (0, 0)
    start: tuple[float, float] | None
    result: str


OPEN_GATE = (0.0, OPEN)
VIEWS = {
    "input gate": View("sigmoid", {"i": (1, 0)}, None, "input_gate"),
    "forget gate": View("sigmoid", {"f": (1, 0)}, None, "forget_gate"),
    "output gate": View("sigmoid", {"o": (1, 0)}, None, "output_gate"),
    "candidate": View("tanh", {"g": (1, 0)}, None, "candidate_cell"),
    # c = i * 1, c = f * 1, h = o * 1
    "i in c": View("sigmoid", {"i": (1, 0), "g": OPEN_GATE}, None, "cell_state"),
    "f in c": View("sigmoid", {"f": (1, 0)}, (0, 1), "cell_state"),
    "o in h": View("sigmoid", {"o": (1, 0), "f": OPEN_GATE}, (0, OPEN), "hidden_state"),
    # c = 1 * tanh(x), h = 1 * tanh(c) with c handed over
    "g in c": View("tanh", {"i": OPEN_GATE, "g": (1, 0)}, None, "cell_state"),
    "c in h": View("tanh", {"f": OPEN_GATE, "o": OPEN_GATE}, None, "hidden_state"),
}


@cache
def cell(view: str, dtype: str) -> LSTM:
    gates = [VIEWS[view].gates.get(name, (0, 0)) for name in "ifgo"]
    w_x, bias = (np.array(column, dtype) for column in zip(*gates, strict=True))
    return LSTM([Layer(w_x[:, None], np.zeros((4, 1), dtype), bias)])


def show(view: str, values: np.ndarray) -> np.ndarray:
    """The activation of each number of `values` (any shape), every one a sequence of one step."""
    model, x = cell(view, values.dtype.name), values.reshape(-1, 1)
    start = VIEWS[view].start
    if view == "c in h":
        start, x = (np.zeros_like(x), x), np.zeros_like(x)
    state = None if start is None else [tuple(np.broadcast_to(a, (1, len(x), 1)) for a in start)]
    if state is not None and view == "c in h":
        state = [tuple(a.reshape(1, -1, 1) for a in start)]
    return getattr(model.trace(x, state=state), VIEWS[view].result).reshape(values.shape)


def worst_error(view: str, x: np.ndarray) -> tuple[float, float]:
    """The largest error in ULP over finite x, and where; ranges are checked on the way."""
    dtype, function = x.dtype.name, VIEWS[view].function
    actual = show(view, x)
    assert np.all(np.abs(actual) <= 1)
    if function == "sigmoid":
        assert np.all(actual >= 0)
    else:
        assert np.array_equal(np.signbit(actual)[actual != 0], np.signbit(x)[actual != 0])
    errors = errors_in_ulp(actual, TRUE[function](x.astype(wider(dtype))), dtype)
    worst = int(np.argmax(errors))
    return float(errors[worst]), float(x[worst])


# --- what to look at ----------------------------------------------------------------------------


@cache
def sample(dtype: str, each: int) -> np.ndarray:
    """Finite numbers by bit pattern: both signs, every exponent with `each` mantissas, edges."""
    unsigned, bits = INTEGERS[dtype], MANTISSA_BITS[dtype]
    info = np.finfo(dtype)
    rng = np.random.Generator(np.random.PCG64(0))
    exponents = np.arange(info.maxexp - info.minexp + 1, dtype=unsigned)[:, None]
    mantissas = rng.integers(0, 1 << bits, (len(exponents), each), dtype=unsigned)
    mantissas[:, :2] = 0, (1 << bits) - 1
    positive = [(exponents << unsigned(bits) | mantissas).ravel()]
    limits = (0.5 * np.log(2), 1, 10, 20, 40, 44, 80, 87, 88.7, 104, 708, 709.7, 745.2)
    for edge in (0, np.dtype(dtype).type(info.tiny), info.max, *limits):
        first = np.array(edge, dtype).view(unsigned).astype(np.int64)
        around = first + np.arange(-2000, 2000)
        last = np.array(info.max, dtype).view(unsigned).astype(np.int64)
        positive.append(around[(around >= 0) & (around <= last)].astype(unsigned))
    positive = np.concatenate(positive)
    sign = unsigned(1) << unsigned(8 * info.dtype.itemsize - 1)
    return np.concatenate([positive, positive | sign]).view(dtype)


@cache
def interesting(dtype: str, each: int) -> np.ndarray:
    """Numbers where the functions are neither 0, x, 1/2 nor 1."""
    top = 8 if dtype == "float32" else 11
    rng = np.random.Generator(np.random.PCG64(1))
    exponents = np.arange(-MANTISSA_BITS[dtype] // 2 - 2, top)[:, None]
    x = np.ldexp(rng.uniform(1, 2, (len(exponents), each)), exponents).ravel()
    return np.concatenate([x, -x]).astype(dtype)


def within_state_limit(view: str, x: np.ndarray) -> np.ndarray:
    if VIEWS[view].result.endswith("state") and VIEWS[view].function == "sigmoid":
        return x[np.abs(x) <= STATE_LIMIT[x.dtype.name]]
    return x


# --- the contract -------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_error(view, dtype):
    each = (2000, 20_000) if dtype == "float32" else (40, 2000)
    samples = {"all": sample(dtype, each[0]), "interesting": interesting(dtype, each[1])}
    for name, x in samples.items():
        x = within_state_limit(view, x)
        worst, where = worst_error(view, x)
        print(f"{dtype} {view}, {len(x)} {name} numbers: {worst:.3f} ULP at {where!r}")
        assert worst <= LIMIT


def all_float32(first: int, count: int) -> dict[str, tuple[float, float]]:
    """The worst errors, and where, over bit patterns `first ... first + count - 1`."""
    layer = Layer(np.ones((4, 1), np.float32), np.zeros((4, 1), np.float32))
    patterns = np.arange(first, first + count, dtype=np.int64)
    x = patterns.astype(np.uint32).view(np.float32)
    nan = np.isnan(x)
    # a NaN stays in the state, and so has a sequence of its own
    trace = LSTM([layer]).trace(x.reshape(-1, 1 if nan.any() else 64))
    for gate in (trace.forget_gate, trace.output_gate):
        assert np.array_equal(gate, trace.input_gate, equal_nan=True)
    wide = np.where(nan, 0, x).astype(np.float64)
    worst = {}
    for function, shown in (("sigmoid", trace.input_gate), ("tanh", trace.candidate_cell)):
        actual = shown.ravel().astype(np.float64)
        assert np.array_equal(np.isnan(actual), nan)
        true = TRUE[function](wide)
        exponent = np.maximum((true.view(np.int64) >> 52 & 0x7FF) - 1023, -126)
        one_over_unit = ((1023 + 23 - exponent) << 52).view(np.float64)
        errors = np.where(nan, 0, np.abs(actual - true) * one_over_unit)
        at = int(np.argmax(errors))
        worst[function] = float(errors[at]), float(x[at])
    return worst


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_every_float32(part):
    """All 2^32 bit patterns, an eighth at a time."""
    chunk, each = 1 << 22, 1 << 29
    starts = range(part * each, (part + 1) * each, chunk)
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(all_float32, starts, [chunk] * len(starts)))
    assert len(found) * chunk == each
    for function in ("sigmoid", "tanh"):
        worst, where = max(errors[function] for errors in found)
        print(f"float32 {function}, part {part}: {worst:.4f} ULP at {where!r}")
        assert worst <= LIMIT


def test_the_exhaustive_check_measures_as_the_sampled_one():
    """The slow test's own arithmetic, on some of its bit patterns."""
    first, count = np.float32(-16.7).view(np.uint32).item(), 1 << 16
    found = all_float32(first, count)
    x = np.arange(first, first + count, dtype=np.uint32).view(np.float32)
    for function, view in (("sigmoid", "input gate"), ("tanh", "candidate")):
        assert found[function] == pytest.approx(worst_error(view, x), abs=1e-6)
    assert found["sigmoid"][0] > 1


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_special_values(view, dtype):
    function, result = VIEWS[view].function, VIEWS[view].result
    info = np.finfo(dtype)
    tiny = float(info.smallest_subnormal)
    at_zero, below = {"sigmoid": (0.5, 0.0), "tanh": (0.0, -1.0)}[function]
    expected = {0.0: at_zero, 1000.0: 1.0, info.max: 1.0, info.min: below}
    if "gate" in result or view == "c in h":  # elsewhere other gates get 0 * inf
        expected |= {np.inf: 1.0, -np.inf: below}
    if function == "tanh":
        expected |= {tiny: tiny, -tiny: -tiny, 3 * tiny: 3 * tiny}
    atol = 2 * info.tiny if "state" in result and function == "sigmoid" else 0
    for x, y in expected.items():
        assert abs(show(view, np.array([x], dtype))[0] - y) <= atol, x
    for nan in (np.nan, -np.nan):
        assert np.isnan(show(view, np.array([nan, 1.0], dtype))).tolist() == [True, False]


@pytest.mark.parametrize("gate", ["input gate", "forget gate", "output gate"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_neighbour_in_the_tail_does_not_show(gate, dtype):
    """A gate that nearly closes takes another way; the other sequences of its tile go along."""
    x = interesting(dtype, 1000)
    x = x[np.abs(x) <= STATE_LIMIT[dtype]]
    mixed = x.copy()
    mixed[:: cpu.lanes(dtype)] = -1.01 * STATE_LIMIT[dtype]
    others = mixed == x
    bits = INTEGERS[dtype]
    assert np.array_equal(show(gate, mixed)[others].view(bits), show(gate, x)[others].view(bits))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinite_input_saturates(dtype):
    """Of every gate, and so of the states: c = 1 * c + 1 * 1, then c = 0 * c + 0 * -1."""
    layer = Layer(np.ones((4, 1), dtype), np.zeros((4, 1), dtype))
    trace = LSTM([layer]).trace(np.array([np.inf, np.inf, -np.inf], dtype))
    for gate in (trace.input_gate, trace.forget_gate, trace.output_gate):
        assert gate.ravel().tolist() == [1, 1, 0]
    assert trace.candidate_cell.ravel().tolist() == [1, 1, -1]
    c, h = trace.cell_state.ravel(), trace.hidden_state.ravel()
    assert c[:2].tolist() == [1, 2]
    np.testing.assert_allclose(h[:2], np.tanh([1, 2]), rtol=4 * np.finfo(dtype).eps)
    assert max(abs(c[2]), abs(h[2])) <= 6 * np.finfo(dtype).tiny


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_tail_below_the_smallest_normal_number_is_kept(dtype):
    info = np.finfo(dtype)
    x = np.linspace(np.log(info.smallest_subnormal) + 1, np.log(info.tiny) - 0.01, 1000)
    y = show("input gate", x.astype(dtype))
    assert np.all((y > 0) & (y < info.tiny))


@pytest.mark.parametrize("view", ["candidate", "g in c", "c in h"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tanh_is_odd(view, dtype):
    x = np.abs(interesting(dtype, 1000))
    bits = INTEGERS[dtype]
    assert np.array_equal(show(view, x).view(bits), (-show(view, -x)).view(bits))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_states_and_gates_hang_together(dtype):
    """The trace keeps the equations: c = f c + i g and h = o tanh(c).

    Sigmoids below the smallest normal number count as about that number in the states.
    """
    x = interesting(dtype, 500)
    rng = np.random.Generator(np.random.PCG64(3))
    weights = rng.uniform(-2, 2, (4, 1)).astype(dtype)
    before = rng.standard_normal(len(x)).astype(dtype)
    model = LSTM([Layer(weights, np.zeros((4, 1), dtype))])
    state = [(np.zeros((1, len(x), 1)), before.reshape(1, -1, 1))]
    trace = model.trace(x.reshape(-1, 1), state=state)
    i, f, g, o, c, h = (
        getattr(trace, name).ravel().astype(np.longdouble)
        for name in (
            *("input_gate", "forget_gate", "candidate_cell", "output_gate"),
            *("cell_state", "hidden_state"),
        )
    )
    eps = np.finfo(dtype).eps
    tiny = 2 * np.finfo(dtype).tiny
    terms = np.abs(f * before) + np.abs(i * g)
    assert np.all(np.abs(c - (f * before + i * g)) <= 8 * eps * terms + tiny * (1 + np.abs(before)))
    assert np.all(np.abs(h - o * np.tanh(c)) <= 8 * eps * np.abs(h) + tiny)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_functions_by_themselves(dtype):
    """In a kernel of the test's own: the sums before a gate are never -0, and here it is."""

    @numba.njit(error_model="numpy")
    def apply(x, y):
        like = empty_pack(x, 4, 2)
        for k in range(0, x.size, 8):
            v = load(x, k, like)
            store(y[0], k, activations.sigmoid(v))
            store(y[1], k, activations.tanh(v))

    x = np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1.0, -1.0], dtype)
    sigmoid, tanh = y = np.empty((2, 8), dtype)
    apply(x, y)
    assert sigmoid[[0, 1, 4, 5]].tolist() == [0.5, 0.5, 1, 0]
    assert tanh[[0, 1, 4, 5]].tolist() == [0, 0, 1, -1]
    assert np.signbit(tanh[[0, 1]]).tolist() == [False, True]
    assert np.isnan(y[:, 2:4]).all()
    x = interesting(dtype, 8)
    y = np.empty((2, x.size), dtype)
    apply(x, y)
    assert np.array_equal(y, [show("input gate", x), show("candidate", x)])


# --- the reference itself -----------------------------------------------------------------------


def exact(function: str, x: float) -> Decimal:
    """The function to fifty digits."""
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 60, -10_000, 10_000
        d = Decimal(x)
        if function == "sigmoid":
            return 1 / (1 + (-d).exp())
        if abs(x) < 1e-8:
            return d - d**3 / 3 + 2 * d**5 / 15
        e = (2 * d).exp()
        return (e - 1) / (e + 1)


@pytest.mark.parametrize("function", ["sigmoid", "tanh"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_reference_is_right(function, dtype):
    """To a hundredth of a ULP, against decimal arithmetic."""
    rng = np.random.Generator(np.random.PCG64(4))
    x = np.concatenate([rng.choice(sample(dtype, 40), 500), rng.choice(interesting(dtype, 9), 500)])
    x = x[np.abs(x) < 5000]
    true = TRUE[function](x.astype(wider(dtype)))
    tiniest = np.finfo(dtype).smallest_subnormal
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 60, -10_000, 10_000
        for value, y in zip(x.tolist(), true, strict=True):
            numerator, denominator = y.as_integer_ratio()
            error = abs(Decimal(numerator) / Decimal(denominator) - exact(function, value))
            unit = max(np.spacing(np.array(abs(y), dtype)), tiniest)
            assert error < Decimal(float(unit)) / 100, value
