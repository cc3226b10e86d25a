"""fastlstm: score LSTM networks over large batches of sequences, on a CPU.

Names are imported when they are first used, so that `import fastlstm` costs what `import numpy`
costs. Numba is imported by the first call of a model.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fastlstm.calls.ragged import Ragged
    from fastlstm.calls.trace import Trace
    from fastlstm.commands.versions import show_versions
    from fastlstm.errors import ModelFormatError, UnsupportedModelError
    from fastlstm.loading import from_keras, from_onnx, from_torch, load
    from fastlstm.model import LSTM, warmup
    from fastlstm.network.activations import Activation
    from fastlstm.network.dense import Dense
    from fastlstm.network.embedding import Embedding
    from fastlstm.network.layers import Bidirectional, Layer
    from fastlstm.network.state import State
    from fastlstm.scoring import score
    from fastlstm.tutorial import lstm_forward

__all__ = [
    "LSTM",
    "Activation",
    "Bidirectional",
    "Dense",
    "Embedding",
    "Layer",
    "ModelFormatError",
    "Ragged",
    "State",
    "Trace",
    "UnsupportedModelError",
    "from_keras",
    "from_onnx",
    "from_torch",
    "load",
    "lstm_forward",
    "score",
    "show_versions",
    "warmup",
]

_HOME = {
    "LSTM": "model",
    "Activation": "network.activations",
    "Bidirectional": "network.layers",
    "Dense": "network.dense",
    "Embedding": "network.embedding",
    "Layer": "network.layers",
    "ModelFormatError": "errors",
    "Ragged": "calls.ragged",
    "State": "network.state",
    "Trace": "calls.trace",
    "UnsupportedModelError": "errors",
    "from_keras": "loading",
    "from_onnx": "loading",
    "from_torch": "loading",
    "load": "loading",
    "lstm_forward": "tutorial",
    "score": "scoring",
    "show_versions": "commands.versions",
    "warmup": "model",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING", "Any", "annotations", "importlib"})
