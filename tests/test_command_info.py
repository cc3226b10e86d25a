"""``fastlstm info``: what it says of a model file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from model_files import fc, random, tensors

from fastlstm import LSTM, Bidirectional, Dense, Embedding, Layer, cli
from fastlstm.commands.info.describe import describe

GOLDEN = Path(__file__).parent / "golden" / "torch"


def layer(seed: int, inputs: int = 3, **options) -> Layer:
    return Layer(random(16, inputs, seed=seed), random(16, 4, seed=seed), random(16), **options)


@pytest.fixture
def model() -> LSTM:
    both = Bidirectional(layer(0, clip=2.5), layer(1, direction="reverse", coupled=True), "sum")
    head = [Dense(random(2, 4), random(2), activation=("elu", 0.5)), Dense(random(2, 2))]
    return LSTM([Embedding(random(9, 3)), both], head, read="mean")


def test_info_of_an_own_file(tmp_path, capsys, model):
    path = model.save(tmp_path / "model.npz")
    assert cli.main(["info", str(path)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    kind, *lines = printed.out.splitlines()
    assert kind.startswith(f"{path}: fastlstm's own, version ")
    assert kind.endswith(f" {path.stat().st_size:,} bytes")
    assert lines == [
        "input: (N, T) ids",
        "layer 0: Embedding(9 ids -> 3, float32)",
        "layer 1: Bidirectional(Layer(3 -> 4, b_ih, clip 2.5, float32), "
        "Layer(3 -> 4, b_ih, coupled, reverse, float32), sum)",
        "read: the mean of the outputs over all steps",
        "head 0: Dense(4 -> 2, bias, elu(0.5), float32)",
        "head 1: Dense(2 -> 2, float32)",
        "output: (N, 2)",
        "float32, 297 parameters",
    ]
    sizes = [27, 2 * (16 * 3 + 16 * 4 + 16), 10, 4]
    assert sum(sizes) == 297


PLAIN = layer(0)
DESCRIBED = {
    "a plain layer": (
        LSTM([PLAIN]),
        ["input: (N, T, 3)", "read: the final outputs of all directions", "head: none"],
    ),
    "a mask": (LSTM([PLAIN], mask_value=1.5), ["mask: steps whose inputs are all 1.5 are skipped"]),
    "every step": (
        LSTM([PLAIN], Dense(random(1, 4)), True, skip=1),
        ["read: every step", "skip: the first input is added to the outputs", "output: (N, T, 1)"],
    ),
    "a skip of two": (
        LSTM([PLAIN], Dense(random(2, 4)), skip=2),
        ["skip: the first 2 inputs are added to the outputs", "output: (N, 2)"],
    ),
}


@pytest.mark.parametrize(("model", "lines"), DESCRIBED.values(), ids=DESCRIBED)
def test_a_network_in_words(model, lines):
    assert set(lines) <= set(describe(model).splitlines())


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".json", ".pt"])
def test_info_of_a_file_that_needs_hints(tmp_path, capsys, suffix):
    """Its tensors, then the reason on stderr."""
    path, named = tmp_path / f"model{suffix}", tensors((2, 3), "a.") | fc() | fc("out")
    if suffix == ".npz":
        np.savez(path, **named)
    elif suffix == ".json":
        import json

        path.write_text(json.dumps({name: a.tolist() for name, a in named.items()}))
    elif suffix == ".pt":
        from test_formats_pt import archive, state_dict

        archive(path, state_dict(named), named.values())
    else:
        pytest.importorskip("safetensors.numpy").save_file(named, path)
    assert cli.main(["info", str(path)]) == 1
    printed = capsys.readouterr()
    kind, *lines = printed.out.splitlines()
    assert kind.startswith(f"{path}: t")
    assert len(lines) == len(named)
    assert any(re.fullmatch(r"  a\.weight_ih_l0  (\S+ )?\(12, 2\)", line) for line in lines)
    (line,) = printed.err.splitlines()
    assert re.search(
        r"more than an LSTM: fc \(a dense layer, 3 -> 2\), out .*, with --ignore$", line
    )
    arguments = ["info", str(path), "--prefix", "a", "--head", "out"]
    assert cli.main(arguments) == 1
    assert "and the head 'out': fc (a dense layer" in capsys.readouterr().err
    assert cli.main([*arguments, "--ignore", "fc"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "head 0: Dense(3 -> 2, bias, float32)" in printed
    assert [line for line in printed if line.startswith("not used: fc (")]


def test_hints(capsys):
    """Each of them is what the loader calls so."""
    arguments = ["--embedding", "emb", "--head", "fc.1", "fc.3", "--activation", "relu", "softmax"]
    assert cli.main(["info", str(GOLDEN / "checkpoint.pt"), *arguments, "--read", "last"]) == 0
    printed = capsys.readouterr().out
    assert "layer 0: Embedding(11 ids -> 4, float32)" in printed
    assert "head 0: Dense(6 -> 4, bias, relu, float32)" in printed
    assert "head 1: Dense(4 -> 3, bias, softmax, float32)" in printed
    assert "read: the outputs at the last step" in printed
    arguments = ["--head", "out", "--activation", "tanh", "--return-sequences"]
    assert cli.main(["info", str(GOLDEN / "cell.pt"), *arguments]) == 0
    printed = capsys.readouterr().out
    assert "Dense(4 -> 1, bias, tanh, float32)" in printed
    assert "output: (N, T, 1)" in printed


@pytest.mark.parametrize("name", ["amp.nam", "rtneural.json", "rtneural_torch.json"])
def test_info_of_json_models(capsys, name):
    assert cli.main(["info", str(GOLDEN / name)]) == 0
    assert "read: every step" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.pt"], "there is no model file"),
        (["whole_module.pt"], "more than an LSTM: tail.0 (a dense layer, 4 -> 3)"),
        (["scripted.pt", "--node", "x"], "node"),
        (["files.npz"], "expected the tensors of an LSTM"),
    ],
)
def test_errors(capsys, arguments, message):
    source, *more = arguments
    assert cli.main(["info", str(GOLDEN / source), *more]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fastlstm: error: ")
    assert message in line


def test_info_of_an_activation_by_itself(tmp_path, capsys):
    np.savez(path := tmp_path / "model.npz", **tensors((2, 3)), **fc())
    assert cli.main(["info", str(path), "--head", "fc", "--between", "relu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-5:] == [
        "read: the final outputs of all directions",
        "head 0: relu, number by number",
        "head 1: Dense(3 -> 2, bias, float32)",
        "output: (N, 2)",
        "float32, 92 parameters",
    ]
    assert sum(a.size for a in (tensors((2, 3)) | fc()).values()) == 92


def test_what_is_not_shown(tmp_path, capsys):
    """Sizes and axes, of which a graph has dozens; of the rest not more than a screen or two."""
    named = {f"shape_{k}": np.zeros(3, np.int64) for k in range(90)}
    named |= {f"w{k}.weight": random(2, 2) for k in range(70)} | {"scale": random(1)[0]}
    np.savez(path := tmp_path / "model.npz", **tensors((2, 3)), **named)
    assert cli.main(["info", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 60 + 2
    assert lines[-2:] == ["  and 14 more", "  and 91 that are integers or single numbers"]
    assert "  w0.weight  float32 (2, 2)" in lines
