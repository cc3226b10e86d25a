"""Models from torch and from files: equal bits, nothing dropped, no trust."""

import contextlib
import io
import json
import os
import struct
import sys
import time
import tracemalloc
import zipfile
from itertools import pairwise

import numpy as np
import pytest

from fastlstm import Dense, Layer
from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats import load
from fastlstm.formats.native import SUFFIXES
from fastlstm.formats.torch import from_torch
from fastlstm.model import LSTM

IN_TORCH = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def random(*shape, dtype="float32", seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def tensors(sizes=(2, 3, 3), root="", dtype="float32", biases=True):
    """A state_dict of an LSTM: sizes are those of the input and of each layer."""
    named = {}
    for k, (inputs, hidden) in enumerate(pairwise(sizes)):
        shapes = ((4 * hidden, inputs), (4 * hidden, hidden), (4 * hidden,), (4 * hidden,))
        for seed, (kind, shape) in enumerate(zip(IN_TORCH, shapes, strict=True)):
            if biases or not kind.startswith("bias"):
                named[f"{root}{kind}_l{k}"] = random(*shape, dtype=dtype, seed=seed)
    return named


def fc(name="fc", hidden=3, outputs=2, dtype="float32"):
    return {
        f"{name}.weight": random(outputs, hidden, dtype=dtype),
        f"{name}.bias": random(outputs, dtype=dtype),
    }


def layer_of(named, k=0, root=""):
    return Layer(*(named.get(f"{root}{kind}_l{k}") for kind in IN_TORCH))


def make_model(dtype="float32", biases=True, head=True, return_sequences=False, sizes=(2, 5, 3)):
    named = tensors(sizes, dtype=dtype, biases=biases)
    layers = [layer_of(named, k) for k in range(len(sizes) - 1)]
    dense = Dense(random(2, sizes[-1], dtype=dtype), random(2, dtype=dtype)) if head else None
    return LSTM(layers, head=dense, return_sequences=return_sequences)


def assert_same(a, b):
    assert a.layers == b.layers
    assert a.head == b.head
    assert a.return_sequences is b.return_sequences


# from_torch: mappings


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("biases", [True, False])
def test_mapping(dtype, biases):
    named = tensors((2, 5, 3, 1), dtype=dtype, biases=biases)
    model = from_torch(named)
    assert model.layers == tuple(layer_of(named, k) for k in range(3))
    assert model.dtype == dtype
    assert model.head == ()
    assert model.return_sequences is False
    assert from_torch(named, return_sequences=True).return_sequences is True


@pytest.mark.parametrize("root", ["", "lstm.", "encoder.rnn."])
def test_head_by_name(root):
    named = tensors(root=root) | fc("out.fc")
    head = Dense(named["out.fc.weight"], named["out.fc.bias"])
    prefix = root.removesuffix(".")
    models = [
        from_torch(named, head="out.fc"),
        from_torch(named, prefix=prefix, head="out.fc"),
        from_torch(named, prefix=root, head="out.fc."),
    ]
    for model in models:
        assert model.layers[1] == layer_of(named, 1, root)
        assert model.head == (head,)
    del named["out.fc.bias"]
    assert from_torch(named, head="out.fc").head == (Dense(head.weight),)
    if root:
        assert from_torch(named, prefix=prefix).head == ()


@pytest.mark.parametrize(
    "head", [Dense(random(2, 3), random(2)), (random(2, 3), random(2)), [random(2, 3), random(2)]]
)
def test_head_by_value(head):
    assert from_torch(tensors(), head=head).head == (Dense(random(2, 3), random(2)),)


def test_head_as_a_number():
    named = tensors((1, 1))
    assert from_torch(named, head=4).head == (Dense(np.array([[4]], "f4")),)


def test_one_of_two_by_prefix():
    named = tensors(root="encoder.") | tensors((3, 7), root="decoder.") | fc(hidden=7)
    assert from_torch(named, "decoder").layers == (layer_of(named, 0, "decoder."),)
    with pytest.raises(ValueError, match=r"expected one LSTM, got 2: .*\['encoder', 'decoder'\]"):
        from_torch(named, head="fc")


def test_half_precision_is_widened():
    named = tensors(dtype="float16")
    model = from_torch(named)
    assert model.dtype == np.float32
    np.testing.assert_array_equal(model.layers[0].w_hh, named["weight_hh_l0"].astype("f4"))


def without(*names):
    return {name: value for name, value in (tensors() | fc()).items() if name not in names}


def swapped(name, value):
    return tensors() | {name: value}


NAN = random(12)
NAN[5] = np.nan

# what, arguments, error, message
REFUSED = {
    "reverse": (
        tensors() | {f"{kind}_l1_reverse": random(1) for kind in IN_TORCH},
        {},
        UnsupportedModelError,
        "layer 1 has a reverse direction",
    ),
    "projection": (
        swapped("weight_hr_l1", random(2, 3)),
        {},
        UnsupportedModelError,
        r"layer 1 has a projection \(proj_size\)",
    ),
    "peephole": (
        swapped("peephole_o_l0", random(3)),
        {},
        UnsupportedModelError,
        "layer 0 has peepholes",
    ),
    "activations": (
        tensors(),
        {"activations": ("hardsigmoid", "tanh", "tanh")},
        UnsupportedModelError,
        "activations=.*hardsigmoid.*computes",
    ),
    "gru": (
        {"weight_ih_l0": random(9, 2), "weight_hh_l0": random(9, 3)},
        {},
        UnsupportedModelError,
        r"layer 0 is a GRU, not an LSTM: weight_hh_l0 has shape \(9, 3\)",
    ),
    "rnn": (
        {"weight_ih_l0": random(3, 2), "weight_hh_l0": random(3, 3)},
        {},
        UnsupportedModelError,
        "layer 0 is a plain RNN",
    ),
    "integers": (
        swapped("bias_hh_l1", np.zeros(12, np.int8)),
        {},
        UnsupportedModelError,
        "bias_hh_l1: expected .* got int8",
    ),
    "unknown weight": (
        swapped("weight_xx_l0", random(3)),
        {},
        ValueError,
        "weight_xx_l0: not a weight of an LSTM",
    ),
    "odd layer number": (
        swapped("weight_ih_l01", random(3)),
        {},
        ValueError,
        "weight_ih_l01: not a weight of an LSTM",
    ),
    "no hidden weight": (
        without("weight_hh_l1"),
        {"head": "fc"},
        ValueError,
        "layer 1: there is no tensor weight_hh_l1",
    ),
    "layer left out": (
        without("weight_ih_l1", "weight_hh_l1", "bias_ih_l1", "bias_hh_l1")
        | {"weight_ih_l2": random(12, 3)},
        {"head": "fc"},
        ValueError,
        "layer 1: there is no tensor weight_ih_l1",
    ),
    "no LSTM": (fc(), {}, ValueError, r"weight_ih_l0 first, got \['fc.weight', 'fc.bias'\]"),
    "nothing": ({}, {}, ValueError, r"expected the tensors of an LSTM, .*got \[\]"),
    "head not named": (
        tensors(root="lstm.") | fc(),
        {},
        ValueError,
        r"more than an LSTM: \['fc.weight', 'fc.bias'\].*head='...'; .* prefix='lstm'$",
    ),
    "head not named, plain": (tensors() | fc(), {}, ValueError, r"head='...'; to drop the rest"),
    "more than the head": (
        tensors(root="lstm.") | fc() | fc("out"),
        {"head": "out"},
        ValueError,
        r"LSTM and the head 'out': \['fc.weight', 'fc.bias'\]; to take just .* prefix='lstm'$",
    ),
    "more than the head, plain": (
        tensors() | fc() | {"mean": random(2)},
        {"head": "fc"},
        ValueError,
        r"LSTM and the head 'fc': \['mean'\]; to drop the rest",
    ),
    "more than a head by value": (
        tensors(root="lstm.") | fc(),
        {"head": (random(2, 3), None)},
        ValueError,
        r"more than an LSTM: \['fc.weight', 'fc.bias'\]; .* prefix='lstm'",
    ),
    "no such head": (
        tensors() | fc() | fc("out"),
        {"head": "nothing"},
        ValueError,
        r"no tensor nothing.weight; candidates: \['fc', 'out'\]",
    ),
    "head with more": (
        tensors() | fc() | {"fc.scale": random(1)},
        {"head": "fc"},
        ValueError,
        r"a weight and a bias only, got also \['fc.scale'\]",
    ),
    "head of other size": (
        tensors() | fc(hidden=4),
        {"head": "fc"},
        ValueError,
        r"head: expected a weight of shape \(outputs, 3\).* got \(2, 4\)",
    ),
    "head of other dtype": (
        tensors() | fc(dtype="float64"),
        {"head": "fc"},
        ValueError,
        "head: expected float32 as in the layers, got float64",
    ),
    "no such prefix": (
        tensors(root="lstm."),
        {"prefix": "rnn"},
        ValueError,
        r"there is no rnn.weight_ih_l0; candidates: \['lstm'\]",
    ),
    "shape": (
        swapped("bias_ih_l1", random(9)),
        {},
        ValueError,
        r"layer 1 \(weight_ih_l1 ...\): b_ih: expected shape \(12,\).*got \(9,\)",
    ),
    "sizes of layers": (swapped("weight_ih_l1", random(12, 4)), {}, ValueError, "4"),
    "nan": (swapped("bias_hh_l1", NAN), {}, ValueError, r"layer 1 .*b_hh: expected finite.*\[5\]"),
    "dtypes": (swapped("bias_hh_l1", random(12, dtype="f8")), {}, ValueError, "one dtype"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what):
    source, options, error, message = REFUSED[what]
    with pytest.raises(ValueError, match=message) as caught:
        from_torch(source, **options)
    assert caught.type is error


@pytest.mark.parametrize("source", [None, [1], np.zeros(3)])
def test_not_a_model(source):
    with pytest.raises(TypeError, match="expected a torch module or a mapping of names"):
        from_torch(source)


def test_names_are_text():
    with pytest.raises(TypeError, match="expected names as keys, got 1"):
        from_torch({1: np.zeros(3)})


# from_torch: modules and tensors


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def net(torch):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(2, 3, num_layers=2, batch_first=True, dropout=0.5)
            self.fc = torch.nn.Linear(3, 1)
            self.drop = torch.nn.Dropout(0.5)

    return Net()


def test_module(torch):
    module = torch.nn.LSTM(2, 3, num_layers=2)
    model = from_torch(module)
    expected = {name: value.detach().numpy() for name, value in module.named_parameters()}
    assert model.layers == (layer_of(expected, 0), layer_of(expected, 1))
    assert from_torch(module.state_dict()).layers == model.layers
    assert from_torch(dict(module.named_parameters())).layers == model.layers
    before = model.layers[0].w_ih.copy()
    with torch.no_grad():
        module.weight_ih_l0.zero_()
    np.testing.assert_array_equal(model.layers[0].w_ih, before)


def test_module_that_holds_one(torch, net):
    model = from_torch(net, head="fc")
    assert model.layers == from_torch(net.lstm).layers
    assert model.head == (Dense(net.fc.weight.detach().numpy(), net.fc.bias.detach().numpy()),)
    by_value = from_torch(net, prefix="lstm", head=(net.fc.weight, net.fc.bias))
    assert by_value.head == model.head
    assert from_torch(net, prefix="lstm").head == ()
    with pytest.raises(ValueError, match=r"more than an LSTM: \['fc.weight'"):
        from_torch(net)
    net.norm = torch.nn.LayerNorm(3)
    with pytest.raises(UnsupportedModelError, match="head='norm' is a LayerNorm"):
        from_torch(net, head="norm")
    del net.norm
    net.other = torch.nn.LSTM(1, 1)
    with pytest.raises(ValueError, match=r"candidates: \['lstm', 'other'\]"):
        from_torch(net, head="fc")


def test_modules_beside_the_head(torch, net):
    """Whatever computes, with weights or without, is refused unless a part is asked for."""
    nn = torch.nn
    net.fc = nn.Sequential(nn.Dropout(), nn.Linear(3, 1), nn.Identity(), nn.Sequential())
    head = Dense(net.fc[1].weight.detach().numpy(), net.fc[1].bias.detach().numpy())
    assert from_torch(net, head="fc.1").head == (head,)
    for other in (
        nn.ReLU(),
        nn.Sigmoid(),
        nn.Softmax(1),
        nn.LayerNorm(1, elementwise_affine=False),
    ):
        net.fc[2] = other
        kind = type(other).__name__
        with pytest.raises(UnsupportedModelError, match=rf"\['fc.2 \({kind}\)'\]; .*prefix='lstm'"):
            from_torch(net, head="fc.1")
        assert from_torch(net, prefix="lstm", head="fc.1").head == (head,)
    for other in (nn.LayerNorm(1), nn.BatchNorm1d(1), nn.Linear(1, 1)):
        net.fc[2] = other
        for source in (net, net.state_dict()):
            with pytest.raises(ValueError, match=r"head 'fc.1': \['fc.2.weight', 'fc.2.bias'"):
                from_torch(source, head="fc.1")
    net.fc = nn.ReLU()
    with pytest.raises(UnsupportedModelError, match=r"\['fc \(ReLU\)'\]"):
        from_torch(net)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript(torch):
    """Its modules' types do not say what they are."""
    nn = torch.nn
    net = nn.Sequential(nn.LSTM(2, 3), nn.Linear(3, 1))
    holder = nn.ModuleDict({"lstm": net[0], "out": net[1]})
    script = torch.jit.script(holder)
    assert_same(from_torch(script, head="out"), from_torch(holder, head="out"))
    holder["relu"] = nn.ReLU()
    with pytest.raises(UnsupportedModelError, match=r"relu \(ReLU\)"):
        from_torch(torch.jit.script(holder), head="out")


def test_masks_are_not_dropped():
    masked = {name: np.ma.array(a, mask=a > 1) for name, a in tensors().items()}
    with pytest.raises(TypeError, match="the mask would be lost"):
        from_torch(masked)
    with pytest.raises(TypeError, match="the mask would be lost"):
        from_torch(tensors(), head=(np.ma.array(random(2, 3)), None))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bidirectional": True}, "layer 0 has a reverse direction"),
        ({"proj_size": 2}, "layer 0 has a projection"),
    ],
)
def test_modules_with_more(torch, options, message):
    with pytest.raises(UnsupportedModelError, match=message):
        from_torch(torch.nn.LSTM(2, 3, **options))
    with pytest.raises(UnsupportedModelError, match="layer 0 is a GRU"):
        from_torch(torch.nn.GRU(2, 3))


