"""A Keras model's config as a graph: which layer is called on what, and in which order."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from fastlstm.errors import ModelFormatError, UnsupportedModelError

__all__ = [
    "MODELS",
    "STATES",
    "Call",
    "Graph",
    "KerasLayer",
    "Ref",
    "graph_of",
    "refs_in",
    "unique_names",
    "version_of",
]

Config = dict[str, Any]

MODELS: Final = ("Sequential", "Functional", "Model")
# Layers that take states at the start and give those at the end, h and c of each direction.
STATES: Final = {"LSTM": 2, "CuDNNLSTM": 2, "Bidirectional": 4}
OTHER_TENSORS: Final = ("mask", "initial_state")  # options that are not what is computed with
FIRST: Final = "(first)"  # what a Sequential without an InputLayer begins with
# Functions of TensorFlow as the operations of Keras 3.
FUNCTIONS: Final = {
    "__operators__.add": "Add",
    "__operators__.getitem": "GetItem",
    "add": "Add",
    "concat": "Concatenate",
    "expand_dims": "ExpandDims",
    "identity": "Identity",
    "keras.backend.squeeze": "Squeeze",
    "keras.backend.sum": "Sum",
    "linalg.matmul": "Matmul",
    "math.add": "Add",
    "math.divide": "TrueDivide",
    "math.exp": "Exp",
    "math.multiply": "Multiply",
    "math.reduce_max": "Max",
    "math.reduce_mean": "Mean",
    "math.reduce_sum": "Sum",
    "math.sigmoid": "Sigmoid",
    "math.subtract": "Subtract",
    "math.tanh": "Tanh",
    "math.truediv": "TrueDivide",
    "nn.relu": "Relu",
    "nn.softmax": "Softmax",
    "repeat": "Repeat",
    "reshape": "Reshape",
    "reverse": "Flip",
    "squeeze": "Squeeze",
    "stack": "Stack",
    "tile": "Tile",
    "transpose": "Transpose",
}


class KerasLayer(NamedTuple):
    """One layer of a model, or an operation such as ``x[:, -1]``."""

    kind: str  # its class; of an operation ops.GetItem
    name: str
    config: Config
    path: str  # where its weights are: layers/lstm_1
    top: str  # the name of the layer of the outermost model that it is, or is in
    inside: str = ""  # where its weights are in there, if another layer wraps it

    def __str__(self) -> str:
        return f"layer {self.name!r} ({self.kind.removeprefix('ops.')})"


class Ref(NamedTuple):
    """A tensor of a graph: what a layer gives."""

    layer: str
    output: int = 0


class Call(NamedTuple):
    """A call of a layer. In its arguments a `Ref` stands for each tensor."""

    layer: KerasLayer
    entry: Config  # what the config has about the layer
    arguments: list[Any]
    options: dict[str, Any]  # given by name


class Graph(NamedTuple):
    """The calls of a model."""

    calls: list[Call]  # each reads only what those before it give
    inputs: list[Ref]
    outputs: list[Ref]
    masks: dict[str, Call]  # the operations that only compute masks, by name
    starts: list[Ref]  # inputs that are initial states
    uses: Counter[Ref]  # how many calls and outputs read each tensor


def graph_of(model: Config, path: str = "", top: str = "") -> Graph:
    """The graph of a model. Models inside it are calls, too.

    Parameters
    ----------
    model : dict
        ``{"class_name": "Sequential" or "Functional", "config": ...}``.
    path, top : str
        Of a model inside another, as in `KerasLayer`.

    Raises
    ------
    UnsupportedModelError
        If it is no graph of Keras' own layers, or a layer is called more than once.
    ModelFormatError
        If it is not the config of a model.
    """
    kind, config = _kind(model), model.get("config")
    if kind not in MODELS:
        raise UnsupportedModelError(
            f"the model is a {kind}: only Sequential and functional models are read, because a "
            f"class of its own may compute anything; build the same layers with keras.Model("
            "inputs, outputs), and give it the weights with set_weights"
        )
    entries = config if isinstance(config, list) else _of(dict, config, "config").get("layers")
    if not entries or not all(isinstance(entry, dict) for entry in _of(list, entries, "layers")):
        raise ModelFormatError(f"expected a list of layers in the config of the {kind}")
    parts: dict[str, tuple[KerasLayer, Config]] = {}
    kinds = [_kind(entry) for entry in entries]
    own = iter(unique_names([k for k in kinds if not k.startswith("ops.")]))
    for entry, each in zip(entries, kinds, strict=True):
        place = each if each.startswith("ops.") else next(own)
        settings = _of(dict, entry.get("config"), f"a config of {each}")
        name = entry.get("name") or settings.get("name") or place
        if _of(str, name, "a layer's name") in parts:
            raise ModelFormatError(f"two layers are named {name!r}")
        parts[name] = KerasLayer(each, name, settings, f"{path}layers/{place}", top or name), entry
    if kind == "Sequential":
        return _sequential(parts)
    return _functional(parts, _of(dict, config, "config"))


def _kind(entry: Config) -> str:
    """Return the class of a layer, which must be Keras' own: others may have the same name."""
    kind: str = _of(str, entry.get("class_name"), "a class_name")
    module, registered = entry.get("module"), entry.get("registered_name")
    foreign = module is not None and re.match(r"(tf_)?keras(\.|$)", str(module)) is None
    if foreign or ">" in str(registered):
        config = entry.get("config")
        name = entry.get("name") or (config.get("name") if isinstance(config, dict) else None)
        raise UnsupportedModelError(
            f"layer {name!r} ({kind}): a class of {module if foreign else registered!r}, "
            "not of Keras, whose code is not in the file and never run; build the model of Keras' "
            "own layers, and give it the weights with set_weights"
        )
    if re.match(r"(tf_)?keras\.src\.ops\.", str(module)) or _is_operation(kind, entry):
        return f"ops.{kind}"
    if kind == "SlicingOpLambda":
        return "ops.GetItem"
    if kind == "TFOpLambda":
        config = _of(dict, entry.get("config"), "a config of TFOpLambda")
        function = str(config.get("function")).removeprefix("compat.v1.")
        if function not in FUNCTIONS:
            raise UnsupportedModelError(
                f"layer {config.get('name')!r}: a function of TensorFlow, {function:.80}, which is "
                "not computed"
            )
        return f"ops.{FUNCTIONS[function]}"
    return kind


