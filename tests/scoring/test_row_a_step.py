"""Tables with one row a step as sources: sorted or not, contiguous or scattered."""

from __future__ import annotations

import builtins
import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from helpers import assert_same_bits, some_of
from pyarrow import parquet as pq
from table_sources import Read, check_everywhere, make_embedding_model, make_model, ragged

import fastlstm
from fastlstm.scoring.sources.tables import order, sorting

IDS = {
    "integers": lambda n: 1000 - 7 * n,
    "texts": lambda n: "abc"[n % 3] * (n % 4) + str(n),
    "days": lambda n: datetime.date(2026, 1, 1) + datetime.timedelta(days=-n),
    "moments": lambda n: datetime.datetime(2026, 1, 1, microsecond=n),
    "bytes": lambda n: bytes([n, 0, n]),
    "numbers": lambda n: n / 3 - 1,
}


@pytest.fixture(autouse=True)
def sorted_in_memory(monkeypatch):
    """DuckDB takes long for small chunks: tests of it ask for it."""
    monkeypatch.setattr(sorting, "IN_MEMORY", 2**30)


@pytest.fixture
def rng():
    return np.random.default_rng(12)


def long_table(sequences, rng, ids="integers", how="sorted"):
    """One row a step: sorted; unsorted by time in each sequence; or scattered."""
    rows = [
        {"who": IDS[ids](n), "when": 5 * t - 20, "shop": f"s{n} {t}", "step": t}
        | {f"x{k}": float(v) for k, v in enumerate(step)}
        for n, s in enumerate(sequences)
        for t, step in enumerate(s)
    ]
    if how == "unsorted":
        keys = {n: rng.permutation(len(s)) for n, s in enumerate(sequences)}
        places = {IDS[ids](n): n for n in keys}
        rows.sort(key=lambda r: (places[r["who"]], keys[places[r["who"]]][r["step"]]))
    elif how == "scattered":
        rows = [rows[k] for k in rng.permutation(len(rows))]
    table = pa.Table.from_pylist(rows)
    for k in range(sequences[0].shape[1]):
        at = table.schema.get_field_index(f"x{k}")
        table = table.set_column(at, f"x{k}", table.column(f"x{k}").cast(pa.float32()))
    return table


def in_order(table, sequences, ids="integers"):
    """The sequences in the order in which their ids appear in the table."""
    numbers = {IDS[ids](n): n for n in range(len(sequences))}
    seen = dict.fromkeys(table.column("who").to_pylist())
    return [numbers[who] for who in seen]


def write(path, table, rows=7):
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=rows)
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=rows)
    return path


@pytest.mark.parametrize("how", ["sorted", "unsorted", "scattered"])
@pytest.mark.parametrize("inputs", [1, 2])
@pytest.mark.parametrize("window", [None, 3])
def test_long_format(tmp_path, rng, how, inputs, window):
    model = make_model(inputs)
    sequences = [s for s in ragged(rng, 12, inputs) if len(s)]
    table = long_table(sequences, rng, how=how)
    path = write(tmp_path / "x.parquet", table)
    features = tuple(f"x{k}" for k in range(inputs))
    layout = {"id": "who", "time": "when", "features": features, "keep": ("shop",)}
    read = check_everywhere(path, model, (20, 90), window=window, **layout)
    numbers = in_order(table, sequences)
    if window is None:
        expected = fastlstm.Ragged.from_list([sequences[n] for n in numbers])
        kept = [{"who": IDS["integers"](n), "shop": f"s{n} 0"} for n in numbers]
    else:
        places = [(n, k) for n in numbers for k in range(len(sequences[n]) - window + 1)]
        expected = np.array([sequences[n][k : k + window] for n, k in places])
        kept = [{"who": IDS["integers"](n), "shop": f"s{n} {k}", "window": k} for n, k in places]
    assert_same_bits(read.scores, model.predict(expected))
    assert read.kept == kept
    assert (read.reader.count is None) == (how == "scattered")
    longest = max(map(len, sequences))
    assert read.reader.steps == (window or (None if how == "scattered" else longest))


