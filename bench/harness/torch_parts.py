"""A network of any parts in PyTorch: `BUILDERS` has a function for each kind of part.

Each builder gives a function of the value before the part and of all earlier ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.harness.parts import (
    RECURRENT,
    STANDARD,
    Activate,
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
from bench.harness.ways import STEPS_SECOND, VECTOR
from fastlstm import LSTM

__all__ = ["function", "input_layout", "lstm"]

Array = npt.NDArray[Any]


class Value(NamedTuple):
    """A tensor and the order of its axes."""

    tensor: Any
    layout: str

    def laid_out(self, layout: str) -> Any:
        """The tensor in another layout, as a view: both layouts have the numbers K last."""
        return self.tensor if self.layout in (layout, VECTOR) else self.tensor.transpose(0, 1)


Run = Callable[[Value, Sequence[Value]], Value]


class Place(NamedTuple):
    """Where a part stands, and the layout that recurrent layers take."""

    parts: tuple[Any, ...]
    i: int
    layout: str


def function(model: LSTM, layout: str) -> Callable[[Any], Any]:
    """The network as a function of ``x``, laid out as `input_layout` says.

    Its result, if it has steps, is laid out as `layout`.

    Parameters
    ----------
    model
    layout
        In which recurrent layers run.

    Raises
    ------
    NotImplementedError
        PyTorch lacks something that the network has, or this module does not build it.
    """
    parts = called(model)
    for part in parts:
        if type(part) not in BUILDERS:
            raise NotImplementedError(f"{type(part).__name__} is not built")
    runs = [BUILDERS[type(part)](part, Place(parts, i, layout)) for i, part in enumerate(parts)]
    first = input_layout(model, layout)

    def run(x: Any) -> Any:
        values: list[Value] = []
        below = Value(x, first)
        for part in runs:
            below = part(below, values)
            values.append(below)
        return below.laid_out(layout)

    return run


def input_layout(model: LSTM, layout: str) -> str:
    """The layout that the first part wants: laid out before the timing, it costs nothing."""
    return STEPS_SECOND if isinstance(model.network.parts[0], Conv | Pool) else layout


def tensor(array: Array) -> Any:
    import torch

    return torch.from_numpy(np.array(array))


# --- a function for each kind of part ----------------------------------------------------------


def build_embedding(part: Embedding, place: Place) -> Run:
    import torch

    table = tensor(part.weight)
    return lambda x, _: Value(torch.nn.functional.embedding(x.tensor, table), x.layout)


def build_recurrent(part: Any, place: Place) -> Run:
    """The outputs of every step, or the last states if nothing else is wanted."""
    import torch

    made = lstm([part], place.layout == STEPS_SECOND)
    final = reads_final(place.parts, place.i)

    def run(x: Value, _: Sequence[Value]) -> Value:
        every, (h, _) = made(x.laid_out(place.layout))
        if not final:
            return Value(every, place.layout)
        return Value(h[-1] if len(h) == 1 else torch.cat((h[-2], h[-1]), 1), VECTOR)

    return run


def lstm(layers: Sequence[Any], batch_first: bool = True) -> Any:
    """Recurrent layers of equal size as an `nn.LSTM`."""
    import torch

    first = layers[0].cells[0]
    refuse(layers)
    made = torch.nn.LSTM(
        first.input_size,
        first.hidden_size,
        len(layers),
        batch_first=batch_first,
        bidirectional=len(layers[0].cells) == 2,
        proj_size=0 if first.w_hr is None else first.output_size,
        dtype=getattr(torch, first.dtype.name),
    )
    names = {"weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh"}
    names |= {} if first.w_hr is None else {"weight_hr": "w_hr"}
    weights = {
        f"{theirs}_l{k}{direction}": tensor(getattr(cell, ours))
        for k, layer in enumerate(layers)
        for direction, cell in zip(("", "_reverse"), layer.cells, strict=False)
        for theirs, ours in names.items()
    }
    made.load_state_dict(weights)
    return made.eval()


def refuse(layers: Sequence[Any]) -> None:
    cells = [cell for layer in layers for cell in layer.cells]
    merges = {getattr(layer, "merge", "concat") for layer in layers}
    lacks = {
        "peepholes": any(cell.peepholes is not None for cell in cells),
        "other activations": any(cell.activations != STANDARD for cell in cells),
        "coupled gates": any(cell.coupled for cell in cells),
        "backward direction alone": any(layer.cells[0].direction != "forward" for layer in layers),
        "merged directions": merges != {"concat"},
    }
    if any(lacks.values()):
        raise NotImplementedError(f"nn.LSTM has no {', '.join(k for k in lacks if lacks[k])}")


def build_conv(part: Conv, place: Place) -> Run:
    """As a 2-D convolution over one row whose channels are last in memory.

    On two cores `nn.Conv1d` took twice as long for 1,024 x 128 x 9 and 64 x 400 x 128.
    """
    import torch

    made = torch.nn.Conv2d(
        part.input_size,
        part.output_size,
        (1, part.window.size),
        stride=(1, part.stride),
        dilation=(1, part.dilation),
        groups=part.groups,
        bias=part.bias is not None,
        dtype=getattr(torch, part.dtype.name),
    )
    weights = {"weight": tensor(part.weight.transpose(0, 2, 1)[:, :, None])}
    made.load_state_dict(weights | ({} if part.bias is None else {"bias": tensor(part.bias)}))
    made = made.to(memory_format=torch.channels_last).eval()
    activate = activation(part.activation)

    def run(x: Value, _: Sequence[Value]) -> Value:
        padded = pad(in_a_row(x), part)
        return Value(activate(made(padded)).squeeze(2).transpose(1, 2), STEPS_SECOND)

    return run


def build_pool(part: Pool, place: Place) -> Run:
    import torch

    functional = torch.nn.functional
    window = {"kernel_size": (1, part.size), "stride": (1, part.window.stride)}
    if part.padding != "valid" or (part.how == "mean" and part.dilation != 1):
        raise NotImplementedError("padding, or a mean of steps that lie apart, is not built")
    if part.how == "max":
        window |= {"dilation": (1, part.dilation)}
    pool = functional.max_pool2d if part.how == "max" else functional.avg_pool2d

    def run(x: Value, _: Sequence[Value]) -> Value:
        pooled = pool(in_a_row(x), **window, ceil_mode=part.ceil)
        return Value(pooled.squeeze(2).transpose(1, 2), STEPS_SECOND)

    return run


def in_a_row(x: Value) -> Any:
    """A sequence as ``(N, K, 1, T)``, whose channels are last in memory."""
    return x.laid_out(STEPS_SECOND).transpose(1, 2).unsqueeze(2)


def pad(x: Any, part: Conv) -> Any:
    """``(N, K, 1, T)`` with the zeros that a convolution puts around a sequence."""
    import torch

    before, after = (int(k[0]) for k in part.window.padded(np.array([x.shape[3]])))
    return torch.nn.functional.pad(x, (before, after)) if before or after else x


def build_dense(part: Dense, place: Place) -> Run:
    import torch

    weight = tensor(part.weight)
    bias = None if part.bias is None else tensor(part.bias)
    activate = activation(part.activation)

    def run(x: Value, _: Sequence[Value]) -> Value:
        return Value(activate(torch.nn.functional.linear(x.tensor, weight, bias)), x.layout)

    return run


def build_activate(part: Activate, place: Place) -> Run:
    activate = activation(part.activation)
    return lambda x, _: Value(activate(x.tensor), x.layout)


def activation(of: Any) -> Callable[[Any], Any]:
    """A function of tensors whose numbers are last."""
    import torch

    known = {
        "linear": lambda x: x,
        "relu": torch.relu,
        "sigmoid": torch.sigmoid,
        "softmax": lambda x: torch.softmax(x, -1),
        "tanh": torch.tanh,
    }
    if str(of) not in known:
        raise NotImplementedError(f"{of} is not built")
    return known[str(of)]


def build_layer_norm(part: LayerNorm, place: Place) -> Run:
    import torch

    if not part.centered:
        raise NotImplementedError("an RMS norm is not built")
    size, scale, shift = part.scale.shape, tensor(part.scale), tensor(part.shift)

    def run(x: Value, _: Sequence[Value]) -> Value:
        normal = torch.nn.functional.layer_norm(x.tensor, size, scale, shift, part.epsilon)
        return Value(normal, x.layout)

    return run


def build_step_softmax(part: StepSoftmax, place: Place) -> Run:
    import torch

    return lambda x, _: Value(torch.softmax(x.tensor, x.layout.index("T")), x.layout)


def build_join(part: Join, place: Place) -> Run:
    import torch

    functions = {"add": torch.add, "multiply": torch.mul}
    if part.how not in functions or len(part.values) != 2:
        raise NotImplementedError(f"a Join of {part.how} is not built")
    join = functions[part.how]

    def run(_: Value, values: Sequence[Value]) -> Value:
        a, b = (values[k] for k in part.values)
        if VECTOR in (a.layout, b.layout) and a.layout != b.layout:
            raise NotImplementedError("a vector joined with a sequence is not built")
        return Value(join(a.tensor, b.laid_out(a.layout)), a.layout)

    return run


def build_read(part: Read, place: Place) -> Run:
    import torch

    below = place.parts[place.i - 1] if place.i else None
    if part.how == "final" and isinstance(below, RECURRENT):
        if not reads_final(place.parts, place.i - 1):
            raise NotImplementedError("last states beside outputs of every step are not built")
        return lambda x, _: x
    functions = {"max": torch.amax, "mean": torch.mean, "sum": torch.sum}
    read = functions.get(part.how, lambda x, axis: x.select(axis, -1))
    return lambda x, _: Value(read(x.tensor, x.layout.index("T")), VECTOR)


def build_repeat(part: Repeat, place: Place) -> Run:
    axis = place.layout.index("T")
    sizes = [-1, -1, -1]
    sizes[axis] = part.n_steps
    return lambda x, _: Value(x.tensor.unsqueeze(axis).expand(sizes), place.layout)


BUILDERS: Final[dict[type, Callable[[Any, Place], Run]]] = {
    Activate: build_activate,
    Bidirectional: build_recurrent,
    Conv: build_conv,
    Dense: build_dense,
    Embedding: build_embedding,
    Join: build_join,
    Layer: build_recurrent,
    LayerNorm: build_layer_norm,
    Pool: build_pool,
    Read: build_read,
    Repeat: build_repeat,
    StepSoftmax: build_step_softmax,
}
