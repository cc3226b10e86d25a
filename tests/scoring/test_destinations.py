"""Destinations of bulk scoring: what is read back, whatever the chunks and interruptions."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import scoring_files as sf
import xarray
import zarr
from scoring_files import N, T

import fastlstm
from fastlstm.scoring import ledger
from fastlstm.scoring.destinations import appended, csv, log
from fastlstm.scoring.destinations import parquet as parquet_destination
from fastlstm.scoring.destinations import zarr as zarr_destination

ALL = [".npy", ".parquet", ".arrow", ".feather", ".csv", ".zarr"]
TABLES = [".parquet", ".arrow", ".csv"]
KEPT = [".parquet", ".arrow", ".csv", ".zarr"]


@pytest.fixture(scope="module")
def model() -> fastlstm.LSTM:
    return sf.make_model()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", sf.make_sequences()[0])
    return tmp_path / "x.npy"


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("unequal", [False, True])
@pytest.mark.parametrize("suffix", ALL)
def test_all_results_are_the_models(model, source, suffix, unequal, every):
    x, lengths = sf.make_sequences()
    given = lengths if unequal else None
    destination = source.with_name("scores" + suffix)
    fastlstm.score(
        model,
        source,
        destination,
        lengths=given,
        return_sequences=every,
        state=True,
        trace=True,
    )
    read = sf.read_back(destination)
    wanted = sf.expected(model, x, given, every)
    if suffix != ".npy":
        assert read.pop("row") == list(range(N))
    assert set(read) == set(wanted)
    for name, rows in wanted.items():
        if suffix == ".csv" and not every and name == "score":
            continue  # a line a step: `score` is on each, which is another test
        sf.assert_rows(read[name], rows, name)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("suffix", ALL)
def test_scores_alone(source, suffix, outputs):
    model = sf.make_model(outputs)
    destination = source.with_name("scores" + suffix)
    fastlstm.score(model, source, destination)
    wanted = list(model.predict(np.load(source)))
    sf.assert_rows(sf.read_back(destination)["score"], wanted, suffix)


def test_types_of_columns(model, source):
    _, lengths = sf.make_sequences()
    options: dict[str, Any] = {"state": True, "trace": True, "lengths": lengths}
    fastlstm.score(sf.make_model(1), source, source.with_name("a.parquet"), **options)
    schema = pyarrow.parquet.read_schema(source.with_name("a.parquet"))
    assert schema.field("score").type == pa.float32()
    assert schema.field("h_n").type == pa.list_(pa.float32(), 13)
    assert schema.field("forget_gate").type == pa.list_(pa.list_(pa.float32(), 5))
    options = {"return_sequences": True, "dtype": "float64"}
    fastlstm.score(sf.make_model(1), source, source.with_name("b.parquet"), **options)
    schema = pyarrow.parquet.read_schema(source.with_name("b.parquet"))
    assert schema.field("score").type == pa.list_(pa.float64())


def test_csv_repeats_what_belongs_to_the_sequence(model, source):
    _, lengths = sf.make_sequences()
    destination = source.with_name("scores.csv")
    fastlstm.score(model, source, destination, lengths=lengths, trace=True, return_sequences=False)
    lines = destination.read_text().splitlines()
    assert lines[0].startswith("row,step,score_0,score_1,forget_gate_0,")
    assert len(lines) - 1 == np.maximum(lengths, 1).sum()
    assert lines[1].startswith("0,,")  # no steps, one line
    assert lines[1].endswith(",,,")
    steps = [line.split(",") for line in lines[2 : 2 + T]]
    assert [(s[0], s[1]) for s in steps] == [("1", str(t)) for t in range(T)]
    assert len({(s[2], s[3]) for s in steps}) == 1


@pytest.mark.parametrize("suffix", KEPT)
def test_columns_are_carried_along(model, source, suffix, monkeypatch):
    batch = sf.carried_along()
    sf.keep_columns(monkeypatch, batch)
    sf.small_chunks(monkeypatch, 2000)
    destination = source.with_name("scores" + suffix)
    fastlstm.score(model, source, destination)
    read = sf.read_back(destination)
    assert "row" not in read
    assert [int(value) for value in read["id"]] == batch["id"].to_pylist()
    for name in ("text", "kind"):
        assert [str(value) for value in read[name]] == batch[name].to_pylist()
    some = np.array([np.nan if v is None else v for v in batch["some"].to_pylist()])
    if suffix == ".zarr":
        np.testing.assert_array_equal(np.array(read["some"]), some)
    elif suffix == ".csv":
        whole = np.concatenate(read["some"])
        np.testing.assert_array_equal(whole, some.astype(np.float32))
    else:
        table = pa.feather if suffix == ".arrow" else pyarrow.parquet
        assert table.read_table(destination)["some"].to_pylist() == batch["some"].to_pylist()
    sf.assert_rows(read["score"], list(model.predict(np.load(source))), suffix)


@pytest.mark.parametrize("suffix", KEPT)
def test_chunks_leave_no_trace(model, source, suffix, monkeypatch):
    _, lengths = sf.make_sequences()
    sf.keep_columns(monkeypatch, sf.carried_along())
    monkeypatch.setattr(log, "GROUP_ROWS", 50)
    monkeypatch.setattr(log, "GROUP_BYTES", 2**14)
    monkeypatch.setattr(csv, "LINES", 100)
    monkeypatch.setattr(zarr_destination, "CHUNK_ROWS", 64)
    monkeypatch.setattr(zarr_destination, "CHUNK_BYTES", 2**12)
    wanted = sf.expected(model, np.load(source), lengths, True)
    results = []
    for size in (400, 3777, 10**7):
        sf.small_chunks(monkeypatch, size)
        destination = source.with_name("scores" + suffix)
        options: dict[str, Any] = {"lengths": lengths, "return_sequences": True, "state": True}
        fastlstm.score(model, source, destination, **options)
        results.append(sf.contents(destination))
        sf.assert_rows(sf.read_back(destination)["score"], wanted["score"], suffix)
    assert all(result == results[0] for result in results)
    if suffix == ".parquet":
        groups = pyarrow.parquet.ParquetFile(destination).metadata
        sizes = [groups.row_group(i).num_rows for i in range(groups.num_row_groups)]
        assert len(sizes) > 6
        assert max(sizes) <= 50
        assert min(sizes[:-1]) >= 20


def test_a_row_larger_than_a_group_is_one_alone(monkeypatch):
    monkeypatch.setattr(log, "GROUP_BYTES", 100)
    batch = pa.RecordBatch.from_pydict(
        {"x": pa.array([[1.0] * n for n in (1, 1, 50, 50, 1, 1, 9)])}
    )
    for size in (1, 2, 7):
        batches = [batch.slice(i, size) for i in range(0, 7, size)]
        groups = [len(table) for table in log.regrouped(iter(batches), batch.schema)]
        assert groups == [2, 1, 1, 2, 1], size


class Stop(Exception):
    """What ends a run in these tests."""


@pytest.mark.parametrize("rescued", [True, False])
@pytest.mark.parametrize("suffix", [".npy", *KEPT])
def test_interrupted_at_every_write(model, source, suffix, rescued, monkeypatch):
    """The process may also be killed: then nothing is rescued. Each way takes other writes.

    A Zarr store is made of what .npy and .parquet files are made of, and takes longest.
    """
    _, lengths = sf.make_sequences()
    if suffix != ".npy":
        sf.keep_columns(monkeypatch, sf.carried_along())
    sf.small_chunks(monkeypatch, 9000)
    monkeypatch.setattr(ledger, "SECONDS_BETWEEN_COMMITS", -1)
    options: dict[str, Any] = {"lengths": lengths, "return_sequences": True, "state": True}
    destination = source.with_name("scores" + suffix)
    fastlstm.score(model, source, destination, **options)
    whole = sf.contents(destination)
    count = _stop_writing(monkeypatch)
    if not rescued:
        monkeypatch.setattr(ledger.Ledger, "rescue", lambda self: None)
    fastlstm.score(model, source, source.with_name("other" + suffix), **options)
    total = -count.left
    assert total > 2
    for call in range(1 + rescued, total + 1, 5 if suffix == ".zarr" else 2):
        count.left = call
        with pytest.raises(Stop):
            fastlstm.score(model, source, destination, restart=True, **options)
        assert sf.contents(destination) == whole  # the old one
        left = Path(f"{destination}.partial").exists()
        fastlstm.score(model, source, destination, resume=left, **options)
        assert sf.contents(destination) == whole
        assert not Path(f"{destination}.partial").exists()


class Count:
    """Calls until one fails; below 0 none does."""

    left = 0


def _stop_writing(monkeypatch: Any) -> Count:
    write, count = appended.Appended.write, Count()

    def counted(self: Any, data: Any) -> None:
        count.left -= 1
        if count.left == 0:
            write(self, bytes(memoryview(data).cast("B")[:3]))  # a part of it is there
            raise Stop
        write(self, data)

    monkeypatch.setattr(appended.Appended, "write", counted)
    return count


@pytest.mark.parametrize("suffix", KEPT)
def test_interrupted_while_it_is_finished(model, source, suffix, monkeypatch):
    sf.keep_columns(monkeypatch, sf.carried_along())
    sf.small_chunks(monkeypatch, 9000)
    destination = source.with_name("scores" + suffix)
    fastlstm.score(model, source, destination)
    whole = sf.contents(destination)
    for module, name in (
        (log.Log, "batches"),
        (zarr_destination.Store, "close"),
        (zarr_destination, "_regrouped"),
        (ledger.Ledger, "_record"),
        (fastlstm.scoring.partial.os, "replace"),
        (fastlstm.scoring.partial, "sync_folder"),
    ):
        for after in (1, 2, 4, 8):
            _stop_at(monkeypatch, module, name, after)
            try:
                fastlstm.score(model, source, destination, restart=True)
            except Stop:
                monkeypatch.undo()
                sf.keep_columns(monkeypatch, sf.carried_along())
                sf.small_chunks(monkeypatch, 9000)
                left = Path(f"{destination}.partial")
                if left.exists():
                    fastlstm.score(model, source, destination, resume=True)
                assert sf.contents(destination) == whole, (name, after)
                assert not left.exists()
            else:
                break
        monkeypatch.undo()
        sf.keep_columns(monkeypatch, sf.carried_along())
        sf.small_chunks(monkeypatch, 9000)


def _stop_at(monkeypatch: Any, module: Any, name: str, call: int) -> None:
    inner, calls = getattr(module, name), 0

    def stopped(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Stop
        return inner(*args, **options)

    monkeypatch.setattr(module, name, stopped)


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize("policy", ["nan", "skip"])
def test_bad_rows(model, source, suffix, policy, monkeypatch):
    x, lengths = sf.make_sequences()
    lengths[9:11] = 5
    x[9, 2], x[10, 6] = np.nan, np.inf  # the second is behind the end
    x[N - 1] = np.inf
    lengths[N - 1] = T
    np.save(source, x)
    sf.small_chunks(monkeypatch, 4000)
    destination = source.with_name("scores" + suffix)
    options: dict[str, Any] = {"lengths": lengths, "return_sequences": True, "state": True}
    summary = fastlstm.score(model, source, destination, on_bad_row=policy, **options)
    assert summary.bad_rows["first"] == [9, N - 1]
    read = sf.read_back(destination)
    wanted = sf.expected(model, np.nan_to_num(x), lengths, True)
    good = [i for i in range(N) if i not in (9, N - 1)]
    if policy == "nan":
        for name in ("score", "h_n"):
            assert np.isnan(read[name][9]).all()
            assert read[name][9].shape == wanted[name][9].shape
            read[name] = [read[name][i] for i in good]
    elif suffix != ".npy":
        assert read["row"] == good
    for name in ("score", "h_n"):
        sf.assert_rows(read[name], [wanted[name][i] for i in good], name)


def test_bad_rows_without_steps_are_null(model, source):
    """A list of no steps would look like a sequence of none."""
    _, lengths = sf.make_sequences()
    destination = source.with_name("scores.parquet")
    options: dict[str, Any] = {"return_sequences": True, "on_bad_row": "nan", "max_steps": T - 1}
    fastlstm.score(model, source, destination, lengths=lengths, **options)
    scores = pyarrow.parquet.read_table(destination)["score"].to_pylist()
    assert [row is None for row in scores] == (lengths == T).tolist()
    assert scores[0] == []


@pytest.mark.parametrize("suffix", [".npy", ".zarr"])
def test_bad_rows_without_steps_are_nan_in_arrays(model, tmp_path, suffix):
    """Zeros, as padding has them, would look like results."""
    lengths = np.array([2, T, 3, 0])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = sf.make_sequences()[0].reshape(-1, 3)[: offsets[-1]]
    np.savez(tmp_path / "x.npz", values=values, offsets=offsets)
    options: dict[str, Any] = {"return_sequences": True, "on_bad_row": "nan", "max_steps": T - 1}
    fastlstm.score(model, tmp_path / "x.npz", tmp_path / f"y{suffix}", **options)
    if suffix == ".npy":
        scores = np.load(tmp_path / "y.npy")
    else:
        scores = zarr.open_group(tmp_path / "y.zarr", mode="r")["score"][...]
    assert scores.shape == (4, T - 1, 2)
    assert np.isnan(scores[1]).all()
    assert (scores[0, 2:] == 0).all()
    assert (scores[3] == 0).all()


def test_nan_is_read_back_from_csv(model, source):
    x = np.load(source)
    x[1] = np.nan
    np.save(source, x)
    destination = source.with_name("scores.csv")
    fastlstm.score(model, source, destination, on_bad_row="nan")
    assert destination.read_text().splitlines()[2] == "1,nan,nan"
    read = np.loadtxt(destination, np.float32, delimiter=",", skiprows=1)
    scores = model.predict(np.nan_to_num(x))
    np.testing.assert_array_equal(np.delete(read[:, 1:], 1, 0), np.delete(scores, 1, 0))
    assert np.isnan(read[1, 1:]).all()


@pytest.mark.parametrize("suffix", ALL)
def test_no_sequences(model, tmp_path, suffix):
    np.save(tmp_path / "x.npy", np.zeros((0, T, 3), np.float32))
    destination = tmp_path / ("scores" + suffix)
    options: dict[str, Any] = {"return_sequences": True, "state": True}
    fastlstm.score(model, tmp_path / "x.npy", destination, **options)
    read = sf.read_back(destination)
    assert {len(rows) for rows in read.values()} == {0}
    assert "score" in read or suffix == ".csv"


def test_xarray_opens_the_store(model, source):
    x, lengths = sf.make_sequences()
    destination = source.with_name("scores.zarr")
    options: dict[str, Any] = {"lengths": lengths, "return_sequences": True, "state": True}
    fastlstm.score(model, source, destination, trace=True, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = xarray.open_zarr(destination, chunks=None)
    assert data["score"].dims == ("sequence", "step", "output")
    assert data["h_n"].dims == ("sequence", "h_n_unit")
    np.testing.assert_array_equal(data["row"], np.arange(N))
    np.testing.assert_array_equal(data["lengths"], lengths)
    wanted = model.predict(x, lengths=lengths, return_sequences=True)
    np.testing.assert_array_equal(data["score"], wanted)  # zeros are no missing values


def test_csv_to_standard_output(model, source, capfdbinary, monkeypatch):
    sf.small_chunks(monkeypatch, 4000)
    fastlstm.score(model, source, source.with_name("scores.csv"))
    fastlstm.score(model, source, "-")
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == source.with_name("scores.csv").read_bytes()


def test_nothing_on_standard_output_before_an_error(model, source, capfdbinary):
    x = np.load(source)
    x[0] = np.nan
    np.save(source, x)
    with pytest.raises(ValueError, match="sequence 0 is bad"):
        fastlstm.score(model, source, "-")
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == b""


@pytest.mark.parametrize(
    ("suffix", "name"),
    [
        (".parquet", "score"),
        (".arrow", "h_n"),
        (".zarr", "lengths"),
        (".zarr", "score"),
        (".csv", "score_1"),
        (".csv", "step"),
        (".csv", "c_n_0"),
    ],
)
def test_a_column_called_as_a_result(model, source, suffix, name, monkeypatch):
    batch = pa.RecordBatch.from_pydict({name: pa.array(np.arange(N))})
    sf.keep_columns(monkeypatch, batch)
    monkeypatch.setattr(fastlstm.scoring.scorer, "compute", lambda *args: pytest.fail("computed"))
    options: dict[str, Any] = {"state": True, "return_sequences": True, "lengths": np.full(N, 2)}
    with pytest.raises(ValueError, match=f"column '{name}' cannot be kept: it is the name of a re"):
        fastlstm.score(model, source, source.with_name("scores" + suffix), **options)
    assert [path.name for path in source.parent.iterdir()] == ["x.npy"]


@pytest.mark.parametrize(
    ("suffix", "column", "message"),
    [
        (".csv", pa.array([[1]] * N), "cannot be kept in CSV: its type is list<.*parquet"),
        (".zarr", pa.array([[1]] * N), "expected numbers or text, got list"),
        (".parquet", pa.nulls(N, pa.duration("s")).cast(pa.int64()), None),
        (".parquet", pa.array(["a"] * N, pa.string()).dictionary_encode(), None),
        (
            ".parquet",
            pa.array([["a"]] * N, pa.list_(pa.dictionary(pa.int8(), pa.string()))),
            "categories inside list",
        ),
        (
            ".parquet",
            pa.UnionArray.from_sparse(pa.array([0] * N, pa.int8()), [pa.array([1] * N)]),
            "a column cannot be kept in",
        ),
    ],
)
def test_columns_that_cannot_be_written(model, source, suffix, column, message, monkeypatch):
    sf.keep_columns(monkeypatch, pa.RecordBatch.from_pydict({"c": column}))
    destination = source.with_name("scores" + suffix)
    if message is None:
        fastlstm.score(model, source, destination)
        return
    with pytest.raises(ValueError, match=message):
        fastlstm.score(model, source, destination)
    assert not destination.exists()


@pytest.mark.parametrize("name", ["", "../up", ".zgroup", "a/b", "_x"])
def test_names_that_a_store_cannot_have(model, source, name, monkeypatch):
    sf.keep_columns(monkeypatch, pa.RecordBatch.from_pydict({name: pa.array(np.arange(N))}))
    with pytest.raises(
        ValueError, match=re.escape(f"cannot be kept: {name!r} cannot be the name of a Zarr array")
    ):
        fastlstm.score(model, source, source.with_name("scores.zarr"))


def test_a_store_has_no_sign_for_nulls(model, source, monkeypatch):
    batch = pa.RecordBatch.from_pydict({"id": pa.array([None if i == 77 else i for i in range(N)])})
    sf.keep_columns(monkeypatch, batch)
    with pytest.raises(ValueError, match="'id' is null for sequence 77"):
        fastlstm.score(model, source, source.with_name("scores.zarr"))


def test_only_a_store_is_replaced(model, source):
    folder = source.with_name("scores.zarr")
    folder.mkdir()
    (folder / "precious.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="something other than a Zarr store"):
        fastlstm.score(model, source, folder)
    assert (folder / "precious.txt").read_text() == "mine"
    (folder / "precious.txt").unlink()
    fastlstm.score(model, source, folder)
    fastlstm.score(sf.make_model(1), source, folder)
    assert zarr.open_group(folder, mode="r")["score"].shape == (N, 1)
    source.with_name("file.zarr").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file"):
        fastlstm.score(model, source, source.with_name("file.zarr"))


def test_a_store_that_is_read_is_not_replaced(model, tmp_path):
    store = tmp_path / "x.zarr"
    zarr.save_group(str(store), x=sf.make_sequences()[0])
    for source in (store, f"{store}:/x"):
        with pytest.raises(ValueError, match="is also an input"):
            fastlstm.score(model, source, store)


@pytest.mark.parametrize("damage", ["cut", "message"])
def test_a_damaged_log(model, source, damage, monkeypatch):
    destination = source.with_name("scores.parquet")
    _stop_at(monkeypatch, parquet_destination, "regrouped", 1)
    with pytest.raises(Stop):
        fastlstm.score(model, source, destination)
    monkeypatch.undo()
    path = Path(f"{destination}.partial") / "log"
    data = path.read_bytes()
    path.write_bytes(data[:-100] if damage == "cut" else b"\xff" * 16 + data[16:])
    with pytest.raises(ValueError, match=r"is damaged: .*restart"):
        fastlstm.score(model, source, destination, resume=True)
    fastlstm.score(model, source, destination, restart=True)
    assert len(sf.read_back(destination)["score"]) == N


@pytest.mark.parametrize(
    ("package", "suffix", "extra"),
    [("pyarrow", s, "arrow") for s in (".parquet", ".arrow", ".csv")]
    + [("pyarrow", ".zarr", "arrow"), ("zarr", ".zarr", "zarr")],
)
def test_missing_packages(model, source, package, suffix, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf'pip install "fastlstm\[{extra}\]"'):
        fastlstm.score(model, source, source.with_name("scores" + suffix))
    assert [path.name for path in source.parent.iterdir()] == ["x.npy"]


def test_groups_and_blocks_are_of_one_piece(tmp_path, monkeypatch):
    """Parquet's pages end where a piece does; blocks are what memory holds."""
    monkeypatch.setattr(log, "GROUP_ROWS", 30)
    monkeypatch.setattr(zarr_destination, "CHUNK_ROWS", 30)
    batch = pa.RecordBatch.from_pydict({"x": pa.array(np.arange(100))})
    journal = log.Log(tmp_path / "log", 0, batch.schema)
    for first in range(0, 100, 7):
        journal.append(batch.slice(first, 7))
    for table in log.regrouped(journal.batches(100), batch.schema):
        assert table["x"].num_chunks == 1
    blocks = [columns[0] for columns in zarr_destination._regrouped(journal.batches(100))]
    assert [len(block) for block in blocks] == [30, 30, 30, 10]
    np.testing.assert_array_equal(np.concatenate(blocks), np.arange(100))
    with pytest.raises(ValueError, match="expected 101 rows, found 100"):
        list(journal.batches(101))
    journal.close()


