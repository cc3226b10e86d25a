"""Tables of lists as sources: Parquet and Arrow files, by whichever tool they were written."""

from __future__ import annotations

import datetime
import io
import json
import re
import tracemalloc

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from helpers import assert_same_bits
from pyarrow import feather
from pyarrow import parquet as pq
from table_sources import Read, check_everywhere, make_embedding_model, make_model, ragged

import fastlstm
from fastlstm.scoring import memory
from fastlstm.scoring.scorer import Scorer
from fastlstm.scoring.sources.layout import Layout
from fastlstm.scoring.sources.open import open_source
from fastlstm.scoring.sources.tables import arrow, parquet
from fastlstm.scoring.sources.tables.arrow import StreamFile
from fastlstm.scoring.sources.tables.parquet import ParquetFile

ROWS = 23
DAY = datetime.date(2026, 1, 2)


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def lists(sequences, inputs):
    """Sequences as an Arrow list array; of lists, where there are several inputs."""
    kind = pa.float32()
    if inputs == 1:
        return pa.array([s[:, 0].tolist() for s in sequences], pa.list_(kind))
    return pa.array([s.tolist() for s in sequences], pa.list_(pa.list_(kind)))


def write(path, table, rows=5):
    """Write a table in pieces of a few rows."""
    if path.suffix in (".parquet", ".pq"):
        pq.write_table(table, path, row_group_size=rows)
    elif path.suffix == ".feather":
        feather.write_feather(table, str(path), compression="lz4", chunksize=rows)
    elif path.suffix == ".arrows":
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=rows)
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=rows)
    return path


SUFFIXES = (".parquet", ".pq", ".feather", ".arrow", ".arrows", ".ipc")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("inputs", [1, 3])
def test_lists_of_any_length_score_as_a_ragged(tmp_path, rng, suffix, inputs):
    model, sequences = make_model(inputs), ragged(rng, ROWS, inputs)
    table = pa.table({"id": range(ROWS), "x": lists(sequences, inputs)})
    path = write(tmp_path / f"x{suffix}", table)
    read = check_everywhere(path, model, id="id")
    assert_same_bits(read.scores, model.predict(fastlstm.Ragged.from_list(sequences)))
    assert read.kept == [{"id": n} for n in range(ROWS)]
    assert not read.bad
    assert not read.reader.equal


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_score_writes_what_predict_returns(tmp_path, rng, suffix, monkeypatch):
    monkeypatch.setattr(memory, "MOST_CHUNK", 200)
    model, sequences = make_model(), ragged(rng, ROWS, 1)
    path = write(tmp_path / f"x{suffix}", pa.table({"x": lists(sequences, 1)}))
    summary = fastlstm.score(model, path, tmp_path / "y.npy")
    assert (summary.sequences, summary.bad_rows["count"]) == (ROWS, 0)
    expected = model.predict(fastlstm.Ragged.from_list(sequences))
    assert_same_bits(np.load(tmp_path / "y.npy"), expected)


def fixed(values, size):
    return pa.FixedSizeListArray.from_arrays(values, size)


FORMS = {
    "fixed": lambda x: fixed(pa.array(x.reshape(-1)), x.shape[1] * x.shape[2]),
    "fixed of fixed": lambda x: fixed(fixed(pa.array(x.reshape(-1)), x.shape[2]), x.shape[1]),
    "large": lambda x: pa.array(x.tolist(), pa.large_list(pa.large_list(pa.float32()))),
    "list of fixed": lambda x: pa.array(x.tolist(), pa.list_(pa.list_(pa.float32(), x.shape[2]))),
    "fixed of list": lambda x: pa.array(x.tolist(), pa.list_(pa.list_(pa.float32()), x.shape[1])),
    "structs": lambda x: pa.array(
        [[{f"f{k}": v for k, v in enumerate(step)} for step in row] for row in x.tolist()],
        pa.list_(pa.struct([(f"f{k}", pa.float32()) for k in range(x.shape[2])])),
    ),
}


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize(("form", "inputs"), [(f, 1 if f == "fixed" else 2) for f in FORMS])
def test_every_form_of_lists(tmp_path, rng, form, inputs, suffix):
    model = make_model(inputs)
    x = rng.normal(size=(ROWS, 6, inputs)).astype(np.float32)
    path = write(tmp_path / f"x{suffix}", pa.table({"x": FORMS[form](x)}))
    read = check_everywhere(path, model)
    assert_same_bits(read.scores, model.predict(x))
    assert read.reader.equal == form.startswith("fixed")
    assert read.reader.steps == (6 if form.startswith("fixed") else None)


