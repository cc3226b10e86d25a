"""A Keras model's graph, with its weights, as a network: one walk, layer after layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.keras.cells import wrapped
from fastlstm.formats.keras.graph import (
    MODELS,
    STATES,
    Call,
    Graph,
    KerasLayer,
    Ref,
    graph_of,
    refs_in,
    version_of,
)
from fastlstm.formats.keras.layers import ADDERS, INERT, JOINTS, OPERATIONS
from fastlstm.formats.keras.net import Net
from fastlstm.formats.keras.stores import Store
from fastlstm.formats.keras.tensors import NUMBERS, STEPS, Tensor
from fastlstm.formats.keras.unsupported import why_not
from fastlstm.network.network import Network

__all__ = ["network_of"]

# Layers that hand a mask on, beside recurrent ones; all others lose it.
MASKING: Final = (
    *INERT,
    *MODELS,
    "Activation",
    "Add",
    "Average",
    "BatchNormalization",
    "Concatenate",
    "Dense",
    "ELU",
    "LayerNormalization",
    "LeakyReLU",
    "Maximum",
    "Minimum",
    "Multiply",
    "Normalization",
    "PReLU",
    "ReLU",
    "Rescaling",
    "Softmax",
    "Subtract",
    "ThresholdedReLU",
    "TimeDistributed",
    "TimeDistributedDense",
)
LOSING: Final = ("Identity", "Normalization", "Rescaling")  # these lose it before Keras 3
OWN_MASKS: Final = ("Bidirectional", "CuDNNLSTM", "Embedding", "LSTM", "Masking", "RNN")
# The operations that Keras 3 writes down where a mask is made or handed on.
OF_MASKS: Final = (
    "ops.Any",
    "ops.BroadcastTo",
    "ops.Concatenate",
    "ops.ExpandDims",
    "ops.LogicalOr",
    "ops.NotEqual",
    "ops.OnesLike",
    "ops.Squeeze",
    "ops.ZerosLike",
)


def network_of(config: Any, weights: Store, version: int | None) -> Network:
    """The network that a model's config and weights describe.

    Parameters
    ----------
    config : dict
        As `graph_of` takes it.
    weights : Store
    version : int, optional
        The major version of the Keras that wrote it.

    Raises
    ------
    UnsupportedModelError
        If a layer or an option is not computed exactly; it is named.
    ModelFormatError
        If the config is damaged, or does not fit the weights.
    """
    if not isinstance(config, dict):
        raise ModelFormatError(f"expected a model's config, got {str(config)[:60]!r}")
    if version is None:  # weights alone; only Keras 3 names the modules and not itself
        version = version_of(config.get("keras_version")) or (3 if "module" in config else None)
    net = Net(weights, version)
    graph = graph_of(config)
    given = [ref for ref in graph.inputs if ref not in graph.starts]
    if len(given) != 1:
        raise UnsupportedModelError(
            f"the model has {len(given)} inputs beside initial states; only one is computed"
        )
    if len(graph.outputs) != 1:
        raise UnsupportedModelError(
            f"the model has {len(graph.outputs)} outputs beside final states; only one is "
            "computed: take it alone, keras.Model(model.inputs, model.outputs[0])"
        )
    net.read_states = _read_states(graph)
    (output,) = _run(net, graph, {given[0]: _input(graph, given[0], config)})
    if rest := weights.rest():
        raise ModelFormatError(f"weights that no layer reads: {rest[:8]}")
    return net.network(output)


def _read_states(graph: Graph) -> set[str]:
    """The recurrent layers whose final states other layers read."""
    return {ref.layer for ref, n in graph.uses.items() if n and ref.output > 0}


def _input(graph: Graph, ref: Ref, config: dict[str, Any]) -> Tensor:
    """The model's inputs: a sequence; if they have one axis alone, one of single numbers."""
    first = next(k for k in graph.calls if k.layer.name == ref.layer or k.arguments)
    while first.layer.kind in MODELS:
        first = graph_of(first.entry).calls[0]
    shape = _shape(first)
    if shape is None and isinstance(config.get("config"), dict):
        shape = config["config"].get("build_input_shape")
    if shape is None:
        embedded = first.layer.kind == "Embedding"
        return Tensor(-1, True, 1 if embedded else None, (STEPS,) if embedded else (STEPS, NUMBERS))
    sizes = shape[1:] if isinstance(shape, (list, tuple)) else []
    if not sizes or not all(k is None or (type(k) is int and k > 0) for k in sizes):
        raise ModelFormatError(f"expected the shape of the inputs, got {str(shape)[:60]!r}")
    if len(sizes) > 2:
        raise UnsupportedModelError(
            f"{first.layer} takes inputs of shape {_shown(sizes)}; only sequences (N, steps, "
            "inputs) are computed"
        )
    if len(sizes) == 1:
        return Tensor(-1, True, 1, (STEPS,), sizes[0])
    return Tensor(-1, True, sizes[1], (STEPS, 1 if sizes[1] == 1 else NUMBERS), sizes[0])


