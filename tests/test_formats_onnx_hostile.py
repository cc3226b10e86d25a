"""Damaged and hostile ONNX files."""

import os

import numpy as np
import onnx
import onnx_cases as cases
import pytest
from onnx import TensorProto, helper
from onnx_cases import (
    ONE,
    I,
    X,
    Y,
    ints,
    lstm,
    node,
    value,
)
from onnx_helpers import refused_quickly

import fastlstm
from fastlstm import from_onnx
from fastlstm.errors import ModelFormatError, UnsupportedModelError

pytestmark = pytest.mark.every_cell


def test_truncated(tmp_path):
    content, path = cases.chain("the last step").SerializeToString(), tmp_path / "model.onnx"
    for size in [*range(40), *range(40, len(content), 37)]:
        path.write_bytes(content[:size])
        refused_quickly(path)
    path.write_bytes(b"not a model")
    refused_quickly(path, ModelFormatError)


def test_flipped_bits(tmp_path):
    """A damaged file is refused, or is another model: never another kind of error."""
    content, path = cases.chain("learned state").SerializeToString(), tmp_path / "model.onnx"
    rng = np.random.default_rng(1)
    for bit in rng.integers(0, 8 * len(content), 400):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << int(bit) % 8
        path.write_bytes(damaged)
        try:
            fastlstm.load(path)
        except (ModelFormatError, UnsupportedModelError) as error:
            assert str(path) in str(error)  # noqa: PT017


def damaged(name="the last step", **changes):
    model = cases.chain(name)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for field, value_ in changes.items():
        if field == "dims":
            del tensors["W"].dims[:]
            tensors["W"].dims.extend(value_)
        else:
            setattr(tensors["W"], field, value_)
    return model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dims": [1 << 40, 4, 3]}, r"takes \d+ bytes, there are 192"),
        ({"dims": [1 << 62, 1 << 62]}, r"takes \d+ bytes"),
        ({"dims": [-1, 16, -3]}, "a negative length"),
        ({"raw_data": b""}, "takes 192 bytes, there are 0"),
        ({"data_type": 99}, "ONNX's data type 99"),
        ({"data_type": TensorProto.STRING}, "data type 8"),
        ({"data_type": TensorProto.INT32}, "expected floats as weights, got int32|one type"),
        ({"raw_data": np.full(48, np.nan, "f4").tobytes()}, "expected finite weights"),
        ({"data_location": TensorProto.EXTERNAL}, "outside|data file"),
    ],
)
def test_hostile_tensors(tmp_path, changes, message):
    onnx.save(damaged(**changes), path := tmp_path / "model.onnx", format="protobuf") if (
        "data_location" not in changes
    ) else (path := tmp_path / "model.onnx").write_bytes(damaged(**changes).SerializeToString())
    refused_quickly(path, message=message)


def fill(*shape):
    return [
        helper.make_node("ConstantOfShape", ["s"], ["big"]),
        lstm("x", ["", "y"], state=("big", "big")),
    ], {**ONE, "s": ints(*shape)}


