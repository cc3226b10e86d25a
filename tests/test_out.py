"""`predict(out=...)`: where results are written, also over the very input."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits
from shapes import make_input, make_model

LENGTHS = np.arange(40) % 31


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["equal", "lengths"])
def test_over_the_input(lengths):
    model, x = make_model(3, (3,)), make_input(40, 30, 3)
    expected = model.predict(x, lengths=lengths, return_sequences=True)
    here = x.copy()
    assert model.predict(here, lengths=lengths, return_sequences=True, out=here) is here
    assert_same_bits(here, expected)


@pytest.mark.parametrize("where", ["first", "last"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["equal", "lengths"])
def test_over_a_part_of_the_input(where, lengths):
    model, x = make_model(3, (3,)), make_input(40, 30, 3)
    expected = model.predict(x, lengths=lengths)
    numbers = x.reshape(-1).copy()
    out = (numbers[:120] if where == "first" else numbers[-120:]).reshape(40, 3)
    model.predict(numbers.reshape(x.shape), lengths=lengths, out=out)
    assert_same_bits(out, expected)


def test_over_a_list():
    model, x = make_model(3, (3,)), make_input(40, 30, 3)
    out = x.copy()
    expected = model.predict(x, return_sequences=True)
    model.predict(list(out), return_sequences=True, out=out)
    assert_same_bits(out, expected)


def test_over_the_state():
    """A state that a call has returned is read where it lies."""
    model, x = make_model(3, (3,), 1), make_input(40, 5, 3)
    for part in range(2):
        _, state = model(x)
        expected = model.predict(x, state=state)
        out = state[0][part].reshape(-1)[-40:].reshape(40, 1)
        assert model.predict(x, state=state, out=out) is out
        assert_same_bits(out, expected)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_subclass_of_an_array():
    model, x = make_model(3, (3,)), make_input(5, 4, 3)
    out = np.matrix(np.empty((5, 3), "float32"))
    assert model.predict(x, out=out) is out
    assert_same_bits(np.asarray(out), model.predict(x))


def test_zeros_past_each_length():
    model, x = make_model(3, (3,)), make_input(40, 30, 3)
    out = np.ones((40, 30, 3), "float32")
    model.predict(x, lengths=LENGTHS, return_sequences=True, out=out)
    assert not out[np.arange(30) >= LENGTHS[:, None]].any()
