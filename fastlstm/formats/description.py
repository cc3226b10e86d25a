"""Networks as version 2 of the package's own files has them: descriptions, and tensors by place.

A description holds every option of a part that is no array: ``{"kind": "lstm", "activations":
[["sigmoid"], ["tanh"], ["tanh"]], "coupled": false, "clip": null, "direction": "forward"}``. Its
arrays are tensors named by the part's place, such as ``layers.0.w_ih``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.torch.names import as_floats
from fastlstm.formats.trust import distrusted
from fastlstm.network.activations import STANDARD, Activation
from fastlstm.network.dense import Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.network import Network
from fastlstm.network.weights import Weights

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["built", "described", "refuse_unknown"]

Array = npt.NDArray[Any]

_KINDS: Final[dict[str, type[Weights]]] = {
    "lstm": Layer,
    "bidirectional": Bidirectional,
    "dense": Dense,
    "embedding": Embedding,
}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}


def described(model: LSTM | Network) -> tuple[dict[str, Any], dict[str, Array]]:
    """A network's description and its tensors."""
    tensors: dict[str, Array] = {}
    network = {
        "layers": [_described(k, f"layers.{i}", tensors) for i, k in enumerate(model.layers)],
        "head": [_described(k, f"head.{i}", tensors) for i, k in enumerate(model.head)],
        **model.options,
    }
    return network, tensors


def _described(part: Weights, place: str, tensors: dict[str, Array]) -> dict[str, Any]:
    """A part of a network without its arrays, which go to `tensors` by their place."""
    description: dict[str, Any] = {"kind": _NAMES[type(part)]}
    for field in fields(part):  # type: ignore[arg-type]
        value = getattr(part, field.name)
        if field.name in _OPTIONS:
            description[field.name] = _as_json(value)
        elif isinstance(value, Weights):
            description[field.name] = _described(value, f"{place}.{field.name}", tensors)
        elif value is not None:
            tensors[f"{place}.{field.name}"] = value
    return description


def _as_json(value: Any) -> Any:
    if isinstance(value, Activation):
        return [value.name, *value.numbers]
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    return int(value) if isinstance(value, np.integer) else value


def built(tensors: Mapping[str, Array], network: dict[str, Any]) -> LSTM:
    """The network that `described` has described.

    Raises
    ------
    ModelFormatError
        If something is missing, is too much, or does not fit.
    UnsupportedModelError
        If there is an option or a kind of layer that this version does not know.
    """
    from fastlstm.model import LSTM

    parts: dict[str, list[Any]] = {}
    used: set[str] = set()
    for part in ("layers", "head"):
        descriptions = network.get(part)
        if not isinstance(descriptions, list):
            raise ModelFormatError(f"expected a list of {part} in the network")
        parts[part] = [
            _built(item, f"{part}.{i}", tensors, used) for i, item in enumerate(descriptions)
        ]
    names = ("return_sequences", "read", "mask_value", "skip")
    refuse_unknown("options", network.keys() - {"layers", "head", *names})
    options = {name: _option("the network", network, name) for name in names}
    if spare := tensors.keys() - used:
        raise ModelFormatError(f"unknown tensors {sorted(spare)}")
    with distrusted("the network"):
        return LSTM(parts["layers"], parts["head"], **options)


def _built(
    description: Any, place: str, tensors: Mapping[str, Array], used: set[str], depth: int = 0
) -> Any:
    """The part of a network that `_described` has described; `used` gets its tensors' names."""
    if not isinstance(description, dict) or not isinstance(description.get("kind"), str):
        raise ModelFormatError(f"{place}: expected an object with a kind")
    kind = _KINDS.get(description["kind"])
    if kind is None or depth > 1:
        raise UnsupportedModelError(
            f"{place}: this version does not compute a layer of kind {description['kind']!r}"
        )
    values: dict[str, Any] = {}
    known = {"kind"}
    for field in fields(kind):  # type: ignore[arg-type]
        name = f"{place}.{field.name}"
        if field.name in _OPTIONS:
            values[field.name] = _option(place, description, field.name)
            known.add(field.name)
        elif kind is Bidirectional:
            values[field.name] = _built(description.get(field.name), name, tensors, used, depth + 1)
            known.add(field.name)
        elif name in tensors:
            values[field.name] = as_floats(name, tensors[name])
            used.add(name)
        elif field.default is MISSING:
            raise ModelFormatError(f"{place}: there is no tensor {name}")
    refuse_unknown(f"options of {place}", description.keys() - known)
    with distrusted(place):
        return kind(**values)


def refuse_unknown(what: str, names: set[str]) -> None:
    """Refuse names that a later version may have given a meaning."""
    if names:
        raise UnsupportedModelError(f"this version does not compute the {what} {sorted(names)}")


def _option(place: str, options: Mapping[str, Any], name: str) -> Any:
    if name not in options:
        raise ModelFormatError(f"{place}: there is no {name}")
    value = options[name]
    expected, fits = _OPTIONS[name]
    if not fits(value):
        raise ModelFormatError(f"{place}: expected {name} to be {expected}, got {value!r}")
    return value


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_activation(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 1 <= len(value) <= 3
        and isinstance(value[0], str)
        and all(_is_number(number) for number in value[1:])
    )


# The options of layers and networks that are no arrays: what they are in JSON. The constructors
# check the rest.
_Test = Callable[[Any], bool]
_FLAG: Final[tuple[str, _Test]] = ("true or false", lambda v: type(v) is bool)
_TEXT: Final[tuple[str, _Test]] = ("text", lambda v: type(v) is str)
_NUMBER: Final[tuple[str, _Test]] = ("a number or null", lambda v: v is None or _is_number(v))
_OPTIONS: Final[dict[str, tuple[str, _Test]]] = {
    "activation": (
        "an activation or 'softmax'",
        lambda v: v == "softmax" or _is_activation(v),
    ),
    "activations": (
        f"{len(STANDARD)} activations",
        lambda v: isinstance(v, list) and len(v) == 3 and all(map(_is_activation, v)),
    ),
    "clip": _NUMBER,
    "coupled": _FLAG,
    "direction": _TEXT,
    "mask_value": _NUMBER,
    "merge": _TEXT,
    "padding_id": ("an id or null", lambda v: v is None or type(v) is int),
    "read": _TEXT,
    "return_sequences": _FLAG,
    "skip": ("a number of inputs", lambda v: type(v) is int),
}