@pytest.mark.parametrize("kind", ["float16", "float64", "int8", "uint16", "int64"])
def test_numbers_of_any_type(tmp_path, rng, kind):
    model, x = make_model(), (rng.normal(size=(ROWS, 5)) * 3).astype(np.dtype(kind))
    values = pa.array(x.reshape(-1))
    offsets = pa.array(np.arange(ROWS + 1, dtype=np.int32) * 5)
    path = write(tmp_path / "x.arrow", pa.table({"x": pa.ListArray.from_arrays(offsets, values)}))
    assert_same_bits(check_everywhere(path, model).scores, model.predict(x))


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize(("window", "stride"), [(3, 1), (4, 3), (2, 5)])
@pytest.mark.parametrize("inputs", [1, 2])
def test_windows_of_lists(tmp_path, rng, window, stride, inputs, suffix):
    model, sequences = make_model(inputs), ragged(rng, ROWS, inputs)
    table = pa.table({"name": [f"s{n}" for n in range(ROWS)], "x": lists(sequences, inputs)})
    path = write(tmp_path / f"x{suffix}", table)
    read = check_everywhere(path, model, window=window, stride=stride, keep=("name",))
    windows, names = [], []
    for n, s in enumerate(sequences):
        for k, start in enumerate(range(0, len(s) - window + 1, stride)):
            windows.append(s[start : start + window])
            names.append({"name": f"s{n}", "window": k})
    assert_same_bits(read.scores, model.predict(np.array(windows)))
    assert read.short == sum(len(s) < window for s in sequences)
    assert read.kept == names
    assert read.reader.equal
    assert read.reader.steps == window


def test_ids_for_an_embedding(tmp_path, rng):
    model, x = make_embedding_model(), rng.integers(0, 7, (ROWS, 5))
    path = write(tmp_path / "x.parquet", pa.table({"x": x.tolist()}))
    assert_same_bits(check_everywhere(path, model).scores, model.predict(x))
    x[3, 2] = 7
    path = write(tmp_path / "bad.parquet", pa.table({"x": x.tolist()}))
    assert Read(path, model, 100).bad == {3: "an id outside 0 ... 6"}
    path = write(tmp_path / "float.parquet", pa.table({"x": x.astype(float).tolist()}))
    with pytest.raises(TypeError, match="expected integer ids"):
        Read(path, model)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_what_is_null_is_a_bad_row(tmp_path, suffix):
    x = [[1.0, 2.0], None, [3.0, None, 4.0], [], [5.0], [None]]
    path = write(tmp_path / f"x{suffix}", pa.table({"x": pa.array(x, pa.list_(pa.float32()))}), 4)
    model = make_model()
    read = check_everywhere(path, model)
    assert read.bad == {1: "null", 2: "null", 5: "null"}
    assert_same_bits(read.scores[[0, 3, 4]], model.predict([np.array(x[k]) for k in (0, 3, 4)]))
    windows = check_everywhere(path, model, window=2)
    # windows of [1, 2], one for the list that is not there, and two of [3, null, 4]
    assert windows.bad == {1: "null", 2: "null", 3: "null"}
    assert len(windows.scores) == 4


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_what_is_null_in_lists_of_fixed_size(tmp_path, suffix):
    model, x = make_model(), [[1.0, 2.0], None, [3.0, None], [5.0, 6.0]]
    column = pa.array(x, pa.list_(pa.float32(), 2))
    try:
        path = write(tmp_path / f"x{suffix}", pa.table({"x": column}), 3)
    except pa.ArrowNotImplementedError as error:
        pytest.skip(f"this version of pyarrow writes no such file: {error}")
    read = check_everywhere(path, model)
    assert read.bad == {1: "null", 2: "null"}
    assert_same_bits(read.scores[[0, 3]], model.predict(np.array([x[0], x[3]])))
    assert check_everywhere(path, model, window=1).bad == {2: "null", 3: "null", 5: "null"}


def test_what_is_null_in_lists_of_lists(tmp_path):
    model = make_model(2)
    x = [[[1, 2], [3, 4]], [[1, 2], None], [[1, None]], None, [[1, 2], [3]], [[7, 8]], [[1, 2, 3]]]
    table = pa.table({"x": pa.array(x, pa.list_(pa.list_(pa.float32())))})
    path = write(tmp_path / "x.parquet", table, 3)
    read = check_everywhere(path, model)
    wrong = "a step with the wrong number of inputs"
    assert read.bad == {1: "null", 2: "null", 3: "null", 4: wrong, 6: wrong}
    good = [np.array(x[0]), np.array(x[5])]
    assert_same_bits(read.scores[[0, 5]], model.predict(good))


