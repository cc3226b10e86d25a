"""Arrays as sources: rows, padded rows, and windows of them, in .npy files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scoring_files import MODELS, X, windows_of
from table_sources import check_everywhere

import fastlstm
from fastlstm.scoring import memory

GATES = ("forget_gate", "input_gate", "candidate_cell", "cell_state", "output_gate", "hidden_state")


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
