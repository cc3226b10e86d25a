"""ONNX's operators that compute with data, as parts of a network.

To compute one more operator, write a function ``(flow, node) -> Ids`` and put it in `LAYERS` under
the operator's name. ``node.values`` are its inputs: `Ids` if they depend on the graph's input,
arrays if they are constants. `data` gives the only one that depends on it. Ask the flow what the
tensor is (`Flow.rows`, `Flow.sequence`, `Flow.vector`, or `along` for an axis of steps), apply a
part to the value (`Flow.applied`, `Flow.moving`, `Flow.joined`), and return where the numbers of
the node's output are in the new value (`Flow.placed`). Raise `UnsupportedModelError` for what is
not exactly that; the node is named by who calls. Operators that only move numbers are functions of
NumPy arrays in `ops`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.budget import charge
from fastlstm.formats.floats import widened
from fastlstm.formats.onnx import norms
from fastlstm.formats.onnx.flow import Flow
from fastlstm.formats.onnx.integers import integer_function, is_integer, table_of
from fastlstm.formats.onnx.ops import Node, limited
from fastlstm.formats.onnx.parts import (
    activated,
    along,
    elementwise,
    expanded,
    joined,
    product,
    scaled,
)
from fastlstm.formats.onnx.tape import Ids, varies
from fastlstm.network.activations import Activation
from fastlstm.network.dense import SOFTMAX
from fastlstm.network.embedding import Embedding
from fastlstm.network.pointwise import Activate, PReLU, StepSoftmax
from fastlstm.network.pooling import Pool
from fastlstm.network.steps import Pad, Upsample

__all__ = ["apply_layer", "check_attributes", "padded_with"]

Array = npt.NDArray[Any]

# The activation by ONNX's operator, and the attributes that it takes with their defaults.
_ACTIVATIONS: Final[dict[str, tuple[str, dict[str, float]]]] = {
    "Elu": ("elu", {"alpha": 1.0}),
    "Exp": ("exp", {}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
    "HardSwish": ("hard_silu", {}),
    "LeakyRelu": ("leaky_relu", {"alpha": 0.01}),
    "Mish": ("mish", {}),
    "Relu": ("relu", {}),
    "Sigmoid": ("sigmoid", {}),
    "Softplus": ("softplus", {}),
    "Softsign": ("softsign", {}),
    "Tanh": ("tanh", {}),
    "ThresholdedRelu": ("thresholded_relu", {"alpha": 1.0}),
}


def check_attributes(attributes: dict[str, Any], known: Iterable[str]) -> None:
    """Refuse attributes that are not known.

    Raises
    ------
    UnsupportedModelError
        If there is one.
    """
    if unknown := attributes.keys() - set(known):
        raise UnsupportedModelError(f"its attributes {sorted(unknown)} are not known")


def apply_layer(flow: Flow, node: Node) -> Ids:
    """The output of a node that computes with data.

    Raises
    ------
    UnsupportedModelError
        If it is not computed.
    """
    if (found := integer_function(flow, node)) is not None:
        return found
    apply = LAYERS.get(node.op)
    if apply is None:
        data(node)
        raise UnsupportedModelError("an operator that this version does not compute")
    return apply(flow, node)


def data(node: Node) -> Ids:
    """The first input, which must be the only one that depends on the graph's input."""
    first, *others = node.values
    if not isinstance(first, Ids) or any(isinstance(value, Ids) for value in others):
        raise UnsupportedModelError("computes with several tensors that depend on the input")
    return first


def _constant(node: Node, place: int, name: str) -> Array | None:
    value = node.values[place] if place < len(node.values) else None
    if value is not None and not isinstance(value, np.ndarray):
        raise UnsupportedModelError(f"{name} is not a constant")
    return value


def _floats(node: Node, place: int, name: str, shape: tuple[int, ...] | None = None) -> Array:
    value = _constant(node, place, name)
    if value is None:
        raise ModelFormatError(f"there is no {name}")
    value = widened(name, value)
    if shape is not None and value.shape != shape:
        raise ModelFormatError(f"{name}: expected shape {shape}, got {value.shape}")
    return value


# --- products -----------------------------------------------------------------------------------


