"""Sources of bulk scoring that hold several arrays: .npz, Zarr and HDF5."""

from __future__ import annotations

import io
import os
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scoring_files as sf
import xarray
import zarr
from helpers import assert_same_bits
from scoring_files import INPUTS, N, T

import fastlstm
from fastlstm import Ragged
from fastlstm.scoring import ledger
from fastlstm.scoring.sources.arrays import npz, stored_in_chunks
from fastlstm.scoring.sources.layout import Layout
from fastlstm.scoring.sources.model_input import ModelInput
from fastlstm.scoring.sources.open import open_source as open_any

SIZES = (1, 700, 3777, 10**7)


@pytest.fixture(scope="module")
def model() -> fastlstm.LSTM:
    return sf.make_model()


def scores(model: Any, source: Any, **options: Any) -> np.ndarray:
    destination = Path(str(source).partition(":")[0]).parent / "scores.npy"
    fastlstm.score(model, source, destination, **options)
    return np.load(destination)


def as_stored(x: np.ndarray, order: str, dtype: str) -> np.ndarray:
    return np.asarray(x.astype(dtype), order=order)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(("order", "dtype"), [("C", "f4"), ("F", "f4"), ("C", ">f8"), ("C", "i2")])
def test_npz_of_rows(model, tmp_path, save, order, dtype, size, monkeypatch):
    sf.small_chunks(monkeypatch, size)
    x = as_stored(sf.make_sequences()[0] * 3, order, dtype)
    save(tmp_path / "x.npz", x=x)
    assert_same_bits(scores(model, tmp_path / "x.npz"), model.predict(x))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_with_lengths(model, tmp_path, save, size, monkeypatch):
    sf.small_chunks(monkeypatch, size)
    x, lengths = sf.make_sequences()
    save(tmp_path / "x.npz", x=x, lengths=lengths.astype(np.uint8))
    y = scores(model, tmp_path / "x.npz", return_sequences=True)
    assert_same_bits(y, model.predict(x, lengths=lengths, return_sequences=True))
    assert_same_bits(np.load(tmp_path / "scores.lengths.npy"), lengths)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_of_values_and_offsets(model, tmp_path, save, size, monkeypatch):
    sf.small_chunks(monkeypatch, size)
    x, lengths = sf.make_sequences()
    values = x[np.arange(T) < lengths[:, None]]
    values = np.concatenate([x[0], values, x[1]])  # some before and behind
    offsets = T + np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint32)
    save(tmp_path / "x.npz", values=values, offsets=offsets)
    y = scores(model, tmp_path / "x.npz", return_sequences=True, state=True)
    assert_same_bits(y, model.predict(Ragged(values, offsets), return_sequences=True))
    assert_same_bits(np.load(tmp_path / "scores.lengths.npy"), lengths)


def test_results_of_every_step_are_padded_to_the_longest_of_few(model, tmp_path):
    """One long sequence among short ones does not make all of their results long."""
    lengths = np.full(1000, 2)
    lengths[500] = 5000
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    np.savez(tmp_path / "x.npz", values=np.ones((offsets[-1], INPUTS), "f4"), offsets=offsets)
    reader = open_any(str(tmp_path / "x.npz"), Layout(), model)
    for chunk in reader.chunks(12 * 2000, None):
        assert chunk.count * chunk.sequences.lengths.max() <= max(2000, 5000 * (chunk.count == 1))
    reader.close()


@pytest.mark.parametrize("size", [1, 100, 600, 10**6])
@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("kind", ["stored", "compressed", "zarr", "zarr rows", "h5", "h5 rows"])
def test_windows(model, tmp_path, kind, stride, size, monkeypatch):
    sf.small_chunks(monkeypatch, size)
    series = sf.make_sequences()[0].reshape(-1, INPUTS)[: 3 * 200]
    if kind.endswith("rows"):
        series = series.reshape(3, 200, INPUTS)
    source = str(tmp_path / f"x.{kind.split()[0]}")
    if kind in ("stored", "compressed"):
        source = str(tmp_path / "x.npz")
        (np.savez if kind == "stored" else np.savez_compressed)(source, x=series)
    elif kind.startswith("zarr"):
        save_chunks(source, series, chunks=(2, 30, 2) if series.ndim == 3 else (50, 3))
    else:
        with h5py.File(source, "w") as file:
            chunks = (2, 30, 2) if series.ndim == 3 else (50, 3)
            file.create_dataset("x", data=series, chunks=chunks)
    rows = series if series.ndim == 3 else series[np.newaxis]
    windows = [row[i : i + 12] for row in rows for i in range(0, len(row) - 11, stride)]
    y = scores(model, source, window=12, stride=stride)
    assert_same_bits(y, model.predict(np.stack(windows)))


