"""Parts applied to tensors, wherever their axes are: what the operators in `layers` are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.budget import charge
from fastlstm.formats.onnx.flow import Flow
from fastlstm.formats.onnx.tape import Ids, Located, Value, varies
from fastlstm.network.activations import Activation
from fastlstm.network.pointwise import Activate

__all__ = ["activated", "along", "elementwise", "expanded", "joined", "product", "scaled"]

Array = npt.NDArray[Any]


def activated(flow: Flow, x: Ids, activation: Activation) -> Ids:
    """An activation of each number."""
    x = flow.one(x)
    assert x.value is not None
    part = flow.part(Activate, activation)
    return Ids(x.array, flow.applied(x.value, part))


def expanded(flow: Flow, x: Ids, shape: tuple[int, ...]) -> Ids:
    """A tensor as it is beside one of another shape."""
    try:
        wanted = np.broadcast_shapes(x.shape, shape)
    except ValueError:
        raise UnsupportedModelError(
            f"a constant of shape {shape} with data of shape {x.shape}"
        ) from None
    if wanted == x.shape:
        return x
    from fastlstm.formats.onnx.ops import limited

    limited(wanted, 4 * flow.largest)
    return x.moved(np.broadcast_to(x.array, wanted))


def product(flow: Flow, x: Ids, weight: Array) -> Ids:
    """``x @ weight.T`` over the last axis."""
    rows = flow.rows(x)
    if weight.ndim != 2 or weight.shape[1] != rows.value.K:
        raise UnsupportedModelError(
            f"a product of {rows.value.K} numbers with weights of shape {weight.shape}"
        )
    charge(2 * weight.nbytes)
    if not np.array_equal(rows.order, np.arange(rows.value.K)):
        weight = weight[:, np.argsort(rows.order)]
    K = len(weight)
    found = flow.applied(rows.value, flow.product(weight), K)
    return _filled(flow.placed(found, rows.n, rows.t, np.arange(K)), (*x.shape[:-1], K))


def _filled(x: Ids, shape: tuple[int, ...]) -> Ids:
    return x if x.shape == shape else x.moved(np.broadcast_to(x.array, shape))


def scaled(
    flow: Flow,
    x: Ids,
    center: Array | None = None,
    scale: Array | None = None,
    shift: Array | None = None,
) -> Ids:
    """``(x - center) * scale + shift`` with constants that stand beside the tensor."""
    given = [k for k in (center, scale, shift) if k is not None]

    def build(*numbers: Array) -> Any:
        left = iter(numbers)
        return flow.scale(*(None if k is None else next(left) for k in (center, scale, shift)))

    return elementwise(flow, x, given, ["a constant"] * len(given), build)


def elementwise(
    flow: Flow,
    x: Ids,
    constants: Sequence[Array],
    names: Sequence[str],
    build: Callable[..., Any],
) -> Ids:
    """A part that has a number for each of the K, given by constants beside the tensor.

    Raises
    ------
    UnsupportedModelError
        If a constant differs between sequences or steps.
    """
    for constant in constants:
        x = expanded(flow, x, constant.shape)
    x = flow.one(x)
    at = flow.located(x)
    tables = [_table(at, k) for k in constants]
    if any(k is None for k in tables):
        # Other numbers for the same number of a value: one that was repeated, or steps in a row.
        rows = flow.rows(x)
        at = Located(rows.value, rows.n, rows.t, rows.order)
        tables = [_table(at, k) for k in constants]
        if any(k is None for k in tables):
            of_rows = flow.selected(rows.value, rows.order)
            at = Located(of_rows, rows.n, rows.t, np.arange(len(rows.order)))
            tables = [_table(at, k) for k in constants]
        x = _filled(flow.placed(at.value, at.n, at.t, at.k), x.shape)
    for table, name in zip(tables, names, strict=True):
        if table is None:
            raise UnsupportedModelError(f"{name} that differs between sequences or steps")
    return Ids(x.array, flow.applied(at.value, build(*tables)))


def _table(at: Located, constant: Array) -> Array | None:
    """The number (K,) for each number of a value; None if there are several."""
    K = at.value.K
    if constant.size == 1:
        charge(elements=K)
        return np.full(K, constant.reshape(()), constant.dtype)
    ndim = max(at.k.ndim, constant.ndim)
    k, numbers = (a.reshape((1,) * (ndim - a.ndim) + a.shape) for a in (at.k, constant))
    # Axes along which the numbers are the same decide nothing.
    for axis in range(ndim):
        if numbers.shape[axis] > 1 and k.shape[axis] == 1:
            charge(elements=numbers.size)
            if varies(numbers, axis):
                return None
            numbers = numbers.take([0], axis)
    charge(elements=3 * max(k.size, numbers.size))
    k, numbers = np.broadcast_arrays(k, numbers)
    table = np.zeros(K, constant.dtype)
    table[k] = numbers
    return table if np.array_equal(table[k], numbers) else None


def along(flow: Flow, x: Ids, axis: int) -> tuple[Value, Array, Callable[..., Ids]]:
    """A tensor as a sequence whose steps are an axis.

    Returns
    -------
    value : Value
        The sequence.
    order : array
        Which of its numbers each one of the tensor is.
    back : callable
        ``back(value, order)`` gives the tensor of another sequence, in the order of axes of `x`.
        If it has as many numbers of each step, they stand as before; otherwise the axis behind the
        sequences' holds them all.
    """
    x = flow.one(x)
    at = flow.located(x)
    rank = x.array.ndim
    batch = [k for k in range(rank) if k != axis and varies(at.n, k)]
    places = x.array
    added = False
    if len(batch) != 1:
        if batch or at.value.N > 1:
            raise UnsupportedModelError("expected one axis of sequences beside that of steps")
        alone = [k for k in range(rank) if k != axis and x.shape[k] == 1]
        if alone:
            batch = alone[:1]
        else:
            places, added, batch, axis, rank = places[None], True, [0], axis + 1, rank + 1
    rest = [k for k in range(rank) if k not in (batch[0], axis)]
    perm = [batch[0], axis, *rest]
    shape = [places.shape[k] for k in rest]
    turned = places.transpose(perm)
    value, order = flow.sequence(x.moved(turned.reshape(*turned.shape[:2], -1)))
    if len(order) != value.K or not np.array_equal(np.sort(order), np.arange(value.K)):
        value, order = flow.selected(value, order), np.arange(len(order))

    def back(found: Value, order: Array) -> Ids:
        N, T = found.N, found.T
        sizes = shape if len(order) == int(np.prod(shape)) else _only(shape, len(order))
        n, t = np.arange(N)[:, None, None], np.arange(T)[None, :, None]
        there = flow.placed(found, n, t, order)
        array = there.array.reshape(N, T, *sizes).transpose(np.argsort(perm))
        return there.moved(array[0] if added else array)

    return value, order, back


def _only(shape: list[int], K: int) -> list[int]:
    """A shape in which the one axis of numbers has another size."""
    wide = [i for i, size in enumerate(shape) if size > 1] or [0]
    if len(wide) > 1:
        raise UnsupportedModelError("computes with numbers of a step in two axes")
    return [K if i == wide[0] else 1 for i in range(len(shape))]


def joined(flow: Flow, how: str, a: Ids, b: Ids) -> Ids:
    """Two tensors added or multiplied, number by number.

    Raises
    ------
    UnsupportedModelError
        If they hold different sequences, steps or numbers in the same places.
    """
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise UnsupportedModelError(f"tensors of shapes {a.shape} and {b.shape}") from None
    a, b = flow.one(a), flow.one(b)
    rank = len(shape)
    a, b = (x.moved(x.array.reshape((1,) * (rank - x.array.ndim) + x.shape)) for x in (a, b))
    left, right = flow.located(a), flow.located(b)
    for at in (left, right):
        if at.value.flaw is not None:
            raise UnsupportedModelError(f"computes with {at.value.flaw}")
    if not _same(left.n, right.n):
        raise UnsupportedModelError("computes with numbers of several sequences")
    left, right = _same_steps(flow, left, right)
    axes = [k for k in range(rank) if varies(left.k, k) or varies(right.k, k)]
    K = left.value.K, right.value.K
    if _same(left.k, right.k) and K[0] == K[1]:
        k = left.k
    elif 1 in K and how != "concatenate":
        k = right.k if K[0] == 1 else left.k
    elif len(axes) == 1 and not any(varies(at.t, axes[0]) for at in (left, right)):
        (axis,) = axes
        left, right = (_only_these(flow, at, axis, shape[axis]) for at in (left, right))
        k = np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(rank)])
    else:
        raise UnsupportedModelError("computes with different numbers of two values")
    value = flow.joined(how, [left.value, right.value], max(left.value.K, right.value.K))
    t = left.t if left.value.every else right.t
    placed = flow.placed(value, left.n, t if value.every else 0 * t, k)
    return _filled(placed, shape)


def _same(a: Array, b: Array) -> bool:
    charge(elements=max(a.size, b.size))
    return bool((a == b).all())


def _same_steps(flow: Flow, left: Located, right: Located) -> tuple[Located, Located]:
    """Both for the same steps: of sequences, or one of them or both vectors."""
    both = left.value.every and right.value.every
    if both and left.value.T == right.value.T and _same(left.t, right.t):
        return left, right
    found = []
    for at in (left, right):
        if at.value.every and (at.t == at.t.flat[0]).all():
            value = flow.step(at.value, int(at.t.flat[0]))
            at = Located(value, at.n, 0 * at.t, at.k)
        elif at.value.every and (final := flow.final(at)) is not None:
            at = Located(final, at.n, 0 * at.t, at.k)
        found.append(at)
    left, right = found
    if left.value.every and right.value.every:
        rank = left.t.ndim
        axes = [k for k in range(rank) if varies(left.t, k) or varies(right.t, k)]
        if len(axes) != 1:
            raise UnsupportedModelError("computes with every step of two values for each other")
        left, right = (flow.only_steps(at, axes[0]) for at in (left, right))
        if left.value.T != right.value.T:
            raise UnsupportedModelError("computes with different steps of two values")
    return left, right


def _only_these(flow: Flow, at: Located, axis: int, size: int) -> Located:
    """The same with a value that has only the numbers that stand along an axis."""
    if at.value.K == 1:
        return at
    order = at.k[tuple(slice(None) if i == axis else 0 for i in range(at.k.ndim))]
    if len(order) not in (1, size):
        raise UnsupportedModelError("computes with different numbers of two values")
    value = flow.selected(at.value, order)
    shape = [-1 if i == axis else 1 for i in range(at.k.ndim)]
    return Located(value, at.n, at.t, np.arange(len(order)).reshape(shape))
