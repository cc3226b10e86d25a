"""Weights as the kernels read them: one stream of numbers a layer, a *panel*."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastlstm.dense import Dense
from fastlstm.layers import Layer

Panel = NDArray[np.floating]


def pack_layer(layer: Layer, units: int) -> Panel:
    """Return the panel of a layer for sequences in the lanes.

    It is read `units` hidden units at a time: their biases, then their weights for every input,
    then those for every hidden unit; each time four numbers a unit, gates i f g o. Zeros fill
    up the last units.
    """
    columns = np.concatenate([layer.bias[:, np.newaxis], layer.w_ih, layer.w_hh], axis=1)
    return _by_groups(columns, units).transpose(1, 3, 2, 0).ravel()


def pack_unit_layer(layer: Layer, lanes: int, vectors: int) -> tuple[Panel, Panel]:
    """Return the panels of a layer for hidden units in the lanes: of its inputs, of its state.

    The first is read a vector of hidden units at a time: their biases, then their weights for
    every input. The second is read `vectors` vectors at a time: their weights for every hidden
    unit. Each time gates i f g o of a vector, then those of the next. Zeros fill up the last
    vectors.
    """
    n_hidden, group = layer.hidden_size, lanes * vectors
    padded = -(-n_hidden // group) * group
    of_inputs = np.concatenate([layer.bias[:, np.newaxis], layer.w_ih], axis=1)
    inputs = _by_groups(of_inputs, lanes, padded)  # (4, vectors of H, lanes, 1 + I)
    hidden = _by_groups(layer.w_hh, group).reshape(4, -1, vectors, lanes, n_hidden)
    return inputs.transpose(1, 3, 0, 2).ravel(), hidden.transpose(1, 4, 2, 0, 3).ravel()


def pack_dense(dense: Dense) -> Panel:
    """Return the panel of a dense layer: for every output its bias, then its weights."""
    return _dense_columns(dense).ravel()


def pack_row_dense(dense: Dense, lanes: int) -> Panel:
    """Return the panel of a dense layer that computes `lanes` outputs at a time.

    Their biases, then their weights for every hidden unit. Zeros fill up the last outputs.
    """
    columns = _dense_columns(dense)
    groups = -(-len(columns) // lanes)
    padded = np.zeros((groups * lanes, columns.shape[1]), columns.dtype)
    padded[: len(columns)] = columns
    return padded.reshape(groups, lanes, -1).transpose(0, 2, 1).ravel()


def _dense_columns(dense: Dense) -> Panel:
    bias = np.zeros(dense.output_size, dense.dtype) if dense.bias is None else dense.bias
    return np.concatenate([bias[:, np.newaxis], dense.weight], axis=1)


def _by_groups(columns: Panel, units: int, least: int = 0) -> Panel:
    """Return `columns` (4H, K) as (4, groups, units, K), filled up with zeros."""
    n_hidden = len(columns) // 4
    groups = -(-max(n_hidden, least) // units)
    padded = np.zeros((4, groups * units, columns.shape[1]), columns.dtype)
    padded[:, :n_hidden] = columns.reshape(4, n_hidden, -1)
    return padded.reshape(4, groups, units, -1)
