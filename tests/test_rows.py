"""What is computed row by row, between walks: each in the order that its module writes down.

Every kernel is called directly, with its rows before a page that cannot be read or written, where
the system has such pages: what would touch memory outside ends the tests with a fault.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from fractions import Fraction

import numpy as np
import pytest
from helpers import assert_same_bits
from test_order import blocked_sum, rounded

from fastlstm import Dense, reference
from fastlstm.engine import cpu
from fastlstm.engine.run import over_steps, window_rows
from fastlstm.engine.run.normalise_rows import NormRows, SoftmaxRows
from fastlstm.engine.run.pointwise_rows import PointwiseRows
from fastlstm.engine.run.window_rows import DenseRows, WindowRows
from fastlstm.network.activations import LINEAR, Activation

DTYPES = ("float32", "float64")


def guarded(values: np.ndarray | int, dtype: str) -> np.ndarray:
    """A copy of `values`, or that many NaN, which ends where the readable memory ends."""
    values = np.full(values, np.nan) if isinstance(values, int) else values
    flat = np.asarray(values, dtype).reshape(-1)
    if not sys.platform.startswith("linux"):
        return flat.copy()
    page = mmap.PAGESIZE
    pages = -(-flat.nbytes // page)
    memory = mmap.mmap(-1, (pages + 2) * page)
    whole = np.frombuffer(memory, np.uint8)  # keeps the memory alive
    for at in (0, pages + 1):
        address = ctypes.c_void_p(whole.ctypes.data + at * page)
        assert ctypes.CDLL(None).mprotect(address, ctypes.c_size_t(page), 0) == 0
    end = (pages + 1) * page
    kept = whole[end - flat.nbytes : end].view(dtype)
    kept[:] = flat
    return kept


def numbers(seed: int, *shape: int, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# --- windows ------------------------------------------------------------------------------------

# inputs, taps, outputs, groups, numbers between taps
WINDOWS = {
    "one number": (1, 1, 1, 1, None),
    "a dense layer": (65, 1, 5, 1, None),
    "taps side by side": (9, 5, 64, 1, None),
    "many terms": (80, 3, 70, 1, None),
    "dilated": (7, 3, 3, 1, 21),
    "dilated, many outputs": (5, 4, 40, 1, 10),
    "blocks begin within a tap": (50, 3, 33, 1, 100),
    "groups": (12, 3, 8, 4, None),
    "groups of many outputs": (6, 2, 72, 2, 12),
    "depthwise": (20, 3, 20, 20, None),
    "depthwise, dilated": (3, 4, 6, 3, 9),
}


def window_case(name: str, dtype: str, rows: int, activation=LINEAR):
    """A case's kernel, its flat values, where its windows begin, and its weights."""
    inputs, taps, outputs, groups, step = WINDOWS[name]
    weight = numbers(1, outputs, taps, inputs // groups, dtype=dtype)
    bias = numbers(2, outputs, dtype=dtype)
    kernel = WindowRows(weight, bias, activation, groups=groups, tap_step=step)
    reach = (taps - 1) * (step or inputs) + inputs
    starts = np.random.default_rng(3).permutation(np.arange(rows) * inputs).astype(np.int64)
    values = numbers(4, (rows - 1) * inputs + reach, dtype=dtype)
    return kernel, guarded(values, dtype), starts, weight, bias


def written_out(name: str, values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The windows (R, groups, taps * inputs of a group), in the order of the terms."""
    inputs, taps, _, groups, step = WINDOWS[name]
    offsets = np.arange(taps)[:, None] * (step or inputs) + np.arange(inputs)
    windows = values[starts[:, None, None] + offsets]
    windows = windows.reshape(len(starts), taps, groups, inputs // groups)
    return windows.transpose(0, 2, 1, 3).reshape(len(starts), groups, -1)


def run_windows(kernel: WindowRows, values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    out = guarded(len(starts) * kernel.output_size, kernel.dtype.name)
    kernel.run(values, starts, out)
    return out.reshape(len(starts), -1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", WINDOWS)
def test_windows_are_summed_in_the_order_of_dense_layers(name, dtype):
    for rows in (1, 7, 103):
        kernel, values, starts, weight, bias = window_case(name, dtype, rows)
        y = run_windows(kernel, values, starts)
        x = written_out(name, values, starts)
        groups = WINDOWS[name][3]
        for row, o in {(0, 0), (rows // 2, len(bias) // 2), (rows - 1, len(bias) - 1)}:
            of_group = x[row, o * groups // len(bias)]
            terms = [list(zip(weight[o].ravel(), of_group, strict=True))]
            assert y[row, o] == blocked_sum(bias[o], terms, np.dtype(dtype))
        if groups == 1:  # the other order of the lanes, too
            out = np.empty(y.size, dtype)
            DenseRows(Dense(weight.reshape(len(bias), -1), bias)).run(x.reshape(-1), out)
            assert_same_bits(out.reshape(y.shape), y)
        wide = weight.reshape(groups, len(bias) // groups, -1).astype("float64")
        true = np.einsum("rgk,gok->rgo", x.astype("float64"), wide).reshape(y.shape) + bias
        size = np.abs(true).max() + np.sqrt(x.shape[2])
        np.testing.assert_allclose(y, true, rtol=0, atol=8 * np.finfo(dtype).eps * size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["relu", "tanh", "softmax"])
def test_every_layout_of_windows_gives_the_same_bits(activation, dtype, monkeypatch):
    """A row's bits depend neither on the layout nor on the rows beside it."""
    wide, narrow = cpu.simd().window_sums
    shapes = [(False, 2, 4), (False, 2, 8), (True, *wide), (True, *narrow)]
    kind = activation if activation == "softmax" else Activation(activation)
    for name in ("taps side by side", "dilated", "groups of many outputs"):
        found = []
        for shape in shapes:
            chosen = window_rows.Shape(*shape)
            monkeypatch.setattr(window_rows, "choose_shape", lambda *_, chosen=chosen: chosen)
            kernel, values, starts, *_ = window_case(name, dtype, 131, kind)
            found.append(run_windows(kernel, values, starts))
            alone = [run_windows(kernel, values, starts[r : r + 1])[0] for r in (0, 50, 130)]
            assert_same_bits(np.array(alone), found[-1][[0, 50, 130]])
        for other in found[1:]:
            assert_same_bits(other, found[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("outputs", [1, 4, 5, 16, 17, 48, 100])
def test_activations_of_windows(outputs, dtype):
    rows = 37
    x = numbers(5, rows, 6, dtype=dtype)
    for activation in ("linear", "relu", "leaky_relu", "tanh", "softmax"):
        dense = Dense(numbers(6, outputs, 6, dtype=dtype), activation=activation)
        out = guarded(rows * outputs, dtype)
        DenseRows(dense).run(guarded(x, dtype), out)
        wide = Dense(dense.weight.astype("float64"), activation=activation)
        true = reference._pointwise(wide, x.astype("float64"))
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(out.reshape(rows, -1), true, rtol=40 * eps, atol=40 * eps)


def test_a_nan_in_a_window_stays_in_its_row():
    kernel, values, starts, *_ = window_case("taps side by side", "float32", 60)
    before = run_windows(kernel, values, starts)
    values[9 * 30] = np.nan
    after = run_windows(kernel, values, starts)
    hit = (starts <= 9 * 30) & (starts + 45 > 9 * 30)
    assert hit.sum() == 5
    assert np.isnan(after[hit]).all()
    assert_same_bits(after[~hit], before[~hit])


# --- number by number ---------------------------------------------------------------------------


def fused(a, b, c) -> np.floating:
    """The nearest number to a * b + c, in the dtype of a."""
    return rounded(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)), a.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 3, 16, 65, 128])
def test_affine_maps(size, dtype):
    center, scale, shift = numbers(7, 3, size, dtype=dtype)
    kernel = PointwiseRows(size, dtype, center=center, scale=scale, shift=shift)
    for rows in (1, 5, 70):
        x = numbers(8, rows, size, dtype=dtype)
        out = guarded(x, dtype)
        kernel.run(out, out)  # in place
        some = np.random.default_rng(9).integers(0, x.size, 60)
        k = some % size
        terms = zip(x.flat[some] - center[k], scale[k], shift[k], strict=True)
        assert_same_bits(out[some], np.array([fused(*term) for term in terms], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 7, 64])
def test_activations_and_prelu(size, dtype):
    x = numbers(10, 37, size, dtype=dtype)
    x[3, 0] = np.nan
    slope = numbers(11, size, dtype=dtype)
    out = guarded(x.size, dtype)
    PointwiseRows(size, dtype, slope=slope).run(guarded(x, dtype), out)
    assert_same_bits(out.reshape(x.shape), np.where(x <= 0, slope * x, x))
    eps = np.finfo(dtype).eps
    for activation in (Activation("tanh"), Activation("clip", -0.5, 0.25)):
        PointwiseRows(size, dtype, activation=activation).run(guarded(x, dtype), out)
        true = reference.activate(activation, x.astype("float64"))
        np.testing.assert_allclose(out.reshape(x.shape), true, rtol=2 * eps)
    ones, zeros = np.ones(size, dtype), np.zeros(size, dtype)
    both = PointwiseRows(size, dtype, center=ones, scale=ones, shift=zeros, activation="relu")
    both.run(guarded(x, dtype), out)
    assert_same_bits(out.reshape(x.shape), np.maximum(x - 1, 0))


def test_some_of_the_numbers_of_a_feature_are_missing():
    one = np.ones(1)
    for given in ({"center": one}, {"center": one, "scale": one, "shift": one, "slope": one}):
        with pytest.raises(ValueError, match="center, scale and shift, or slope"):
            PointwiseRows(1, "float64", **given)


# --- whole rows ---------------------------------------------------------------------------------


def in_order(terms: np.ndarray, squares: bool) -> np.floating:
    """The sum of the terms or their squares: in blocks of 64, each of them rounded in order."""
    ones = np.ones_like(terms)
    pairs = zip(terms, terms if squares else ones, strict=True)
    return blocked_sum(terms.dtype.type(0), [list(pairs)], terms.dtype)


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 5, 65, 130])
def test_norms(size, dtype, centered):
    scale, shift = numbers(12, 2, size, dtype=dtype)
    kernel = NormRows(scale, shift, 1e-3, centered=centered)
    count, epsilon = np.array([size, 1e-3], dtype)
    for rows in (1, 70):
        x = 3 + numbers(13, rows, size, dtype=dtype)
        out = guarded(x, dtype)
        kernel.run(out, out)  # in place
        out = out.reshape(x.shape)
        for row in {0, rows - 1}:
            rest = x[row] - in_order(x[row], False) / count if centered else x[row]
            scaled = rest / np.sqrt(in_order(rest, True) / count + epsilon)
            expected = [fused(*term) for term in zip(scaled, scale, shift, strict=True)]
            assert_same_bits(out[row], np.array(expected, dtype))
        wide = x.astype("float64")
        rest = wide - wide.mean(1, keepdims=True) if centered else wide
        true = rest / np.sqrt((rest**2).mean(1, keepdims=True) + 1e-3) * scale + shift
        np.testing.assert_allclose(out, true, rtol=0, atol=200 * np.finfo(dtype).eps)