def _is_operation(kind: str, entry: Config) -> bool:
    """Whether it is no layer but an operation of Keras 3, which in a ``.h5`` does not say so."""
    config, nodes = entry.get("config"), entry.get("inbound_nodes")
    bare = isinstance(config, dict) and not {"dtype", "layers", "trainable"} & set(config)
    called = isinstance(nodes, list) and bool(nodes) and isinstance(nodes[0], dict)
    return entry.get("module") is None and bare and called and kind not in MODELS


def unique_names(kinds: Sequence[str]) -> list[str]:
    """The names under which Keras stores the weights of layers of these classes."""
    counts: Counter[str] = Counter()
    names = []
    for kind in kinds:
        name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))
        name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
        names.append(f"{name}_{counts[name]}" if counts[name] else name)
        counts[name] += 1
    return names


# --- a chain ----------------------------------------------------------------------------------


def _sequential(parts: dict[str, tuple[KerasLayer, Config]]) -> Graph:
    first = next(iter(parts))
    begin = Ref(first if parts[first][0].kind == "InputLayer" else FIRST)
    calls, below = [], begin
    for name, (part, entry) in parts.items():
        calls.append(Call(part, entry, [] if name == begin.layer else [below], {}))
        below = Ref(name)
    return Graph(calls, [begin], [below], {}, [], Counter())


# --- a graph ----------------------------------------------------------------------------------


def _functional(parts: dict[str, tuple[KerasLayer, Config]], config: Config) -> Graph:
    inputs = [_ref("the model's inputs", k) for k in _tensors(config, "input_layers")]
    calls = {name: _call(part, entry) for name, (part, entry) in parts.items()}
    outputs = _outputs(_tensors(config, "output_layers"), parts)
    starts = [k for name in calls for k in _starts(calls[name], calls)]
    needed = _needed(outputs, calls)
    for name in needed:
        call = calls[name]
        if call.layer.kind != "InputLayer" and not call.arguments:
            raise ModelFormatError(f"expected the graph to begin at an input, got {call.layer}")
    of_masks = [ref for name in needed for ref in refs_in(calls[name].options.get("mask"))]
    masks = {name: calls[name] for name in _needed(of_masks, calls) if name not in needed}
    read = {*needed, *masks, *(ref.layer for ref in starts)}
    if rest := [str(part) for name, (part, _) in parts.items() if name not in read]:
        spare = [ref for ref in inputs if ref.layer not in read]
        if spare:
            n = len(inputs) - len(starts)
            raise UnsupportedModelError(
                f"the model has {n} inputs beside initial states; only one is computed"
            )
        raise UnsupportedModelError(
            f"the model's outputs do not need all of its layers: {rest[0]} stands beside it"
        )
    uses = Counter(ref for name in needed for ref in refs_in(calls[name].arguments))
    uses.update(outputs)
    return Graph(_ordered(needed, calls), inputs, outputs, masks, starts, uses)


