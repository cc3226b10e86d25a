"""Files of Keras: those of old versions, damaged ones and hostile ones."""

import io
import re
import sys
import zipfile

import numpy as np
import pytest
from keras_cases import FILES, MODELS, WEIGHTS, h5_file, h5py, keras_file, loaded, refused
from model_files import changed_bytes_load_or_are_refused

from fastlstm import (
    ModelFormatError,
    UnsupportedModelError,
    cli,
    load,
)

pytestmark = pytest.mark.every_cell


def renamed(file):
    """The weights of one layer under names that say nothing, as early Keras 1 had them."""
    group = file["model_weights/lstm_1"]
    names = [*group.attrs["weight_names0"], *group.attrs["weight_names1"]]
    for k, name in enumerate(names):
        group.move(name, f"param_{k}")
    group.attrs["weight_names0"] = [f"param_{k}".encode() for k in range(6)]
    group.attrs["weight_names1"] = [f"param_{k}".encode() for k in range(6, 12)]


def test_weights_without_names(tmp_path):
    wanted = loaded("k1_separate.h5", tmp_path)
    assert load(h5_file(tmp_path / "model.h5", change=renamed)).layers == wanted.layers


def fused(file):
    """One matrix for all gates: consume_less="gpu" of Keras 1."""
    group = file["model_weights/lstm_1"]
    names = {}
    for kind in "WUb":
        gates = [group[f"lstm_1_{kind}_{gate}"][()] for gate in "ifco"]
        group[f"lstm_1_{kind}"] = np.concatenate(gates, -1)
        names[kind] = f"lstm_1_{kind}".encode()
    del group.attrs["weight_names0"], group.attrs["weight_names1"]
    group.attrs["weight_names"] = list(names.values())


def test_fused_gates_of_keras_1(tmp_path):
    wanted = loaded("k1_separate.h5", tmp_path)
    assert load(h5_file(tmp_path / "model.h5", change=fused)).layers == wanted.layers


def swapped(file):
    names = file["model_weights/lstm_1"].attrs["weight_names0"]
    file["model_weights/lstm_1"].attrs["weight_names0"] = names[[3, 1, 2, 0, 4, 5]]


def backward_first(file):
    group = file["model_weights/bidirectional"]
    names = list(group.attrs["weight_names"])
    group.attrs["weight_names"] = names[3:] + names[:3]


def test_an_order_that_names_contradict(tmp_path):
    refused(h5_file(tmp_path / "model.h5", change=swapped), "expected the kernel of i, got")


def test_directions_are_told_by_their_names(tmp_path):
    """Weights that are not to be trained are stored last, whichever direction they are of."""
    wanted = loaded("k3_words.h5", tmp_path)
    path = h5_file(tmp_path / "model.h5", "k3_words", backward_first)
    assert load(path).layers == wanted.layers


def attribute(place, name, value):
    def change(file):
        del file[place].attrs[name]
        file[place].attrs[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f["model_weights"].attrs.pop("layer_names"), "expected weights of"),
        (lambda f: f["model_weights/dense"].attrs.pop("weight_names"), "expected weights of"),
        (lambda f: f["model_weights/dense/dense"].pop("bias"), "there is no 'dense/bias'"),
        (lambda f: f.pop("model_weights"), "expected weights of"),
        (attribute("/", "model_config", 5), "expected text"),
        (attribute("/", "model_config", "{"), "damaged"),
        (attribute("/", "keras_version", "new"), "a version of Keras"),
        (
            attribute("model_weights/dense", "weight_names", ["dense/kernel"]),
            "expected weights",
        ),
        (
            attribute("model_weights/dense", "weight_names", ["dense/kernel"] * 2),
            "named twice",
        ),
        (
            attribute("model_weights/top_level_model_weights", "weight_names", "a"),
            "weights that belong to no layer",
        ),
    ],
)
def test_damaged_h5(change, message, tmp_path):
    refused(h5_file(tmp_path / "model.h5", "k3_words", change), message)