def test_a_compressed_member_is_decompressed_once(tmp_path, monkeypatch, model):
    series = np.random.default_rng(0).normal(size=(9000, INPUTS)).astype(np.float32)
    np.savez_compressed(tmp_path / "x.npz", x=series)
    positions = []
    seek = npz.Inflated.seek
    monkeypatch.setattr(
        npz.Inflated,
        "seek",
        lambda self, at: (positions.append((self.stream.tell(), at)), seek(self, at)),
    )
    reader = open_any(str(tmp_path / "x.npz"), Layout(window=500), model)
    assert sum(chunk.count for chunk in reader.chunks(8000, None)) == 8501
    reader.close()
    assert len(positions) > 50
    assert all(at >= told for told, at in positions[1:])


STORES = [
    pytest.param({"shape": (N, T, INPUTS), "chunks": (N, T, INPUTS)}, id="one chunk"),
    pytest.param({"shape": (N, T, INPUTS), "chunks": (50, T, INPUTS)}, id="chunks of rows"),
    pytest.param({"shape": (N, T, INPUTS), "chunks": (37, 2, 1)}, id="chunks of all axes"),
    pytest.param({"shape": (N, T, INPUTS), "chunks": (1, T, INPUTS)}, id="a row each"),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("form", STORES)
@pytest.mark.parametrize("kind", ["zarr", "h5", "h5 gzip"])
def test_chunked_stores(model, tmp_path, kind, form, size, monkeypatch):
    sf.small_chunks(monkeypatch, size)
    x = sf.make_sequences()[0]
    source = str(tmp_path / f"x.{kind.split()[0]}")
    if kind == "zarr":
        save_chunks(source, x, chunks=form["chunks"])
    else:
        with h5py.File(source, "w") as file:
            packed = "gzip" if "gzip" in kind else None
            file.create_dataset("x", data=x, chunks=form["chunks"], compression=packed)
    assert_same_bits(scores(model, source), model.predict(x))


@pytest.mark.parametrize("most", [0, 10**6])
@pytest.mark.parametrize("dtype", ["f4", ">f8", "f2", "i4", "u1", "bool"])
def test_dtypes(model, tmp_path, dtype, most, monkeypatch):
    monkeypatch.setattr(stored_in_chunks, "MOST_HELD", most)
    sf.small_chunks(monkeypatch, 1000)
    x = (abs(sf.make_sequences()[0]) * 2).astype(dtype)
    save_chunks(str(tmp_path / "x.zarr"), x, chunks=(20, 3, 3))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["inside/x"] = x
    for source in (tmp_path / "x.zarr", tmp_path / "x.h5", f"{tmp_path}/x.h5:/inside/x"):
        assert_same_bits(scores(model, source), model.predict(x))


@pytest.mark.parametrize("size", [1, 700, 5000])
@pytest.mark.parametrize("window", [None, 5])
def test_chunks_are_decoded_once(model, size, window):
    """Decoding costs more than scoring if every chunk is decoded for each of its rows."""
    x = sf.make_sequences()[0]

    class Counting:
        shape, dtype, chunks = x.shape, x.dtype, (40, T, INPUTS)
        seen: list[int] = []  # noqa: RUF012

        def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
            first, last, _ = index[0].indices(N)
            self.seen += range(first // 40, -(-last // 40))
            return x[index]

    array = Counting()
    file = stored_in_chunks.ChunkedFile("x", array, dict, lambda: None)
    from fastlstm.scoring.sources.arrays.reader import ArrayReader

    reader = ArrayReader(file, Layout(window=window), ModelInput.of(model))
    assert sum(c.count for c in reader.chunks(size, None)) == N * (1 if window is None else 3)
    assert array.seen == list(range(8))
    assert reader.held == 2 * 40 * T * INPUTS * 4


def test_groups_and_paths(model, tmp_path):
    x = sf.make_sequences()[0]
    store = str(tmp_path / "x.zarr")
    group = zarr.open_group(store, mode="w")
    inside = group.require_group("deep/er")
    for where, name, values in ((inside, "a", x), (group, "b", x[:5])):
        new = where.create_array if hasattr(where, "create_array") else where.create_dataset
        array = new(name, shape=values.shape, dtype=values.dtype, chunks=values.shape)
        array[...] = values
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["deep/er/a"], file["b"], file["none"] = x, x[:5], h5py.Empty("f4")
    for source in (store, str(tmp_path / "x.h5")):
        assert_same_bits(scores(model, f"{source}:/deep/er/a"), model.predict(x))
        assert_same_bits(scores(model, f"{source}:b"), model.predict(x[:5]))
        choice = r"holds 2 arrays: /b \(5, 7, 3\), /deep/er/a \(301, 7, 3\); choose one as .*:/b"
        with pytest.raises(ValueError, match=choice):
            scores(model, source)
        with pytest.raises(ValueError, match="no array /c: /b"):
            scores(model, f"{source}:/c")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_written_by_xarray(model, tmp_path, zarr_format):
    new = int(zarr.__version__.partition(".")[0]) == 3
    if zarr_format == 3 and not new:
        pytest.skip("zarr-python 2 knows no format 3")
    x = sf.make_sequences()[0]
    coordinates = {"sequence": np.arange(N) * 2, "step": np.arange(T)}
    data = xarray.Dataset({"x": (("sequence", "step", "input"), x)}, coordinates)
    options: dict[str, Any] = {"zarr_format": zarr_format} if new else {}
    options["consolidated"] = zarr_format == 2
    data.to_zarr(tmp_path / "x.zarr", **options)
    assert_same_bits(scores(model, tmp_path / "x.zarr"), model.predict(x))
    assert_same_bits(scores(model, f"{tmp_path}/x.zarr:/x"), model.predict(x))
    packed = {"x": {"dtype": "i2", "scale_factor": 0.001, "_FillValue": -1}}
    data.to_zarr(tmp_path / "packed.zarr", encoding=packed, **options)
    with pytest.raises(
        ValueError, match=r"scale_factor = .*not supported; write the array unpacked"
    ):
        scores(model, tmp_path / "packed.zarr")


def test_marked_as_missing(model, tmp_path):
    x = sf.make_sequences()[0]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = x
        file["x"].attrs["_FillValue"] = np.array([np.nan], "f4")
    assert_same_bits(scores(model, tmp_path / "x.h5"), model.predict(x))
    with h5py.File(tmp_path / "x.h5", "a") as file:
        file["x"].attrs["missing_value"] = np.float32(-9999)
    with pytest.raises(ValueError, match=r"missing_value = .*-9999"):
        scores(model, tmp_path / "x.h5")


@pytest.mark.parametrize("suffix", [".npz", ".zarr", ".h5"])
def test_several_files(model, tmp_path, suffix):
    x = sf.make_sequences()[0]
    folder = tmp_path / "in"
    folder.mkdir()
    for i, part in enumerate((x[:100], x[100:101], x[101:])):
        save_as(folder / f"part-{i}{suffix}", part)
    assert_same_bits(scores(model, folder), model.predict(x))
    assert_same_bits(scores(model, str(folder / "part-[12]*")), model.predict(x[100:]))
    if suffix != ".npz":
        inside = str(folder / f"part-*{suffix}:/x")
        fastlstm.score(model, inside, tmp_path / "scores.npy")
        assert_same_bits(np.load(tmp_path / "scores.npy"), model.predict(x))


def save_as(path: Path, x: np.ndarray, compressed: bool = False) -> None:
    if path.suffix == ".npz":
        (np.savez_compressed if compressed else np.savez)(path, x=x)
    elif path.suffix == ".zarr":
        zarr.save_group(str(path), x=x)
    else:
        with h5py.File(path, "w") as file:
            file["x"] = x


def save_chunks(path: Any, x: np.ndarray, chunks: Any) -> None:
    zarr.open_array(str(path), mode="w", shape=x.shape, dtype=x.dtype, chunks=chunks)[...] = x


class Stop(Exception):
    """What ends a run in these tests."""


@pytest.mark.parametrize(
    ("suffix", "form"),
    [(".npz", form) for form in ("x", "compressed", "lengths", "values")]
    + [(".zarr", "x"), (".h5", "x")],
)
def test_resumed(model, tmp_path, suffix, form, monkeypatch):
    sf.small_chunks(monkeypatch, 3000)
    monkeypatch.setattr(ledger, "SECONDS_BETWEEN_COMMITS", -1)
    x, lengths = sf.make_sequences()
    source, destination = tmp_path / f"x{suffix}", tmp_path / "scores.npy"
    if form == "lengths":
        np.savez(source, x=x, lengths=lengths)
    elif form == "values":
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        values = x[np.arange(T) < lengths[:, None]]
        np.savez_compressed(source, values=values, offsets=offsets)
    else:
        save_as(source, x, form == "compressed")
    wanted = scores(model, source)
    for stop in (2, 5):
        with monkeypatch.context() as patch:
            patch.setattr(ledger.Ledger, "enter", _stopping(stop))
            with pytest.raises(Stop):
                fastlstm.score(model, source, destination)
        summary = fastlstm.score(model, source, destination, resume=True)
        assert 0 < summary.resumed < N
        assert_same_bits(np.load(destination), wanted)
    with monkeypatch.context() as patch:
        patch.setattr(ledger.Ledger, "enter", _stopping(3))
        with pytest.raises(Stop):
            fastlstm.score(model, source, destination)
    changed = source if source.is_file() else next(p for p in source.rglob("*0*") if p.is_file())
    os.utime(changed, (1, 1))
    with pytest.raises(ValueError, match=r"cannot resume .*source .*(modified|times)"):
        fastlstm.score(model, source, destination, resume=True)


def _stopping(call: int) -> Any:
    enter, left = ledger.Ledger.enter, [call]

    def stopped(self: Any, entry: Any) -> None:
        left[0] -= 1
        if not left[0]:
            raise Stop
        enter(self, entry)

    return stopped


@pytest.mark.parametrize("compressed", [False, True])
def test_memory_is_bounded(model, tmp_path, compressed):
    x = np.zeros((2**18, T, INPUTS), np.float32)  # 22 MB
    save_as(tmp_path / "x.npz", x, compressed)
    reader = open_any(str(tmp_path / "x.npz"), Layout(), model)
    tracemalloc.start()
    try:
        assert sum(chunk.count for chunk in reader.chunks(2**18, None)) == 2**18
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    reader.close()
    assert peak < 8e6


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "got nothing"),
        ({"a": 1, "b": 2}, "expected the arrays x, x and lengths, or values and offsets; got a, b"),
        ({"x": np.zeros((4, 3))}, "at least the 30 steps of a window, got 4"),
        ({"x": np.zeros((4, 3, 2))}, r"x.npz: x: expected x of shape \(N, T, 3\)"),
        ({"x": np.zeros((4, 3, 3)), "lengths": [1, 2]}, "lengths"),
        (
            {"x": np.zeros((4, 3, 3)), "lengths": [1, 2, 3, 4]},
            "lengths cannot be combined with window",
        ),
        ({"x": np.array([None])}, "expected an array of numbers"),
        ({"x": np.zeros((2, 2, 3), "datetime64[s]")}, "expected real numbers"),
        ({"values": np.zeros((4, 2)), "offsets": [0, 4]}, "expected shape .sum of lengths, 3"),
        ({"values": np.zeros((4, 3)), "offsets": [0, 5]}, "expected them within 0 ... 4"),
        ({"values": np.zeros((4, 3)), "offsets": [0, 3, 2]}, "never to decrease"),
        ({"values": np.zeros((4, 3)), "offsets": [0.5]}, "expected integers"),
        ({"values": np.zeros((4, 3)), "offsets": [0, 4]}, "window does not apply to values"),
        ({"values": np.zeros((4, 3), "U2"), "offsets": [0, 4]}, "expected real numbers"),
    ],
)
def test_archives_that_do_not_fit(model, tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    options = {"window": 30} if "window" in message else {}
    with pytest.raises((TypeError, ValueError), match=message):
        scores(model, tmp_path / "x.npz", **options)


def _archive(path: Path, header: str, data: bytes = b"", method: int = zipfile.ZIP_STORED) -> None:
    stream = io.BytesIO()
    stream.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data)
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("x.npy", stream.getvalue())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        (f"({2**50}, 7, 3)", "<f4"),
        ("(-1, 7, 3)", "<f4"),
        (f"({2**62}, {2**62}, 3)", "<f4"),
        ("(1, 7, 3)", "|O"),
        ("(1, 7, 3)", "V0"),
        ("(1, 7, 3)", "<f8"),
        ("(1, 3, 3)", "<f4"),
        ("(1, 7", "<f8"),
    ],
)
def test_hostile_headers(model, tmp_path, shape, dtype, method):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    _archive(tmp_path / "x.npz", header + "\n", b"\0" * 84, method)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"expected an array of numbers|is damaged"):
            scores(model, tmp_path / "x.npz")
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_archives(model, tmp_path, compressed):
    """Cut anywhere, or with any byte changed, it is refused, or gives what it holds."""
    path = tmp_path / "x.npz"
    save_as(path, sf.make_sequences()[0], compressed)
    whole = path.read_bytes()
    for end in (0, 1, 30, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"x.npz: expected an \.npz archive"):
            scores(model, path)
    refused = others = 0
    rng = np.random.default_rng(1)
    places = [*range(0, 180, 13), *rng.integers(180, len(whole) - 160, 5), *range(-150, 0, 7)]
    for at in places:
        data = bytearray(whole)
        data[at] ^= 0x55
        path.write_bytes(data)
        try:
            scores(model, path, on_bad_row="nan", restart=True)
        except (ValueError, TypeError, OSError) as error:
            refused += "x.npz" in str(error)
            others += "x.npz" not in str(error)
    assert refused > 10
    assert others == 0
    if compressed:
        data = bytearray(whole)
        data[len(whole) // 2] ^= 0xFF
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"x\.npz: x is damaged: "):
            scores(model, path, on_bad_row="nan", restart=True)


