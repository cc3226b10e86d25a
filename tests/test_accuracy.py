"""A network's rounding errors beside PyTorch's on the same weights.

Both are measured against the same recomputation with more digits. PyTorch's errors are golden
(`golden/generate_errors.py` writes them), and measured anew where torch is installed.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from helpers import some_of
from shapes import make_input, make_model

from fastlstm import LSTM, Layer

GOLDEN = Path(__file__).parent / "golden" / "torch_errors.json"
SEEDS = range(3)
WIDER = {"float32": np.float64, "float64": np.longdouble}


class Row(NamedTuple):
    """Some work for both dtypes; float64 takes an eighth of the sequences and half the steps.

    Weights larger by `scale` and inputs around `mean` make for larger sums and larger errors.
    """

    N: int
    T: int
    I: int  # noqa: E741
    hidden_sizes: tuple[int, ...]
    scale: float = 1
    mean: float = 0


ROWS = [
    Row(256, 100, 1, (1,)),
    Row(256, 50, 1, (8,)),
    Row(128, 50, 4, (16,)),
    Row(64, 50, 8, (32, 32)),
    Row(64, 50, 16, (64,)),
    Row(32, 50, 5, (128,)),
    Row(32, 40, 32, (256,)),
    Row(16, 20, 64, (512,)),
    Row(64, 50, 1, (8,), scale=4),
    Row(64, 50, 16, (64,), scale=4),
    Row(32, 40, 32, (256,), scale=4),
    Row(32, 40, 32, (256,), mean=3),
    Row(16, 20, 64, (512,), scale=4),
]


class Errors(NamedTuple):
    rms: float
    max: float


def make_work(row: Row, dtype: str, seed: int) -> tuple[LSTM, np.ndarray]:
    """The network of a row, without a head, and its input ``(N, T, I)``."""
    usual = make_model(row.I, row.hidden_sizes, 0, dtype, seed)
    scale = np.array(row.scale, dtype)
    layers = [Layer(scale * k.w_ih, scale * k.w_hh, k.b_ih, k.b_hh) for k in usual.layers]
    N, T = (row.N, row.T) if dtype == "float32" else (row.N // 8, row.T // 2)
    return LSTM(layers), make_input(N, T, row.I, dtype, seed) + np.array(row.mean, dtype)


def digest(model: LSTM, x: np.ndarray) -> str:
    """Stands for the work, so that golden errors are never compared with those of other work."""
    content = hashlib.blake2b(digest_size=8)
    for layer in model.layers:
        for array in (layer.w_ih, layer.w_hh, layer.b_ih, layer.b_hh):
            content.update(array.tobytes())
    content.update(x.tobytes())
    return content.hexdigest()


def recompute(model: LSTM, x: np.ndarray) -> np.ndarray:
    """The hidden states ``(N, T, H)`` of the last layer, in the next wider dtype throughout."""
    wide = WIDER[model.dtype.name]
    values = x.astype(wide)
    for layer in model.layers:
        w_ih, w_hh, b_ih, b_hh = (
            a.astype(wide) for a in (layer.w_ih, layer.w_hh, layer.b_ih, layer.b_hh)
        )
        h = c = np.zeros((len(x), layer.hidden_size), wide)
        steps = []
        for t in range(x.shape[1]):
            z = values[:, t] @ w_ih.T + h @ w_hh.T + (b_ih + b_hh)
            z_i, z_f, z_g, z_o = np.split(z, 4, axis=1)
            c = c / (1 + np.exp(-z_f)) + np.tanh(z_g) / (1 + np.exp(-z_i))
            h = np.tanh(c) / (1 + np.exp(-z_o))
            steps.append(h)
        values = np.stack(steps, axis=1)
    return values


def measure(output: np.ndarray, true: np.ndarray) -> Errors:
    error = (output.astype(true.dtype) - true).astype(np.float64)
    return Errors(float(np.sqrt(np.mean(error**2))), float(np.abs(error).max()))


def run_torch(model: LSTM, x: np.ndarray) -> np.ndarray:
    """The same hidden states by `torch.nn.LSTM`."""
    import torch

    values = torch.from_numpy(x)
    with torch.no_grad():
        for layer in model.layers:
            lstm = torch.nn.LSTM(
                layer.input_size, layer.hidden_size, batch_first=True, dtype=values.dtype
            )
            lstm.weight_ih_l0.copy_(torch.from_numpy(layer.w_ih.copy()))
            lstm.weight_hh_l0.copy_(torch.from_numpy(layer.w_hh.copy()))
            lstm.bias_ih_l0.copy_(torch.from_numpy(layer.b_ih.copy()))
            lstm.bias_hh_l0.copy_(torch.from_numpy(layer.b_hh.copy()))
            values, _ = lstm(values)
    return values.numpy()


@cache
def measured(row: Row, dtype: str, seed: int) -> tuple[Errors, str]:
    """The engine's errors, and what work they are of."""
    model, x = make_work(row, dtype, seed)
    return measure(model(x)[0], recompute(model, x)), digest(model, x)


