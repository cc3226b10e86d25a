"""``fastlstm convert``: what it writes, and how it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

import fastlstm
from fastlstm import cli

GOLDEN = Path(__file__).parent / "golden" / "torch"


@pytest.mark.parametrize("suffix", [".npz", ".json", ".safetensors"])
def test_convert(tmp_path, capsys, suffix):
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    path = tmp_path / f"model{suffix}"
    source = str(GOLDEN / "scripted.pt")
    assert cli.main(["convert", source, str(path), "--head", "tail"]) == 0
    expected = fastlstm.load(source, head="tail")
    assert fastlstm.load(path) == expected
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"{path}: {expected}\n"
    assert cli.main(["convert", str(path), str(path), "--dtype", "float64"]) == 0
    assert fastlstm.load(path) == expected.astype("float64")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scripted.pt", "new.pt", "--head", "tail"], "expected a suffix of"),
        (["scripted.pt", "new.npz", "--head", "tale"], "no tensor tale.weight"),
        (["nowhere.pt", "new.npz"], "there is no model file"),
        (["amp.nam", "new.npz", "--head", "x"], "does not take --head"),
    ],
)
def test_errors(tmp_path, capsys, arguments, message):
    source, destination, *more = arguments
    assert cli.main(["convert", str(GOLDEN / source), str(tmp_path / destination), *more]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fastlstm: error: ")
    assert message in line
    assert not list(tmp_path.iterdir())
