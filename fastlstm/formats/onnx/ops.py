"""ONNX's operators that move numbers or compute with constants, as functions of NumPy arrays.

Their meaning changes with the version of the operator set: what was an attribute became an input.
`Node.ints` finds it in either place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.budget import charge, lent
from fastlstm.formats.onnx.tape import TooShort

__all__ = ["FOLDED", "MOVES", "Node", "moved_concat"]

Array = npt.NDArray[Any]
NO_END: Final = 10**9  # from here on, a step is what exporters write for the end
# Elements of a tensor that is not in the file but computed from it.
MAX_SIZE: Final = 1 << 22
MAX_INTS: Final = 1 << 16  # sizes, axes, lengths of a batch: what is read as a list
MAX_AXES: Final = 64  # that NumPy has

_DTYPES: Final = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    4: np.uint16,
    5: np.int16,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float16,
    11: np.float64,
    12: np.uint32,
    13: np.uint64,
    16: np.float32,  # bfloat16, which is read as float32: rounded once more than here
}


@dataclass(frozen=True)
class Node:
    """A node, as the operators see it."""

    op: str
    attributes: dict[str, Any]
    opset: int
    values: list[Any]  # of its inputs; None where one is left out
    outputs: int
    exact: bool = True  # whether the sizes of axes are the model's own, not examples

    def ints(self, name: str, place: int = 0) -> list[int] | None:
        """Integers that are an attribute, or the input at a place (0: none)."""
        if name in self.attributes:
            value = self.attributes[name]
            return [int(k) for k in (value if isinstance(value, (list, tuple)) else [value])]
        given = self.values[place] if 0 < place < len(self.values) else None
        if given is None:
            return None
        if not isinstance(given, np.ndarray) or given.dtype.kind not in "iu":
            raise UnsupportedModelError(f"{name} is not a constant of integers")
        if given.size > MAX_INTS:
            raise UnsupportedModelError(f"{name} of {given.size} numbers")
        charge(steps=given.size / 10)
        return [int(k) for k in given.ravel()]

    def axis(self, name: str, default: int, rank: int) -> int:
        """An attribute that names an axis, counted from 0."""
        axis = int(self.attributes.get(name, default))
        if not -rank <= axis < rank:
            raise ModelFormatError(f"{name} {axis} of a tensor of {rank} axes")
        return axis % rank


def limited(shape: Sequence[int], there: int = 0) -> tuple[int, ...]:
    """A shape of a computed tensor, unless it is far larger than what is in the file.

    It is called before each tensor is made: there is memory for it, and its work is counted.
    """
    if len(shape) > MAX_AXES:
        raise ModelFormatError(f"a tensor of {len(shape)} axes")
    if any(k < 0 for k in shape) or math.prod(shape) > max(MAX_SIZE, there):
        raise UnsupportedModelError(f"a computed tensor of shape {tuple(shape)}")
    size = math.prod(shape)
    with lent(8 * size):
        charge(elements=size)
    return tuple(shape)


# What moves numbers


def _transpose(node: Node, x: Array) -> Array:
    return np.asarray(x.transpose(node.ints("perm")))


def _reshape(node: Node, x: Array) -> Array:
    shape = node.ints("shape", 1)
    if shape is None:
        raise ModelFormatError("there is no shape")
    if not node.attributes.get("allowzero", 0):
        shape = [x.shape[i] if k == 0 else k for i, k in enumerate(shape)]
    limited([x.size], x.size)
    return x.reshape(shape)


def _squeeze(node: Node, x: Array) -> Array:
    axes = node.ints("axes", 1)
    return x.squeeze(None if axes is None else tuple(axes))


def _unsqueeze(node: Node, x: Array) -> Array:
    return np.expand_dims(x, tuple(node.ints("axes", 1) or ()))


def _flatten(node: Node, x: Array) -> Array:
    axis = int(node.attributes.get("axis", 1))
    axis += x.ndim * (axis < 0)
    limited([x.size], x.size)
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _slice(node: Node, x: Array) -> Array:
    starts, ends = node.ints("starts", 1), node.ints("ends", 2)
    if starts is None or ends is None:
        raise ModelFormatError("there are no starts or ends")
    axes = node.ints("axes", 3) or list(range(len(starts)))
    steps = node.ints("steps", 4) or [1] * len(starts)
    where = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = x.shape[axis]
        if not node.exact and any(not -size <= k <= size and abs(k) < NO_END for k in (start, end)):
            raise TooShort(
                f"a slice {start} : {end} that shortens only longer sequences or batches"
            )
        backwards = step < 0
        stop = None if end < -size and backwards else end  # NumPy's -1 is the last one
        where[axis] = slice(start, stop, step)
    return x[tuple(where)]


def _gather(node: Node, x: Array) -> Array:
    axis, places = node.axis("axis", 0, x.ndim), node.values[1]
    limited([places.size, *x.shape[:axis], *x.shape[axis + 1 :]], x.size)
    return np.asarray(np.take(x, places, axis=axis))


def _split(node: Node, x: Array) -> tuple[Array, ...]:
    axis = node.axis("axis", 0, x.ndim)
    sizes = node.ints("split", 1)
    parts = node.attributes.get("num_outputs", node.outputs)
    if parts > MAX_INTS:
        raise ModelFormatError(f"splits an axis of {x.shape[axis]} into {parts} parts")
    if sizes is None:
        each = -(-x.shape[axis] // parts)
        sizes = [each] * (parts - 1) + [x.shape[axis] - each * (parts - 1)]
    if sum(sizes) != x.shape[axis] or min(sizes) < 0:
        raise ModelFormatError(f"splits an axis of {x.shape[axis]} into parts of {sizes[:8]}")
    charge(memory=200 * len(sizes), steps=4 * len(sizes))
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis))


def _expand(node: Node, x: Array) -> Array:
    shape = np.broadcast_shapes(x.shape, tuple(node.ints("shape", 1) or ()))
    return np.broadcast_to(x, limited(shape, x.size))


def _tile(node: Node, x: Array) -> Array:
    repeats = node.ints("repeats", 1) or []
    limited([a * b for a, b in zip(x.shape, repeats, strict=True)])
    return np.tile(x, repeats)


def _dropout(node: Node, x: Array) -> Array:
    training = node.values[2] if len(node.values) > 2 else None
    if training is not None and (not isinstance(training, np.ndarray) or training.any()):
        raise UnsupportedModelError("a dropout in training_mode")
    return x


def _reverse_sequence(node: Node, x: Array) -> Array:
    time, batch = node.axis("time_axis", 0, x.ndim), node.axis("batch_axis", 1, x.ndim)
    if node.ints("sequence_lens", 1) != [x.shape[time]] * x.shape[batch]:
        raise UnsupportedModelError(
            "reverses sequences of unequal length; only an LSTM of direction reverse can"
        )
    return np.flip(x, time)


# The operator, the attributes that it may have, and whether only its first input may hold data.
MOVES: Final[dict[str, tuple[Callable[[Node, Array], Any], set[str]]]] = {
    "Dropout": (_dropout, {"ratio", "is_test", "seed"}),
    "Expand": (_expand, set()),
    "Flatten": (_flatten, {"axis"}),
    "Gather": (_gather, {"axis"}),
    "Identity": (lambda node, x: x, set()),
    "ReverseSequence": (_reverse_sequence, {"time_axis", "batch_axis"}),
    "Reshape": (_reshape, {"shape", "allowzero", "consumed_inputs"}),
    "Slice": (_slice, {"starts", "ends", "axes"}),
    "Split": (_split, {"axis", "split", "num_outputs"}),
    "Squeeze": (_squeeze, {"axes"}),
    "Tile": (_tile, set()),
    "Transpose": (_transpose, {"perm"}),
    "Unsqueeze": (_unsqueeze, {"axes"}),
}


def moved_concat(node: Node, parts: Sequence[Array], there: int = 0) -> Array:
    """Concat; `there` elements are in the file."""
    charge(steps=len(parts))
    default = 1 if node.opset < 4 else 0
    axis = node.axis("axis", default, parts[0].ndim)
    limited([sum(part.size for part in parts)], there)
    return np.concatenate(parts, axis)


# What computes with constants


def _constant_of_shape(node: Node, shape: Array) -> Array:
    value = node.attributes.get("value", np.zeros(1, np.float32))
    if shape.size > MAX_AXES:
        raise ModelFormatError(f"a tensor of {shape.size} axes")
    return np.broadcast_to(value.reshape(()), limited([int(k) for k in shape]))


def _range(node: Node, start: Array, limit: Array, delta: Array) -> Array:
    count = max(0, math.ceil((limit.item() - start.item()) / delta.item()))
    limited([count])
    return np.asarray(start + np.arange(count) * delta, start.dtype)


def _cast(node: Node, x: Array) -> Array:
    to = node.attributes.get("to")
    if to not in _DTYPES:
        raise UnsupportedModelError(f"casts to data type {to}")
    limited(x.shape, x.size)
    return x.astype(_DTYPES[to])


def _div(node: Node, a: Array, b: Array) -> Array:
    limited(np.broadcast_shapes(a.shape, b.shape), max(a.size, b.size))
    if a.dtype.kind in "iu":
        return np.asarray(np.trunc(a / b), a.dtype)
    return np.asarray(a / b)


def _reduced(function: Any) -> Callable[..., Array]:
    def reduced(node: Node, x: Array, _: Any = None) -> Array:
        limited([x.size], x.size)
        axes = node.ints("axes", 1)
        if axes is None and node.attributes.get("noop_with_empty_axes", 0):
            return x
        keep = bool(node.attributes.get("keepdims", 1))
        kept = function(x, axis=None if axes is None else tuple(axes), keepdims=keep)
        return np.asarray(kept, x.dtype)

    return reduced


def _elementwise(function: Any) -> Callable[..., Array]:
    def apply(node: Node, *values: Array) -> Array:
        shape = np.broadcast_shapes(*(v.shape for v in values))
        limited(shape, max(v.size for v in values))
        charge(elements=math.prod(shape) * len(values))
        return np.asarray(function(*values))

    return apply


_REDUCES: Final = {"axes", "keepdims", "noop_with_empty_axes"}
_OLD: Final = {"broadcast", "consumed_inputs"}  # of opset < 7: NumPy's rule is what they ask for
FOLDED: Final[dict[str, tuple[Callable[..., Array], set[str]]]] = {
    "Abs": (_elementwise(np.abs), set()),
    "Add": (_elementwise(np.add), _OLD),
    "And": (_elementwise(np.logical_and), set()),
    "Cast": (_cast, {"to", "saturate", "round_mode"}),
    "Ceil": (_elementwise(np.ceil), set()),
    "ConstantOfShape": (_constant_of_shape, {"value"}),
    "Div": (_div, _OLD),
    "Equal": (_elementwise(np.equal), set()),
    "Floor": (_elementwise(np.floor), set()),
    "Greater": (_elementwise(np.greater), set()),
    "GreaterOrEqual": (_elementwise(np.greater_equal), set()),
    "Less": (_elementwise(np.less), set()),
    "LessOrEqual": (_elementwise(np.less_equal), set()),
    "Max": (_elementwise(lambda *v: reduce(np.maximum, v)), set()),
    "Min": (_elementwise(lambda *v: reduce(np.minimum, v)), set()),
    "Mul": (_elementwise(np.multiply), _OLD),
    "Neg": (_elementwise(np.negative), set()),
    "Not": (_elementwise(np.logical_not), set()),
    "Or": (_elementwise(np.logical_or), set()),
    "Range": (_range, set()),
    "ReduceMax": (_reduced(np.max), _REDUCES),
    "ReduceMin": (_reduced(np.min), _REDUCES),
    "ReduceProd": (_reduced(np.prod), _REDUCES),
    "ReduceSum": (_reduced(np.sum), _REDUCES),
    "Sqrt": (_elementwise(np.sqrt), set()),
    "Sub": (_elementwise(np.subtract), _OLD),
    "Where": (_elementwise(np.where), set()),
}