@pytest.mark.parametrize("name", ["store", "r.csv", "r.npy"])
def test_the_suffix_of_a_link_decides_and_the_link_stays(model, source, tmp_path, name):
    """What it leads to is written, as `cp` does."""
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "scores.npy"
    link.symlink_to(tmp_path / "elsewhere" / name)
    for _ in range(2):  # it leads nowhere at first
        summary = fastlstm.score(model, source, link, state=True)
        assert link.is_symlink()
        assert np.load(link).shape == (N, 2)
        assert summary.outputs["score"] == str(tmp_path / "elsewhere" / name)
        assert np.load(summary.outputs["h_n"]).shape == (N, 13)
    fastlstm.score(model, source, link, on_bad_row="nan")


def test_links_that_lead_nowhere_are_refused(model, source, tmp_path):
    (tmp_path / "a.npy").symlink_to(tmp_path / "b.npy")
    (tmp_path / "b.npy").symlink_to(tmp_path / "a.npy")
    with pytest.raises(OSError, match="a link that leads back to itself"):
        fastlstm.score(model, source, tmp_path / "a.npy")
    (tmp_path / "c.npy").symlink_to(tmp_path / "nowhere" / "d.npy")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere to write d.npy to"):
        fastlstm.score(model, source, tmp_path / "c.npy")


def test_a_link_to_a_store(model, source, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "scores.zarr").symlink_to(tmp_path / "real")
    fastlstm.score(model, source, tmp_path / "scores.zarr")
    assert zarr.open_group(str(tmp_path / "real"), mode="r")["score"].shape == (N, 2)