def test_weights_alone_need_a_config(tmp_path):
    path = tmp_path / "model.weights.h5"
    path.write_bytes(FILES["k3_masks.weights.h5"])
    with pytest.raises(ValueError, match="holds weights alone"):
        load(path)
    text = tmp_path / "model.json"
    text.write_bytes(FILES["k3_masks.json"])
    models = [load(path, config=c) for c in (text, str(text), text.read_text())]
    assert models[0].layers == models[1].layers == models[2].layers
    with pytest.raises(TypeError, match="config: expected"):
        load(path, config=5)
    whole = tmp_path / "model.keras"
    whole.write_bytes(FILES["k3_masks.keras"])
    with pytest.raises(ValueError, match="holds the model's config itself: config is for files"):
        load(whole, config=text)


def test_the_config_is_named_as_it_was_given(tmp_path, capsys):
    path, text = tmp_path / "model.weights.h5", tmp_path / "model.json"
    path.write_bytes(FILES["k3_masks.weights.h5"])
    (no_json := tmp_path / "no.json").write_text("[1")
    (no_text := tmp_path / "no.txt").write_bytes(b"\xff\xfe\xfa")
    for given, kind, message in (
        (None, ValueError, 'as a file: config="model.json"'),
        (text, FileNotFoundError, f"config: there is no file {text}"),
        (tmp_path, OSError, "config: "),
        (no_json, ValueError, "config: expected JSON as model.to_json() gives it"),
        (no_text, ValueError, f"config: expected a text file of model.to_json(), got {no_text}"),
    ):
        with pytest.raises(kind, match=re.escape(message)):
            load(path, config=given)
        flags = [] if given is None else ["--config", str(given)]
        assert cli.main(["info", str(path), *flags]) == 1
        wanted = message.replace('config="model.json"', "--config model.json")
        assert wanted.replace("config: ", "--config: ") in capsys.readouterr().err
    text.write_bytes(FILES["k3_masks.json"])  # as the message says
    assert load(path, config=str(text)).layers == loaded("k3_masks.keras", tmp_path).layers


@pytest.mark.parametrize("name", ["k3_words.keras", "k2_words.h5"])
def test_files_are_read_by_no_other_package(name, tmp_path, monkeypatch):
    """The HDF5 library crashes on damaged files; strangers' models do not reach it."""
    for package in ("h5py", "pyfive", "keras", "tensorflow"):
        monkeypatch.setitem(sys.modules, package, None)
    assert loaded(name, tmp_path).num_layers


@pytest.mark.parametrize("name", ["k3_words", "k3_backwards", "k3_cells"])
def test_files_of_windows(name, tmp_path):
    """There Keras 3.0 joins the names in a path by backslashes, and HDF5 takes it for one name."""
    with zipfile.ZipFile(io.BytesIO(FILES[f"{name}.keras"])) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    flat = io.BytesIO()
    with h5py.File(content) as old, h5py.File(flat, "w") as new:

        def copy_to(key, item):
            if isinstance(item, h5py.Dataset):
                group, number = key.rsplit("/vars/")
                new.create_group(group.replace("/", "\\") + "/vars") if group not in done else None
                done.add(group)
                new[group.replace("/", "\\")]["vars"][number] = item[()]

        done = set()
        old.visititems(copy_to)
        assert all("\\" in group for group in new)
    path = keras_file(tmp_path / "model.keras", name=name, weights=flat.getvalue())
    one, two = load(path), loaded(f"{name}.keras", tmp_path)
    assert (one.layers, one.head, one.options) == (two.layers, two.head, two.options)


