"""`sigmoid` and `tanh` on packs, as fractions whose division the caller may share.

An activation costs one division, and with few hidden units a step costs little else. So both
are given as a numerator and a denominator: `i * tanh(g)` and `o * tanh(c)` then take one
division each instead of two. Every kernel does it this way, traced or not.

Method: `exp` by the range reduction `x = n ln2 + r`, |r| <= ln2 / 2, and a minimax polynomial
in `r` (`bench/fit_polynomials.py` fits the coefficients and prints their errors); `2^n` is
put together in the exponent bits. `tanh` goes through `expm1`, so that it keeps its relative
accuracy near zero.
"""

from __future__ import annotations

from typing import Any

from fastlstm.engine.constants import constant, polynomial
from fastlstm.engine.jit import helper
from fastlstm.engine.vectors import (
    absolute,
    at_least,
    at_most,
    fma,
    fms,
    fnma,
    power_of_two,
    with_sign_of,
)


@helper
def sigmoid_denominator(z: Any) -> Any:
    """Return d >= 1 with sigmoid(z) = 1 / d, exact to the contract for |z| within the limit.

    Beyond the limit (87 or 708, where the smallest normal number is near) z is held there, so
    that 2 d stays finite and may be the factor of another denominator. NaN gives NaN.
    """
    z = at_least(at_most(z, constant("sigmoid_limit", z)), constant("-sigmoid_limit", z))
    shifted = fma(z, constant("-log2e", z), constant("shift", z))
    n = shifted - constant("shift", z)
    r = fms(n, constant("-ln2_high", z), z)
    r = fma(n, constant("-ln2_low", z), r)
    return fma(polynomial("exp", r), power_of_two(shifted), constant("1", z))


@helper
def sigmoid(z: Any) -> Any:
    """Return sigmoid(z), results below the smallest normal number included.

    The fraction is `s / (s + s exp(-z))` with a power of two s, so that its denominator does
    not overflow before its value underflows. Where z is within the limit of
    `sigmoid_denominator`, the bits are those of `1 / sigmoid_denominator(z)`.
    """
    z = at_least(at_most(z, constant("sigmoid_upper", z)), constant("sigmoid_lower", z))
    shifted = fma(z, constant("-log2e", z), constant("scaled_shift", z))
    n = shifted - constant("scaled_shift", z)
    r = fms(n, constant("-ln2_high", z), z)
    r = fma(n, constant("-ln2_low", z), r)
    scale = constant("scale", z)
    return scale / fma(polynomial("exp", r), power_of_two(shifted), scale)


@helper
def tanh_fraction(x: Any) -> Any:
    """Return (n, d) with tanh(x) = n / d, 1 <= d <= 2; NaN gives NaN, -0 gives n = -0.

    With t = -2 |x|: |tanh x| = -expm1(t) / (2 + expm1(t)), expm1(t) = s q + (s - 1).
    """
    t = at_least(absolute(x) * constant("-2", x), constant("-tanh_limit", x))
    shifted = fma(t, constant("log2e", x), constant("shift", x))
    n = shifted - constant("shift", x)
    r = fma(n, constant("-ln2", x), t)
    q = fma(r * r, polynomial("expm1", r), r)
    s = power_of_two(shifted)
    one = constant("1", x)
    return with_sign_of(fnma(s, q, one - s), x), fma(s, q, one + s)


@helper
def tanh(x: Any) -> Any:
    """Return tanh(x)."""
    numerator, denominator = tanh_fraction(x)
    return numerator / denominator