@pytest.mark.parametrize("logarithm", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 2, 17, 65])
def test_softmax(size, dtype, logarithm):
    kernel = SoftmaxRows(size, dtype, logarithm=logarithm)
    x = 10 * numbers(14, 70, size, dtype=dtype)
    x[3, 0] = np.nan
    out = guarded(x.size, dtype)
    kernel.run(guarded(x, dtype), out)
    out = out.reshape(x.shape)
    alone = guarded(size, dtype)
    kernel.run(guarded(x[5], dtype), alone)
    assert_same_bits(alone, out[5])
    assert np.isnan(out[3]).all()
    wide = np.delete(x, 3, 0).astype("float64")
    wide -= wide.max(1, keepdims=True)
    total, eps = np.exp(wide).sum(1, keepdims=True), np.finfo(dtype).eps
    true = wide - np.log(total) if logarithm else np.exp(wide) / total
    got = np.delete(out, 3, 0)
    # the difference from the largest is rounded; exp stops at the least of the normal numbers
    np.testing.assert_allclose(got, true, rtol=90 * eps, atol=20 * eps if logarithm else 1e-37)


# --- over steps ---------------------------------------------------------------------------------

STEPS = {"few numbers": (23, 3), "one number": (100, 1), "many": (9, 128), "some left": (6, 65)}


