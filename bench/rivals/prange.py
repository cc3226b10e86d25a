"""The loop that most people would write with Numba: sequences in parallel, the rest by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness.engine import Engine, Ready
from bench.harness.workload import Workload

Array = npt.NDArray[Any]


def compile_loop() -> Callable[[Array, Array, Array, Array], Array]:
    """The loop: from ``x (N, T, I)`` to the hidden state after the last step ``(N, H)``.

    Its arguments are x, ``w_ih (4H, I)``, ``w_hh (4H, H)`` and ``bias (4H,)``, gates i f g o.
    """
    import numba  # here, so that no other engine's process spends time on it

    @numba.njit(parallel=True, cache=True)
    def last_hidden(x: Array, w_ih: Array, w_hh: Array, bias: Array) -> Array:
        N, T, I = x.shape  # noqa: E741
        H = w_hh.shape[1]
        one = bias.dtype.type(1)  # the integer 1 would turn float32 into float64
        result = np.empty((N, H), bias.dtype)
        for n in numba.prange(N):
            h = np.zeros(H, bias.dtype)
            c = np.zeros(H, bias.dtype)
            z = np.empty(4 * H, bias.dtype)
            for t in range(T):
                for k in range(4 * H):
                    total = bias[k]
                    for j in range(I):
                        total += w_ih[k, j] * x[n, t, j]
                    for j in range(H):
                        total += w_hh[k, j] * h[j]
                    z[k] = total
                for unit in range(H):
                    i = one / (one + np.exp(-z[unit]))
                    f = one / (one + np.exp(-z[H + unit]))
                    g = np.tanh(z[2 * H + unit])
                    o = one / (one + np.exp(-z[3 * H + unit]))
                    c[unit] = f * c[unit] + i * g
                    h[unit] = o * np.tanh(c[unit])
            result[n] = h
        return result

    return last_hidden


def build(workload: Workload, x: Array, threads: int) -> Ready:
    last_hidden = compile_loop()
    (layer,) = workload.model().layers
    return Ready(lambda: last_hidden(x, layer.w_ih, layer.w_hh, layer.bias))


ENGINES = (Engine("prange", build, enters=("loop", "first call"), most_work=4e9, share=16),)