def _embedding(flow: Flow, node: Node) -> Ids:
    table, ids = node.values[:2]
    if isinstance(table, Ids) or not isinstance(ids, Ids):
        raise UnsupportedModelError("takes steps or numbers by an index that depends on the input")
    if node.axis("axis", 0, table.ndim) != 0 or table.ndim != 2:
        raise UnsupportedModelError("a table that is not read by rows")
    table = widened("the table", table)
    rows = ids.moved(ids.array[..., None]) if ids.value else Ids(ids.array[..., None], None)
    at = flow.located(rows)
    value = at.value
    if is_integer(value):
        table, value = table_of(flow, value, table)
    if value.part is not None or value.origin is not None:
        raise UnsupportedModelError("a table that is not read by the input's integers")
    if value.K != 1:
        raise UnsupportedModelError(f"a table that is read by {value.K} numbers of each step")
    charge(2 * table.nbytes)
    part = flow.parts.get("embedding", (table,), lambda: Embedding(table))
    found = flow.applied(value, part, table.shape[1])
    return flow.placed(found, at.n, at.t, np.arange(table.shape[1]))


def _mat_mul(flow: Flow, node: Node) -> Ids:
    a, b = node.values[:2]
    if isinstance(a, Ids) and isinstance(b, Ids):
        return _product_of_data(flow, a, b)
    if isinstance(a, Ids):
        weight = widened("the weights", b)
        if weight.ndim > 2 and weight.size == math.prod(weight.shape[-2:]):
            weight = weight.reshape(weight.shape[-2:])
        if weight.ndim == 1:
            found = product(flow, a, weight[None])
            return found.moved(found.array[..., 0])
        if weight.ndim != 2:
            raise UnsupportedModelError(f"a product with weights of shape {weight.shape}")
        return product(flow, a, weight.T)
    weight = widened("the weights", a)
    if weight.ndim != 2 or b.array.ndim < 2:
        raise UnsupportedModelError(f"a product with weights of shape {weight.shape}")
    turned = Ids(np.moveaxis(b.array, -2, -1), b.value)
    found = product(flow, turned, weight)
    return found.moved(np.moveaxis(found.array, -1, -2))


def _product_of_data(flow: Flow, a: Ids, b: Ids) -> Ids:
    if a.array.ndim < 2 or b.array.ndim < 2:
        raise UnsupportedModelError("a product of tensors of one axis")
    if a.shape[-1] != b.shape[-2]:
        raise ModelFormatError(f"a product of tensors of shapes {a.shape} and {b.shape}")
    if a.shape[-2] > 1 and b.shape[-1] > 1:
        left, right = flow.located(a), flow.located(b)
        if varies(left.t, left.t.ndim - 2) and varies(right.t, right.t.ndim - 1):
            raise UnsupportedModelError(
                "attention of every step to every step (self-attention): this version computes "
                "attention of one vector to the steps"
            )
    terms = joined(
        flow, "multiply", Ids(a.array[..., None], a.value), Ids(b.array[..., None, :, :], b.value)
    )
    return _reduced(flow, terms, terms.array.ndim - 2, "sum")


def _gemm(flow: Flow, node: Node) -> Ids:
    x = data(node)
    check_attributes(node.attributes, {"alpha", "beta", "transA", "transB", "broadcast"})
    alpha, beta = (node.attributes.get(k, 1.0) for k in ("alpha", "beta"))
    if node.attributes.get("transA", 0) or x.array.ndim != 2:
        raise UnsupportedModelError("expected a product of rows, transA 0")
    weight = widened("the weights", node.values[1])
    weight = weight if node.attributes.get("transB", 0) else weight.T
    with np.errstate(all="ignore"):  # what is not finite is refused by name
        weight = weight * weight.dtype.type(alpha)
    found = product(flow, x, weight)
    bias = node.values[2] if len(node.values) > 2 else None
    if bias is None or not beta:
        return found
    bias = widened("the bias", bias) * weight.dtype.type(beta)
    if np.broadcast_shapes(bias.shape, found.shape) != found.shape:
        raise ModelFormatError(f"a bias of shape {bias.shape} for {found.shape}")
    return scaled(flow, found, shift=bias)


def _einsum(flow: Flow, node: Node) -> Ids:
    text = node.attributes.get("equation", "").replace(" ", "")
    terms, _, gives = text.partition("->")
    operands = terms.split(",")
    if len(operands) != 2 or not gives or "." in text or len(node.values) != 2:
        raise UnsupportedModelError(f"the sum {text!r}")
    places = [isinstance(k, Ids) for k in node.values]
    if sum(places) != 1:
        raise UnsupportedModelError(f"the sum {text!r} of several tensors that depend on the input")
    of_x, of_w = operands if places[0] else operands[::-1]
    x, w = (node.values[places.index(k)] for k in (True, False))
    summed = [k for k in of_x if k in of_w]
    new = [k for k in of_w if k not in of_x]
    kept = [k for k in of_x if k not in of_w]
    if len(summed) != 1 or len(new) != 1 or sorted(gives) != sorted(kept + new):
        raise UnsupportedModelError(f"the sum {text!r}: only products with a matrix are computed")
    w = widened("the weights", w)
    weight = w if of_w == new[0] + summed[0] else w.T
    turned = Ids(np.moveaxis(x.array, of_x.index(summed[0]), -1), x.value)
    found = product(flow, turned, weight)
    names = [*kept, new[0]]
    return found.moved(found.array.transpose([names.index(k) for k in gives]))


