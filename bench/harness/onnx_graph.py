"""A network as an ONNX model, for ONNX Runtime and OpenVINO.

`WRITERS` has a function for each kind of part. ONNX's operators want their values in unequal
layouts, so a value carries its own, and is transposed where the next operator wants another.
ONNX has the gates in the order i o f c. LSTM nodes are time first: ONNX Runtime does not compute
the other layout on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.harness.parts import (
    LINEAR,
    STANDARD,
    Activate,
    Activation,
    Bidirectional,
    Conv,
    Dense,
    Embedding,
    Join,
    Layer,
    LayerNorm,
    Pool,
    Read,
    Repeat,
    StepSoftmax,
    called,
    reads_final,
)
from bench.harness.ways import STEPS_FIRST, STEPS_LAST, VECTOR, laid_out
from fastlstm import LSTM

Array = npt.NDArray[Any]

OPSET = 17
IR_VERSION = 9  # of ONNX 1.14, which every runtime of the last years reads
ACTIVATIONS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "hard_sigmoid": "HardSigmoid", "relu": "Relu"}


class Value(NamedTuple):
    """The name of a value, and the order of its axes: sequences N, steps T, numbers K."""

    name: str
    layout: str


class Graph:
    """The nodes and constants of a model that is being built, and the values of its parts."""

    def __init__(self, parts: Sequence[Any], T: int, state: bool = False) -> None:
        self.parts, self.T, self.state = parts, T, state
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.values: list[Value] = []
        self.steps: list[int | None] = []  # of the parts' values

    def add(
        self, kind: str, taken: Sequence[str], given: Sequence[str] | None = None, **options: Any
    ) -> str:
        """Add a node; return the name of its last output."""
        from onnx import helper

        given = [f"{kind.lower()}_{len(self.nodes)}"] if given is None else given
        self.nodes.append(helper.make_node(kind, list(taken), list(given), **options))
        return given[-1]

    def rename(self, last: str, name: str) -> None:
        """Give the last output of the last node another name."""
        assert self.nodes[-1].output[-1] == last
        self.nodes[-1].output[-1] = name

    def constant(self, array: Any) -> str:
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def in_layout(self, value: Value, layout: str) -> str:
        """The name of a value in another layout."""
        if value.layout == layout or value.layout == VECTOR:
            return value.name
        order = [value.layout.index(axis) for axis in layout]
        return self.add("Transpose", [value.name], perm=order)


def model_bytes(model: LSTM, N: int | str, T: int, state: bool = False) -> bytes:
    """The network as a model of input ``x``, laid out as `input_layout` says, or ids ``(T, N)``.

    The output is ``y``: what `predict` returns, ``(N, K)``; or, with `model.return_sequences`, the
    outputs of every step ``(T, N, K)``.

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
        ONNX's operators lack something that the network has, or this module does not write it.
    """
    from onnx import TensorProto, helper

    if state and any(not isinstance(part, Layer | Read) for part in model.network.parts):
        raise NotImplementedError("states are written for nothing but layers of one direction")
    parts = called(model)
    steps = model.network.steps(np.array([T])).of_values
    graph = Graph(parts, T, state)
    kind = helper.np_dtype_to_tensor_dtype(model.dtype)
    layout = input_layout(model)
    sizes = {"N": N, "T": T, "K": model.input_size}
    inputs = [helper.make_tensor_value_info("x", kind, [sizes[axis] for axis in layout])]
    if isinstance(parts[0], Embedding):
        inputs = [helper.make_tensor_value_info("x", TensorProto.INT64, (T, N))]
    below = Value("x", layout)
    for i, part in enumerate(parts):
        graph.steps.append(int(steps[i][0]) if i < len(steps) and steps[i] is not None else None)
        below = writer(part)(graph, i, part, below)
        graph.values.append(below)
    if state:
        between = [(f"h{k}", f"c{k}") for k in range(model.num_layers)]
        shapes = [(1, N, layer.hidden_size) for layer in model.recurrent for _ in "hc"]
        names = [name for pair in between for name in pair]
        pairs = list(zip(names, shapes, strict=True))
        inputs += [helper.make_tensor_value_info(name, kind, shape) for name, shape in pairs]
        outputs = [helper.make_tensor_value_info(f"{name}_out", kind, s) for name, s in pairs]
    else:
        graph.rename(graph.in_layout(below, STEPS_FIRST), "y")
        every = (graph.steps[-1],) if below.layout != VECTOR else ()
        outputs = [helper.make_tensor_value_info("y", kind, (*every, N, model.output_size))]
    made = helper.make_graph(graph.nodes, "lstm", inputs, outputs, graph.constants)
    opset = [helper.make_opsetid("", OPSET)]
    whole = helper.make_model(made, opset_imports=opset, ir_version=IR_VERSION)
    return whole.SerializeToString()


def input_layout(model: LSTM) -> str:
    """The layout that the first part wants: laid out before the timing, it costs nothing."""
    return STEPS_LAST if isinstance(model.network.parts[0], Conv | Pool) else STEPS_FIRST


def model_input(model: LSTM, x: Array) -> Array:
    """The input ``(N, T, I)``, or ids ``(N, T)``, as a fresh array in the model's layout."""
    return laid_out(x, input_layout(model))


