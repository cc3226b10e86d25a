"""The activations beside sigmoid and tanh, each in a kernel of the test's own."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from test_activations import LIMIT, errors_in_ulp, interesting, sample, wider

from fastlstm import reference
from fastlstm.engine.kernel.cells import alpha_beta
from fastlstm.engine.simd.activations import FUNCTIONS, log
from fastlstm.engine.simd.arithmetic import empty_pack
from fastlstm.engine.simd.memory import load, load_splat, store
from fastlstm.network.activations import DEFAULTS, Activation

# In units of the last place of the largest of |x|, |y| and 1: where the frameworks' own
# formulas cancel, as for gelu at negative x, ours do too.
LARGEST_ERROR = {"float32": 6, "float64": 8}


def compiled(name):
    function = FUNCTIONS[name]

    @numba.njit(error_model="numpy")
    def apply(x, numbers, y):
        like = empty_pack(x, 4, 2)
        alpha, beta = load_splat(numbers, 0, like), load_splat(numbers, 1, like)
        for k in range(0, x.size, 8):
            store(y, k, function(load(x, k, like), alpha, beta))

    def of(activation, x):
        y = np.empty_like(x)
        apply(x, np.array(alpha_beta(activation), x.dtype), y)
        return y

    return of


def some_numbers(name):
    """The activation with its usual numbers, and with others."""
    others = {1: (0.37,), 2: (0.6, 0.3)}
    numbers = DEFAULTS[name]
    return [Activation(name), *([Activation(name, *others[len(numbers)])] if numbers else [])]


@pytest.mark.parametrize("name", DEFAULTS)
def test_function(name):
    function = compiled(name)
    rng = np.random.default_rng(0)
    sizes = np.exp2(rng.uniform(-30, 7, 8_000))
    wide = np.concatenate([sizes, -sizes, np.linspace(-12, 12, 8_000)])
    for dtype, largest in LARGEST_ERROR.items():
        for activation in some_numbers(name):
            x = wide.astype(dtype)
            y = function(activation, x)
            true = reference.activate(activation, x.astype(np.longdouble))
            fits = true <= np.finfo(dtype).max  # exp; what overflows is in test_activations
            x, y, true = x[fits], y[fits], true[fits]
            unit = np.finfo(dtype).eps * np.maximum(1, np.maximum(np.abs(x), np.abs(true)))
            worst = float(np.max(np.abs(y - true) / unit))
            print(f"{activation} {dtype}: {worst:.2f}")
            assert worst <= largest


@pytest.mark.parametrize("name", DEFAULTS)
def test_special_values(name):
    function = compiled(name)
    for dtype in ("float32", "float64"):
        x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, np.nan], dtype)
        for activation in some_numbers(name):
            y, true = function(activation, x), reference.activate(activation, x)
            finite = np.isfinite(true)
            np.testing.assert_array_equal(np.isnan(y[[0, 7]]), True)
            # exp stops at the least of the normal numbers
            np.testing.assert_allclose(y[finite], true[finite], rtol=1e-6, atol=1e-37)
            infinite = np.isinf(true)
            np.testing.assert_array_equal(y[infinite], true[infinite])


def worst_of_exp(function, x):
    """The largest error of exp in ULP, and where; infinite and NaN are what should be."""
    y = function(Activation("exp"), x)
    with np.errstate(over="ignore"):
        true = np.exp(x.astype(wider(x.dtype.name)))
        nearest = true.astype(x.dtype)
    assert np.array_equal(np.isnan(y), np.isnan(x))
    assert np.array_equal(np.isposinf(y), np.isposinf(nearest))
    finite = np.isfinite(nearest)
    if not finite.any():
        return 0.0, 0.0
    errors = errors_in_ulp(y[finite], true[finite], x.dtype.name)
    worst = int(np.argmax(errors))
    return float(errors[worst]), float(x[finite][worst])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exp(dtype):
    """As `sigmoid` and `tanh`, including results below the smallest normal number."""
    function, each = compiled("exp"), 200 if dtype == "float32" else 40
    tail = np.log([float(np.finfo(dtype).smallest_subnormal), float(np.finfo(dtype).tiny)])
    x = [sample(dtype, each), interesting(dtype, 1000), np.linspace(*tail, 10_000, dtype=dtype)]
    x = np.concatenate(x)
    worst, where = worst_of_exp(function, x[: len(x) // 8 * 8])
    special = np.array([np.inf, -np.inf, np.nan, -np.nan] * 2, dtype)
    special = function(Activation("exp"), special)[:4]
    print(f"{dtype}: {worst:.3f} ULP at {where!r}")
    assert worst <= LIMIT
    np.testing.assert_array_equal(special, [np.inf, 0, np.nan, np.nan])


@pytest.mark.slow
def test_exp_of_every_float32():
    function, chunk = compiled("exp"), 1 << 22
    worst = (0.0, 0.0)
    for first in range(0, 1 << 32, chunk):
        patterns = np.arange(first, first + chunk, dtype=np.int64).astype(np.uint32)
        x = patterns.view(np.float32)
        if not np.isnan(x).any():
            worst = max(worst, worst_of_exp(function, x))
    print(f"float32: {worst[0]:.3f} ULP at {worst[1]!r}")
    assert worst[0] <= LIMIT


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log(dtype):
    """Of positive normal numbers, most of them near 1."""

    @numba.njit(error_model="numpy")
    def apply(x, y):
        like = empty_pack(x, 4, 2)
        for k in range(0, x.size, 8):
            store(y, k, log(load(x, k, like)))

    info, near = np.finfo(dtype), np.abs(interesting(dtype, 1000))
    x = np.abs(sample(dtype, 200 if dtype == "float32" else 40))
    x = np.concatenate([x, 1 + near, 1 - near[near < 1], near[near < 1e6]]).astype(dtype)
    x = x[x >= info.tiny]
    x = x[: len(x) // 8 * 8]
    y = np.empty_like(x)
    apply(x, y)
    errors = errors_in_ulp(y, np.log(x.astype(wider(dtype))), dtype)
    worst = int(np.argmax(errors))
    print(f"{dtype}: {errors[worst]:.3f} ULP at {x[worst]!r}")
    assert errors[worst] <= LIMIT
    special = np.array([1, 2, np.nan, -np.nan, 1, 1, 1, 1], dtype)
    y = np.empty_like(special)
    apply(special, y)
    assert y[0] == 0
    assert not np.signbit(y[0])
    assert np.isnan(y[2:4]).all()