def test_half_precision_tensors(torch):
    for dtype in (torch.bfloat16, torch.float16):
        module = torch.nn.LSTM(2, 3, dtype=dtype)
        model = from_torch(module)
        assert model.dtype == np.float32
        expected = module.weight_hh_l0.detach().float().numpy()
        np.testing.assert_array_equal(model.layers[0].w_hh, expected)


def test_arrays_need_no_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it would fail
    assert from_torch(tensors() | fc(), head="fc").head


# files


@pytest.fixture(params=SUFFIXES)
def suffix(request):
    if request.param == ".safetensors":
        pytest.importorskip("safetensors")
    return request.param


EXTREMES = [0.1, -0.0, 5e-324, 1e-40, 1e-45, 16777217.0, 3.4028234e38, 2 / 3]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dtype": "float64"},
        {"biases": False},
        {"head": False},
        {"return_sequences": True},
        {"sizes": (1, 1)},
        {"sizes": (3, 1, 7, 2)},
    ],
    ids=str,
)
def test_saved_and_loaded(tmp_path, suffix, options):
    model = make_model(**options)
    path = model.save(tmp_path / f"model{suffix}")
    assert path == tmp_path / f"model{suffix}"
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    again = load(path)
    assert_same(again, model)
    assert hash(again) == hash(model)
    assert load(model.save(str(path).replace("model", "M"))).layers == model.layers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_bit_of_a_weight(tmp_path, suffix, dtype):
    w_ih = np.array(EXTREMES, dtype)[:, None]
    model = LSTM([Layer(w_ih, random(8, 2, dtype=dtype), None, random(8, dtype=dtype))])
    (layer,) = load(model.save(tmp_path / f"model{suffix}")).layers
    assert layer.w_ih.tobytes() == w_ih.tobytes()
    assert layer == model.layers[0]
    assert layer.b_ih is None


