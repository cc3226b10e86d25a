"""`load` and `from_*`: every hint reaches its reader, and readers know nothing of models."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
from model_files import make_model

import fastlstm
from fastlstm import from_torch, load, loading
from fastlstm.formats.found import Found
from fastlstm.formats.torch.hints import Hints
from fastlstm.loading import READERS

NETWORK = make_model().network
HINTS = [name for name in inspect.signature(load).parameters if name != "path"]


class Noted:
    """A reader that notes what it is asked for."""

    HINTS = tuple(HINTS)

    def read(self, path, **hints):
        self.asked = (path, hints)
        return Found(NETWORK, ("aux.weight",))


def test_every_hint_of_load_reaches_the_reader(tmp_path, monkeypatch):
    reader, path = Noted(), tmp_path / "model.npz"
    path.touch()
    monkeypatch.setitem(READERS, ".npz", reader)
    for name in HINTS:
        model = load(str(path), **{name: "some value"})
        assert reader.asked == (path, {name: "some value"})
    assert load(path).network is NETWORK
    assert reader.asked == (path, {})
    assert model.unused == ("aux.weight",)


def test_every_hint_of_from_torch_reaches_the_reader(monkeypatch):
    asked = []
    monkeypatch.setattr(
        loading, "network_of", lambda _, hints: asked.append(hints) or Found(NETWORK)
    )
    from_torch({})
    assert asked.pop() == Hints()
    for name in Hints._fields:
        from_torch({}, **{name: "some value"})
        assert asked.pop() == Hints(**{name: "some value"})


@pytest.mark.parametrize("suffix", READERS)
def test_hints_that_a_file_does_not_take(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    path.touch()
    taken = READERS[suffix].HINTS
    for name in set(HINTS) - {*taken}:
        with pytest.raises(TypeError, match=rf"does not take {name}; it takes {taken[0]}"):
            load(path, **{name: "x"})


@pytest.mark.parametrize("suffix", READERS)
def test_missing_files(tmp_path, suffix):
    with pytest.raises(FileNotFoundError, match=f"there is no model file .*model{suffix}"):
        load(tmp_path / f"model{suffix}")


def test_other_suffixes(tmp_path):
    for name in ("model.txt", "model"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(ValueError, match=f"{name}: expected a model file of kind .safetensors"):
            load(tmp_path / name)


def test_the_module_does_not_hide_the_function():
    """A submodule named like a public function would take its place once it is imported."""
    for name in fastlstm.__all__:
        assert not inspect.ismodule(getattr(fastlstm, name))


# Floors below the formats, all that they may import of this package.
BELOW = ("errors", "files", "formats", "lazy", "messages", "network", "reference")


def test_formats_know_no_model():
    """No module of theirs imports upwards, not in a function either, nor for types alone."""
    folder = Path(loading.__file__).parent
    for path in (folder / "formats").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("fastlstm"):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names if alias.name.startswith("fastlstm")]
            else:
                continue
            for name in names:
                assert name.split(".")[1] in BELOW, (path, name)