def test_what_is_null_in_lists_of_structs(tmp_path):
    model = make_model(2)
    x = [[{"a": 1, "b": 2}], [{"a": 1, "b": None}], [None], [{"a": 3, "b": 4}] * 2]
    kind = pa.list_(pa.struct([("a", pa.float32()), ("b", pa.float64())]))
    path = write(tmp_path / "x.parquet", pa.table({"x": pa.array(x, kind)}))
    read = check_everywhere(path, model)
    assert read.bad == {1: "null", 2: "null"}
    good = [np.array([[1.0, 2]]), np.array([[3.0, 4], [3, 4]])]
    assert_same_bits(read.scores[[0, 3]], model.predict(good))


def test_a_null_list_may_hide_numbers(tmp_path):
    offsets, values = pa.array([0, 2, 4, 5], pa.int32()), pa.array([1.0, 2, 3, 4, 5], pa.float32())
    column = pa.ListArray.from_arrays(offsets, values, mask=pa.array([False, True, False]))
    path = write(tmp_path / "x.arrow", pa.table({"x": column}))
    model = make_model()
    read = check_everywhere(path, model)
    assert read.bad == {1: "null"}
    assert_same_bits(read.scores[[0, 2]], model.predict([np.array([1.0, 2]), np.array([5.0])]))
    assert len(Read(path, model, window=1).scores) == 4  # one for the list that is not there


def test_bad_rows_are_treated_as_in_any_source(tmp_path):
    column = pa.array([[1.0], [None], [2.0]], pa.list_(pa.float32()))
    path = write(tmp_path / "x.parquet", pa.table({"x": column}), 2)
    model, y = make_model(), tmp_path / "y.npy"
    with pytest.raises(ValueError, match="sequence 1 is bad: null"):
        fastlstm.score(model, path, y)
    summary = fastlstm.score(model, path, y, on_bad_row="nan", restart=True)
    assert summary.bad_rows == {"count": 1, "reasons": {"null": 1}, "first": [1]}
    assert np.isnan(np.load(y)).all(1).tolist() == [False, True, False]
    fastlstm.score(model, path, y, on_bad_row="skip")
    assert_same_bits(np.load(y), model.predict(np.array([[1.0], [2.0]])))


def test_bad_rows_are_told_by_id(tmp_path):
    x = [[[1.0, 2.0]], [[1.0, np.nan]], None, [[1e39, 1.0]]]
    ids = {"user": ["a", 'b"', None, "d" * 100], "n": [1, 2, 3, 4], "at": [DAY] * 4}
    table = pa.table({**ids, "x": pa.array(x, pa.list_(pa.list_(pa.float64())))})
    path, model = write(tmp_path / "x.parquet", table), make_model(2)
    for id, names in {
        "user": ["user 'b\"'", "user None", f"user '{'d' * 59} ..."],
        "n": ["n 2", "n 3", "n 4"],
        "at": [f"at '{DAY}'"] * 3,
    }.items():
        with pytest.raises(ValueError, match=re.escape(f"sequence 1 ({names[0]}) is bad: NaN")):
            fastlstm.score(model, path, tmp_path / "y.npy", id=id)
        summary = fastlstm.score(model, path, tmp_path / "y.npy", id=id, on_bad_row="nan")
        found = summary.as_dict()["bad_rows"]
        assert found["first"] == [1, 2, 3]
        assert [row[id] for row in found["ids"]] == [
            str(v) if id == "at" else v for v in ids[id][1:]
        ]
        json.dumps(found)
        assert f"first: {', '.join(names)})" in str(summary)
    summary = fastlstm.score(model, path, tmp_path / "y.npy", on_bad_row="nan")
    assert "ids" not in summary.bad_rows
    assert str(summary).endswith("first: 1, 2, 3)")
    with pytest.raises(ValueError, match=r"sequence 1 \(n 2, window 0\) is bad: NaN"):
        fastlstm.score(model, path, tmp_path / "y.npy", id="n", window=1)


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".arrow", ".zarr", ".csv"])
@pytest.mark.parametrize("lengths", [[1, 2, 3, 1, 4, 0, 2], [4, 1, 1], [1, 0], [3]])
def test_sequences_shorter_than_a_window_are_counted(tmp_path, lengths, suffix):
    short = sum(n < 3 for n in lengths)
    table = pa.table({"id": range(len(lengths)), "x": [[1.0] * n for n in lengths]})
    path = write(tmp_path / "x.parquet", table, 2)
    summary = fastlstm.score(make_model(), path, tmp_path / f"y{suffix}", id="id", window=3)
    assert summary.too_short == summary.as_dict()["too_short"] == short
    assert summary.sequences == summary.written == sum(max(0, n - 2) for n in lengths)
    what = f"; {short} sequence{'s' if short > 1 else ''} shorter than a window left out"
    assert str(summary).endswith(what) == (short > 0)


