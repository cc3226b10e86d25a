"""A network as an ONNX model of LSTM nodes, for ONNX Runtime and OpenVINO.

ONNX has the gates in the order i o f c. Sequences are time first, ``(T, N, I)``: ONNX Runtime does
not compute the other layout on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm import LSTM, Dense, Embedding, Layer
from fastlstm.network.activations import LINEAR, STANDARD, Activation

Array = npt.NDArray[Any]

OPSET = 17
IR_VERSION = 9  # of ONNX 1.14, which every runtime of the last years reads
ACTIVATIONS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "hard_sigmoid": "HardSigmoid", "relu": "Relu"}


class Graph:
    """The nodes and constants of a model that is being built."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, taken: Sequence[str], given: Sequence[str], **options: Any) -> str:
        """Add a node; return the name of its last output."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(taken), list(given), **options))
        return given[-1]

    def constant(self, name: str, array: Any) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name


def model_bytes(model: LSTM, N: int | str, T: int, state: bool = False) -> bytes:
    """The network as a model of input ``x (T, N, I)``, or ids ``(T, N)``.

    The output is ``y``: the last states of the last layer ``(N, K)``, with the head on them if
    there is one; or, with `model.return_sequences`, that layer's outputs ``(T, N, K)``.

    Parameters
    ----------
    model
    N
        A number fixes the shape; a name leaves it open.
    T
    state
        Add inputs ``h0``, ``c0``, ``h1`` ... ``(1, N, H)`` for each layer, and give ``h0_out``,
        ``c0_out`` ... instead of ``y``.

    Raises
    ------
    NotImplementedError
        ONNX's LSTM lacks something that the network has, or this function does not write it.
    """
    from onnx import TensorProto, helper

    if model.head and (model.return_sequences or state):
        raise NotImplementedError("a head on anything but the last states is not written")

    kind = helper.np_dtype_to_tensor_dtype(model.dtype)

    def value(name: str, *shape: int | str) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    graph, below = Graph(), "x"
    inputs, outputs = [value("x", T, N, model.input_size)], []
    if isinstance(model.layers[0], Embedding):
        inputs = [helper.make_tensor_value_info("x", TensorProto.INT64, (T, N))]
        table = graph.constant("table", model.layers[0].weight)
        below = graph.add("Gather", [table, "x"], ["embedded"])
    top = model.num_layers - 1
    for k, layer in enumerate(model.recurrent):
        before = [f"h{k}", f"c{k}"] if state else []
        after = [f"{name}_out" for name in (f"h{k}", f"c{k}")]
        if state:
            inputs += [value(name, 1, N, layer.hidden_size) for name in before]
            outputs += [value(name, 1, N, layer.hidden_size) for name in after]
        every = k < top or model.return_sequences
        given = [f"Y{k}" if every else "", *(after if state else after[:1])]
        add_lstm(graph, k, layer.cells, below, before, given)
        if every:  # Y is (T, D, N, H)
            name = "y" if k == top else f"x{k + 1}"
            below = side_by_side(graph, name, f"Y{k}", len(layer.cells), (T, N, layer.output_size))
    if not model.return_sequences and not state:
        size = len(layer.cells), (N, layer.output_size)
        states = side_by_side(graph, "states" if model.head else "y", f"h{top}_out", *size)
        add_head(graph, model.head, states)
    if not state:
        steps = (T,) if model.return_sequences else ()
        outputs.append(value("y", *steps, N, model.output_size))
    made = helper.make_graph(graph.nodes, "lstm", inputs, outputs, graph.constants)
    opset = [helper.make_opsetid("", OPSET)]
    whole = helper.make_model(made, opset_imports=opset, ir_version=IR_VERSION)
    return whole.SerializeToString()


def add_lstm(
    graph: Graph,
    k: int,
    cells: Sequence[Layer],
    below: str,
    before: Sequence[str],
    given: Sequence[str],
) -> None:
    """Add layer k with its weights: one cell, or the two of a bidirectional layer."""
    first = cells[0]
    if first.w_hr is not None:
        raise NotImplementedError("ONNX's LSTM has no projection")
    weights = {
        "W": [_iofc(cell.w_ih) for cell in cells],
        "R": [_iofc(cell.w_hh) for cell in cells],
        "B": [np.concatenate([_iofc(cell.b_ih), _iofc(cell.b_hh)]) for cell in cells],
    }
    taken = [below, *(graph.constant(f"{name}{k}", np.stack(of)) for name, of in weights.items())]
    options: dict[str, Any] = {"hidden_size": first.hidden_size}
    if len(cells) == 2:
        options["direction"] = "bidirectional"
    if first.coupled:
        options["input_forget"] = 1
    if first.activations != STANDARD:
        options["activations"] = [_activation(a) for cell in cells for a in cell.activations]
    if before or first.peepholes is not None:
        taken += ["", *(before or ("", ""))]  # no lengths
    if first.peepholes is not None:
        iof = [cell.peepholes[[0, 2, 1]].ravel() for cell in cells]
        taken.append(graph.constant(f"P{k}", np.stack(iof)))
    graph.add("LSTM", taken, given, **options)


def add_head(graph: Graph, head: Sequence[Dense], below: str) -> None:
    """Add the dense layers from a value ``(N, H)`` to ``y (N, K)``."""
    for k, dense in enumerate(head, 1):
        if dense.activation != LINEAR or dense.bias is None:
            raise NotImplementedError("a head with an activation or no bias is not written")
        arrays = {"weight": dense.weight, "bias": dense.bias}
        taken = [below, *(graph.constant(f"head_{name}{k}", a) for name, a in arrays.items())]
        name = "y" if k == len(head) else f"head{k}"
        below = graph.add("Gemm", taken, [name], transB=1)


def side_by_side(
    graph: Graph, name: str, value: str, directions: int, shape: tuple[Any, ...]
) -> str:
    """The directions of a value ``(..., D, N, H)`` side by side: ``(..., N, D * H)``."""
    ahead = len(shape) - 2  # axes before that of the directions
    if directions == 1:
        axis = graph.constant(f"{name}_axis", np.array([ahead]))
        return graph.add("Squeeze", [value, axis], [name])
    order = [*range(ahead), ahead + 1, ahead, ahead + 2]
    moved = graph.add("Transpose", [value], [f"{name}_moved"], perm=order)
    return graph.add("Reshape", [moved, graph.constant(f"{name}_shape", shape)], [name])


def _activation(activation: Activation) -> str:
    """ONNX's name of an activation that has ONNX's own numbers."""
    if str(activation) not in ACTIVATIONS:
        raise NotImplementedError(f"{activation} is not written")
    return ACTIVATIONS[str(activation)]


def _iofc(gates: Array) -> Array:
    """Weights of the gates i f g o in ONNX's order i o f c."""
    i, f, g, o = np.split(gates, 4)
    return np.concatenate([i, o, f, g])
