"""Weights as the kernels read them: one stream of numbers a layer, a *panel*."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastlstm.network import Dense, Layer


def pack_layer(layer: Layer, units: int) -> NDArray[np.floating]:
    """Return the panel of a layer.

    It is read `units` hidden units at a time: their biases, then their weights for every input,
    then those for every hidden unit; each time four numbers a unit, gates i f g o. Zeros fill
    up the last units.
    """
    n_hidden = layer.hidden_size
    groups = -(-n_hidden // units)
    columns = np.concatenate([layer.bias[:, np.newaxis], layer.w_ih, layer.w_hh], axis=1)
    padded = np.zeros((4, groups * units, columns.shape[1]), layer.dtype)
    padded[:, :n_hidden] = columns.reshape(4, n_hidden, -1)
    return padded.reshape(4, groups, units, -1).transpose(1, 3, 2, 0).ravel()


def pack_dense(dense: Dense) -> NDArray[np.floating]:
    """Return the panel of a dense layer: for every output its bias, then its weights."""
    bias = np.zeros(dense.output_size, dense.dtype) if dense.bias is None else dense.bias
    return np.concatenate([bias[:, np.newaxis], dense.weight], axis=1).ravel()
