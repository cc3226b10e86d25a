"""A walk through an ONNX graph: constants are folded, ids take the place of the data."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.budget import OverBudget, charge
from fastlstm.formats.onnx.flow import Flow
from fastlstm.formats.onnx.layers import apply_layer, check_attributes, padded_with
from fastlstm.formats.onnx.operator import INPUTS, Operator, read_operator
from fastlstm.formats.onnx.ops import FOLDED, MOVES, Node, moved_concat
from fastlstm.formats.onnx.states import read_lengths, read_starts
from fastlstm.formats.onnx.tape import Ids, PartsBuilt, TooShort
from fastlstm.formats.onnx.tensors import Folder, to_array
from fastlstm.formats.onnx.unsupported import why_not

__all__ = ["Constants", "Refused", "Walk", "name_of"]

Array = npt.NDArray[Any]

# What NumPy and Python raise for a graph that contradicts itself.
_FLAWS: Final = (TypeError, LookupError, AttributeError, ArithmeticError, MemoryError, RuntimeError)


class Refused:
    """Stands for the outputs of a node that is not understood, in case they are needed.

    Parameters
    ----------
    error : ValueError
    place : int
        How far the walk came.
    by_size : bool
        Whether the graph does not run at all for inputs of these sizes.
    """

    def __init__(self, error: ValueError, place: int, by_size: bool = False) -> None:
        self.error, self.place, self.by_size = error, place, by_size


def name_of(node: Any) -> str:
    """Return what a message calls a node."""
    made = next((name for name in node.output if name), "")
    domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}."
    called = repr(node.name) if node.name else f"that gives {made!r}"
    return f"node {called} ({domain}{node.op_type})"


class Constants:
    """The tensors of a model, each read once, and the parts of a network made of them."""

    def __init__(self, folder: Folder, numbers: Mapping[float, float]) -> None:
        self.folder, self.numbers = folder, numbers
        self.read: dict[int, tuple[Any, Array]] = {}  # with the tensor, whose id() is taken
        self.elements = 0  # in the file
        self.parts = PartsBuilt()
        self.taken: dict[int, set[bool]] = {}  # by the id() of an If: the branches that it took

    def __getitem__(self, tensor: Any) -> Array:
        key = id(tensor)
        if key not in self.read:
            self.read[key] = tensor, to_array(tensor, self.folder)
            self.elements += self.read[key][1].size
        return self.read[key][1]


class Walk:
    """One walk through a graph, for inputs of certain sizes.

    Parameters
    ----------
    constants : Constants
    opset : int
    flow : Flow
        Where values are added.
    given : mapping
        The values of the graph's inputs.
    exact : bool
        Whether the sizes are the model's own; else they are examples.
    target : NodeProto, optional
        The LSTM whose inputs are wanted; see `caught`.
    """

    def __init__(
        self,
        constants: Constants,
        opset: int,
        flow: Flow,
        given: dict[str, Any],
        exact: bool,
        target: Any = None,
    ) -> None:
        self.constants, self.opset, self.flow = constants, opset, flow
        self.given, self.exact, self.target = given, exact, target
        self.caught: MutableMapping[str, Any] | None = None
        self.place = 0
        self.counted: set[int] = set()  # ids of the arrays that the budget has paid for

    def run(self, graph: Any, scope: MutableMapping[str, Any] | None = None) -> list[Any]:
        """The values of the graph's outputs."""
        inner = scope is not None
        scope = dict(self.given) if scope is None else scope
        if graph.sparse_initializer:
            raise UnsupportedModelError("sparse initializers are not read")
        charge(steps=5 * len(graph.initializer) + 30 * len(graph.node))
        for tensor in graph.initializer:
            scope[tensor.name] = tensor
        for node in graph.node:
            if not inner:
                self.place += 1
            if self.target is node:
                self.caught = scope
            flaw: ModelFormatError | UnsupportedModelError
            try:
                results = self._node(node, scope)
                self._count(results)
            except OverBudget:
                raise
            except _Cause as cause:
                results = [cause.refused] * len(node.output)
            except TooShort as error:
                flaw = UnsupportedModelError(f"{name_of(node)}: {error}")
                results = [Refused(flaw, self.place, not self.exact)] * len(node.output)
            except _OURS as error:
                flaw = type(error)(f"{name_of(node)}: {error}")
                results = [Refused(flaw, self.place)] * len(node.output)
            except (ValueError, IndexError) as error:
                if self.exact and not isinstance(error, ValueError):
                    flaw = ModelFormatError(f"{name_of(node)}: {error}")
                else:
                    sizes = "" if self.exact else f"it does not run for {self.flow.sizes}: "
                    flaw = UnsupportedModelError(f"{name_of(node)}: {sizes}{error}")
                results = [Refused(flaw, self.place, not self.exact)] * len(node.output)
            except _FLAWS as error:
                flaw = ModelFormatError(f"{name_of(node)}: {error or type(error).__name__}")
                results = [Refused(flaw, self.place)] * len(node.output)
            for name, value in zip(node.output, results, strict=False):
                if name:
                    scope[name] = value
        return [self.value(scope, output.name) for output in graph.output]

    def _count(self, results: list[Any]) -> None:
        """Charge for new tensors: they live as long as the walk. Views cost nothing."""
        for result in results:
            owner = result.array if isinstance(result, Ids) else result
            while isinstance(getattr(owner, "base", None), np.ndarray):
                owner = owner.base
            if isinstance(owner, np.ndarray) and id(owner) not in self.counted:
                self.counted.add(id(owner))
                charge(owner.nbytes)

    def value(self, scope: MutableMapping[str, Any], name: str) -> Any:
        """The value of a name: an array, ids or what was refused."""
        if name not in scope:
            raise ModelFormatError(f"no operator before it gives {name!r}")
        value = scope[name]
        if hasattr(value, "data_type"):  # a tensor that was not needed yet
            value = scope[name] = self.constants[value]
        return value

    def _inputs(self, node: Any, scope: MutableMapping[str, Any]) -> list[Any]:
        charge(steps=len(node.input))
        values = [self.value(scope, name) if name else None for name in node.input]
        for value in values:
            if isinstance(value, Refused):
                raise _Cause(value)
        return values

    def _node(self, node: Any, scope: MutableMapping[str, Any]) -> list[Any]:
        if node.op_type != "If":
            self._inputs(node, scope)  # what is wrong with them comes first
        op = node.op_type
        if op in _INSIDE and (reason := why_not(op)):
            raise UnsupportedModelError(reason)
        attributes = self.attributes(node)
        if reason := why_not(op, attributes):
            raise UnsupportedModelError(reason)
        if node.domain not in ("", "ai.onnx"):
            raise UnsupportedModelError("an operator that is not one of ONNX's own")
        if op == "If":
            return self._branch(node, attributes, scope)
        if op == "LSTM":
            return self._lstm(node, attributes, scope)
        values = self._inputs(node, scope)
        seen = Node(op, attributes, self.opset, values, len(node.output), self.exact)
        if op == "Constant":
            return [_constant(attributes)]
        data = [isinstance(value, Ids) for value in values]
        if op in ("Shape", "Size"):
            x = values[0].array if data[0] else values[0]
            return [_shape(seen, x)]
        if op == "Concat":
            return [self._concat(seen, values, data)]
        if op in MOVES and not any(data[1:]):
            function, known = MOVES[op]
            check_attributes(attributes, known)
            if not data[0]:
                return _as_list(function(seen, values[0]))
            x = values[0]
            return [x.moved(k) for k in _as_list(function(seen, x.array))]
        if any(data):
            return [apply_layer(self.flow, seen)]
        if op not in FOLDED:
            raise UnsupportedModelError("an operator that this version does not compute")
        fold, known = FOLDED[op]
        check_attributes(attributes, known)
        with np.errstate(all="ignore"):
            return [fold(seen, *values)]

    def _concat(self, node: Node, values: list[Any], data: list[bool]) -> Any:
        if not any(data):
            return moved_concat(node, values, self.constants.elements)
        room = 4 * self.flow.largest
        if all(data):
            return self.flow.concatenated(values, lambda k: moved_concat(node, k, room))
        (x,) = [k for k in values if isinstance(k, Ids)] if sum(data) == 1 else [None]
        zeros = [k for k in values if not isinstance(k, Ids)]
        if x is None or any(k.any() or k.ndim != x.array.ndim for k in zeros):
            raise UnsupportedModelError("joins data and constants")
        axis = node.axis("axis", 1 if node.opset < 4 else 0, x.array.ndim)
        before = sum(k.shape[axis] for k in values[: data.index(True)])
        after = sum(k.shape[axis] for k in values[data.index(True) + 1 :])
        for k in zeros:
            if k.shape[:axis] + k.shape[axis + 1 :] != x.shape[:axis] + x.shape[axis + 1 :]:
                raise ValueError(f"joins tensors of shapes {x.shape} and {k.shape}")
        return padded_with(self.flow, x, axis, before, after, "constant", np.zeros(1))

    def attributes(self, node: Any) -> dict[str, Any]:
        """A node's attributes by name."""
        found: dict[str, Any] = {}
        for attribute in node.attribute:
            if attribute.name in found or attribute.ref_attr_name:
                raise ModelFormatError(
                    f"the attribute {attribute.name!r} is given twice, or by reference"
                )
            read = _ATTRIBUTE_KINDS.get(attribute.type)
            if read is None:
                raise UnsupportedModelError(
                    f"its attribute {attribute.name!r} is of a kind that is not read"
                )
            value = read(attribute)
            if isinstance(value, float):
                value = self.constants.numbers.get(value, value)
            found[attribute.name] = self.constants[value] if attribute.type == _TENSOR else value
        return found

    def _branch(
        self, node: Any, attributes: dict[str, Any], scope: MutableMapping[str, Any]
    ) -> list[Any]:
        branches = [attributes["then_branch"], attributes["else_branch"]]
        of_branches: list[list[Any]] = []
        if self.target is not None:  # it may be in either
            of_branches = [self.run(graph, ChainMap({}, scope)) for graph in branches]
        (condition,) = self._inputs(node, scope)
        if not isinstance(condition, np.ndarray) or condition.size != 1:
            raise UnsupportedModelError("a condition that is not a constant")
        taken = not condition.item()
        both = self.constants.taken.setdefault(id(node), set())
        both.add(taken)
        if len(both) > 1:
            raise UnsupportedModelError(
                "what the graph computes depends on the number of sequences or steps"
            )
        return of_branches[taken] if of_branches else self.run(branches[taken], ChainMap({}, scope))

    # The LSTM

    def _lstm(
        self, node: Any, attributes: dict[str, Any], scope: MutableMapping[str, Any]
    ) -> list[Any]:
        values = dict(zip(INPUTS, self._inputs(node, scope), strict=False))
        named = {name: value for name, value in values.items() if value is not None}
        if not isinstance(x := named.get("X"), Ids):
            raise UnsupportedModelError("reads a constant X")
        states = ("initial_h", "initial_c")
        constant = {name: k for name, k in named.items() if isinstance(k, np.ndarray)}
        operator = self.operator(
            attributes, named, {k: constant[k] for k in states if k in constant}
        )
        given = {k: named[k] for k in states if isinstance(named.get(k), Ids)}
        batch, steps = x.array.shape[:2] if operator.batch_first else x.array.shape[1::-1]
        starts = read_starts(self.flow, operator, given, batch)
        for name in constant.keys() & {*states}:
            if constant[name].shape[0 if operator.batch_first else 1] != batch:
                raise ValueError(
                    f"{name}: expected a batch of {batch}, got a constant of shape "
                    f"{constant[name].shape}"
                )
        lengths = read_lengths(self.flow, named.get("sequence_lens"), batch, steps)
        outputs = self.flow.lstm(x, operator, lengths, starts)
        return [outputs[name] for name in ("Y", "Y_h", "Y_c")]

    def operator(
        self, attributes: dict[str, Any], values: dict[str, Any], state: dict[str, Array]
    ) -> Operator:
        """An LSTM operator, of constant weights."""
        weights = {}
        for name in ("W", "R", "B", "P"):
            value = values.get(name)
            if value is None and name in "WR":
                raise ModelFormatError(f"there is no {name}")
            if value is not None and not isinstance(value, np.ndarray):
                raise UnsupportedModelError(f"{name} is not a constant")
            if value is not None:
                weights[name] = value
                charge(8 * value.size, elements=3 * value.size)  # once more, in layers
        return read_operator(attributes, weights, state)


