"""Bulk scoring of arrays: what is written, how it is cut, and what is refused."""

from __future__ import annotations

import json
import os
import re
from contextlib import nullcontext
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
import zarr
from model_files import fc, random, tensors
from networks import Maker
from pyarrow import feather
from pyarrow import parquet as pq
from scoring_files import MODELS, X
from table_sources import check_everywhere

import fastlstm
from fastlstm import Embedding
from fastlstm.scoring import memory
from fastlstm.scoring.bad_rows import find_bad_rows
from fastlstm.scoring.chunk import Chunk
from fastlstm.scoring.outputs import Wanted
from fastlstm.scoring.run import Run
from fastlstm.scoring.sources.layout import Layout

GATES = ("forget_gate", "input_gate", "candidate_cell", "cell_state", "output_gate", "hidden_state")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small_chunks(monkeypatch) -> None:
    """Chunks of few sequences, so that there are many."""
    monkeypatch.setattr(memory, "MOST_CHUNK", 1 << 10)


def windows_of(series: np.ndarray, window: int, stride: int) -> np.ndarray:
    """All windows (N, window, I) of a series (L, I), materialised."""
    every = np.lib.stride_tricks.sliding_window_view(series, window, axis=0)
    return np.ascontiguousarray(every[::stride].swapaxes(1, 2))


FORMS = {
    "as it is": lambda x: x,
    "Fortran's order": np.asfortranarray,
    "float64": lambda x: x.astype("float64"),
    "float16": lambda x: x.astype("float16"),
    "big-endian": lambda x: x.astype(">f4"),
    "integers": lambda x: (10 * x).astype("int16"),
    "one sequence": lambda x: x[0],
    "no sequences": lambda x: x[:0],
    "no steps": lambda x: x[:, :0],
    "one step": lambda x: x[:, :1],
}


@pytest.mark.parametrize("inputs", [1, 2])
@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_scores_are_what_predict_gives_byte_for_byte(here, small_chunks, form, every, inputs):
    x = form(X[..., :inputs])
    np.save("x.npy", x)
    summary = fastlstm.score(MODELS[inputs], "x.npy", "y.npy", return_sequences=every)
    expected = MODELS[inputs].predict(x, return_sequences=every)
    np.save("expected.npy", expected)
    assert Path("y.npy").read_bytes() == Path("expected.npy").read_bytes()
    assert (summary.sequences, summary.written, summary.resumed) == (len(expected),) * 2 + (0,)
    assert sorted(os.listdir()) == ["expected.npy", "x.npy", "y.npy"]


@pytest.mark.parametrize("shape", [(403, 9), (9,), (403, 9, 1)])
def test_arrays_of_one_input_may_lack_axes(here, shape):
    x = X[..., 0].reshape(-1)[: np.prod(shape)].reshape(shape)
    np.save("x.npy", x)
    fastlstm.score(MODELS[1], "x.npy", "y.npy")
    np.testing.assert_array_equal(np.load("y.npy"), MODELS[1].predict(x))


@pytest.mark.parametrize("as_file", [True, False])
def test_lengths_of_padded_rows(here, small_chunks, as_file):
    lengths = np.arange(len(X)) % 10
    x = X.copy()
    x[np.arange(9) >= lengths[:, np.newaxis]] = np.nan  # padding may hold anything
    np.save("x.npy", x)
    np.save("lengths.npy", lengths)
    given = "lengths.npy" if as_file else lengths
    fastlstm.score(MODELS[2], "x.npy", "y.npy", lengths=given, return_sequences=True)
    expected = MODELS[2].predict(x, lengths=lengths, return_sequences=True)
    np.testing.assert_array_equal(np.load("y.npy"), expected)
    np.testing.assert_array_equal(np.load("y.lengths.npy"), lengths)