def sequences(name: str, dtype: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Values (n, T, K), in which past a length stands NaN, and the lengths, 0 and T among them."""
    steps, size = STEPS[name]
    values = numbers(15, n, steps, size, dtype=dtype)
    lengths = np.random.default_rng(16).integers(0, steps + 1, n)
    lengths[:3] = (steps, 0, 1)[:n]
    values[np.arange(steps) >= lengths[:, None]] = np.nan
    return values, lengths


def step_by_step(how: str, values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The reduction as a loop over steps, one addition after the other."""
    results = []
    for row, n in zip(values, lengths, strict=True):
        total = np.full(row.shape[1], 0 if how == "sum" else np.nan, row.dtype)
        for t in range(n):
            joined = np.maximum(total, row[t]) if how == "max" else total + row[t]
            total = row[t] if t == 0 else joined
        results.append(total / row.dtype.type(n) if how == "mean" and n else total)
    return np.array(results)


@pytest.fixture(params=["usual", "other"])
def layout(request, monkeypatch):
    """Both layouts of the lanes, the one that the engine chooses and the one that it does not."""
    usual = over_steps._sequences_in_lanes
    if request.param == "other":
        monkeypatch.setattr(over_steps, "_sequences_in_lanes", lambda *of: not usual(*of))


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("how", ["max", "mean", "sum"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_reductions_over_steps(how, weighted, name, dtype, layout):
    steps, size = STEPS[name]
    for n in (1, 75):
        values, lengths = sequences(name, dtype, n)
        weights = numbers(17, n, steps, dtype=dtype) if weighted else None
        out = guarded(n * size, dtype)
        flat = None if weights is None else guarded(weights, dtype)
        x = guarded(values, dtype)
        over_steps.reduce_steps(how, x, flat, lengths, n, steps, size, out)
        products = values * weights[..., None] if weighted else values
        expected = step_by_step(how, products, lengths)
        assert np.array_equal(np.isnan(out), np.isnan(expected.ravel()))
        known = ~np.isnan(out)
        assert_same_bits(out[known], expected.ravel()[known])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_nan_among_the_steps_is_kept_by_the_maximum(dtype, layout):
    for size in (2, 20):
        values = numbers(18, 3, 5, size, dtype=dtype)
        values[0, 0, 0] = values[1, 2, 1] = values[2, 4, 0] = np.nan
        out, lengths = np.empty(3 * size, dtype), np.full(3, 5, np.int64)
        over_steps.reduce_steps("max", values.ravel(), None, lengths, 3, 5, size, out)
        assert_same_bits(np.isnan(out.reshape(3, -1)), np.isnan(values.max(1)))


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_over_steps(name, dtype, layout):
    steps, size = STEPS[name]
    n = 75
    values, lengths = sequences(name, dtype, n)
    out = guarded(values, dtype)
    over_steps.softmax_steps(out, lengths, n, steps, size, out)  # in place
    out = out.reshape(values.shape)
    for row in (0, 1, 2, 50):
        alone = guarded(steps * size, dtype)
        x = guarded(values[row], dtype)
        over_steps.softmax_steps(x, lengths[row : row + 1], 1, steps, size, alone)
        assert_same_bits(alone.reshape(steps, size), out[row])
    eps = np.finfo(dtype).eps
    for row, x, real in zip(out, values.astype("float64"), lengths, strict=True):
        assert_same_bits(row[real:], np.zeros((steps - real, size), dtype))
        if real:
            e = np.exp(x[:real] - x[:real].max(0))
            np.testing.assert_allclose(row[:real], e / e.sum(0), rtol=30 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_both_layouts_add_the_exponentials_in_the_order_of_steps(dtype, monkeypatch):
    """So that they give the same bits."""
    values, lengths = sequences("few numbers", dtype, 75)
    found = []
    for sequences_in_lanes in (False, True):
        monkeypatch.setattr(
            over_steps, "_sequences_in_lanes", lambda *_, chosen=sequences_in_lanes: chosen
        )
        found.append(np.empty(values.size, dtype))
        over_steps.softmax_steps(values.ravel(), lengths, 75, 23, 3, found[-1])
    assert_same_bits(*found)
