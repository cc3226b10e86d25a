"""Weights as the kernels read them: one stream of numbers a layer, a *panel*."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastlstm.engine.blocks import BLOCK
from fastlstm.network import Dense, Layer


def blocks_of(layer: Layer) -> list[tuple[int, int]]:
    """Return the (first, end) columns of the blocks of `[w_ih w_hh]`, in order."""
    n_inputs, n_hidden = layer.input_size, layer.hidden_size
    edges = [(k, min(k + BLOCK, n_inputs)) for k in range(0, n_inputs, BLOCK)]
    for k in range(0, n_hidden, BLOCK):
        edges.append((n_inputs + k, n_inputs + min(k + BLOCK, n_hidden)))
    return edges


def pack_layer(layer: Layer, pass_blocks: int) -> NDArray[np.floating]:
    """Return the panel of a layer that adds `pass_blocks` blocks in each pass over its units.

    Pass by pass and unit by unit: the four biases (in the first pass), then for every column of
    the pass's blocks the four weights of the unit, gates i f g o.
    """
    n_hidden = layer.hidden_size
    weights = np.concatenate([layer.w_ih, layer.w_hh], axis=1)  # (4H, I + H)
    columns = weights.reshape(4, n_hidden, -1).transpose(1, 2, 0)  # (H, I + H, 4)
    bias = layer.bias.reshape(4, n_hidden).T[:, np.newaxis]  # (H, 1, 4)
    blocks = blocks_of(layer)
    parts = []
    for i in range(0, len(blocks), pass_blocks):
        of_pass = blocks[i : i + pass_blocks]
        piece = columns[:, of_pass[0][0] : of_pass[-1][1]]
        parts.append(np.concatenate([bias, piece], axis=1) if i == 0 else piece)
    return np.concatenate([part.ravel() for part in parts])


def pack_dense(dense: Dense) -> NDArray[np.floating]:
    """Return the panel of a dense layer: for every output its bias, then its weights."""
    bias = np.zeros(dense.output_size, dense.dtype) if dense.bias is None else dense.bias
    return np.concatenate([bias[:, np.newaxis], dense.weight], axis=1).ravel()
