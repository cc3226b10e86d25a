"""The constants of the activations in each dtype, for the compiled code."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

from fastlstm.engine.simd.pack import constant_pack, elementwise, fused, intrinsic

LOG2E = 1.4426950408889634
MANTISSA_BITS = {32: 23, 64: 52}
EXPONENT_BIAS = {32: 127, 64: 1023}
# exp(-z) of `sigmoid` carries this power of two, see there.
SCALE_BITS = {32: 40, 64: 320}

# ln2 in two parts, the first with enough trailing zeros for n * ln2_high to be exact
# (W. J. Cody and W. Waite, Software Manual for the Elementary Functions, 1980).
LN2_HIGH = {32: 0.693145751953125, 64: 0.69314718036912381649}
LN2_LOW = {32: 1.42860682030941723212e-6, 64: 1.90821492927058770002e-10}

# Of G. Klambauer and others, Self-Normalizing Neural Networks, 2017, as all frameworks have them.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805

LIMIT = {32: 87.0, 64: 708.0}
# Above: exp(-z) is less than half a unit in the last place of 1. Below: the result rounds to 0.
UPPER = {32: 40.0, 64: 80.0}
LOWER = {32: -104.5, 64: -746.0}
# exp(limit) overflows.
EXP_LIMIT = {32: 89.0, 64: 710.0}
# erf(limit) rounds to 1; the terms of its series beyond are less than half a unit of the sum.
ERF_LIMIT = {32: 4.0, 64: 6.0}
ERF_TERMS = {32: 60, 64: 140}
# A power of two that keeps the series' coefficients within the range of the dtype.
ERF_SCALE = {32: 16.0, 64: 64.0}
# atanh(y) = y + y^3 / 3 + y^5 / 5 + ... for y <= 1 / 3.
ATANH_TERMS = {32: 8, 64: 17}
# atanh(s) = s + s^3 (1 / 3 + s^2 / 5 + ...) for s <= 0.172.
LOG_TERMS = {32: 5, 64: 11}
# tanh(limit) rounds to 1.
TANH_LIMIT = {32: 10.0, 64: 22.0}


def _shift(bits: int, scale_bits: int = 0) -> float:
    # Adding 1.5 * 2^mantissa_bits rounds to an integer, which is then in the low bits.
    return 1.5 * 2.0 ** MANTISSA_BITS[bits] + EXPONENT_BIAS[bits] - scale_bits


def _table(bits: int) -> dict[str, float]:
    return {
        "1": 1.0,
        "-1": -1.0,
        "2": 2.0,
        "1/6": 1 / 6,
        "selu": SELU_SCALE,
        "selu alpha": SELU_SCALE * SELU_ALPHA,
        "0.044715": 0.044715,
        "2 / sqrt(pi)": 2 / math.sqrt(math.pi),
        "sqrt(2/pi)": math.sqrt(2 / math.pi),
        "sqrt(1/2)": math.sqrt(0.5),
        "erf_limit": ERF_LIMIT[bits],
        "-erf_limit": -ERF_LIMIT[bits],
        "1 / erf_scale": 1 / ERF_SCALE[bits],
        "0.5": 0.5,
        "-0.5": -0.5,
        "log2e": LOG2E,
        "log2e / 2": LOG2E / 2,
        "-log2e": -LOG2E,
        "-2 log2e": -2 * LOG2E,
        "-ln2 / 2": -math.log(2.0) / 2,
        "ln2_high": LN2_HIGH[bits],
        "-ln2_high": -LN2_HIGH[bits],
        "-ln2_low": -LN2_LOW[bits],
        "shift": _shift(bits),
        "scaled_shift": _shift(bits, SCALE_BITS[bits]),
        "scale": 2.0 ** -SCALE_BITS[bits],
        "limit": LIMIT[bits],
        "-limit": -LIMIT[bits],
        "upper": UPPER[bits],
        "lower": LOWER[bits],
        "exp_limit": EXP_LIMIT[bits],
        "tanh_limit": TANH_LIMIT[bits],
        "tanh_shift": _shift(bits, -1),
    }


CONSTANTS = {bits: _table(bits) for bits in (32, 64)}

# expm1(r) = r + r^2 P(r) for |r| <= ln2 / 2; the coefficients of P, highest power first.
POLYNOMIALS: dict[tuple[str, int], tuple[float, ...]] = {
    ("expm1", 32): (
        0.00138825170397432733,
        0.00836651425794420923,
        0.0416671997294811194,
        0.166665436668368371,
        0.499999981549248529,
    ),
    ("expm1", 64): (
        2.50537797168226555e-8,
        2.76260449754223799e-7,
        2.75574074942154992e-6,
        0.0000248015053042235508,
        0.000198412697190905397,
        0.00138888889315415743,
        0.00833333333338950515,
        0.0416666666665768181,
        0.166666666666665894,
        0.500000000000000518,
    ),
}


def _series(terms: int, ratio: Callable[..., float]) -> tuple[float, ...]:
    """Return coefficients 1, ratio(1), ratio(1) ratio(2), ..., highest power first."""
    return tuple(itertools.accumulate(map(ratio, range(1, terms)), operator.mul, initial=1.0))[::-1]


for _bits, _scale in ERF_SCALE.items():
    POLYNOMIALS["atanh", _bits] = _series(ATANH_TERMS[_bits], lambda k: (2 * k - 1) / (2 * k + 1))
    POLYNOMIALS["log", _bits] = tuple(1 / (2 * k + 3) for k in range(LOG_TERMS[_bits]))[::-1]
    POLYNOMIALS["erf", _bits] = _series(
        ERF_TERMS[_bits], lambda k, scale=_scale: 2 * scale / (2 * k + 1)
    )


# expm1(2 r) / 2 = r + r^2 P(r), with the same digits.
for _bits in (32, 64):
    POLYNOMIALS["half_expm1", _bits] = tuple(
        math.ldexp(coefficient, power + 1)
        for power, coefficient in enumerate(reversed(POLYNOMIALS["expm1", _bits]))
    )[::-1]


@intrinsic(prefer_literal=True)
def constant(typingctx: Any, name: Any, like: Any) -> Any:
    """Return the named constant in every lane of a pack."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return constant_pack(like, CONSTANTS[like.dtype.bitwidth][name.literal_value])

    return like(name, like), codegen


@intrinsic(prefer_literal=True)
def polynomial(typingctx: Any, name: Any, r: Any) -> Any:
    """Return the named polynomial of `r`, by Horner's rule in fused multiply-adds."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        first, *others = POLYNOMIALS[name.literal_value, r.dtype.bitwidth]
        value = constant_pack(r, first)
        for coefficient in others:
            operands = value, args[1], constant_pack(r, coefficient)
            value = elementwise(builder, r, partial(fused, builder), *operands)
        return value

    return r(name, r), codegen
