"""Networks whose outputs have other steps than the inputs, or that do not take every number."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import zarr
from networks import Maker, chain
from pyarrow import csv as arrow_csv
from pyarrow import parquet as pq

import fastlstm
from fastlstm.network.network import Network
from fastlstm.network.pooling import Pool
from fastlstm.network.reading import Read
from fastlstm.network.steps import Flatten, Pad, Repeat, Upsample
from fastlstm.scoring.bad_rows import find_bad_rows
from fastlstm.scoring.chunk import Chunk
from fastlstm.scoring.dry_run import dry_run
from fastlstm.scoring.memory import chunk_bytes
from fastlstm.scoring.outputs import Wanted, most_steps, steps_of, steps_of_all
from fastlstm.scoring.run import Run
from fastlstm.scoring.sources.layout import Layout

pytestmark = pytest.mark.usefixtures("few_kernels", "here")

N, T = 23, 12
m = Maker(0, "float32")
HEAD = m.dense(4, 2)
LAYER = m.layer(3, 4)
CONV = chain(m.conv(2, 3, 3, activation="relu"), Pool("max", 2), LAYER, Read(), HEAD)
WIDER = chain(m.dense(2, 3), Upsample(2), LAYER, HEAD, every=True)
AUTOENCODER = chain(m.layer(2, 4), Read(), Repeat(5), m.layer(4, 4), m.dense(4, 2), every=True)
FIXED = chain(m.conv(2, 3, 3), LAYER, Flatten(10), m.dense(40, 2))  # takes 12 steps
X = np.random.default_rng(0).normal(size=(N, T, 2)).astype("f4")
LENGTHS = np.random.default_rng(1).integers(4, T + 1, N)
LENGTHS[:3] = T, 4, 0


def write_lists(lengths: np.ndarray) -> None:
    rows = [x[:length].tolist() for x, length in zip(X, lengths, strict=True)]
    kind = pa.list_(pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({"x": pa.array(rows, kind)}), "x.parquet")


@pytest.mark.parametrize("model", [CONV, WIDER, AUTOENCODER], ids=["conv", "wider", "auto"])
def test_outputs_of_every_step(model, small_chunks):
    np.save("x.npy", X)
    fastlstm.score(model, "x.npy", "y.npy", return_sequences=True)
    expected = model.predict(X, return_sequences=True)
    np.testing.assert_array_equal(np.load("y.npy"), expected)
    fastlstm.score(model, "x.npy", "y.parquet", return_sequences=True)
    lists = pq.read_table("y.parquet")["score"].to_pylist()
    np.testing.assert_array_equal(np.array(lists, "f4"), expected)


@pytest.mark.parametrize("model", [CONV, WIDER, AUTOENCODER], ids=["conv", "wider", "auto"])
def test_outputs_of_unequal_sequences(model, small_chunks):
    write_lists(LENGTHS)
    np.save("x.npy", X)
    np.save("lengths.npy", LENGTHS)
    expected = model.predict(X, LENGTHS, return_sequences=True)
    steps = model.network.output_steps(LENGTHS)
    for source, more in (("x.parquet", {"max_steps": T}), ("x.npy", {"lengths": "lengths.npy"})):
        fastlstm.score(model, source, "y.npy", return_sequences=True, **more)
        np.testing.assert_array_equal(np.load("y.npy"), expected)
        if model is not AUTOENCODER:  # all its outputs have five steps
            np.testing.assert_array_equal(np.load("y.lengths.npy"), steps)
    fastlstm.score(model, "x.parquet", "y.zarr", return_sequences=True, max_steps=T)
    np.testing.assert_array_equal(zarr.open_group("y.zarr", mode="r")["score"][:], expected)
    fastlstm.score(model, "x.parquet", "y.parquet", return_sequences=True)
    for row, found, n in zip(
        expected, pq.read_table("y.parquet")["score"].to_pylist(), steps, strict=True
    ):
        np.testing.assert_array_equal(np.array(found, "f4").reshape(-1, 2), row[:n])
    fastlstm.score(model, "x.parquet", "y.csv", return_sequences=True)
    lines = arrow_csv.read_csv("y.csv")
    assert len(lines) == np.maximum(steps, 1).sum()


def test_steps_that_do_not_come_from_the_source():
    """Then even a source that does not say how long its sequences are fits into an array."""
    write_lists(LENGTHS)
    fastlstm.score(AUTOENCODER, "x.parquet", "y.npy")
    assert np.load("y.npy").shape == (N, 5, 2)
    with pytest.raises(ValueError, match="does not say how long its longest sequence is"):
        fastlstm.score(CONV, "x.parquet", "z.npy", return_sequences=True)


def test_states_and_gates():
    np.save("x.npy", X)
    fastlstm.score(CONV, "x.npy", "y.npy", state=True, trace=True)
    assert np.load("y.npy").shape == (N, 2)
    np.testing.assert_array_equal(np.load("y.h_n.npy"), CONV(X)[1].h_n[0])
    np.testing.assert_array_equal(np.load("y.forget_gate.npy"), CONV.trace(X).forget_gate)
    assert np.load("y.forget_gate.npy").shape == (N, 5, 4)
    behind = chain(LAYER, Pad(1, 0), m.dense(4, 1))
    np.save("x.npy", np.zeros((2, 4, 3), "f4"))
    with pytest.raises(ValueError, match="have other steps than the last layer"):
        fastlstm.score(behind, "x.npy", "y.npy", return_sequences=True, trace=True)


def test_final_states_where_only_the_last_step_of_a_layer_is_read():
    """A direction from the end is walked over that step alone, unless its state is wanted."""
    both = m.both(2, 3)
    model = chain(both, Read("last"), Repeat(2), m.layer(6, 4), Read(), m.dense(4, 1))
    np.save("x.npy", X)
    fastlstm.score(model, "x.npy", "y.npy", state=True)
    alone = fastlstm.LSTM.from_network(Network([both]))
    _, state = alone(X)
    expected = np.concatenate([state[0].h[0], state[0].h[1]], 1)
    np.testing.assert_array_equal(np.load("y.h_n.npy")[:, :6], expected)


@pytest.mark.parametrize("policy", ["error", "nan", "skip"])
@pytest.mark.parametrize("kind", ["lists", "padded"])
def test_too_few_steps_are_bad_rows(policy, kind, small_chunks):
    lengths = LENGTHS.copy()
    lengths[[5, 9]] = 3, 1  # three steps are one of the convolution and none of the pooling
    write_lists(lengths)
    np.save("x.npy", X)
    np.save("lengths.npy", lengths)
    source = "x.parquet" if kind == "lists" else "x.npy"
    more = {} if kind == "lists" else {"lengths": "lengths.npy"}
    if policy == "error":
        with pytest.raises(ValueError, match="sequence 5 is bad: fewer steps than the 4 that"):
            fastlstm.score(CONV, source, "y.npy", **more)
        return
    summary = fastlstm.score(CONV, source, "y.npy", on_bad_row=policy, **more)
    assert summary.bad_rows == {
        "count": 2,
        "reasons": {"fewer steps than the 4 that the model needs": 2},
        "first": [5, 9],
    }
    good = np.delete(np.arange(N), [5, 9])
    found = np.load("y.npy")
    if policy == "nan":
        assert np.isnan(found[[5, 9]]).all()
        found = found[good]
    np.testing.assert_array_equal(found, CONV.predict(X[good], lengths[good]))
    fastlstm.score(CONV, source, "z.parquet", on_bad_row=policy, return_sequences=True, **more)
    steps = pq.read_table("z.parquet")["score"]
    assert steps.null_count == (2 if policy == "nan" else 0)


@pytest.mark.parametrize("policy", ["nan", "skip"])
def test_a_fixed_number_of_steps(policy):
    lengths = np.full(N, T)
    lengths[[0, 7, 8]] = 11, 0, 5
    write_lists(lengths)
    summary = fastlstm.score(FIXED, "x.parquet", "y.npy", on_bad_row=policy, state=True)
    reasons = {"other than the 12 steps that the model takes": 3}
    assert summary.bad_rows["reasons"] == reasons
    good = np.delete(np.arange(N), [0, 7, 8])
    for name, expected in (("y", FIXED.predict(X[good])), ("y.h_n", FIXED(X[good])[1].h_n[0])):
        found = np.load(f"{name}.npy")
        if policy == "nan":
            assert np.isnan(found[[0, 7, 8]]).all()
            found = found[good]
        np.testing.assert_array_equal(found, expected)


def test_a_source_without_any_sequence_that_fits_is_refused_at_once():
    np.save("x.npy", X[:, :9])
    with pytest.raises(
        ValueError,
        match=r"x.npy: all sequences have 9 steps; the model takes 12: part 2, Flatten, takes "
        r"exactly 10 steps, and gets 7$",
    ):
        fastlstm.score(FIXED, "x.npy", "y.npy", on_bad_row="nan")
    np.save("x.npy", np.concatenate([X, X], axis=1))
    with pytest.raises(ValueError, match=r"24 steps; the model takes 12.*; window=12 scores windo"):
        fastlstm.score(FIXED, "x.npy", "y.npy", on_bad_row="nan")
    fastlstm.score(FIXED, "x.npy", "y.npy", window=12)
    assert np.load("y.npy").shape == (N * 13, 2)
    np.save("x.npy", X[:, :3])
    with pytest.raises(ValueError, match="all sequences have 3 steps; the model takes at least 4"):
        fastlstm.score(CONV, "x.npy", "z.npy")
    for rows in (X[:0], X[:0, :3]):
        np.save("x.npy", rows)
        assert fastlstm.score(CONV, "x.npy", "z.npy").written == 0


def test_no_sequence_of_a_chunk_fits(small_chunks):
    lengths = np.full(N, 2)
    lengths[-1] = T
    write_lists(lengths)
    for every in (False, True):
        fastlstm.score(
            CONV, "x.parquet", "y.parquet", on_bad_row="nan", return_sequences=every, restart=True
        )
        found = pq.read_table("y.parquet")["score"].to_pylist()
        assert len(found) == N
        expected = CONV.predict(X[-1:], return_sequences=every)[0].tolist()
        assert found[-1] == expected


def test_dry_run_shows_the_steps_of_outputs():
    np.save("x.npy", X)
    layout, wanted = Layout(), Wanted(True, False, False)
    with Run(CONV, "x.npy", "y.npy", layout=layout, wanted=wanted) as run:
        said = dry_run(run)
    assert said.steps == T
    assert said.outputs == {"score": [N, 5, 2]}
    assert f"score ({N}, 5, 2)" in str(said)


@pytest.mark.parametrize("known", [True, False])
def test_chunks_leave_room_for_many_steps_of_outputs(known):
    """Of 64 steps for each that is read, so that less is read at a time."""
    np.save("x.npy", X)
    write_lists(LENGTHS)
    sizes = []
    for times in (1, 64):
        model = chain(m.dense(2, 3), Upsample(times), LAYER, HEAD, every=True)
        wanted = Wanted(True, False, False)
        source, to = ("x.npy", "y.npy") if known else ("x.parquet", "y.parquet")
        with Run(model, source, to, layout=Layout(), wanted=wanted) as run:
            bytes_of = (run.memory, 0, run.reader, run.fields)
            known_steps = run.reader.steps or 1
            sizes.append(chunk_bytes(*bytes_of, times * known_steps))
            assert run.chunk_bytes() <= sizes[-1]
    assert sizes[1] < sizes[0] / 10


def test_how_many_steps():
    every = Wanted(True, False, False)
    assert steps_of(CONV, every, np.array([4, 12])).tolist() == [1, 5]
    assert steps_of(CONV, Wanted(False, False, True), np.array([4, 12])).tolist() == [1, 5]
    assert steps_of_all(CONV, every) is None
    assert steps_of_all(AUTOENCODER, every) == 5
    assert steps_of_all(AUTOENCODER, Wanted(False, False, True)) == 5
    assert most_steps(WIDER, every, 12) == 24
    assert most_steps(AUTOENCODER, every, 10**9) == 5


def test_some_rows_of_a_chunk():
    lengths = np.array([3, 1, 2])
    values = np.arange(12.0).reshape(6, 2)
    ragged = fastlstm.Ragged(np.concatenate([[[9, 9]], values]), np.array([1, 4, 5, 7]))
    chosen, none = Chunk(ragged, 3, None).rows(np.array([0, 2]))
    assert none is None
    assert chosen.lengths.tolist() == [3, 2]
    assert chosen.values.tolist() == values[[0, 1, 2, 4, 5]].tolist()
    padded, found = Chunk(X[:3], 3, None, lengths).rows(np.array([1]))
    assert (padded.shape, found.tolist()) == ((1, T, 2), [1])
    bad = find_bad_rows(CONV, Chunk(X[:3], 3, None, np.array([3, 4, 0])), None)
    assert bad == {0: "fewer steps than the 4 that the model needs"}


def test_outputs_that_there_are_not():
    np.save("x.npy", X)
    with pytest.raises(fastlstm.UnsupportedModelError, match="no outputs of every step"):
        fastlstm.score(FIXED, "x.npy", "y.npy", return_sequences=True)