# --- activations --------------------------------------------------------------------------------


def _activation(flow: Flow, node: Node) -> Ids:
    x, (name, defaults) = data(node), _ACTIVATIONS[node.op]
    check_attributes(node.attributes, {*defaults, "consumed_inputs"})
    numbers = [node.attributes.get(key, default) for key, default in defaults.items()]
    return activated(flow, x, Activation(name, *numbers))


def _selu(flow: Flow, node: Node) -> Ids:
    x = data(node)
    check_attributes(node.attributes, {"alpha", "gamma", "consumed_inputs"})
    alpha = node.attributes.get("alpha", 1.67326319217681884765625)
    gamma = node.attributes.get("gamma", 1.05070102214813232421875)
    if math.isclose(alpha, 1.6732632, rel_tol=1e-6) and math.isclose(gamma, 1.050701, rel_tol=1e-6):
        return activated(flow, x, Activation("selu"))
    found = activated(flow, x, Activation("elu", alpha))
    return scaled(flow, found, scale=np.asarray(gamma, flow.one(x).value.dtype))


def _celu(flow: Flow, node: Node) -> Ids:
    x = data(node)
    check_attributes(node.attributes, {"alpha"})
    alpha = node.attributes.get("alpha", 1.0)
    if alpha == 1.0:
        return activated(flow, x, Activation("elu"))
    raise UnsupportedModelError(f"Celu with alpha {alpha}; it is computed for 1")


def _gelu(flow: Flow, node: Node) -> Ids:
    x = data(node)
    check_attributes(node.attributes, {"approximate"})
    tanh = node.attributes.get("approximate", "none") != "none"
    return activated(flow, x, Activation("gelu_tanh" if tanh else "gelu"))


def _swish(flow: Flow, node: Node) -> Ids:
    x = data(node)
    check_attributes(node.attributes, {"alpha"})
    if node.attributes.get("alpha", 1.0) != 1.0:
        raise UnsupportedModelError("Swish with an alpha other than 1")
    return activated(flow, x, Activation("silu"))


def _clip(flow: Flow, node: Node) -> Ids:
    x = data(node)
    check_attributes(node.attributes, {"min", "max", "consumed_inputs"})
    limits: list[float | None] = []
    for place, name in ((1, "min"), (2, "max")):
        given = _constant(node, place, name)
        value = node.attributes.get(name) if given is None else float(given.reshape(()))
        unlimited = value is None or abs(value) > 3e38 or math.isinf(value)
        limits.append(None if unlimited else value)
    low, high = limits
    if low is None and high is None:
        return x
    if low == 0 and high is None:
        return activated(flow, x, Activation("relu"))
    if low is None or high is None:
        raise UnsupportedModelError(f"limits only one side, to {low if high is None else high}")
    return activated(flow, x, Activation("clip", low, high))


def _extreme(flow: Flow, node: Node) -> Ids:
    constants = [k for k in node.values if isinstance(k, np.ndarray)]
    tensors = [k for k in node.values if isinstance(k, Ids)]
    if node.op == "Max" and len(tensors) == len(constants) == 1 and not constants[0].any():
        x = expanded(flow, tensors[0], constants[0].shape)
        return activated(flow, x, Activation("relu"))
    raise UnsupportedModelError("only the larger of a tensor and 0 is computed")


def _prelu(flow: Flow, node: Node) -> Ids:
    x = data(node)
    slope = _floats(node, 1, "slope")
    if slope.size == 1:
        return activated(flow, x, Activation("leaky_relu", float(slope.reshape(()))))
    return elementwise(
        flow, x, [slope], ["slope"], lambda s: flow.parts.get("prelu", (s,), lambda: PReLU(s))
    )


def _abs(flow: Flow, node: Node) -> Ids:
    return activated(flow, data(node), Activation("leaky_relu", -1.0))


def _softmax(flow: Flow, node: Node) -> Ids:
    x = data(node)
    check_attributes(node.attributes, {"axis"})
    log = node.op == "LogSoftmax"
    axis = node.axis("axis", 1 if node.opset < 13 else -1, x.array.ndim)
    if node.opset < 13 and axis != x.array.ndim - 1:  # over all axes from this one on
        rows = Ids(x.array.reshape(math.prod(x.shape[:axis]), -1), x.value)
        found = _softmax_over(flow, rows, 1, log)
        return found.moved(found.array.reshape(x.shape))
    return _softmax_over(flow, x, axis, log)


