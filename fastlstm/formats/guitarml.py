"""GuitarML's files (Proteus, NeuralPi), as CoreAudioML's SimpleRNN writes them.

``model_data`` describes a recurrent network, a dense layer and a skip connection around both;
``state_dict`` holds their tensors, ``rec.weight_ih_l0`` ... ``lin.bias``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.torch.hints import Hints
from fastlstm.formats.torch.state_dict import network_of
from fastlstm.formats.trust import numbers
from fastlstm.network.network import Network

__all__ = ["network"]

SIZES = ("input_size", "hidden_size", "output_size", "num_layers")
KNOWN = {*SIZES, "model", "unit_type", "skip", "bias_fl"}


def network(content: Mapping[str, Any], dtype: npt.DTypeLike) -> Network:
    """The network of a parsed file. It gives the outputs of every step.

    Whatever stands beside ``model_data`` and ``state_dict`` is about the training and is ignored.

    Raises
    ------
    ModelFormatError
        If sizes and tensors do not fit together.
    UnsupportedModelError
        If it is not an LSTM, or has options that this version does not know.
    """
    data, state = content["model_data"], content.get("state_dict")
    if not isinstance(data, dict) or not isinstance(state, dict):
        raise ModelFormatError("expected 'model_data' and 'state_dict' to be objects")
    for name, expected in (("unit_type", "LSTM"), ("model", "SimpleRNN")):
        if data.get(name, expected) != expected:
            raise UnsupportedModelError(
                f"{name} {data[name]!r:.80}: this version computes only {expected!r}"
            )
    if unknown := sorted(data.keys() - KNOWN):
        raise UnsupportedModelError(f"this version does not know the options {unknown}")
    skip = data.get("skip", 0)
    if type(skip) not in (int, bool) or skip < 0:
        raise ModelFormatError(f"expected a skip of 0 or more, got {skip!r:.80}")
    tensors = {name: numbers(name, values, dtype) for name, values in state.items()}
    found = network_of(tensors, Hints(head="lin", return_sequences=True, skip=int(skip))).network
    sizes = (found.input_size, found.hidden_size, found.output_size, len(found.recurrent))
    for name, size in zip(SIZES, sizes, strict=True):
        if data.get(name, size) != size:
            raise ModelFormatError(f"{name} is {data[name]!r:.80}, but the tensors have {size}")
    return found
