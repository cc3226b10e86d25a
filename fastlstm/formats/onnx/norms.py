"""Layer normalisation and activations that a graph writes out in small operators.

A few values on the tape have no part of their own, such as the square root of a variance: they are
kept with what they are (`Deviation`, `Erf` ...) until an operator makes a part of them. If any
other operator reads one, it is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.onnx.flow import Flow
from fastlstm.formats.onnx.parts import scaled
from fastlstm.formats.onnx.tape import Ids, Product, Scale, Value, varies
from fastlstm.network.activations import Activation
from fastlstm.network.joints import Join
from fastlstm.network.normalisation import LayerNorm
from fastlstm.network.pointwise import Activate

__all__ = ["batch_norm_of_rows", "dot", "erf", "layer_norm", "of_two", "power", "with_constant"]

Array = npt.NDArray[Any]

NORM: Final = "a part of a normalisation"
ERF: Final = "the function erf"


@dataclass(eq=False)
class Deviation:
    """``(variance + epsilon) ** power * scale``, of the value, around its mean or 0."""

    of: Value
    epsilon: float
    centered: bool
    power: float
    scale: Array | None = None  # (K,)


@dataclass(eq=False)
class Normalised:
    """A value, or its mean, times a `Deviation` of power -1/2: ``sign * x * d``; and a shift."""

    deviation: Deviation
    of_mean: bool
    sign: float
    shift: Array | None = None


@dataclass(eq=False)
class Erf:
    """``scale * erf(factor * x) + shift``."""

    of: Value
    factor: float
    scale: float = 1.0
    shift: float = 0.0


def layer_norm(
    flow: Flow, x: Ids, scale: Array, shift: Array, epsilon: float, centered: bool
) -> Ids:
    """A normalisation of the last axis."""
    rows = flow.rows(x)
    if len(scale) != rows.value.K:
        raise UnsupportedModelError(f"a scale of {len(scale)} for {rows.value.K} numbers")
    back = np.argsort(rows.order)
    found = flow.applied(rows.value, _norm(flow, scale[back], shift[back], epsilon, centered))
    placed = flow.placed(found, rows.n, rows.t, rows.order)
    return placed.moved(np.broadcast_to(placed.array, x.shape))


def _norm(flow: Flow, scale: Array, shift: Array, epsilon: float, centered: bool) -> LayerNorm:
    return flow.parts.get(
        ("norm", epsilon, centered),
        (scale, shift),
        lambda: LayerNorm(scale, shift, epsilon, centered=centered),
    )


# --- what values are ----------------------------------------------------------------------------


def _mean_of(value: Value) -> Value | None:
    """The value whose mean over its numbers this is."""
    times = 1.0
    while isinstance(value.part, Scale) and value.part.center is None and value.part.shift is None:
        scale = value.part.scale
        if scale is None or scale.size != 1:
            return None
        times *= float(scale[0])
        value = value.parents[0]
    part = value.part
    if not isinstance(part, Product) or part.windows is not None or part.weight.shape[0] != 1:
        return None
    weight = part.weight[0]
    K = len(weight)
    if (weight != weight[0]).any() or not math.isclose(weight[0] * times * K, 1, rel_tol=1e-6):
        return None
    return value.parents[0]


def _minus(value: Value) -> Value | None:
    """The value of which this is the negative."""
    part = value.part
    alone = isinstance(part, Scale) and part.center is None and part.shift is None
    if alone and part.scale is not None and (part.scale == -1).all():
        return value.parents[0]
    return None


def _centered(value: Value) -> Value | None:
    """The value from which its mean is subtracted here."""
    if isinstance(value.part, Join) and value.part.how == "add" and len(value.parents) == 2:
        of, other = value.parents
        mean = _minus(other)
        if mean is not None and _mean_of(mean) is of:
            return of
    return None


def _square_of(value: Value) -> Value | None:
    part = value.part
    if isinstance(part, Join) and part.how == "multiply" and len(value.parents) == 2:
        a, b = value.parents
        return a if a is b else None
    return None


def _variance_of(value: Value) -> tuple[Value, bool] | None:
    """The value whose variance this is, and whether around its mean."""
    squares = _mean_of(value)
    if squares is None:
        return None
    root = _square_of(squares)
    if root is None:
        return None
    centered = _centered(root)
    return (root, False) if centered is None else (centered, True)


def _special(flow: Flow, near: Value, part: Any, K: int, flaw: str) -> Value:
    return flow.derive([near], part, near.T, K, near.every, flaw=flaw)


# --- operators ----------------------------------------------------------------------------------


def power(flow: Flow, x: Ids, exponent: float) -> Ids:
    """A root or a reciprocal of a variance."""
    x = flow.one(x)
    value = x.value
    assert value is not None
    part = value.part
    if isinstance(part, Deviation) and exponent in (-1.0, 0.5, -0.5) and part.scale is None:
        raised = Deviation(part.of, part.epsilon, part.centered, part.power * exponent)
        return Ids(x.array, _special(flow, part.of, raised, 1, NORM))
    if exponent in (0.5, -0.5) and value.flaw is None:
        epsilon, below = 0.0, value
        shifted = isinstance(part, Scale) and part.center is None and part.scale is None
        if shifted and part.shift is not None and part.shift.size == 1:
            epsilon, below = float(part.shift[0]), value.parents[0]
        of = _variance_of(below)
        if of is not None and epsilon >= 0:
            root = Deviation(of[0], epsilon, of[1], exponent)
            return Ids(x.array, _special(flow, of[0], root, 1, NORM))
    raise UnsupportedModelError(
        f"the power {exponent:g} of data, which is not the variance of a normalisation"
    )


def erf(flow: Flow, x: Ids) -> Ids:
    """The function erf, as it stands in a Gelu."""
    x = flow.one(x)
    value = x.value
    assert value is not None
    of, factor = _factor(value)
    part = Erf(of, factor)
    return Ids(x.array, _special(flow, of, part, value.K, ERF))


def _factor(value: Value) -> tuple[Value, float]:
    """The value that another is a multiple of, and the factor."""
    factor = 1.0
    while isinstance(value.part, Scale) and value.part.center is None and value.part.shift is None:
        scale = value.part.scale
        if scale is None or (scale != scale[0]).any():
            break
        factor *= float(scale[0])
        value = value.parents[0]
    return value, factor


def with_constant(flow: Flow, op: str, x: Ids, number: Array, turned: bool) -> Ids | None:
    """What a constant makes of such a value; None if it is another kind of value."""
    x = flow.one(x)
    value = x.value
    assert value is not None
    part = value.part
    if isinstance(part, Erf):
        if number.size != 1 or (op == "Div" and turned):
            return None
        c = float(number.reshape(()))
        a, b = part.scale, part.shift
        if op in ("Mul", "Div"):
            c = c if op == "Mul" else 1 / c
            a, b = a * c, b * c
        else:
            a = -a if turned and op == "Sub" else a
            b = c - b if turned and op == "Sub" else b + (c if op == "Add" else -c)
        found = Erf(part.of, part.factor, a, b)
        return Ids(x.array, _special(flow, part.of, found, value.K, ERF))
    if isinstance(part, Deviation):
        return _deviation_with(flow, op, x, number, turned)
    if isinstance(part, Normalised):
        return _normalised_with(flow, op, x, number, turned)
    return None


def _row(flow: Flow, number: Array, K: int) -> Array | None:
    """A constant that stands beside the last axis, as (K,)."""
    if number.size == 1:
        return np.full(K, number.reshape(()), number.dtype)
    return number.reshape(-1) if number.size == K == number.shape[-1] else None


def _deviation_with(flow: Flow, op: str, x: Ids, number: Array, turned: bool) -> Ids | None:
    part = x.value.part
    row = _row(flow, number, part.of.K)
    if op == "Div" and turned and row is not None and part.scale is None:
        part, op = Deviation(part.of, part.epsilon, part.centered, -part.power), "Mul"
    if op != "Mul" or row is None:
        return None
    scale = row if part.scale is None else part.scale * row
    found = Deviation(part.of, part.epsilon, part.centered, part.power, scale)
    value = _special(flow, part.of, found, part.of.K, NORM)
    at = flow.located(x)
    if varies(at.k, at.k.ndim - 1):
        return Ids(x.array, value)
    placed = flow.placed(value, at.n, at.t, np.arange(value.K))
    shape = (*x.shape[:-1], value.K)
    return placed.moved(np.broadcast_to(placed.array, shape))


def _normalised_with(flow: Flow, op: str, x: Ids, number: Array, turned: bool) -> Ids | None:
    part, value = x.value.part, x.value
    row = _row(flow, number, part.deviation.of.K)
    if row is None:
        return None
    if op == "Mul" and (row == -1).all() and part.shift is None:
        sign, shift = -part.sign, None
    elif op == "Add" or (op == "Sub" and not turned):
        row = row if op == "Add" else -row
        sign, shift = part.sign, row if part.shift is None else part.shift + row
    elif op == "Sub":
        sign, shift = -part.sign, row if part.shift is None else row - part.shift
    else:
        return None
    found = Normalised(part.deviation, part.of_mean, sign, shift)
    return Ids(x.array, _special(flow, part.deviation.of, found, value.K, NORM))


def of_two(flow: Flow, op: str, a: Ids, b: Ids) -> Ids | None:
    """What two tensors make together, if that is an activation or a normalisation."""
    a, b = flow.one(a), flow.one(b)
    u, v = a.value, b.value
    assert u is not None
    assert v is not None
    if op == "Mul":
        for x, other in ((a, b), (b, a)):
            found = _gated(flow, x, other)
            if found is not None:
                return found
    if op in ("Mul", "Div"):
        pairs = ((a, b), (b, a)) if op == "Mul" else ((a, b),)
        for x, other in pairs:
            assert other.value is not None
            if isinstance(other.value.part, Deviation):
                return _times_deviation(flow, op, x, other)
    if op in ("Add", "Sub"):
        parts = [k.part for k in (u, v) if isinstance(k.part, Normalised)]
        if len(parts) == 2:
            return _whole_norm(flow, op, a, b)
        if isinstance(u.part, Normalised) or isinstance(v.part, Normalised):
            raise UnsupportedModelError(f"computes with {NORM}")
    return None


def _gated(flow: Flow, x: Ids, gate: Ids) -> Ids | None:
    """``x * sigmoid(x)`` and others like it."""
    value, other = x.value, gate.value
    assert value is not None
    assert other is not None
    if x.array.shape != gate.array.shape or not np.array_equal(x.array, gate.array):
        return None
    part = other.part
    if isinstance(part, Erf):
        of, times = _factor(value)
        half = math.isclose(part.factor, math.sqrt(0.5), rel_tol=1e-5)
        if of is not part.of or not half or part.scale != part.shift:
            raise UnsupportedModelError(f"computes with {ERF}, not as in a Gelu")
        found = flow.applied(of, flow.part(Activate, Activation("gelu")))
        factor = 2 * part.scale * times
        ids = Ids(x.array, found)
        if math.isclose(factor, 1, rel_tol=1e-6):
            return ids
        return scaled(flow, ids, scale=np.asarray(factor, found.dtype))
    if not isinstance(part, Activate) or isinstance(part.activation, str):
        return None
    below, name = other.parents[0], part.activation.name
    inner = below.part.activation if isinstance(below.part, Activate) else None
    if name == "tanh" and inner == Activation("softplus") and below.parents[0] is value:
        return Ids(x.array, flow.applied(value, flow.part(Activate, Activation("mish"))))
    if below is not value:
        return None
    if name == "sigmoid":
        return Ids(x.array, flow.applied(value, flow.part(Activate, Activation("silu"))))
    if name == "hard_sigmoid":
        alpha, beta = part.activation.numbers
        if math.isclose(alpha, 1 / 6, rel_tol=1e-5) and beta == 0.5:
            return Ids(x.array, flow.applied(value, flow.part(Activate, Activation("hard_silu"))))
    return None


def _times_deviation(flow: Flow, op: str, x: Ids, other: Ids) -> Ids:
    """What is multiplied with, or divided by, a deviation."""
    value, part = x.value, other.value.part
    assert value is not None
    power_ = -part.power if op == "Div" else part.power
    same = _same_rows(flow, x, other)
    if power_ == -0.5 and same and not (op == "Div" and part.scale is not None):
        of: Value = part.of
        scale = np.ones(of.K, of.dtype) if part.scale is None else part.scale
        zeros = np.zeros(of.K, scale.dtype)
        root = _centered(value) if part.centered else value
        if root is of:
            norm = _norm(flow, scale, zeros, part.epsilon, part.centered)
            return Ids(x.array, flow.applied(of, norm))
        if part.centered and value is part.of:
            found = Normalised(part, False, 1.0)
            return Ids(x.array, _special(flow, of, found, of.K, NORM))
        negative = _minus(value)
        mean = _mean_of(value if negative is None else negative)
        if part.centered and mean is of:
            found = Normalised(part, True, 1.0 if negative is None else -1.0)
            special = _special(flow, of, found, other.value.K, NORM)
            wide = other if other.value.K > 1 else x
            return Ids(wide.array, special)
    raise UnsupportedModelError(
        f"computes with {NORM} in a way that is no layer normalisation of this version"
    )


def _same_rows(flow: Flow, a: Ids, b: Ids) -> bool:
    left, right = flow.located(a), flow.located(b)
    try:
        return bool((left.n == right.n).all() and (left.t == right.t).all())
    except ValueError:
        return False


def _whole_norm(flow: Flow, op: str, a: Ids, b: Ids) -> Ids:
    """``x * d`` and ``shift - mean * d``, added up."""
    first, second = a.value.part, b.value.part
    sign = -1.0 if op == "Sub" else 1.0
    if first.of_mean:
        first, second = second, first
        a, b = b, a
        if op == "Sub":
            raise UnsupportedModelError(f"computes with {NORM}")
    d = first.deviation
    fits = not first.of_mean and second.of_mean and _alike(d, second.deviation)
    fits = fits and first.sign == 1.0 and sign * second.sign == -1.0 and first.shift is None
    if not fits or not _same_rows(flow, a, b):
        raise UnsupportedModelError(f"computes with {NORM}, not as in a layer normalisation")
    scale = np.ones(d.of.K, d.of.dtype) if d.scale is None else d.scale
    shift = np.zeros(d.of.K, scale.dtype) if second.shift is None else sign * second.shift
    norm = _norm(flow, scale, np.asarray(shift, scale.dtype), d.epsilon, True)
    return Ids(a.array, flow.applied(d.of, norm))


def _alike(a: Deviation, b: Deviation) -> bool:
    if a is b:
        return True
    same = a.of is b.of and (a.epsilon, a.centered, a.power) == (b.epsilon, b.centered, b.power)
    if a.scale is None or b.scale is None:
        return same and a.scale is b.scale
    return same and np.array_equal(a.scale, b.scale)


def batch_norm_of_rows(flow: Flow, values: Sequence[Any], epsilon: float) -> Ids:
    """A layer normalisation that is written as a batch normalisation of rows as channels."""
    x, gamma, beta, mean, variance = values[:5]
    if not all(isinstance(k, Ids) for k in (x, mean, variance)):
        raise UnsupportedModelError("a batch normalisation by numbers that depend on the input")
    x = flow.one(x)
    of = x.value
    constants = [k for k in (gamma, beta) if isinstance(k, np.ndarray)]
    if len(constants) != 2 or (gamma != 1).any() or beta.any():
        raise UnsupportedModelError("a batch normalisation by numbers that depend on the input")
    shape = (1, -1, *(1,) * (x.array.ndim - 2))
    m, v = (flow.one(k.moved(k.array.reshape(shape))) for k in (mean, variance))
    found = _variance_of(v.value)
    fits = _mean_of(m.value) is of and found == (of, True)
    if not fits or not _same_rows(flow, x, m) or not _same_rows(flow, x, v):
        raise UnsupportedModelError("a batch normalisation by numbers that depend on the input")
    norm = _norm(flow, np.ones(of.K, of.dtype), np.zeros(of.K, of.dtype), float(epsilon), True)
    return Ids(x.array, flow.applied(of, norm))


def dot(flow: Flow, x: Ids, how: str) -> Ids | None:
    """The sum over the numbers of a product of two values: their dot product."""
    value = x.value
    assert value is not None
    part = value.part
    if how != "sum" or not isinstance(part, Join) or part.how != "multiply":
        return None
    a, b = value.parents if len(value.parents) == 2 else (None, None)
    if a is None or b is None or a is b or a.K != b.K or a.K != value.K:
        return None
    rows = flow.rows(x)
    if rows.value is not value:
        return None
    found = flow.joined("dot", [a, b], 1)
    placed = flow.placed(found, rows.n, rows.t, 0)
    return placed.moved(np.broadcast_to(placed.array[..., 0], x.shape[:-1]))
