"""What layers make a network together, and what does not fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np

from fastlstm.errors import UnsupportedModelError
from fastlstm.network.dense import Dense, Embedding
from fastlstm.network.layers import Bidirectional, Layer

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = [
    "READS",
    "AnyLayer",
    "Read",
    "as_flag",
    "check_layers",
    "check_masked_outputs",
    "check_options",
]

AnyLayer = Layer | Bidirectional | Dense | Embedding

Read = Literal["final", "last", "max", "mean"]  # what a head of one output a sequence reads
READS: Final[tuple[str, ...]] = get_args(Read)


def check_layers(layers: Sequence[AnyLayer]) -> None:
    """Refuse layers that do not follow each other.

    Raises
    ------
    TypeError
        If one is no layer.
    ValueError
        If sizes or dtypes do not fit, or none is recurrent.
    """
    if not layers:
        raise ValueError("expected at least one layer, got none")
    for i, layer in enumerate(layers):
        if not isinstance(layer, AnyLayer):
            raise TypeError(f"layer {i}: expected a Layer, got {type(layer).__name__}")
        if layer.dtype != layers[0].dtype:
            raise ValueError(
                f"layer {i}: expected {layers[0].dtype} as in layer 0, got {layer.dtype}; "
                "convert it with .astype()"
            )
        if i and isinstance(layer, Embedding):
            raise ValueError(f"layer {i}: expected an Embedding as the first layer only")
        if i and layer.input_size != layers[i - 1].output_size:
            what = "hidden units" if isinstance(layers[i - 1], Layer) else "outputs"
            raise ValueError(
                f"layer {i}: expected {layers[i - 1].output_size} inputs, the {what} of "
                f"layer {i - 1}, got {layer.input_size}"
            )
    if not any(isinstance(layer, Layer | Bidirectional) for layer in layers):
        raise ValueError("expected at least one recurrent layer, got none")


def as_flag(name: str, value: object) -> bool:
    """A value that is True or False; text such as "no" is neither.

    Raises
    ------
    TypeError
        If it is something else.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"expected {name} to be True or False, got {value!r:.80}")
    return bool(value)


def check_options(model: LSTM) -> None:
    """Refuse options of a model that are none, or are not computed together.

    Raises
    ------
    ValueError
        If an option is none.
    UnsupportedModelError
        If the options do not have one meaning together.
    """
    if model.read not in READS:
        raise ValueError(f"read: expected one of {READS}, got {model.read!r}")
    if model.mask_value is not None and not math.isfinite(model.mask_value):
        raise ValueError(f"mask_value: expected a finite number, got {model.mask_value!r}")
    embedded = isinstance(model.layers[0], Embedding)
    if embedded and model.mask_value is not None:
        raise ValueError("mask_value: an Embedding masks ids by its padding_id")
    if embedded and model.skip:
        raise ValueError("skip: the inputs of an Embedding are ids, which cannot be added")
    if model.skip and not model.skip == model.output_size <= model.input_size:
        raise ValueError(
            f"skip: expected {model.output_size} of {model.input_size} inputs, "
            f"one for each output, got {model.skip}"
        )
    _check_masks(model)


def check_masked_outputs(model: LSTM) -> None:
    """Refuse outputs of every step where they have no one meaning with a mask.

    Raises
    ------
    UnsupportedModelError
        If the last layer alone reads from the end.
    """
    top = model.recurrent[-1]
    if model.masks and isinstance(top, Layer) and top.direction != "forward":
        raise UnsupportedModelError(
            f"layer {model.layers.index(top)}: {top.direction} with a mask is computed for the "
            "final state only, not for the outputs of every step"
        )


def _check_masks(model: LSTM) -> None:
    if not model.masks:
        return
    for i, layer in enumerate(model.layers):
        alone = i + 1 == len(model.layers) and model.read == "final" and not model.return_sequences
        if isinstance(layer, Layer) and layer.direction == "go_backwards" and not alone:
            raise UnsupportedModelError(
                f"layer {i}: go_backwards with a mask is computed for the last layer's final "
                "state only: the steps that follow would not match the mask"
            )
    if model.skip:
        raise UnsupportedModelError("skip: a mask does not say what is added at masked steps")
    if model.return_sequences or model.read == "last":
        check_masked_outputs(model)
    if model.read == "max":
        raise UnsupportedModelError(
            "a maximum over time with a mask: frameworks do not agree on whether it counts "
            "masked steps"
        )
