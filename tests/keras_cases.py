"""What the tests of Keras models share: golden files, and ways to change them."""

import copy
import io
import json
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fastlstm import (
    ModelFormatError,
    UnsupportedModelError,
    load,
)

h5py = pytest.importorskip("h5py")


ARCHIVE = Path(__file__).parent / "golden" / "keras" / "keras.zip"


with zipfile.ZipFile(ARCHIVE) as _archive:
    FILES = {name: _archive.read(name) for name in _archive.namelist()}


EXPECTED = np.load(io.BytesIO(FILES.pop("expected.npz")))


# Weights alone: the file, the architecture, and the model that it is.
WEIGHTS = {
    "k3_masks.weights.h5": ("k3_masks.json", "k3_masks"),
    "k2_weights.h5": ("k2_weights.json", "k2_masks"),
}


MODELS = sorted(name for name in FILES if not name.endswith(".json"))


def loaded(name, folder):
    path = folder / name
    path.write_bytes(FILES[name])
    config = json.loads(FILES[WEIGHTS[name][0]]) if name in WEIGHTS else None
    return load(path) if config is None else load(path, config=config)


def expected(name):
    base = WEIGHTS[name][1] if name in WEIGHTS else name.split(".")[0]
    return EXPECTED[f"{base}:x"], EXPECTED[f"{base}:y"]


def error(actual, wanted):
    """The error in units of what is allowed: 1e-13 in float64, in float32 what Keras' own is."""
    assert actual.shape == wanted.shape
    allowed = 1e-13 if wanted.dtype == "float64" else 5e-7
    return float(np.max(abs(actual - wanted))) / (allowed * max(1, np.max(abs(wanted))))


def keras_file(path, change_config=None, name="k3_words", version=None, weights=None):
    """A .keras archive like the golden one, with another config, version or weights."""
    with zipfile.ZipFile(io.BytesIO(FILES[f"{name}.keras"])) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    config = json.loads(members["config.json"])
    if change_config is not None:
        change_config(config)
    members["config.json"] = json.dumps(config)
    if version is not None:
        members["metadata.json"] = json.dumps({"keras_version": version})
    if weights is not None:
        members["model.weights.h5"] = weights
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return path


def layer_of(config, kind):
    return next(k for k in config["config"]["layers"] if k["class_name"] == kind)


def option(kind, **options):
    def change(config):
        layer_of(config, kind)["config"].update(options)

    return change


def inside(kind, where="layer", **options):
    def change(config):
        layer_of(config, kind)["config"][where]["config"].update(options)

    return change


def entry(kind, **values):
    def change(config):
        layer_of(config, kind).update(values)

    return change


def other_class(kind, new, **options):
    def change(config):
        layer_of(config, kind).update(class_name=new, config={"name": "other", **options})

    return change


def graph(kind, **values):
    def change(config):
        config["config"].update(copy.deepcopy(values))
        if kind:
            node = layer_of(config, kind)["inbound_nodes"]
            node.append(copy.deepcopy(node[0]))

    return change


def called_with(kind, **options):
    def change(config):
        layer_of(config, kind)["inbound_nodes"][0]["kwargs"].update(options)

    return change


def mask_of(value):
    def change(config):
        layer_of(config, "NotEqual")["inbound_nodes"][0]["args"][1] = value

    return change


def reads_output(config):
    node = layer_of(config, "GlobalAveragePooling1D")["inbound_nodes"][0]
    node["args"][0]["config"]["keras_history"][2] = 1


def two_tensors(config):
    node = layer_of(config, "Dense")["inbound_nodes"][0]
    node["args"] = [[node["args"][0], node["args"][0]]]


def h5_file(path, name="k1_separate", change=None):
    path.write_bytes(FILES[f"{name}.h5"])
    if change is not None:
        with h5py.File(path, "r+") as file:
            change(file)
    return path


# Hostile files

FORMAT_OR_NOT = (ModelFormatError, UnsupportedModelError)


def refused(path, message, kinds=(ModelFormatError,)):
    """Loading fails at once, without much memory, and the error names the file."""
    tracemalloc.start()
    start = time.process_time()  # of our own, however busy the machine is
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    seconds = time.process_time() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.type in kinds
    assert str(path) in str(caught.value)
    assert seconds < 1
    assert peak < 1 << 25
