"""What the reading of a file may take."""

import json
import os
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from fastlstm import load
from fastlstm.errors import ModelFormatError
from fastlstm.formats import budget
from fastlstm.formats.budget import Budget, OverBudget, budgeted, charge, current, lent, returned


def test_a_budget_has_a_floor_and_grows_with_the_file():
    small, large = Budget(0), Budget(1 << 30)
    assert (small.memory, small.steps) == (budget.MEMORY, budget.STEPS)
    assert large.memory == budget.MEMORY_PER_BYTE << 30
    assert large.steps == (1 << 30) * budget.STEPS_PER_BYTE > budget.STEPS
    small.grow(1 << 30)
    assert (small.memory, small.steps) == (large.memory, large.steps)
    grown = Budget(0)
    for end in (1 << 20, 1 << 30, 1 << 29, 1 << 30):  # the same bytes again give nothing more
        grown.grow_to("weights.bin", end)
    assert grown.memory == large.memory


@pytest.mark.parametrize(
    ("cost", "what"),
    [
        ({"memory": budget.MEMORY + 1}, "memory"),
        ({"steps": budget.STEPS + 1}, "steps"),
        ({"elements": (budget.STEPS + 1) * budget.ELEMENTS_PER_STEP}, "steps"),
    ],
)
def test_what_ends_a_budget(cost, what):
    charge(**cost)  # nothing is read: no limit
    with budgeted(0), pytest.raises(OverBudget, match=f"more {what} than"):
        charge(**cost)
    assert issubclass(OverBudget, ModelFormatError)


def test_memory_comes_back():
    with budgeted(0):
        with lent(budget.MEMORY):
            charge(steps=10)
            with pytest.raises(OverBudget), lent(1):
                pass
        current().memory = budget.MEMORY
        with pytest.raises(OverBudget), returned():
            charge(budget.MEMORY + 1)
        with returned():
            charge(budget.MEMORY)
        assert current().memory == budget.MEMORY
        assert current().steps == budget.STEPS - 10
        with budgeted(1 << 30):
            assert current().memory > budget.MEMORY
        assert current().memory == budget.MEMORY
    current().grow(1 << 20)
    assert current().memory == float("inf")


# Files of under 100 KB that would take gigabytes or for ever, as they come from outside.


def storages(path):
    """200 layers of one storage of zeros."""
    pickled = b"}"
    for k in range(200):
        for kind in ("ih", "hh"):
            pickled += (
                b"Vweight_%s_l%d\nctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\n"
                b"V0\nVcpu\nI1000000\ntQI0\n(I2000\nI500\nt(I500\nI1\ntI00\n}tRs"
            ) % (kind.encode(), k)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", pickled + b".")
        file.writestr("a/data/0", b"\0" * 4_000_000)


def steps(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", b"\x80\x02" + b"}" * (1 << 20))