def test_files_follow_each_other(tmp_path, rng):
    model, sequences = make_model(), ragged(rng, ROWS, 1)
    folder = tmp_path / "parts"
    folder.mkdir()
    for n, part in enumerate((sequences[:9], [], sequences[9:10], sequences[10:])):
        write(folder / f"part{n}.parquet", pa.table({"x": lists(part, 1)}), 4)
    expected = model.predict(fastlstm.Ragged.from_list(sequences))
    for source in (folder, folder / "*.parquet"):
        assert_same_bits(check_everywhere(source, model).scores, expected)
    assert "4 files" in Read(folder, model).reader.describe()


def test_row_groups_of_no_rows(tmp_path):
    path = tmp_path / "x.parquet"
    table = pa.table({"x": pa.array([[1.0], [2.0]], pa.list_(pa.float32()))})
    with pq.ParquetWriter(path, table.schema) as writer:
        for part in (table.slice(0, 0), table, table.slice(0, 0), table, table.slice(0, 0)):
            writer.write_table(part)
    assert pq.ParquetFile(path).metadata.num_row_groups == 5
    model = make_model()
    assert_same_bits(
        check_everywhere(path, model).scores, model.predict(np.array([[1.0], [2], [1], [2]]))
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_of_no_rows(tmp_path, suffix):
    path = write(tmp_path / f"x{suffix}", pa.table({"x": pa.array([], pa.list_(pa.float32()))}))
    summary = fastlstm.score(make_model(), path, tmp_path / "y.npy")
    assert summary.sequences == 0
    assert np.load(tmp_path / "y.npy").shape == (0, 2)


def test_chunks_are_as_large_as_asked_for(tmp_path, rng):
    x = rng.normal(size=(4000, 50)).astype(np.float32)
    values, offsets = pa.array(x.reshape(-1)), pa.array(np.arange(4001, dtype=np.int32) * 50)
    table = pa.table({"x": pa.ListArray.from_arrays(offsets, values)})
    model = make_model()
    for name, rows in (("one.parquet", 4000), ("many.parquet", 10), ("many.arrow", 10)):
        path = write(tmp_path / name, table, rows)
        reader = open_source(str(path), Layout(), model)
        sizes = [chunk.sequences.nbytes for chunk in reader.chunks(40_000, None)]
        assert max(sizes) <= 40_000
        assert len(sizes) < 60  # small pieces are read together


def test_one_long_list_among_short_ones_is_cut_off_from_them(tmp_path, rng):
    sequences = [rng.normal(size=(n, 1)).astype(np.float32) for n in [3] * 50 + [2000] + [3] * 50]
    path = write(tmp_path / "x.parquet", pa.table({"x": lists(sequences, 1)}), 200)
    model = make_model()
    read = check_everywhere(path, model, sizes=(200, 5000))
    assert_same_bits(read.scores, model.predict(fastlstm.Ragged.from_list(sequences)))


def test_kept_columns_are_plain(tmp_path):
    day = datetime.date(2026, 1, 2)
    table = pa.table(
        {
            "id": pa.array(["a", None, "a"]).dictionary_encode(),
            "day": pa.array([day] * 3, pa.date32()),
            "x": pa.array([[1.0], [2.0], [3.0]], pa.list_(pa.float32())),
            "y": pa.array([[1], [2, 3], []], pa.list_(pa.int8())),
        }
    )
    for suffix in (".parquet", ".arrow"):
        path = write(tmp_path / f"x{suffix}", table, 2)
        keep = ("y", "day", "id")
        read = check_everywhere(path, make_model(), column="x", id="id", keep=keep)
        assert read.reader.kept == pa.schema(
            [("id", pa.string()), ("y", pa.list_(pa.int8())), ("day", pa.date32())]
        )
        assert read.kept == table.select(["id", "y", "day"]).to_pylist()
        # the other column of lists is kept, so there is no doubt
        assert_same_bits(Read(path, make_model(), keep=("y",)).scores, read.scores)


def test_interrupted_it_is_taken_up(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(memory, "MOST_CHUNK", 100)
    model, sequences = make_model(), ragged(rng, ROWS, 1)
    sequences[12][:] = np.nan
    assert len(sequences[12])
    path, y = (
        write(tmp_path / "x.parquet", pa.table({"x": lists(sequences, 1)})),
        tmp_path / "y.npy",
    )
    with pytest.raises(ValueError, match="sequence 12 is bad"):
        fastlstm.score(model, path, y)
    summary = fastlstm.score(model, path, y, on_bad_row="nan", resume=True)
    assert 0 < summary.resumed < 13
    expected = model.predict(fastlstm.Ragged.from_list(sequences))
    expected[12] = np.nan
    np.testing.assert_array_equal(np.load(y), expected)


@pytest.mark.parametrize("chunks", [1, 2, 4])
def test_interrupted_it_still_counts_everything(tmp_path, chunks, monkeypatch):
    """Bad rows with their ids, and sequences that a window does not fit into."""
    monkeypatch.setattr(memory, "LEAST_CHUNK", 1)
    monkeypatch.setattr(memory, "MOST_CHUNK", 20)
    lengths = [2, 3, 1, 5, 0, 2, 4, 3, 1, 6, 1, 2]
    x = [[float(n)] * n for n in lengths]
    x[3][4] = x[7][0] = 1e300
    table = pa.table({"who": [f"w{n}" for n in range(12)], "x": x})
    path, y = write(tmp_path / "x.parquet", table, 4), tmp_path / "y.csv"
    options = {"id": "who", "window": 3, "on_bad_row": "nan"}
    whole = fastlstm.score(make_model(), path, tmp_path / "whole.csv", **options)
    assert whole.too_short == 7
    assert whole.bad_rows["ids"] == [{"who": "w3", "window": 2}, {"who": "w7", "window": 0}]
    score, done = Scorer.score, []

    def stops(self, *arguments):
        if len(done) == chunks:
            raise OSError("stopped")
        done.append(None)
        return score(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score", stops)
        with pytest.raises(OSError, match="stopped"):
            fastlstm.score(make_model(), path, y, **options)
    summary = fastlstm.score(make_model(), path, y, resume=True, **options)
    assert summary.resumed > 0
    assert summary.bad_rows == whole.bad_rows
    assert (summary.too_short, summary.sequences) == (whole.too_short, whole.sequences)
    assert y.read_bytes() == (tmp_path / "whole.csv").read_bytes()


# What tools write.


def test_parquet_written_by_pandas(tmp_path, rng):
    x = rng.normal(size=(ROWS, 7)).astype(np.float32)
    frame = pd.DataFrame({"name": [f"s{n}" for n in range(ROWS)], "x": list(x)})
    frame["name"] = frame["name"].astype("category")
    frame.to_parquet(tmp_path / "x.parquet", engine="pyarrow", row_group_size=5)
    frame.to_feather(tmp_path / "x.feather")
    model = make_model()
    for name in ("x.parquet", "x.feather"):
        read = check_everywhere(tmp_path / name, model, id="name")
        assert_same_bits(read.scores, model.predict(x))
        assert read.kept == [{"name": f"s{n}"} for n in range(ROWS)]


def test_parquet_written_by_polars(tmp_path, rng):
    x = rng.normal(size=(ROWS, 7)).astype(np.float32)
    series = pl.Series("x", x.tolist(), dtype=pl.List(pl.Float32))
    frame = pl.DataFrame({"name": [f"s{n}" for n in range(ROWS)], "x": series})
    arrays = frame.with_columns(pl.col("x").cast(pl.Array(pl.Float32, 7)))
    model = make_model()
    for n, f in enumerate((frame, arrays)):
        f.write_parquet(tmp_path / f"{n}.parquet", row_group_size=5)
        f.write_ipc(tmp_path / f"{n}.arrow")
        f.write_ipc_stream(tmp_path / f"{n}.arrows")
        for suffix in (".parquet", ".arrow", ".arrows"):
            read = check_everywhere(tmp_path / f"{n}{suffix}", model, id="name")
            assert_same_bits(read.scores, model.predict(x))
            assert read.kept == [{"name": f"s{k}"} for k in range(ROWS)]


def test_parquet_written_by_duckdb(tmp_path):
    path, model = tmp_path / "x.parquet", make_model()
    with duckdb.connect() as base:
        base.execute(
            "COPY (SELECT i AS id, [i, i + 1, i + 2]::FLOAT[] AS x FROM range(23) AS t(i)) "
            f"TO '{path}' (FORMAT parquet)"
        )
    read = check_everywhere(path, model, id="id")
    assert_same_bits(read.scores, model.predict(np.arange(23)[:, None] + np.arange(3.0)))


# What can be wrong.


def table_of(**columns):
    return pa.table({name: pa.array(*column) for name, column in columns.items()})


TWO = {"x": ([[1.0]],), "y": ([[2.0]],), "n": ([3],)}
WRONG = [
    (TWO, {}, ValueError, r"one column of lists.* got 2 of them: the columns are x \(list"),
    ({"n": ([3],)}, {}, ValueError, r"got none: the columns are n \(int64\).*time or features"),
    (TWO, {"column": "z"}, ValueError, r"there is no column 'z' \(column\); its columns are x"),
    (TWO, {"column": "n"}, TypeError, "column 'n': expected lists, each a sequence, got int64"),
    (TWO, {"column": "x", "keep": ("k",)}, ValueError, "no column 'k'"),
    (TWO, {"column": "x", "id": "i"}, ValueError, "no column 'i'"),
    ({"x": ([["a"]],)}, {}, TypeError, "expected lists of numbers, got list"),
    ({"x": ([[[1.0, 2.0]]],)}, {}, ValueError, "expected steps of 1 input, got 2 at the first"),
    (
        {"x": ([[[1.0, 2.0]]], pa.list_(pa.list_(pa.float32(), 2)))},
        {},
        ValueError,
        "lists of steps with 1 input, got list.*this model has 1 input and 3 hidden units",
    ),
    (
        {"x": ([[1.0]],), "window": ([1],)},
        {"window": 1, "keep": ("window",)},
        ValueError,
        "'window' cannot be kept: .*numbers of windows",
    ),
    ({"x": ([[1.0]],)}, {"lengths": [1]}, ValueError, "lengths does not apply to a table"),
    ({"x": ([[1.0]],)}, {"lengths": np.ones(2, int)}, ValueError, "lengths does not apply to"),
]


@pytest.mark.parametrize(("columns", "layout", "error", "text"), WRONG)
def test_columns_that_do_not_fit(tmp_path, columns, layout, error, text):
    path = write(tmp_path / "x.parquet", table_of(**columns))
    with pytest.raises(error, match=text):
        Read(path, make_model(), **layout)


def test_numbers_for_a_model_of_several_inputs(tmp_path):
    path = write(tmp_path / "x.parquet", table_of(x=([[1.0]],)))
    with pytest.raises(ValueError, match="lists of steps with 2 inputs"):
        Read(path, make_model(2))


def test_two_columns_of_one_name(tmp_path):
    x = pa.array([[1.0]])
    path = write(tmp_path / "x.arrows", pa.Table.from_arrays([x, x], names=["x", "x"]))
    with pytest.raises(ValueError, match="several columns 'x'"):
        Read(path, make_model(), column="x")


def test_files_whose_columns_differ(tmp_path):
    write(tmp_path / "a.parquet", table_of(x=([[1.0]], pa.list_(pa.float32()))))
    write(tmp_path / "b.parquet", table_of(x=([[1.0]], pa.list_(pa.float64()))))
    with pytest.raises(ValueError, match=r"b\.parquet: expected column 'x' of type list.*float>"):
        Read(tmp_path, make_model())
    write(tmp_path / "b.parquet", table_of(y=([[1.0]], pa.list_(pa.float32()))))
    with pytest.raises(ValueError, match=r"there is no column 'x'.*its columns are y"):
        Read(tmp_path, make_model())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_files(tmp_path, rng, suffix):
    model = make_model()
    path = write(tmp_path / f"x{suffix}", pa.table({"x": lists(ragged(rng, 5000, 1), 1)}), 1000)
    sound = path.read_bytes()
    for damaged in (b"", b"nothing of the kind", sound[: len(sound) // 2], sound[:10]):
        path.write_bytes(damaged)
        with pytest.raises((ValueError, OSError), match=path.name):
            Read(path, model)


@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
def test_damage_in_the_midst_is_no_crash(tmp_path, rng, suffix):
    model = make_model()
    path = write(tmp_path / f"x{suffix}", pa.table({"x": lists(ragged(rng, 5000, 1), 1)}), 1000)
    sound, errors = path.read_bytes(), []
    for _ in range(20):
        at = int(rng.integers(8, len(sound) - 400))
        path.write_bytes(sound[:at] + rng.bytes(300) + sound[at + 300 :])
        try:
            Read(path, model)
        except (ValueError, OSError) as error:
            errors.append(str(error))
    assert errors
    assert all(path.name in error for error in errors)


def damaged_column(case):
    """A column whose buffers do not fit its length, as a damaged file has."""
    child = pa.array(np.arange(8, dtype=np.float32))
    text, far = pa.py_buffer(b"abcd"), 2**28

    def offsets(*numbers, dtype=np.int32):
        return pa.py_buffer(np.array(numbers, dtype))

    def nested(*numbers):
        inner = pa.list_(pa.float32())
        steps = pa.Array.from_buffers(inner, 4, [None, offsets(*numbers)], children=[child])
        return pa.ListArray.from_arrays(pa.array(range(5), pa.int32()), steps)

    match case:
        case "offsets beyond":
            buffers = [None, offsets(0, 2, far, 4, 8)]
            return pa.Array.from_buffers(pa.list_(pa.float32()), 4, buffers, children=[child])
        case "offsets that fall":
            buffers = [None, offsets(0, 2, -far, 4, 8)]
            return pa.Array.from_buffers(pa.list_(pa.float32()), 4, buffers, children=[child])
        case "large offsets":
            buffers = [None, offsets(0, 2, 2**62, 4, 8, dtype=np.int64)]
            kind = pa.large_list(pa.float32())
            return pa.Array.from_buffers(kind, 4, buffers, children=[child])
        case "inner offsets beyond":
            return nested(0, 2, far, far + 2, 8)
        case "inner offsets that wrap round":
            return nested(0, 2, -4, -2, 8)
        case "text beyond":
            buffers = [None, offsets(0, 1, far, 3, 4), text]
            return pa.Array.from_buffers(pa.string(), 4, buffers)
        case "text that is none":
            buffers = [None, offsets(0, 1, 2, 3, 4), pa.py_buffer(b"a\xff\xfed")]
            return pa.Array.from_buffers(pa.string(), 4, buffers)
        case "categories beyond":
            kind = pa.dictionary(pa.int32(), pa.string())
            words = pa.array(["a", "b"])
            numbers = [None, offsets(0, 1, 2**30, 1)]
            return pa.DictionaryArray.from_buffers(kind, 4, numbers, words)
    raise AssertionError(case)


LISTS = (
    "offsets beyond",
    "offsets that fall",
    "large offsets",
    "inner offsets beyond",
    "inner offsets that wrap round",
)
TEXTS = ("text beyond", "text that is none", "categories beyond")


@pytest.mark.parametrize("suffix", [".arrow", ".arrows"])
@pytest.mark.parametrize("case", LISTS + TEXTS)
def test_buffers_that_do_not_fit(tmp_path, case, suffix):
    """Arrow itself follows any offset: these ended the process, or gave a plausible score."""
    column = damaged_column(case)
    if case in TEXTS:
        table = {"id": column, "x": pa.array([[1.0, 2.0]] * 4)}
    else:
        table = {"id": pa.array(["a", "b", "c", "d"]), "x": column}
    path = tmp_path / f"x{suffix}"
    batch = pa.RecordBatch.from_pydict(table)
    new = pa.ipc.new_stream if suffix == ".arrows" else pa.ipc.new_file
    with new(str(path), batch.schema) as writer:
        writer.write_batch(batch)
    model = make_model(2 if "inner" in case else 1)
    name = "id" if case in TEXTS else "x"
    with pytest.raises(ValueError, match=rf"x{suffix}: column '{name}': cannot be read, it may be"):
        fastlstm.score(model, path, tmp_path / "y.npy", column="x", id="id", on_bad_row="nan")


@pytest.mark.parametrize("case", TEXTS)
def test_buffers_that_do_not_fit_in_a_long_table(tmp_path, case):
    batch = pa.RecordBatch.from_pydict({"id": damaged_column(case), "x": pa.array([1.0] * 4)})
    path = tmp_path / "x.arrows"
    with pa.ipc.new_stream(str(path), batch.schema) as writer:
        writer.write_batch(batch)
    with pytest.raises(ValueError, match=r"x\.arrows: column 'id': cannot be read"):
        fastlstm.score(make_model(), path, tmp_path / "y.npy", id="id", features=["x"])


def test_columns_that_are_not_used_may_be_damaged(tmp_path):
    batch = pa.RecordBatch.from_pydict({"x": [[1.0]] * 4, "id": damaged_column("text beyond")})
    path = tmp_path / "x.arrow"
    with pa.ipc.new_file(str(path), batch.schema) as writer:
        writer.write_batch(batch)
    assert len(Read(path, make_model(), column="x").scores) == 4


def test_names_that_are_no_text(tmp_path):
    path = write(tmp_path / "x.arrows", table_of(name=([[1.0]],)))
    data = path.read_bytes()
    assert data.count(b"name") == 1
    path.write_bytes(data.replace(b"name", b"na\xffe"))
    with pytest.raises(ValueError, match=r"x\.arrows: cannot be read"):
        Read(path, make_model())


def test_a_size_that_is_damaged_takes_no_memory(monkeypatch):
    """Arrow asks for as many bytes as the file says."""
    data = bytes(range(256)) * 4
    tracemalloc.start()
    assert StreamFile(io.BytesIO(data)).read(2**40) == data
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**27
    monkeypatch.setattr(arrow, "AT_ONCE", 100)
    for size in (0, 1, 99, 100, 101, 200, 1023, 1024, 1025):
        assert StreamFile(io.BytesIO(data)).read(size) == data[:size]


def test_a_page_that_is_said_to_be_large_takes_no_memory(tmp_path):
    options = {"compression": "none", "use_dictionary": False}
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": [[1.0, 2.0]] * 50}), path, **options)
    data = path.read_bytes()
    at = 4  # behind the magic number: a page's kind, its size, and its compressed size
    for _ in range(2):
        assert data[at] == 0x15
        at += 1
        while data[at] & 0x80:
            at += 1
        at += 1
    end = at + 1
    while data[end] & 0x80:
        end += 1
    path.write_bytes(data[: at + 1] + b"\xce\xff\xff\xff\x0f" + data[end + 1 :])
    with pytest.raises(OSError, match=r"x\.parquet.*Page was smaller .* than expected \(21474836"):
        Read(path, make_model())
    assert pa.default_memory_pool().max_memory() < 2**30


def test_statistics_that_are_damaged(tmp_path, rng):
    """Asking for what a row group says of a column would end the process."""
    table = pa.table({"x": lists([s + 1 for s in ragged(rng, 50, 1)], 1)})
    path = write(tmp_path / "x.parquet", table, 50)
    data = path.read_bytes()
    size = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - size : -8]
    # how often each level occurs: a list of so many numbers, and here of one more
    for at in [k for k in range(size) if footer[k] in (0x36, 0x46)]:
        longer = footer[:at] + bytes([footer[at] + 16, 0]) + footer[at + 1 :]
        ending = (size + 1).to_bytes(4, "little") + b"PAR1"
        path.write_bytes(data[: -8 - size] + longer + ending)
        try:
            pq.read_table(path)
        except (OSError, ValueError) as error:
            if "histogram" in str(error):
                break
    else:
        pytest.skip("this pyarrow writes no such statistics")
    with pytest.raises(OSError, match=r"x\.parquet: cannot be read, it may be damaged"):
        Read(path, make_model())


@pytest.mark.parametrize("rows", [700, 12_000])
@pytest.mark.parametrize("longest", [3, 300])
def test_batches_of_parquet_are_measured(tmp_path, rng, rows, longest, monkeypatch):
    """What fits is not told by the file: rows of a group are read in batches of about the size."""
    monkeypatch.setattr(parquet, "FIRST_ROWS", 64)
    lengths = np.where(np.arange(rows) < rows // 2, 1, longest)  # they grow in the midst
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = np.arange(offsets[-1], dtype=np.float32)
    column = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values))
    path = write(tmp_path / "x.parquet", pa.table({"x": column}), rows)
    file, sizes, found = ParquetFile(str(path)), [], []
    for part in file.read({"x": column.type}, 100_000, 0, 0):
        assert part.first == sum(map(len, found))
        found.append(part.data.column(0))
        sizes.append(part.data.nbytes)
    assert pa.concat_arrays(found).equals(column)
    assert max(sizes) < 100_000 * longest + 5000  # once, before it is noticed that they grow
    assert sorted(sizes)[-2] < 250_000
    assert len(sizes) < 100 + 4 * sum(sizes) // 100_000
    for row in (1, 63, 64, 65, rows // 2 + 1, rows - 1):
        rest = pa.concat_arrays(
            [p.data.column(0) for p in file.read({"x": column.type}, 100_000, 0, row)]
        )
        assert rest.equals(column[row:])


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".arrows"])
def test_files_that_change_or_vanish(tmp_path, rng, suffix):
    model = make_model()
    table = pa.table({"x": lists(ragged(rng, 500, 1), 1)})
    path = write(tmp_path / f"x{suffix}", table, 100)
    reader = open_source(str(path), Layout(), model)
    write(path, table.slice(3), 100)
    with pytest.raises(OSError, match=f"x{suffix} has changed"):
        list(reader.chunks(1000, None))
    reader = open_source(str(path), Layout(), model)
    chunks = reader.chunks(1000, None)
    next(chunks)
    with open(path, "r+b") as file:
        file.truncate(100)
    with pytest.raises((OSError, ValueError), match=path.name):
        list(chunks)
    reader = open_source(str(write(path, table, 100)), Layout(), model)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=path.name):
        list(reader.chunks(1000, None))


def test_feather_of_the_first_version(tmp_path):
    (tmp_path / "x.feather").write_bytes(b"FEA1" + bytes(50))
    with pytest.raises(ValueError, match="Feather version 1 is not supported"):
        Read(tmp_path / "x.feather", make_model())