@pytest.mark.parametrize("how", ["sorted", "scattered"])
@pytest.mark.parametrize(
    ("ids", "kind"), [("texts", pa.string_view()), ("bytes", pa.binary_view())]
)
def test_views_as_polars_writes_them(tmp_path, rng, ids, kind, how):
    model, sequences = make_model(), [s for s in ragged(rng, 12, 1) if len(s)]
    table = long_table(sequences, rng, ids, how)
    views = table.set_column(0, "who", table.column("who").cast(kind))
    layout = {"id": "who", "time": "when", "features": ("x0",), "keep": ("shop",)}
    read = check_everywhere(write(tmp_path / "v.arrow", views), model, (50,), **layout)
    plain = Read(write(tmp_path / "x.arrow", table), model, **layout)
    assert_same_bits(read.scores, plain.scores)
    assert read.kept == plain.kept


@pytest.mark.parametrize("ids", list(IDS))
@pytest.mark.parametrize("how", ["sorted", "scattered"])
def test_ids_of_any_type(tmp_path, rng, ids, how):
    model, sequences = make_model(), [s for s in ragged(rng, 12, 1) if len(s)]
    table = long_table(sequences, rng, ids, how)
    path = write(tmp_path / "x.arrow", table)
    layout = {"id": "who", "time": "when", "features": ("x0",)}
    read = check_everywhere(path, model, (50,), **layout)
    numbers = in_order(table, sequences, ids)
    assert_same_bits(read.scores, model.predict([sequences[n] for n in numbers]))
    assert read.kept == [{"who": IDS[ids](n)} for n in numbers]
    assert read.reader.count == (len(numbers) if how == "sorted" else None)


@pytest.mark.parametrize("ids", list(IDS))
@pytest.mark.parametrize("window", [None, 3])
def test_what_memory_does_not_hold_is_sorted_by_duckdb(tmp_path, rng, ids, window, monkeypatch):
    model, sequences = make_model(2), [s for s in ragged(rng, 12, 2) if len(s)]
    path = write(tmp_path / "x.parquet", long_table(sequences, rng, ids, "scattered"))
    layout = {"id": "who", "time": "when", "features": ("x0", "x1"), "window": window}
    expected = Read(path, model, **layout, keep=("shop",))
    monkeypatch.setattr(sorting, "IN_MEMORY", 0)
    sizes = (100,) if ids == "texts" else ()
    read = check_everywhere(path, model, sizes, **layout, keep=("shop",))
    assert_same_bits(read.scores, expected.scores)
    assert read.kept == expected.kept


def test_without_duckdb_the_error_says_what_to_do(tmp_path, rng, monkeypatch):
    path = write(tmp_path / "x.parquet", long_table(ragged(rng, 12, 1), rng, how="scattered"))
    monkeypatch.setattr(sorting, "IN_MEMORY", 0)
    real = builtins.__import__

    def without(name, *rest):
        if name == "duckdb":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        ImportError,
        match=r'"fastlstm\[duckdb\]"\), sort the table by id and time, or give more memory',
    ):
        Read(path, make_model(), id="who", time="when", features=("x0",))


@pytest.mark.parametrize("memory", [8, 0])
@pytest.mark.parametrize("how", ["sorted", "unsorted", "scattered"])
def test_steps_of_one_time_stay_in_their_order(tmp_path, rng, how, memory, monkeypatch):
    monkeypatch.setattr(sorting, "IN_MEMORY", memory)
    when, who, x = [0, 1, 1, 2, 0, 0, 0, 3], [1, 1, 1, 1, 2, 2, 2, 2], rng.normal(size=8)
    rows = list(range(8))
    if how == "unsorted":
        rows = [3, 1, 0, 2, 4, 7, 5, 6]
    elif how == "scattered":
        rows = [4, 1, 5, 2, 7, 3, 0, 6]
    table = pa.table({"who": who, "when": when, "x": x}).take(rows)
    path = write(tmp_path / "x.parquet", table, 3)
    read = check_everywhere(path, make_model(), (1,), id="who", time="when")
    order = (1, 0) if how == "scattered" else (0, 1)
    assert_same_bits(read.scores, make_model().predict(x.reshape(2, 4)[list(order)]))


@pytest.mark.parametrize("how", ["sorted", "scattered"])
def test_without_time_the_order_of_the_rows_counts(tmp_path, how, rng):
    x, who = rng.normal(size=8), [1, 1, 1, 1, 2, 2, 2, 2]
    rows = list(range(8)) if how == "sorted" else [4, 0, 1, 5, 6, 2, 7, 3]
    table = pa.table({"who": who, "x": x, "other": x}).take(rows)
    path = write(tmp_path / "x.parquet", table, 3)
    read = check_everywhere(path, make_model(), (1,), id="who", features=("x",))
    order = (1, 0) if how == "scattered" else (0, 1)
    assert_same_bits(read.scores, make_model().predict(x.reshape(2, 4)[list(order)]))


