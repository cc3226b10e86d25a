"""Keras' convolutions, pooling, padding and cropping of steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError
from fastlstm.formats.keras.cells import Options
from fastlstm.formats.keras.graph import KerasLayer
from fastlstm.formats.keras.net import Net
from fastlstm.formats.keras.tensors import Tensor
from fastlstm.network.convolution import Conv
from fastlstm.network.dense import Dense
from fastlstm.network.pooling import Pool
from fastlstm.network.steps import Pad, Slice, Upsample

__all__ = ["conv", "crop", "depthwise", "global_pooling", "pad", "pool", "separable", "upsample"]

Array = npt.NDArray[Any]

GLOBAL = {"GlobalMaxPooling1D": "max", "GlobalAveragePooling1D": "mean"}


def _one(options: Options, *names: str, default: Any = 1) -> int:
    """A size, which Keras also writes as a list of one."""
    value = options.take(*names, default=default)
    if isinstance(value, (list, tuple)) and len(value) == 1:
        (value,) = value
    if type(value) is not int or value < 1:
        raise ModelFormatError(f"{options.where}: expected {names[0]} >= 1, got {value!r:.80}")
    return value


class _Window:
    """The options that all convolutions have."""

    def __init__(self, options: Options) -> None:
        self.taps = _one(options, "kernel_size", "filter_length")
        self.stride = _one(options, "strides", "subsample_length")
        self.dilation = _one(options, "dilation_rate", "atrous_rate")
        self.padding = _padding(options, "valid", "same", "causal")
        self.biased = options.flag("use_bias", "bias", default=True)
        self.activation = options.activation("activation")
        options.expect("data_format", "channels_last", None)

    @property
    def options(self) -> dict[str, Any]:
        """Those of a `Conv`."""
        return {"stride": self.stride, "dilation": self.dilation, "padding": self.padding}


def _padding(options: Options, *known: str) -> Any:
    value = options.take("padding", "border_mode", default="valid")
    if value not in known:
        raise ModelFormatError(f"{options.where}: expected padding of {known}, got {value!r:.80}")
    return value


def conv(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    """Conv1D, whose kernel is (taps, inputs of a group, outputs)."""
    options = net.options(layer)
    window = _Window(options)
    outputs = options.take("filters", "nb_filter")
    groups = _one(options, "groups")
    options.refuse_rest()
    names = ["kernel", "bias"][: 1 + window.biased]
    kernel, *bias = net.take(layer, names)
    if kernel.ndim == 4:  # Keras 1 had one more axis
        if kernel.shape[:2] != (window.taps, 1) or kernel.shape[3] != outputs:
            kernel = kernel.transpose(2, 3, 1, 0)
        kernel = kernel[:, 0]
    if kernel.ndim != 3 or (kernel.shape[0], kernel.shape[2]) != (window.taps, outputs):
        raise ModelFormatError(
            f"{layer}: {window.taps} taps and {outputs} filters, but a kernel of {kernel.shape}"
        )
    if net.weights.backward_taps:
        kernel = kernel[::-1]
    weight = kernel.transpose(2, 0, 1)
    return _convolved(net, x, Conv(weight, *bias, groups=groups, **window.options), window)


def depthwise(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    """DepthwiseConv1D, whose kernel is (taps, inputs, multiplier)."""
    options = net.options(layer)
    window = _Window(options)
    times = _one(options, "depth_multiplier")
    options.expect("groups", 1)
    options.refuse_rest()
    names = ["depthwise_kernel", "bias"][: 1 + window.biased]
    kernel, *bias = net.take(layer, names)
    weight = _each(layer, kernel, window.taps, times)
    part = Conv(weight, *bias, groups=kernel.shape[1], **window.options)
    return _convolved(net, x, part, window)


def separable(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    """SeparableConv1D: a depthwise convolution, then a dense layer at every step."""
    options = net.options(layer)
    window = _Window(options)
    times = _one(options, "depth_multiplier")
    options.expect("groups", 1)
    outputs = options.take("filters", "nb_filter")
    options.refuse_rest()
    names = ["depthwise_kernel", "pointwise_kernel", "bias"][: 2 + window.biased]
    kernel, mix, *bias = net.take(layer, names)
    weight = _each(layer, kernel, window.taps, times)
    if mix.shape != (1, len(weight), outputs):
        raise ModelFormatError(f"{layer}: {outputs} filters, but a kernel of {mix.shape}")
    y = net.moved(net.sequence(x), Conv(weight, groups=kernel.shape[1], **window.options))
    y = net.weighted(y, Dense(mix[0].T, *bias), outputs)
    return net.activated(y, window.activation)


def _each(layer: KerasLayer, kernel: Array, taps: int, times: int) -> Array:
    """The weight (O, taps, 1) of a convolution of each input by itself."""
    if kernel.ndim != 3 or (kernel.shape[0], kernel.shape[2]) != (taps, times):
        raise ModelFormatError(
            f"{layer}: {taps} taps and depth_multiplier={times}, but a kernel of {kernel.shape}"
        )
    return np.ascontiguousarray(kernel.transpose(1, 2, 0)).reshape(-1, taps, 1)


def _convolved(net: Net, x: Tensor, part: Conv, window: _Window) -> Tensor:
    return net.activated(net.moved(net.sequence(x), part), window.activation)


def pool(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    """MaxPooling1D or AveragePooling1D."""
    options = net.options(layer)
    size = _one(options, "pool_size", "pool_length", default=2)
    stride = options.take("strides", "stride", default=None)
    stride = (
        size if stride is None else _one(Options(str(layer), {"strides": stride}, 3), "strides")
    )
    padding = _padding(options, "valid", "same")
    options.expect("data_format", "channels_last", None)
    options.refuse_rest()
    how = "max" if layer.kind.startswith("Max") else "mean"
    return net.moved(net.sequence(x), Pool(how, size, stride, padding=padding))


def global_pooling(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    """GlobalMaxPooling1D or GlobalAveragePooling1D."""
    options = net.options(layer)
    keepdims = options.flag("keepdims")
    options.expect("data_format", "channels_last", None)
    options.refuse_rest()
    return net.reduced(net.sequence(x), 0, GLOBAL[layer.kind], keepdims)


def _pair(options: Options, name: str) -> tuple[int, int]:
    value = options.take(name)
    pair = [value, value] if type(value) is int else value
    if not isinstance(pair, (list, tuple)) or not all(type(k) is int and k >= 0 for k in pair):
        raise ModelFormatError(f"{options.where}: expected a {name}, got {value!r:.80}")
    if len(pair) == 1 or len(pair) > 2:
        pair = [*pair, *pair][:2] if len(pair) == 1 else pair
    if len(pair) != 2:
        raise ModelFormatError(f"{options.where}: expected a {name}, got {value!r:.80}")
    return pair[0], pair[1]


def pad(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    """ZeroPadding1D."""
    options = net.options(layer)
    before, after = _pair(options, "padding")
    options.expect("data_format", "channels_last", None)
    options.refuse_rest()
    return net.moved(net.sequence(x), Pad(before, after))


def crop(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    """Cropping1D."""
    options = net.options(layer)
    before, after = _pair(options, "cropping")
    options.refuse_rest()
    return net.moved(net.sequence(x), Slice(before, -after if after else None))


def upsample(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    """UpSampling1D."""
    options = net.options(layer)
    times = _one(options, "size", "length", default=2)
    options.refuse_rest()
    return net.moved(net.sequence(x), Upsample(times))
