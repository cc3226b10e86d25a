"""``fastlstm info`` and ``fastlstm convert``: what they say, and what they write."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from model_files import fc, random, tensors

import fastlstm
from fastlstm import LSTM, Bidirectional, Dense, Embedding, Layer, cli
from fastlstm.loading import contents

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
    assert printed.out.splitlines() == [
        f"{path}: fastlstm's own, version 3, {path.stat().st_size:,} bytes",
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


def test_info_of_a_plain_file(tmp_path, capsys):
    model = LSTM([layer(0)], Dense(random(1, 4)), True, skip=1)
    path = model.save(tmp_path / "model.json")
    assert cli.main(["info", str(path)]) == 0
    printed = capsys.readouterr().out
    masked = LSTM(model.layers, mask_value=1.5).save(tmp_path / "masked.json")
    assert cli.main(["info", str(masked)]) == 0
    printed += capsys.readouterr().out
    for line in (
        "input: (N, T, 3)",
        "read: every step",
        "skip: inputs added to the outputs, 1",
        "output: (N, T, 1)",
    ):
        assert line in printed.splitlines()
    assert cli.main(["info", str(LSTM([layer(0)], mask_value=1.5).save(path))]) == 0
    assert "mask: steps of 1.5 only" in capsys.readouterr().out.splitlines()
    assert cli.main(["info", str(LSTM([layer(0)]).save(path))]) == 0
    printed = capsys.readouterr().out
    assert "version 3," in printed
    assert "head: none" in printed


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
        (["convert", "scripted.pt", "new.pt", "--head", "tail"], "expected a suffix of"),
        (["convert", "scripted.pt", "new.npz", "--head", "tale"], "no tensor tale.weight"),
        (["convert", "nowhere.pt", "new.npz"], "there is no model file"),
        (["convert", "amp.nam", "new.npz", "--head", "x"], "does not take --head"),
        (["info", "nowhere.pt"], "there is no model file"),
        (["info", "whole_module.pt"], "more than an LSTM: tail.0 (a dense layer, 4 -> 3)"),
        (["info", "scripted.pt", "--node", "x"], "node"),
        (["info", "files.npz"], "expected the tensors of an LSTM"),
    ],
)
def test_errors(tmp_path, capsys, arguments, message):
    command, source, *more = arguments
    more = [str(tmp_path / k) if k.startswith("new") else k for k in more]
    assert cli.main([command, str(GOLDEN / source), *more]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fastlstm: error: ")
    assert message in line
    assert not list(tmp_path.iterdir())


def test_what_an_onnx_graph_holds():
    kind, found = contents(GOLDEN.parent / "onnx" / "torch_final.onnx")
    assert kind == "an ONNX graph of 24 nodes"
    operators = [name for name, text in found.items() if text == "LSTM operator"]
    assert len(operators) == 2
    assert found["fc.weight"] == "float (2, 8)"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("k3_masks.keras", "a model of Keras 3"),
        ("k2_masks.h5", "a model of Keras 2"),
        ("k1_separate.h5", "a model of Keras 1"),
        ("k3_masks.weights.h5", "Keras' weights, without the architecture"),
    ],
)
def test_what_a_keras_model_holds(name, expected, tmp_path):
    with zipfile.ZipFile(GOLDEN.parent / "keras" / "keras.zip") as archive:
        kind, found = contents(archive.extract(name, tmp_path))
    assert kind == expected
    assert ("LSTM" in found.values()) == (".weights" not in name)


def test_hints_that_a_file_does_not_take(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"")
    with pytest.raises(TypeError, match=r"a \.onnx file does not take head; it takes node$"):
        fastlstm.load(path, head="fc")


@pytest.mark.parametrize("read", [fastlstm.from_torch, fastlstm.from_keras])
def test_a_path_is_for_load(read):
    with pytest.raises(TypeError, match=r"got str; files: fastlstm\.load\(path\)"):
        read("model.pt")


def test_info_of_an_activation_by_itself(tmp_path, capsys):
    np.savez(path := tmp_path / "model.npz", **tensors((2, 3)), **fc())
    assert cli.main(["info", str(path), "--head", "fc", "--between", "relu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-5:] == [
        "read: the final outputs of all directions",
        "head 0: relu of each number",
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
    assert lines[-2:] == ["  and 14 more", "  and 91 of integers or single numbers"]
    assert "  w0.weight  float32 (2, 2)" in lines
