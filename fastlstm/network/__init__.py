"""What a network is: its parts and their weights, as values. Nothing here computes.

Every part can be imported from here: ``from fastlstm.network import Conv, Network, Read``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastlstm.network.activations import Activation
    from fastlstm.network.convolution import Conv
    from fastlstm.network.dense import Dense
    from fastlstm.network.embedding import Embedding
    from fastlstm.network.joints import AddInputs, From, Join
    from fastlstm.network.layers import Bidirectional, Layer
    from fastlstm.network.masking import Masking
    from fastlstm.network.network import Network
    from fastlstm.network.normalisation import Affine, LayerNorm
    from fastlstm.network.pointwise import Activate, PReLU, StepSoftmax
    from fastlstm.network.pooling import Pool
    from fastlstm.network.reading import Read
    from fastlstm.network.steps import Flatten, Pad, Repeat, Slice, Unflatten, Upsample

__all__ = [
    "Activate",
    "Activation",
    "AddInputs",
    "Affine",
    "Bidirectional",
    "Conv",
    "Dense",
    "Embedding",
    "Flatten",
    "From",
    "Join",
    "Layer",
    "LayerNorm",
    "Masking",
    "Network",
    "PReLU",
    "Pad",
    "Pool",
    "Read",
    "Repeat",
    "Slice",
    "StepSoftmax",
    "Unflatten",
    "Upsample",
]

_HOME = {
    "Activate": "pointwise",
    "Activation": "activations",
    "AddInputs": "joints",
    "Affine": "normalisation",
    "Bidirectional": "layers",
    "Conv": "convolution",
    "Dense": "dense",
    "Embedding": "embedding",
    "Flatten": "steps",
    "From": "joints",
    "Join": "joints",
    "Layer": "layers",
    "LayerNorm": "normalisation",
    "Masking": "masking",
    "Network": "network",
    "PReLU": "pointwise",
    "Pad": "steps",
    "Pool": "pooling",
    "Read": "reading",
    "Repeat": "steps",
    "Slice": "steps",
    "StepSoftmax": "pointwise",
    "Unflatten": "steps",
    "Upsample": "steps",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