def _shape(first: Call) -> Any:
    """The shape of the inputs, as the first layer says it in one version of Keras or another."""
    layer, config = first.layer, first.layer.config
    shape = config.get("batch_shape", config.get("batch_input_shape"))
    if shape is None and isinstance(config.get("input_shape"), list):
        shape = [None, *config["input_shape"]]
    if shape is None and layer.kind in ("Convolution1D", "LSTM") and config.get("input_dim"):
        shape = [None, config.get("input_length"), config["input_dim"]]
    if shape is None and layer.kind == "Embedding":
        shape = [None, config.get("input_length")]
    if shape is None and isinstance(first.entry.get("build_config"), dict):
        shape = first.entry["build_config"].get("input_shape")
    return shape


def _shown(sizes: Sequence[int | None]) -> str:
    return f"({', '.join(str(k) for k in ('N', *sizes))})"


# --- the walk ---------------------------------------------------------------------------------


def _run(net: Net, graph: Graph, values: dict[Ref, Tensor]) -> list[Tensor]:
    """Add the calls of a graph, whose inputs are given; return its outputs."""
    for call in graph.calls:
        layer = call.layer
        net.layer = layer
        if Ref(layer.name) in values:
            continue
        _check_options(call)
        arguments = [_filled(k, values, layer) for k in call.arguments]
        options = {k: _filled(v, values, layer) for k, v in call.options.items() if _computes(k)}
        if call.options.get("mask") is not None:
            arguments = [_with_mask(net, call, graph, values, k) for k in arguments]
        outputs = _add(net, call, arguments, options)
        for k, tensor in enumerate(outputs):
            ref = Ref(layer.name, k)
            values[ref] = replace(tensor, shared=tensor.shared or graph.uses[ref] > 1)
    return [_value(ref, values, "the model's outputs") for ref in graph.outputs]


def _value(ref: Ref, values: dict[Ref, Tensor], who: object) -> Tensor:
    if ref in values:
        return values[ref]
    if Ref(ref.layer) in values:
        raise UnsupportedModelError(
            f"{who}: output {ref.output} of call 0 of {ref.layer!r} is not computed"
        )
    raise UnsupportedModelError(
        f"{who} reads an initial state, {ref.layer!r}, as an input, which is not computed"
    )


def _filled(value: Any, values: dict[Ref, Tensor], who: object) -> Any:
    """An argument with the tensors themselves."""
    if isinstance(value, Ref):
        return _value(value, values, who)
    if isinstance(value, (list, tuple)):
        return [_filled(k, values, who) for k in value]
    return value


def _computes(option: str) -> bool:
    return option not in ("mask", "initial_state", "training")


def _check_options(call: Call) -> None:
    """Refuse what a call says beside the tensors, except where it is understood."""
    layer = call.layer
    if layer.kind in OPERATIONS:
        return
    for name, value in call.options.items():
        if name in ("training", "mask") or value is None or value is False:
            continue
        if name == "initial_state" and layer.kind in STATES:
            continue
        raise UnsupportedModelError(f"{layer} is called with {name}, which is not computed")


def _add(net: Net, call: Call, arguments: list[Any], options: dict[str, Any]) -> list[Tensor]:
    """Add what one layer computes; return all that it gives."""
    layer = call.layer
    kind = layer.kind
    if kind in OPERATIONS:
        found = OPERATIONS[kind](net, layer, arguments, options)
        return [replace(found, mask=False)]
    tensors = list(_tensors(arguments))
    if kind not in (*ADDERS, *INERT, *JOINTS, *MODELS, "TimeDistributed"):
        raise UnsupportedModelError(f"{layer}: a {kind} {why_not(kind)}")
    if kind in JOINTS:
        if len(arguments) != 1 or not isinstance(arguments[0], list):
            raise ModelFormatError(f"{layer}: expected a list of tensors")
        found = JOINTS[kind](net, layer, arguments[0])
        return [found if kind in MASKING else replace(found, mask=False)]
    if kind in MODELS:
        return _inner(net, call.entry, layer, tensors)
    if len(tensors) != 1 or len(arguments) != 1:
        extra = "" if len(tensors) == 1 else f"reads {len(tensors)} tensors"
        what = extra or "is called with more than one argument"
        raise UnsupportedModelError(f"{layer} {what}; one is expected")
    return _add_one(net, layer, tensors[0])


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list):
        for k in value:
            yield from _tensors(k)


