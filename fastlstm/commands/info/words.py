"""The parts of a network in words: its kind, and every option that decides numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastlstm.network.activations import LINEAR, STANDARD
from fastlstm.network.convolution import Conv
from fastlstm.network.dense import Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.joints import AddInputs, From, Join
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.masking import Masking
from fastlstm.network.normalisation import Affine, LayerNorm
from fastlstm.network.pointwise import Activate, PReLU, StepSoftmax
from fastlstm.network.pooling import Pool
from fastlstm.network.reading import Read
from fastlstm.network.steps import Flatten, Pad, Repeat, Slice, Unflatten, Upsample
from fastlstm.network.windows import Padding, Window

__all__ = ["in_words"]

READS: Final = {
    "final": "the final outputs",
    "last": "the outputs at the last step",
    "max": "the maximum over all steps",
    "mean": "the mean over all steps",
    "sum": "the sum over all steps",
}
MERGES: Final = {"concat": "side by side", "sum": "added", "mul": "multiplied", "ave": "averaged"}
JOINS: Final = {"add": "add", "multiply": "multiply", "concatenate": "concatenate", "dot": "dot"}
EDGES: Final = {"zeros": "zeros", "edge": "the first or last step again", "reflect": "mirrored"}


def in_words(part: Any) -> tuple[str, str]:
    """Return the kind of a part, and its options."""
    kind, words = _PARTS[type(part)]
    return kind(part) if callable(kind) else kind, words(part)


def _layer(layer: Layer) -> str:
    return _listed(f"{layer.hidden_size} units", _direction(layer), *_cell(layer))


def _direction(layer: Layer) -> str:
    return {"forward": "", "reverse": "backward"}.get(layer.direction, layer.direction)


def _cell(layer: Layer) -> list[str]:
    names = [name for name in ("h_0", "c_0") if getattr(layer, name) is not None]
    return [
        "" if layer.w_hr is None else f"projected to {layer.output_size}",
        "" if layer.peepholes is None else "peepholes",
        "/".join(map(str, layer.activations)) if layer.activations != STANDARD else "",
        "coupled gates" if layer.coupled else "",
        "" if layer.clip is None else f"clip {layer.clip:g}",
        f"starts from learned {' and '.join(names)}" if names else "",
        "" if layer.b_ih is not None or layer.b_hh is not None else "no bias",
    ]


def _both(layer: Bidirectional) -> str:
    first, second = (_listed(*_cell(cell)) for cell in layer.cells)
    options = first
    if first != second:
        options = f"forward: {first or 'usual'}; backward: {second or 'usual'}"
    units = f"{layer.hidden_size} units in each direction"
    return _listed(units, MERGES[layer.merge], options)


def _dense(dense: Dense) -> str:
    return _listed(_activation(dense.activation), "no bias" if dense.bias is None else "")


def _activation(activation: Any) -> str:
    return "" if activation == LINEAR else str(activation)


def _window(window: Window, usual_stride: int = 1) -> str:
    return _listed(
        _steps(window.size),
        "" if window.stride == usual_stride else f"stride {window.stride}",
        "" if window.dilation == 1 else f"dilation {window.dilation}",
        _padding(window.padding),
        "the last may be cut off" if window.ceil else "",
    )


def _padding(padding: Padding) -> str:
    if padding in ("valid", (0, 0)):
        return ""
    if isinstance(padding, str):
        return f"padding {padding}"
    return f"padding {padding[0]} in front, {padding[1]} behind"


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"


def _conv(conv: Conv) -> str:
    groups = f"{conv.groups} groups" if conv.groups > 1 else ""
    depthwise = conv.groups == conv.input_size and conv.groups > 1
    return _listed(
        _window(conv.window),
        "depthwise" if depthwise else groups,
        _activation(conv.activation),
        "no bias" if conv.bias is None else "",
    )


def _pool(pool: Pool) -> str:
    how = {"max": "maximum", "mean": "mean"}[pool.how]
    return _listed(
        f"{how} of {_window(pool.window, pool.size)}",
        "padding counts" if pool.counts_padding else "",
    )


def _slice(part: Slice) -> str:
    if (part.start in (None, -1), part.stop, part.step) == (True, None, -1):
        return "in reverse order"
    start, stop = ("" if k is None else str(k) for k in (part.start, part.stop))
    return f"[{start}:{stop}]" if part.step in (None, 1) else f"[{start}:{stop}:{part.step}]"


def _norm(norm: LayerNorm) -> str:
    return f"epsilon {norm.epsilon:g}"


def _values(part: From | Join) -> str:
    names = ["the inputs" if k < 0 else f"part {k}" for k in part.values]
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]


def _listed(*words: str) -> str:
    return ", ".join(filter(None, words))


Words = Callable[[Any], str]
_PARTS: Final[dict[type, tuple[str | Words, Words]]] = {
    Activate: ("activation", lambda part: str(part.activation)),
    AddInputs: (
        "add",
        lambda part: "the first input" if part.size == 1 else f"the first {part.size} inputs",
    ),
    Affine: ("scale, shift", lambda part: ""),
    Bidirectional: ("LSTM both ways", _both),
    Conv: ("convolution", _conv),
    Dense: ("dense", _dense),
    Embedding: (
        "embedding",
        lambda part: _listed(
            f"{part.ids} ids", "" if part.padding_id is None else f"{part.padding_id} is padding"
        ),
    ),
    Flatten: ("flatten", lambda part: _steps(part.n_steps)),
    From: ("from", _values),
    Join: (lambda part: JOINS[part.how], _values),
    Layer: ("LSTM", _layer),
    LayerNorm: (lambda part: "layer norm" if part.centered else "RMS norm", _norm),
    Masking: ("mask", lambda part: f"steps whose inputs are all {part.value:g} are skipped"),
    PReLU: ("PReLU", lambda part: ""),
    Pad: (
        "padding",
        lambda part: f"{_steps(part.before)} in front, {part.after} behind: {EDGES[part.mode]}",
    ),
    Pool: ("pooling", _pool),
    Read: ("read", lambda part: READS[part.how]),
    Repeat: ("repeat", lambda part: f"at {_steps(part.n_steps)}"),
    Slice: ("steps", _slice),
    StepSoftmax: ("softmax", lambda part: "over the steps"),
    Unflatten: ("divide", lambda part: f"into {_steps(part.n_steps)}"),
    Upsample: ("repeat", lambda part: f"each step {part.times} times"),
}
