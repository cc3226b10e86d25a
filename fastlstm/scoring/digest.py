"""What tells one model from another in a few characters."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from fastlstm.formats.description import described
from fastlstm.model import LSTM

__all__ = ["digest"]


def digest(model: LSTM) -> str:
    """Return the SHA-256 of a model's weights and options, 64 hexadecimal digits."""
    network, tensors = described(model)
    whole = hashlib.sha256(json.dumps(network, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        whole.update(f"\n{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        whole.update(np.ascontiguousarray(tensor).data)
    return whole.hexdigest()
