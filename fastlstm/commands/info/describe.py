"""What `fastlstm info` prints about a model file: how it is read, or what is in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from fastlstm.loading import contents, load
from fastlstm.network.activations import LINEAR
from fastlstm.network.dense import SOFTMAX, Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.joints import AddInputs
from fastlstm.network.masking import Masking
from fastlstm.network.network import Network, Part
from fastlstm.network.reading import Read
from fastlstm.network.weights import Weights

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["describe", "show_file"]

MOST = 60  # lines about what a file holds
# Integers and single numbers: a graph has dozens of them, for sizes and axes, which tell nothing
# about the model.
_SMALL = re.compile(r"^(u?int\d+|bool) |^[a-z]+\d* \(\)$")

READS = {
    "final": "the final outputs of all directions",
    "last": "the outputs at the last step",
    "max": "the maximum of the outputs over all steps",
    "mean": "the mean of the outputs over all steps",
}


def show_file(path: Path, hints: Mapping[str, Any]) -> None:
    """Print how a file is read, or its tensors if it cannot be read.

    Parameters
    ----------
    path : path
        The model file.
    hints : mapping
        Hints for `fastlstm.load`.

    Raises
    ------
    OSError, ValueError, TypeError, ImportError
        The reason why it cannot be read, after its tensors have been printed.
    """
    kind, tensors = contents(path)
    print(f"{path}: {kind}, {path.stat().st_size:,} bytes")
    try:
        model = load(path, **hints)
    except (ImportError, TypeError, ValueError):
        for line in _listed(tensors):
            print(f"  {line}")
        raise
    print(describe(model))


def describe(model: LSTM) -> str:
    """Return lines about a model: its input, each part with its options, its output."""
    network = model.network
    ids = isinstance(network.layers[0], Embedding)
    steps = "T, " if network.return_sequences else ""
    return "\n".join(
        (
            "input: (N, T) ids" if ids else f"input: (N, T, {network.input_size})",
            *_parts(network),
            f"output: (N, {steps}{network.output_size})",
            f"{network.dtype}, {_parameters(network):,} parameters",
            *(f"not used: {name}" for name in _by_module(model.unused)),
        )
    )


def _parts(network: Network) -> Iterator[str]:
    """Yield a line for each part; layers have the numbers that error messages use."""
    place, number = "layer", 0
    for part in network.parts:
        if isinstance(part, Masking):
            yield f"mask: steps whose inputs are all {part.value:g} are skipped"
        elif isinstance(part, Read):
            yield f"read: {'every step' if network.return_sequences else READS[part.how]}"
            place, number = "head", 0
            if not network.head:
                yield "head: none"
        elif isinstance(part, AddInputs):
            first = "first input is" if part.size == 1 else f"first {part.size} inputs are"
            yield f"skip: the {first} added to the outputs"
        else:
            yield f"{place} {number}: {_named(part)}"
            number += 1


def _named(part: Part) -> str:
    """Return a part and its options; for a dense layer that is the identity, its activation."""
    return f"{part.activation}, number by number" if _is_unit(part) else str(part)


def _is_unit(part: object) -> TypeGuard[Dense]:
    return (
        isinstance(part, Dense)
        and part.bias is None
        and part.activation not in (LINEAR, SOFTMAX)
        and part.input_size == part.output_size
        and bool((part.weight == np.eye(part.input_size)).all())
    )


def _by_module(names: Iterable[str]) -> list[str]:
    """Return names of weights grouped by module: ``fc (weight, bias)``."""
    found: dict[str, list[str]] = {}
    for name in names:
        module, _, weight = name.rpartition(".")
        found.setdefault(module, []).append(weight)
    return [f"{k} ({', '.join(v)})" if k else ", ".join(v) for k, v in found.items()]


def _listed(tensors: Mapping[str, str]) -> list[str]:
    """Return lines about a file's tensors, at most `MOST`, without integers and single numbers."""
    shown = {name: text for name, text in tensors.items() if not _SMALL.search(text)}
    lines = [f"{name}  {text}" for name, text in list(shown.items())[:MOST]]
    if len(shown) > MOST:
        lines.append(f"and {len(shown) - MOST} more")
    if few := len(tensors) - len(shown):
        lines.append(f"and {few} that are integers or single numbers")
    return lines


def _parameters(value: Any) -> int:
    """Return how many numbers one or several parts of a network hold."""
    if isinstance(value, np.ndarray):
        return value.size
    if isinstance(value, tuple):
        return sum(map(_parameters, value))
    if not isinstance(value, Weights) or _is_unit(value):
        return 0
    return _parameters(tuple(getattr(value, field.name) for field in fields(value)))  # type: ignore[arg-type]
