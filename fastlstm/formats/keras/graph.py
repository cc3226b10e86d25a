"""A Keras model's config as a chain of layers; a model that is not a chain is refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from fastlstm.errors import ModelFormatError, UnsupportedModelError

__all__ = ["KerasLayer", "chain", "unique_names", "version_of"]

Config = dict[str, Any]

MODELS: Final = ("Sequential", "Functional", "Model")
MASK_OPERATIONS: Final = ("NotEqual", "Any")
# Layers that take states at the start and give those at the end, h and c of each direction.
STATES: Final = {"LSTM": 2, "CuDNNLSTM": 2, "Bidirectional": 4}


class KerasLayer(NamedTuple):
    """One layer of the chain."""

    kind: str  # its class
    name: str
    config: Config
    path: str  # where its weights are: layers/lstm_1
    top: str  # the name of the layer of the outermost model that it is, or is in
    arguments: Sequence[Any] = ()  # beside the tensor that it reads
    inside: str = ""  # where its weights are in there, if another layer wraps it

    def __str__(self) -> str:
        return f"layer {self.name!r} ({self.kind})"


class _Node(NamedTuple):
    """One call of a layer."""

    reads: str  # the layer whose output is its argument
    arguments: list[Any]  # the rest of them
    masks: list[str]  # the layers that it reads a mask from
    starts: list[Any]  # the tensors of its initial state


def chain(model: Config, path: str = "", top: str = "") -> list[KerasLayer]:
    """The layers from the input to the output; models inside are unfolded.

    Parameters
    ----------
    model : dict
        ``{"class_name": "Sequential" or "Functional", "config": ...}``.
    path, top : str
        Of a model inside another, as in `KerasLayer`.

    Raises
    ------
    UnsupportedModelError
        If it is not a chain: it has branches, several inputs or outputs, shared layers, or states
        that are handed from one layer to another.
    ModelFormatError
        If it is not the config of a model.
    """
    kind, config = _kind(model), model.get("config")
    if kind not in MODELS:
        raise UnsupportedModelError(
            f"the model is a {kind}: only Sequential and functional models are read"
        )
    entries = config if isinstance(config, list) else _of(dict, config, "config").get("layers")
    if not entries or not all(isinstance(entry, dict) for entry in _of(list, entries, "layers")):
        raise ModelFormatError(f"expected a list of layers in the config of the {kind}")
    parts = {}
    paths = unique_names([_kind(entry) for entry in entries])
    for entry, own in zip(entries, paths, strict=True):
        settings = _of(dict, entry.get("config"), f"a config of {_kind(entry)}")
        name = entry.get("name") or settings.get("name") or own
        if _of(str, name, "a layer's name") in parts:
            raise ModelFormatError(f"two layers are named {name!r}")
        where = f"{path}layers/{own}"
        parts[name] = KerasLayer(_kind(entry), name, settings, where, top or name), entry
    if kind == "Sequential":
        line = [part for part, _ in parts.values()]
    else:
        line = _functional(parts, _of(dict, config, "config"))
    return [inner for part in line for inner in _unfolded(part, parts[part.name][1])]


def _unfolded(part: KerasLayer, entry: Config) -> Iterator[KerasLayer]:
    if part.kind in MODELS:
        yield from chain(entry, f"{part.path}/", part.top)
    else:
        yield part


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
            "not of Keras"
        )
    return kind


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


def _functional(parts: dict[str, tuple[KerasLayer, Config]], config: Config) -> list[KerasLayer]:
    inputs = _tensors(config, "input_layers")
    name: str | None = _output(_tensors(config, "output_layers"), parts)
    line: list[KerasLayer] = []
    masks: list[tuple[KerasLayer, str]] = []
    nodes = {}
    while name is not None:
        if name not in parts or any(name == part.name for part in line):
            raise ModelFormatError(f"the graph is broken at {name!r}")
        part, entry = parts[name]
        calls = _of(list, entry.get("inbound_nodes"), f"inbound_nodes of {part}")
        if len(calls) > 1:
            raise UnsupportedModelError(f"{part} is shared: it is called {len(calls)} times")
        node = nodes[name] = _node(part, calls[0]) if calls else None
        line.append(part._replace(arguments=node.arguments) if node else part)
        masks += [(part, mask) for mask in node.masks] if node else []
        name = node.reads if node else None
    line.reverse()
    starts = _starts(parts, nodes)
    begin = [k for k in map(_input, inputs) if k not in starts]
    if len(begin) != 1:
        raise UnsupportedModelError(
            f"the model has {len(begin)} inputs beside initial states; only one is computed"
        )
    if line[0].name != begin[0] or line[0].kind != "InputLayer":
        raise ModelFormatError(f"expected the graph to begin at {begin[0]!r}, got {line[0]}")
    used = {part.name for part in line} | starts
    for part, mask in masks:
        used |= _check_mask(part, mask, parts, {n.name: n for n in line}, nodes)
    if rest := [str(part) for name, (part, _) in parts.items() if name not in used]:
        raise UnsupportedModelError(
            f"the model is not a chain of layers: {rest[0]} stands beside it"
        )
    return line


def _tensors(config: Config, which: str) -> list[Any]:
    """The model's inputs or outputs."""
    found: list[Any] = _of(list, config.get(which), which)
    return [found] if found and isinstance(found[0], str) else found


def _input(tensor: Any) -> str:
    return _tensor("the model's inputs", tensor)