def _softmax_over(flow: Flow, x: Ids, axis: int, log: bool) -> Ids:
    at = flow.located(x)
    if varies(at.t, axis) and not varies(at.k, axis):
        if log:
            raise UnsupportedModelError("a log_softmax over steps")
        value, order, back = along(flow, x, axis)
        found = flow.applied(value, flow.part(StepSoftmax))
        return back(found, order)
    last = Ids(np.moveaxis(at_array(flow, x), axis, -1), flow.one(x).value)
    rows = flow.rows(last)
    part = flow.part(Activate, "log_softmax" if log else SOFTMAX)
    found = flow.applied(rows.value, part)
    placed = flow.placed(found, rows.n, rows.t, rows.order)
    array = np.broadcast_to(placed.array, last.shape)
    return placed.moved(np.moveaxis(array, -1, axis))


def at_array(flow: Flow, x: Ids) -> Array:
    """The places of a tensor in its one value."""
    return flow.one(x).array


# --- sums, products, scalings -------------------------------------------------------------------


def _arithmetic(flow: Flow, node: Node) -> Ids:
    check_attributes(node.attributes, {"broadcast", "consumed_inputs", "axis"})
    op = node.op
    if len(node.values) != 2:
        raise UnsupportedModelError(f"{op} of {len(node.values)} tensors")
    a, b = node.values
    if isinstance(a, Ids) and isinstance(b, Ids):
        return _of_two(flow, op, a, b)
    turned = isinstance(b, Ids)
    x, number = (b, a) if turned else (a, b)
    old = node.attributes.get("axis")
    number = widened("a constant", number)
    if old is not None and number.ndim and node.attributes.get("broadcast"):
        number = number.reshape(number.shape + (1,) * (x.array.ndim - old - number.ndim))
    if (found := norms.with_constant(flow, op, x, number, turned)) is not None:
        return found
    return _with_constant(flow, op, x, number, turned)


def _with_constant(flow: Flow, op: str, x: Ids, number: Array, turned: bool) -> Ids:
    if op == "Div" and turned:
        raise UnsupportedModelError("divides by a tensor that depends on the input")
    with np.errstate(all="ignore"):
        if op == "Div":
            number = 1 / number
    if op in ("Mul", "Div"):
        if number.size and (number == 1).all():
            return expanded(flow, x, number.shape)
        return scaled(flow, x, scale=number)
    if turned and op == "Sub":
        x = scaled(flow, x, scale=np.asarray(-1, number.dtype))
    number = -number if op == "Sub" and not turned else number
    if not number.any():
        return expanded(flow, x, number.shape)
    return scaled(flow, x, shift=number)


def _of_two(flow: Flow, op: str, a: Ids, b: Ids) -> Ids:
    if (found := norms.of_two(flow, op, a, b)) is not None:
        return found
    if op == "Div":
        raise UnsupportedModelError("divides by a tensor that depends on the input")
    if op == "Sub":
        dtype = flow.located(b).value.dtype
        b = scaled(flow, b, scale=np.asarray(-1, dtype))
    return joined(flow, "multiply" if op == "Mul" else "add", a, b)


def _sum(flow: Flow, node: Node) -> Ids:
    found, *others = node.values
    for other in others:
        found = _arithmetic(flow, Node("Add", {}, node.opset, [found, other], 1, node.exact))
    if not isinstance(found, Ids):
        raise UnsupportedModelError("a sum of constants")
    return found


def _neg(flow: Flow, node: Node) -> Ids:
    x = data(node)
    number = np.asarray(-1, flow.located(x).value.dtype)
    found = norms.with_constant(flow, "Mul", x, number, False)
    return scaled(flow, x, scale=number) if found is None else found


def _pow(flow: Flow, node: Node) -> Ids:
    x = data(node)
    exponent = _constant(node, 1, "the exponent")
    power = float("nan") if exponent is None or exponent.size != 1 else float(exponent.reshape(()))
    if power == 1:
        return x
    if power == 2:
        return _of_two(flow, "Mul", x, x)
    return norms.power(flow, x, power)


def _erf(flow: Flow, node: Node) -> Ids:
    return norms.erf(flow, data(node))


