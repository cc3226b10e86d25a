"""``.pt`` files: torch's tensors without torch, and nothing of a file's code is executed."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from model_files import assert_same, fc, refused, tensors

from fastlstm import from_torch, load
from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.torch.pickles import read_pickle

GOLDEN = Path(__file__).parent / "golden" / "torch"
MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
SYSTEM = pickle.dumps({"little_endian": True, "protocol_version": 1001, "type_sizes": {}}, 2)


def tensor(key, shape, strides=None, offset=0, count=None, kind="FloatStorage"):
    """A tensor in a pickle, in the text that pickle protocol 0 is."""
    strides = (
        [int(np.prod(shape[k + 1 :])) for k in range(len(shape))] if strides is None else strides
    )
    count = int(np.prod(shape)) if count is None else count
    numbers = [b"".join(b"I%d\n" % k for k in values) for values in (shape, strides)]
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n"
        b"((Vstorage\nctorch\n%s\nV%s\nVcpu\nI%d\ntQI%d\n(%st(%stI00\n"
        b"ccollections\nOrderedDict\n)RtR"
    ) % (kind.encode(), key.encode(), count, offset, *numbers)


def state_dict(named, **changes):
    """A pickle of tensors, each with a storage of its own; `changes` are for the first."""
    items = b""
    for k, (name, value) in enumerate(named.items()):
        of_this = {"shape": value.shape} | (changes if k == 0 else {})
        items += b"V%s\n%ss" % (name.encode(), tensor(str(k), **of_this))
    return b"}" + items + b"."


def archive(path, pickled, storages=(), compression=zipfile.ZIP_STORED, **more):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("model/data.pkl", pickled)
        for k, value in enumerate(storages):
            file.writestr(f"model/data/{k}", value.tobytes())
        for name, content in more.items():
            file.writestr(f"model/{name}", content)
    return path


def legacy(path, named):
    """As torch before 1.6 wrote it: pickles, then each storage behind its length."""
    keys = pickle.dumps([str(k) for k in range(len(named))], 2)
    storages = (struct.pack("<q", a.size) + a.tobytes() for a in named.values())
    path.write_bytes(MAGIC + SYSTEM + state_dict(named) + keys + b"".join(storages))
    return path


@pytest.fixture(params=["archive", "legacy"])
def whole(request, tmp_path):
    """A file of a state_dict, in either form."""
    path, named = tmp_path / "model.pt", tensors()
    if request.param == "legacy":
        return legacy(path, named)
    return archive(path, state_dict(named), named.values(), byteorder="little", version="3\n")


def test_both_forms(whole):
    assert_same(load(whole), from_torch(tensors()))


def test_no_file_that_is_cut_short_loads(whole):
    content = whole.read_bytes()
    for length in {0, 1, 2, 7, *range(0, len(content), len(content) // 50), len(content) - 1}:
        whole.write_bytes(content[:length])
        refused(whole, ".")
    whole.write_bytes(content + b"\0")
    refused(whole, ".")


def test_changed_bytes_load_or_are_refused_but_nothing_else(whole):
    content, rng = whole.read_bytes(), np.random.default_rng(0)
    refusals = 0
    for _ in range(400):
        damaged = bytearray(content)
        for at in rng.integers(len(content), size=rng.integers(1, 4)):
            damaged[at] = rng.integers(256)
        whole.write_bytes(damaged)
        try:
            load(whole)
        except (ModelFormatError, UnsupportedModelError) as error:
            assert str(whole) in str(error)  # noqa: PT017
            refusals += 1
    assert refusals > 20


# what a pickle says, and the error
HOSTILE = {
    "os.system": (b"cos\nsystem\n(Vtouch hacked\ntR.", r"\(os.system\).*torch.save\(model.state_d"),
    "posix.system": (b"cposix\nsystem\n(Vtouch hacked\ntR.", "would execute code"),
    "eval": (b"cbuiltins\neval\n(V1\ntR.", r"\(builtins.eval\)"),
    "getattr": (b"c__builtin__\ngetattr\n(ctorch\nFloatStorage\nVmro\ntR.", "getattr"),
    "stack_global": (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R.", "os.system"),
    "a module": (b"c__main__\nNet\n)\x81}b.", r"\(__main__.Net\)"),
    "torch's module": (b"ctorch.nn.modules.rnn\nLSTM\n)\x81}b.", "rnn.LSTM"),
    "torch.load": (b"ctorch\nload\n(Vx\ntR.", "torch.load"),
    "beside tensors": (state_dict(tensors())[:-1] + b"Vx\ncos\nsystem\n(Vls\ntRs.", "os.system"),
    "an instance": (b"(ios\nsystem\n.", "INST is no part"),
    "an object": (b"(cos\nsystem\no.", "os.system"),
    "an extension": (b"\x82\x01.", "EXT1 is no part"),
    "text persistent id": (b"Pabc\n.", "PERSID is no part"),
    "nothing": (b"", "damaged|no end"),
    "no end": (b"}", "damaged|no end"),
    "pop of nothing": (b".", "takes more than"),
    "pop of a mark": (b"(.", "takes more than"),
    "no mark": (b"}t.", "damaged"),
    "no memo": (b"h\x07.", "damaged"),
    "items of a list": (b"]V1\nV2\ns.", "sets items of what is no dict"),
    "odd items": (b"}(V1\nu.", "sets items"),
    "appends to a dict": (b"}V1\na.", "appends to what is no list"),
    "a list as key": (b"}]V1\ns.", "key that cannot be one"),
    "state of a list": (b"]}b.", "a state to what has none"),
    "state of a function": (b"ctorch._utils\n_rebuild_tensor_v2\n}b.", "a state to what has none"),
    "calls a number": (b"I1\n)R.", "calls what is no function"),
    "claims a long text": (b"\x8d\xff\xff\xff\xff\xff\xff\xff\x3fab.", "damaged"),
    "claims long bytes": (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x3fab.", "damaged"),
    "claims a long number": (b"\x8b\xff\xff\xff\x7fab.", "damaged"),
    "a list": (b"].", "expected a state_dict .* got a list"),
    "a number": (b"I1\n.", "expected a state_dict .* got a int"),
    "no LSTM": (b"}.", "expected the tensors of an LSTM"),
    "many steps": (b"(" * 3_000_000, "more than 200000 steps"),
    "deep": (b"]" * 110_000 + b"a" * 109_999 + b".", "more than 200000 steps"),
    "deep tuples as a key": (b"}" + b")" + b"\x85" * 60_000 + b"V1\ns.", "tensors of an LSTM"),
    "a tensor of no storage": (
        b"}Vweight_ih_l0\nctorch._utils\n_rebuild_tensor_v2\n(I1\nI0\n)))tRs.",
        "damaged|no storage",
    ),
    "too few arguments": (b"ctorch._utils\n_rebuild_tensor_v2\n)R.", "damaged"),
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("old", [False, True])
def test_hostile_pickles(tmp_path, monkeypatch, what, old):
    monkeypatch.chdir(tmp_path)
    pickled, message = HOSTILE[what]
    path = tmp_path / "model.pt"
    if old:
        path.write_bytes(MAGIC + SYSTEM + pickled + pickle.dumps([], 2))
        if what in ("nothing", "no end", "pop of nothing"):
            message = "."  # the next pickle is read on
    else:
        archive(path, pickled, tensors().values())
    unsupported = "os" in message or any(
        word in what
        for word in ("eval", "getattr", "module", "torch.load", "stack_global", "posix", "beside")
    )
    kind = UnsupportedModelError if unsupported or what == "an object" else ModelFormatError
    refused(path, message, kind)
    assert not (tmp_path / "hacked").exists()


# of the first tensor, weight_ih_l0 (12, 2), and the error
TENSORS = {
    "larger than the file": ({"count": 1 << 60}, "storage 0 takes .* there is 96 bytes"),
    "shape larger than the storage": (
        {"shape": (12, 2), "count": 23},
        "does not fit into its stor",
    ),
    "repeated without end": (
        {"shape": (1 << 40, 2), "strides": (0, 1), "count": 24},
        "does not fit into its storage",
    ),
    "overlapping, larger": ({"shape": (24, 2), "strides": (1, 0), "count": 24}, "does not fit"),
    "offset": ({"offset": 1, "shape": (12, 2), "count": 24}, "does not fit"),
    "strides": ({"shape": (12, 2), "strides": (3, 1), "count": 24}, "does not fit"),
    "negative length": ({"shape": (-12, -2), "count": 24}, "lengths of 0 or more"),
    "negative stride": ({"shape": (12, 2), "strides": (-2, 1), "count": 24}, "lengths of 0 or"),
    "negative offset": ({"shape": (12, 2), "offset": -1, "count": 24}, "lengths of 0 or more"),
    "strides of another rank": ({"shape": (12, 2), "strides": (1,), "count": 24}, "do not fit"),
    "many axes": ({"shape": (1,) * 40, "count": 24}, "do not fit"),
    "other kind": ({"shape": (12, 2), "kind": "IntStorage"}, "expected float64, .* got int32"),
    "wider kind": ({"shape": (12, 2), "kind": "DoubleStorage"}, "storage 0 takes 192 bytes"),
    "complex": ({"shape": (12, 2), "kind": "ComplexFloatStorage"}, "a tensor of 'ComplexFloatSt"),
}


@pytest.mark.parametrize("what", TENSORS)
def test_hostile_tensors(tmp_path, what):
    changes, message = TENSORS[what]
    path = archive(tmp_path / "model.pt", state_dict(tensors(), **changes), tensors().values())
    kind = UnsupportedModelError if what in ("other kind", "complex") else ModelFormatError
    refused(path, message, kind)


# A pair of pairs of pairs ..., each the one before twice: its text would have 2 ** 60 letters.
DOUBLED = b"]" + b"".join(b"p%d\ng%d\n\x86" % (k, k) for k in range(60))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"V0\nVcpu", DOUBLED + b"Vcpu", "a tensor has no storage"),
        (b"(I12\nI2\nt", b"(" + DOUBLED + b"t", "lengths of 0 or more"),
        (b"(I12\nI2\nt", DOUBLED, "lengths of 0 or more"),
        (b"ctorch\nFloatStorage\n", DOUBLED, "a tensor has no storage"),
        (b"ctorch\nFloatStorage\n", DOUBLED + b"Vx\n\x93", "names what has no name"),
        (b"Vstorage\n", DOUBLED, "a tensor has no storage"),
        (b"I24\n", b"\x8b" + struct.pack("<i", 1 << 20) + b"\x7f" * (1 << 20), "lengths of 0"),
        (b"Vweight_ih_l0\n", DOUBLED, "expected the tensors of an LSTM"),
        (
            b"}Vweight_ih_l0\n",
            b"}Va\n" + DOUBLED + b"sVweight_ih_l0\n",
            r"more than an LSTM: a \(weights of unknown",
        ),
    ],
)
def test_text_without_end(tmp_path, old, new, message):
    named = tensors()
    pickled = state_dict(named).replace(old, new, 1)
    assert new in pickled
    path = archive(tmp_path / "model.pt", pickled, named.values())
    refused(path, message)


def test_hostile_archives(tmp_path):
    path, named = tmp_path / "model.pt", tensors()
    archive(path, state_dict(named), list(named.values())[:-1])
    refused(path, "storage 7 takes 48 bytes, there is nothing")
    archive(path, state_dict(named), named.values(), byteorder="big")
    refused(path, "another byte order", UnsupportedModelError)
    archive(path, b"(" * (9 << 20), compression=zipfile.ZIP_DEFLATED)
    refused(path, "a pickle of 9437184 bytes")
    archive(path, b"." * (17 << 20), compression=zipfile.ZIP_DEFLATED)
    refused(path, "refuses to unfold")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", b"}.")
        file.writestr("b/data.pkl", b"}.")
    refused(path, r"expected one data\.pkl")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model/model.json", b"{}")
    refused(path, r"expected one data\.pkl")
    for content in (b"", b"hello", b"\x80", b"\x80\x02}.", b"PK"):
        path.write_bytes(content)
        refused(path, ".")


def test_views(tmp_path):
    """Transposed, sliced, and several tensors in one storage."""
    named = tensors((2, 3))
    a, b, c, d = named.values()
    wide = np.zeros((12, 6), "f4")
    wide[:, ::2] = b
    items = {
        "weight_ih_l0": tensor("0", (12, 2), strides=(1, 12), count=24),
        "weight_hh_l0": tensor("1", (12, 3), strides=(6, 2), count=72),
        "bias_ih_l0": tensor("2", (12,), offset=5, count=29),
        "bias_hh_l0": tensor("2", (12,), offset=17, count=29),
    }
    pickled = b"}" + b"".join(b"V%s\n%ss" % (k.encode(), v) for k, v in items.items()) + b"."
    shared = np.concatenate([np.ones(5, "f4"), c, d])
    path = archive(tmp_path / "model.pt", pickled, [np.ascontiguousarray(a.T), wide, shared])
    assert_same(load(path), from_torch(named))


def test_narrow_numbers(tmp_path):
    """Half precision and bfloat16, the upper half of a float32, as float32."""
    wide = {name: a.view("u4") >> 16 << 16 for name, a in tensors().items()}
    expected = from_torch({name: a.view("f4") for name, a in wide.items()})
    halves = {name: (a >> 16).astype("u2") for name, a in wide.items()}
    for kind, stored, model in (
        ("BFloat16Storage", halves, expected),
        *[
            (kind, {name: a.astype(dtype) for name, a in tensors().items()}, None)
            for kind, dtype in (("HalfStorage", "f2"), ("DoubleStorage", "f8"))
        ],
    ):
        pickled = state_dict(stored).replace(b"FloatStorage", kind.encode())
        path = archive(tmp_path / "model.pt", pickled, stored.values())
        assert_same(load(path), from_torch(stored) if model is None else model)


def test_a_flipped_weight_in_an_archive_is_noticed(tmp_path):
    named = tensors()
    path = archive(tmp_path / "model.pt", state_dict(named), named.values())
    true = named["weight_hh_l1"].tobytes()
    content = path.read_bytes()
    assert content.count(true) == 2  # layers 0 and 1 have the same
    path.write_bytes(content.replace(true, bytes([true[0] ^ 1]) + true[1:]))
    refused(path, "storage 1 is damaged: Bad CRC-32")


def test_a_whole_module_is_refused():
    path = GOLDEN / "whole_module.pt"
    refused(path, r"Python objects \(__main__.Forecaster\), .*state_dict", UnsupportedModelError)


def test_code_of_torchscript_is_not_looked_at(tmp_path):
    """The archive loads the same with nonsense for code."""
    expected = load(GOLDEN / "scripted.pt", head="tail")
    path = tmp_path / "scripted.pt"
    with zipfile.ZipFile(GOLDEN / "scripted.pt") as source, zipfile.ZipFile(path, "w") as target:
        for info in source.infolist():
            code = "/code/" in info.filename or "constants" in info.filename
            target.writestr(info.filename, b"\xff" if code else source.read(info))
    assert load(path, head="tail") == expected


def test_containers_of_pickles():
    value = {"a": [1, 2.5, None, True], "b": ("y", (), {}), 3: {"c": [[]]}, "long": 1 << 90}
    value["again"] = value["a"]
    for protocol in range(6):
        again = read_pickle(io.BytesIO(pickle.dumps(value, protocol)))
        assert again == value
        assert again["again"] is again["a"]
        assert sorted(read_pickle(io.BytesIO(pickle.dumps({2, 1}, protocol)))) == [1, 2]
        ordered = OrderedDict(b=1, a=2)
        assert read_pickle(io.BytesIO(pickle.dumps(ordered, protocol))) == ordered
    assert read_pickle(io.BytesIO(pickle.dumps([b"x" * 300, b"y"], 4))) == [b"x" * 300, b"y"]


# with torch


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_files_of_torch(tmp_path, torch, old, protocol):
    path = tmp_path / "model.pth"
    options = {"_use_new_zipfile_serialization": not old, "pickle_protocol": protocol}
    module = torch.nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2)
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        module.to(dtype)
        for content in (
            module.state_dict(),
            dict(module.named_parameters()),
            {"model": module.state_dict(), "step": torch.tensor(3), "size": torch.Size([1, 2])},
            {"model": module.state_dict(), "dtype": torch.float32, "set": {1, 2}},
        ):
            torch.save(content, path, **options)
            assert_same(load(path), from_torch(module))


@pytest.mark.parametrize("old", [False, True])
def test_views_of_storages(tmp_path, torch, old):
    """Transposed, sliced and shared: what counts is what the tensor shows."""
    named = {name: torch.from_numpy(value) for name, value in (tensors() | fc()).items()}
    expected = from_torch(named, head="fc")
    named["weight_ih_l0"] = named["weight_ih_l0"].T.contiguous().T
    shared = torch.cat([named["bias_ih_l0"], named["bias_hh_l0"], torch.ones(5)])
    named["bias_ih_l0"], named["bias_hh_l0"] = shared[:12], shared[12:24]
    wide = torch.zeros(12, 6)
    wide[:, ::2] = named["weight_hh_l1"]
    named["weight_hh_l1"] = wide[:, ::2]
    assert not named["weight_hh_l1"].is_contiguous()
    path = tmp_path / "views.pt"
    torch.save(named, path, _use_new_zipfile_serialization=not old)
    assert_same(load(path, head="fc"), expected)


@pytest.mark.parametrize("old", [False, True])
def test_whole_modules_of_torch(tmp_path, torch, old):
    path = tmp_path / "model.pt"
    torch.save(torch.nn.LSTM(2, 3), path, _use_new_zipfile_serialization=not old)
    refused(path, r"torch.nn.modules.rnn.LSTM\), .*state_dict", UnsupportedModelError)
