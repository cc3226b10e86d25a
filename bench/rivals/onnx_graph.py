"""A network as an ONNX model of LSTM nodes, for ONNX Runtime and OpenVINO.

ONNX has its gates in the order i o f c, and its sequences time first, ``(T, N, I)``: ONNX Runtime
does not compute the other layout on a CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm import LSTM

Array = npt.NDArray[Any]

OPSET = 17
IR_VERSION = 9  # of ONNX 1.14: read by every runtime of the last years


def model_bytes(model: LSTM, N: int, T: int, state: bool = False) -> bytes:
    """The network without its head, for input ``x (T, N, I)`` of just this shape.

    The result is ``last (N, H)``. With `state`, it takes ``h0``, ``c0``, ``h1`` ... for each
    layer, ``(1, N, H)``, and returns ``h0_out``, ``c0_out`` ... instead.
    """
    from onnx import helper, numpy_helper

    kind = helper.np_dtype_to_tensor_dtype(model.dtype)

    def value(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    nodes, constants = [], []
    inputs, outputs = [value("x", T, N, model.input_size)], []
    below = "x"
    for k, layer in enumerate(model.layers):
        weights = {
            f"W{k}": _iofc(layer.w_ih)[None],
            f"R{k}": _iofc(layer.w_hh)[None],
            f"B{k}": np.concatenate([_iofc(layer.b_ih), _iofc(layer.b_hh)])[None],
        }
        constants += [numpy_helper.from_array(array, name) for name, array in weights.items()]
        before = [f"h{k}", f"c{k}"] if state else []
        after = [f"{name}_out" for name in (f"h{k}", f"c{k}")]
        if state:
            inputs += [value(name, 1, N, layer.hidden_size) for name in before]
            outputs += [value(name, 1, N, layer.hidden_size) for name in after]
        is_last = k == model.num_layers - 1
        taken = [below, *weights, *(["", *before] if state else [])]  # "": no lengths
        given = ["" if is_last else f"Y{k}", *(after if state else after[:1])]
        nodes.append(helper.make_node("LSTM", taken, given, hidden_size=layer.hidden_size))
        if not is_last:  # Y is (T, 1, N, H)
            below = f"x{k + 1}"
            nodes.append(helper.make_node("Squeeze", [f"Y{k}", "direction"], [below]))
    if model.num_layers > 1:
        constants.append(numpy_helper.from_array(np.array([1]), "direction"))
    if not state:
        constants.append(numpy_helper.from_array(np.array([0]), "first"))
        nodes.append(
            helper.make_node("Squeeze", [f"h{model.num_layers - 1}_out", "first"], ["last"])
        )
        outputs.append(value("last", N, model.hidden_size))
    graph = helper.make_graph(nodes, "lstm", inputs, outputs, constants)
    opset = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
    return made.SerializeToString()


def _iofc(rows: Array) -> Array:
    """Rows of the gates i f g o in ONNX's order i o f c."""
    i, f, g, o = np.split(rows, 4)
    return np.concatenate([i, o, f, g])
