"""Damaged and hostile files: refused at once, without memory, with the name of the file."""

import contextlib
import io
import json
import os
import struct
import zipfile

import numpy as np
import pytest
from model_files import (
    NAN,
    OWN,
    OWN_NETWORK,
    OWN_TENSORS,
    assert_same,
    changed_bytes_load_or_are_refused,
    make_model,
    random,
    refused,
    tensors,
    write_tensors,
)

from fastlstm import from_torch, load
from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats import budget
from fastlstm.formats.native import SUFFIXES
from fastlstm.formats.torch.unused import groups_of
from fastlstm.formats.trust import Tensors
from fastlstm.loading import contents


@pytest.fixture(params=SUFFIXES)
def suffix(request):
    if request.param == ".safetensors":
        pytest.importorskip("safetensors")
    return request.param


@pytest.mark.parametrize(
    ("change", "metadata", "message"),
    [
        ({"parts.1.w_hh": None}, OWN, "parts.1: there is no tensor parts.1.w_hh"),
        ({"parts.1.b_ih": random(9)}, OWN, r"b_ih: expected shape \(12,\) .*got \(9,\)"),
        ({"parts.1.w_ih": random(12, 4)}, OWN, "layer 1: expected 3 inputs, .* got 4"),
        ({"parts.0.b_ih": NAN}, OWN, "expected finite weights, got nan|numbers, got NaN"),
        ({"parts.1.w_xx": random(1)}, OWN, r"belong to no part: \['parts.1.w_xx'\]"),
        ({"scale": random(1)}, OWN, r"belong to no part: \['scale'\]"),
        ({}, OWN | {"network": OWN_NETWORK | {"parts": []}}, r"no part: \['parts.0.b_hh'"),
        ({}, OWN | {"network": OWN_NETWORK | {"parts": 2}}, "a list of parts"),
        ({}, OWN | {"tensors": None}, "expected a list of tensors in the metadata"),
        ({}, OWN | {"tensors": [["parts.0.w_ih"]]}, "expected a list of tensors in the metadata"),
        ({}, OWN | {"tensors": []}, r"do not list: \['parts.0.b_hh'"),
        ({"parts.1.b_hh": None}, OWN | {"tensors": sorted(OWN_TENSORS)}, "missing: .*1.b_hh"),
        ({}, OWN | {"network": {"parts": OWN_NETWORK["parts"]}}, "there is no return_sequences"),
        ({}, OWN | {"network": [1]}, "expected a network in the metadata"),
        ({}, OWN | {"format": "other"}, "expected the format 'fastlstm', got 'other'"),
    ],
)
def test_wrong_contents(tmp_path, suffix, change, metadata, message):
    if suffix == ".safetensors" and metadata["format"] != "fastlstm":
        message = "expected the tensors of an LSTM"  # other programs write metadata, too
    named = {name: a for name, a in (OWN_TENSORS | change).items() if a is not None}
    path = tmp_path / f"model{suffix}"
    write_tensors(path, named, metadata)
    refused(path, message)


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
    refused(path, "parts.1.w_ih is damaged: Bad CRC-32")


def test_changed_bytes(tmp_path, suffix):
    whole = make_model().save(tmp_path / f"model{suffix}").read_bytes()
    changed_bytes_load_or_are_refused(tmp_path / f"changed{suffix}", whole)


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
    refused(path, "expected no comments, but 'bias_ih_l0.npy' has one")


def test_a_directory_of_zip64(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    np.savez(tmp_path / "a.npz", **tensors())
    monkeypatch.undo()
    assert b"PK\6\6" in (tmp_path / "a.npz").read_bytes()
    assert_same(load(tmp_path / "a.npz"), from_torch(tensors()))


def test_no_flipped_bit_of_a_directory_hides_a_tensor(tmp_path):
    model, path = make_model(), tmp_path / "model.npz"
    raw = model.save(path).read_bytes()
    for bit in range(8 * raw.index(b"PK\1\2"), 8 * len(raw), 11):
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
    refused(path, r"refusing to unpack \d+ bytes into 67109\d+")


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
        for name, a in OWN_TENSORS.items()
    }
    content["parts.0.w_ih"] |= entry
    return json.dumps({"fastlstm": OWN | {"tensors": sorted(content)}, "tensors": content})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (in_json(values=[1.0]), r"values of shape \[12, 2\], got \[1\]"),
        (in_json(shape=[1 << 60, 2]), r"values of shape \[1152921504606846976, 2\], got \[12, 2\]"),
        (in_json(values=[[1.0], [1.0, 2.0]]), "lists of numbers are of unequal length"),
        (in_json(values=[["1.0", "2.0"]] * 12), "parts.0.w_ih: expected lists of numbers"),
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
    refused(tmp_path / "model.json", "parts.0.w_ih: .*got 'object'", UnsupportedModelError)


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


def test_only_the_weights_that_are_left_over_are_looked_at():
    looked = []
    there = Tensors({"a": 1, "b": 2}, lambda *_: None, lambda *k: looked.append(k) or "f4 (3)")
    assert [group.name for group in groups_of(there, iter(["b"]))] == ["b"]
    assert looked == [("b", 2)]


def test_headers_of_many_members_are_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "STEPS", 8000)
    path = tmp_path / "model.npz"
    np.savez(path, **tensors(), **{f"other.{k}": np.zeros(0) for k in range(150)})
    refused(path, "more steps than any model")
    with pytest.raises(ModelFormatError, match="more steps than any model"):
        contents(path)
