"""Weights in the order in which the kernels read them: a *panel* of numbers for each layer.

With sequences in the lanes, a layer of two inputs and three hidden units, two units at a time:

    | b | W_ih for x0 | for x1 | W_hh for h0 | for h1 | for h2 |    units 0 and 1
    | b | W_ih for x0 | for x1 | W_hh for h0 | for h1 | for h2 |    unit 2, and zeros for unit 3

    each of them eight numbers:   | i0 f0 g0 o0 i1 f1 g1 o1 |

With hidden units in the lanes there are two panels: one for the inputs, one vector of units at a
time (16 here), and one for the hidden state, here two vectors at a time:

    | b | W_ih for x0 | for x1 |                each | i of 16 units | f | g | o |
    | W_hh for h0 | for h1 | for h2 | ...       each | i of 16 units | f | g | o | i of the next ...
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastlstm.engine.kernel.cells import cell_numbers
from fastlstm.network.dense import Dense
from fastlstm.network.layers import Layer
from fastlstm.network.normalisation import LayerNorm

Panel = NDArray[np.floating]


def pack_layer(layer: Layer, units: int, embedded: bool) -> Panel:
    """Return the panel of a layer for sequences in the lanes, `units` hidden units at a time.

    It has no weights of the inputs if the layer is `embedded`. Zeros fill up the last units.
    """
    of_inputs = layer.w_ih[:, : 0 if embedded else None]
    columns = np.concatenate([layer.bias[:, np.newaxis], of_inputs, layer.w_hh], axis=1)
    return _by_groups(columns, units).transpose(1, 3, 2, 0).ravel()


def pack_unit_layer(layer: Layer, lanes: int, vectors: int) -> tuple[Panel, Panel]:
    """Return the two panels of a layer for hidden units in the lanes: for its inputs and its state.

    The second is read `vectors` vectors of hidden units at a time. Zeros fill up the last ones.
    """
    n_hidden, n_outputs, group = layer.hidden_size, layer.output_size, lanes * vectors
    padded = -(-n_hidden // group) * group
    of_inputs = np.concatenate([layer.bias[:, np.newaxis], layer.w_ih], axis=1)
    inputs = _by_groups(of_inputs, lanes, padded)  # (4, vectors of H, lanes, 1 + I)
    hidden = _by_groups(layer.w_hh, group).reshape(4, -1, vectors, lanes, n_outputs)
    return inputs.transpose(1, 3, 0, 2).ravel(), hidden.transpose(1, 4, 2, 0, 3).ravel()


def pack_cell(layer: Layer, padded: int) -> Panel:
    """Return the panel of a cell for sequences in the lanes.

    Its numbers come first, then its peepholes: i f o of one hidden unit after the other, filled
    up to `padded` units.
    """
    return np.concatenate([cell_numbers(layer), _peepholes(layer, padded).T.ravel()])


def pack_unit_cell(layer: Layer, padded: int) -> Panel:
    """Return the same for hidden units in the lanes: peepholes i of all units, then f, then o."""
    return np.concatenate([cell_numbers(layer), _peepholes(layer, padded).ravel()])


def _peepholes(layer: Layer, padded: int) -> Panel:
    peepholes = np.zeros((3, padded), layer.dtype)
    if layer.peepholes is not None:
        peepholes[:, : layer.hidden_size] = layer.peepholes
    return peepholes


def pack_norm(norm: LayerNorm, wide: int) -> Panel:
    """Return the numbers of a layer norm: epsilon, K, and `wide` scales and shifts."""
    table = np.zeros((2, wide), norm.dtype)
    table[:, : norm.input_size] = norm.scale, norm.shift
    numbers = np.array([norm.epsilon, norm.input_size], norm.dtype)
    return np.concatenate([numbers, table.ravel()])


def pack_table(sums: Panel, units: int) -> Panel:
    """Return an embedding's sums over the inputs (V, 4H) for sequences in the lanes.

    Each row has i f g o of one hidden unit after the other, padded to whole groups of `units`.
    """
    return _by_groups(sums.T, units).transpose(3, 1, 2, 0).ravel()


def pack_unit_table(sums: Panel, lanes: int, padded: int) -> Panel:
    """Return the same for hidden units in the lanes: i f g o of one vector after the other."""
    return _by_groups(sums.T, lanes, padded).transpose(3, 1, 0, 2).ravel()


def pack_dense(dense: Dense) -> Panel:
    """Return the panel of a dense layer that computes four outputs at a time."""
    return pack_row_dense(dense, 4)


def pack_row_dense(dense: Dense, together: int) -> Panel:
    """Return the panel of a dense layer that computes `together` outputs at a time."""
    bias = np.zeros(dense.output_size, dense.dtype) if dense.bias is None else dense.bias
    return pack_rows(dense.weight, bias, together)


def pack_rows(weight: Panel, bias: Panel, together: int) -> Panel:
    """Return the panel of weights (O, K) and biases (O,) for `together` outputs at a time.

    Their biases come first, then their weights for every input. Zeros fill up the last outputs.
    """
    groups = -(-len(weight) // together)
    padded = np.zeros((groups * together, 1 + weight.shape[1]), weight.dtype)
    padded[: len(weight)] = np.concatenate([bias[:, np.newaxis], weight], axis=1)
    return padded.reshape(groups, together, -1).transpose(0, 2, 1).ravel()


def _by_groups(columns: Panel, units: int, least: int = 0) -> Panel:
    """Return `columns` (4H, K) as (4, groups, units, K), filled up with zeros."""
    n_hidden = len(columns) // 4
    groups = -(-max(n_hidden, least) // units)
    padded = np.zeros((4, groups * units, columns.shape[1]), columns.dtype)
    padded[:, :n_hidden] = columns.reshape(4, n_hidden, -1)
    return padded.reshape(4, groups, units, -1)
