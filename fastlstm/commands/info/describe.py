"""What `fastlstm info` prints of a model file: how it is read, or what is in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlstm.formats import contents, load
from fastlstm.network.activations import LINEAR
from fastlstm.network.dense import SOFTMAX, Dense, Embedding
from fastlstm.network.weights import Weights

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["describe", "show_file"]

MOST = 60  # lines about what a file holds
# Integers and single numbers: a graph has dozens of them, for sizes and axes, and they say nothing
# about a model.
_SMALL = re.compile(r"^(u?int\d+|bool) |^[a-z]+\d* \(\)$")

READS = {
    "final": "the final outputs of all directions",
    "last": "the outputs at the last step",
    "max": "the maximum of the outputs over all steps",
    "mean": "the mean of the outputs over all steps",
}


def show_file(path: Path, hints: Mapping[str, Any]) -> None:
    """Print how a file is read; if it cannot be, print its tensors.

    Parameters
    ----------
    path : path
    hints : mapping
        Those of `fastlstm.load`.

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
    """A model in lines: what goes in, each layer and its options, what comes out."""
    ids = isinstance(model.layers[0], Embedding)
    lines = ["input: (N, T) ids" if ids else f"input: (N, T, {model.input_size})"]
    if model.mask_value is not None:
        lines.append(f"mask: steps whose inputs are all {model.mask_value:g} are skipped")
    lines += [f"layer {k}: {layer}" for k, layer in enumerate(model.layers)]
    steps = "T, " if model.return_sequences else ""
    lines.append(f"read: {'every step' if steps else READS[model.read]}")
    lines += [f"head {k}: {_named(dense)}" for k, dense in enumerate(model.head)] or ["head: none"]
    if model.skip:
        first = "first input is" if model.skip == 1 else f"first {model.skip} inputs are"
        lines.append(f"skip: the {first} added to the outputs")
    lines.append(f"output: (N, {steps}{model.output_size})")
    numbers = sum(map(_parameters, (*model.layers, *model.head)))
    lines.append(f"{model.dtype}, {numbers:,} parameters")
    lines += [f"not used: {name}" for name in _by_module(model.unused)]
    return "\n".join(lines)


def _named(dense: Dense) -> str:
    """A dense layer; or its activation alone, where its weights are the identity."""
    return f"{dense.activation}, number by number" if _is_unit(dense) else str(dense)


def _is_unit(part: Weights) -> bool:
    return (
        isinstance(part, Dense)
        and part.bias is None
        and part.activation not in (LINEAR, SOFTMAX)
        and part.input_size == part.output_size
        and bool((part.weight == np.eye(part.input_size)).all())
    )


def _by_module(names: Iterable[str]) -> list[str]:
    """Names of weights, grouped by their modules: ``fc (weight, bias)``."""
    found: dict[str, list[str]] = {}
    for name in names:
        module, _, weight = name.rpartition(".")
        found.setdefault(module, []).append(weight)
    return [f"{k} ({', '.join(v)})" if k else ", ".join(v) for k, v in found.items()]


def _listed(tensors: Mapping[str, str]) -> list[str]:
    """The tensors of a file, at most `MOST`, without integers and single numbers."""
    shown = {name: text for name, text in tensors.items() if not _SMALL.search(text)}
    lines = [f"{name}  {text}" for name, text in list(shown.items())[:MOST]]
    if len(shown) > MOST:
        lines.append(f"and {len(shown) - MOST} more")
    if few := len(tensors) - len(shown):
        lines.append(f"and {few} that are integers or single numbers")
    return lines


def _parameters(part: Weights) -> int:
    """How many numbers a part of a network holds."""
    if _is_unit(part):
        return 0
    values = [getattr(part, field.name) for field in fields(part)]  # type: ignore[arg-type]
    arrays = sum(value.size for value in values if isinstance(value, np.ndarray))
    return arrays + sum(_parameters(value) for value in values if isinstance(value, Weights))