def _needed(refs: Sequence[Ref], calls: dict[str, Call]) -> dict[str, None]:
    """The layers that these tensors are computed from, without those of masks and states."""
    found: dict[str, None] = {}
    left = list(refs)
    while left:
        name = left.pop().layer
        if name not in calls:
            raise ModelFormatError(f"the graph is broken at {name!r}")
        if name not in found:
            found[name] = None
            given = {k: v for k, v in calls[name].options.items() if k not in OTHER_TENSORS}
            left += refs_in([calls[name].arguments, given])
    return {name: None for name in calls if name in found}


def _ordered(names: dict[str, None], calls: dict[str, Call]) -> list[Call]:
    """The calls in the order of the config, as far as each reads only what is before it.

    Weights are stored in that order.
    """
    order = list(names)
    reads = {name: {ref.layer for ref in _reads(calls[name])} for name in order}
    readers: dict[str, list[int]] = {}
    for k, name in enumerate(order):
        for other in reads[name]:
            readers.setdefault(other, []).append(k)
    ready = [k for k, name in enumerate(order) if not reads[name]]
    found = []
    while ready:
        name = order[heapq.heappop(ready)]
        found.append(calls[name])
        for k in readers.get(name, ()):
            reads[order[k]].discard(name)
            if not reads[order[k]]:
                heapq.heappush(ready, k)
    if len(found) < len(order):
        left = next(name for name in order if reads[name])
        raise ModelFormatError(f"the graph is broken at {left!r}: it reads what it gives")
    return found


def _reads(call: Call) -> list[Ref]:
    options = {k: v for k, v in call.options.items() if k not in OTHER_TENSORS}
    return list(refs_in([call.arguments, options]))


def refs_in(value: Any) -> Iterator[Ref]:
    """The tensors in an argument."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, (list, tuple)):
        for k in value:
            yield from refs_in(k)
    elif isinstance(value, dict):
        yield from refs_in(list(value.values()))


def _tensors(config: Config, which: str) -> list[Any]:
    """The model's inputs or outputs."""
    value = config.get(which)
    if isinstance(value, dict):  # named, as the arguments of a call may be
        value = list(value.values())
    found: list[Any] = _of(list, value, which)
    return [found] if found and isinstance(found[0], str) else found


def _outputs(tensors: list[Any], parts: dict[str, tuple[KerasLayer, Config]]) -> list[Ref]:
    """The model's outputs. Other outputs may be final states of layers: a call gives them."""
    mains = []
    for tensor in tensors:
        name, _, output, *_ = _of(list, tensor, "a tensor of the model's outputs")
        kind = parts[name][0].kind if isinstance(name, str) and name in parts else ""
        if output not in range(1, STATES.get(kind, 0) + 1):
            mains.append(_ref("the model's outputs", tensor))
    if not mains:
        raise UnsupportedModelError(
            "all outputs of the model are final states; add the layer's output as the first one: "
            "Model(inputs, [output, h, c])"
        )
    return mains


def _starts(call: Call, calls: dict[str, Call]) -> list[Ref]:
    """The inputs that are initial states of a layer: `state` of a call gives them."""
    given = call.options.get("initial_state")
    part = call.layer
    if given is None or part.kind not in STATES:
        return []
    given = _of(list, given, f"initial states of {part}")
    refs = [k if isinstance(k, Ref) else _ref(str(part), k) for k in given]
    if len(refs) != STATES[part.kind]:
        raise ModelFormatError(
            f"{part}: expected {STATES[part.kind]} initial states, got {len(given)}"
        )
    for k, ref in enumerate(refs):
        kind = calls[ref.layer].layer.kind if ref.layer in calls else "?"
        if kind != "InputLayer" or ref.output != 0 or ref in refs[:k]:
            raise UnsupportedModelError(
                f"{part} begins with a state from {ref.layer!r} ({kind}): only initial states "
                "that are inputs of their own are computed"
            )
    return refs


