"""Networks in the package's own files: a description of the parts, and their tensors by name.

A part is described by its kind and by all its options that are not arrays::

    {"kind": "lstm", "activations": [["sigmoid"], ["tanh"], ["tanh"]], "coupled": false,
     "clip": null, "direction": "forward"}

Its arrays are tensors named after the place of the part in the network: ``parts.1.w_ih``, and
``parts.1.backward.w_ih`` in a layer of two directions. The fields of the part's class say what is
read, so a new kind of part is one line in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, Final

import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.floats import widened
from fastlstm.formats.trust import distrusted
from fastlstm.network.activations import Activation
from fastlstm.network.convolution import Conv
from fastlstm.network.dense import Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.joints import AddInputs, From, Join
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.masking import Masking
from fastlstm.network.network import Network
from fastlstm.network.normalisation import Affine, LayerNorm
from fastlstm.network.pointwise import OVER_NUMBERS, Activate, PReLU, StepSoftmax
from fastlstm.network.pooling import Pool
from fastlstm.network.reading import Read
from fastlstm.network.steps import Flatten, Pad, Repeat, Slice, Unflatten, Upsample
from fastlstm.network.weights import Weights

__all__ = ["KINDS", "OPTIONS", "built", "described"]

Array = npt.NDArray[Any]

KINDS: Final[dict[str, type[Weights]]] = {
    "activate": Activate,
    "add_inputs": AddInputs,
    "affine": Affine,
    "bidirectional": Bidirectional,
    "conv": Conv,
    "dense": Dense,
    "embedding": Embedding,
    "flatten": Flatten,
    "from": From,
    "join": Join,
    "layer_norm": LayerNorm,
    "lstm": Layer,
    "masking": Masking,
    "pad": Pad,
    "pool": Pool,
    "prelu": PReLU,
    "read": Read,
    "repeat": Repeat,
    "slice": Slice,
    "step_softmax": StepSoftmax,
    "unflatten": Unflatten,
    "upsample": Upsample,
}
_NAMES: Final = {kind: name for name, kind in KINDS.items()}


# Writing


def described(network: Network) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the description of a network, and its tensors by name."""
    tensors: dict[str, Array] = {}
    parts = [_described(part, f"parts.{i}", tensors) for i, part in enumerate(network.parts)]
    return {"parts": parts, "return_sequences": network.return_sequences}, tensors


def _described(part: Weights, place: str, tensors: dict[str, Array]) -> dict[str, Any]:
    """The description of a part; its arrays go to `tensors`."""
    description: dict[str, Any] = {"kind": _NAMES[type(part)]}
    for name, kind in _fields(type(part)):
        value = getattr(part, name)
        if kind in OPTIONS:
            description[name] = _as_json(value)
        elif isinstance(value, Weights):
            description[name] = _described(value, f"{place}.{name}", tensors)
        elif value is not None:
            tensors[f"{place}.{name}"] = value
    return description


def _as_json(value: Any) -> Any:
    if isinstance(value, Activation):
        return [value.name, *value.numbers]
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    return value


def _fields(kind: type[Weights]) -> list[tuple[str, str]]:
    """The fields of a part and their types, as its class writes them."""
    return [(field.name, str(field.type)) for field in fields(kind)]  # type: ignore[arg-type]


# Reading


def built(description: Mapping[str, Any], tensors: Mapping[str, Array]) -> Network:
    """Return the network that `described` has described.

    Raises
    ------
    ModelFormatError
        If something is missing, left over, or does not fit.
    UnsupportedModelError
        If this version does not know an option or a kind of part.
    """
    parts = description.get("parts")
    if not isinstance(parts, list):
        raise ModelFormatError("expected a list of parts in the network")
    used: set[str] = set()
    network = [_built(part, f"parts.{i}", tensors, used) for i, part in enumerate(parts)]
    every = _option("the network", description, "return_sequences", "bool")
    _refuse_unknown("options", description.keys() - {"parts", "return_sequences"})
    if spare := tensors.keys() - used:
        raise ModelFormatError(f"tensors that belong to no part: {sorted(spare)}")
    with distrusted("the network"):
        return Network(tuple(network), every)


def _built(
    description: Any, place: str, tensors: Mapping[str, Array], used: set[str], depth: int = 0
) -> Any:
    """The part that `_described` has described; `used` gets the names of its tensors."""
    if not isinstance(description, dict) or not isinstance(description.get("kind"), str):
        raise ModelFormatError(f"{place}: expected an object with a kind")
    kind = KINDS.get(description["kind"])
    if kind is None or depth > 1:
        raise UnsupportedModelError(
            f"{place}: this version does not compute a part of kind {description['kind']!r}"
        )
    values: dict[str, Any] = {}
    known = {"kind"}
    required = {field.name for field in fields(kind) if field.default is MISSING}  # type: ignore[arg-type]
    for name, of_field in _fields(kind):
        inside = f"{place}.{name}"
        if of_field in OPTIONS:
            values[name] = _option(place, description, name, of_field)
            known.add(name)
        elif of_field == "Layer":
            values[name] = _built(description.get(name), inside, tensors, used, depth + 1)
            known.add(name)
        elif inside in tensors:
            values[name] = widened(inside, tensors[inside])
            used.add(inside)
        elif name in required:
            raise ModelFormatError(f"{place}: there is no tensor {inside}")
    _refuse_unknown(f"options of {place}", description.keys() - known)
    with distrusted(place):
        return kind(**values)


def _refuse_unknown(what: str, names: set[str]) -> None:
    """Refuse unknown names: a later version may have given them a meaning."""
    if names:
        raise UnsupportedModelError(f"this version does not know the {what} {sorted(names)}")


def _option(place: str, options: Mapping[str, Any], name: str, kind: str) -> Any:
    if name not in options:
        raise ModelFormatError(f"{place}: there is no {name}")
    value = options[name]
    expected, fits = OPTIONS[kind]
    if not fits(value):
        raise ModelFormatError(f"{place}: expected {name} to be {expected}, got {value!r:.80}")
    return value


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_activation(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 1 <= len(value) <= 3
        and isinstance(value[0], str)
        and all(map(_is_number, value[1:]))
    )


def _are_integers(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int for item in value)


def _are_activations(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_is_activation, value))


# How the types of fields stand in JSON. The constructors check the rest.
OPTIONS: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "Activation": ("an activation", _is_activation),
    "Activation | str": (
        f"an activation or one of {OVER_NUMBERS}",
        lambda value: value in OVER_NUMBERS or _is_activation(value),
    ),
    "Padding": ("a padding", lambda value: type(value) is str or _are_integers(value)),
    "bool": ("true or false", lambda value: type(value) is bool),
    "float": ("a number", _is_number),
    "float | None": ("a number or null", lambda value: value is None or _is_number(value)),
    "int": ("an integer", lambda value: type(value) is int),
    "int | None": ("an integer or null", lambda value: value is None or type(value) is int),
    "tuple[int, ...]": ("a list of integers", _are_integers),
    "str": ("text", lambda value: type(value) is str),
    "tuple[Activation, Activation, Activation]": ("three activations", _are_activations),
}