@pytest.mark.parametrize("times", ["none", "sorted", "unsorted"])
@pytest.mark.parametrize(("window", "stride"), [(None, 1), (4, 1), (4, 3), (2, 9)])
def test_one_series_without_ids(tmp_path, rng, times, window, stride):
    x, when = rng.normal(size=(40, 2)), np.arange(40)
    table = pa.table({"a": x[:, 0], "b": x[:, 1], "when": when})
    if times == "unsorted":
        table = table.take(rng.permutation(40))
    path = write(tmp_path / "x.parquet", table)
    layout = {"time": None if times == "none" else "when", "features": ("a", "b")}
    model = make_model(2)
    read = check_everywhere(path, model, (1, 150, 400), window=window, stride=stride, **layout)
    starts = range(0, 40 - window + 1, stride) if window else [0]
    expected = np.array([x[k : k + (window or 40)] for k in starts])
    assert_same_bits(read.scores, model.predict(expected))
    assert read.reader.count == len(expected)
    assert read.short == read.reader.too_short == 0
    if window:
        short = check_everywhere(path, model, (1, 150), window=41, **layout)
        assert (len(short.scores), short.short, short.reader.too_short) == (0, 1, 1)


def test_windows_of_a_long_series_come_in_pieces(tmp_path, rng):
    x = rng.normal(size=100_000).astype(np.float32)
    path = write(tmp_path / "x.parquet", pa.table({"x": x}), 30_000)
    read = Read(path, make_model(), 40_000, features=("x",), window=5)
    assert len(read.counts) > 9
    windows = np.lib.stride_tricks.sliding_window_view(x, 5)
    assert_same_bits(read.scores, make_model().predict(windows))


@pytest.mark.parametrize(
    ("window", "stride"), some_of([(1, 1), (2, 1), (3, 2), (2, 4), (5, 7)], (3, 2))
)
def test_windows_of_sequences_of_any_length(tmp_path, rng, window, stride):
    model, sequences = make_model(), [s for s in ragged(rng, 14, 1, 12) if len(s)]
    path = write(tmp_path / "x.parquet", long_table(sequences, rng), 4)
    layout = {"id": "who", "time": "when", "features": ("x0",), "window": window}
    read = check_everywhere(path, model, (30,), stride=stride, **layout)
    assert read.short == read.reader.too_short == sum(len(s) < window for s in sequences)
    for how in ("unsorted", "scattered"):
        other = tmp_path / f"{how}.parquet"
        table = long_table(sequences, rng, how=how)
        found = check_everywhere(write(other, table, 4), model, (30,), stride=stride, **layout)
        assert found.short == read.short
    expected = [s[k : k + window] for s in sequences for k in range(0, len(s) - window + 1, stride)]
    assert_same_bits(read.scores, model.predict(np.array(expected)))


def test_score_of_many_files(tmp_path, rng):
    model, sequences = make_model(), [s for s in ragged(rng, 12, 1) if len(s)]
    table = long_table(sequences, rng)
    folder = tmp_path / "days"
    folder.mkdir()
    for n, first in enumerate(range(0, len(table), 11)):  # sequences go on in the next file
        write(folder / f"{n:02}.parquet", table.slice(first, 11), 4)
    layout = {"id": "who", "time": "when", "features": ["x0"]}
    summary = fastlstm.score(model, folder, tmp_path / "y.npy", **layout)
    assert summary.sequences == len(sequences)
    assert_same_bits(np.load(tmp_path / "y.npy"), model.predict(sequences))
    # of contiguous sequences the longest is known
    fastlstm.score(model, folder, tmp_path / "all.npy", return_sequences=True, **layout)
    expected = model.predict(fastlstm.Ragged.from_list(sequences), return_sequences=True)
    np.testing.assert_array_equal(np.load(tmp_path / "all.npy"), expected)