def test_suffix_in_capitals_and_a_path_with_dots(tmp_path, suffix):
    path = tmp_path / f"my.model.v2{suffix.upper()}"
    assert_same(load(make_model().save(path)), make_model())


def test_a_failed_save_leaves_the_old_file(tmp_path, suffix, monkeypatch):
    model, path = make_model(), tmp_path / f"model{suffix}"
    model.save(path)
    monkeypatch.setattr("os.fsync", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_model(dtype="float64").save(path)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    assert_same(load(path), model)


def test_saving_through_a_link_keeps_the_link(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "model.npz"
    link.symlink_to(tmp_path / "real" / "model.npz")
    make_model().save(link)
    assert link.is_symlink()
    assert_same(load(tmp_path / "real" / "model.npz"), make_model())


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_saving_keeps_the_permissions(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    for mode in (0o600, 0o640, 0o666):
        path.touch()
        path.chmod(mode)
        make_model().save(path)
        assert path.stat().st_mode & 0o777 == mode
    new = make_model().save(tmp_path / f"new{suffix}")
    (tmp_path / "plain").touch()
    assert new.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_saving_to_what_is_not_a_file(tmp_path):
    loop = tmp_path / "loop.npz"
    loop.symlink_to(loop)
    (tmp_path / "folder.npz").mkdir()
    for path in (loop, tmp_path / "folder.npz"):
        with pytest.raises(OSError, match=path.name):
            make_model().save(path)
    assert loop.is_symlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.npz")
        with pytest.raises(OSError, match="expected a regular file to replace"):
            make_model().save(tmp_path / "pipe.npz")
    assert not list(tmp_path.glob("*.part"))


def test_saved_npz_and_json_are_plain(tmp_path):
    """The files are documented: NumPy and json read them without this package."""
    model = make_model()
    arrays = np.load(model.save(tmp_path / "model.npz"), allow_pickle=False)
    np.testing.assert_array_equal(arrays["bias_hh_l1"], model.layers[1].b_hh)
    metadata = {
        "format": "fastlstm",
        "version": "1",
        "network": {"layers": 2, "return_sequences": False},
        "tensors": sorted(set(arrays) - {"fastlstm"}),
    }
    assert json.loads(arrays["fastlstm"].item()) == metadata
    content = json.loads(model.save(tmp_path / "model.json").read_text())
    assert content["fastlstm"] == metadata
    assert content["tensors"]["head.bias"] == {
        "dtype": "float32",
        "shape": [2],
        "values": model.head[0].bias.tolist(),
    }


def test_saved_safetensors_are_plain(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    model = make_model()
    arrays = numpy.load_file(model.save(tmp_path / "model.safetensors"))
    assert len(arrays) == 10
    np.testing.assert_array_equal(arrays["head.weight"], model.head[0].weight)


@pytest.mark.parametrize("kind", [".npz", ".safetensors"])
def test_files_with_names_of_torch(tmp_path, kind):
    named, path = tensors(root="lstm.") | fc(), tmp_path / f"torch{kind}"
    write_tensors(path, named)
    assert_same(load(path, head="fc"), from_torch(named, head="fc"))
    assert load(path, prefix="lstm").head == ()
    with pytest.raises(ModelFormatError, match=f"torch{kind}: the model holds more than"):
        load(path)
    with pytest.raises(UnsupportedModelError, match=f"torch{kind}: activations="):
        load(path, prefix="lstm", activations=("relu", "tanh", "tanh"))
    with pytest.raises(TypeError, match="prefiks"):
        load(path, prefiks="lstm")


@pytest.mark.parametrize("kind", [".npz", ".safetensors"])
def test_a_wrong_option_is_no_fault_of_the_file(tmp_path, kind):
    named, path = tensors(root="a.") | fc(), tmp_path / f"torch{kind}"
    write_tensors(path, named | tensors(root="b."))
    for options in ({}, {"head": "fc"}, {"prefix": "c"}, {"prefix": "a", "head": "typo"}):
        with pytest.raises(ValueError, match=rf"torch{kind}: .*candidates") as caught:
            load(path, **options)
        assert caught.type is ValueError
    write_tensors(path, named | fc("out"))
    for options in ({"head": "out"}, {"prefix": "a", "head": (random(2, 4), None)}):
        with pytest.raises(ValueError, match=rf"torch{kind}: ") as caught:
            load(path, **options)
        assert caught.type is ValueError
    write_tensors(path, fc())
    with pytest.raises(ModelFormatError, match="expected the tensors of an LSTM"):
        load(path, prefix="a")


def test_metadata_of_others_in_safetensors(tmp_path):
    write_tensors(tmp_path / "a.safetensors", tensors(), {"format": "pt"})
    assert_same(load(tmp_path / "a.safetensors"), from_torch(tensors()))


def test_half_precision_in_safetensors(tmp_path, torch):
    to_file = pytest.importorskip("safetensors.torch").save_file
    named = {name: torch.from_numpy(value) for name, value in tensors().items()}
    path = tmp_path / "half.safetensors"
    for dtype in (torch.bfloat16, torch.float16):
        narrow = {name: value.to(dtype) for name, value in named.items()}
        to_file(narrow, path)
        assert_same(load(path), from_torch(narrow))
    to_file(named | {"bias_ih_l0": named["bias_ih_l0"].to(torch.int8)}, path)
    with pytest.raises(UnsupportedModelError, match=r"half.safetensors: bias_ih_l0: .*got I8"):
        load(path)


def test_fortran_order_and_other_byte_order_in_npz(tmp_path):
    named = {name: np.asfortranarray(value.astype(">f4")) for name, value in tensors().items()}
    np.savez_compressed(tmp_path / "a.npz", **named)
    assert_same(load(tmp_path / "a.npz"), from_torch(tensors()))


def test_other_numbers_in_npz(tmp_path):
    path = tmp_path / "a.npz"
    for dtype in ("i1", "f16", "c8", "?"):
        np.savez(path, **tensors() | {"bias_hh_l0": np.zeros(12, dtype)})
        with pytest.raises(UnsupportedModelError, match=r"a\.npz: bias_hh_l0: expected float64"):
            load(path)


def test_no_options_for_own_files(tmp_path):
    path = make_model().save(tmp_path / "model.npz")
    with pytest.raises(TypeError, match=r"model.npz was saved by fastlstm .* got \['head'\]"):
        load(path, head="head")


def test_missing_files(tmp_path, suffix):
    for name in (f"model{suffix}", "model.onnx"):
        with pytest.raises(FileNotFoundError, match=name):
            load(tmp_path / name)


@pytest.mark.parametrize("later", [".onnx", ".keras", ".h5", ".pt", ".pth"])
def test_files_of_later_versions(tmp_path, later):
    path = tmp_path / f"model{later}"
    path.write_bytes(b"")
    with pytest.raises(
        UnsupportedModelError, match=rf"does not read {later} .*\.safetensors, \.npz"
    ):
        load(path)
    with pytest.raises(ValueError, match=r"expected a suffix of \.safetensors, \.npz, \.json"):
        make_model().save(path)


def test_other_suffixes(tmp_path):
    for name in ("model.txt", "model"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(ValueError, match=f"{name}: expected a model file of kind .safetensors"):
            load(tmp_path / name)


def test_without_safetensors(tmp_path, monkeypatch):
    (tmp_path / "there.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for call in (make_model().save, load):
        with pytest.raises(ImportError, match=r'pip install "fastlstm\[safetensors\]"'):
            call(tmp_path / "there.safetensors")
    assert len(list(tmp_path.iterdir())) == 1
    assert_same(load(make_model().save(tmp_path / "model.npz")), make_model())


# hostile files


OWN = {"format": "fastlstm", "version": "1", "network": {"layers": 2, "return_sequences": False}}


def write_tensors(path, named, metadata=None):
    """A file as `save` writes it, with whatever tensors and metadata."""
    if metadata is not None and "network" in metadata:
        metadata = {"tensors": sorted(named), **metadata}
    if path.suffix == ".npz":
        own = {} if metadata is None else {"fastlstm": np.array(json.dumps(metadata))}
        np.savez(path, **named, **own)
    elif path.suffix == ".json":
        content = {
            name: {"dtype": str(a.dtype), "shape": a.shape, "values": a.tolist()}
            for name, a in named.items()
        }
        path.write_text(json.dumps({"fastlstm": metadata, "tensors": content}))
    else:
        if metadata is not None:
            metadata = {
                name: value if isinstance(value, str) else json.dumps(value)
                for name, value in metadata.items()
            }
        save_file = pytest.importorskip("safetensors.numpy").save_file
        save_file(named, path, metadata)


def refused(path, message, kind=ModelFormatError):
    """Loading fails at once, without much memory, and the error names the file."""
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    seconds = time.perf_counter() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.type is kind
    assert str(path) in str(caught.value)
    assert seconds < 1
    assert peak < 1 << 25


@pytest.mark.parametrize(
    ("change", "metadata", "message"),
    [
        ({"weight_hh_l1": None}, OWN, "layer 1: there is no tensor weight_hh_l1"),
        ({"bias_ih_l1": random(9)}, OWN, r"b_ih: expected shape \(12,\) .*got \(9,\)"),
        ({"weight_ih_l1": random(12, 4)}, OWN, "4"),
        ({"bias_ih_l0": NAN}, OWN, "nan|NaN"),
        ({"weight_xx_l0": random(1)}, OWN, "weight_xx_l0: not a weight of an LSTM"),
        ({"scale": random(1)}, OWN, r"unknown tensors \['scale'\]"),
        ({"head.bias": random(1)}, OWN, r"unknown tensors \['head.bias'\]"),
        ({"head.weight": random(2, 4)}, OWN, "head: expected a weight of shape"),
        ({"head.weight": random(2, 3), "head.scale": random(1)}, OWN, r"also \['head.scale'\]"),
        ({}, OWN | {"network": {"layers": 3, "return_sequences": False}}, "expected 3 layers, .*2"),
        ({}, OWN | {"network": {"layers": True, "return_sequences": False}}, "number of layers"),
        ({}, OWN | {"tensors": None}, "expected a list of tensors in the metadata"),
        ({}, OWN | {"tensors": [["weight_ih_l0"]]}, "expected a list of tensors in the metadata"),
        ({}, OWN | {"tensors": []}, r"do not list: \['bias_hh_l0'"),
        ({"bias_hh_l1": None}, OWN | {"tensors": sorted(tensors())}, r"missing: \['bias_hh_l1'\]"),
        ({}, OWN | {"network": {"layers": 2}}, "a return_sequences of true or false"),
        ({}, OWN | {"network": [1]}, "expected a network in the metadata"),
    ],
)
def test_wrong_contents(tmp_path, suffix, change, metadata, message):
    named = {name: a for name, a in (tensors() | change).items() if a is not None}
    path = tmp_path / f"model{suffix}"
    write_tensors(path, named, metadata)
    refused(path, message)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (OWN | {"version": "2"}, "version 1, got '2'"),
        (
            OWN | {"network": OWN["network"] | {"bidirectional": True}},
            r"does not compute the options \['bidirectional'\]",
        ),
    ],
)
def test_files_of_a_later_fastlstm(tmp_path, suffix, metadata, message):
    path = tmp_path / f"model{suffix}"
    write_tensors(path, tensors(), metadata)
    refused(path, message, UnsupportedModelError)


def test_no_file_that_is_cut_short_loads(tmp_path, suffix):
    whole = make_model().save(tmp_path / f"model{suffix}").read_bytes()
    path = tmp_path / f"cut{suffix}"
    for length in {0, 1, 7, 8, 9, *range(0, len(whole), len(whole) // 50), len(whole) - 1}:
        path.write_bytes(whole[:length])
        refused(path, ".")


def test_checksums_of_npz_count(tmp_path):
    model = make_model()
    path = model.save(tmp_path / "model.npz")
    true = model.layers[1].w_ih.tobytes()
    false = bytes([true[0] ^ 1]) + true[1:]
    assert path.read_bytes().count(true) == 1
    path.write_bytes(path.read_bytes().replace(true, false))
    refused(path, "weight_ih_l1 is damaged: Bad CRC-32")


def test_changed_bytes_load_or_are_refused_but_nothing_else(tmp_path, suffix):
    whole = make_model().save(tmp_path / f"model{suffix}").read_bytes()
    path, rng = tmp_path / f"changed{suffix}", np.random.default_rng(0)
    refusals = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for at in rng.integers(len(whole), size=rng.integers(1, 4)):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load(path)
        except (ModelFormatError, UnsupportedModelError) as error:
            assert str(path) in str(error)  # noqa: PT017
            refusals += 1
    assert refusals > 20


def npy(shape, data=b"", dtype="<f4", header=None):
    """An array file with any header."""
    text = header or repr({"descr": dtype, "fortran_order": False, "shape": shape})
    raw = text.encode() + b"\n"
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(raw)) + raw + data


def npz(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


PICKLED = io.BytesIO()
np.save(PICKLED, np.array([{}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy((1 << 40, 4)), r"float32 of shape \(1099511627776, 4\) takes \d+ bytes, there are 0"),
        (npy((12, 2), b"\0" * 95), "takes 96 bytes, there are 95"),
        (npy((12, 2), b"\0" * 97), "takes 96 bytes, there are 97"),
        (npy((-12, -2), b"\0" * 96), "a negative length"),
        (npy((0, 1 << 70)), "damaged|expected"),
        (npy((12,), dtype="<U0"), "expected numbers"),
        (npy((12,), PICKLED.getvalue(), dtype="|O"), "expected numbers, got object"),
        (npy((), dtype=[("a", "<f4")]), "expected numbers"),
        (npy((12, 2), dtype="f4)"), "damaged"),
        (npy(0, header="{[]: 1}"), "damaged"),
        (npy(0, header="(" * 9000), "damaged"),
        (npy(0, header="-" * 9000 + "1"), "damaged"),
        (npy(0, header="__import__('os').abort()"), "damaged"),
        (b"\x93NUMPY\x03\x00", "version 1 or 2"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "damaged"),
        (b"not an array", "damaged"),
        (PICKLED.getvalue(), "expected numbers, got object"),
    ],
)
def test_hostile_arrays(tmp_path, content, message):
    path = npz(tmp_path / "model.npz", {"weight_ih_l0": content, "weight_hh_l0": npy((12, 3))})
    refused(path, f"weight_ih_l0.*({message})")


def test_members_that_damage_would_hide(tmp_path):
    """A length in the directory that swallows the entries behind it, or junk around it all."""
    whole = tmp_path / "whole.npz"
    np.savez(whole, **tensors((2, 3)))
    raw, path = whole.read_bytes(), tmp_path / "damaged.npz"
    load(whole)
    entry = raw.index(b"PK\1\2", raw.index(b"PK\1\2") + 1)  # the second of four
    after = raw.index(b"PK\5\6") - raw.index(b"PK\1\2", entry + 1)
    for at in (30, 32):  # the lengths of the extra field and of the comment
        damaged = bytearray(raw)
        damaged[entry + at : entry + at + 2] = struct.pack("<H", after)
        path.write_bytes(damaged)
        refused(path, "expected 4 arrays, found 2|damaged")
    for content in (b"junk" + raw, raw + b"junk", raw[:-2] + b"\4\0junk", raw[:-2] + b"\4\0"):
        path.write_bytes(content)
        refused(path, "expected nothing|damaged")
    path.write_bytes(raw)
    with zipfile.ZipFile(path, "a") as archive:
        archive.getinfo("bias_ih_l0.npy").comment = b"hello"
        archive.writestr("bias_hh_l1.npy", b"")
    refused(path, "expected no comments, 'bias_ih_l0.npy' has one")


def test_a_directory_of_zip64(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    np.savez(tmp_path / "a.npz", **tensors())
    monkeypatch.undo()
    assert b"PK\6\6" in (tmp_path / "a.npz").read_bytes()
    assert_same(load(tmp_path / "a.npz"), from_torch(tensors()))


def test_no_flipped_bit_of_a_directory_hides_a_tensor(tmp_path):
    model, path = make_model(), tmp_path / "model.npz"
    raw = model.save(path).read_bytes()
    for bit in range(8 * raw.index(b"PK\1\2"), 8 * len(raw), 3):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with contextlib.suppress(ModelFormatError, UnsupportedModelError):
            assert_same(load(path), model)


def test_a_bomb_is_not_unfolded(tmp_path):
    zeros = b"\0" * (1 << 23)
    layers = {f"weight_hh_l{k}": npy((1 << 11, 1 << 10), zeros) for k in range(8)}
    path = npz(tmp_path / "bomb.npz", layers)
    assert path.stat().st_size < 1 << 17
    refused(path, r"refuses to unfold \d+ bytes to 67109\d+")


def test_zeros_compress_and_load(tmp_path):
    named = {name: np.zeros_like(a) for name, a in tensors((1, 256)).items()}
    np.savez_compressed(tmp_path / "zeros.npz", **named)
    assert_same(load(tmp_path / "zeros.npz"), from_torch(named))


def test_hostile_archives(tmp_path):
    path = npz(tmp_path / "lzma.npz", {"weight_ih_l0": npy((12, 3))}, zipfile.ZIP_LZMA)
    refused(path, "weight_ih_l0: expected it stored or deflated")

    path = tmp_path / "twice.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.npy", b"")
    refused(path, "the name 'a' is given twice")

    path = tmp_path / "other.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("code.pkl", b"")
    refused(path, "expected arrays .* got 'code.pkl'")

    # A member that claims in all places to be larger than it is.
    content = npy((1 << 20,), b"\0" * 100)
    members = {"weight_ih_l0": content, "weight_hh_l0": npy((12, 3))}
    path = npz(tmp_path / "size.npz", members, zipfile.ZIP_STORED)
    true, claimed = len(content), len(content) - 100 + (4 << 20)
    sizes = [struct.pack("<II", size, size) for size in (true, claimed)]
    assert path.read_bytes().count(sizes[0]) == 2
    path.write_bytes(path.read_bytes().replace(*sizes))
    refused(path, "weight_ih_l0 is damaged")


@pytest.mark.parametrize("own", [np.zeros(3), np.array(["a", "b"]), np.array("[]"), np.array("{")])
def test_hostile_metadata_in_npz(tmp_path, own):
    np.savez(tmp_path / "model.npz", **tensors(), fastlstm=own)
    refused(tmp_path / "model.npz", "fastlstm: expected text|metadata|damaged")


def in_json(**entry):
    content = {
        name: {"dtype": "float32", "shape": a.shape, "values": a.tolist()}
        for name, a in tensors().items()
    }
    content["weight_ih_l0"] |= entry
    return json.dumps({"fastlstm": OWN | {"tensors": sorted(content)}, "tensors": content})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (in_json(values=[1.0]), r"values of shape \[12, 2\], got \[1\]"),
        (in_json(shape=[1 << 60, 2]), r"values of shape \[1152921504606846976, 2\], got \[12, 2\]"),
        (in_json(values=[[1.0], [1.0, 2.0]]), "lists of numbers are of unequal length"),
        (in_json(values=[["1.0", "2.0"]] * 12), "weight_ih_l0: expected lists of numbers"),
        (in_json(values=[[None, 1.0]] * 12), "expected lists of numbers"),
        (in_json(values=[[True, False]] * 12), "expected lists of numbers"),
        (in_json(values=[[10**400, 1]] * 12), "expected lists of numbers"),
        (in_json(values=[[float("nan"), 1.0]] * 12), "expected finite numbers, got NaN"),
        (in_json(values=[[1e39, 1.0]] * 12), r"w_ih: expected finite weights, got inf at \[0, 0\]"),
        (in_json(extra=1), "expected 'dtype', 'shape' and 'values'"),
        ('{"fastlstm": {}, "fastlstm": {}, "tensors": {}}', "a name is given twice"),
        ('{"fastlstm": {}, "tensors": []}', "to be objects"),
        ('{"fastlstm": {"format": "other"}, "tensors": {}}', "the format 'fastlstm', got 'other'"),
        ('{"layers": []}', "not a network of fastlstm"),
        ("[" * 100_000, "damaged"),
        ('{"a": ' + "9" * 5000 + "}", "damaged|not a network"),
        ("\ud800", "damaged"),
        ("", "damaged"),
    ],
)
def test_hostile_json(tmp_path, text, message):
    path = tmp_path / "model.json"
    path.write_text(text, "utf-8", "surrogatepass")
    refused(path, message)


def test_dtypes_in_json(tmp_path):
    (tmp_path / "model.json").write_text(in_json(dtype="object"))
    refused(tmp_path / "model.json", "weight_ih_l0: .*got 'object'", UnsupportedModelError)


def in_safetensors(header, data=b""):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (struct.pack("<Q", 1 << 62), "a header of 4611686018427387904 bytes"),
        (struct.pack("<Q", 1 << 22) + b"{}", "deserializing|[Hh]eader"),
        (in_safetensors({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}), "."),
        (
            in_safetensors(
                {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}
            ),
            "covered|[Hh]eader",
        ),
        (in_safetensors({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}), "."),
        (
            in_safetensors(
                b'{"weight_ih_l0":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                b'"weight_ih_l0":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
                b"1234",
            ),
            "a name is given twice",
        ),
        (
            in_safetensors(
                {"weight_ih_l0": {"dtype": "F32", "shape": [0, 1 << 62], "data_offsets": [0, 0]}}
            ),
            "weight_ih_l0 is damaged|layer 0: there is no tensor weight_hh_l0",
        ),
        (in_safetensors(b"[" * 100_000), "[Hh]eader"),
    ],
)
def test_hostile_safetensors(tmp_path, content, message):
    pytest.importorskip("safetensors")
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    refused(path, message)


def test_a_folder_is_not_a_model(tmp_path, suffix):
    (tmp_path / f"model{suffix}").mkdir()
    with pytest.raises(IsADirectoryError):
        load(tmp_path / f"model{suffix}")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="files of POSIX")
def test_devices_and_pipes_are_not_models(tmp_path, suffix):
    link, pipe = tmp_path / f"link{suffix}", tmp_path / f"pipe{suffix}"
    link.symlink_to("/dev/zero")
    os.mkfifo(pipe)
    for path in (link, pipe):
        refused(path, "expected a regular file")


def test_a_json_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "model.json"
    with open(path, "wb") as file:
        file.truncate((1 << 30) + 1)
    refused(path, "1073741825 bytes of JSON; expected at most 1073741824")
