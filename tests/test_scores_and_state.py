"""Scores and final states of one run are those of two, for every kind of network."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits
from networks import NETWORKS, make_network, make_values

from fastlstm.scoring.chunk import Chunk
from fastlstm.scoring.outputs import Wanted, compute

N, T = 37, 9


@pytest.fixture(autouse=True)
def _few_kernels(few_kernels):
    """Compile few kernels: which one computes a row does not matter here."""


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_scores_and_final_states(name, ragged):
    model = make_network(name, "float64")
    x = make_values(model, N, T)
    lengths = np.arange(N) % (T + 1) if ragged else None
    chunk = Chunk(x, N, None, lengths)
    values, _ = compute(model, chunk, Wanted(False, True, False), threads=2)
    assert_same_bits(values["score"], model.predict(x, lengths, return_sequences=False))
    _, state = model(x, lengths=lengths)
    for key, parts in (("h_n", [k.h for k in state]), ("c_n", [k.c for k in state])):
        rows = np.concatenate([part.swapaxes(0, 1).reshape(N, -1) for part in parts], axis=1)
        assert_same_bits(values[key], rows, key)
