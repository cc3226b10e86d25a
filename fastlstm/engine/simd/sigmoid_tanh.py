"""`sigmoid` and `tanh` on packs, as fractions whose divisions the caller can share.

An activation costs one division, and with few hidden units a step costs little else. So both are
returned as a numerator and a denominator: `i * tanh(g)` and `o * tanh(c)` then take one division
each instead of two. Every kernel does it this way, traced or not.

Method: `exp(t) - 1 = s q + (s - 1)`, by the range reduction t = n ln2 + r, |r| <= ln2 / 2, where
s = 2^n is assembled in the exponent bits and q = exp(r) - 1 is a minimax polynomial
(`bench/fit_polynomials.py` fits its coefficients and prints their errors). Since s +- 1 is exact or
its error does not matter, `1 + exp(t)` and `1 - exp(t)` are each rounded about once, near zero too.
"""

from __future__ import annotations

from typing import Any

from fastlstm.engine.jit import helper
from fastlstm.engine.simd.arithmetic import (
    absolute,
    at_least,
    at_most,
    fma,
    fms,
    fnma,
    power_of_two,
    with_sign_of,
)
from fastlstm.engine.simd.constants import constant, polynomial


@helper
def expm1_reduced(r: Any) -> Any:
    """Return exp(r) - 1 for |r| <= ln2 / 2."""
    return fma(r * r, polynomial("expm1", r), r)


@helper
def half_expm1_reduced(r: Any) -> Any:
    """Return (exp(2 r) - 1) / 2 for |r| <= ln2 / 4: the same bits as above but for the exponent."""
    return fma(r * r, polynomial("half_expm1", r), r)


@helper
def sigmoid_denominator(z: Any) -> Any:
    """Return d >= 1 with sigmoid(z) = 1 / d for |z| within the limit; NaN gives NaN.

    Beyond the limit (87 or 708, close to the smallest normal number) z is clamped to it, so that
    2 d stays finite and can be a factor of another denominator.
    """
    z = at_least(at_most(z, constant("limit", z)), constant("-limit", z))
    shifted = fma(z, constant("-log2e", z), constant("shift", z))
    n = shifted - constant("shift", z)
    r = fma(n, constant("-ln2_low", z), fms(n, constant("-ln2_high", z), z))
    s = power_of_two(shifted)
    return fma(s, expm1_reduced(r), constant("1", z) + s)


@helper
def sigmoid(z: Any) -> Any:
    """Return sigmoid(z), including results below the smallest normal number.

    The fraction is `u / (u + u exp(-z))` with a power of two u, so that its denominator does
    not overflow before its value underflows. Where z is within the limit of
    `sigmoid_denominator`, the bits are those of `1 / sigmoid_denominator(z)`.
    """
    z = at_least(at_most(z, constant("upper", z)), constant("lower", z))
    shifted = fma(z, constant("-log2e", z), constant("scaled_shift", z))
    n = shifted - constant("scaled_shift", z)
    r = fma(n, constant("-ln2_low", z), fms(n, constant("-ln2_high", z), z))
    s, u = power_of_two(shifted), constant("scale", z)
    return u / fma(s, expm1_reduced(r), u + s)


@helper
def tanh_fraction(x: Any) -> Any:
    """Return (n, d) with tanh(x) = n / d, 1 <= d <= 2; NaN gives NaN, -0 gives n = -0.

    |tanh x| = (1 - exp(-2 |x|)) / (1 + exp(-2 |x|)). The reduced argument and its expm1 are halved
    and the power of two is doubled, which saves a multiplication by two.
    """
    size = at_most(absolute(x), constant("tanh_limit", x))
    shifted = fma(size, constant("-2 log2e", x), constant("tanh_shift", x))
    n = shifted - constant("tanh_shift", x)
    q = half_expm1_reduced(fms(n, constant("-ln2 / 2", x), size))
    s, one = power_of_two(shifted), constant("1", x)  # s = 2^(n + 1)
    lower, upper = fma(s, constant("-0.5", x), one), fma(s, constant("0.5", x), one)
    return with_sign_of(fnma(s, q, lower), x), fma(s, q, upper)


@helper
def tanh(x: Any) -> Any:
    """Return tanh(x)."""
    numerator, denominator = tanh_fraction(x)
    return numerator / denominator
