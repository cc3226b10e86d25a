"""Everything that the benchmarks take from inside fastlstm, past its public names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from fastlstm import LSTM, reference
from fastlstm.engine.plan.work import ACTIVATION_WORK
from fastlstm.engine.run.threads import default_threads

__all__ = [
    "ACTIVATION_WORK",
    "build_multiply_adds",
    "default_threads",
    "predict_by_reference",
    "trace_by_reference",
]

Array = npt.NDArray[Any]


def predict_by_reference(model: LSTM, x: Array, lengths: Array | None = None) -> Array:
    """What `model.predict` should give, by the NumPy loop."""
    return reference.predict(model.network, x, lengths)


def trace_by_reference(model: LSTM, x: Array) -> Array:
    """The last hidden states of a trace by the NumPy loop."""
    return reference.trace(model.network, x).h[:, -1]


def build_multiply_adds(dtype: str, chains: int) -> tuple[Callable[[Array, int], None], int]:
    """Compile a loop of nothing but fused multiply-adds with the engine's own vectors.

    Parameters
    ----------
    dtype
    chains
        Vectors that are computed side by side, independent of each other.

    Returns
    -------
    function, numbers
        The function takes an array of ``1 + numbers`` numbers, all 0.5, and a count of rounds. A
        round is one multiply-add on each of the `numbers`.
    """
    import numba  # takes a third of a second, and few processes need it

    from fastlstm.engine import cpu
    from fastlstm.engine.simd.arithmetic import empty_pack, fma
    from fastlstm.engine.simd.memory import load, load_splat, store

    lanes = cpu.lanes(dtype)

    @numba.njit(nogil=True, error_model="numpy")
    def multiply_add(numbers, rounds):
        like = empty_pack(numbers, lanes, chains)
        half, value = load_splat(numbers, 0, like), load(numbers, 1, like)
        for _ in range(rounds):
            value = fma(value, half, half)  # stays at 1
        store(numbers, 1, value)

    return multiply_add, lanes * chains