@pytest.mark.parametrize("name", ["k3_masks.keras", "k2_words.h5"])
def test_truncated_files(name, tmp_path):
    whole = FILES[name]
    path = tmp_path / name
    for length in {0, 1, 7, 8, 9, *range(0, len(whole), len(whole) // 40), len(whole) - 1}:
        path.write_bytes(whole[:length])
        refused(path, ".")


@pytest.mark.parametrize("name", ["k3_masks.keras", "k2_words.h5"])
def test_changed_bytes(name, tmp_path):
    changed_bytes_load_or_are_refused(tmp_path / name, FILES[name], 200, 19)


def weights_with(change):
    """The weights of the golden archive, changed."""
    with zipfile.ZipFile(io.BytesIO(FILES["k3_masks.keras"])) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content, "r+") as file:
        change(file)
    return content.getvalue()


KERNEL = "layers/lstm/cell/vars/0"  # (4, 12)


def instead(**options):
    def change(file):
        del file[KERNEL]
        file.create_dataset(KERNEL, **options)

    return change


def linked(link):
    def change(file):
        del file[KERNEL]
        file[KERNEL] = link

    return change


def around(file):
    """A group that holds itself."""
    file["layers/lstm/again"] = file["layers"]


def virtual(file):
    layout = h5py.VirtualLayout((4, 12), "f8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "data", (4, 12))
    del file[KERNEL]
    file.create_virtual_dataset(KERNEL, layout)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (instead(shape=(1 << 20, 1 << 20), dtype="f8"), "takes 8796093022208 bytes, there are 0"),
        (instead(shape=(4, 12), dtype="f8"), "takes 384 bytes, there are 0"),
        (
            instead(shape=(1 << 20, 1 << 10), dtype="f8", chunks=(64, 64), compression="gzip"),
            "refusing to unpack 0 bytes into 8589934592",
        ),
        (
            instead(shape=(1 << 13, 1 << 11), dtype="f8", chunks=(1 << 13, 1 << 11)),
            "refusing to unpack 0 bytes into 134217728",
        ),
        (
            instead(data=np.zeros((1 << 12, 1 << 11)), chunks=(1 << 9, 1 << 11), compression=9),
            r"refusing to unpack \d+ bytes into 67108864",
        ),
        (instead(shape=(4, 12), dtype="f8", external=[("/etc/passwd", 0, 384)]), "another file"),
        (virtual, "another file"),
        (linked(h5py.SoftLink("/layers/dense/vars/0")), "is a link to elsewhere"),
        (linked(h5py.ExternalLink("/etc/passwd", "/data")), "is a link to elsewhere"),
        (around, "several links lead to the group 'layers/lstm/again/"),
        (lambda f: f.create_group("layers/" + "a/" * 30), "groups are nested without end"),
        (instead(data=np.full((4, 12), "a", object)), "expected numbers"),
        (instead(data=np.zeros((4, 12), [("a", "f4")])), "expected numbers"),
        (instead(data=np.zeros((4, 12), "V2")), "expected numbers"),
        (instead(data=h5py.Empty("f8")), "expected numbers"),
        (instead(data=np.zeros((12, 4))), "3 units, but weights of shapes"),
        (instead(data=np.full((4, 12), np.nan)), "expected finite weights, got nan"),
        (lambda f: f.pop(KERNEL), "there is no kernel under"),
        (lambda f: f.pop("layers"), "there is no 'layers'"),
        (lambda f: f.create_dataset("layers/lstm/cell/vars/3", data=[1.0]), "that no layer reads"),
        (lambda f: f.create_dataset("layers/gru/vars/0", data=[1.0]), "that no layer reads"),
        (lambda f: f.create_dataset("vars/0", data=[1.0]), "that no layer reads"),
    ],
)
def test_hostile_weights(change, message, tmp_path):
    path = keras_file(tmp_path / "model.keras", name="k3_masks", weights=weights_with(change))
    refused(path, message)


def test_weights_of_other_dtypes(tmp_path):
    change = instead(data=np.zeros((4, 12), "int8"))
    path = keras_file(tmp_path / "model.keras", name="k3_masks", weights=weights_with(change))
    refused(path, "expected float64, .* got int8", (UnsupportedModelError,))
    change = instead(data=np.zeros((4, 12), "f4"))
    path = keras_file(tmp_path / "model.keras", name="k3_masks", weights=weights_with(change))
    refused(path, "dtype", (UnsupportedModelError, ModelFormatError))


