"""Fit the polynomials of `fastlstm.engine.simd.sigmoid_tanh` and print them.

`exp(r) = 1 + r + r^2 P(r)` and `expm1(r) = r + r^2 Q(r)` for |r| <= ln(2) / 2: minimax in
relative error by Lawson's iteratively reweighted least squares, in 60 decimal digits.
Needs mpmath: `pip install mpmath`, then `python bench/fit_polynomials.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp

mp.mp.dps = 60
HALF_LN2 = mp.log(2) / 2
NODES = 160


def fit(function: Callable[[mp.mpf], mp.mpf], leading: int, degree: int) -> tuple[list, mp.mpf]:
    """Fit `function(r) = leading + r + r^2 P(r)`; return P's coefficients and the error."""
    nodes = [HALF_LN2 * mp.cos(mp.pi * (k + mp.mpf(1) / 2) / NODES) for k in range(NODES)]
    target = [function(r) for r in nodes]
    columns = degree - 1
    weights = [mp.mpf(1) / NODES] * NODES
    best: tuple[list, mp.mpf] = ([], mp.inf)
    for _ in range(40):
        rows = mp.matrix(NODES, columns)
        right = mp.matrix(NODES, 1)
        for i, r in enumerate(nodes):
            root = mp.sqrt(weights[i]) / abs(target[i])
            right[i] = root * (target[i] - leading - r)
            for j in range(columns):
                rows[i, j] = root * r ** (j + 2)
        solution = mp.lu_solve(rows.T * rows, rows.T * right)
        errors = []
        for i, r in enumerate(nodes):
            value = leading + r + sum(solution[j] * r ** (j + 2) for j in range(columns))
            errors.append(abs(value / target[i] - 1))
        worst = max(errors)
        if worst < best[1]:
            best = ([solution[j] for j in range(columns)], worst)
        weights = [w * e for w, e in zip(weights, errors, strict=True)]
        total = sum(weights)
        weights = [w / total for w in weights]
    return best


for name, function, leading in (("exp", mp.exp, 1), ("expm1", mp.expm1, 0)):
    for dtype, degree in (("float32", 6), ("float32", 5), ("float64", 11), ("float64", 10)):
        coefficients, error = fit(function, leading, degree)
        print(f"{name} {dtype} degree {degree}: relative error {mp.nstr(error, 3)}")
        for power, value in enumerate(coefficients, start=2):
            print(f"    r^{power}: {mp.nstr(value, 18)}")