def _add_one(net: Net, layer: KerasLayer, x: Tensor) -> list[Tensor]:
    """Add a layer that reads one tensor."""
    kind = layer.kind
    loses = kind in LOSING and (net.version is None or net.version < 3)
    if kind in INERT:
        return [replace(x, mask=x.mask and not loses)]
    if kind == "TimeDistributed":
        return [_time_distributed(net, layer, x)]
    if kind not in ADDERS:
        raise UnsupportedModelError(f"{layer}: a {kind} {why_not(kind)}")
    found = ADDERS[kind](net, layer, x)
    if isinstance(found, list):  # with the states at the end
        return found
    if loses or kind not in (*MASKING, *OWN_MASKS):
        found = replace(found, mask=False)
    return [found]


def _inner(net: Net, entry: Any, layer: KerasLayer, tensors: list[Tensor]) -> list[Tensor]:
    """Add a model inside of the model."""
    inside = f"{layer.inside}/" if layer.inside else ""
    graph = graph_of(entry, f"{layer.path}/{inside}", layer.top)
    if len(graph.inputs) != len(tensors) or graph.starts:
        raise UnsupportedModelError(
            f"{layer}, a model with {len(graph.inputs)} inputs, reads {len(tensors)} tensors, "
            "which is not computed"
        )
    return _run(net, graph, dict(zip(graph.inputs, tensors, strict=True)))


def _time_distributed(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    """What it wraps is applied to each step by itself: its axis is out of sight meanwhile."""
    options = net.options(layer)
    entry = options.take("layer")
    kind, config = wrapped(layer, entry)
    options.refuse_rest()
    if x.rank < 2:
        raise ModelFormatError(f"{layer} needs a sequence, but the layer before it gives {x}")
    if x.axes[0] != STEPS:
        x = net.sequence(x)
    inner = layer._replace(kind=kind, config=config, inside="layer")
    step = x.having(*x.axes[1:])
    if kind in MODELS:
        (y,) = _inner(net, entry, inner, [step])
    else:
        (y, *_) = _add_one(net, inner, step)
    if not y.hidden:
        net.layer = layer
        net.refuse(f"a {kind} at every step is not computed")
    return replace(y.having(STEPS, *y.axes), mask=x.mask, loose=x.loose)


# --- masks ------------------------------------------------------------------------------------


def _with_mask(net: Net, call: Call, graph: Graph, values: dict[Ref, Tensor], argument: Any) -> Any:
    """An argument of a layer that is called with a mask of the model's Embedding or Masking.

    Keras 3 writes down where a mask comes from: ``Any(NotEqual(inputs, mask_value))``.
    """
    refs = list(refs_in(call.options["mask"]))
    operations: list[str] = []
    comparisons = []
    left = [ref.layer for ref in refs]
    seen = set()
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        operation = graph.masks.get(name)
        if operation is None or operation.layer.kind not in OF_MASKS:
            continue
        operations.append(operation.layer.kind)
        if operation.layer.kind == "ops.NotEqual":
            comparisons.append(operation.arguments)
        else:
            left += [ref.layer for ref in refs_in(operation.arguments) if ref.layer in graph.masks]
    known = net.mask is not None and bool(comparisons)
    for compared in comparisons:
        source = compared[0] if compared else None
        same = isinstance(source, Ref) and source in values and values[source].value == -1
        known = known and same and len(compared) == 2 and compared[1] == net.mask[1]  # type: ignore[index]
    joined = isinstance(argument, Tensor) and argument.loose
    any_of = "ops.Any" in operations
    simple = operations.count("ops.NotEqual") == 1 and len(operations) == 1 + any_of
    kind = net.mask[0] if net.mask else ""
    if not known or not ((simple and any_of == (kind == "Masking")) or joined):
        name = refs[0].layer if refs else "?"
        raise UnsupportedModelError(f"{call.layer} reads a mask of its own, from {name!r}")
    return replace(argument, mask=True) if isinstance(argument, Tensor) else argument