# --- a function for each kind of part ----------------------------------------------------------


def write_embedding(graph: Graph, i: int, part: Embedding, below: Value) -> Value:
    return Value(graph.add("Gather", [graph.constant(part.weight), below.name]), STEPS_FIRST)


def write_recurrent(graph: Graph, i: int, part: Any, below: Value) -> Value:
    """Add a recurrent layer: one cell, or the two of a bidirectional layer.

    The value is the outputs of every step, or the last states if nothing else is wanted.
    """
    if getattr(part, "merge", "concat") != "concat" or part.cells[0].direction != "forward":
        raise NotImplementedError("only forward layers and concatenated directions are written")
    k = sum(isinstance(other, Layer | Bidirectional) for other in graph.parts[:i])
    before = [f"h{k}", f"c{k}"] if graph.state else []
    final = reads_final(graph.parts, i)
    given = ["" if final else f"Y{k}", f"h{k}_out", *([f"c{k}_out"] if graph.state else [])]
    add_lstm(graph, part.cells, graph.in_layout(below, STEPS_FIRST), before, given)
    layout = VECTOR if final else STEPS_FIRST
    return Value(
        side_by_side(graph, given[1] if final else given[0], len(part.cells), layout), layout
    )


def add_lstm(
    graph: Graph,
    cells: Sequence[Layer],
    below: str,
    before: Sequence[str],
    given: Sequence[str],
) -> None:
    """Add an LSTM node with the weights of one cell, or of the two of a bidirectional layer."""
    first = cells[0]
    if first.w_hr is not None:
        raise NotImplementedError("ONNX's LSTM has no projection")
    weights = [
        [_iofc(cell.w_ih) for cell in cells],
        [_iofc(cell.w_hh) for cell in cells],
        [np.concatenate([_iofc(cell.b_ih), _iofc(cell.b_hh)]) for cell in cells],
    ]
    taken = [below, *(graph.constant(np.stack(of)) for of in weights)]
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
        taken.append(graph.constant(np.stack(iof)))
    graph.add("LSTM", taken, given, **options)


def write_conv(graph: Graph, i: int, part: Conv, below: Value) -> Value:
    weight = np.ascontiguousarray(part.weight.transpose(0, 2, 1))  # (O, I / groups, taps)
    taken = [graph.in_layout(below, STEPS_LAST), graph.constant(weight)]
    taken += [] if part.bias is None else [graph.constant(part.bias)]
    window = options_of(graph, i, part) | {"dilations": [part.dilation], "group": part.groups}
    name = graph.add("Conv", taken, **window)
    return Value(activate(graph, part.activation, name), STEPS_LAST)


def write_pool(graph: Graph, i: int, part: Pool, below: Value) -> Value:
    options = options_of(graph, i, part) | {"ceil_mode": int(part.ceil)}
    if part.how == "max":
        kind, options["dilations"] = "MaxPool", [part.dilation]
    else:
        kind, options["count_include_pad"] = "AveragePool", int(part.counts_padding)
        if part.dilation != 1:
            raise NotImplementedError("a mean of steps that lie apart is not written")
    return Value(graph.add(kind, [graph.in_layout(below, STEPS_LAST)], **options), STEPS_LAST)


def options_of(graph: Graph, i: int, part: Any) -> dict[str, Any]:
    """What `Conv` and the pools call the same."""
    window = part.window
    if part.padding == "valid" or isinstance(part.padding, tuple):
        pads = [0, 0] if part.padding == "valid" else list(part.padding)
    else:
        steps = graph.steps[i - 1] if i else graph.T
        pads = [int(k[0]) for k in window.padded(np.array([steps]))]
    return {"kernel_shape": [window.size], "strides": [window.stride], "pads": pads}


def write_dense(graph: Graph, i: int, part: Dense, below: Value) -> Value:
    bias = [] if part.bias is None else [graph.constant(part.bias)]
    if below.layout == VECTOR:
        taken = [below.name, graph.constant(part.weight), *bias]
        name = graph.add("Gemm", taken, transB=1)
        return Value(activate(graph, part.activation, name), VECTOR)
    weight = graph.constant(np.ascontiguousarray(part.weight.T))
    name = graph.add("MatMul", [graph.in_layout(below, STEPS_FIRST), weight])
    name = graph.add("Add", [name, *bias]) if bias else name
    return Value(activate(graph, part.activation, name), STEPS_FIRST)