@pytest.mark.parametrize("how", ["sorted", "unsorted", "scattered"])
def test_a_value_that_is_null_makes_a_bad_row(tmp_path, how, rng):
    who, when = [1] * 4 + [2] * 4 + [3] * 4, [0, 1, 2, 3] * 3
    x = [1.0, 2.0, 3.0, 4.0, 1.0, None, 3.0, 4.0, 4.0, 3.0, 2.0, 1.0]
    table = pa.table({"who": who, "when": when, "x": x})
    if how == "unsorted":
        table = table.take([1, 0, 2, 3, 4, 7, 6, 5, 8, 9, 10, 11])
    if how == "scattered":
        table = table.take([0, 4, 8, 11, 7, 3, 1, 5, 9, 10, 6, 2])
    path = write(tmp_path / "x.parquet", table, 3)
    layout = {"id": "who", "time": "when", "features": ("x",)}
    read = check_everywhere(path, make_model(), (1,), **layout)
    assert read.bad == {1: "null"}
    assert_same_bits(read.scores[[0, 2]], make_model().predict(np.array([x[:4], x[8:]])))
    windows = check_everywhere(path, make_model(), (1,), window=2, **layout)
    assert windows.bad == {3: "null", 4: "null"}


def test_ids_for_an_embedding(tmp_path, rng):
    model, x = make_embedding_model(), rng.integers(0, 7, (5, 6))
    table = pa.table({"who": np.repeat(np.arange(5), 6), "token": x.reshape(-1)})
    path = write(tmp_path / "x.parquet", table)
    read = check_everywhere(path, model, (1,), id="who", features=("token",))
    assert_same_bits(read.scores, model.predict(x))
    path = write(tmp_path / "y.parquet", pa.table({"x": [1.0]}))
    with pytest.raises(TypeError, match="expected integer ids for the model's embedding"):
        Read(path, model, features=("x",))


def test_tables_of_no_rows(tmp_path):
    table = pa.table({"who": pa.array([], pa.int64()), "when": pa.array([], pa.int64()), "x": []})
    table = table.set_column(2, "x", pa.array([], pa.float32()))
    path = write(tmp_path / "x.parquet", table)
    for layout in ({"id": "who", "time": "when"}, {"time": "when"}, {"id": "who"}):
        for window in (None, 2):
            features = ("x",)
            read = Read(path, make_model(), **{"features": features, **layout, "window": window})
            assert (len(read.scores), read.reader.count) == (0, 0)


# What tools write.


@pytest.mark.parametrize("how", ["unsorted", "scattered"])
def test_long_tables_of_pandas_and_polars(tmp_path, rng, how):
    model, sequences = make_model(2), [s for s in ragged(rng, 12, 2) if len(s)]
    table = long_table(sequences, rng, "texts", how)
    frame = table.to_pandas()
    frame["when"] = pd.to_datetime(frame["when"], unit="h")
    frame["shop"] = frame["shop"].astype("category")
    frame.to_parquet(tmp_path / "pandas.parquet", row_group_size=9)
    pl.from_pandas(frame).write_parquet(tmp_path / "polars.parquet", row_group_size=9)
    layout = {"id": "who", "time": "when", "features": ("x0", "x1"), "keep": ("shop",)}
    expected = [sequences[n] for n in in_order(table, sequences, "texts")]
    for name in ("pandas.parquet", "polars.parquet"):
        read = check_everywhere(tmp_path / name, model, (80,), **layout)
        assert_same_bits(read.scores, model.predict(expected))


def test_an_index_of_pandas_is_no_input(tmp_path):
    frame = pd.DataFrame({"who": [1, 1], "x": [1.0, 2.0]}, index=[5, 7])
    model = make_model(2)
    path = tmp_path / "x.parquet"
    frame.to_parquet(path)
    with pytest.raises(ValueError, match=r"column '__index_level_0__' looks like.*index=False"):
        Read(path, model, id="who", features=None, time="x")
    frame.to_csv(tmp_path / "x.csv")
    with pytest.raises(ValueError, match=r"column '' looks like the index.*index=False.*features"):
        Read(tmp_path / "x.csv", model, time="who")
    read = Read(tmp_path / "x.csv", model, time="who", features=("", "x"))  # if it is meant
    assert_same_bits(read.scores, model.predict(np.array([[5, 1.0], [7, 2.0]])))
    frame.to_csv(tmp_path / "x.csv", index=False)
    Read(tmp_path / "x.csv", make_model(), time="who")
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("a, b ,\n1,2,3\n")
    with pytest.raises(ValueError, match="got '' for column 3"):
        Read(wrong, model)


# What can be wrong.

