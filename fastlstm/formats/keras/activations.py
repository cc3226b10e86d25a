"""Keras' activations by name, function and layer, as this package's."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.network.activations import LINEAR, Activation
from fastlstm.network.dense import SOFTMAX

__all__ = ["LAYERS", "from_config"]

# Those of the same name and meaning in every version.
SAME = ("linear", "relu", "sigmoid", "silu", "softplus", "softsign", "tanh", "elu", "gelu")
LAYERS = ("Activation", "ELU", "LeakyReLU", "ReLU", "Softmax", "ThresholdedReLU")


def from_config(value: Any, where: str, version: int | None) -> Activation | str:
    """An activation as a config has it: a name, a function or a layer; ``"softmax"`` too.

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
    if name == "swish":
        return Activation("silu")
    if name == SOFTMAX:
        return SOFTMAX
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
        return SOFTMAX
    if kind == "ELU":
        return Activation("elu", _number(config, where, "alpha", default=1.0))
    if kind == "LeakyReLU":
        return Activation("leaky_relu", _number(config, where, "negative_slope", "alpha"))
    if kind == "ThresholdedReLU":
        return Activation("thresholded_relu", _number(config, where, "theta"))
    if config.get("max_value") is not None or config.get("threshold"):
        raise UnsupportedModelError(
            f"{where}: max_value={config.get('max_value')!r}, "
            f"threshold={config.get('threshold')!r} are not computed"
        )
    slope = _number(config, where, "negative_slope", default=0.0)
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