def test_states_and_gates_lie_beside_the_scores(here, small_chunks):
    np.save("x.npy", X)
    model = MODELS[2]
    summary = fastlstm.score(model, "x.npy", "y.npy", state=True, trace=True)
    np.testing.assert_array_equal(np.load("y.npy"), model.predict(X))
    _, state = model(X)
    for name in ("h_n", "c_n"):
        parts = [getattr(layer, name[0])[0] for layer in state]
        np.testing.assert_array_equal(np.load(f"y.{name}.npy"), np.concatenate(parts, axis=1))
    trace = model.trace(X)
    for name in GATES:
        np.testing.assert_array_equal(np.load(f"y.{name}.npy"), getattr(trace, name))
    assert {Path(path).name for path in summary.outputs.values()} == {
        *(f"y.{name}.npy" for name in (*GATES, "h_n", "c_n")),
        "y.npy",
    }


@pytest.mark.parametrize("stride", [1, 4, 30])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("inputs", [1, 2])
def test_windows_of_a_series(here, small_chunks, inputs, dtype, stride):
    series = (10 * np.random.default_rng(7).normal(size=(997, inputs))).astype(dtype)
    np.save("x.npy", series)
    fastlstm.score(MODELS[inputs], "x.npy", "y.npy", window=20, stride=stride)
    expected = MODELS[inputs].predict(windows_of(series, 20, stride))
    np.testing.assert_array_equal(np.load("y.npy"), expected)


@pytest.mark.parametrize("chunk", [1 << 9, 1 << 12, 1 << 16])
def test_windows_of_many_series(here, monkeypatch, chunk):
    """Of a part of a series at a time, of one, and of several."""
    monkeypatch.setattr(memory, "MOST_CHUNK", chunk)
    many = np.random.default_rng(7).normal(size=(7, 150, 2))
    np.save("x.npy", many)
    fastlstm.score(MODELS[2], "x.npy", "y.npy", window=20, stride=3)
    expected = np.concatenate([MODELS[2].predict(windows_of(s, 20, 3)) for s in many])
    np.testing.assert_array_equal(np.load("y.npy"), expected)


def test_several_files_follow_each_other(here, small_chunks):
    Path("in").mkdir()
    for i, part in enumerate(np.split(X, [100, 100, 250])):
        np.save(f"in/part-{i}.npy", part)
    Path("in/_SUCCESS").touch()
    for source in ("in", "in/*.npy", Path("in")):
        fastlstm.score(MODELS[2], source, "y.npy")
        np.testing.assert_array_equal(np.load("y.npy"), MODELS[2].predict(X))


@pytest.mark.parametrize("window", [None, 4])
def test_several_files_are_read_from_any_position(here, window):
    Path("in").mkdir()
    for i, part in enumerate(np.split(X[:30], [7, 7, 20])):
        np.save(f"in/part-{i}.npy", part)
    read = check_everywhere("in", MODELS[2], (1, 300), window=window)
    expected = X[:30] if window is None else np.concatenate([windows_of(s, 4, 1) for s in X[:30]])
    np.testing.assert_array_equal(read.scores, MODELS[2].predict(expected))


def test_a_model_file_and_another_dtype(here):
    np.save("x.npy", X)
    MODELS[2].save("m.npz")
    fastlstm.score("m.npz", "x.npy", "y.npy", dtype="float64")
    np.testing.assert_array_equal(np.load("y.npy"), MODELS[2].astype("float64").predict(X))


# --- bad rows -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", ">f4"])
@pytest.mark.parametrize("policy", ["nan", "skip", "error"])
def test_rows_with_nan_or_infinity(here, small_chunks, policy, dtype, value):
    x = X.astype(dtype)
    bad = [0, 77, 78, 402]
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


# --- what is refused ------------------------------------------------------------------------

