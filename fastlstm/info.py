"""What `fastlstm info` prints: what a model file holds, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlstm.dense import Embedding
from fastlstm.formats import contents, load
from fastlstm.weights import Weights

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["describe", "print_info"]

READS = {
    "final": "the final outputs of all directions",
    "last": "the outputs at the last step",
    "max": "the maximum of the outputs over all steps",
    "mean": "the mean of the outputs over all steps",
}


def print_info(path: Path, hints: Mapping[str, Any]) -> None:
    """Print what a file holds; if it cannot be read, its tensors.

    Parameters
    ----------
    path : path
    hints : mapping
        Options of `fastlstm.load`.

    Raises
    ------
    OSError, ValueError, TypeError, ImportError
        Why it cannot be read, after its tensors have been printed.
    """
    kind, tensors = contents(path)
    print(f"{path}: {kind}, {path.stat().st_size:,} bytes")
    try:
        model = load(path, **hints)
    except (ImportError, TypeError, ValueError):
        for name, text in tensors.items():
            print(f"  {name}  {text}")
        raise
    print(describe(model))


def describe(model: LSTM) -> str:
    """A model in lines: what goes in, each layer with its options, what comes out."""
    ids = isinstance(model.layers[0], Embedding)
    lines = ["input: (N, T) ids" if ids else f"input: (N, T, {model.input_size})"]
    if model.mask_value is not None:
        lines.append(f"mask: steps of {model.mask_value:g} only")
    lines += [f"layer {k}: {layer}" for k, layer in enumerate(model.layers)]
    steps = "T, " if model.return_sequences else ""
    lines.append(f"read: {'every step' if steps else READS[model.read]}")
    lines += [f"head {k}: {dense}" for k, dense in enumerate(model.head)] or ["head: none"]
    if model.skip:
        lines.append(f"skip: inputs added to the outputs, {model.skip}")
    lines.append(f"output: (N, {steps}{model.output_size})")
    numbers = sum(map(_parameters, (*model.layers, *model.head)))
    lines.append(f"{model.dtype}, {numbers:,} parameters")
    return "\n".join(lines)


def _parameters(part: Weights) -> int:
    """How many numbers a part of a network holds."""
    values = [getattr(part, field.name) for field in fields(part)]  # type: ignore[arg-type]
    arrays = sum(value.size for value in values if isinstance(value, np.ndarray))
    return arrays + sum(_parameters(value) for value in values if isinstance(value, Weights))
