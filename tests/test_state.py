"""The state that a call takes: what an earlier one returned goes back without a copy."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
from helpers import assert_same_bits
from networks import Maker

from fastlstm import LSTM, State
from fastlstm.calls.state import flat_state

N, T = 5, 4


def make_models() -> list[LSTM]:
    make = Maker(0, "float64")
    return [
        LSTM([make.layer(3, 5)]),
        LSTM([make.layer(3, 5), make.layer(5, 4)], make.dense(4, 2)),
        LSTM([make.both(3, 5), make.layer(10, 4)]),
    ]


def as_lists(state: State) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(h.copy(), c.copy()) for h, c in state]


@pytest.fixture(params=range(3), ids=["one layer", "two", "both directions"])
def model(request):
    return make_models()[request.param]


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(N, T, 3))


def test_a_state_goes_back_as_it_is(model, x):
    """Its very memory is read, and no new one shares it."""
    _, state = model(x)
    network = model.network
    h, c = flat_state(state, network.state_sizes, N, network.dtype)
    for pair in state:
        assert np.shares_memory(pair.h, h)
        assert np.shares_memory(pair.c, c)
    before = as_lists(state)
    y, end = model(x, state)
    expected, true_end = model(x, as_lists(state))
    assert_same_bits(y, expected)
    for given, was, new, true in zip(state, before, end, true_end, strict=True):
        for i in range(2):
            assert_same_bits(given[i], was[i], "it was written to")
            assert_same_bits(new[i], true[i])
            assert not np.shares_memory(given[i], new[i])


def test_what_the_caller_writes_to_it_counts(model, x):
    _, state = model(x)
    state[-1].h[..., 0] = 0.25
    state[0].c[:, 2] = -1
    assert_same_bits(model(x, state)[0], model(x, as_lists(state))[0])


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
def test_copies_of_it_are_states_too(duplicate, model, x):
    _, state = model(x)
    other = duplicate(state)
    assert type(other) is State
    other[0].h[...] = 0.5
    assert_same_bits(model(x, other)[0], model(x, as_lists(other))[0])


def test_it_is_checked_like_any_other(model, x):
    _, state = model(x)
    with pytest.raises(ValueError, match=r"state h of layer 0: expected shape \(\d, 3, 5\)"):
        model(x[:3], state)
    other = LSTM([Maker(0, "float64").layer(3, 6)])
    with pytest.raises(ValueError, match=r"expected a state of 1 layer|expected shape"):
        other(x, state)
    single = model.astype("float32")
    assert_same_bits(single(x, state)[0], single(x, as_lists(state))[0])


def test_no_steps_give_the_state_back_in_memory_of_its_own(model, x):
    _, state = model(x)
    _, end = model(x[:, :0], state)
    for given, new in zip(state, end, strict=True):
        for i in range(2):
            assert_same_bits(new[i], given[i])
            assert not np.shares_memory(new[i], given[i])


def test_a_returned_state_of_another_shape_is_refused(x):
    """Its memory would be read as if it still had the old one."""
    model = LSTM([Maker(0, "float64").layer(3, N + 1)])
    _, state = model(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # NumPy 2.5
        state[0].h.shape = 1, N + 1, N
    with pytest.raises(ValueError, match="state h of layer 0: expected shape"):
        model(x, state)
