"""Keras' layers that read several tensors: merging, products, attention over steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np

from fastlstm.errors import ModelFormatError
from fastlstm.formats.keras.graph import KerasLayer
from fastlstm.formats.keras.net import Net
from fastlstm.formats.keras.tensors import NUMBERS, STEPS, Tensor, as_axis
from fastlstm.network.activations import TANH
from fastlstm.network.dense import Dense
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.pointwise import StepSoftmax
from fastlstm.network.reading import Read

__all__ = ["attention", "concatenate", "dot", "merge"]

HOW: Final = {"Add": "add", "Average": "add", "Multiply": "multiply", "Subtract": "add"}


def _several(layer: KerasLayer, tensors: list[Any], least: int = 2) -> list[Tensor]:
    if len(tensors) < least or not all(isinstance(x, Tensor) for x in tensors):
        raise ModelFormatError(f"{layer}: expected {least} tensors or more, got {len(tensors)}")
    return tensors


def merge(net: Net, layer: KerasLayer, tensors: list[Any]) -> Tensor:
    """Add, Average, Multiply or Subtract."""
    net.options(layer).refuse_rest()
    tensors = _ranked(_several(layer, tensors, 1))
    if layer.kind == "Subtract":
        first, second = tensors
        tensors = [first, net.scaled(second, -1)]
    y = tensors[0] if len(tensors) == 1 else net.joined(HOW[layer.kind], tensors)
    return net.scaled(y, 1 / len(tensors)) if layer.kind == "Average" else y


def _ranked(tensors: list[Tensor]) -> list[Tensor]:
    """Tensors of one number of axes: Keras' merging layers put axes of 1 behind the first."""
    rank = max(x.rank for x in tensors)
    return [x.having(*(1,) * (rank - x.rank), *x.axes) for x in tensors]


def concatenate(net: Net, layer: KerasLayer, tensors: list[Any]) -> Tensor:
    """Concatenate."""
    options = net.options(layer)
    axis = options.take("axis", default=-1)
    options.refuse_rest()
    return side_by_side(net, layer, _several(layer, tensors, 1), axis)


def side_by_side(net: Net, layer: KerasLayer, tensors: list[Tensor], axis: Any) -> Tensor:
    """Put tensors side by side along an axis."""
    if len({x.rank for x in tensors}) > 1:
        raise ModelFormatError(f"{layer}: expected tensors of as many axes, got {len(tensors)}")
    k = as_axis(layer, axis, tensors[0].rank)
    return tensors[0] if len(tensors) == 1 else net.joined("concatenate", tensors, k)


def dot(net: Net, layer: KerasLayer, tensors: list[Any]) -> Tensor:
    """Dot: the sum over the products along an axis of each."""
    options = net.options(layer)
    axes = options.take("axes")
    options.expect("normalize", False)
    options.refuse_rest()
    x, y = _several(layer, tensors)
    pair = [axes, axes] if type(axes) is int else axes
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise ModelFormatError(f"{layer}: expected two axes, got {axes!r:.80}")
    found = net.dotted(x, as_axis(layer, pair[0], x.rank), y, as_axis(layer, pair[1], y.rank))
    return found if found.rank else found.having(1)


def attention(net: Net, layer: KerasLayer, tensors: list[Any]) -> Tensor:
    """Attention or AdditiveAttention of one vector over the steps of a sequence."""
    options = net.options(layer)
    additive = layer.kind == "AdditiveAttention"
    scaled = options.flag("use_scale", default=additive)
    concat = options.take("score_mode", default="dot") == "concat"
    options.expect("causal", False)
    options.refuse_rest()
    if not 2 <= len(tensors) <= 3 or not all(isinstance(x, Tensor) for x in tensors):
        raise ModelFormatError(f"{layer}: expected [query, value] or [query, value, key]")
    query, value, *keys = tensors
    query = net.one_step(query)
    if query.every or query.rank != 2:
        net.refuse(
            f"its query is {query}: attention of every step over every step is not computed, only "
            "that of one vector over the steps, such as query=y[:, -1:]"
        )
    value = net.sequence(value)
    key = net.sequence(keys[0]) if keys else value
    # With all steps masked, Keras takes their mean; of a recurrent layer, they are zeros.
    masked = value.mask and isinstance(net.parts[value.value], Layer | Bidirectional)
    if query.mask or not masked:
        net.needs_every_step()
    key, value = (replace(k, mask=False) for k in (key, value))
    names = ["scale"] * scaled + ["concat_score_weight"] * (concat and not additive)
    weights = dict(zip(names, net.take(layer, names), strict=True))
    scale = weights.get("scale")
    one = query.having(*query.axes[1:])  # (numbers)
    if additive or concat:
        score = net.joined("add", [key, one.having(1, *one.axes)])
        if concat and scale is not None:
            score = net.scaled_by(score, scale)
        score = net.activated(score, TANH)
        if additive and scale is not None:
            weight, made = np.reshape(scale, (1, -1)), False
        else:
            weight, made = np.ones((1, score.size or 1)), True
        score = net.weighted(score, Dense(weight), 1, made=made)
        if concat:
            score = net.scaled_by(score, weights["concat_score_weight"])
    else:
        score = net.dotted(key, 1, one, 0).having(STEPS, 1)
        if scale is not None:
            score = net.scaled_by(score, scale)
    score = replace(score, value=net.emit(StepSoftmax(), score.value, masked=masked))
    score = replace(score, mask=False)
    found = net.joined("multiply", [score, value])
    read = net.emit(Read("sum"), found.value, masked=masked)
    axes = (query.axes[0], NUMBERS if value.size != 1 else 1)
    return Tensor(read, False, value.size, axes)
