"""The call `fastlstm.score`: what it takes, what it refuses, and what it says."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from model_files import fc, random, tensors
from networks import Maker
from pyarrow import parquet as pq
from scoring_files import MODELS, X

import fastlstm


def test_a_model_file_and_another_dtype(here):
    np.save("x.npy", X)
    MODELS[2].save("m.npz")
    fastlstm.score("m.npz", "x.npy", "y.npy", dtype="float64")
    np.testing.assert_array_equal(np.load("y.npy"), MODELS[2].astype("float64").predict(X))


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
