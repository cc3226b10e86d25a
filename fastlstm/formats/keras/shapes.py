"""Keras' layers that move numbers about: reshaping, permuting, repeating."""

from __future__ import annotations

from fastlstm.errors import ModelFormatError
from fastlstm.formats.keras.graph import KerasLayer
from fastlstm.formats.keras.net import Net
from fastlstm.formats.keras.tensors import BOTH, STEPS, Tensor

__all__ = ["flatten", "permute", "repeat_vector", "reshape"]


def flatten(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    """Flatten: the steps one after the other."""
    options = net.options(layer)
    options.expect("data_format", "channels_last", None)
    options.refuse_rest()
    return net.reshaped(x, [-1])


def reshape(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    """Reshape."""
    options = net.options(layer)
    target = options.take("target_shape", "dims")
    options.refuse_rest()
    return net.reshaped(x, target)


def permute(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    """Permute: its axes in another order."""
    options = net.options(layer)
    dims = options.take("dims")
    options.refuse_rest()
    return permuted(layer, x, dims)


def permuted(layer: KerasLayer, x: Tensor, dims: object) -> Tensor:
    """Return x with its axes in another order; the first that is left is number 1."""
    if not isinstance(dims, (list, tuple)) or sorted(dims) != list(range(1, x.rank + 1)):
        raise ModelFormatError(f"{layer}: expected an order of {x.rank} axes, got {dims!r:.80}")
    return x.having(*(x.axes[k - 1] for k in dims))


def repeat_vector(net: Net, layer: KerasLayer, x: Tensor) -> Tensor:
    """RepeatVector: the same vector at every step."""
    options = net.options(layer)
    n = options.take("n")
    options.refuse_rest()
    if type(n) is not int or n < 1 or x.rank != 1:
        raise ModelFormatError(f"{layer}: expected n >= 1 copies of a vector, got {n!r:.80} of {x}")
    if x.axes[0] in (STEPS, BOTH):  # all of them are the vector
        x = net.flat(x)
    if x.axes == (1,) or x.axes[0] != 1:
        return x.having(n, *x.axes)
    return x