COLUMNS = {"who": [1, 1], "when": [1, 2], "x": [1.0, 2.0], "text": ["a", "b"], "l": [[1], [2]]}
WRONG = [
    ({"time": "t"}, ValueError, "no column 't'"),
    ({"id": "i", "time": "when"}, ValueError, "no column 'i'"),
    ({"features": ("y",)}, ValueError, "no column 'y'"),
    ({"features": ("text",)}, TypeError, "expected numbers in column 'text', got string"),
    ({"features": ("x", "who")}, ValueError, "expected 1 column in features.* got 2"),
    ({"time": "when"}, ValueError, r"got 2 \(who, x\): name 1 column in features"),
    ({"time": "l", "features": ("x",)}, TypeError, "expected times that can be sorted"),
    ({"id": "l", "features": ("x",)}, TypeError, "expected ids in column 'l'"),
    (
        {"time": "when", "column": "l"},
        ValueError,
        "column does not apply to a table with one row for each step",
    ),
    ({"features": ("x",), "keep": ("k",)}, ValueError, "no column 'k'"),
]


@pytest.mark.parametrize(("layout", "error", "text"), WRONG)
def test_columns_that_do_not_fit(tmp_path, layout, error, text):
    path = write(tmp_path / "x.parquet", pa.table(COLUMNS))
    with pytest.raises(error, match=text):
        Read(path, make_model(), **layout)


@pytest.mark.parametrize("name", ["who", "when"])
def test_rows_without_id_or_time(tmp_path, name):
    columns = {"who": [1, 1, 2], "when": [1, 2, 1], "x": [1.0, 2.0, 3.0]}
    columns[name][2] = None
    path = write(tmp_path / "x.parquet", pa.table(columns), 2)
    with pytest.raises(
        ValueError,
        match=f"expected a value in column '{name}' of every row, got null in row 0 of row group 1",
    ):
        Read(path, make_model(), id="who", time="when")


@pytest.mark.parametrize("name", ["who", "when"])
def test_nan_is_no_id_and_no_time(tmp_path, name):
    columns = {"who": [1.0, 1.0, 2.0], "when": [1.0, 2.0, 3.0], "x": [1.0, 2.0, 3.0]}
    columns[name][1] = float("nan")
    path = write(tmp_path / "x.parquet", pa.table(columns))
    with pytest.raises(
        ValueError, match=f"column '{name}' of every row, got NaN in row 1 of row group 0"
    ):
        Read(path, make_model(), id="who", time="when", features=("x",))


def test_a_null_behind_what_told_that_a_table_is_scattered(tmp_path, monkeypatch):
    """DuckDB would leave the row out."""
    monkeypatch.setattr(order, "LEAST_CHECK", 1)
    monkeypatch.setattr(order, "BYTES", 1)
    monkeypatch.setattr(sorting, "IN_MEMORY", 0)
    ids = [1, 2, 1, *[3] * 20, None, 3]
    path = write(tmp_path / "x.parquet", pa.table({"who": ids, "x": np.zeros(len(ids))}), rows=3)
    with pytest.raises(
        ValueError, match="expected a value in column 'who' of every row, got null in row"
    ):
        Read(path, make_model(), 1, id="who", features=("x",))


def test_what_duckdb_cannot_do_is_an_error_of_the_system(tmp_path, monkeypatch):
    monkeypatch.setattr(sorting, "IN_MEMORY", 0)
    monkeypatch.setattr(sorting.Sorted, "_sorting", lambda *_: "SELECT error('the disk is full')")
    path = write(tmp_path / "x.parquet", pa.table({"who": [1, 2, 1], "x": np.zeros(3)}))
    with pytest.raises(OSError, match=r"x.parquet cannot be sorted in .*the disk is full"):
        Read(path, make_model(), id="who", features=("x",))


def test_an_id_that_comes_again_is_noticed_whenever(monkeypatch):
    monkeypatch.setattr(order, "LEAST_CHECK", 4)
    for count in (2, 5, 50):
        watch = order.IdWatch()
        assert all(watch.fresh(pa.array([f"{n}"])) for n in range(count))
        assert watch.all_fresh()
        assert not (watch.fresh(pa.array(["0"])) and watch.all_fresh())


def test_texts_that_are_alike_are_told_apart():
    texts = ["", "a", "b", "ab", "ba", "aa", "aaa", "\0", "\0\0", "ü", "x" * 5000, "x" * 5001]
    watch = order.IdWatch()
    assert watch.fresh(pa.array(texts))
    assert watch.all_fresh()
    for text in texts:  # from the midst of a column, too
        watch = order.IdWatch()
        watch.fresh(pa.array(texts))
        watch.fresh(pa.array(["left", text, "right"]).slice(1, 1))
        assert not watch.all_fresh()
