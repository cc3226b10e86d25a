"""The operations of Keras 3, and functions of TensorFlow that amount to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastlstm.errors import ModelFormatError
from fastlstm.formats.keras import joints
from fastlstm.formats.keras.graph import KerasLayer
from fastlstm.formats.keras.net import Net
from fastlstm.formats.keras.shapes import permuted
from fastlstm.formats.keras.tensors import Tensor, as_axis
from fastlstm.network.activations import Activation

__all__ = ["OPERATIONS"]

ACTIVATIONS: Final = {
    "Elu": "elu", "Exp": "exp", "Gelu": "gelu", "HardSilu": "hard_silu", "LogSigmoid":
    "log_sigmoid", "Mish": "mish", "Relu": "relu", "Selu": "selu", "Sigmoid": "sigmoid",
    "Silu": "silu", "Softplus": "softplus", "Softsign": "softsign", "Tanh": "tanh",
}  # fmt: skip
NOTHING: Final = (None, False)


class _Arguments:
    """What an operation is called with: tensors and values, by place, name or in its config."""

    def __init__(self, net: Net, layer: KerasLayer, given: list[Any], named: dict[str, Any]):
        self.net, self.layer = net, layer
        self._given = list(given)
        config = {k: v for k, v in layer.config.items() if k not in ("trainable", "dtype")}
        config.pop("function", None)  # TensorFlow's name of it
        self._named = {**config, **named}
        self._named.pop("name", None)

    def take(self, *names: str, default: Any = None) -> Any:
        """The next argument by place, or one by name."""
        if self._given:
            return self._given.pop(0)
        found = [self._named.pop(name) for name in names if name in self._named]
        return found[0] if found else default

    def option(self, *names: str, default: Any = None) -> Any:
        """An argument by name."""
        found = [self._named.pop(name) for name in names if name in self._named]
        return next((k for k in found if k is not None), default)

    def tensor(self, *names: str) -> Tensor:
        """The next argument, which is a tensor."""
        value = self.take(*names)
        if not isinstance(value, Tensor):
            raise ModelFormatError(f"{self.layer}: expected a tensor, got {value!r:.80}")
        return value

    def done(self) -> None:
        """Refuse what was not taken."""
        rest = {k: v for k, v in self._named.items() if not any(v is k for k in NOTHING)}
        if self._given or rest:
            what = ", ".join(rest) or f"{len(self._given)} more arguments"
            self.net.refuse(f"it is called with {what}, which is not computed")


def _axes(arguments: _Arguments, x: Tensor, value: Any) -> list[int]:
    values = value if isinstance(value, (list, tuple)) else [value]
    return sorted({as_axis(arguments.layer, k, x.rank) for k in values}, reverse=True)


def _reduce(how: str) -> Callable[[_Arguments], Tensor]:
    def reduce(a: _Arguments) -> Tensor:
        x = a.tensor("x", "input_tensor")
        axis, keepdims = a.option("axis"), a.option("keepdims", default=False)
        a.option("initial")
        a.done()
        for k in _axes(a, x, axis):
            x = a.net.reduced(x, k, how, bool(keepdims))
        return x

    return reduce


def _activation(name: str) -> Callable[[_Arguments], Tensor]:
    def activate(a: _Arguments) -> Tensor:
        x = a.tensor("x", "features")
        alpha = a.option("alpha")
        if name == "gelu" and a.option("approximate", default=False):
            a.done()
            return a.net.activated(x, Activation("gelu_tanh"))
        a.done()
        return a.net.activated(x, Activation(name, alpha) if alpha else Activation(name))

    return activate


def _softmax(kind: str) -> Callable[[_Arguments], Tensor]:
    def softmax(a: _Arguments) -> Tensor:
        x = a.tensor("x", "logits")
        k = as_axis(a.layer, a.option("axis", default=-1), x.rank)
        a.done()
        return a.net.softmax(x, k, kind)

    return softmax


def _arithmetic(how: str) -> Callable[[_Arguments], Tensor]:
    def compute(a: _Arguments) -> Tensor:
        x, y = a.take("x1", "x"), a.take("x2", "y")
        a.done()
        if isinstance(x, list) and y is None and len(x) == 2:  # of Keras 2
            x, y = x
        tensors = [k for k in (x, y) if isinstance(k, Tensor)]
        if len(tensors) == 2:
            if how == "divide":
                a.net.refuse("a division by a tensor is not computed")
            x, y = tensors
            if how == "subtract":
                y = a.net.scaled(y, -1)
            return a.net.joined("multiply" if how == "multiply" else "add", [x, y])
        number_first = not isinstance(x, Tensor)
        number = x if number_first else y
        if len(tensors) != 1 or isinstance(number, bool) or not isinstance(number, (int, float)):
            a.net.refuse(f"{how} with {number!r:.60} is not computed; numbers and tensors are")
        (x,) = tensors
        if how == "divide" and (number_first or number == 0):
            a.net.refuse("a division by a tensor, or by zero, is not computed")
        if how == "subtract" and number_first:
            return a.net.scaled(x, -1, number)
        scale = number if how == "multiply" else 1 / number if how == "divide" else 1
        shift = {"add": number, "subtract": -number}.get(how, 0)
        return a.net.scaled(x, scale, shift)

    return compute


def _get_item(a: _Arguments) -> Tensor:
    x, items = a.tensor("x"), a.take("key", "slice_spec")
    a.done()
    items = items if isinstance(items, list) else [items]
    if len(items) and items[0] == slice(None, None, None):
        return _indexed(a, x, items[1:])
    if len(items) and items[0] is ...:
        return _indexed(a, x, items)
    a.net.refuse(f"x[{items!r:.80}] is not computed: it chooses among sequences")


def _indexed(a: _Arguments, x: Tensor, items: list[Any]) -> Tensor:
    taken = sum(item is not None and item is not ... for item in items)
    if items.count(...) > 1 or taken > x.rank:
        raise ModelFormatError(f"{a.layer}: {len(items)} indices for {x}")
    if ... in items:
        k = items.index(...)
        rest = x.rank - taken
        items = [*items[:k], *[slice(None)] * rest, *items[k + 1 :]]
    k = 0
    for item in items:
        new = item is None
        x = x.having(*x.axes[:k], 1, *x.axes[k:]) if new else a.net.selected(x, k, item)
        k += not isinstance(item, int)
    return x


def _expand_dims(a: _Arguments) -> Tensor:
    x = a.tensor("x", "input")
    k = as_axis(a.layer, a.option("axis"), x.rank + 1)
    a.done()
    return x.having(*x.axes[:k], 1, *x.axes[k:])


def _squeeze(a: _Arguments) -> Tensor:
    x = a.tensor("x", "input")
    axis = a.option("axis")
    a.done()
    chosen = [i for i, n in enumerate(x.axes) if n == 1] if axis is None else _axes(a, x, axis)
    for k in sorted(chosen, reverse=True):
        if x.axes[k] != 1:
            x = (
                a.net.selected(x, k, -1)
                if x.length(x.axes[k]) == 1
                else a.net.refuse(f"axis {k + 1} of {x} is not of size 1")
            )
        else:
            x = x.having(*x.axes[:k], *x.axes[k + 1 :])
    return x


def _transpose(a: _Arguments) -> Tensor:
    x, axes = a.tensor("x", "a"), a.option("axes", "perm")
    a.option("conjugate")
    a.done()
    if not isinstance(axes, (list, tuple)) or not axes or axes[0] != 0:
        a.net.refuse(f"axes={axes!r:.80} is not computed")
    return permuted(a.layer, x, list(axes[1:]))


def _swapaxes(a: _Arguments) -> Tensor:
    x = a.tensor("x")
    i, j = (as_axis(a.layer, a.option(name), x.rank) for name in ("axis1", "axis2"))
    a.done()
    axes = list(x.axes)
    axes[i], axes[j] = axes[j], axes[i]
    return x.having(*axes)


def _reshape(a: _Arguments) -> Tensor:
    x, shape = a.tensor("x", "tensor"), a.take("newshape", "shape")
    a.done()
    if not isinstance(shape, (list, tuple)) or not shape or shape[0] not in (-1, None):
        a.net.refuse(f"a shape {shape!r:.80} is not computed: the first size, of the rows, is -1")
    return a.net.reshaped(x, list(shape[1:]))


def _concatenate(a: _Arguments) -> Tensor:
    tensors, axis = a.take("xs", "values"), a.option("axis", default=-1)
    a.done()
    if not isinstance(tensors, list) or not all(isinstance(x, Tensor) for x in tensors):
        raise ModelFormatError(f"{a.layer}: expected tensors")
    return joints.side_by_side(a.net, a.layer, tensors, axis)


def _stack(a: _Arguments) -> Tensor:
    tensors, axis = a.take("x"), a.option("axis", default=0)
    a.done()
    if not isinstance(tensors, list) or not all(isinstance(x, Tensor) for x in tensors):
        raise ModelFormatError(f"{a.layer}: expected tensors")
    k = as_axis(a.layer, axis, tensors[0].rank + 1)
    opened = [x.having(*x.axes[:k], 1, *x.axes[k:]) for x in tensors]
    return a.net.joined("concatenate", opened, k)


def _flip(a: _Arguments) -> Tensor:
    x = a.tensor("x", "tensor")
    for k in _axes(a, x, a.option("axis")):
        x = a.net.selected(x, k, slice(None, None, -1))
    a.done()
    return x


def _repeat(a: _Arguments) -> Tensor:
    x, times = a.tensor("x"), a.take("repeats")
    k = as_axis(a.layer, a.option("axis"), x.rank)
    a.done()
    if type(times) is not int or times < 1 or not isinstance(x.axes[k], int):
        a.net.refuse(f"{times!r:.80} copies along axis {k + 1} of {x} are not computed")
    return x.having(*x.axes[:k], int(x.axes[k]) * times, *x.axes[k + 1 :])


def _tile(a: _Arguments) -> Tensor:
    x, times = a.tensor("x", "input"), a.take("repeats", "multiples")
    a.done()
    if not isinstance(times, (list, tuple)) or len(times) != x.rank + 1 or times[0] != 1:
        a.net.refuse(f"{times!r:.80} copies of {x} are not computed")
    axes = list(x.axes)
    for k, n in enumerate(times[1:]):
        if n != 1:
            if type(n) is not int or n < 1 or not isinstance(axes[k], int):
                a.net.refuse(f"{times!r:.80} copies of {x} are not computed")
            axes[k] = int(axes[k]) * n
    return x.having(*axes)


def _matmul(a: _Arguments) -> Tensor:
    x, y = a.tensor("x1", "a"), a.tensor("x2", "b")
    swap = [a.option("transpose_a"), a.option("transpose_b")]
    a.done()
    if x.rank != 2 or y.rank != 2:
        a.net.refuse(f"the product of {x} and {y} is not computed")
    x, y = (k.having(*reversed(k.axes)) if s else k for k, s in zip((x, y), swap, strict=True))
    return a.net.dotted(x, 1, y, 0)


def _identity(a: _Arguments) -> Tensor:
    x = a.tensor("x", "input")
    a.done()
    return x


_FUNCTIONS: Final[dict[str, Callable[[_Arguments], Tensor]]] = {
    "Add": _arithmetic("add"),
    "Concatenate": _concatenate,
    "Divide": _arithmetic("divide"),
    "ExpandDims": _expand_dims,
    "Flip": _flip,
    "GetItem": _get_item,
    "Identity": _identity,
    "LogSoftmax": _softmax("log_softmax"),
    "Matmul": _matmul,
    "Max": _reduce("max"),
    "Mean": _reduce("mean"),
    "Multiply": _arithmetic("multiply"),
    "Repeat": _repeat,
    "Reshape": _reshape,
    "Softmax": _softmax("softmax"),
    "Squeeze": _squeeze,
    "Stack": _stack,
    "Subtract": _arithmetic("subtract"),
    "Sum": _reduce("sum"),
    "Swapaxes": _swapaxes,
    "Tile": _tile,
    "Transpose": _transpose,
    "TrueDivide": _arithmetic("divide"),
    **{kind: _activation(name) for kind, name in ACTIVATIONS.items()},
}


def _operation(
    function: Callable[[_Arguments], Tensor],
) -> Callable[[Net, KerasLayer, list[Any], dict[str, Any]], Tensor]:
    def add(net: Net, layer: KerasLayer, given: list[Any], named: dict[str, Any]) -> Tensor:
        return function(_Arguments(net, layer, given, named))

    return add


# Kind of operation: what adds it.
OPERATIONS: Final = {f"ops.{kind}": _operation(f) for kind, f in _FUNCTIONS.items()}
