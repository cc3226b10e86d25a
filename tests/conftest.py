"""What tests of several modules can ask for."""

from __future__ import annotations

import pytest

from fastlstm.engine import kinds, run


@pytest.fixture
def few_kernels(monkeypatch):
    """One kind of tile for a form, a small one: compiling takes most of these tests' time.

    All kinds give the same bits, as `test_bits` and `test_kinds_of_network` look at.
    """

    def choose_tile(stack, n_rows, n_threads, traced):
        form = stack.form
        possible = kinds.possible_kinds(str(stack.layers[0].dtype), form, traced)
        units = form.projected or form.cell.clipped or form.embedded
        return kinds.make_tile(possible[len(possible) // 2 if units else 0], n_rows, n_threads)

    monkeypatch.setattr(run, "choose_tile", choose_tile)