def _log(flow: Flow, node: Node) -> Ids:
    x = flow.one(data(node))
    value = x.value
    assert value is not None
    part = value.part
    if isinstance(part, Activate) and not value.flaw:
        below = value.parents[0]
        if part.activation == SOFTMAX:
            return Ids(x.array, flow.applied(below, flow.part(Activate, "log_softmax")))
        if part.activation == Activation("sigmoid"):
            return Ids(x.array, flow.applied(below, flow.part(Activate, Activation("log_sigmoid"))))
    raise UnsupportedModelError("a logarithm of anything but a softmax or a sigmoid")


def _cast(flow: Flow, node: Node) -> Ids:
    x = data(node)
    to = node.attributes.get("to")
    value = flow.located(x).value
    if value.part is not None:
        kinds = {"float32": (1, "FLOAT"), "float64": (11, "DOUBLE")}
        if to not in kinds[str(value.dtype)]:
            raise UnsupportedModelError(f"casts data to type {to}")
    elif to not in (1, 6, 7, 11, "FLOAT", "INT32", "INT64", "DOUBLE"):
        raise UnsupportedModelError(f"casts the input to type {to}")
    return x


# --- over axes ----------------------------------------------------------------------------------


def _reduce(flow: Flow, node: Node) -> Ids:
    x = data(node)
    check_attributes(node.attributes, {"axes", "keepdims", "noop_with_empty_axes"})
    axes = node.ints("axes", 1)
    rank = x.array.ndim
    if axes is None or not axes:
        if node.attributes.get("noop_with_empty_axes", 0):
            return x
        raise UnsupportedModelError("reduces all axes: that of the sequences, too")
    if any(not -rank <= k < rank for k in axes) or len(axes) > rank:
        raise ModelFormatError(f"axes {axes} of a tensor of {rank} axes")
    ordered = sorted((k % rank for k in axes), reverse=True)
    how = {"ReduceMax": "max", "ReduceMean": "mean", "ReduceSum": "sum"}.get(node.op, "sum")
    if node.op == "ReduceSumSquare":
        x = _of_two(flow, "Mul", x, x)
    if len([k for k in ordered if x.shape[k] > 1]) > 1 and node.op != "ReduceSumSquare":
        raise UnsupportedModelError(f"reduces the axes {axes}, not that of steps or numbers alone")
    found = x
    for axis in ordered:
        found = _reduced(flow, found, axis, how)
    if node.attributes.get("keepdims", 1):
        found = found.moved(np.expand_dims(found.array, tuple(ordered)))
    return found


def _reduced(flow: Flow, x: Ids, axis: int, how: str) -> Ids:
    if x.shape[axis] == 1:
        return Ids(x.array.take(0, axis), x.value)
    at = flow.located(x)
    if varies(at.n, axis):
        raise UnsupportedModelError("reduces an axis other than that of all steps or of numbers")
    if varies(at.t, axis) and not varies(at.k, axis):
        return _over_steps(flow, x, axis, how)
    if varies(at.t, axis) or not varies(at.k, axis):
        raise UnsupportedModelError("reduces an axis other than that of all steps or of numbers")
    if how == "max":
        raise UnsupportedModelError("a maximum over the numbers of a step")
    last = Ids(np.moveaxis(at_array(flow, x), axis, -1), at.value)
    if (dot := norms.dot(flow, last, how)) is not None:
        return dot
    K = x.shape[axis]
    weight = np.full((1, K), 1 / K if how == "mean" else 1, at.value.dtype)
    found = product(flow, last, weight)
    return found.moved(found.array[..., 0])


def _over_steps(flow: Flow, x: Ids, axis: int, how: str) -> Ids:
    at = flow.located(x)
    value = at.value
    others = [k for k in range(x.array.ndim) if k != axis]
    if varies(at.t, *others):
        raise UnsupportedModelError("reduces an axis other than that of all steps")
    if value.lengths is not None:
        raise UnsupportedModelError(f"a {how} over all steps, with sequence_lens")
    line = at.t[tuple(slice(None) if k == axis else 0 for k in range(x.array.ndim))]
    steps = np.sort(np.broadcast_to(line, (x.shape[axis],)))
    if (np.diff(steps) == 0).any():
        raise UnsupportedModelError("reduces an axis other than that of all steps")
    found = flow.reading(flow.steps(value, steps), how)
    first = [_first(k, axis) for k in (at.n, at.k)]
    placed = flow.placed(found, first[0], 0, first[1])
    return placed.moved(np.broadcast_to(placed.array, [x.shape[k] for k in others]))


def _first(places: Array, axis: int) -> Array:
    return np.asarray(places.take(0, axis))