def write_activate(graph: Graph, i: int, part: Activate, below: Value) -> Value:
    layout = VECTOR if below.layout == VECTOR else STEPS_FIRST
    return Value(activate(graph, part.activation, graph.in_layout(below, layout)), layout)


def activate(graph: Graph, activation: Any, name: str) -> str:
    """The name of a value, its numbers last, after an activation."""
    if activation == LINEAR:
        return name
    if activation == "softmax":
        return graph.add("Softmax", [name], axis=-1)
    return graph.add(_activation(activation), [name])


def write_layer_norm(graph: Graph, i: int, part: LayerNorm, below: Value) -> Value:
    if not part.centered:
        raise NotImplementedError("ONNX's LayerNormalization subtracts the mean")
    layout = VECTOR if below.layout == VECTOR else STEPS_FIRST
    arrays = [graph.constant(a) for a in (part.scale, part.shift)]
    taken = [graph.in_layout(below, layout), *arrays]
    return Value(graph.add("LayerNormalization", taken, epsilon=part.epsilon), layout)


def write_step_softmax(graph: Graph, i: int, part: StepSoftmax, below: Value) -> Value:
    name = graph.in_layout(below, STEPS_FIRST)
    return Value(graph.add("Softmax", [name], axis=0), STEPS_FIRST)


def write_join(graph: Graph, i: int, part: Join, below: Value) -> Value:
    operators = {"add": "Add", "multiply": "Mul"}
    if part.how not in operators or len(part.values) != 2:
        raise NotImplementedError(f"a Join of {part.how} is not written")
    values = [graph.values[k] for k in part.values]
    names = [graph.in_layout(value, STEPS_FIRST) for value in values]
    every = any(value.layout != VECTOR for value in values)
    return Value(graph.add(operators[part.how], names), STEPS_FIRST if every else VECTOR)


def write_read(graph: Graph, i: int, part: Read, below: Value) -> Value:
    if below.layout == VECTOR:  # the last states, which the recurrent layer has given
        return below
    name = graph.in_layout(below, STEPS_FIRST)
    if part.how == "sum":
        name = graph.add("ReduceSum", [name, graph.constant(np.array([0]))], keepdims=0)
    elif part.how in ("max", "mean"):
        kind = f"Reduce{part.how.capitalize()}"
        name = graph.add(kind, [name], axes=[0], keepdims=0)
    elif isinstance(graph.parts[i - 1], Layer | Bidirectional) and part.how == "final":
        raise NotImplementedError("last states beside outputs of every step are not written")
    else:
        name = graph.add("Gather", [name, graph.constant(np.array(-1))], axis=0)
    return Value(name, VECTOR)


def write_repeat(graph: Graph, i: int, part: Repeat, below: Value) -> Value:
    axis, shape = graph.constant(np.array([0])), graph.constant(np.array([part.n_steps, 1, 1]))
    one = graph.add("Unsqueeze", [below.name, axis])
    return Value(graph.add("Expand", [one, shape]), STEPS_FIRST)


WRITERS: Final[dict[type, Callable[[Graph, int, Any, Value], Value]]] = {
    Activate: write_activate,
    Bidirectional: write_recurrent,
    Conv: write_conv,
    Dense: write_dense,
    Embedding: write_embedding,
    Join: write_join,
    Layer: write_recurrent,
    LayerNorm: write_layer_norm,
    Pool: write_pool,
    Read: write_read,
    Repeat: write_repeat,
    StepSoftmax: write_step_softmax,
}


def writer(part: Any) -> Callable[[Graph, int, Any, Value], Value]:
    if type(part) not in WRITERS:
        raise NotImplementedError(f"{type(part).__name__} is not written")
    return WRITERS[type(part)]


def side_by_side(graph: Graph, name: str, directions: int, layout: str) -> str:
    """The directions of a value ``(..., D, N, H)`` side by side: ``(..., N, D * H)``."""
    ahead = len(layout) - 2  # axes before that of the directions
    if directions == 1:
        return graph.add("Squeeze", [name, graph.constant(np.array([ahead]))])
    order = [*range(ahead), ahead + 1, ahead, ahead + 2]
    moved = graph.add("Transpose", [name], perm=order)
    shape = graph.constant(np.array([0] * (ahead + 1) + [-1]))  # 0: as it is
    return graph.add("Reshape", [moved, shape])


def _activation(activation: Activation) -> str:
    """ONNX's name of an activation that has ONNX's own numbers."""
    if str(activation) not in ACTIVATIONS:
        raise NotImplementedError(f"{activation} is not written")
    return ACTIVATIONS[str(activation)]


def _iofc(gates: Array) -> Array:
    """Weights of the gates i f g o in ONNX's order i o f c."""
    i, f, g, o = np.split(gates, 4)
    return np.concatenate([i, o, f, g])