def test_compressed_weights_load(tmp_path):
    """As h5repack or a zip of one's own may leave them."""

    def compress(file):
        array = file[KERNEL][()]
        del file[KERNEL]
        file.create_dataset(KERNEL, data=array, compression="gzip", shuffle=True)

    path = keras_file(tmp_path / "a.keras", name="k3_masks", weights=weights_with(compress))
    assert load(path).layers == loaded("k3_masks.keras", tmp_path).layers


def archive_of(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_hostile_archives(tmp_path):
    path = tmp_path / "model.keras"
    good = {"config.json": "{}", "metadata.json": "{}"}
    refused(archive_of(path, {}), "not a model of Keras: there is no config.json")
    refused(archive_of(path, good), "there is no model.weights.h5")
    refused(archive_of(path, {**good, "model.weights.h5": b"junk"}), "damaged")
    refused(archive_of(path, {**good, "config.json": "[" * 100_000}), "damaged")
    refused(archive_of(path, {**good, "config.json": '{"a": 1, "a": 2}'}), "given twice")
    bomb = {**good, "model.weights.h5": bytes(1 << 26)}
    refused(
        archive_of(path, bomb, zipfile.ZIP_DEFLATED), "refusing to unpack model.weights.h5 into"
    )
    bomb = {**good, "config.json": " " * (1 << 25)}
    refused(archive_of(path, bomb, zipfile.ZIP_DEFLATED), "refusing to unpack config.json into 33")
    refused(archive_of(path, good, zipfile.ZIP_LZMA), "expected it stored or deflated")


def new_style(name, path, **options):
    """The file with headers of the new kind that HDF5 has, which h5py writes when told to."""
    with (
        h5py.File(io.BytesIO(FILES[name])) as old,
        h5py.File(path, "w", libver="latest", **options) as new,
    ):
        for key, value in old.attrs.items():
            new.attrs[key] = value

        def copy_to(key, item):
            if isinstance(item, h5py.Dataset):
                new[key] = item[()]
            else:
                for attribute, value in item.attrs.items():
                    new.require_group(key).attrs[attribute] = value

        old.visititems(copy_to)
    return path


@pytest.mark.parametrize("name", [name for name in MODELS if name.endswith(".h5")])
def test_headers_of_the_new_kind(name, tmp_path):
    if name in WEIGHTS:
        pytest.skip("a whole model is enough")
    model = load(new_style(name, tmp_path / "model.h5"))
    assert model.layers == loaded(name, tmp_path).layers


def test_texts_that_do_not_fit(tmp_path):
    """HDF5 itself crashes on some of these."""
    whole, path = FILES["k2_words.h5"], tmp_path / "model.h5"
    text = whole.index(b'{"class_name"')  # the config, in a heap
    length = int.from_bytes(whole[text - 8 : text], "little")
    heap = whole.rindex(b"GCOL", 0, text)
    reference = length.to_bytes(4, "little") + heap.to_bytes(8, "little")
    assert whole.count(reference) == 1
    at = whole.index(reference)

    def changed(where, value, size):
        content = bytearray(whole)
        content[where : where + size] = value.to_bytes(size, "little")
        path.write_bytes(content)
        return path

    refused(changed(at, length + 1, 4), f"a text of {length + 1} bytes in {length}")
    refused(changed(at, (1 << 32) - 1, 4), "longer than the file")
    refused(changed(at + 4, heap + 8, 8), "there is no text")
    refused(changed(at + 4, 1 << 60, 8), "there are no 16 bytes")
    refused(changed(at + 12, 999, 4), "there is no text 999")
    refused(changed(text - 8, 1 << 40, 8), "there are no 1099511627776 bytes")
    refused(changed(text - 8, 5, 8), f"a text of {length} bytes in 5")
