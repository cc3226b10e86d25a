"""``.pt`` files: torch's tensors without torch, and nothing of a file's code is executed."""

import io
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from model_files import assert_same, changed_bytes_load_or_are_refused, fc, refused, tensors

from fastlstm import from_torch, load
from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats import budget
from fastlstm.formats.torch.pickles import read_pickle
from fastlstm.loading import contents

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


def test_changed_bytes(whole):
    changed_bytes_load_or_are_refused(whole, whole.read_bytes(), 400)


# what a pickle says, and the error
HOSTILE = {
    "os.system": (b"cos\nsystem\n(Vtouch hacked\ntR.", r"asks to call os.system.*hostile"),
    "posix.system": (b"cposix\nsystem\n(Vtouch hacked\ntR.", "nothing was executed"),
    "eval": (b"cbuiltins\neval\n(V1\ntR.", "asks to call builtins.eval"),
    "exec of Python 2": (b"c__builtin__\nexecfile\n(V1\ntR.", "an object of __builtin__.execfile"),
    "open": (b"c__builtin__\nopen\n(Vhacked\nVw\ntR.", "asks to call __builtin__.open"),
    "popen": (b"csubprocess\nPopen\n(Vls\ntR.", "asks to call subprocess.Popen"),
    "getattr": (b"c__builtin__\ngetattr\n(ctorch\nFloatStorage\nVmro\ntR.", "__builtin__.getattr"),
    "attrgetter": (b"coperator\nattrgetter\n(Vmro\ntR.", "an object of operator.attrgetter"),
    "partial": (b"cfunctools\npartial\n(cos\nsystem\ntR.", "asks to call os.system"),
    "an inert partial": (b"cfunctools\npartial\n(cbuiltins\nprint\ntR.", "of functools.partial"),
    "a call of a result": (
        b"coperator\nattrgetter\n(Vmro\ntR)R.",
        "calls something that is not a function",
    ),
    "stack_global": (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R.", "os.system"),
    "a module": (b"c__main__\nNet\n)\x81}b.", "an object of __main__.Net"),
    "a state of no module": (b"c__main__\nNet\n)\x81Vx\nb.", "an object of __main__.Net"),
    "torch.load": (b"ctorch\nload\n(Vx\ntR.", "an object of torch.load"),
    "beside tensors": (state_dict(tensors())[:-1] + b"Vx\ncos\nsystem\n(Vls\ntRs.", "os.system"),
    "an instance": (b"(ios\nsystem\n.", "asks to call os.system"),
    "an object": (b"(cos\nsystem\no.", "asks to call os.system"),
    "an extension": (b"\x82\x01.", "EXT1 has no place"),
    "text persistent id": (b"Pabc\n.", "PERSID has no place"),
    "nothing": (b"", "damaged|no end"),
    "no end": (b"}", "damaged|no end"),
    "pop of nothing": (b".", "takes more off its stack than"),
    "pop of a mark": (b"(.", "takes more off its stack than"),
    "no mark": (b"}t.", "damaged"),
    "no memo": (b"h\x07.", "damaged"),
    "items of a list": (b"]V1\nV2\ns.", "sets items of something that is not a dict"),
    "odd items": (b"}(V1\nu.", "sets items"),
    "appends to a dict": (b"}V1\na.", "appends to something that is not a list"),
    "a list as key": (b"}]V1\ns.", "key that cannot be one"),
    "state of a list": (b"]}b.", "a state to something that has none"),
    "state of a function": (
        b"ctorch._utils\n_rebuild_tensor_v2\n}b.",
        "a state to something that has none",
    ),
    "calls a number": (b"I1\n)R.", "calls something that is not a function"),
    "claims a long text": (b"\x8d\xff\xff\xff\xff\xff\xff\xff\x3fab.", "damaged"),
    "claims long bytes": (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x3fab.", "damaged"),
    "claims a long number": (b"\x8b\xff\xff\xff\x7fab.", "damaged"),
    "a list": (b"].", "expected a state_dict, .* got a list"),
    "a number": (b"I1\n.", "expected a state_dict, .* got a int"),
    "no LSTM": (b"}.", "expected the tensors of an LSTM"),
    "many steps": (b"(" * 300_000, "more steps than"),
    "deep": (b"]" * 110_000 + b"a" * 109_999 + b".", "more steps than"),
    "deep tuples as a key": (b"}" + b")" + b"\x85" * 60_000 + b"V1\ns.", "tensors of an LSTM"),
    "a long name": (
        b"}V%s\n}V1\n%sss." % (b"a" * 5000, tensor("0", (1,))),
        "name of 500. letters|expected",
    ),
    "a long class": (b"c%s\nb\n." % (b"a" * 5000), "names a class by more than"),
    "a tensor of no storage": (
        b"}Vweight_ih_l0\nctorch._utils\n_rebuild_tensor_v2\n(I1\nI0\n)))tRs.",
        "damaged|no storage",
    ),
    "too few arguments": (b"ctorch._utils\n_rebuild_tensor_v2\n)R.", "damaged|no storage"),
    "an array of no shape": (
        b"cnumpy.core.multiarray\n_reconstruct\n)R(I1\nVa\n)I00\n)tb.",
        "shape",
    ),
    "an array of no state": (b"cnumpy.core.multiarray\n_reconstruct\n)RNb.", "state of an array"),
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
    if what in ("deep", "many steps"):
        monkeypatch.setattr(budget, "STEPS", 40_000)
    refused(path, message)
    assert not (tmp_path / "hacked").exists()


# of the first tensor, weight_ih_l0 (12, 2), and the error
TENSORS = {
    "larger than the file": ({"count": 1 << 50}, "storage 0 takes .* has 96 bytes"),
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
    "negative length": ({"shape": (-12, -2), "count": 24}, "a shape of 0 or more"),
    "negative stride": ({"shape": (12, 2), "strides": (-2, 1), "count": 24}, "a shape of 0 or"),
    "negative offset": ({"shape": (12, 2), "offset": -1, "count": 24}, "a shape of 0 or more"),
    "strides of another rank": ({"shape": (12, 2), "strides": (1,), "count": 24}, "do not fit"),
    "many axes": ({"shape": (1,) * 40, "count": 24}, "do not fit"),
    "other kind": ({"shape": (12, 2), "kind": "IntStorage"}, "expected float64, .* got int32"),
    "wider kind": ({"shape": (12, 2), "kind": "DoubleStorage"}, "storage 0 takes 192 bytes"),
    "complex": ({"shape": (12, 2), "kind": "ComplexFloatStorage"}, "storage 0 takes 192 bytes"),
    "quantized": ({"shape": (12, 2), "kind": "QInt8Storage"}, "a tensor of 'QInt8Storage'"),
    "strides beyond memory": ({"shape": (12, 1), "strides": (1, 1 << 62)}, "a shape of 0 or more"),
}


@pytest.mark.parametrize("what", TENSORS)
def test_hostile_tensors(tmp_path, what):
    changes, message = TENSORS[what]
    path = archive(tmp_path / "model.pt", state_dict(tensors(), **changes), tensors().values())
    kind = UnsupportedModelError if what in ("other kind", "quantized") else ModelFormatError
    refused(path, message, kind)


# A pair of pairs of pairs ..., each the one before twice: its text would have 2 ** 60 letters.
DOUBLED = b"]" + b"".join(b"p%d\ng%d\n\x86" % (k, k) for k in range(60))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"V0\nVcpu", DOUBLED + b"Vcpu", "a tensor has no storage"),
        (b"(I12\nI2\nt", b"(" + DOUBLED + b"t", "a shape of 0 or more"),
        (b"(I12\nI2\nt", DOUBLED, "a shape of 0 or more"),
        (b"ctorch\nFloatStorage\n", DOUBLED, "a tensor has no storage"),
        (
            b"ctorch\nFloatStorage\n",
            DOUBLED + b"Vx\n\x93",
            "names a class by something other than text",
        ),
        (b"Vstorage\n", DOUBLED, "a tensor has no storage"),
        (b"I24\n", b"\x8b" + struct.pack("<i", 1 << 20) + b"\x7f" * (1 << 20), "of 8388607 bits"),
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
    refused(path, "storage 7 takes 48 bytes, but the archive has nothing")
    archive(path, state_dict(named), named.values(), byteorder="big")
    refused(path, "another byte order", UnsupportedModelError)
    archive(path, b"." * (17 << 20), compression=zipfile.ZIP_DEFLATED)
    refused(path, "refusing to unpack")
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


COPIES = (
    b"ccollections\nOrderedDict\nq\x00}("
    + b"".join(b"M%sN" % struct.pack("<H", k) for k in range(3000))
    + b"uq\x01("
    + b"h\x00h\x01\x85R" * 1500
    + b"l."
)
NAMES = b"}(V%s\n}(V0\n%sp1\n" % (b"a" * 4000, tensor("0", (1,)))
NAMES += b"".join(b"V%d\ng1\n" % k for k in range(1, 5000)) + b"uu."


@pytest.mark.parametrize("pickled", [COPIES, NAMES], ids=["copies of a dict", "long names"])
def test_a_budget_of_memory(tmp_path, monkeypatch, pickled):
    """What would take 400 MB of copies, or 20 MB of names, in a file of a few kilobytes."""
    monkeypatch.setattr(budget, "MEMORY", 1 << 24)
    one = [np.zeros(1, "f4")]
    path = archive(tmp_path / "model.pt", pickled, one, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 30_000
    tracemalloc.start()
    with pytest.raises(ModelFormatError, match="more memory than"):
        load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6


def test_a_storage_that_many_tensors_share(tmp_path):
    """Layer after layer of the same 4 MB, in a file of 20 KB."""
    items = {
        f"weight_{kind}_l{k}": tensor("0", (1 << 11, 1 << 9))
        for k in range(60)
        for kind in ("ih", "hh")
    }
    pickled = b"}" + b"".join(b"V%s\n%ss" % (k.encode(), v) for k, v in items.items()) + b"."
    shared = np.zeros(1 << 20, "f4")
    path = archive(tmp_path / "model.pt", pickled, [shared], zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 25_000
    with pytest.raises(ModelFormatError, match="more memory than"):
        load(path)


def test_a_member_that_is_longer_than_it_says(tmp_path):
    """The directory says 96 bytes, and 38 MB would unfold."""
    named, claimed = list(tensors().values()), tensors()["weight_ih_l0"].nbytes
    long = np.concatenate([named[0].ravel(), np.zeros(9 << 20, "f4")])
    path = archive(
        tmp_path / "model.pt", state_dict(tensors()), [long, *named[1:]], zipfile.ZIP_DEFLATED
    )
    raw, size = path.read_bytes(), struct.pack("<I", long.nbytes)
    assert raw.count(size) == 2
    path.write_bytes(raw.replace(size, struct.pack("<I", claimed)))
    refused(path, "storage 0 is damaged: Bad CRC-32")


RESULTS = np.load(GOLDEN / "pickles.npz")


def test_whole_modules():
    """The modules in a pickle say what a live one says: activations, Dropout, Softmax."""
    model = load(GOLDEN / "pickled_module_old.pt", head="fc")
    assert [str(dense.activation) for dense in model.head] == ["leaky_relu(0.3)", "linear"]
    found = model.predict(RESULTS["old_x"])
    np.testing.assert_allclose(found, RESULTS["pickled_module_old"], atol=2e-6)
    hints = {"embedding": "emb", "head": "fc", "activation": "softmax", "read": "final"}
    model = load(GOLDEN / "pickled_module.pt", **hints)
    found = model.predict(RESULTS["ids"])
    np.testing.assert_allclose(found, RESULTS["pickled_module"], atol=2e-6)
    files = np.load(GOLDEN / "files.npz")
    found = load(GOLDEN / "whole_module.pt", head="tail").predict(files["x"])
    np.testing.assert_allclose(found, files["scripted"], atol=2e-6)


def test_what_a_whole_module_computes_besides(tmp_path):
    with pytest.raises(UnsupportedModelError, match=r"more than .*'out \(Softmax\)'"):
        load(GOLDEN / "pickled_module.pt", embedding="emb", head="fc")
    with zipfile.ZipFile(GOLDEN / "pickled_module.pt") as source:
        top = source.namelist()[0].partition("/")[0]
        pickled = source.read(f"{top}/data.pkl").replace(
            b"torch.nn.modules.rnn", b"other.nn.modules.rnn"
        )
        storages = [
            source.read(f"{top}/data/{k}")
            for k in range(100)
            if f"{top}/data/{k}" in source.namelist()
        ]
    path = archive(tmp_path / "own.pt", pickled, [np.frombuffer(k, "u1") for k in storages])
    refused(path, "lstm is a LSTM, not torch's", UnsupportedModelError)


@pytest.mark.parametrize("home", ["numpy._core", "numpy.core"])
def test_checkpoints_of_lightning(tmp_path, home):
    """Configurations, dates, enums and arrays beside the weights are not looked at."""
    path = tmp_path / "model.ckpt"
    with zipfile.ZipFile(GOLDEN / "lightning.ckpt") as source, zipfile.ZipFile(path, "w") as target:
        for info in source.infolist():
            content = source.read(info)
            if info.filename.endswith("data.pkl"):
                assert b"numpy._core.multiarray" in content
                content = content.replace(b"numpy._core", home.encode())
            target.writestr(info.filename, content)
    hints = {"prefix": "model.lstm", "head": ["model.fc.0", "fc.2"]}
    model = load(path, **hints, activation=[("leaky_relu", 0.3), None])
    found = model.predict(RESULTS["x"])
    np.testing.assert_allclose(found, RESULTS["lightning"], atol=2e-6)
    refused(path, r"more than an LSTM: model.fc.0")


PARAMETER = {
    "torch 0.1": b"ctorch.nn.parameter\nParameter\n(%sI01\nI00\ntR",
    "a variable": b"ctorch.autograd.variable\nVariable\n(%stR",
    "_rebuild_parameter": b"ctorch._utils\n_rebuild_parameter\n(%sI01\n}tR",
    "with state": b"ctorch._utils\n_rebuild_parameter_with_state\n(%sI01\n}}tR",
    "with attributes": (
        b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_parameter\n"
        b"ctorch.nn.parameter\nParameter\n(%sI01\n}t}tR"
    ),
}


@pytest.mark.parametrize("kind", PARAMETER)
def test_modules_and_parameters_of_all_times(tmp_path, kind):
    """An LSTM as old torch pickled it, with attributes that have gone and come since."""
    named = tensors()
    items = b"".join(
        b"V%s\n%ss" % (name.encode(), PARAMETER[kind] % tensor(str(k), value.shape))
        for k, (name, value) in enumerate(named.items())
    )
    state = (
        b"}V_parameters\nccollections\nOrderedDict\n(](](Vbias\nNeetR%ssV_modules\n}sV_buffers\n}s"
        b"V_all_weights\n](](Vweight_ih_l0\neesV_data_ptrs\n]sVbatch_first\nI01\nsVbias\nI01\ns"
        b"V_backend\nctorch.nn.backends.thnn\n_get_thnn_function_backend\n)Rs"
    ) % items
    for made in (b"ctorch.nn.modules.rnn\nLSTM\n)\x81", b"(itorch.nn.modules.rnn\nLSTM\n"):
        path = archive(tmp_path / "model.pt", made + state + b"b.", named.values())
        assert_same(load(path), from_torch(named))
    copied = b"ccopy_reg\n_reconstructor\n(ctorch.nn.modules.rnn\nLSTM\nc__builtin__\nobject\nNtR"
    path = archive(tmp_path / "model.pt", copied + state + b"b.", named.values())
    assert_same(load(path), from_torch(named))


@pytest.mark.parametrize("protocol", range(2, 6))
def test_arrays_of_numpy(tmp_path, protocol):
    named = tensors()
    stored = {
        name: a if k % 2 else np.asfortranarray(a) for k, (name, a) in enumerate(named.items())
    }
    stored["bias_ih_l0"] = stored["bias_ih_l0"].astype(">f4")
    about = {"mean": np.float64(0.5), "seen": np.array(["a"], object), "day": np.datetime64(0, "s")}
    content = {
        "model": stored,
        "about": about | {"kind": np.dtype(">f4"), "text": np.array(["ab"])},
    }
    path = archive(tmp_path / "model.pt", pickle.dumps(content, protocol))
    assert_same(load(path), from_torch(named))
    read = read_pickle(io.BytesIO(pickle.dumps([np.float32(0.1), np.int64(-3)], protocol)))
    assert len(read) == 2


def test_a_tensor_that_shows_the_negative_of_its_numbers(tmp_path):
    """Torch keeps that apart from the numbers; with them alone the sign would be wrong."""
    named = tensors()
    pickled = state_dict(named)
    end = b"ccollections\nOrderedDict\n)RtR"
    assert end in pickled
    changed = pickled.replace(end, end[:-2] + b"}Vneg\nI01\nstR", 1)
    path = archive(tmp_path / "model.pt", changed, named.values())
    refused(path, "the negative or conjugate", UnsupportedModelError)


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
@pytest.mark.parametrize("protocol", [2, 4])
def test_whole_modules_of_torch(tmp_path, torch, old, protocol):
    """They load as the live ones do."""
    path = tmp_path / "model.pt"
    options = {"_use_new_zipfile_serialization": not old, "pickle_protocol": protocol}
    for module in (
        torch.nn.LSTM(2, 3),
        torch.nn.LSTM(2, 3, 2, bidirectional=True, proj_size=2, batch_first=True, bias=False),
        torch.nn.LSTMCell(2, 3),
    ):
        torch.save(module, path, **options)
        assert_same(load(path), from_torch(module))
        torch.save({"net": torch.nn.DataParallel(module), "epoch": 3}, path, **options)
        assert_same(load(path), from_torch(module))
    for module, kind in ((torch.nn.GRU(2, 3), "a GRU"), (torch.nn.RNN(2, 3), "a plain RNN")):
        torch.save(module, path, **options)
        refused(path, f"layer 0 is {kind}", UnsupportedModelError)


def test_a_type_that_is_a_tuple_of_tuples_is_not_written_out(tmp_path):
    """Twelve times a pair of the one before: its text has 40,000 letters, of 28 2 billion."""
    pickled = b"\x80\x02}(X\x04\x00\x00\x00a.bcctorch._tensor\n_rebuild_from_type_v2\n("
    pickled += b"ctorch._utils\n_rebuild_tensor_v2\n)" + b"2\x86" * 12 + b")NtRu."
    path = archive(tmp_path / "model.pt", pickled)
    assert contents(path)[1] == {"a.bc": "a tensor of a class of its own"}


def test_numbers_whose_text_takes_long():
    assert read_pickle(io.BytesIO(pickle.dumps(1 << 1000, 2))) == 1 << 1000
    with pytest.raises(ModelFormatError, match="a number of 8001 bits"):
        read_pickle(io.BytesIO(pickle.dumps(1 << 8000, 2)))