def _output(tensors: list[Any], parts: dict[str, tuple[KerasLayer, Config]]) -> str:
    """The layer whose output is the model's. Other outputs may only be final states of layers."""
    mains = []
    for tensor in tensors:
        name, _, output, *_ = _of(list, tensor, "a tensor of the model's outputs")
        kind = parts[name][0].kind if isinstance(name, str) and name in parts else ""
        if output not in range(1, STATES.get(kind, 0) + 1):  # a call gives states by itself
            mains.append(tensor)
    if not mains:
        raise UnsupportedModelError(
            "all outputs of the model are final states; add the layer's output as the first one: "
            "Model(inputs, [output, h, c])"
        )
    if len(mains) != 1:
        raise UnsupportedModelError(
            f"the model has {len(mains)} outputs beside final states; only one is computed"
        )
    return _tensor("the model's outputs", mains[0])


def _starts(
    parts: dict[str, tuple[KerasLayer, Config]], nodes: dict[str, _Node | None]
) -> set[str]:
    """The inputs that are initial states: `state` of a call gives them."""
    found: set[str] = set()
    for reader, node in nodes.items():
        part = parts[reader][0]
        if node is None or not node.starts:
            continue
        if len(node.starts) != STATES[part.kind]:
            raise ModelFormatError(
                f"{part}: expected {STATES[part.kind]} initial states, got {len(node.starts)}"
            )
        for tensor in node.starts:
            name, _, output, *_ = _of(list, _history(tensor), f"an initial state of {part}")
            kind = parts[name][0].kind if isinstance(name, str) and name in parts else "?"
            if kind != "InputLayer" or output != 0 or name in found:
                raise UnsupportedModelError(
                    f"{part} begins with a state from {name!r} ({kind}): only initial states "
                    "that are inputs of their own are computed"
                )
            found.add(name)
    return found


def _tensor(who: object, history: Any) -> str:
    """The layer that gives a tensor ``[layer, call, output]``."""
    name, call, output, *_ = _of(list, history, f"a tensor of {who}")
    # A layer of the chain has one call. Keras 2 counts the one that built a model inside, too.
    if output != 0 or call not in (0, 1):
        raise UnsupportedModelError(
            f"{who}: output {output} of call {call} of {name!r} is not computed"
        )
    return str(_of(str, name, f"a tensor of {who}"))


def _node(part: KerasLayer, node: Any) -> _Node:
    starts: list[Any] = []
    if isinstance(node, dict):  # Keras 3
        arguments, options = node.get("args"), node.get("kwargs") or {}
        reads, *rest = _of(list, arguments, f"arguments of {part}") or [None]
        if rest and part.kind in STATES and isinstance(rest[0], list):  # lstm(x, [h, c])
            options = {"initial_state": rest.pop(0), **options}
    else:  # [[layer, call, output, options]], one a tensor
        calls = _of(list, node, f"a call of {part}")
        calls = [calls] if calls and isinstance(calls[0], str) else calls
        starts = calls[1:] if len(calls) - 1 == STATES.get(part.kind) else []
        reads, rest = (calls[0], []) if len(calls) == 1 or starts else (calls, [])
        options = dict(reads[3]) if len(reads) > 3 and isinstance(reads[3], dict) else {}
        if "slice_spec" in options:  # x[...]
            rest = [options.pop("slice_spec")]
    if isinstance(reads, list) and not (reads and isinstance(reads[0], str)):
        raise UnsupportedModelError(
            f"{part} reads {len(reads)} tensors: the model is not a chain of layers"
        )
    masks = []
    for name, value in _of(dict, options, f"options of {part}").items():
        if name == "mask" and value is not None:
            masks.append(_tensor(part, _history(value)))
        elif name == "initial_state" and value is not None and part.kind in STATES:
            starts = _of(list, value, f"initial states of {part}")
        elif name != "training" and value is not None:
            raise UnsupportedModelError(f"{part} is called with {name}, which is not computed")
    if any(isinstance(_history(value), list) and _is_tensor(value) for value in rest):
        raise UnsupportedModelError(
            f"{part} reads several tensors: the model is not a chain of layers"
        )
    return _Node(_tensor(part, _history(reads)), rest, masks, starts)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"


def _history(value: Any) -> Any:
    return value["config"]["keras_history"] if _is_tensor(value) else value


def _check_mask(
    part: KerasLayer,
    mask: str,
    parts: dict[str, tuple[KerasLayer, Config]],
    line: dict[str, KerasLayer],
    nodes: dict[str, _Node | None],
) -> set[str]:
    """Refuse a mask that does not come from an Embedding or Masking of the chain.

    Keras 3 writes down where a mask comes from: ``Any(NotEqual(inputs, mask_value))``. Returns
    the operations of the mask.
    """
    operations = set()
    value = source = None
    any_of = False
    name = mask
    while name in parts and name not in line and parts[name][0].kind in MASK_OPERATIONS:
        operation, entry = parts[name]
        operations.add(name)
        calls = _of(list, entry.get("inbound_nodes"), f"inbound_nodes of {operation}")
        node = _node(operation, calls[0])
        any_of |= operation.kind == "Any"
        value = node.arguments[0] if node.arguments else value
        name = source = node.reads
    for reader in line.values():
        node_of_reader = nodes[reader.name]
        if node_of_reader is None or node_of_reader.reads != source or len(operations) > 2:
            continue
        config = reader.config
        if reader.kind == "Embedding" and config.get("mask_zero") and not any_of and value == 0:
            return operations
        if reader.kind == "Masking" and any_of and value == config.get("mask_value"):
            return operations
    raise UnsupportedModelError(f"{part} reads a mask of its own, from {mask!r}")


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
