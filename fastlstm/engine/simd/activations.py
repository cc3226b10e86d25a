"""The activations that frameworks offer besides `sigmoid` and `tanh`, on packs.

Each takes its argument, and alpha and beta as packs whether it uses them or not. The definitions
are those of `fastlstm.network.activations`. NaN gives NaN.
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
    power_of_two,
    split_power,
    where_at_most,
    zeros,
)
from fastlstm.engine.simd.constants import constant, polynomial
from fastlstm.engine.simd.sigmoid_tanh import expm1_reduced, sigmoid, sigmoid_denominator, tanh


@helper
def exp_parts(t: Any) -> Any:
    """Return (s, q) with exp(-t) = s + s q, for t >= 0; beyond the limit, those at the limit."""
    t = at_most(t, constant("limit", t))
    shifted = fma(t, constant("-log2e", t), constant("shift", t))
    n = shifted - constant("shift", t)
    r = fma(n, constant("-ln2_low", t), fms(n, constant("-ln2_high", t), t))
    return power_of_two(shifted), expm1_reduced(r)


@helper
def exp_of_minus(t: Any) -> Any:
    """Return exp(-t) for t >= 0."""
    s, q = exp_parts(t)
    return fma(s, q, s)


@helper
def exp(x: Any) -> Any:
    """Return exp(x): beyond the largest number inf, below the normal numbers rounded once more.

    2^n, which may be no normal number, is the product of two powers of two.
    """
    x = at_least(at_most(x, constant("exp_limit", x)), constant("lower", x))
    shift = constant("shift", x)
    n = fma(x, constant("log2e", x), shift) - shift
    half = fma(x, constant("log2e / 2", x), shift)
    r = fma(n, constant("-ln2_low", x), fma(n, constant("-ln2_high", x), x))
    s = power_of_two(half)
    return fma(s, expm1_reduced(r), s) * power_of_two(n - (half - shift) + shift)


@helper
def expm1_of_minus(t: Any) -> Any:
    """Return exp(-t) - 1 for t >= 0."""
    s, q = exp_parts(t)
    return fma(s, q, s - constant("1", t))


@helper
def log1p(u: Any) -> Any:
    """Return log(1 + u) for 0 <= u <= 1, as 2 atanh(u / (2 + u)) by its Taylor series."""
    y = u / (constant("2", u) + u)
    return (y + y) * polynomial("atanh", y * y)


@helper
def log(x: Any) -> Any:
    """Return log(x) for positive normal numbers; NaN and inf give NaN.

    With x = 2^n (1 + f) and s = f / (2 + f) it is n log(2) + 2 atanh(s), and 2 s is f - s f, so
    that the exact f remains the leading term.
    """
    n, m = split_power(x)
    f = m - constant("1", x)
    s = f / (constant("2", x) + f)
    squared = s * s
    rest = s * (f - (squared + squared) * polynomial("log", squared))
    low = fma(n, constant("-ln2_low", x), rest) - f
    return fms(n, constant("ln2_high", x), low) + (x - x)


@helper
def erf(x: Any) -> Any:
    """Return erf(x) = 2 / sqrt(pi) x exp(-x^2) (1 + 2 x^2 / 3 + (2 x^2)^2 / (3 * 5) + ...).

    All terms have one sign (Abramowitz and Stegun, 7.1.6). Beyond the limit the result is +-1.
    """
    x = at_least(at_most(x, constant("erf_limit", x)), constant("-erf_limit", x))
    squared = x * x
    terms = polynomial("erf", squared * constant("1 / erf_scale", x))
    value = x * constant("2 / sqrt(pi)", x) * exp_of_minus(squared) * terms
    return at_least(at_most(value, constant("1", x)), constant("-1", x))


@helper
def affine_of(x: Any, alpha: Any, beta: Any) -> Any:
    return fma(alpha, x, beta)


@helper
def clip_of(x: Any, alpha: Any, beta: Any) -> Any:
    return at_most(at_least(x, alpha), beta)


@helper
def elu_of(x: Any, alpha: Any, beta: Any) -> Any:
    return where_at_most(x, zeros(x), alpha * expm1_of_minus(absolute(x)), x)


@helper
def exp_of(x: Any, alpha: Any, beta: Any) -> Any:
    return exp(x)


@helper
def gelu_of(x: Any, alpha: Any, beta: Any) -> Any:
    half = constant("0.5", x)
    return half * x * (constant("1", x) + erf(constant("sqrt(1/2)", x) * x))


@helper
def gelu_tanh_of(x: Any, alpha: Any, beta: Any) -> Any:
    inner = constant("sqrt(2/pi)", x) * fma(constant("0.044715", x) * x, x * x, x)
    return constant("0.5", x) * x * (constant("1", x) + tanh(inner))


@helper
def hard_sigmoid_of(x: Any, alpha: Any, beta: Any) -> Any:
    return at_most(at_least(fma(alpha, x, beta), zeros(x)), constant("1", x))


@helper
def hard_silu_of(x: Any, alpha: Any, beta: Any) -> Any:
    return x * hard_sigmoid_of(x, constant("1/6", x), constant("0.5", x))


@helper
def leaky_relu_of(x: Any, alpha: Any, beta: Any) -> Any:
    return where_at_most(x, zeros(x), alpha * x, x)


@helper
def linear_of(x: Any, alpha: Any, beta: Any) -> Any:
    return x


@helper
def log_sigmoid_of(x: Any, alpha: Any, beta: Any) -> Any:
    return at_most(x, zeros(x)) - log1p(exp_of_minus(absolute(x)))


@helper
def mish_of(x: Any, alpha: Any, beta: Any) -> Any:
    """Compute x tanh(log(1 + e)) = x n / (n + 2), n = e (e + 2), e = exp(x).

    For x > 0 numerator and denominator are multiplied by exp(-2 x), so that nothing overflows.
    """
    u, two = exp_of_minus(absolute(x)), constant("2", x)
    n = where_at_most(x, zeros(x), u * (u + two), fma(two, u, constant("1", x)))
    return x * (n / (n + where_at_most(x, zeros(x), two, two * u * u)))


@helper
def relu_of(x: Any, alpha: Any, beta: Any) -> Any:
    return at_least(x, zeros(x))


@helper
def scaled_tanh_of(x: Any, alpha: Any, beta: Any) -> Any:
    return alpha * tanh(beta * x)


@helper
def selu_of(x: Any, alpha: Any, beta: Any) -> Any:
    below = constant("selu alpha", x) * expm1_of_minus(absolute(x))
    return where_at_most(x, zeros(x), below, constant("selu", x) * x)


@helper
def sigmoid_of(x: Any, alpha: Any, beta: Any) -> Any:
    return sigmoid(x)


@helper
def silu_of(x: Any, alpha: Any, beta: Any) -> Any:
    return x / sigmoid_denominator(x)


@helper
def softplus_of(x: Any, alpha: Any, beta: Any) -> Any:
    return at_least(x, zeros(x)) + log1p(exp_of_minus(absolute(x)))


@helper
def softsign_of(x: Any, alpha: Any, beta: Any) -> Any:
    return x / (constant("1", x) + absolute(x))


@helper
def tanh_of(x: Any, alpha: Any, beta: Any) -> Any:
    return tanh(x)


@helper
def thresholded_relu_of(x: Any, alpha: Any, beta: Any) -> Any:
    return where_at_most(x, alpha, zeros(x), x)


FUNCTIONS = {
    "affine": affine_of,
    "clip": clip_of,
    "elu": elu_of,
    "exp": exp_of,
    "gelu": gelu_of,
    "gelu_tanh": gelu_tanh_of,
    "hard_sigmoid": hard_sigmoid_of,
    "hard_silu": hard_silu_of,
    "leaky_relu": leaky_relu_of,
    "linear": linear_of,
    "log_sigmoid": log_sigmoid_of,
    "mish": mish_of,
    "relu": relu_of,
    "scaled_tanh": scaled_tanh_of,
    "selu": selu_of,
    "sigmoid": sigmoid_of,
    "silu": silu_of,
    "softplus": softplus_of,
    "softsign": softsign_of,
    "tanh": tanh_of,
    "thresholded_relu": thresholded_relu_of,
}
