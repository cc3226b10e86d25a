"""``fastlstm verify``: agreement, how far apart, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from model_files import fc, random, tensors

from fastlstm import cli, from_torch


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Bare weights, sequences, and their scores by hints that only the caller knows."""
    monkeypatch.chdir(tmp_path)
    named = tensors((2, 3)) | {f"{k}_reverse": -v for k, v in tensors((2, 3)).items()}
    named |= fc(hidden=6)
    np.savez("model.npz", **named)
    np.save("x.npy", x := random(5, 7, 2))
    np.save("y.npy", from_torch(named, head="fc", read="last", activation="tanh").predict(x))
    return np.load("y.npy")


HINTS = ["--head", "fc", "--activation", "tanh"]


def verify(*more):
    return cli.main(["verify", "model.npz", "x.npy", "y.npy", *HINTS, *more])


def test_agreement(files, capsys):
    assert verify("--read", "last") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("(5, 2) scores, at most 0 apart, ")
    assert printed.err == ""
    np.save("y.npy", files.astype("f8") + 1e-4)
    assert verify("--read", "last") == 1
    assert verify("--read", "last", "--tolerance", "2e-4") == 0


def test_other_scores(files, capsys):
    assert verify("--read", "final") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "y.npy does not agree: (5, 2) scores, at most 0." in printed.err
    for bad in (np.nan, np.inf):
        y = files.copy()
        y[3, 1] = bad
        np.save("y.npy", y)
        assert verify("--read", "last", "--tolerance", "1e9") == 1
        assert f"at most nan apart, 1e+09 is allowed; at [3, 1] {files[3, 1]:.9g}" in (
            capsys.readouterr().err
        )


def test_a_line_ready_to_paste(files, capsys):
    """Followed as it is, it loads."""
    assert verify() == 1
    line = "fastlstm verify model.npz x.npy y.npy --head fc --activation tanh --read last"
    assert f"{line} for fc(out[:, -1])" in capsys.readouterr().err
    assert cli.main(line.split()[1:]) == 0


def test_what_is_refused(files, capsys):
    for y, message in (
        (files[:, :1], r"expected scores of shape (5, 2)"),
        (files * np.nan, "no finite numbers to compare"),
        (files.astype(str), "expected an .npy file of numbers"),
    ):
        np.save("y.npy", y)
        assert verify("--read", "last") == 1
        assert message in capsys.readouterr().err
    for wrong in ("-1", "nan", "x"):
        with pytest.raises(SystemExit):
            verify("--read", "last", "--tolerance", wrong)