WRONG = {
    "no such source": ({"source": "no.npy"}, FileNotFoundError, "there is no file no.npy"),
    "no match": ({"source": "no*.npy"}, FileNotFoundError, r"no file matches no\*.npy"),
    "an empty folder": ({"source": "empty"}, FileNotFoundError, "no file in this folder ends in"),
    "a suffix": ({"source": "x.txt"}, ValueError, "expected a source ending in .npy"),
    "text": ({"source": "text.npy"}, ValueError, "text.npy: expected an .npy file of numbers"),
    "half a file": ({"source": "half.npy"}, ValueError, "half.npy: expected an .npy file"),
    "words": ({"source": "words.npy"}, TypeError, "words.npy: expected real numbers"),
    "inputs": ({"source": "wide.npy"}, ValueError, r"wide.npy: expected x of shape .*\(5, 4, 3\)"),
    "two kinds": ({"source": "mixed"}, ValueError, "expected files of one kind"),
    "a destination": ({"destination": "y.txt"}, ValueError, "expected a destination ending in"),
    "in no folder": ({"destination": "no/y.npy"}, FileNotFoundError, "there is no folder no"),
    "a folder": ({"destination": "empty.npy"}, IsADirectoryError, "empty.npy is a folder"),
    "the input": ({"destination": "x.npy"}, ValueError, "also an input"),
    "the model": ({"model": "m.npy", "destination": "m.npy"}, ValueError, "also an input"),
    "a policy": ({"on_bad_row": "drop"}, ValueError, "expected on_bad_row to be one of"),
    "a size": ({"memory": "lots"}, ValueError, "expected memory to be a size such as 500MB"),
    "little memory": (
        {"memory": "1MB"},
        ValueError,
        '1 MB of memory is too little .*: give memory="',
    ),
    "a long window": ({"window": 10}, ValueError, "at least the 10 steps of a window, got 9"),
    "no window": ({"window": 0}, ValueError, "expected window to be an integer of 1 or more"),
    "a stride alone": (
        {"stride": 2},
        ValueError,
        "stride=2 is the distance between windows: give window too",
    ),
    "columns": ({"column": "a"}, ValueError, "column does not apply to an array"),
    "lengths": ({"lengths": np.array([1])}, ValueError, "expected lengths of shape"),
    "threads": ({"threads": 0}, ValueError, "expected threads to be an integer of 1 or more"),
}


