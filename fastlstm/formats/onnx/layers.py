"""ONNX's operators that compute with data, as dense layers, activations and so on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.budget import charge, lent
from fastlstm.formats.floats import widened
from fastlstm.formats.onnx.flow import Flow, Ids
from fastlstm.formats.onnx.ops import Node
from fastlstm.network.activations import Activation
from fastlstm.network.dense import SOFTMAX

__all__ = ["apply_layer", "check_attributes"]

Array = npt.NDArray[Any]

# The activation by ONNX's operator, and the attributes that it takes with their defaults.
_ACTIVATIONS: Final[dict[str, tuple[str, dict[str, float]]]] = {
    "Elu": ("elu", {"alpha": 1.0}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
    "LeakyRelu": ("leaky_relu", {"alpha": 0.01}),
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


def apply_layer(flow: Flow, node: Node) -> Array:
    """The ids of the output of a node that computes with data.

    Raises
    ------
    UnsupportedModelError
        If it is not computed.
    """
    apply = LAYERS.get(node.op)
    if apply is None:
        _only_data(node)
        raise UnsupportedModelError("an operator that this version does not compute")
    return apply(flow, node)


def _only_data(node: Node) -> Array:
    """The ids of the first input, which must be the only one that depends on the graph's input."""
    first, *others = node.values
    if not isinstance(first, Ids) or any(isinstance(value, Ids) for value in others):
        raise UnsupportedModelError("computes with several tensors that depend on the input")
    return first.array


# --- one function for each kind of operator ---------------------------------------------------


def _embedding(flow: Flow, node: Node) -> Array:
    table, ids = node.values
    if isinstance(table, Ids) or not isinstance(ids, Ids):
        raise UnsupportedModelError("computes with several tensors that depend on the input")
    if node.axis("axis", 0, table.ndim) != 0:
        raise UnsupportedModelError("a table that is not read by rows")
    return flow.embedding(widened("the table", table), ids.array)


def _mat_mul(flow: Flow, node: Node) -> Array:
    x, weight = _only_data(node), widened("the weights", node.values[1])
    if weight.ndim != 2:
        raise UnsupportedModelError(f"a product with weights of shape {weight.shape}")
    return flow.dense(weight.T, x)


def _activation(flow: Flow, node: Node) -> Array:
    x, (name, defaults) = _only_data(node), _ACTIVATIONS[node.op]
    check_attributes(node.attributes, {*defaults, "consumed_inputs"})
    numbers = [node.attributes.get(key, default) for key, default in defaults.items()]
    return flow.activation(x, Activation(name, *numbers))


def _gelu(flow: Flow, node: Node) -> Array:
    x = _only_data(node)
    check_attributes(node.attributes, {"approximate"})
    tanh = node.attributes.get("approximate", "none") != "none"
    return flow.activation(x, Activation("gelu_tanh" if tanh else "gelu"))


def _softmax(flow: Flow, node: Node) -> Array:
    x = _only_data(node)
    check_attributes(node.attributes, {"axis"})
    if node.axis("axis", 1 if node.opset < 13 else -1, x.ndim) != x.ndim - 1:
        raise UnsupportedModelError("a softmax over an axis other than the last")
    return flow.activation(x, SOFTMAX)


def _affine(flow: Flow, node: Node) -> Array:
    data = [isinstance(value, Ids) for value in node.values]
    if sum(data) != 1:
        raise UnsupportedModelError("computes with several tensors that depend on the input")
    check_attributes(node.attributes, {"broadcast", "consumed_inputs"})
    ids = node.values[data.index(True)].array
    number = node.values[data.index(False)]
    turned = data[1] and node.op in ("Sub", "Div")
    try:
        values = np.broadcast_to(widened("a constant", number), ids.shape)
    except ValueError:
        raise UnsupportedModelError(
            f"a constant of shape {number.shape} with data of shape {ids.shape}"
        ) from None
    with lent(8 * ids.size):  # each of the arrays below in its turn
        charge(elements=4 * ids.size)
    with np.errstate(all="ignore"):
        if node.op == "Div":
            values = 1 / values
    if turned and node.op == "Div":
        raise UnsupportedModelError("divides by a tensor that depends on the input")
    if node.op in ("Mul", "Div"):
        return ids if (values == 1).all() else flow.affine(ids, values, None)
    if turned:
        ids = flow.affine(ids, np.full_like(values, -1), None)
    values = -values if node.op == "Sub" and not turned else values
    return flow.affine(ids, None, values) if values.any() else ids


def _gemm(flow: Flow, node: Node) -> Array:
    x = _only_data(node)
    check_attributes(node.attributes, {"alpha", "beta", "transA", "transB", "broadcast"})
    alpha, beta = (node.attributes.get(k, 1.0) for k in ("alpha", "beta"))
    if node.attributes.get("transA", 0) or x.ndim != 2:
        raise UnsupportedModelError("expected a product of rows, transA 0")
    weight = widened("the weights", node.values[1])
    weight = weight if node.attributes.get("transB", 0) else weight.T
    with np.errstate(all="ignore"):  # what is not finite is refused by name
        weight = weight * weight.dtype.type(alpha)
    ids = flow.dense(weight, x)
    bias = node.values[2] if len(node.values) > 2 else None
    if bias is None or not beta:
        return ids
    bias = np.broadcast_to(widened("the bias", bias) * weight.dtype.type(beta), ids.shape)
    return flow.affine(ids, None, bias)


def _cast(flow: Flow, node: Node) -> Array:
    x = _only_data(node)
    to = node.attributes.get("to")
    source = flow.located(x)[0]
    if source.layers:
        kinds = {"float32": (1, "FLOAT"), "float64": (11, "DOUBLE")}
        if to not in kinds[str((*source.layers, *source.head)[-1].dtype)]:
            raise UnsupportedModelError(f"casts data to type {to}")
    elif to not in (1, 6, 7, 11, "FLOAT", "INT32", "INT64", "DOUBLE"):
        raise UnsupportedModelError(f"casts the input to type {to}")
    return x


def _over_time(flow: Flow, node: Node) -> Array:
    x = _only_data(node)
    check_attributes(node.attributes, {"axes", "keepdims", "noop_with_empty_axes"})
    axes = node.ints("axes", 1)
    if axes is None or len(axes) != 1:
        raise UnsupportedModelError(f"reduces the axes {axes or 'all'}, not that of steps")
    read = "max" if node.op == "ReduceMax" else "mean"
    ids = flow.over_time(x, axes[0], read)
    return np.expand_dims(ids, axes[0]) if node.attributes.get("keepdims", 1) else ids


# Operator: what gives the ids of its output.
LAYERS: Final[dict[str, Callable[[Flow, Node], Array]]] = {
    **dict.fromkeys(("Add", "Div", "Mul", "Sub"), _affine),
    "Cast": _cast,
    "Gather": _embedding,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "MatMul": _mat_mul,
    **dict.fromkeys(("ReduceMax", "ReduceMean"), _over_time),
    "Softmax": _softmax,
    **dict.fromkeys(_ACTIVATIONS, _activation),
}
