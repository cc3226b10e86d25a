"""`load` as a whole: what kind of file it is, and which hints go with it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

import fastlstm
from fastlstm.loading import contents

GOLDEN = Path(__file__).parent / "golden"


def test_what_an_onnx_graph_holds():
    kind, found = contents(GOLDEN / "onnx" / "torch_final.onnx")
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
    with zipfile.ZipFile(GOLDEN / "keras" / "keras.zip") as archive:
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
