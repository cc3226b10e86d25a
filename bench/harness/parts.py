"""The parts of networks, and those that a call goes through: what engines are built of."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlstm import LSTM, Bidirectional, Dense, Embedding, Layer
from fastlstm.network.activations import LINEAR, STANDARD, Activation
from fastlstm.network.convolution import Conv
from fastlstm.network.joints import Join
from fastlstm.network.network import Network
from fastlstm.network.normalisation import Affine, LayerNorm
from fastlstm.network.pointwise import Activate, PReLU, StepSoftmax
from fastlstm.network.pooling import Pool
from fastlstm.network.reading import Read
from fastlstm.network.steps import Repeat

__all__ = [
    "LINEAR",
    "POINTWISE",
    "RECURRENT",
    "STANDARD",
    "Activate",
    "Activation",
    "Affine",
    "Bidirectional",
    "Conv",
    "Dense",
    "Embedding",
    "Join",
    "Layer",
    "LayerNorm",
    "Network",
    "PReLU",
    "Pool",
    "Read",
    "Repeat",
    "StepSoftmax",
    "called",
    "operations",
    "reads_final",
]

POINTWISE = (Dense, Affine, LayerNorm, Activate, PReLU)
RECURRENT = (Layer, Bidirectional)


def called(model: LSTM) -> tuple[Any, ...]:
    """The parts as a call that says nothing else goes through them, ending with what it returns.

    Outputs of every step leave out the last `Read`; without them, a sequence is read at last.
    """
    network = model.network
    parts = list(network.parts)
    if model.return_sequences:
        del parts[network.read_at : network.read_at + 1]
    elif network.shapes[-1].every:
        parts.append(Read("final"))
    return tuple(parts)


def reads_final(parts: tuple[Any, ...], i: int) -> bool:
    """Whether nothing is wanted of part i, a recurrent one, but its last states."""
    after = parts[i + 1 : i + 2]
    final = bool(after) and isinstance(after[0], Read) and after[0].how == "final"
    return final and not any(i in getattr(part, "values", ()) for part in parts)


def operations(model: LSTM, T: int) -> int:
    """The operations of a sequence's matrix products; a multiply-add is two.

    The product with an id's vector counts, and that with a repeated vector at every step.
    """
    network = model.network
    steps = network.steps(np.array([T]))
    total = 0
    for i, part in enumerate(network.parts):
        here = steps.value(i)  # None for a vector
        total += weights(part) * (1 if here is None else int(here[0]))
    return 2 * total


def weights(part: Any) -> int:
    """How many weights of matrix products a part has, without biases."""
    if isinstance(part, RECURRENT):
        arrays = [a for cell in part.cells for a in (cell.w_ih, cell.w_hh, cell.w_hr)]
        return sum(array.size for array in arrays if array is not None)
    return int(part.weight.size) if isinstance(part, Dense | Conv) else 0
