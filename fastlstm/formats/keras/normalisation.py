"""Keras' normalisations and scalings."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError
from fastlstm.formats.keras.graph import KerasLayer
from fastlstm.formats.keras.net import Net
from fastlstm.formats.keras.tensors import Tensor, as_axis
from fastlstm.network.normalisation import Affine, LayerNorm
from fastlstm.network.pointwise import PReLU

__all__ = ["batch_norm", "layer_norm", "normalization", "prelu", "rescaling", "rms_norm"]

Array = npt.NDArray[Any]

LEAST: Final = 1e-7  # Keras' epsilon(), below which no deviation is divided by


def _over_numbers(net: Net, layer: KerasLayer, x: Tensor, axis: Any) -> Tensor:
    """Return x with its numbers last, which the axis has to be."""
    k = as_axis(layer, axis, x.rank)
    y = net.numbers_last(x)
    if k != x.rank - 1:
        net.refuse(
            f"axis={axis!r:.80} of {x} is not computed; only that of the numbers, the last, is"
        )
    return y


def _arrays(net: Net, layer: KerasLayer, x: Tensor, names: list[str], **other: Any) -> list[Array]:
    """The weights of a layer, one for each number of x."""
    arrays = net.take(layer, names, **other)
    sizes = {a.shape for a in arrays}
    if len(sizes) > 1 or any(a.ndim != 1 for a in arrays):
        raise ModelFormatError(f"{layer}: expected vectors of one size, got {sorted(sizes)}")
    for a in arrays:
        if x.size not in (None, a.size):
            raise ModelFormatError(f"{layer}: {a.size} weights for {x}")
    return arrays


def _affine(net: Net, x: Tensor, center: Array, scale: Array, shift: Array, dtype: Any) -> Tensor:
    part = Affine(*(np.asarray(k).astype(dtype) for k in (center, scale, shift)))
    return net.weighted(x, part, part.input_size)


def batch_norm(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    """BatchNormalization, by the statistics that training left behind."""
    options = net.options(layer)
    options.expect("mode", 0)
    x = _over_numbers(net, layer, x, options.take("axis", default=-1))
    epsilon = _number(layer, "epsilon", options.take("epsilon", default=1e-3))
    scale, center = options.flag("scale", default=True), options.flag("center", default=True)
    renorm = options.flag("renorm")
    options.take("momentum", "renorm_clipping", default=None)
    options.take("renorm_momentum", "virtual_batch_size", default=None)
    options.take("synchronized", "fused", default=None)
    options.expect("adjustment", None)
    options.refuse_rest()
    names = [*["gamma"] * scale, *["beta"] * center, "moving_mean", "moving_variance"]
    unread = ["moving_stddev", "renorm_mean", "renorm_stddev"] if renorm else []
    arrays = dict(zip(names, _arrays(net, layer, x, names, unread=unread), strict=True))
    mean, variance = arrays["moving_mean"], arrays["moving_variance"]
    gamma = arrays.get("gamma", np.ones_like(mean)).astype(np.float64)
    beta = arrays.get("beta", np.zeros_like(mean))
    if (variance + epsilon <= 0).any():
        raise ModelFormatError(f"{layer}: a variance of {variance.min():g} is negative")
    deviation = np.sqrt(variance.astype(np.float64) + epsilon)
    return _affine(net, x, mean, gamma / deviation, beta, mean.dtype)


def layer_norm(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    """LayerNormalization over the numbers of a step."""
    options = net.options(layer)
    x = _over_numbers(net, layer, x, options.take("axis", default=-1))
    epsilon = _number(layer, "epsilon", options.take("epsilon", default=1e-3))
    scale, center = options.flag("scale", default=True), options.flag("center", default=True)
    options.expect("rms_scaling", False)
    options.refuse_rest()
    names = [*["gamma"] * scale, *["beta"] * center]
    arrays = dict(zip(names, _arrays(net, layer, x, names), strict=True))
    return _normalised(net, x, arrays.get("gamma"), arrays.get("beta"), epsilon)


def rms_norm(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    """RMSNormalization over the numbers of a step."""
    options = net.options(layer)
    x = _over_numbers(net, layer, x, options.take("axis", default=-1))
    epsilon = _number(layer, "epsilon", options.take("epsilon", default=1e-6))
    options.refuse_rest()
    (scale,) = _arrays(net, layer, x, ["scale"])
    return _normalised(net, x, scale, None, epsilon, centered=False)


def _normalised(
    net: Net, x: Tensor, scale: Any, shift: Any, epsilon: float, centered: bool = True
) -> Tensor:
    made = scale is None and shift is None
    if made and x.size is None:
        net.refuse("the number of inputs is not known; give the model a keras.Input")
    like = np.zeros(x.size or 1) if made else scale if scale is not None else shift
    scale = np.ones_like(like) if scale is None else scale
    shift = np.zeros_like(like) if shift is None else shift
    part = LayerNorm(scale, shift, epsilon, centered=centered)
    return net.weighted(x, part, part.input_size, made=made)


def normalization(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    """Normalization by a mean and a variance of each number, or of all."""
    options = net.options(layer)
    axis = options.take("axis", default=-1)
    given = [options.take(name, default=None) for name in ("mean", "variance")]
    invert = options.flag("invert")
    options.refuse_rest()
    all_alike = axis is None or axis in ([], ())
    x = net.numbers_last(x) if all_alike else _over_numbers(net, layer, x, axis)
    if given[0] is None:
        names = ["mean", "variance"]
        arrays = net.take(layer, names, ["count"])
        dtype: Any = arrays[0].dtype
    else:
        arrays = [_numbers(layer, k) for k in given]
        dtype = None
    if x.size is None and not all_alike:
        x = _sized(x, arrays[0].size)
    if x.size is None or any(a.size not in (1, x.size) for a in arrays):
        raise ModelFormatError(f"{layer}: expected a mean for each number of {x}")
    mean, variance = (np.full(x.size, a.reshape(-1), np.float64) for a in arrays)
    if (variance < 0).any():
        raise ModelFormatError(f"{layer}: a variance of {variance.min():g} is negative")
    deviation = np.maximum(np.sqrt(variance), LEAST)
    zero = np.zeros(x.size)
    center, scale, shift = (zero, deviation, mean) if invert else (mean, 1 / deviation, zero)
    if dtype is None:
        return net.weighted(x, Affine(center, scale, shift), x.size, made=True)
    return _affine(net, x, center, scale, shift, dtype)


def _sized(x: Tensor, size: int) -> Tensor:
    """The same tensor, of which it is now known how many numbers it has."""
    return Tensor(
        x.value, x.every, size, (*x.axes[:-1], x.axes[-1] if size > 1 else 1), x.steps, x.mask
    )


def rescaling(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    """Rescaling: ``x * scale + offset``."""
    options = net.options(layer)
    scale, offset = (_numbers(layer, options.take(k)) for k in ("scale", "offset"))
    options.refuse_rest()
    x = net.numbers_last(x)
    size = x.size or max(scale.size, offset.size)
    if x.size is None and size > 1:
        x = _sized(x, size)
    if x.size is None or any(a.size not in (1, size) for a in (scale, offset)):
        net.refuse(f"a scale of {scale.size} and an offset of {offset.size} numbers for {x}")
    full = [np.full(size, k.reshape(-1), np.float64) for k in (np.zeros(1), scale, offset)]
    return net.weighted(x, Affine(*full), size, made=True)


def prelu(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    """PReLU; slopes that steps do not share have to be the same at every step."""
    options = net.options(layer)
    options.take("shared_axes", default=None)  # the shape of the slopes shows it
    options.refuse_rest()
    x = net.numbers_last(x)
    (slope,) = net.take(layer, ["alpha"])
    rows = slope.reshape(-1, slope.shape[-1]) if slope.ndim else slope.reshape(1, 1)
    if (rows != rows[0]).any():
        net.refuse(
            "slopes that differ from step to step are not computed; shared_axes=[1] makes them one"
        )
    size = x.size or rows.shape[1]
    if rows.shape[1] not in (1, size):
        raise ModelFormatError(f"{layer}: slopes of shape {slope.shape} for {x}")
    part = PReLU(np.full(size, rows[0], slope.dtype))
    return net.weighted(x, part, size)


def _number(layer: KerasLayer, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ModelFormatError(f"{layer}: expected a number as {name}, got {value!r:.80}")
    return float(value)


def _numbers(layer: KerasLayer, value: Any) -> Array:
    """A number, or an array as one version of Keras or another writes it."""
    while isinstance(value, dict):
        inner = value.get("config", value.get("value"))
        if inner is None or inner is value:
            break
        value = inner
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise ModelFormatError(f"{layer}: expected numbers, got {value!r:.80}") from None
    if not array.size or max(array.shape, default=1) != array.size or not np.isfinite(array).all():
        raise ModelFormatError(f"{layer}: expected finite numbers, got {value!r:.80}")
    return array
