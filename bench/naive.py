"""The loop that most people would write with Numba: sequences in parallel, the rest by hand."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@numba.njit(parallel=True, cache=True)
def last_hidden(x: Array, w_ih: Array, w_hh: Array, bias: Array) -> Array:
    """The hidden state after the last step ``(N, H)``.

    Parameters
    ----------
    x : array (N, T, I)
    w_ih : array (4H, I)
        Gates i f g o.
    w_hh : array (4H, H)
    bias : array (4H,)
    """
    N, T, I = x.shape  # noqa: E741
    H = w_hh.shape[1]
    one = bias.dtype.type(1)  # the integer 1 would turn float32 into float64
    result = np.empty((N, H), bias.dtype)
    for n in numba.prange(N):
        h = np.zeros(H, bias.dtype)
        c = np.zeros(H, bias.dtype)
        z = np.empty(4 * H, bias.dtype)
        for t in range(T):
            for row in range(4 * H):
                total = bias[row]
                for k in range(I):
                    total += w_ih[row, k] * x[n, t, k]
                for k in range(H):
                    total += w_hh[row, k] * h[k]
                z[row] = total
            for unit in range(H):
                i = one / (one + np.exp(-z[unit]))
                f = one / (one + np.exp(-z[H + unit]))
                g = np.tanh(z[2 * H + unit])
                o = one / (one + np.exp(-z[3 * H + unit]))
                c[unit] = f * c[unit] + i * g
                h[unit] = o * np.tanh(c[unit])
        result[n] = h
    return result
