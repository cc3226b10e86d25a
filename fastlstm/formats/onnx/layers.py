"""ONNX' operators that compute with data, as dense layers, activations and the like."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.budget import charge, lent
from fastlstm.formats.onnx.network import Ids, Network
from fastlstm.formats.onnx.ops import Node
from fastlstm.formats.onnx.tensors import widened
from fastlstm.network.activations import Activation
from fastlstm.network.dense import SOFTMAX

__all__ = ["apply_layer", "check_attributes"]

Array = npt.NDArray[Any]

# The activation by ONNX' operator, and the attributes that it takes with their defaults.
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


def apply_layer(network: Network, node: Node) -> Array:
    """The ids of the outputs of a node that computes with data.

    Raises
    ------
    UnsupportedModelError
        If that is no dense layer, activation or the like.
    """
    data = [isinstance(value, Ids) for value in node.values]
    op, attributes = node.op, node.attributes
    x = node.values[0].array if data[0] else None
    if op == "Gather" and data == [False, True]:
        if node.axis("axis", 0, node.values[0].ndim) != 0:
            raise UnsupportedModelError("a table that is not read by rows")
        return network.embedding(widened(node.values[0]), node.values[1].array)
    if op in ("Add", "Mul", "Sub", "Div") and sum(data) == 1:
        check_attributes(attributes, {"broadcast", "consumed_inputs"})
        return _affine(network, node, data)
    if x is None or any(data[1:]):
        raise UnsupportedModelError("computes with several tensors that depend on the input")
    if op == "Cast":
        return _cast(network, node, x)
    if op == "MatMul":
        weight = widened(node.values[1])
        if weight.ndim != 2:
            raise UnsupportedModelError(f"a product with weights of shape {weight.shape}")
        return network.dense(weight.T, x)
    if op == "Gemm":
        return _gemm(network, node, x)
    if op in ("ReduceMax", "ReduceMean"):
        return _over_time(network, node, x)
    if op in _ACTIVATIONS:
        name, defaults = _ACTIVATIONS[op]
        check_attributes(attributes, {*defaults, "consumed_inputs"})
        numbers = [attributes.get(key, default) for key, default in defaults.items()]
        return network.activation(x, Activation(name, *numbers))
    if op == "Gelu":
        check_attributes(attributes, {"approximate"})
        tanh = attributes.get("approximate", "none") != "none"
        return network.activation(x, Activation("gelu_tanh" if tanh else "gelu"))
    if op == "Softmax":
        check_attributes(attributes, {"axis"})
        if node.axis("axis", 1 if node.opset < 13 else -1, x.ndim) != x.ndim - 1:
            raise UnsupportedModelError("a softmax over another axis than the last")
        return network.activation(x, SOFTMAX)
    raise UnsupportedModelError("an operator that this version does not compute")


def _affine(network: Network, node: Node, data: list[bool]) -> Array:
    ids = node.values[data.index(True)].array
    number = node.values[data.index(False)]
    turned = data[1] and node.op in ("Sub", "Div")
    try:
        values = np.broadcast_to(widened(number), ids.shape)
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
        raise UnsupportedModelError("divides by data")
    if node.op in ("Mul", "Div"):
        return ids if (values == 1).all() else network.affine(ids, values, None)
    if turned:
        ids = network.affine(ids, np.full_like(values, -1), None)
    values = -values if node.op == "Sub" and not turned else values
    return network.affine(ids, None, values) if values.any() else ids


def _gemm(network: Network, node: Node, x: Array) -> Array:
    check_attributes(node.attributes, {"alpha", "beta", "transA", "transB", "broadcast"})
    alpha, beta = (node.attributes.get(k, 1.0) for k in ("alpha", "beta"))
    if node.attributes.get("transA", 0) or x.ndim != 2:
        raise UnsupportedModelError("expected a product of rows, transA 0")
    weight = widened(node.values[1])
    weight = weight if node.attributes.get("transB", 0) else weight.T
    with np.errstate(all="ignore"):  # what is not finite is refused by name
        weight = weight * weight.dtype.type(alpha)
    ids = network.dense(weight, x)
    bias = node.values[2] if len(node.values) > 2 else None
    if bias is None or not beta:
        return ids
    bias = np.broadcast_to(widened(bias) * weight.dtype.type(beta), ids.shape)
    return network.affine(ids, None, bias)


def _cast(network: Network, node: Node, x: Array) -> Array:
    to = node.attributes.get("to")
    source = network.located(x)[0]
    if source.layers:
        kinds = {"float32": (1, "FLOAT"), "float64": (11, "DOUBLE")}
        if to not in kinds[str((*source.layers, *source.head)[-1].dtype)]:
            raise UnsupportedModelError(f"casts data to type {to}")
    elif to not in (1, 6, 7, 11, "FLOAT", "INT32", "INT64", "DOUBLE"):
        raise UnsupportedModelError(f"casts the input to type {to}")
    return x


def _over_time(network: Network, node: Node, x: Array) -> Array:
    check_attributes(node.attributes, {"axes", "keepdims", "noop_with_empty_axes"})
    axes = node.ints("axes", 1)
    if axes is None or len(axes) != 1:
        raise UnsupportedModelError(f"reduces the axes {axes or 'all'}, not that of steps")
    read = "max" if node.op == "ReduceMax" else "mean"
    ids = network.over_time(x, axes[0], read)
    return np.expand_dims(ids, axes[0]) if node.attributes.get("keepdims", 1) else ids
