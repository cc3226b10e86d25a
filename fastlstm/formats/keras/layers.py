"""Kinds of Keras layers, and what adds them to a network.

Each has an entry in one of three tables: a function that takes the network so far, the layer and
what it reads, adds parts to the network, and returns what the layer gives. `ADDERS` has the layers
that read one tensor, `JOINTS` those that read a list of them, and `OPERATIONS` the functions that
are not layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.keras import activations, convolution, joints, normalisation, shapes
from fastlstm.formats.keras.cells import RECURRENT, bidirectional, recurrent
from fastlstm.formats.keras.graph import KerasLayer
from fastlstm.formats.keras.net import Net
from fastlstm.formats.keras.operations import OPERATIONS
from fastlstm.formats.keras.tensors import NUMBERS, STEPS, Tensor, as_axis
from fastlstm.network.dense import SOFTMAX, Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.masking import Masking
from fastlstm.network.reading import Read

__all__ = ["ADDERS", "INERT", "JOINTS", "OPERATIONS"]

# Layers that compute nothing when a model is used.
INERT: Final = (
    "ActivityRegularization",
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "InputLayer",
    "SpatialDropout1D",
)


def _embedding(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    options = net.options(layer)
    sizes = options.take("input_dim"), options.take("output_dim")
    masks = options.flag("mask_zero")
    options.expect("sparse", False, True)
    options.refuse_rest()
    if net.parts or x.value != -1:
        raise UnsupportedModelError(f"{layer} is computed as the first layer only")
    if x.axes not in ((STEPS,), (STEPS, NUMBERS)):
        net.refuse(f"it reads {x}; only ids (N, steps) are computed")
    (table,) = net.take(layer, ["embeddings"])
    if table.shape != sizes:
        raise ModelFormatError(f"{layer}: expected a table of {sizes}, got {table.shape}")
    if masks:
        net.masks("Embedding", 0)
    part = Embedding(table, padding_id=0 if masks else None)
    return replace(net.moved(x, part), mask=masks)


def _masking(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    options = net.options(layer)
    value = options.take("mask_value")
    options.refuse_rest()
    if net.parts or x.value != -1 or x.rank != 2:
        raise UnsupportedModelError(f"{layer} is computed as the first layer only")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ModelFormatError(f"{layer}: expected a number as mask_value, got {value!r:.80}")
    net.masks("Masking", float(value))
    return replace(net.moved(x, Masking(float(value))), mask=True)


def _recurrent(net: Net, layer: KerasLayer, x: Tensor) -> list[Tensor]:
    found = recurrent(layer, layer.kind, layer.config, layer.inside, net.weights, net.version)
    x = _steps_of(net, x)
    layers = list(found.layers)
    if found.zero_masked and x.mask:
        raise UnsupportedModelError(f"{layer}: zero_output_for_mask=True is not computed")
    if found.backwards:
        layers[0] = replace(layers[0], direction="go_backwards")
    y = x
    for part in layers:
        y = net.moved(y, part)
    y = replace(y, mask=x.mask)
    wants_state = _gives_state(net, layer, layer.config) and len(layers) == 1
    if found.return_sequences and not wants_state:
        return [y]
    h = _read(net, y, "final")
    return [y if found.return_sequences else h, *([h] if wants_state else [])]


def _bidirectional(net: Net, layer: KerasLayer, x: Tensor) -> list[Tensor]:
    both, sequences = bidirectional(layer, net.weights, net.version)
    x = _steps_of(net, x)
    y = replace(net.moved(x, both), mask=x.mask)
    wants_state = _gives_state(net, layer, layer.config["layer"]["config"])
    wants_state &= both.merge == "concat"
    if sequences and not wants_state:
        return [y]
    end = _read(net, y, "final")
    states: list[Tensor] = []
    if wants_state:
        n = both.forward.output_size
        h = [net.selected(end, 0, k) for k in (slice(0, n), slice(n, 2 * n))]
        states = [h[0], h[0], h[1]]  # h and c forward, h backward
    return [y if sequences else end, *states]


def _gives_state(net: Net, layer: KerasLayer, config: dict[str, Any]) -> bool:
    """Whether another layer reads the final state of this one."""
    return layer.name in net.read_states and bool(config.get("return_state"))


def _steps_of(net: Net, x: Tensor) -> Tensor:
    """What a recurrent layer reads."""
    y = net.sequence(x)
    if y.mask:
        net.leaves_out()
    else:
        net.needs_every_step()
    return y


def _read(net: Net, x: Tensor, how: str) -> Tensor:
    return Tensor(net.emit(Read(how), x.value), False, x.size, x.axes[1:])


def _dense(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    options = net.options(layer)
    units = options.take("units", "output_dim")
    activation = options.activation("activation")
    names = ["kernel", "bias"][: 1 + options.flag("use_bias", "bias", default=True)]
    options.refuse_rest()
    kernel, *bias = net.take(layer, names)
    shapes = [a.shape for a in (kernel, *bias)]
    if kernel.ndim != 2 or [shapes[0][1:], *shapes[1:]] != [(units,)] * len(names):
        raise ModelFormatError(f"{layer}: {units} units, but weights of shapes {shapes}")
    x = net.numbers_last(x, len(kernel))
    if x.size not in (None, len(kernel)):
        raise ModelFormatError(f"{layer}: a kernel of {kernel.shape} for {x}")
    inside = activation if activation == SOFTMAX or not isinstance(activation, str) else "linear"
    y = net.weighted(x, Dense(kernel.T, *bias, activation=inside), units)
    return y if inside == activation else net.activated(y, activation)


def _activation(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    entry = {"class_name": layer.kind, "config": layer.config}
    if layer.kind == "Softmax":
        options = net.options(layer)
        k = as_axis(layer, options.take("axis", default=-1), x.rank)
        options.refuse_rest()
        if x.mask:
            raise UnsupportedModelError(f"{layer} with a mask is not computed")
        return net.softmax(x, k)
    activation = activations.from_config(entry, str(layer), net.version)
    if isinstance(activation, str):
        return net.softmax(x, x.rank - 1, activation)
    return net.activated(x, activation)


# Kind of layer that reads one tensor: what adds it. One that gives states as well gives a list.
ADDERS: Final[dict[str, Callable[[Net, KerasLayer, Tensor], Tensor | list[Tensor]]]] = {
    "AtrousConvolution1D": convolution.conv,
    "AveragePooling1D": convolution.pool,
    "BatchNormalization": normalisation.batch_norm,
    "Bidirectional": _bidirectional,
    "Conv1D": convolution.conv,
    "Convolution1D": convolution.conv,
    "Cropping1D": convolution.crop,
    "Dense": _dense,
    "DepthwiseConv1D": convolution.depthwise,
    "Embedding": _embedding,
    "Flatten": shapes.flatten,
    "LayerNormalization": normalisation.layer_norm,
    "Masking": _masking,
    "MaxPooling1D": convolution.pool,
    "Normalization": normalisation.normalization,
    "PReLU": normalisation.prelu,
    "Permute": shapes.permute,
    "RMSNormalization": normalisation.rms_norm,
    "RepeatVector": shapes.repeat_vector,
    "Rescaling": normalisation.rescaling,
    "Reshape": shapes.reshape,
    "SeparableConv1D": convolution.separable,
    "SeparableConvolution1D": convolution.separable,
    "TimeDistributedDense": _dense,
    "UpSampling1D": convolution.upsample,
    "ZeroPadding1D": convolution.pad,
    **dict.fromkeys(activations.LAYERS, _activation),
    **dict.fromkeys(convolution.GLOBAL, convolution.global_pooling),
    **dict.fromkeys(RECURRENT, _recurrent),
}

# Kind of layer that reads several tensors: what adds it.
JOINTS: Final[dict[str, Callable[[Net, KerasLayer, list[Any]], Tensor]]] = {
    "AdditiveAttention": joints.attention,
    "Attention": joints.attention,
    "Concatenate": joints.concatenate,
    "Dot": joints.dot,
    **dict.fromkeys(joints.HOW, joints.merge),
}
