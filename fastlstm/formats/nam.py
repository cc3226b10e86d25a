"""Neural Amp Modeler's files (``.nam``): a description, and all weights in one list.

Per layer there are the weights of inputs and hidden units side by side (4H, I + H), gates
``i f g o``, one bias (4H,), and the state before the first step, h (H,) and c (H,); then the
head's weight (O, H) and bias (O,).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.trust import numbers
from fastlstm.network.dense import Dense
from fastlstm.network.layers import Layer
from fastlstm.network.network import Network

__all__ = ["network"]

# Everything else describes the recording, such as its loudness, and changes no output.
KNOWN = {"version", "architecture", "config", "weights", "metadata", "sample_rate", "date"}
CONVOLUTIONS = ("WaveNet", "ConvNet")
SIZES = {"num_layers", "input_size", "hidden_size", "in_channels", "out_channels"}


def network(content: Mapping[str, Any], dtype: npt.DTypeLike) -> Network:
    """The network of a parsed file, with its initial state. It gives the outputs of every step.

    ``sample_rate`` and ``metadata`` are ignored: no output depends on them.

    Raises
    ------
    ModelFormatError
        If the weights are more or fewer than the sizes say.
    UnsupportedModelError
        If the architecture is not an LSTM, or has options that this version does not know.
    """
    architecture = content["architecture"]
    if architecture != "LSTM":
        what = ", a network of convolutions" if architecture in CONVOLUTIONS else ""
        raise UnsupportedModelError(
            f"architecture {architecture!r:.80}{what}: this version computes 'LSTM'"
        )
    version = content.get("version")
    if not isinstance(version, str) or not version.startswith("0."):
        raise UnsupportedModelError(f"expected version 0.x, got {version!r:.80}")
    config = content.get("config")
    if not isinstance(config, dict):
        raise ModelFormatError("expected a config")
    for what, names in (("", content.keys() - KNOWN), (" in config", config.keys() - SIZES)):
        if names:
            raise UnsupportedModelError(
                f"this version does not know the options {sorted(names)}{what}"
            )
    sizes: dict[str, Any] = {"in_channels": config.get("input_size"), "out_channels": 1} | config
    for name in sorted(SIZES):
        if type(sizes.get(name)) is not int or not 1 <= sizes[name] < 1 << 20:
            raise ModelFormatError(f"config: expected a {name} of 1 or more")
    if sizes["in_channels"] != sizes["input_size"]:
        raise UnsupportedModelError("config: in_channels and input_size are not the same")
    weights = numbers("weights", content.get("weights"), dtype)
    return Network.of(*_cut(weights, sizes), return_sequences=True)


def _cut(weights: npt.NDArray[Any], sizes: Mapping[str, int]) -> tuple[list[Layer], Dense]:
    """Cut the list of all weights into layers and a head."""
    H, O = sizes["hidden_size"], sizes["out_channels"]  # noqa: E741
    # no more layers than there are numbers, whatever the file claims
    inputs = [sizes["input_size"]] + [H] * (min(sizes["num_layers"], weights.size) - 1)
    expected = sum(4 * H * (k + H) + 4 * H + 2 * H for k in inputs) + O * (H + 1)
    if weights.ndim != 1 or len(weights) != expected or len(inputs) != sizes["num_layers"]:
        raise ModelFormatError(
            f"weights: expected {expected} numbers for the sizes {dict(sizes)}, "
            f"got an array of shape {weights.shape}"
        )
    at = 0

    def take(*shape: int) -> npt.NDArray[Any]:
        nonlocal at
        at += (size := int(np.prod(shape)))
        return weights[at - size : at].reshape(shape)

    layers = []
    for size in inputs:
        w, b, h_0, c_0 = take(4 * H, size + H), take(4 * H), take(H), take(H)
        layers.append(Layer(w[:, :size], w[:, size:], b, h_0=h_0, c_0=c_0))
    return layers, Dense(take(O, H), take(O))