def test_shrunk_while_it_is_read(model, tmp_path):
    save_as(tmp_path / "x.npz", sf.make_sequences()[0])
    reader = open_any(str(tmp_path / "x.npz"), Layout(), model)
    os.truncate(tmp_path / "x.npz", 5000)
    with pytest.raises(OSError, match=r"has (it )?become shorter"):
        list(reader.chunks(1000, None))
    reader.close()


@pytest.mark.parametrize("suffix", [".npz", ".zarr", ".h5"])
def test_something_else_under_that_name(model, tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"something else" * 100)
    kinds = r"expected (an \.npz archive|a Zarr store|an HDF5 file)"
    with pytest.raises(ValueError, match=kinds):
        scores(model, path)
    path.unlink()
    path.mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match=rf"{kinds}|no file in this folder"):
        scores(model, path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        scores(model, tmp_path / f"y{suffix}")


def test_damaged_stores(model, tmp_path):
    x = sf.make_sequences()[0]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=x, chunks=(50, T, INPUTS), compression="gzip")
    whole = (tmp_path / "x.h5").read_bytes()
    (tmp_path / "x.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"x\.h5: expected an HDF5 file: "):
        scores(model, tmp_path / "x.h5")
    data = bytearray(whole)
    data[-20000:-5000] = b"\xff" * 15000
    (tmp_path / "x.h5").write_bytes(data)
    with pytest.raises(OSError, match=r"x\.h5:/x: cannot read rows"):
        scores(model, tmp_path / "x.h5")
    store = tmp_path / "x.zarr"
    save_chunks(str(store), x, chunks=(50, T, INPUTS))
    chunk = max((p for p in store.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    chunk.write_bytes(b"\xff" * 100)
    with pytest.raises(OSError, match=r"x\.zarr: cannot read rows"):
        scores(model, store, restart=True)
    for mark in (".zarray", "zarr.json"):
        if (store / mark).exists():
            (store / mark).write_text("{")
    with pytest.raises(ValueError, match=r"x\.zarr: expected a Zarr store: "):
        scores(model, store, restart=True)


def test_a_virtual_dataset_that_lacks_a_file(model, tmp_path):
    """HDF5 would give zeros for it."""
    x = sf.make_sequences()[0]
    save_as(tmp_path / "part.h5", x)
    layout = h5py.VirtualLayout(x.shape, x.dtype)
    layout[...] = h5py.VirtualSource("part.h5", "x", x.shape)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
    assert_same_bits(scores(model, tmp_path / "x.h5"), model.predict(x))
    (tmp_path / "part.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"is made of .*part\.h5, which is missing"):
        scores(model, tmp_path / "x.h5")


@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
def test_stores_of_something_else(model, tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    save_as(path, np.zeros((5, 4, 2)))
    with pytest.raises(ValueError, match=r"expected x of shape \(N, T, 3\) or \(T, 3\), got"):
        scores(model, path)
    if suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["x"] = ["text"]
        with pytest.raises(TypeError, match=r"x\.h5:/x: expected real numbers"):
            scores(model, path)
        with h5py.File(path, "w") as file:
            file.create_group("nothing")
        with pytest.raises(ValueError, match="holds 0 arrays"):
            scores(model, path)


@pytest.mark.parametrize(("suffix", "package"), [(".zarr", "zarr"), (".h5", "h5py")])
def test_missing_packages(model, tmp_path, suffix, package, monkeypatch):
    save_as(tmp_path / f"x{suffix}", sf.make_sequences()[0])
    monkeypatch.setitem(sys.modules, package, None)
    extra = "zarr" if package == "zarr" else "hdf5"
    with pytest.raises(ImportError, match=rf'pip install "fastlstm\[{extra}\]"'):
        scores(model, tmp_path / f"x{suffix}")
