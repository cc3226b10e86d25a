"""Published exploits: what made Keras run code of a file neither runs here nor is dropped."""

import codecs
import copy
import json
import marshal
import os
import sys
import tempfile
from pathlib import Path

import pytest
from keras_cases import FILES, h5_file, keras_file, layer_of, loaded, option

from fastlstm import (
    UnsupportedModelError,
    load,
)

pytestmark = pytest.mark.every_cell


# Published exploits: what made Keras run code of a file must neither run nor be dropped

WATCHED = """compile exec import marshal.loads os.exec os.posix_spawn os.spawn os.system
    pickle.find_class shutil.unpack_archive socket.connect subprocess.Popen urllib.Request"""


SEEN: list = []  # of this kind, while somebody looks


def _watch(event, arguments):
    written = event == "open" and isinstance(arguments[1], str) and "r" not in arguments[1]
    if SEEN and (event in WATCHED.split() or written):
        SEEN.append(event)


@pytest.fixture(scope="module")
def watch():
    """A call, during which nothing may run, be imported or be written."""
    sys.addaudithook(_watch)  # for ever, but mostly asleep

    def call(function, path):
        SEEN.append("started")
        try:
            return function(path)
        finally:
            happened = SEEN[1:]
            SEEN.clear()
            assert not happened, " ".join(happened)
            assert not CANARY.exists()

    return call


def refused_by(watch, path, message):
    load_before = path.with_name("good.keras")
    load_before.write_bytes(FILES["k3_words.keras"])
    load(load_before)  # what needs importing is imported
    with pytest.raises(UnsupportedModelError, match=message):
        watch(load, path)


CANARY = Path(tempfile.gettempdir()) / f"fastlstm_canary_{os.getpid()}"


SHELL = f"echo x> {CANARY}"  # to the shells of all systems


CODE = marshal.dumps(compile(f"__import__('os').system({SHELL!r})", "<lambda>", "eval"))


LAMBDA_OF_KERAS_3 = {
    "class_name": "__lambda__",
    "config": {"code": codecs.encode(CODE, "base64").decode(), "defaults": None, "closure": None},
}


def function(module, name, kind="function"):
    return {"module": module, "class_name": kind, "config": name, "registered_name": kind}


GET_FILE = {"fname": "x", "origin": "file:///etc/passwd", "cache_dir": str(CANARY), "extract": True}


# Where a config may name what is to be run, in the place of a layer: CVE and the entry.
LAYERS_THAT_RUN = {
    "CVE-2024-3660": {"class_name": "Lambda", "config": {"function": LAMBDA_OF_KERAS_3}},
    "CVE-2025-1550": {"module": "os", "class_name": "system", "config": {"command": SHELL}},
    "CVE-2025-1550 registered": {
        "module": "keras.layers",
        "class_name": "Dense",
        "registered_name": "os>system",
        "config": {"command": SHELL},
    },
    "CVE-2025-1550 function": {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": function("subprocess", "run"), "arguments": {"args": [SHELL]}},
    },
    "CVE-2025-8747": {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": function("keras.utils", "get_file"), "arguments": GET_FILE},
    },
    "CVE-2025-9906": {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": function("keras.config", "enable_unsafe_deserialization")},
    },
    "CVE-2025-9906 module": {
        "module": "keras.config",
        "class_name": "enable_unsafe_deserialization",
        "config": {},
    },
}


def put(layer):
    """The layer in the place of the Dropout, under its name."""

    def change(config):
        place = layer_of(config, "Dropout")
        name = place["config"]["name"]
        place.update(copy.deepcopy({"registered_name": None} | layer))
        place["config"]["name"] = name

    return change


@pytest.mark.parametrize("name", LAYERS_THAT_RUN)
def test_layers_that_run_code(name, watch, tmp_path):
    path = keras_file(tmp_path / "model.keras", put(LAYERS_THAT_RUN[name]))
    kind = LAYERS_THAT_RUN[name]["class_name"]
    refused_by(watch, path, f"layer 'dropout.*' .{kind}.")


@pytest.mark.parametrize(
    "value",
    [
        LAMBDA_OF_KERAS_3,
        function("os", "system"),
        function("builtins", "exec", "builtin_function"),
        {"module": "subprocess", "class_name": "Popen", "config": {"args": SHELL, "shell": True}},
        function("keras.config", "enable_unsafe_deserialization"),
    ],
)
@pytest.mark.parametrize(("kind", "option_name"), [("LSTM", "activation"), ("Dense", "activation")])
def test_options_that_run_code(kind, option_name, value, watch, tmp_path):
    path = keras_file(tmp_path / "model.keras", option(kind, **{option_name: value}))
    message = f"layer '{kind.lower()}.*' .{kind}., {option_name}"
    refused_by(watch, path, message)
    # an initializer changes nothing in a trained layer, and is not looked at
    path = keras_file(tmp_path / "model.keras", option(kind, kernel_initializer=value))
    assert watch(load, path).layers == loaded("k3_words.keras", tmp_path).layers


def test_a_lambda_in_h5(watch, tmp_path):
    """CVE-2025-9905: Keras 2 keeps it as ``[code, defaults, closure]``, and runs it in any mode."""
    code = [codecs.encode(CODE, "base64").decode(), None, None]
    options = {"name": "dropper", "function": code, "function_type": "lambda"}

    def change(file):
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][-1] = {"class_name": "Lambda", "config": options}
        file.attrs["model_config"] = json.dumps(config)

    path = h5_file(tmp_path / "model.h5", "k2_words", change)
    refused_by(watch, path, "layer 'dropper' .Lambda.: .*runs code")


def test_what_is_compiled_is_not_looked_at(watch, tmp_path):
    """Losses, metrics and how a model is built may name functions, too."""

    def change(config):
        config["compile_config"] = {"loss": function("os", "system"), "metrics": [SHELL]}
        config["build_config"] = LAMBDA_OF_KERAS_3
        config["config"]["layers"][1]["build_config"] = function("os", "system")

    path = keras_file(tmp_path / "model.keras", change)
    wanted = loaded("k3_words.keras", tmp_path)
    assert watch(load, path).layers == wanted.layers


def test_the_watch_sees_what_runs(watch, tmp_path):
    with pytest.raises(AssertionError, match=r"marshal\.loads.*exec.*os\.system"):
        watch(lambda code: eval(marshal.loads(code)), CODE)
    CANARY.unlink()  # so it has run
    with pytest.raises(AssertionError, match="open"):
        watch(lambda path: path.write_text(""), tmp_path / "written")