@pytest.mark.parametrize(("call", "kind", "message"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused_before_anything_is_written(here, call, kind, message):
    np.save("x.npy", X)
    np.save("m.npy", X)
    np.save("words.npy", np.full((5, 4, 2), "word"))
    np.save("wide.npy", np.zeros((5, 4, 3)))
    Path("text.npy").write_text("1,2,3\n")
    Path("x.txt").touch()
    Path("half.npy").write_bytes(Path("x.npy").read_bytes()[:1000])
    for folder in ("empty", "mixed", "empty.npy"):
        Path(folder).mkdir()
    np.save("mixed/a.npy", X)
    np.savez("mixed/b.npz", x=X)
    before = sorted(os.listdir())
    arguments = {"model": MODELS[2], "source": "x.npy", "destination": "y.npy", **call}
    with pytest.raises(kind, match=message):
        fastlstm.score(**arguments)
    assert sorted(os.listdir()) == before


def test_a_file_that_becomes_shorter_is_an_error(here, small_chunks, monkeypatch):
    from fastlstm.scoring import scorer
    from fastlstm.scoring.sources.arrays import pages

    # with a lease, cutting it would wait for the very thread that cuts it
    monkeypatch.setattr(pages, "_lease", lambda descriptor: False)
    np.save("x.npy", X)
    compute = scorer.compute

    def cut(*arguments):
        os.truncate("x.npy", 20_000)
        return compute(*arguments)

    monkeypatch.setattr(scorer, "compute", cut)
    with pytest.raises(OSError, match=r"x.npy cannot be read up to byte .* become shorter"):
        fastlstm.score(MODELS[2], "x.npy", "y.npy")
    assert not Path("y.npy").exists()


@pytest.mark.parametrize(
    ("text", "size"),
    [("500MB", 500_000_000), ("1.5 GiB", 3 << 29), (4096, 4096), ("2k", None), ("0", None)],
)
def test_sizes(text, size):
    if size is None:
        with pytest.raises(ValueError, match=re.escape(f"got {text!r}")):
            memory.as_bytes(text)
    else:
        assert memory.as_bytes(text) == size


def test_a_window_of_few_bytes_is_as_much_work_as_any(here):
    np.save("x.npy", np.zeros((2_000_000, 2), "float32"))
    layout = Layout(window=1000)
    wanted = Wanted(False, False, False)
    with fastlstm.scoring.run.Run(
        MODELS[2], "x.npy", "y.npy", layout=layout, wanted=wanted, memory="1GB"
    ) as run:
        per_window = 1000 * MODELS[2]._engine.work_a_step
        assert run.chunk_bytes() / 8 * per_window == pytest.approx(memory.MOST_WORK, rel=0.01)


def test_no_file_of_the_result_replaces_the_source(here):
    np.save("y.h_n.npy", X)
    before = Path("y.h_n.npy").read_bytes()
    with pytest.raises(
        ValueError, match=r"y.h_n.npy is the source, and a result beside .* over it"
    ):
        fastlstm.score(MODELS[2], "y.h_n.npy", "y.npy", state=True)
    assert Path("y.h_n.npy").read_bytes() == before
    assert os.listdir() == ["y.h_n.npy"]


def test_the_summary_is_what_json_can_say(here):
    np.save("x.npy", X)
    summary = fastlstm.score(MODELS[2], "x.npy", "y.npy")
    said = json.loads(json.dumps(summary.as_dict()))
    assert said["sequences"] == 403
    assert said["rate"] > 0
    assert "403 sequences" in str(summary)


def test_what_a_chunk_takes_beside_its_results_counts(tmp_path):
    """Final states may come with outputs of every step, windows with their numbers and starts."""
    make = Maker(0, "float32")
    model = fastlstm.LSTM([make.layer(1, 64)], make.dense(64, 1), read="last")
    np.save(tmp_path / "x.npy", np.zeros((3, 100), np.float32))
    np.save(tmp_path / "s.npy", np.zeros(100, np.float32))

    def chunk(name, state, **layout):
        run = Run(
            model,
            tmp_path / name,
            tmp_path / "y.npy",
            layout=Layout(**layout),
            wanted=Wanted(False, state, False),
        )
        with run:
            return run.chunk_bytes()

    assert chunk("x.npy", True) * 64 < 500e6 < chunk("x.npy", False) * 64
    windows = chunk("s.npy", False, window=5) // 4
    assert windows * 3 * (2 * 4 + 4 + 16) < 500e6


def test_hints_for_a_model_file(tmp_path):
    np.savez(tmp_path / "torch.npz", **tensors((3, 4)), **fc(hidden=4))
    np.save(tmp_path / "x.npy", x := random(5, 6, 3))
    paths = tmp_path / "torch.npz", tmp_path / "x.npy", tmp_path / "y.npy"
    fastlstm.score(*paths, head="fc", activation="tanh", between="relu")
    model = fastlstm.load(paths[0], head="fc", activation="tanh", between="relu")
    np.testing.assert_array_equal(np.load(paths[2]), model.predict(x))
    with pytest.raises(TypeError, match="score takes no argument 'haed'; did you mean head"):
        fastlstm.score(*paths, haed="fc")
    with pytest.raises(TypeError, match="hints are for a model file, not for a model: got head"):
        fastlstm.score(model, *paths[1:], head="fc")
    for wrong in ({"return_sequences": "no"}, {"state": "no"}, {"trace": 1}):
        with pytest.raises(TypeError, match="to be True or False, got"):
            fastlstm.score(model, *paths[1:], **wrong)


@pytest.mark.parametrize(
    "name", ["fill_missing", "resume", "restart", "progress", "state", "trace", "return_sequences"]
)
@pytest.mark.parametrize("value", ["no", 0, 1])
def test_flags_are_true_or_false(here, name, value):
    np.save("x.npy", X)
    with pytest.raises(TypeError, match=f"expected {name} to be True or False, got {value!r}"):
        fastlstm.score(MODELS[2], "x.npy", "y.npy", **{name: value})
    assert not list(here.glob("y.npy*"))


@pytest.mark.parametrize("name", ["features", "keep"])
def test_a_name_is_no_list_of_letters(here, name):
    table = pa.table({"a": [1.0, 2.0], "b": [3.0, 4.0], "t": [0, 1], "ab": [5.0, 6.0]})
    pq.write_table(table, "x.parquet")
    expected = re.escape(f"expected a list of columns, {name}=[\"ab\"], got 'ab'")
    with pytest.raises(TypeError, match=expected):
        fastlstm.score(MODELS[2], "x.parquet", "y.parquet", **{"time": "t", name: "ab"})


@pytest.mark.parametrize("name", ["threads", "max_steps", "window", "stride"])
def test_flags_are_no_numbers(here, name):
    np.save("x.npy", X)
    with pytest.raises(TypeError, match=f"expected {name} to be an integer .* got True"):
        fastlstm.score(MODELS[2], "x.npy", "y.npy", **{name: True})


def test_a_flag_is_no_cluster(here):
    np.save("x.npy", X)
    with pytest.raises(TypeError, match="expected dask to be an address"):
        fastlstm.score(MODELS[2], "x.npy", "y.npy", dask=False)


def test_an_id_that_is_no_number_is_json(here):
    rows = [[[0.0, 0.0]], [[np.nan, 0.0]], [[np.nan, 0.0]]]
    table = pa.table({"x": rows, "who": pa.array([1.0, np.nan, np.inf], from_pandas=False)})
    pq.write_table(table, "x.parquet")
    summary = fastlstm.score(MODELS[2], "x.parquet", "y.parquet", id="who", on_bad_row="nan")
    said = json.loads(json.dumps(summary.as_dict(), allow_nan=False))
    assert said["bad_rows"]["ids"] == [{"who": "nan"}, {"who": "inf"}]


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_every_step_is_a_hint_for_two_directions_too(here, suffix):
    """It is no hint for a file that says itself what it is, and no advice without effect."""
    m = Maker(3, "float32")
    layer, head = m.both(2, 4), m.dense(8, 1)
    weights = {}
    for cell, end in zip(layer.cells, ("", "_reverse"), strict=True):
        weights |= {
            f"lstm.weight_ih_l0{end}": cell.w_ih,
            f"lstm.weight_hh_l0{end}": cell.w_hh,
            f"lstm.bias_ih_l0{end}": cell.b_ih,
            f"lstm.bias_hh_l0{end}": cell.b_hh,
        }
    weights |= {"fc.weight": head.weight, "fc.bias": head.bias}
    weights = {name: value for name, value in weights.items() if value is not None}
    model = fastlstm.LSTM([layer], head, return_sequences=True)
    np.save("x.npy", X)
    np.savez("bare.npz", **weights)
    model.save(f"own{suffix}")
    for path, hints in (("bare.npz", {"head": "fc"}), (f"own{suffix}", {})):
        fastlstm.score(path, "x.npy", "y.npy", return_sequences=True, **hints)
        assert np.array_equal(np.load("y.npy"), model.predict(X))
    with pytest.raises(ValueError, match="bidirectional"):
        fastlstm.score("bare.npz", "x.npy", "z.npy", head="fc")
    Path(f"own{suffix}").write_bytes(Path(f"own{suffix}").read_bytes()[:-30])
    with pytest.raises(ValueError, match="own"):  # and not that it takes no hints
        fastlstm.score(f"own{suffix}", "x.npy", "z.npy", return_sequences=True)
