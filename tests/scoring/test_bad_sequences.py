"""Bad sequences: which they are, in every kind of source, and what becomes of them."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
import zarr
from pyarrow import feather
from pyarrow import parquet as pq
from scoring_files import MODELS, X, windows_of

import fastlstm
from fastlstm import Embedding
from fastlstm.scoring.bad_rows import find_bad_rows
from fastlstm.scoring.chunk import Chunk


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", ">f4"])
@pytest.mark.parametrize("policy", ["nan", "skip", "error"])
def test_rows_with_nan_or_infinity(here, small_chunks, policy, dtype, value):
    x = X.astype(dtype)
    bad = [0, 77, 80, 402]  # two of one chunk, not side by side
    for row in bad:
        x[row, row % 9, row % 2] = value
    np.save("x.npy", x)
    if policy == "error":
        with pytest.raises(ValueError, match=r"x.npy: sequence 0 is bad: NaN or infinity"):
            fastlstm.score(MODELS[2], "x.npy", "y.npy")
        assert os.listdir() == ["x.npy"]  # nothing was done that is worth keeping
        return
    summary = fastlstm.score(MODELS[2], "x.npy", "y.npy", on_bad_row=policy)
    scores, good = np.load("y.npy"), MODELS[2].predict(X.astype(dtype))
    if policy == "nan":
        assert np.isnan(scores[bad]).all()
        scores = np.delete(scores, bad, axis=0)
    np.testing.assert_array_equal(scores, np.delete(good, bad, axis=0))
    assert summary.bad_rows == {"count": 4, "reasons": {"NaN or infinity": 4}, "first": bad}
    assert summary.written == (403 if policy == "nan" else 399)


LAST = np.nextafter(float(np.finfo("f4").max) + 2.0**103, 0)  # it rounds to the largest float32
TOO_LARGE = [1e39, -1e300, np.nextafter(LAST, np.inf), -1.7e308]


def write_source(path: Path, x: np.ndarray) -> str:
    """Sequences (N, T, I) as a source of any kind but standard input."""
    kind = path.suffix
    if kind == ".npy":
        np.save(path, x)
    elif kind == ".npz":
        np.savez(path, x=x)
    elif kind in (".h5", ".zarr"):
        if kind == ".h5":
            with h5py.File(path, "w") as file:
                file["x"] = x
        else:
            zarr.open_group(path, mode="w")["x"] = x
        return f"{path}:/x"
    elif kind == ".csv":
        rows = x.reshape(len(x), -1)
        lines = [",".join(map(repr, row)) for row in rows.tolist()]
        path.write_text("\n".join([",".join(f"s{k}" for k in range(rows.shape[1])), *lines]))
    else:
        values = pa.array(x.reshape(-1))
        inner = pa.FixedSizeListArray.from_arrays(values, x.shape[2])
        table = pa.table({"x": pa.FixedSizeListArray.from_arrays(inner, x.shape[1])})
        (pq.write_table if kind == ".parquet" else feather.write_feather)(table, path)
    return str(path)


@pytest.mark.parametrize(
    "kind", [".npy", ".npz", ".parquet", ".arrow", ".csv", ".zarr", ".h5", "-"]
)
def test_numbers_that_the_model_cannot_hold(here, small_chunks, kind, monkeypatch):
    x = X.astype("float64")
    x[::50, 3, 1] = np.resize([LAST, -LAST], len(x[::50]))  # these it can
    expected = MODELS[2].predict(x)
    for n, value in enumerate(TOO_LARGE):
        x[100 * n + 7, n, n % 2] = value
    x[350, 1, 0] = np.nan
    bad = [7, 107, 207, 307, 350]
    source = write_source(here / f"x{kind.replace('-', '.npy')}", x)
    with open(source) if kind == "-" else nullcontext() as file:
        if kind == "-":
            monkeypatch.setattr("sys.stdin", file)
            source = "-"
        summary = fastlstm.score(MODELS[2], source, "y.npy", on_bad_row="nan")
    scores = np.load("y.npy")
    assert np.isnan(scores[bad]).all()
    np.testing.assert_array_equal(np.delete(scores, bad, axis=0), np.delete(expected, bad, axis=0))
    assert summary.bad_rows == {
        "count": 5,
        "reasons": {"a number beyond float32": 4, "NaN or infinity": 1},
        "first": bad,
    }


@pytest.mark.parametrize("value", TOO_LARGE)
def test_windows_over_a_number_that_the_model_cannot_hold(here, small_chunks, value):
    series = np.random.default_rng(7).normal(size=(300, 2))
    series[100, 1] = value
    np.save("x.npy", series)
    with pytest.raises(ValueError, match="sequence 81 is bad: a number beyond float32"):
        fastlstm.score(MODELS[2], "x.npy", "y.npy", window=20)
    again = {"on_bad_row": "skip", "restart": True}
    summary = fastlstm.score(MODELS[2], "x.npy", "y.npy", window=20, **again)
    assert summary.bad_rows["reasons"] == {"a number beyond float32": 20}
    good = np.delete(windows_of(series, 20, 1), np.arange(81, 101), axis=0)
    np.testing.assert_array_equal(np.load("y.npy"), MODELS[2].predict(good))


def test_what_is_no_part_of_a_sequence_may_be_anything(here, small_chunks):
    x, lengths = X.astype("float64"), np.arange(len(X)) % 10
    x[np.arange(9) >= lengths[:, np.newaxis]] = 1e39
    np.save("x.npy", x)
    assert not fastlstm.score(MODELS[2], "x.npy", "y.npy", lengths=lengths).bad_rows["count"]
    np.testing.assert_array_equal(np.load("y.npy"), MODELS[2].predict(X, lengths=lengths))
    values, offsets = np.full((500, 2), -1e300), np.arange(50) * 9
    values[: 49 * 9] = X[:49].reshape(-1, 2)
    np.savez("r.npz", values=values, offsets=offsets)
    assert not fastlstm.score(MODELS[2], "r.npz", "r.npy").bad_rows["count"]
    np.testing.assert_array_equal(np.load("r.npy"), MODELS[2].predict(X[:49]))


def test_a_wider_model_holds_them(here):
    x = X[:5].astype("float64")
    x[3, 2, 0] = 1e39
    np.save("x.npy", x)
    fastlstm.score(MODELS[2], "x.npy", "y.npy", dtype="float64")
    np.testing.assert_array_equal(np.load("y.npy"), MODELS[2].astype("float64").predict(x))


@pytest.mark.parametrize("dtype", ["uint64", "int64", ">i8"])
def test_the_largest_integers_are_no_bad_rows(here, dtype):
    x = np.ones((20, 9, 2), dtype)
    x[3, 2] = np.iinfo(dtype).max
    np.save("x.npy", x)
    fastlstm.score(MODELS[2], "x.npy", "y.npy")
    np.testing.assert_array_equal(np.load("y.npy"), MODELS[2].predict(x))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f8", ">f8", "longdouble"])
def test_they_are_found_in_any_layout(dtype, order):
    """Also where the quick sum of squares is of a view with gaps."""
    model = MODELS[2]
    for steps in (slice(None), slice(2, 7)):
        x = X.astype(dtype, order=order)
        x[5, 4, 1] = LAST
        assert find_bad_rows(model, Chunk(x[:, steps], len(x), None), None) == {}
        x[17, 5, 0] = 1e39
        found = find_bad_rows(model, Chunk(x[:, steps], len(x), None), None)
        assert found == {17: "a number beyond float32"}


def test_nan_at_every_step_that_counts(here):
    x, lengths = X.copy(), np.full(len(X), 9)
    x[7, 1] = np.nan
    lengths[7] = 4
    np.save("x.npy", x)
    fastlstm.score(
        MODELS[2], "x.npy", "y.npy", lengths=lengths, return_sequences=True, on_bad_row="nan"
    )
    row = np.load("y.npy")[7]
    assert np.isnan(row[:4]).all()
    assert (row[4:] == 0).all()


def test_numbers_that_sum_to_infinity_are_no_bad_rows(here):
    x = np.full((50, 9, 2), 1e38, dtype="float32")
    np.save("x.npy", x)
    fastlstm.score(MODELS[2], "x.npy", "y.npy")
    np.testing.assert_array_equal(np.load("y.npy"), MODELS[2].predict(x))


def test_windows_over_a_bad_step(here, small_chunks):
    series = np.random.default_rng(7).normal(size=(300, 2))
    series[100, 1] = np.inf
    np.save("x.npy", series)
    summary = fastlstm.score(MODELS[2], "x.npy", "y.npy", window=20, on_bad_row="skip")
    every = MODELS[2].predict(windows_of(series, 20, 1))
    np.testing.assert_array_equal(np.load("y.npy"), np.delete(every, range(81, 101), axis=0))
    assert summary.bad_rows["first"] == list(range(81, 91))


def test_sequences_that_are_too_long(here, small_chunks):
    lengths = np.arange(len(X)) % 10
    np.save("x.npy", X)
    summary = fastlstm.score(
        MODELS[2], "x.npy", "y.npy", lengths=lengths, max_steps=7, on_bad_row="nan"
    )
    np.testing.assert_array_equal(np.isnan(np.load("y.npy")).all(1), lengths > 7)
    assert summary.bad_rows["reasons"] == {"more than 7 steps": int((lengths > 7).sum())}


@pytest.mark.parametrize("windows", [False, True])
def test_unknown_ids(here, small_chunks, windows):
    rng = np.random.default_rng(8)
    table = Embedding(rng.normal(size=(30, 2)).astype("float32"))
    model = fastlstm.LSTM([table, *MODELS[2].layers], MODELS[2].head)
    ids = rng.integers(0, 30, 900 if windows else (300, 9))
    good = windows_of(ids.reshape(-1, 1), 9, 1)[..., 0] if windows else ids.copy()
    bad = [4] if not windows else list(range(36, 45))
    if windows:
        ids[44] = 30
    else:
        ids[4, 3] = -1
    np.save("x.npy", ids)
    summary = fastlstm.score(
        model, "x.npy", "y.npy", on_bad_row="skip", window=9 if windows else None
    )
    expected = np.delete(model.predict(good), bad, axis=0)
    np.testing.assert_array_equal(np.load("y.npy"), expected)
    assert summary.bad_rows["reasons"] == {"an id outside 0 ... 29": len(bad)}
