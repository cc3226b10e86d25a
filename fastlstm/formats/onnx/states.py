"""Lengths and initial states of an LSTM operator that are inputs of its graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.onnx.flow import Flow
from fastlstm.formats.onnx.operator import Operator
from fastlstm.formats.onnx.tape import Ids, Start

__all__ = ["read_lengths", "read_starts"]

Array = npt.NDArray[Any]


def read_lengths(flow: Flow, value: Any, batch: int, steps: int) -> str | None:
    """The name of the input that `sequence_lens` is; None if all steps are real."""
    if value is None:
        return None
    if isinstance(value, np.ndarray):
        if value.shape == (batch,) and (value == steps).all():
            return None
        raise UnsupportedModelError(
            "sequence_lens is a constant; here lengths are an argument of each call"
        )
    at = flow.located(value)
    source, k = at.value, np.broadcast_to(at.k, value.shape)
    if source.origin is None or value.array.shape != (batch,):
        raise UnsupportedModelError("sequence_lens is not an input of the graph")
    if (k != np.arange(batch)).any():
        raise UnsupportedModelError("sequence_lens is in another order than its input")
    return source.origin


def read_starts(
    flow: Flow, operator: Operator, given: dict[str, Ids], batch: int
) -> tuple[Start, ...]:
    """Which rows of which inputs each direction's initial states are."""
    D, H = len(operator.directions), operator.hidden_size
    found: dict[str, list[tuple[str, int] | None]] = {}
    for name in ("initial_h", "initial_c"):
        if (x := given.get(name)) is None:
            found[name] = [None] * D
            continue
        ids = x.array
        ids = ids.swapaxes(0, 1) if operator.batch_first and ids.ndim == 3 else ids
        if ids.shape != (D, batch, H):
            raise ValueError(
                f"{name}: expected {D} directions, a batch of {batch} and {H} hidden units, "
                f"got {ids.shape}"
            )
        found[name] = [_start(flow, name, Ids(ids[d], x.value)) for d in range(D)]
    return tuple(zip(found["initial_h"], found["initial_c"], strict=True))


def _start(flow: Flow, name: str, x: Ids) -> tuple[str, int]:
    """Which state (N, H) of an input the ids are, of (states, N, H) or (N, states, H)."""
    at = flow.located(x)
    source, k = at.value, np.broadcast_to(at.k, x.shape)
    N, H = x.shape
    of_input = np.arange(source.K)
    if source.origin is not None and not source.K % (N * H):
        for states in (of_input.reshape(-1, N, H), of_input.reshape(N, -1, H).swapaxes(0, 1)):
            for row, state in enumerate(states):
                if np.array_equal(k, state):
                    return source.origin, row
    if source.recurrent:
        raise UnsupportedModelError(
            f"{name} is made by another layer (an encoder that hands its state to a decoder): this "
            'version starts from constants or from inputs; load one LSTM alone with node="..."'
        )
    raise UnsupportedModelError(f"{name} is neither a constant nor an unchanged input of the graph")