def _call(part: KerasLayer, entry: Config) -> Call:
    calls = _of(list, entry.get("inbound_nodes"), f"inbound_nodes of {part}")
    if len(calls) > 1:
        raise UnsupportedModelError(
            f"{part} is shared: it is called {len(calls)} times, which is not computed"
        )
    if not calls:
        return Call(part, entry, [], {})
    node = calls[0]
    arguments, options = _keras_3(part, node) if isinstance(node, dict) else _keras_2(part, node)
    if len(arguments) == 2 and part.kind in STATES and isinstance(arguments[1], list):
        options = {"initial_state": arguments.pop(), **options}  # lstm(x, [h, c])
    return Call(part, entry, arguments, options)


def _keras_3(part: KerasLayer, node: Config) -> tuple[list[Any], dict[str, Any]]:
    arguments = _of(list, node.get("args"), f"arguments of {part}")
    options = _of(dict, node.get("kwargs") or {}, f"options of {part}")
    found = [_converted(part, value) for value in arguments]
    named = {str(name): _converted(part, value) for name, value in options.items()}
    if not found and "inputs" in named:
        found = [named.pop("inputs")]
    return found, named


def _keras_2(part: KerasLayer, node: Any) -> tuple[list[Any], dict[str, Any]]:
    """``[[layer, call, output, options], ...]``, one a tensor."""
    calls = _of(list, node, f"a call of {part}")
    calls = [calls] if calls and isinstance(calls[0], str) else calls
    if not calls:
        raise ModelFormatError(f"{part} reads 0 tensors")
    options: dict[str, Any] = {}
    tensors: list[Any] = []
    for call in calls:
        if _of(list, call, f"a call of {part}")[:2] == ["_CONSTANT_VALUE", -1]:
            tensors.append(call[2])
        else:
            tensors.append(_ref(str(part), call))
        if len(call) > 3 and isinstance(call[3], dict):
            options |= {str(k): _converted_2(part, v) for k, v in call[3].items()}
    starts = STATES.get(part.kind)
    if starts is not None and len(tensors) - 1 == starts:  # lstm(x, initial_state=[h, c])
        options["initial_state"] = tensors[1:]
        tensors = tensors[:1]
    if part.kind == "ops.GetItem":
        return [tensors[0], options.pop("slice_spec", None)], options
    return [tensors[0] if len(tensors) == 1 else tensors], options


def _converted(part: KerasLayer, value: Any) -> Any:
    """An argument of Keras 3, with a `Ref` for each tensor."""
    if isinstance(value, list):
        return [_converted(part, k) for k in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind == "__keras_tensor__":
        return _ref(str(part), _of(dict, config, "a tensor").get("keras_history"))
    if kind == "__slice__":
        return _slice(_of(dict, config, "a slice"))
    if kind == "__ellipsis__":
        return ...
    return value


def _converted_2(part: KerasLayer, value: Any) -> Any:
    """An argument of Keras 2, where a tensor is ``[layer, call, output]``."""
    if isinstance(value, list):
        kinds = [type(k) for k in value[:3]]
        if kinds == [str, int, int] and len(value) in (3, 4):
            return _ref(str(part), value)
        return [_converted_2(part, k) for k in value]
    if isinstance(value, dict) and {"start", "stop", "step"} <= set(value):
        return _slice(value)
    if isinstance(value, dict) and value.get("class_name") == "__ellipsis__":
        return ...
    return value


def _slice(config: Config) -> slice:
    return slice(config.get("start"), config.get("stop"), config.get("step"))


def _ref(who: str, history: Any) -> Ref:
    """The tensor ``[layer, call, output]``."""
    name, call, output, *_ = _of(list, history, f"a tensor of {who}")
    # A layer has one call. Keras 2 counts the one that built a model inside, too.
    if type(output) is not int or call not in (0, 1):
        raise UnsupportedModelError(
            f"{who}: output {output} of call {call} of {name!r} is not computed"
        )
    return Ref(str(_of(str, name, f"a tensor of {who}")), output)


def version_of(text: Any) -> int | None:
    """The major version in ``"3.15.1"``; None if there is no text."""
    if text is None:
        return None
    major = str(text).split(".")[0]
    if not major.isdecimal() or len(major) > 3:
        raise ModelFormatError(f"expected a version of Keras, got {str(text)[:40]!r}")
    return int(major)


def _of(kind: type, value: Any, what: str) -> Any:
    if not isinstance(value, kind):
        raise ModelFormatError(f"expected {what}, got {str(value)[:60]!r}")
    return value
