"""One LSTM operator of an ONNX graph by itself; where the tensors of a graph come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.budget import charge
from fastlstm.formats.onnx.flow import Flow
from fastlstm.formats.onnx.graph import Constants, Refused, Walk, name_of
from fastlstm.formats.onnx.operator import INPUTS
from fastlstm.formats.trust import WrongChoice
from fastlstm.messages import Message, Option
from fastlstm.network.layers import Bidirectional, Layer

__all__ = ["Origins", "nodes_of", "one_operator"]

Array = npt.NDArray[Any]

# What keeps a tensor of equal numbers one of equal numbers.
_KEEPING: Final = {
    "Cast",
    "Concat",
    "Expand",
    "Gather",
    "Identity",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
}


def nodes_of(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and of the graphs in it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes_of(attribute.g)


class Origins:
    """Which node gives each tensor of a graph, and of the graphs in it."""

    def __init__(self, graph: Any) -> None:
        self.makers = {name: node for node in nodes_of(graph) for name in node.output if name}
        self.inner: dict[str, list[str]] = {}  # outputs of an If: those of its branches
        for node in nodes_of(graph):
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    for name, inner in zip(node.output, attribute.g.output, strict=False):
                        self.inner.setdefault(name, []).append(inner.name)

    def of(self, name: str) -> set[str]:
        """The tensors that the numbers of one come from, itself included; shapes do not count."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            name = waiting.pop()
            if name in found or not name:
                continue
            found.add(name)
            charge(steps=3)
            node = self.makers.get(name)
            if node is not None and node.op_type not in ("Shape", "Size"):
                # a state and lengths are other inputs than those of the data
                read = node.input[:1] if node.op_type == "LSTM" else node.input
                charge(steps=len(read) / 4)
                waiting += [*read, *self.inner.get(name, ())]
        return found


def one_operator(graph: Any, constants: Constants, opset: int, wanted: str) -> Any:
    """The LSTM node of a name, or that gives an output of that name, as a layer.

    What it reads besides its weights comes with a call: the input, and states and lengths that
    depend on an input of the graph.

    Raises
    ------
    WrongChoice
        If there is no such node, or more than one.
    UnsupportedModelError
        If it is not computed.
    ModelFormatError
        If it contradicts itself.
    """
    lstms = [node for node in nodes_of(graph) if node.op_type == "LSTM"]
    mine = [node for node in lstms if wanted == node.name] or [
        node for node in lstms if wanted and wanted in node.output
    ]
    if len(mine) != 1:
        names = [node.name or next(filter(None, node.output), "") for node in lstms]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        expected = f": expected one LSTM node of that name, got {len(mine)}; candidates: "
        raise WrongChoice(Message(Option("node", wanted), f"{expected}{names[:8]}{more}"))
    (target,) = mine
    there = {tensor.name for tensor in graph.initializer}
    unknown = {value.name for value in graph.input} - there
    given = {
        name: Refused(UnsupportedModelError(f"it depends on the input {name!r}"), 0)
        for name in unknown
    }
    walk = Walk(constants, opset, Flow(), given, True, target)
    walk.run(graph)
    try:
        return _read(walk, target, Origins(graph), unknown)
    except (ModelFormatError, UnsupportedModelError) as error:
        raise type(error)(f"{name_of(target)}: {error}") from None


def _read(walk: Walk, target: Any, origins: Origins, unknown: set[str]) -> Layer | Bidirectional:
    if walk.caught is None or target.domain not in ("", "ai.onnx"):
        raise UnsupportedModelError("it is in a graph that this version does not follow")
    named = {place: name for place, name in zip(INPUTS, target.input, strict=False) if name}
    values = {place: walk.value(walk.caught, name) for place, name in named.items()}
    for place in ("W", "R", "B", "P"):
        if isinstance(value := values.get(place), Refused):
            raise UnsupportedModelError(f"{place} is not a constant: {value.error}")
    if "sequence_lens" in named and not origins.of(named["sequence_lens"]) & unknown:
        raise UnsupportedModelError(
            "sequence_lens is a constant; here lengths are an argument of each call"
        )
    attributes = walk.attributes(target)
    state = {}
    for place in ("initial_h", "initial_c"):
        if place in named and not origins.of(named[place]) & unknown:
            value = values[place]
            if not isinstance(value, np.ndarray):  # its shape depends on an input
                value = _row(walk, named[place], origins, values["R"], attributes)
            state[place] = value
    if state and len(state) < len(named.keys() & {"initial_h", "initial_c"}):
        zeros = not any(value.any() for value in state.values())
        if not zeros:
            raise UnsupportedModelError("one of initial_h and initial_c is a constant, not both")
    return walk.operator(attributes, values, state).layer()


def _row(walk: Walk, name: str, origins: Origins, R: Array, attributes: dict[str, Any]) -> Array:
    """A constant state that is expanded to any batch: its row, as a batch of one."""
    D, H = len(R), R.shape[-1]
    shape = (1, D, H) if attributes.get("layout", 0) else (D, 1, H)
    node = origins.makers.get(name)
    if node is not None and node.op_type == "Expand" and walk.caught is not None:
        expanded = walk.value(walk.caught, node.input[0])
        if isinstance(expanded, np.ndarray) and expanded.shape == shape:
            return expanded
    return np.full(shape, _uniform(walk, name, origins, 64), R.dtype)


def _uniform(walk: Walk, name: str, origins: Origins, depth: int) -> float:
    """The one number that fills a tensor of unknown shape."""
    assert walk.caught is not None
    charge(steps=30)
    value = walk.caught.get(name)
    value = walk.value(walk.caught, name) if value is not None else None
    if isinstance(value, np.ndarray):
        charge(elements=value.size)
        if value.size and (value == value.flat[0]).all():
            return float(value.flat[0])
    elif (node := origins.makers.get(name)) is not None and depth:
        if node.op_type == "ConstantOfShape":
            fill = walk.attributes(node).get("value", np.zeros(1))
            return float(fill.reshape(()))
        if node.op_type in _KEEPING:
            read = node.input if node.op_type == "Concat" else node.input[:1]
            found = {_uniform(walk, part, origins, depth - 1) for part in read}
            if len(found) == 1:
                return found.pop()
    raise UnsupportedModelError(
        f"the value of the constant state {name!r} is not known without running the graph"
    )