def _global_pool(flow: Flow, node: Node) -> Ids:
    x = data(node)
    check_attributes(node.attributes, set())
    how = "max" if node.op == "GlobalMaxPool" else "mean"
    axes = range(2, x.array.ndim)
    if len([k for k in axes if x.shape[k] > 1]) > 1:
        raise UnsupportedModelError("pools over two axes")
    found = x
    for axis in reversed(axes):
        found = _reduced(flow, found, axis, how)
    return found.moved(np.expand_dims(found.array, tuple(axes)))


# --- windows of steps ---------------------------------------------------------------------------


def _line_of(x: Ids, node: Node, kernel: list[int], name: str) -> tuple[Ids, int]:
    """A tensor (N, C, L), of (N, C, L), (N, C, 1, L) or (N, C, L, 1), and which axis is L."""
    if x.array.ndim < 3 or len(kernel) != x.array.ndim - 2:
        raise ModelFormatError(f"kernel_shape {kernel} for a tensor of {x.array.ndim} axes")
    wide = [i for i, size in enumerate(x.shape[2:]) if size > 1]
    along = [i for i, size in enumerate(kernel) if size > 1]
    found = sorted({*wide, *along})
    if len(found) > 1:
        raise UnsupportedModelError(f"a {len(kernel)}-D {name}: this version computes 1-D ones")
    axis = found[0] if found else 0
    rest = tuple(2 + i for i in range(len(kernel)) if i != axis)
    return Ids(x.array.squeeze(rest), x.value), axis


