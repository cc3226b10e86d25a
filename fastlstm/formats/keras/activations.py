"""Keras' activations by name, function and layer, as this package's."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Final

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.network.activations import LINEAR, Activation
from fastlstm.network.pointwise import OVER_NUMBERS

__all__ = ["LAYERS", "from_config"]

# Those of the same name and meaning in every version.
SAME = ("linear", "relu", "sigmoid", "silu", "softplus", "softsign", "tanh", "elu", "gelu")
# Others, as this package's: the name, and its numbers.
OTHERS: Final[dict[str, tuple[Any, ...]]] = {
    "celu": ("elu", 1.0),
    "exponential": ("exp",),
    "hard_silu": ("hard_silu",),
    "hard_swish": ("hard_silu",),
    "hard_tanh": ("clip", -1.0, 1.0),
    "log_sigmoid": ("log_sigmoid",),
    "mish": ("mish",),
    "relu6": ("clip", 0.0, 6.0),
    "selu": ("selu",),
    "swish": ("silu",),
}
LAYERS = ("Activation", "ELU", "LeakyReLU", "ReLU", "Softmax", "ThresholdedReLU")


def from_config(value: Any, where: str, version: int | None) -> Activation | str:
    """An activation as a config has it: a name, a function or a layer.

    ``"softmax"`` and ``"log_softmax"``, over the numbers, are returned as text.

    Parameters
    ----------
    value : None, str or dict
    where : str
        Whose it is, for errors.
    version : int, optional
        The major version of the Keras that wrote it: some names have changed their meaning.

    Raises
    ------
    UnsupportedModelError
        If it is one that is not computed.
    ModelFormatError
        If it is not an activation.
    """
    if value is None:
        return LINEAR
    if isinstance(value, str):
        return _named(value, where, version)
    if not isinstance(value, dict) or not isinstance(value.get("class_name"), str):
        raise ModelFormatError(f"{where}: expected an activation, got {value!r}")
    kind, config = value["class_name"], value.get("config")
    if ">" in str(value.get("registered_name")):
        raise UnsupportedModelError(f"{where}: a custom activation, {value['registered_name']!r}")
    if kind in ("function", "builtin_function") and isinstance(config, str):
        return _named(config, where, version)
    if kind in LAYERS and isinstance(config, dict):
        return _layer(kind, config, where, version)
    raise UnsupportedModelError(f"{where}: the activation {kind} is not computed")


def _named(name: str, where: str, version: int | None) -> Activation | str:
    if name in SAME:
        return Activation(name)
    if name in OVER_NUMBERS:
        return name
    if name in OTHERS:
        return Activation(*OTHERS[name])
    if name == "leaky_relu" and version is not None:
        return Activation("leaky_relu", 0.2)
    if name == "hard_sigmoid" and version is not None:
        return Activation("hard_sigmoid", 1 / 6 if version >= 3 else 0.2, 0.5)
    raise UnsupportedModelError(f"{where}: the activation {name!r} is not computed")


def _layer(kind: str, config: dict[str, Any], where: str, version: int | None) -> Activation | str:
    where = f"{where}, {kind}"
    if kind == "Activation":
        return from_config(config.get("activation"), where, version)
    if kind == "Softmax":
        if config.get("axis", -1) not in (-1, [-1]):
            raise UnsupportedModelError(f"{where}: axis={config['axis']!r}; only -1 is computed")
        return "softmax"
    if kind == "ELU":
        return Activation("elu", _number(config, where, "alpha", default=1.0))
    if kind == "LeakyReLU":
        return Activation("leaky_relu", _number(config, where, "negative_slope", "alpha"))
    if kind == "ThresholdedReLU":
        return Activation("thresholded_relu", _number(config, where, "theta"))
    slope = _number(config, where, "negative_slope", default=0.0)
    threshold = _number(config, where, "threshold", default=0.0)
    most = None
    if config.get("max_value") is not None:
        most = _number(config, where, "max_value")
    if sum((slope != 0, threshold != 0, most is not None)) > 1:
        raise UnsupportedModelError(
            f"{where}: of max_value={most!r}, negative_slope={slope!r} and threshold={threshold!r} "
            "only one is computed at a time"
        )
    if most is not None:
        return Activation("clip", 0.0, most)
    if threshold:
        return Activation("thresholded_relu", threshold)
    return Activation("leaky_relu", slope) if slope else Activation("relu")


def _number(config: dict[str, Any], where: str, *names: str, default: float | None = None) -> float:
    """A number; early versions of Keras wrote some as an array."""
    value = next((config[name] for name in names if config.get(name) is not None), default)
    if isinstance(value, dict):
        value = value.get("config", value.get("value"))
        value = value.get("value") if isinstance(value, dict) else value
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ModelFormatError(f"{where}: expected a finite {names[0]}, got {value!r}")
    return float(value)
