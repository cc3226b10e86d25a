"""The order of summation, term by term: the definition of the last bits.

A change here changes every score that anyone has stored. The sums are done again in exact
arithmetic, each term rounded once; a cell that reads them with weight 1 then has to show the
very gates.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from helpers import assert_same_bits
from shapes import make_input, make_model

from fastlstm import LSTM, Layer
from fastlstm.engine.kernel.sums import BLOCK


def rounded(exact: Fraction, dtype: np.dtype) -> np.floating:
    """The number of a dtype that is nearest, to even if there are two."""
    guess = dtype.type(float(exact))
    near = [guess, *(np.nextafter(guess, dtype.type(end)) for end in (-np.inf, np.inf))]
    bits = np.array(near).view(f"u{dtype.itemsize}")
    errors = [abs(Fraction(float(number)) - exact) for number in near]
    return near[min(range(3), key=lambda i: (errors[i], bits[i] % 2))]


def blocked_sum(start: np.floating, terms: list[list[tuple]], dtype: np.dtype) -> np.floating:
    """`start` plus the sums of blocks of products; each list of terms begins a new block."""
    total = start
    for part in terms:
        for first in range(0, len(part), BLOCK):
            block = Fraction(0)
            for weight, value in part[first : first + BLOCK]:
                fused = Fraction(float(weight)) * Fraction(float(value)) + block
                block = Fraction(float(rounded(fused, dtype)))
            total = rounded(Fraction(float(total)) + block, dtype)
    return total


def test_rounding():
    """Of this file's own arithmetic: a tie, and what rounding twice would get wrong."""
    single = np.dtype("float32")
    assert rounded(Fraction(1) + Fraction(1, 2**24), single) == 1
    assert rounded(Fraction(1) + Fraction(3, 2**24), single) == 1 + 2.0**-22
    assert rounded(1 + Fraction(1, 2**24) + Fraction(1, 2**60), single) == 1 + 2.0**-23
    assert rounded(Fraction(1, 3), np.dtype("float64")) == 1 / 3


def test_the_length_of_a_block():
    assert BLOCK == 64


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("I", "H"), [(1, 1), (3, 2), (64, 65), (130, 129)])
def test_gates(I, H, dtype):  # noqa: E741
    """Blocks of fused products over the inputs, then over the hidden units, added to the bias."""
    model = make_model(I, (H,), 0, dtype, seed=5)
    x = make_input(5, 2, I, dtype)
    trace = model.trace(x)
    layer = model.layers[0]
    gates = (trace.input_gate, trace.forget_gate, trace.candidate_cell, trace.output_gate)
    kind = np.dtype(dtype)
    units = sorted({0, H // 2, H - 1})
    sums, shown = [], []
    for n in (0, 4):
        for t, h in ((0, np.zeros(H, dtype)), (1, trace.hidden_state[n, 0])):
            for gate in range(4):
                for unit in units:
                    row = gate * H + unit
                    bias = rounded(
                        Fraction(float(layer.b_ih[row])) + Fraction(float(layer.b_hh[row])), kind
                    )
                    terms = [
                        list(zip(layer.w_ih[row], x[n, t], strict=True)),
                        list(zip(layer.w_hh[row], h, strict=True)),
                    ]
                    sums.append(blocked_sum(bias, terms, kind))
                    shown.append(gates[gate][n, t, unit])
    ones, zeros = np.ones((4, 1), dtype), np.zeros((4, 1), dtype)
    view = LSTM([Layer(ones, zeros)]).trace(np.array(sums, dtype).reshape(-1, 1))
    expected = np.concatenate([view.input_gate, view.candidate_cell], axis=2)[:, 0]
    is_candidate = np.arange(len(sums)) // len(units) % 4 == 2
    assert_same_bits(np.array(shown), np.where(is_candidate, expected[:, 1], expected[:, 0]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("H", [1, 7, 64, 130])
def test_head(H, dtype):
    model = make_model(2, (H,), 3, dtype, seed=6)
    x = make_input(4, 3, 2, dtype)
    hidden, scores = model(x)[0], model.predict(x, return_sequences=True)
    (head,), kind = model.head, np.dtype(dtype)
    expected = [
        [
            blocked_sum(bias, [list(zip(weight, h, strict=True))], kind)
            for weight, bias in zip(head.weight, head.bias, strict=True)
        ]
        for h in hidden[3]
    ]
    assert_same_bits(scores[3], np.array(expected, dtype))