@pytest.mark.parametrize(
    ("nodes", "named"),
    [
        fill(1 << 40, 1 << 10, 4),
        fill(-1, 2, 3),
        ([node("Expand", "x s", "e"), lstm("e", ["", "y"])], {**ONE, "s": ints(1 << 40, 1, 1, 1)}),
        ([node("Tile", "x s", "e"), lstm("e", ["", "y"])], {**ONE, "s": ints(1 << 20, 1 << 9, 1)}),
        (
            [
                node("Concat", "W W", "w1", axis=1),
                *(node("Concat", f"w{k} w{k}", f"w{k + 1}", axis=1) for k in range(1, 60)),
                helper.make_node("LSTM", ["x", "w60", "R"], ["", "y"]),
            ],
            ONE,
        ),
        (
            [
                *(node("Concat", f"x{k or ''} x{k or ''}", f"x{k + 1}") for k in range(60)),
                lstm("x60", ["", "y"]),
            ],
            ONE,
        ),
        (
            [node("Range", "zero many one1", "r"), lstm("x", ["", "y"], state=("r", "r"))],
            {**ONE, "zero": np.array(0), "many": np.array(1 << 60), "one1": np.array(1)},
        ),
    ],
)
def test_nothing_is_allocated_that_is_only_claimed(tmp_path, nodes, named):
    model = cases.model(nodes, X, Y, cases.constants(**named))
    (path := tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    refused_quickly(path)


def test_other_hostile_graphs(tmp_path):
    path = tmp_path / "model.onnx"
    model = cases.chain("every step")
    model.graph.sparse_initializer.add().values.name = "sparse"
    path.write_bytes(model.SerializeToString())
    refused_quickly(path, UnsupportedModelError, "sparse")
    model = cases.chain("every step")
    tensor = next(t for t in model.graph.initializer if t.name == "W")
    tensor.ClearField("raw_data")
    tensor.float_data.extend([1.0] * 191)
    path.write_bytes(model.SerializeToString())
    refused_quickly(path, ModelFormatError, "is 192 numbers, there are 191|is 48 numbers")
    model = cases.chain("every step")
    del model.graph.output[:]
    path.write_bytes(model.SerializeToString())
    refused_quickly(path, ModelFormatError, "a graph with outputs")


def test_huge_fixed_sizes(tmp_path):
    model = cases.chain("every step", [value("x", [1 << 30, 1 << 30, I])])
    (path := tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    refused_quickly(path, UnsupportedModelError, "batch or steps of any size")


def test_unsound_graphs(tmp_path):
    model = cases.chain("the last step")
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises((ModelFormatError, UnsupportedModelError)):
        from_onnx(model)
    model = cases.chain("the last step")
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    with pytest.raises(ModelFormatError, match="no operator before it gives"):
        from_onnx(model)


def external(tmp_path, name="weights.bin", **entries):
    """A model whose W is in a file beside it, and the file."""
    model = damaged()
    (tensor,) = [t for t in model.graph.initializer if t.name == "W"]
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    (folder / "weights.bin").write_bytes(b"1234" + tensor.raw_data)
    (tmp_path / "outside.bin").write_bytes(b"1234" + tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, given in {"location": name, "offset": "4", "length": "192", **entries}.items():
        tensor.external_data.add(key=key, value=given)
    (path := folder / "model.onnx").write_bytes(model.SerializeToString())
    return path


def test_external_data(tmp_path):
    path = external(tmp_path)
    assert fastlstm.load(path).layers == from_onnx(cases.chain("the last step")).layers
    with pytest.raises(UnsupportedModelError, match=r"its data is in the file 'weights.bin'"):
        from_onnx(onnx.load(path, load_external_data=False))
    refused_quickly(external(tmp_path, "../outside.bin"), ModelFormatError, "outside of the model")
    absolute = str(tmp_path / "outside.bin")
    refused_quickly(external(tmp_path, absolute), ModelFormatError, "outside of the model")
    if hasattr(os, "symlink"):
        (tmp_path / "model" / "link.bin").symlink_to(tmp_path / "outside.bin")
        refused_quickly(external(tmp_path, "link.bin"), ModelFormatError, "outside of the model")
    refused_quickly(external(tmp_path, "missing.bin"), ModelFormatError, "its data file")
    refused_quickly(external(tmp_path, offset="8"), ModelFormatError, "expected 192 bytes")
    refused_quickly(external(tmp_path, offset="-4"), ModelFormatError, "expected 192 bytes")
    refused_quickly(external(tmp_path, length="96"), ModelFormatError, "expected 192 bytes, got 96")
    refused_quickly(external(tmp_path, length="x"), ModelFormatError, "expected offset and length")
    refused_quickly(external(tmp_path, "."), ModelFormatError, "outside|regular file")


def test_a_device_is_not_a_model(tmp_path):
    (tmp_path / "link.onnx").symlink_to("/dev/zero")
    refused_quickly(tmp_path / "link.onnx", ModelFormatError, "expected a regular file")
