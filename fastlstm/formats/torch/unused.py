"""Weights that no hint names: what they are, and whether a network may leave them out.

A file of weights does not say what is done with them. So everything besides the LSTM and the parts
that the caller names is assumed to belong to the network, unless the caller leaves it out by name
(`ignore`), or asks for the LSTM alone (a `prefix` without a head). In that case what follows the
LSTM is left out, and so is anything that could not stand in front of it unnoticed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastlstm.formats.torch.names import shortened
from fastlstm.formats.trust import Tensors, WrongChoice
from fastlstm.messages import Message, Option, nearest

__all__ = ["Group", "Without", "groups_of", "ignored_names", "in_front"]

_SHAPE = re.compile(r"\(([\d, ]*)\)$")
_CELLS: Final = {4: "an LSTM", 3: "a GRU", 1: "a plain RNN"}


class Without(Mapping[str, Any]):
    """A mapping without some of its names; values are read when they are asked for."""

    def __init__(self, whole: Mapping[str, Any], names: set[str]) -> None:
        self._whole = whole
        self._names = dict.fromkeys(name for name in whole if name not in names)

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return self._whole[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True)
class Group:
    """The weights of one module.

    Parameters
    ----------
    name : str
        The module's.
    kind : str
        ``"dense"``, ``"table"`` (a dense layer without bias, or an embedding), ``"cell"``,
        ``"other"`` for what this version does not compute, ``"unknown"``.
    what : str
        The same in words.
    inputs, outputs : int, optional
        How many numbers go in and come out, if the shapes say so.
    """

    name: str
    kind: str
    what: str
    inputs: int | None = None
    outputs: int | None = None

    def __str__(self) -> str:
        return f"{self.name or 'the module'} ({self.what})"


def groups_of(tensors: Mapping[str, Any], names: Iterable[str]) -> list[Group]:
    """The weights of these names by module, in the order of the file."""
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in _shapes(tensors, names).items():
        module, _, weight = name.rpartition(".")
        if not module and not weight.startswith(("weight_", "bias_")):
            module = name  # a tensor of its own
        found.setdefault(module, {})[weight] = shape
    return [_group(module, shapes) for module, shapes in found.items()]


def _shapes(tensors: Mapping[str, Any], names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    if isinstance(tensors, Without):
        return _shapes(tensors._whole, names)
    if isinstance(tensors, Tensors):  # whose headers tell it
        texts = tensors.shapes(names)
        numbers = {name: re.findall(r"\d+", _shape_text(text)) for name, text in texts.items()}
        return {name: tuple(map(int, shape)) for name, shape in numbers.items()}
    return {name: tuple(int(k) for k in getattr(tensors[name], "shape", ())) for name in names}


def _shape_text(text: str) -> str:
    match = _SHAPE.search(text)
    return match[1] if match else ""


def _group(name: str, shapes: dict[str, tuple[int, ...]]) -> Group:
    first = next(iter(shapes.values()))
    weight = shapes.get("weight", ())
    if any(key.startswith("weight_ih") for key in shapes):
        return _cell(name, shapes)
    if shapes.get("in_proj_weight"):
        size = shapes["in_proj_weight"][-1]
        return Group(name, "other", f"an attention over {size} numbers", size, size)
    if "running_mean" in shapes:
        size = math.prod(shapes["running_mean"])
        return Group(name, "other", f"a batch normalisation of {size} numbers", size, size)
    if len(weight) == 1 and shapes.keys() == {"weight", "bias"}:
        what = f"a normalisation of {weight[0]} numbers, or the like"
        return Group(name, "other", what, weight[0], weight[0])
    if len(weight) == 2 and shapes.keys() <= {"weight", "bias"}:
        outputs, inputs = weight
        if "bias" in shapes:
            return Group(name, "dense", f"a dense layer, {inputs} -> {outputs}", inputs, outputs)
        what = f"a table of {outputs} x {inputs}: an embedding, or a dense layer without bias"
        return Group(name, "table", what, inputs, outputs)
    if len(weight) in (3, 4) and shapes.keys() <= {"weight", "bias"}:
        axes = "" if len(weight) == 3 else "2-D "
        what = f"a {axes}convolution, {weight[1]} -> {weight[0]} channels"
        return Group(name, "other", what, weight[1], weight[0])
    listed = ", ".join(f"{key} {shape}" for key, shape in list(shapes.items())[:3])
    numbers = first[0] if len(shapes) == 1 and len(first) == 1 else None
    return Group(name, "unknown", f"weights of unknown meaning, {listed}", numbers, numbers)


def _cell(name: str, shapes: dict[str, tuple[int, ...]]) -> Group:
    """An LSTM, GRU or RNN: what goes in, and what comes out of its last layer."""
    rows = [(key, shape) for key, shape in shapes.items() if key.startswith("weight_ih")]
    last = [(key, shape) for key, shape in shapes.items() if key.startswith("weight_hh")]
    if not last or len(rows[0][1]) != 2 or len(last[-1][1]) != 2 or not last[-1][1][1]:
        return Group(name, "unknown", "weights of a recurrent layer")
    gates, hidden = last[-1][1]
    directions = 2 if any(key.endswith("_reverse") for key in shapes) else 1
    inputs, outputs = rows[0][1][1], directions * hidden
    what = f"{_CELLS.get(gates // hidden, 'a recurrent layer')}, {inputs} -> {outputs}"
    return Group(name, "cell", what, inputs, outputs)


def fits_in_front(group: Group, width: int) -> bool:
    """Whether weights could be left out unnoticed in front of an LSTM of `width` inputs.

    Then a network without them takes the same inputs, but gives other numbers. A dense layer that
    changes the number of inputs would be noticed, because the sequences would not fit.
    """
    if group.kind == "unknown":
        return group.inputs in (None, 1, width)
    if group.kind in ("dense", "table"):
        return group.inputs == group.outputs == width
    return group.outputs == width


def in_front(groups: Iterable[Group], width: int) -> list[Group]:
    """Return those that may stand in front of an LSTM of this width, alone or in a row."""
    groups = list(groups)
    from_inputs = _reached([(k.inputs, k.outputs) for k in groups], width)
    to_lstm = _reached([(k.outputs, k.inputs) for k in groups], width)
    return [
        group
        for group in groups
        if fits_in_front(group, width) or (group.inputs in from_inputs and group.outputs in to_lstm)
    ]


def _reached(steps: list[tuple[int | None, int | None]], start: int) -> set[int]:
    """All sizes that can be reached from a start, by steps from one size to another."""
    found = {start}
    while more := {b for a, b in steps if a in found and b is not None} - found:
        found |= more
    return found


def ignored_names(
    ignore: Iterable[str], tensors: Mapping[str, Any], modules: Mapping[str, Any]
) -> set[str]:
    """The full names of all tensors and modules that `ignore` names, and of all that is in them.

    Raises
    ------
    WrongChoice
        If the model has nothing of that name.
    """
    ignored: set[str] = set()
    names = [*tensors, *modules]
    for part in ignore:
        root = part.removesuffix(".")
        mine = [name for name in names if f"{name}.".startswith(f"{root}.")]
        if not mine:  # or the only part that ends so
            inside = [f"{name}." for name in names if f".{root}." in f"{name}."]
            roots = {name[: name.index(f".{root}.") + len(root) + 1] for name in inside}
            mine = [name for name in names if len(roots) == 1 and f"{name}." in inside]
        if not root or not mine:
            raise WrongChoice(Message(Option("ignore", part), f": {_no_such(root, names)}"))
        ignored.update(mine)
    return ignored


def _no_such(root: str, names: list[str]) -> str:
    owners = sorted({name.rpartition(".")[0] or name for name in names if name})
    if sum(f".{owner}.".endswith(f".{root}.") for owner in owners) > 1:
        return f"there are several, in {shortened(owners)}"
    meant = nearest(root, owners)
    hint = f"did you mean {meant!r}?" if meant else f"it holds {shortened(owners)}"
    return f"the model holds nothing of that name; {hint}"
