"""Make ``zoo/``: ``python tests/golden/generate_zoo.py [keras] [torch]``.

The networks of ``tests/zoo`` as the files that their frameworks write, with a framework's outputs
in float32 and in float64. Keras' part needs Keras 3, tf_keras (Keras 2) and tf2onnx, all on
TensorFlow; torch's part needs torch, onnxscript and onnxruntime. With ``--check`` everything is
made anew, and compared with what is stored.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tarfile
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
FOLDER = HERE / "zoo"
sys.path.insert(0, str(HERE.parent))

from zoo.cases import Case  # noqa: E402

Expected = dict[str, np.ndarray]


def inputs_of(case: Case, seed: int) -> dict[str, np.ndarray]:
    """The sequences of a network, and more of another length if it takes any."""
    found = {"x": case.sequences(seed, 3)}
    if case.free:
        found["x2"] = case.sequences(seed, 2, case.steps + 9)
    return found


# Keras


def keras_part(folder: Path) -> Expected:
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import tf_keras
    from zoo import refused_networks
    from zoo.keras_networks import NETWORKS, settle

    expected = {}
    for seed, (name, case) in enumerate(NETWORKS.items()):
        keras.utils.clear_session()
        model = settle(case.make(keras), seed)
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        double = case.make(keras)
        copy_weights(model, double)
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")

        for key, x in inputs_of(case, seed).items():
            expected[f"{name}/{key}"] = x
            expected[f"{name}/{key}/y"] = y = case.run(scores(model), x)
            expected[f"{name}/{key}/wide"] = case.run(scores(double), x)
        x, y = expected[f"{name}/x"], expected[f"{name}/x/y"]
        model.save(folder / f"{name}-3.keras")
        model.save(folder / f"{name}-3.h5")
        if case.wide:
            double.save(folder / f"{name}-double.keras")
        to_onnx(model, folder / f"{name}-tf3.onnx", case.as_given(x), y)
        if not case.only_keras_3:
            old = case.make(tf_keras)
            copy_weights(model, old)
            np.testing.assert_allclose(case.run(scores(old), x), y, atol=3e-6)
            old.save(folder / f"{name}-2.h5")
            to_onnx(old, folder / f"{name}-tf2.onnx", case.as_given(x), y)
        print(name, y.shape, flush=True)
    refused_networks.keras_files(folder)
    return expected


def scores(model: Any) -> Any:
    return lambda x: np.asarray(model(x, training=False))


def copy_weights(source: Any, target: Any) -> None:
    """Give a model the weights of another, layer by layer: Keras 2 counts some steps as layers."""
    pairs = [
        [layer for layer in model.layers if hasattr(layer, "layers") or layer.weights]
        for model in (source, target)
    ]
    for old, new in zip(*pairs, strict=True):
        if hasattr(old, "layers"):
            copy_weights(old, new)
            continue
        weights = old.get_weights()
        if len(new.get_weights()) == len(weights) + 1:  # Normalization of Keras 2 counts
            weights.append(np.array(7))
        new.set_weights(weights)
        if hasattr(new, "finalize_state"):
            new.finalize_state()


def to_onnx(model: Any, path: Path, given: np.ndarray, y: np.ndarray) -> None:
    """Write a model by tf2onnx, if it can: not all that it writes is ONNX."""
    import onnx
    import onnxruntime
    import tensorflow as tf
    import tf2onnx

    spec = [tf.TensorSpec([None, *model.inputs[0].shape[1:]], model.inputs[0].dtype, name="x")]
    function = tf.function(lambda x: model(x, training=False))
    with contextlib.redirect_stderr(io.StringIO()):
        graph, _ = tf2onnx.convert.from_function(function, spec, opset=13)
    left_over = {node.op_type for node in graph.graph.node} & {"Loop", "Erfc"}
    if left_over or len(graph.graph.input) > 1:  # it loses constants of Normalization
        print("   not by tf2onnx:", path.name)
        return
    del graph.graph.value_info[:]
    onnx.save(graph, path)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    dtype = {"tensor(int32)": "int32", "tensor(int64)": "int64"}.get(session.get_inputs()[0].type)
    found = session.run(None, {"x": given.astype(dtype or "float32")})[0]
    np.testing.assert_allclose(found, y, atol=1e-5)


# torch


def torch_part(folder: Path) -> Expected:
    import torch
    from zoo import refused_networks
    from zoo.torch_networks import NETWORKS, settle

    torch.set_num_threads(1)
    expected: Expected = {}
    only: list[str] = []
    for seed, (name, case) in enumerate(NETWORKS.items()):
        if not case.exported:
            continue
        module = settle(case.make(), seed)
        for key, x in inputs_of(case, seed).items():
            expected[f"{name}/{key}"] = x
            expected[f"{name}/{key}/y"] = y = case.run(outputs(module, torch.float32), x)
            wide = case.run(outputs(module, torch.float64), x)
            expected[f"{name}/{key}/wide"] = wide
        module.float()
        for form in FORMS if case.wide else [form for form in FORMS if form != "double"]:
            file = f"{name}-{form}.onnx"
            if not export(module, case, form, folder / file, expected, name):
                print("   only with as many steps:", file)
                only.append(file)
        print(name, tuple(y.shape), flush=True)
    refused_networks.torch_files(folder, strip)
    expected["steps of x only"] = np.array(only)
    return expected


def outputs(module: Any, dtype: Any) -> Any:
    import torch

    def run(x: np.ndarray) -> np.ndarray:
        given = torch.from_numpy(x)
        with torch.no_grad():
            return module.to(dtype)(given.to(dtype) if given.is_floating_point() else given).numpy()

    return run


# form: the newer exporter, sizes left open, opset, dtype
FORMS = {
    "legacy": (False, True, 17, "float32"),
    "legacy-fixed": (False, False, 11, "float32"),
    "dynamo": (True, True, None, "float32"),
    "dynamo-fixed": (True, False, None, "float32"),
    "double": (False, True, 15, "float64"),
}


def export(module: Any, case: Case, form: str, path: Path, expected: Expected, name: str) -> bool:
    """Write a module as ONNX: as the exporter leaves it, but without where its source lay.

    Returns whether the file takes as many steps as the module.
    """
    import onnx
    import torch

    newer, sizes_open, opset, dtype = FORMS[form]
    n = case.batch or (2 if sizes_open else 1)
    x = torch.from_numpy(case.as_given(expected[f"{name}/x"][:n]))
    if not case.ids:
        x = x.to(getattr(torch, dtype))
    axes = {"N": case.layout.index("N"), "T": case.layout.index("T")}
    free = {}
    if sizes_open and case.batch is None:
        free = {axes["N"]: "batch", axes["T"]: "steps"} if case.free else {axes["N"]: "batch"}
    options: dict[str, Any] = {"input_names": ["input"], "output_names": ["output"]}
    if opset:
        options["opset_version"] = opset
    if newer:
        dims = dict.fromkeys(free, torch.export.Dim.AUTO)  # a named size is fixed behind an LSTM
        options |= {"dynamic_shapes": (dims,), "external_data": False, "verbose": False}
    else:
        options["dynamic_axes"] = {"input": free} if free else None
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(module.to(getattr(torch, dtype)), (x,), path, dynamo=newer, **options)
    module.float()
    model = onnx.load(path)
    strip(model)
    onnx.save(model, path)
    return dtype != "float32" or agrees(model, case, expected, name, bool(free))


def strip(model: Any) -> None:
    """Take away the lines of source that made a model, and shapes that follow from others."""
    graph = model.graph
    functions = [node for function in model.functions for node in function.node]
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *functions):
        part.doc_string = ""
        del part.metadata_props[:]
    for tensor in graph.initializer:
        del tensor.metadata_props[:]
    del graph.value_info[:]


def agrees(model: Any, case: Case, expected: Expected, name: str, sizes_open: bool) -> bool:
    """ONNX Runtime computes from the file what the module gave, for other steps if it can."""
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    for key in ("x", "x2") if case.free and sizes_open else ("x",):
        x, y = expected[f"{name}/{key}"], expected[f"{name}/{key}/y"]
        if not sizes_open:
            x, y = x[:1], y[:1]
        try:
            found = case.as_ours(session.run(None, {"input": case.as_given(x)})[0])
        except Fail:  # the newer exporter keeps some numbers of steps that it has seen
            if key == "x":
                raise
            return False
        np.testing.assert_allclose(found, y, atol=1e-5)
    return True


# The archives


def pack(folder: Path, expected: Expected, path: Path) -> None:
    """One stream: a network's files share most of their bytes."""
    np.savez(folder / "expected.npz", **expected)
    with tarfile.open(path, "w:xz", preset=9) as archive:
        for file in sorted(folder.iterdir()):
            info = tarfile.TarInfo(file.name)
            info.size = file.stat().st_size
            with file.open("rb") as content:
                archive.addfile(info, content)


def stored(path: Path) -> tuple[set[str], Expected]:
    with tarfile.open(path) as archive:
        file = archive.extractfile("expected.npz")
        assert file is not None
        with np.load(io.BytesIO(file.read())) as arrays:
            return set(archive.getnames()), dict(arrays)


def check(new: tuple[set[str], Expected], old: tuple[set[str], Expected]) -> None:
    assert new[0] == old[0], new[0] ^ old[0]
    assert new[1].keys() == old[1].keys()
    for name, array in new[1].items():
        np.testing.assert_allclose(array, old[1][name], rtol=0, atol=1e-5, err_msg=name)


PARTS = {"keras": keras_part, "torch": torch_part}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), metavar="PART")
    parser.add_argument("--check", action="store_true", help="compare with what is stored")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for part in arguments.parts:
        target = FOLDER / f"{part}.tar.xz"
        with tempfile.TemporaryDirectory() as scratch:
            made = Path(scratch) / "files"
            made.mkdir()
            results = PARTS[part](made)
            path = Path(scratch) / target.name if arguments.check else target
            pack(made, results, path)
            if arguments.check:
                check(stored(path), stored(target))
            print(part, len(list(made.iterdir())), "files,", path.stat().st_size, "bytes")
