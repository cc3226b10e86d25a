"""``fastlstm score``: what it writes, what it says, and how it fails."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from model_files import fc, tensors

import fastlstm
from fastlstm import Dense, Layer, cli
from fastlstm.commands import score as command
from fastlstm.messages import Option
from fastlstm.scoring import memory
from fastlstm.scoring.destinations import appended


@pytest.fixture(scope="module")
def model() -> fastlstm.LSTM:
    rng = np.random.default_rng(5)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(scale=0.5, size=shape).astype("float32")

    layer = Layer(draw(12, 2), draw(12, 3), draw(12), draw(12))
    return fastlstm.LSTM([layer], head=Dense(draw(2, 3), draw(2)))


@pytest.fixture
def folder(tmp_path: Path, model: fastlstm.LSTM) -> Path:
    """A folder with a model and windows of good and of bad shapes."""
    model.save(tmp_path / "model.npz")
    rng = np.random.default_rng(6)
    np.save(tmp_path / "windows.npy", rng.normal(size=(20, 7, 2)).astype("float32"))
    np.save(tmp_path / "lengths.npy", np.arange(20) % 8)
    np.save(tmp_path / "short.npy", np.arange(5))
    np.save(tmp_path / "wide.npy", np.zeros((20, 7, 3)))
    np.save(tmp_path / "words.npy", np.full((20, 7, 2), "word"))
    np.save(tmp_path / "objects.npy", np.array([[{}]]), allow_pickle=True)
    np.savez(tmp_path / "archive.npy.npz", a=np.zeros(3))
    (tmp_path / "archive.npy.npz").rename(tmp_path / "archive.npy")
    (tmp_path / "text.npy").write_text("1,2,3\n")
    (tmp_path / "empty.npy").write_bytes(b"")
    whole = (tmp_path / "windows.npy").read_bytes()
    (tmp_path / "half.npy").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not a model")
    return tmp_path


def score(folder: Path, *more: str, windows: str = "windows.npy", model: str = "model.npz") -> int:
    """Run `fastlstm score` in the folder, with the output in scores.npy."""
    named = [str(folder / part) if part.endswith((".npy", ".npz")) else part for part in more]
    output = [] if "-o" in more else ["-o", str(folder / "scores.npy")]
    arguments = [str(folder / windows), "--model", str(folder / model)]
    return cli.main(["score", *arguments, *output, *named])


def leftovers(folder: Path) -> list[Path]:
    return [*folder.glob(".*"), *folder.glob("*.partial")]


GOOD_OPTIONS = {
    "none": ([], {}),
    "threads": (["--threads", "1"], {}),
    "sequences": (["--return-sequences"], {"return_sequences": True}),
    "lengths": (["--lengths", "lengths.npy"], {"lengths": np.arange(20) % 8}),
    "no progress": (["--no-progress"], {}),
}


@pytest.mark.parametrize(("options", "call"), GOOD_OPTIONS.values(), ids=GOOD_OPTIONS)
def test_score_writes_what_predict_returns(folder, model, capsys, options, call):
    assert score(folder, *options) == 0
    scores = np.load(folder / "scores.npy")
    expected = model.predict(np.load(folder / "windows.npy"), **call)
    np.testing.assert_array_equal(scores, expected)
    assert scores.dtype == np.float32
    printed = capsys.readouterr()
    assert printed.out == ""
    (summary,) = printed.err.splitlines()
    assert "20 sequences in" in summary
    assert not leftovers(folder)


def test_score_in_float64(folder, model):
    assert score(folder, "--dtype", "float64") == 0
    scores = np.load(folder / "scores.npy")
    assert scores.dtype == np.float64
    expected = model.astype("float64").predict(np.load(folder / "windows.npy"))
    np.testing.assert_array_equal(scores, expected)


def test_score_reads_safetensors(folder, model):
    pytest.importorskip("safetensors")
    model.save(folder / "model.safetensors")
    assert score(folder, model="model.safetensors") == 0
    expected = model.predict(np.load(folder / "windows.npy"))
    np.testing.assert_array_equal(np.load(folder / "scores.npy"), expected)


def test_score_takes_no_sequences(folder):
    np.save(folder / "none.npy", np.zeros((0, 7, 2), dtype="float32"))
    assert score(folder, windows="none.npy") == 0
    assert np.load(folder / "scores.npy").shape == (0, 2)


def test_score_replaces_an_older_file(folder):
    (folder / "scores.npy").write_bytes(b"old")
    assert score(folder) == 0
    assert np.load(folder / "scores.npy").shape == (20, 2)


BAD_INPUT = {
    "no such windows": ({"windows": "nowhere.npy"}, "there is no file .*nowhere.npy"),
    "no such model": ({"model": "nowhere.npz"}, "nowhere.npz"),
    "no such lengths": ({"more": ["--lengths", "nowhere.npy"]}, "there is no file"),
    "a broken model": ({"model": "broken.npz"}, "broken.npz"),
    "another kind of model": ({"model": "text.npy"}, "expected a model file"),
    "wrong inputs": ({"windows": "wide.npy"}, r"expected x of shape .*\(20, 7, 3\)"),
    "words": ({"windows": "words.npy"}, "words|dtype|number"),
    "objects": ({"windows": "objects.npy"}, r"objects.npy: expected an .npy file of numbers"),
    "an archive": ({"windows": "archive.npy"}, "got an .npz archive"),
    "a text file": ({"windows": "text.npy"}, "text.npy: expected an .npy file"),
    "an empty file": ({"windows": "empty.npy"}, "empty.npy: expected an .npy file"),
    "half a file": ({"windows": "half.npy"}, "half.npy: expected an .npy file"),
    "too few lengths": ({"more": ["--lengths", "short.npy"]}, "lengths"),
    "another suffix": ({"more": ["-o", "scores.npz"]}, "expected a destination ending in .npy"),
    "output in no folder": ({"more": ["-o", "no/such.npy"]}, "there is no folder"),
    "output over the input": ({"more": ["-o", "windows.npy"]}, "also an input"),
}


@pytest.mark.parametrize(("call", "message"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_is_one_line_and_exit_code_1(folder, capsys, call, message):
    before = (folder / "windows.npy").read_bytes()
    names = {key: value for key, value in call.items() if key != "more"}
    assert score(folder, *call.get("more", []), **names) == 1
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("fastlstm: error: ")
    assert re.search(message, line)
    assert printed.out == ""
    assert not (folder / "scores.npy").exists()
    assert not leftovers(folder)
    assert (folder / "windows.npy").read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["score"],
        ["score", "windows.npy", "-o", "scores.npy"],
        ["score", "windows.npy", "--model", "m.npz", "-o", "s.npy", "--threads", "0"],
        ["score", "windows.npy", "--model", "m.npz", "-o", "s.npy", "--dtype", "float16"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "usage: fastlstm score" in capsys.readouterr().err


def test_ctrl_c_is_exit_code_130_and_leaves_the_old_file(folder, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    (folder / "scores.npy").write_bytes(b"old")
    monkeypatch.setattr(fastlstm.LSTM, "predict", interrupted)
    assert score(folder) == 130
    assert capsys.readouterr().err == "fastlstm: interrupted\n"
    assert (folder / "scores.npy").read_bytes() == b"old"


def test_a_failed_write_leaves_the_old_file(folder, monkeypatch, capsys):
    def full(file, data):
        file.file.write(b"some")
        raise OSError(28, "No space left on device")

    (folder / "scores.npy").write_bytes(b"old")
    monkeypatch.setattr(appended.Appended, "write", full)
    assert score(folder) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert (folder / "scores.npy").read_bytes() == b"old"
    assert not leftovers(folder)


def test_the_progress_bar_is_drawn_when_asked_for(folder, capsys):
    pytest.importorskip("tqdm")
    assert score(folder, "--progress") == 0
    assert "100%" in capsys.readouterr().err


def test_the_progress_bar_needs_tqdm(folder, monkeypatch, capsys):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    assert score(folder) == 0
    capsys.readouterr()
    assert score(folder, "--progress") == 1
    assert 'pip install "fastlstm[cli]"' in capsys.readouterr().err


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("terminal", [True, False])
def test_the_progress_bar_is_drawn_on_a_terminal(monkeypatch, installed, terminal):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: installed or None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    assert command.wants_progress(None) is (installed and terminal)
    assert command.wants_progress(False) is False


def test_json_is_all_that_stdout_gets(folder, capsys):
    assert score(folder, "--json", "--on-bad-row", "nan") == 0
    printed = capsys.readouterr()
    said = json.loads(printed.out)
    assert (said["sequences"], said["written"], said["resumed"]) == (20, 20, 0)
    assert said["bad_rows"] == {"count": 0, "reasons": {}, "first": []}
    assert said["outputs"] == {"score": str(folder / "scores.npy")}
    assert printed.err == ""


def test_a_dry_run_says_what_would_be_done(folder, capsys):
    assert score(folder, "--dry-run", "--return-sequences", "--state") == 0
    text = capsys.readouterr().out
    for part in ("20 x 7 x 2 float32", "score (20, 7, 2), h_n (20, 3), c_n (20, 3)", "about"):
        assert part in text
    assert score(folder, "--dry-run", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["sequences"], said["steps"], said["inputs"]) == (20, 7, 2)
    assert said["outputs"] == {"score": [20, 2]}
    assert said["bytes_written"] == 160
    assert said["seconds"] > 0
    assert not (folder / "scores.npy").exists()
    assert not leftovers(folder)


def test_scores_to_standard_output(folder, model, capfdbinary):
    pytest.importorskip("pyarrow")
    assert score(folder, "-o", "-") == 0
    printed = capfdbinary.readouterr()
    rows = np.loadtxt(io.BytesIO(printed.out), delimiter=",", skiprows=1, dtype="float32")
    np.testing.assert_array_equal(rows[:, 1:], model.predict(np.load(folder / "windows.npy")))
    assert printed.out.startswith(b"row,score_0,score_1\n")
    assert b"standard output: 20 sequences" in printed.err


@pytest.mark.parametrize("more", [["--json"], ["--resume"]], ids=" ".join)
def test_what_does_not_go_with_standard_output(folder, capsys, more):
    assert score(folder, "-o", "-", *more) == 1
    assert "standard output" in capsys.readouterr().err


def test_hints_for_models_that_need_them(folder, model, capsys):
    tensors = {
        f"rnn.{name}_l0": getattr(model.layers[0], field)
        for name, field in [("weight_ih", "w_ih"), ("weight_hh", "w_hh")]
    }
    tensors |= {"fc.weight": model.head[0].weight, "fc.bias": model.head[0].bias}
    np.savez(folder / "torch.npz", **tensors)
    assert score(folder, "--head", "fc", "--prefix", "rnn.", model="torch.npz") == 0
    expected = fastlstm.load(folder / "torch.npz", head="fc", prefix="rnn.").predict(
        np.load(folder / "windows.npy")
    )
    np.testing.assert_array_equal(np.load(folder / "scores.npy"), expected)


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("data/*.npy", "data/a.npy", "is also an input"),
        ("data", "data/a.npy", "is also an input|one of the files"),
        ("data/*.npy", "data/new.npy", "one of the files of .*data"),
        ("data", "data/new.csv", "one of the files of .*data"),
    ],
)
def test_the_scores_do_not_become_a_source(folder, monkeypatch, capsys, source, output, message):
    monkeypatch.chdir(folder)
    (folder / "data").mkdir()
    for name in ("a", "b"):
        np.save(folder / "data" / f"{name}.npy", np.load(folder / "windows.npy"))
    before = (folder / "data" / "a.npy").read_bytes()
    assert cli.main(["score", source, "--model", "model.npz", "-o", output]) == 1
    assert re.search(message, capsys.readouterr().err)
    assert sorted(p.name for p in (folder / "data").iterdir()) == ["a.npy", "b.npy"]
    assert (folder / "data" / "a.npy").read_bytes() == before
    (folder / "data" / "inside").mkdir()
    assert cli.main(["score", source, "--model", "model.npz", "-o", "data/inside/y.npy"]) == 0
    assert np.load("data/inside/y.npy").shape == (40, 2)


def test_a_dry_run_of_standard_input_claims_no_time(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    with open("windows.npy", "rb") as windows:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=windows))
        words = ["score", "-", "--model", "model.npz", "-o", "scores.npy", "--dry-run", "--json"]
        assert cli.main(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["sequences"], said["seconds"]) == (20, None)


def interrupted(**options) -> None:
    """Leave a partial result."""
    with pytest.raises(ValueError, match="sequence 4 is bad"):
        fastlstm.score("model.npz", "bad.npy", "y.npy", **options)


def damaged(**options) -> None:
    interrupted()
    Path("y.npy.partial/journal.json").write_text("{")


ADVICE = {  # what came before, the call, and what its error says in Python and of the command
    "a bad row": (
        None,
        {"source": "bad.npy"},
        'bad.npy: sequence 4 is bad: NaN or infinity; on_bad_row="nan" writes NaN for it, '
        'on_bad_row="skip" leaves it out',
        "bad.npy: sequence 4 is bad: NaN or infinity; --on-bad-row nan writes NaN for it, "
        "--on-bad-row skip leaves it out",
    ),
    "an earlier run": (
        interrupted,
        {"source": "bad.npy"},
        "an earlier run left {}: resume=True goes on with it, restart=True throws it away",
        "an earlier run left {}: --resume goes on with it, --restart throws it away",
    ),
    "other options": (
        interrupted,
        {"source": "bad.npy", "return_sequences": True, "resume": True},
        "cannot resume {dir}y.npy: return_sequences was false, is now true; restart=True throws "
        "the partial result away",
        "cannot resume {dir}y.npy: --return-sequences was false, is now true; --restart throws "
        "the partial result away",
    ),
    "a damaged journal": (
        damaged,
        {"source": "bad.npy", "resume": True},
        "{}/journal.json is damaged; restart=True throws the partial result away",
        "{}/journal.json is damaged; --restart throws the partial result away",
    ),
    "a stride alone": (
        None,
        {"stride": 2},
        "stride=2 is the distance between windows: give window too",
        "--stride 2 is the distance between windows: give --window too",
    ),
    "columns": (
        None,
        {"features": ["a"]},
        "features does not apply to an array",
        "--features does not apply to an array",
    ),
    "a store": (
        None,
        {"fill_missing": True},
        "fill_missing does not apply to .npy files, only to Zarr and HDF5",
        "--fill-missing does not apply to .npy files, only to Zarr and HDF5",
    ),
    "little memory": (
        None,
        {"memory": "lots"},
        "expected memory to be a size such as 500MB, got 'lots'",
        "expected --memory to be a size such as 500MB, got 'lots'",
    ),
    "a long table": (
        None,
        {"source": "x.csv"},
        "x.csv: expected 2 columns of numbers for each step, beside id and keep; got 1 column: the "
        "columns are a (int64). A table with one row for each step needs time or features",
        "x.csv: expected 2 columns of numbers for each step, beside --id and --keep; got 1 column: "
        "the columns are a (int64). A table with one row for each step needs --time or --features",
    ),
    "a column": (
        None,
        {"source": "x.csv", "time": "at"},
        "x.csv: there is no column 'at' (time); its columns are a (int64)",
        "x.csv: there is no column 'at' (--time); its columns are a (int64)",
    ),
    "few columns": (
        None,
        {"source": "x.csv", "features": ["a"]},
        "x.csv: expected 2 columns in features, one for each input of the model, got 1 (a): name "
        "2 columns in features; the columns are a (int64)",
        "x.csv: expected 2 columns in --features, one for each input of the model, got 1 (a): "
        "name 2 columns in --features; the columns are a (int64)",
    ),
}


@pytest.mark.parametrize(("before", "call", "python", "command"), ADVICE.values(), ids=ADVICE)
def test_errors_speak_of_arguments_or_of_flags(
    folder, monkeypatch, capsys, before, call, python, command
):
    if call.get("source") == "x.csv":
        pytest.importorskip("pyarrow")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(memory, "MOST_CHUNK", 4 * 7 * 2 * 4)  # 4 sequences
    bad = np.load("windows.npy")
    bad[4, 0] = np.nan
    np.save("bad.npy", bad)
    Path("x.csv").write_text("a\n1\n")
    if before is not None:
        before()
    options = dict(call)
    source = options.pop("source", "windows.npy")
    partial = Path("y.npy.partial").resolve()
    expected = [text.format(partial, dir=f"{folder}{os.sep}") for text in (python, command)]
    with pytest.raises((ValueError, OSError)) as error:
        fastlstm.score("model.npz", source, "y.npy", **options)
    assert str(error.value) == expected[0]
    if before is None:
        shutil.rmtree(partial, ignore_errors=True)
    words = " ".join(Option(*item).as_flag() for item in options.items()).split()
    assert cli.main(["score", source, "--model", "model.npz", "-o", "y.npy", *words]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"fastlstm: error: {expected[1]}"


def test_the_memory_that_an_error_names_is_enough(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    words = ["score", "windows.npy", "--model", "model.npz", "-o", "y.npy", "--memory"]
    assert cli.main([*words, "1MB"]) == 1
    said = capsys.readouterr().err
    enough = re.search(r"give --memory (\d+0MB) or more$", said.rstrip())
    assert enough, said
    assert cli.main([*words, enough[1]]) == 0


def test_a_hint_that_is_missing(folder, capsys):
    """The line that is shown is the caller's own, and is followed as it is."""
    both = {f"{k}{end}": v for k, v in tensors((3, 4)).items() for end in ("", "_reverse")}
    np.savez(folder / "torch.npz", **both, **fc(hidden=8))
    np.save(folder / "three.npy", np.ones((2, 5, 3), "f4"))
    words = f"score {folder}/three.npy --model {folder}/torch.npz -o {folder}/y.npy --head fc"
    assert cli.main(words.split()) == 1
    printed = capsys.readouterr().err
    for read in ("final", "last"):
        assert f"fastlstm {words} --read {read} for fc(" in printed
    assert cli.main([*words.split(), "--read", "last"]) == 0
    expected = fastlstm.load(folder / "torch.npz", head="fc", read="last")
    y = expected.predict(np.ones((2, 5, 3), "f4"))
    np.testing.assert_array_equal(np.load(folder / "y.npy"), y)