def _window(node: Node, axes: int, axis: int, size: int) -> tuple[int, int, Any]:
    """Stride, dilation and padding of a window, along an axis of several."""
    strides = node.ints("strides") or [1] * axes
    dilations = node.ints("dilations") or [1] * axes
    pads = node.ints("pads") or [0] * (2 * axes)
    if len(strides) != axes or len(dilations) != axes or len(pads) != 2 * axes:
        raise ModelFormatError("strides, dilations or pads of another number of axes")
    for i in range(axes):
        if i != axis and (pads[i] or pads[axes + i]):
            raise UnsupportedModelError("pads an axis other than that of steps")
    stride, dilation = strides[axis], dilations[axis]
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto == "VALID":
        return stride, dilation, "valid"
    if auto == "SAME_UPPER":
        return stride, dilation, "same"
    if auto == "SAME_LOWER":
        total = (size - 1) * dilation
        if stride != 1:
            raise UnsupportedModelError("auto_pad SAME_LOWER with strides above 1")
        return stride, dilation, (total - total // 2, total // 2)
    if auto not in ("NOTSET", ""):
        raise UnsupportedModelError(f"auto_pad {auto!r}")
    before, after = pads[axis], pads[axes + axis]
    if before < 0 or after < 0:
        raise UnsupportedModelError(f"pads of {before} and {after} steps")
    return stride, dilation, (before, after) if before or after else "valid"


def _conv(flow: Flow, node: Node) -> Ids:
    known = {"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"}
    check_attributes(node.attributes, known)
    x = node.values[0]
    if not isinstance(x, Ids):
        raise UnsupportedModelError("a convolution of constants")
    weight = _floats(node, 1, "the weights")
    kernel = node.ints("kernel_shape") or list(weight.shape[2:])
    if list(weight.shape[2:]) != kernel or weight.ndim != x.array.ndim:
        raise ModelFormatError(f"weights of shape {weight.shape} for kernel_shape {kernel}")
    groups = int(node.attributes.get("group", 1))
    line, axis = _line_of(x, node, kernel, "convolution")
    weight = weight.reshape(*weight.shape[:2], kernel[axis])
    stride, dilation, padding = _window(node, len(kernel), axis, kernel[axis])
    value, order, back = along(flow, line, 2)
    K = value.K
    if groups < 1 or weight.shape[1] * groups != K or len(weight) % groups:
        raise ModelFormatError(f"{K} channels in {groups} groups, weights of {weight.shape}")
    charge(memory=4 * weight.nbytes)
    taps = weight.transpose(0, 2, 1)  # (O, taps, I / groups)
    if not np.array_equal(order, np.arange(K)):
        if groups == 1:
            taps = taps[:, :, np.argsort(order)]
        else:
            value = flow.selected(value, order)
    taps = np.ascontiguousarray(taps)
    windows = (stride, dilation, groups, padding)
    part = flow.product(taps, windows)
    found = flow.windowed(value, part)
    placed = back(found, np.arange(len(weight)))
    placed = placed.moved(np.expand_dims(placed.array, _others(len(kernel), axis)))
    bias = _constant(node, 2, "the bias")
    if bias is None:
        return placed
    bias = widened("the bias", bias)
    if bias.shape != weight.shape[:1]:
        raise ModelFormatError(f"a bias of shape {bias.shape} for {len(weight)} outputs")
    return scaled(flow, placed, shift=bias.reshape(-1, *(1,) * len(kernel)))


def _others(axes: int, axis: int) -> tuple[int, ...]:
    return tuple(2 + i for i in range(axes) if i != axis)


def _pool(flow: Flow, node: Node) -> Ids:
    known = {"auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads"}
    check_attributes(node.attributes, known | {"storage_order", "strides"})
    x = data(node)
    kernel = node.ints("kernel_shape")
    if kernel is None:
        raise ModelFormatError("there is no kernel_shape")
    line, axis = _line_of(x, node, kernel, "pooling")
    stride, dilation, padding = _window(node, len(kernel), axis, kernel[axis])
    strides = node.ints("strides") or [1] * len(kernel)
    if any(k != 1 and x.shape[2 + i] > 1 for i, k in enumerate(strides) if i != axis):
        raise UnsupportedModelError("strides along an axis other than that of steps")
    how = "max" if node.op == "MaxPool" else "mean"
    value, order, back = along(flow, line, 2)
    counts = bool(node.attributes.get("count_include_pad", 0)) and how == "mean"
    ceil = bool(node.attributes.get("ceil_mode", 0))
    try:
        part = flow.part(
            Pool,
            how,
            kernel[axis],
            stride,
            dilation=dilation,
            padding=padding,
            ceil=ceil,
            counts_padding=counts,
        )
    except ValueError as error:
        raise UnsupportedModelError(str(error)) from None
    placed = back(flow.moving(value, part), order)
    return placed.moved(np.expand_dims(placed.array, _others(len(kernel), axis)))


def _pad(flow: Flow, node: Node) -> Ids:
    check_attributes(node.attributes, {"mode", "pads", "paddings", "value"})
    x = node.values[0]
    if not isinstance(x, Ids):
        raise UnsupportedModelError("pads a constant by data")
    pads = node.ints("pads", 1) or node.ints("paddings")
    rank = x.array.ndim
    axes = node.ints("axes", 3) or list(range(rank))
    if pads is None or len(pads) != 2 * len(axes):
        raise ModelFormatError(f"pads {pads} for {len(axes)} axes")
    mode = node.attributes.get("mode", "constant")
    fill = _constant(node, 2, "the value")
    fill = node.attributes.get("value", 0.0) if fill is None or not fill.size else fill
    found = x
    for i, axis in enumerate(axes):
        before, after = pads[i], pads[len(axes) + i]
        if not -rank <= axis < rank:
            raise ModelFormatError(f"axis {axis} of a tensor of {rank} axes")
        axis %= rank
        if before < 0 or after < 0:
            size = found.shape[axis]
            cut = slice(max(0, -before), size - max(0, -after))
            where = [slice(None)] * rank
            where[axis] = cut
            found = Ids(found.array[tuple(where)], found.value)
            before, after = max(0, before), max(0, after)
        if before or after:
            found = padded_with(flow, found, axis, before, after, mode, np.asarray(fill))
    return found


def padded_with(
    flow: Flow, x: Ids, axis: int, before: int, after: int, mode: str, fill: Array
) -> Ids:
    """A tensor with more steps in front and behind."""
    modes = {"constant": "zeros", "edge": "edge", "reflect": "reflect"}
    if mode not in modes:
        raise UnsupportedModelError(f"pads in the mode {mode!r}")
    if mode == "constant" and fill.any():
        raise UnsupportedModelError("pads with a number other than 0")
    shape = list(x.shape)
    shape[axis] += before + after
    limited(shape, 4 * flow.largest)
    value, order, back = along(flow, x, axis)
    return back(flow.moving(value, flow.part(Pad, before, after, modes[mode])), order)


def _resize(flow: Flow, node: Node) -> Ids:
    x = node.values[0]
    if not isinstance(x, Ids):
        raise UnsupportedModelError("resizes a constant by data")
    mode = node.attributes.get("mode", "nearest")
    if mode != "nearest":
        raise UnsupportedModelError(f"resizes in the mode {mode!r}; nearest is computed")
    place = 1 if node.op == "Upsample" or node.opset < 11 else 2
    scales, sizes = _constant(node, place, "scales"), _constant(node, 3, "sizes")
    if "scales" in node.attributes:
        scales = np.asarray(node.attributes["scales"])
    if scales is None or not scales.size:
        if sizes is None or sizes.size != x.array.ndim:
            raise UnsupportedModelError("resizes without scales or sizes of all axes")
        scales = sizes / np.array(x.shape)
    axes = node.ints("axes") or list(range(x.array.ndim))
    if len(axes) != scales.size:
        raise ModelFormatError(f"{scales.size} scales for {len(axes)} axes")
    coordinates = node.attributes.get("coordinate_transformation_mode", "half_pixel")
    rounding = node.attributes.get("nearest_mode", "round_prefer_floor")
    found = x
    for axis, factor in zip(axes, scales.tolist(), strict=True):
        if factor == 1:
            continue
        plain = coordinates == "asymmetric" and rounding == "floor"
        plain = plain or coordinates in ("half_pixel", "half_pixel_symmetric")
        if factor != int(factor) or factor < 1 or (not plain and node.op != "Upsample"):
            raise UnsupportedModelError(
                f"resizes by {factor:g} ({coordinates}, {rounding}); whole numbers are computed"
            )
        limited([found.array.size * int(factor)], 4 * flow.largest)
        value, order, back = along(flow, found, axis)
        found = back(flow.moving(value, flow.part(Upsample, int(factor))), order)
    return found


# --- normalisation ------------------------------------------------------------------------------


def _batch_norm(flow: Flow, node: Node) -> Ids:
    known = {"epsilon", "momentum", "training_mode", "spatial", "is_test", "consumed_inputs"}
    check_attributes(node.attributes, known)
    if node.attributes.get("training_mode", 0) or (node.outputs > 1 and node.opset >= 14):
        raise UnsupportedModelError("a batch normalisation in training_mode")
    epsilon = node.attributes.get("epsilon", 1e-5)
    if any(isinstance(k, Ids) for k in node.values[1:]):
        return norms.batch_norm_of_rows(flow, node.values, epsilon)
    x = data(node)
    if x.array.ndim < 2:
        raise ModelFormatError("a batch normalisation of a tensor of one axis")
    shape = (x.shape[1],)
    gamma, beta, mean, variance = (
        _floats(node, i + 1, name, shape)
        for i, name in enumerate(("the scale", "the bias", "the mean", "the variance"))
    )
    with np.errstate(all="ignore"):
        scale = (gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)).astype(
            gamma.dtype
        )
    turned = [k.reshape(-1, *(1,) * (x.array.ndim - 2)) for k in (mean, scale, beta)]
    return scaled(flow, x, *turned)