_INSIDE: Final = ("Loop", "Scan")  # they hold graphs, which are not read
_OURS = (ModelFormatError, UnsupportedModelError)
_TENSOR: Final = 4
_ATTRIBUTE_KINDS: Final[dict[int, Callable[[Any], Any]]] = {
    1: lambda a: float(a.f),
    2: lambda a: int(a.i),
    3: lambda a: a.s.decode(),
    _TENSOR: lambda a: a.t,
    5: lambda a: a.g,
    6: lambda a: [float(k) for k in a.floats],
    7: lambda a: [int(k) for k in a.ints],
    8: lambda a: [k.decode() for k in a.strings],
}


class _Cause(Exception):
    """An input of a node was refused, and why."""

    def __init__(self, refused: Refused) -> None:
        self.refused = refused


def _as_list(values: Any) -> list[Any]:
    return list(values) if isinstance(values, tuple) else [values]


def _constant(attributes: dict[str, Any]) -> Array:
    if len(attributes) != 1:
        raise ModelFormatError("expected one value")
    name, value = next(iter(attributes.items()))
    kinds = {"value": None, "value_int": "i8", "value_ints": "i8"}
    kinds |= {"value_float": "f4", "value_floats": "f4"}
    if name not in kinds:
        raise UnsupportedModelError(f"a constant of kind {name}")
    return np.asarray(value, kinds[name])


def _shape(node: Node, x: Array) -> Array:
    if node.op == "Size":
        return np.asarray(x.size, np.int64)
    start, end = (node.attributes.get(k, d) for k, d in (("start", 0), ("end", None)))
    return np.array(x.shape[start:end], np.int64)