def golden_errors(row: Row, dtype: str, seed: int) -> Errors:
    entry = json.loads(GOLDEN.read_text())["errors"][dtype][ROWS.index(row)][seed]
    assert entry["work"] == measured(row, dtype, seed)[1], "run golden/generate_errors.py again"
    return Errors(entry["rms"], entry["max"])


def live_errors(row: Row, dtype: str, seed: int) -> Errors:
    model, x = make_work(row, dtype, seed)
    return measure(run_torch(model, x), recompute(model, x))


def assert_not_larger(dtype: str, errors_of_torch, limit: float, rows=ROWS) -> None:
    """Over the grid: the mean ratio within `limit`, and no row much worse."""
    if np.finfo(WIDER[dtype]).nmant < np.finfo(dtype).nmant + 10:
        pytest.skip(f"needs a wider long double than {np.finfo(WIDER[dtype]).nmant} bits")
    ratios = np.array(
        [
            [
                np.divide(measured(row, dtype, seed)[0], errors_of_torch(row, dtype, seed))
                for seed in SEEDS
            ]
            for row in rows
        ]
    )  # (rows, seeds, 2)
    by_row = np.exp(np.log(ratios).mean(axis=1))
    for row, (rms, largest) in zip(rows, by_row, strict=True):
        print(f"{dtype} {tuple(row)}: RMS {rms:.3f}, largest {largest:.3f} of PyTorch's")
    rms, largest = np.exp(np.log(ratios).mean(axis=(0, 1)))
    print(f"{dtype} over all: RMS {rms:.3f}, largest {largest:.3f} of PyTorch's")
    assert rms <= limit
    assert largest <= limit
    assert by_row.max() <= 1.2 * limit


# "Not larger than PyTorch's". In float64, where no sum is long enough to show, its activations
# are a little better than ours: 1 unit of the last place against 2.
LIMITS = {"float32": 1.0, "float64": 1.05}


# The few rows of the usual run; their mean may lie a little above the grid's.
SMALL = [row for row in ROWS if max(row.hidden_sizes) <= 16]


@pytest.mark.parametrize("dtype", some_of(LIMITS, "float32"))
def test_errors_of_small_networks_beside_pytorchs(dtype):
    assert_not_larger(dtype, golden_errors, 1.1 * LIMITS[dtype], SMALL)


@pytest.mark.full
@pytest.mark.usual_tiles
@pytest.mark.parametrize("dtype", LIMITS)
def test_errors_beside_pytorchs(dtype):
    assert_not_larger(dtype, golden_errors, LIMITS[dtype])


@pytest.mark.full
@pytest.mark.usual_tiles
@pytest.mark.parametrize("dtype", LIMITS)
def test_errors_beside_the_installed_pytorchs(dtype):
    pytest.importorskip("torch", reason="torch is not installed: golden errors have to do")
    assert_not_larger(dtype, live_errors, LIMITS[dtype])


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("rows", [SMALL, pytest.param(ROWS, marks=pytest.mark.full)], ids=len)
def test_golden_errors_are_plausible(rows, dtype):
    """Some hundredths to some units of the last place of 1: the recomputation is right."""
    eps = np.finfo(dtype).eps
    for row in rows:
        for seed in SEEDS:
            errors = golden_errors(row, dtype, seed)
            assert 0.02 * eps < errors.rms < 2 * eps, row
            assert errors.rms < errors.max < 50 * eps, row