def _layer_norm(flow: Flow, node: Node) -> Ids:
    rms = node.op != "LayerNormalization"
    check_attributes(node.attributes, {"axis", "epsilon", "stash_type"})
    x = data(node)
    rank = x.array.ndim
    axis = node.axis("axis", -1, rank)
    if math.prod(x.shape[axis:]) != x.shape[-1]:
        raise UnsupportedModelError("a normalisation over more than the numbers of a step")
    K = x.shape[-1]
    scale = np.ravel(_floats(node, 1, "the scale"))
    shift = _constant(node, 2, "the bias")
    shift = np.zeros(K, scale.dtype) if shift is None else np.ravel(widened("the bias", shift))
    if scale.shape != (K,) or shift.shape != (K,):
        raise UnsupportedModelError(f"a scale of shape {scale.shape} for {K} numbers")
    epsilon = node.attributes.get("epsilon", 1e-5)
    return norms.layer_norm(flow, x, scale, shift, epsilon, not rms)


def _instance_norm(flow: Flow, node: Node) -> Ids:
    raise UnsupportedModelError(
        "an instance normalisation, over the steps of each sequence: this version computes batch "
        "and layer normalisation"
    )


# Operator: what gives its output.
LAYERS: Final[dict[str, Callable[[Flow, Node], Ids]]] = {
    **dict.fromkeys(("Add", "Div", "Mul", "Sub"), _arithmetic),
    **dict.fromkeys(("AveragePool", "MaxPool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _global_pool),
    **dict.fromkeys(
        ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"), _layer_norm
    ),
    **dict.fromkeys(("LogSoftmax", "Softmax"), _softmax),
    **dict.fromkeys(("Max", "Min"), _extreme),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceSum", "ReduceSumSquare"), _reduce),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    **dict.fromkeys(_ACTIVATIONS, _activation),
    "Abs": _abs,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Celu": _celu,
    "Clip": _clip,
    "Conv": _conv,
    "Einsum": _einsum,
    "Erf": _erf,
    "Gather": _embedding,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "InstanceNormalization": _instance_norm,
    "Log": _log,
    "MatMul": _mat_mul,
    "Neg": _neg,
    "PRelu": _prelu,
    "Pad": _pad,
    "Pow": _pow,
    "Reciprocal": lambda flow, node: norms.power(flow, data(node), -1.0),
    "Selu": _selu,
    "Sqrt": lambda flow, node: norms.power(flow, data(node), 0.5),
    "Sum": _sum,
    "Swish": _swish,
}
