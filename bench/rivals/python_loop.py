"""The tutorial's plain Python loop, and the same for more than one unit: no arrays, no NumPy.

It computes in float64, as Python's floats do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness.engine import Engine, Ready
from bench.harness.workload import Workload
from fastlstm import Layer
from fastlstm.tutorial import lstm_forward

Array = npt.NDArray[Any]
Vector = Sequence[float]


def tutorial_params(layer: Layer) -> dict[str, tuple[float, float, float]]:
    """A layer of one input and one unit as the tutorial's dict of ``(w_x, w_h, b)``."""
    numbers = (values.ravel().tolist() for values in (layer.w_ih, layer.w_hh, layer.bias))
    return dict(zip(("input", "forget", "cell", "output"), zip(*numbers, strict=True), strict=True))


def scalar_last_hidden(params: dict[str, tuple[float, float, float]], series: Vector) -> float:
    """The tutorial itself."""
    _, h = lstm_forward(series, params)
    return h


def last_hidden(
    w_ih: Sequence[Vector], w_hh: Sequence[Vector], bias: Vector, steps: Sequence[Vector]
) -> list[float]:
    """The hidden state of one sequence after its last step, unit by unit.

    Parameters
    ----------
    w_ih : 4H lists of I floats
        Gates i f g o.
    w_hh : 4H lists of H floats
    bias : 4H floats
    steps : T lists of I floats
    """
    H = len(bias) // 4
    h, c = [0.0] * H, [0.0] * H
    for x in steps:
        z = [
            b + sum(w * v for w, v in zip(of_x, x)) + sum(w * v for w, v in zip(of_h, h))  # noqa: B905
            for of_x, of_h, b in zip(w_ih, w_hh, bias, strict=True)
        ]
        for unit in range(H):
            i = sigmoid(z[unit])
            f = sigmoid(z[H + unit])
            g = math.tanh(z[2 * H + unit])
            o = sigmoid(z[3 * H + unit])
            c[unit] = f * c[unit] + i * g
            h[unit] = o * math.tanh(c[unit])
    return h


def sigmoid(z: float) -> float:
    return 1.0 / (1.0 + math.exp(-z))


def build(workload: Workload, x: Array, threads: int) -> Ready:
    (layer,) = workload.model().layers
    if workload.I == workload.H == 1:
        params = tutorial_params(layer)
        return Ready(
            lambda: np.array([[scalar_last_hidden(params, k)] for k in x[:, :, 0].tolist()])
        )
    weights = layer.w_ih.tolist(), layer.w_hh.tolist(), layer.bias.tolist()
    return Ready(lambda: np.array([last_hidden(*weights, k) for k in x.tolist()]))


ENGINES = (Engine("python", build, enters=("loop",), most_work=2e7),)
