"""A bad row stays alone: NaN, infinite and huge numbers in one sequence.

All other rows keep their bits, and the row itself shows it: NaN, or the saturated value that
the reference gives too; never a plausible number.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from helpers import assert_same_bits
from shapes import CASES, make_input, make_model

from fastlstm import Ragged, reference
from fastlstm.engine.run import job

NAMES = ["scalar", "odd", "tapered", "scalars_stacked"]
DTYPES = ["float32", "float64"]
TRACED = ("forget_gate", "input_gate", "candidate_cell", "cell_state", "output_gate")
BAD_ROW = 21  # in the midst of a tile


def bad_values(dtype: str) -> dict[str, float]:
    huge = float(np.finfo(dtype).max)
    return {"NaN": np.nan, "inf": np.inf, "-inf": -np.inf, "huge": huge, "-huge": -huge}


@cache
def clean(name: str, dtype: str):
    case = CASES[name]
    model = make_model(case.I, case.hidden_sizes, case.outputs, dtype)
    x = make_input(case.N, case.T, case.I, dtype)
    return model, x, score(model, x)


def score(model, x, **kwargs):
    """All that a call gives, by name, sequences along the first axis."""
    output, state = model(x, **kwargs)
    trace = model.trace(x, **kwargs)
    result = {
        "output": output,
        "last": model.predict(x, **kwargs),
        "sequence": model.predict(x, return_sequences=True, **kwargs),
        **{name: getattr(trace, name) for name in TRACED},
    }
    for i, (h, c) in enumerate(state):
        result |= {f"h{i}": h[0], f"c{i}": c[0]}
    return result


def assert_others_unchanged(result, expected, bad=BAD_ROW):
    for name, value in result.items():
        others = np.arange(len(value)) != bad
        assert_same_bits(value[others], expected[name][others], name)


@pytest.mark.parametrize("form", ["in place", "converted", "ragged", "list"])
@pytest.mark.parametrize("step", ["first", "late"])
@pytest.mark.parametrize("bad", bad_values("float32"))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_bad_input(name, dtype, bad, step, form, monkeypatch):
    monkeypatch.setattr(job, "COPIED_BYTES", 4096)  # converted in groups of several tiles
    model, x, expected = clean(name, dtype)
    at = 0 if step == "first" else x.shape[1] - 2
    x = x.copy()
    x[BAD_ROW, at, -1] = bad_values(dtype)[bad]
    given = {
        "in place": x,
        "converted": x.astype(">f8"),
        "ragged": Ragged(x.reshape(-1, x.shape[2]), np.arange(len(x) + 1) * x.shape[1]),
        "list": list(x),
    }[form]
    result = score(model, given)
    assert_others_unchanged(result, expected)
    every_step = {"output", "sequence", *TRACED}
    for field in every_step:  # before it happens
        assert_same_bits(result[field][BAD_ROW, :at], expected[field][BAD_ROW, :at])
    if bad == "NaN":
        for field in every_step:
            assert np.isnan(result[field][BAD_ROW, at:]).all(), field
        for field in result.keys() - every_step:
            assert np.isnan(result[field][BAD_ROW]).all(), field
    else:
        # float32 sums may overflow where float64 sums do not: then NaN is right as well
        wide = model.astype("float64")
        row = x[BAD_ROW : BAD_ROW + 1].astype("float64")
        with np.errstate(all="ignore"):
            true = {
                "output": reference.lstm(wide.network, row)[0],
                "last": reference.predict(wide.network, row),
            }
        for field, value in true.items():
            row_result = result[field][BAD_ROW : BAD_ROW + 1]
            atol = {"float32": 1e-5, "float64": 1e-13}[dtype]
            same = np.isclose(row_result, value, rtol=0, atol=atol) | np.isnan(row_result)
            assert same.all(), field
            if "inf" in bad:
                assert np.array_equal(np.isnan(row_result), np.isnan(value)), field


@pytest.mark.parametrize("bad", bad_values("float32"))
@pytest.mark.parametrize("part", ["h", "c"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_bad_state(name, dtype, part, bad):
    model, x, _ = clean(name, dtype)
    rng = np.random.Generator(np.random.PCG64(5))
    state = [
        tuple(rng.standard_normal((1, len(x), k.hidden_size)).astype(dtype) for _ in "hc")
        for k in model.layers
    ]
    expected = score(model, x, state=state)
    pair = state[-1]
    pair["hc".index(part)][0, BAD_ROW, 0] = bad_values(dtype)[bad]
    result = score(model, x, state=state)
    assert_others_unchanged(result, expected)
    own = result["output"][BAD_ROW]
    if bad == "NaN":
        assert np.isnan(own[:, 0]).all()  # the unit itself, and by the second step all
        assert np.isnan(own[1:]).all()
    else:
        assert (np.isnan(own) | (np.abs(own) <= 1)).all()
        assert not np.array_equal(own, expected["output"][BAD_ROW])


@pytest.mark.parametrize("garbage", bad_values("float64"))
@pytest.mark.parametrize("given", ["float32", "float64", "fortran"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_padding_is_not_read(name, dtype, given, garbage):
    """Not even numbers that the model's dtype cannot hold, and without a warning."""
    model, x, _ = clean(name, dtype)
    steps = np.arange(x.shape[1])
    lengths = np.arange(len(x)) * 5 % (x.shape[1] + 1)
    padding = steps >= lengths[:, np.newaxis]
    zeros, x = x.copy(), x.copy()
    zeros[padding] = 0
    x = x.astype({"fortran": dtype}.get(given, given), order="F" if given == "fortran" else "C")
    x[padding] = bad_values(x.dtype.name)[garbage]
    if dtype == "float64" and given == "float32":
        zeros = zeros.astype("float32")  # the same numbers
    expected = score(model, zeros, lengths=lengths)
    for field, value in score(model, x, lengths=lengths).items():
        assert_same_bits(value, expected[field], field)
        if value.ndim == 3:
            assert not value[padding].any(), field


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_place_in_a_tile(dtype):
    """Wherever the bad row is, and even if it is the longest, which idle lanes repeat."""
    model, x, _ = clean("odd", dtype)
    lengths = np.full(len(x), 3)
    expected = score(model, x, lengths=lengths)
    for bad in range(len(x)):
        broken, longer = x.copy(), lengths.copy()
        broken[bad, 1] = np.nan
        longer[bad] = x.shape[1]
        result = score(model, broken, lengths=longer)
        assert_others_unchanged(result, expected, bad)
        assert np.isnan(result["last"][bad]).all()


def test_numbers_too_large_for_the_model_are_infinite_and_cause_no_warning():
    """float64 input and state of a float32 model; pytest turns warnings into errors."""
    model, x, _ = clean("odd", "float32")
    given, same = x.astype("f8"), x.copy()
    given[3, 2], same[3, 2] = 1e300, np.inf
    wide_state = [tuple(np.zeros((1, len(x), k.hidden_size)) for _ in "hc") for k in model.layers]
    wide_state[0][1][0, 5] = -1e300
    state = [tuple(np.where(a < 0, -np.inf, a) for a in pair) for pair in wide_state]
    expected = score(model, same, state=state)
    for threads in (1, 2):
        for field, value in score(model, given, state=wide_state, threads=threads).items():
            assert_same_bits(value, expected[field], field)
