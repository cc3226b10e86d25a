"""Integers of the input: what a graph makes of them before it looks up their vectors.

Keras lets a negative id count from the end of a table, and tf2onnx writes that out with Less, Mul
and Add. Such a function of an id is evaluated for every id of the table.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.budget import charge
from fastlstm.formats.onnx.flow import Flow
from fastlstm.formats.onnx.ops import FOLDED, Node
from fastlstm.formats.onnx.tape import Ids, Value

__all__ = ["integer_function", "is_integer", "table_of"]

Array = npt.NDArray[Any]

_OPS: Final = {
    "Abs",
    "Add",
    "And",
    "Cast",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Min",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Sub",
    "Where",
}
_BOOL: Final = 9  # of ONNX's data types
_INTEGERS: Final = (6, 7)
DEEPEST: Final = 40  # functions of functions
MANY: Final = 1 << 22  # ids that they are evaluated for


class Function:
    """A function of an id: an operator, and its operands, which are functions, constants or None.

    None stands for the id itself.
    """

    def __init__(self, node: Node, operands: list[Any], depth: int) -> None:
        self.node, self.operands, self.depth = node, operands, depth

    def __call__(self, ids: Array, known: dict[int, Array] | None = None) -> Array:
        """The function of all of these ids."""
        known = {} if known is None else known
        if id(self) not in known:
            charge(memory=16 * len(ids), elements=2 * len(ids))
            values = [
                ids if k is None else k(ids, known) if isinstance(k, Function) else k
                for k in self.operands
            ]
            with np.errstate(all="ignore"):
                known[id(self)] = FOLDED[self.node.op][0](self.node, *values)
        return known[id(self)]


def is_integer(value: Value) -> bool:
    """Whether it is a function of the input's integers."""
    return isinstance(value.part, Function)


def integer_function(flow: Flow, node: Node) -> Ids | None:
    """The output of a node that computes with the input's integers; None if it does not."""
    if node.op not in _OPS:
        return None
    tensors = [k for k in node.values if isinstance(k, Ids)]
    if any(k.value is None or not _of_ids(k.value) for k in tensors):
        return None
    functions = any(is_integer(k.value) for k in tensors if k.value is not None)
    to = node.attributes.get("to")
    if node.op == "Cast" and not functions and flow.integers and to != _BOOL:
        return None
    if not flow.integers and not functions and (node.op != "Cast" or to not in _INTEGERS):
        return None
    first = tensors[0]
    operands: list[Any] = []
    depth = 1
    for value in node.values:
        if isinstance(value, Ids):
            assert value.value is not None
            if not np.array_equal(value.array, first.array):
                return None
            function = value.value.part if is_integer(value.value) else None
            operands.append(function)
            depth = max(depth, 1 + (0 if function is None else function.depth))
        elif value is not None and value.size == 1:
            operands.append(value.reshape(()))
        else:
            return None
    if depth > DEEPEST:
        raise UnsupportedModelError(f"a function of the input of more than {DEEPEST} operators")
    assert first.value is not None
    source = first.value.parents[0] if is_integer(first.value) else first.value
    part = Function(node, operands, depth)
    flaw = "a function of the input's integers"
    return Ids(first.array, flow.applied(source, part, flaw=flaw))


def _of_ids(value: Value) -> bool:
    return is_integer(value) or (value.part is None and value.origin is None and value.K == 1)


def table_of(flow: Flow, value: Value, table: Array) -> tuple[Array, Value]:
    """The table by the input's own ids, and the input."""
    if len(table) > MANY:
        raise UnsupportedModelError(f"a function of {len(table)} ids")
    ids = value.part(np.arange(len(table), dtype=np.int64))
    fits = np.broadcast_to((ids >= -len(table)) & (ids < len(table)), (len(table),))
    count = int(np.argmin(fits)) if not fits.all() else len(table)
    if not count or ids.dtype.kind not in "iu":
        raise UnsupportedModelError("a table that is not read by the input's integers")
    places = np.broadcast_to(ids, (len(table),))[:count]
    source = value.parents[0]
    if np.array_equal(places, np.arange(len(table))):
        return table, source
    charge(memory=table.nbytes)
    return np.ascontiguousarray(table[places]), source
