"""What `fastlstm info` prints about a model file: how it is read, or what is in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from fastlstm.commands.info.counts import Count, counts_of
from fastlstm.commands.info.words import in_words
from fastlstm.formats.description import described
from fastlstm.loading import contents, load
from fastlstm.network.activations import LINEAR
from fastlstm.network.dense import SOFTMAX, Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.network import Network
from fastlstm.network.weights import Weights

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["as_json", "describe", "show_file"]

MOST = 60  # lines about what a file holds
# Integers and single numbers: a graph has dozens of them, for sizes and axes, which tell nothing
# about the model.
_SMALL = re.compile(r"^(u?int\d+|bool) |^[a-z]+\d* \(\)$")


def show_file(path: Path, hints: Mapping[str, Any], json_too: bool = False) -> None:
    """Print how a file is read, or its tensors if it cannot be read.

    Parameters
    ----------
    path : path
        The model file.
    hints : mapping
        Hints for `fastlstm.load`.
    json_too : bool
        Print it as JSON.

    Raises
    ------
    OSError, ValueError, TypeError, ImportError
        The reason why it cannot be read, after its tensors have been printed.
    """
    kind, tensors = contents(path)
    file = {"file": str(path), "kind": kind, "bytes": path.stat().st_size}
    if not json_too:
        print(f"{path}: {kind}, {path.stat().st_size:,} bytes")
    try:
        model = load(path, **hints)
    except (ImportError, TypeError, ValueError):
        if json_too:
            print(json.dumps(file | {"tensors": dict(tensors)}, indent=2))
        for line in () if json_too else _listed(tensors):
            print(f"  {line}")
        raise
    print(json.dumps(file | as_json(model), indent=2) if json_too else describe(model))


def describe(model: LSTM) -> str:
    """Return lines about a model: a table of its parts, what it takes, and what it leaves out."""
    network = model.network
    table = [(f"{i}", *row) for i, row in enumerate(_rows(network))]
    table = [("", "inputs", _shape(network, -1), "weights", ""), *table]
    table.append(("", "outputs", _output_shape(network), "", _ending(network)))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for number, kind, shape, weights, words in table:
        cells = (number.rjust(widths[0]), kind.ljust(widths[1]), shape.ljust(widths[2]))
        lines.append("  ".join((*cells, weights.rjust(widths[3]), words)).rstrip())
    total = f"{network.dtype}, {_parameters(network):,} weights"
    lines.append(total + "".join(f"; {line}" for line in _limits(network)))
    lines += _named_counts(network)
    return "\n".join((*lines, *(f"not used: {name}" for name in _by_module(model.unused))))


def as_json(model: LSTM) -> dict[str, Any]:
    """Return what `describe` says as values for JSON; shapes are lists of numbers and names."""
    network = model.network
    parts = [
        options | {"shape": _axes(network, i), "weights": _parameters(part)}
        for i, (part, options) in enumerate(
            zip(network.parts, described(network)[0]["parts"], strict=True)
        )
    ]
    fewest, most = network.step_limits
    return {
        "dtype": str(network.dtype),
        "inputs": {
            "shape": _axes(network, -1),
            "dtype": str(network.input_dtype),
            "steps": {"least": fewest, "most": most},
        },
        "parts": parts,
        "outputs": {"shape": ["N", *_output_axes(network)]},
        "weights": _parameters(network),
        "unused": list(model.unused),
    }


# --- shapes ---------------------------------------------------------------------------------


def _rows(network: Network) -> Iterator[tuple[str, str, str, str]]:
    """Yield the kind of each part, what it gives, its weights, and its options in words."""
    for i, part in enumerate(network.parts):
        weights = _parameters(part)
        kind, words = in_words(part)
        if _is_unit(part):
            kind, words = "activation", str(part.activation)
        if i == network.read_at and network.return_sequences:
            words = "every step"
        yield kind, _shape(network, i), f"{weights:,}" if weights else "", words


def _axes(network: Network, value: int, every: bool | None = None) -> list[Any]:
    """The axes of a value, as numbers where they are fixed."""
    every = network.return_sequences if every is None else every
    fewest, most = network.step_limits
    steps = counts_of(network.parts, fewest if fewest == most else None)
    size = network.input_size if value < 0 else network.shapes[value].size
    at = value
    if every and value >= network.read_at:  # the `Read` is left out
        at = network.read_at - 1
    if at < 0:
        count = f"{fewest}" if fewest == most else "T"
        ids = isinstance(network.embedding, Embedding)
        return ["N", _as_axis(count)] if ids else ["N", _as_axis(count), size]
    found = steps[at]
    return ["N", size] if found is None else ["N", _as_axis(str(found)), size]


def _as_axis(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _shape(network: Network, value: int) -> str:
    text = f"({', '.join(map(str, _axes(network, value)))})"
    return f"{text} ids" if value < 0 and network.embedding else text


def _output_axes(network: Network) -> list[Any]:
    last = len(network.parts) - 1
    if network.return_sequences:
        return _axes(network, last)[1:]
    return [network.output_size]


def _output_shape(network: Network) -> str:
    return f"({', '.join(map(str, ['N', *_output_axes(network)]))})"


def _ending(network: Network) -> str:
    """What is said beside the outputs, if they are not just what the last part gives."""
    if network.return_sequences or not network.shapes[-1].every:
        return ""
    return "the last step; with return_sequences=True, every step"


def _limits(network: Network) -> Iterator[str]:
    fewest, most = network.step_limits
    if not most and most is not None:
        yield "takes no sequence: its parts do not fit together for any number of steps"
    elif fewest == most:
        yield f"takes sequences of {fewest} steps"
    elif most is not None:
        yield f"takes sequences of {fewest} {'or' if fewest + 1 == most else 'to'} {most} steps"
    elif fewest > 1:
        yield f"takes sequences of at least {fewest} steps"


def _named_counts(network: Network) -> Iterator[str]:
    """Yield what the names are that `counts_of` gives to steps that cannot be said simply."""
    counts = counts_of(network.parts)
    steps = max(100, network.step_limits[0])
    for i, count in enumerate(counts):
        if count == Count(f"T{i}"):
            found = network.steps(np.array([steps])).value(i)
            assert found is not None
            yield f"T{i}: the steps that part {i} gives, {found[0]} for T = {steps}"


# --- weights --------------------------------------------------------------------------------


def _is_unit(part: object) -> TypeGuard[Dense]:
    """Whether a dense layer is nothing but its activation."""
    return (
        isinstance(part, Dense)
        and part.bias is None
        and part.activation not in (LINEAR, SOFTMAX)
        and part.input_size == part.output_size
        and bool((part.weight == np.eye(part.input_size)).all())
    )


def _parameters(value: Any) -> int:
    """Return how many numbers one or several parts of a network hold."""
    if isinstance(value, np.ndarray):
        return value.size
    if isinstance(value, tuple):
        return sum(map(_parameters, value))
    if not isinstance(value, Weights) or _is_unit(value):
        return 0
    return _parameters(tuple(getattr(value, field.name) for field in fields(value)))  # type: ignore[arg-type]


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
