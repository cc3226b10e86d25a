"""The package as a whole: what importing costs, what is installed, what the README promises."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import pytest

import fastlstm

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {
    "numba",
    "llvmlite",
    "tqdm",
    "safetensors",
    "matplotlib",
    "pyarrow",
    "torch",
    "dask",
    "onnx",
    "h5py",
    "shtab",
}
PUBLIC = {
    "LSTM",
    "ModelFormatError",
    "Ragged",
    "UnsupportedModelError",
    "from_torch",
    "load",
    "lstm_forward",
    "show_versions",
    "warmup",
}


def modules_after(code: str) -> set[str]:
    """The top-level modules of a new process that ran the code."""
    code += (
        "\nimport json, sys; print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize(
    "code",
    [
        "import fastlstm",
        "from fastlstm import lstm_forward; lstm_forward([1, 2], "
        "{g: (1, 1, 0) for g in ('forget', 'input', 'cell', 'output')})",
        "from fastlstm import Ragged; Ragged.from_list([[1.0], [2.0, 3.0]])",
        "from fastlstm.commands.demo import weather; weather.load_weather()",
    ],
)
def test_importing_is_light(code):
    """In a process of its own: this one has imported everything."""
    assert not HEAVY & modules_after(code)


def test_the_command_line_starts_without_numpy():
    """In a process of its own: this one has imported it."""
    loaded = modules_after("import fastlstm.cli; fastlstm.cli.make_parser()")
    assert not (HEAVY | {"numpy"}) & loaded


def test_the_public_names_are_there_and_listed():
    assert set(fastlstm.__all__) >= PUBLIC
    assert set(fastlstm.__all__) <= set(dir(fastlstm))
    for name in fastlstm.__all__:
        assert getattr(fastlstm, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = fastlstm.no_such_name


def test_the_version_is_the_changelogs_and_the_installed_one():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert newest[1] == fastlstm.__version__
    try:
        installed = metadata.version("fastlstm")
    except metadata.PackageNotFoundError:
        pytest.skip("not installed: run from the source tree")
    assert installed == fastlstm.__version__


def test_the_bundled_files_are_installed_and_small():
    folder = resources.files("fastlstm") / "data"
    sizes = {entry.name: len(entry.read_bytes()) for entry in folder.iterdir() if entry.is_file()}
    assert {"README.md", "weather.npz", "weather_model.npz"} <= set(sizes)
    assert sum(sizes.values()) < 1_000_000
    assert (resources.files("fastlstm") / "py.typed").is_file()


def test_numpy_and_numba_are_all_that_is_required():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    required = re.search(r"^dependencies = \[(.*?)\]", project, re.S | re.M)[1]
    assert re.findall(r'"(\w+)', required) == ["numba", "numpy"]