def copies(path):
    pickled = b"ccollections\nOrderedDict\nq\x00}("
    pickled += b"".join(b"J%sN" % struct.pack("<i", k) for k in range(60_000))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", pickled + b"uq\x01(" + b"h\x00h\x01\x85R" * 15_000 + b"l.")


def texts(path):
    """NumPy would make every row as long as the longest: 5 GB."""
    values = ["a"] * 25_000 + ["b" * 25_000]
    content = {"model_data": {}, "state_dict": {"rec.weight_ih_l0": values}}
    path.write_text(json.dumps(content))


def unfolding(path):
    """The directory says 128 bytes, and 100 MB are there."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (4, 0)}
    text = repr(header).encode().ljust(117) + b"\n"
    body = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
    long = body + b"\0" * (90 << 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("weight_ih_l0.npy", long)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(struct.pack("<I", len(long)), struct.pack("<I", len(body))))


def graph(*nodes, features=4, **constants):
    """An ONNX model of an LSTM behind these nodes, the last of which gives z."""
    from onnx import helper, numpy_helper

    named = {
        "W": np.zeros((1, 4, min(features, 4)), "f4"),
        "R": np.zeros((1, 4, 1), "f4"),
    } | constants
    made = [helper.make_node(op, ins.split(), outs.split(), **k) for op, ins, outs, k in nodes]
    lstm = helper.make_node("LSTM", ["z", "W", "R"], ["Y"], name="lstm", hidden_size=1)
    return helper.make_model(
        helper.make_graph(
            [*made, lstm],
            "g",
            [helper.make_tensor_value_info("x", 1, ["T", "N", features])],
            [helper.make_tensor_value_info("Y", 1, None)],
            [numpy_helper.from_array(np.asarray(v), name) for name, v in named.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
    )


def identity(path):
    """An activation of 50,000 numbers, which must not become a matrix of 10 GB."""
    path.write_bytes(graph(("Relu", "x", "z", {}), features=50_000).SerializeToString())


def additions(path):
    nodes = [("ConstantOfShape", "n", "c", {})]
    nodes += [("Add", "c c", f"k{k}", {}) for k in range(1500)]
    model = graph(*nodes, ("Identity", "x", "z", {}), n=np.array([4_000_000]))
    path.write_bytes(model.SerializeToString())


def external(path):
    """300 tensors, all of the same 12 MB beside the file."""
    model = graph(*(("Neg", f"e{k}", f"k{k}", {}) for k in range(300)), ("Identity", "x", "z", {}))
    for k in range(300):
        tensor = model.graph.initializer.add(
            name=f"e{k}", data_type=1, dims=[3_000_000], data_location=1
        )
        for key, value in (("location", "w.bin"), ("length", "12000000")):
            tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    path.with_name("w.bin").write_bytes(b"\0" * 12_000_000)


def outputs(path):
    """800 outputs, each of which could be the state of the layer that gives another."""
    model = graph(("Identity", "x", "z", {}))
    for k in range(800):
        model.graph.node.add(op_type="Identity", input=["Y"], output=[f"o{k}"])
        model.graph.output.add(name=f"o{k}").type.tensor_type.elem_type = 1
    path.write_bytes(model.SerializeToString())


BOMBS = {
    "storages.pt": storages,
    "steps.pt": steps,
    "copies.pt": copies,
    "texts.json": texts,
    "unfolding.npz": unfolding,
    "identity.onnx": identity,
    "additions.onnx": additions,
    "external.onnx": external,
    "outputs.onnx": outputs,
}

CHILD = """
import sys, time
import fastlstm, fastlstm.loading
try:
    import onnx
except ImportError:
    pass

def peak():
    status = open("/proc/self/status").read()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024

for path in sys.argv[1:]:
    open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
    before, start = peak(), time.process_time()
    try:
        fastlstm.load(path)
    except (fastlstm.ModelFormatError, fastlstm.UnsupportedModelError):
        pass
    else:
        sys.exit(f"{path} loads")
    seconds, mb = time.process_time() - start, peak() - before
    print(f"{path}: {seconds:.2f} s, {mb} MB")
    if seconds > 2 or mb > 200:  # a second where nothing else runs
        sys.exit(1)
"""


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="peaks as Linux has them"
)
def test_bombs_take_a_second_and_200_mb(tmp_path):
    """In a process of its own, whose peak of memory is measured."""
    paths = [tmp_path / name for name in BOMBS]
    try:
        import onnx  # noqa: F401
    except ImportError:
        paths = [path for path in paths if path.suffix != ".onnx"]
    for path in paths:
        BOMBS[path.name](path)
        assert path.stat().st_size < 160_000
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, paths)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(paths)


def test_nested_branches_are_walked_once(tmp_path):
    """An If in an If in an If, 24 deep: 2 ** 24 walks if each were taken twice."""
    pytest.importorskip("onnx")
    from onnx import helper

    def branch(depth):
        name = f"o{depth}"
        if depth:
            other = branch(0)
            other.node[0].output[0] = other.output[0].name = f"e{depth}"
            nodes = [
                helper.make_node(
                    "If", ["c"], [name], then_branch=branch(depth - 1), else_branch=other
                )
            ]
        else:
            nodes = [helper.make_node("Identity", ["x"], [name])]
        return helper.make_graph(nodes, "b", [], [helper.make_tensor_value_info(name, 1, None)])

    depth = 24
    model = graph(("Identity", f"o{depth}", "z", {}), c=np.array(True))
    model.graph.node.insert(0, branch(depth).node[0])
    (path := tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert load(path, node="lstm").hidden_size == 1
