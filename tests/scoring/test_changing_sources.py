"""Sources that change, shrink or vanish while they are scored, or lack parts from the beginning."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import scoring_files as sf
import zarr
from helpers import assert_same_bits

import fastlstm
from fastlstm import cli
from fastlstm.scoring import ledger
from fastlstm.scoring.run import Run
from fastlstm.scoring.sources import fingerprint
from fastlstm.scoring.sources.arrays import npy, pages

X = sf.make_sequences()[0]
N, T, INPUTS = X.shape
LEASES = sys.platform == "linux"


@pytest.fixture(scope="module")
def model() -> fastlstm.LSTM:
    return sf.make_model()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: Any) -> None:
    """A folder, chunks of a few rows, and a journal for each of them."""
    monkeypatch.chdir(tmp_path)
    sf.small_chunks(monkeypatch, 20 * T * INPUTS * 4)
    monkeypatch.setattr(ledger, "SECONDS_BETWEEN_COMMITS", -1)


@pytest.fixture
def unleased(monkeypatch: Any) -> None:
    """A system without leases, or a file of somebody else's."""
    monkeypatch.setattr(pages, "_lease", lambda descriptor: False)


def at_chunk(monkeypatch: Any, chunk: int, act: Callable[[], Any], again: bool = False) -> None:
    """Do something just before the results of a chunk are written, or of each from there on."""
    enter, seen = ledger.Ledger.enter, [0]

    def entered(self: Any, entry: Any) -> None:
        seen[0] += 1
        if seen[0] == chunk or (again and seen[0] > chunk):
            act()
        enter(self, entry)

    monkeypatch.setattr(ledger.Ledger, "enter", entered)


def write_over(path: str, array: np.ndarray) -> None:
    with open(path, "r+b") as file:
        file.seek(2048)  # behind any header
        file.write(array.tobytes())


def save(path: str) -> str:
    suffix = Path(path).suffix
    if suffix == ".npy":
        np.save(path, X)
    elif suffix == ".npz":
        np.savez(path, x=X)
    elif suffix == ".zarr":
        zarr.open_array(path, mode="w", shape=X.shape, dtype=X.dtype, chunks=(20, T, INPUTS))[:] = X
    elif suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["x"] = X
    else:
        lists = [[list(map(float, step)) for step in row] for row in X]
        pyarrow.parquet.write_table(pa.table({"x": lists}), path)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_an_array_written_over_in_place_is_an_error(model, monkeypatch, unleased, suffix):
    source = save(f"x{suffix}")
    at_chunk(monkeypatch, 2, lambda: write_over(source, -X[:50]))
    with pytest.raises(OSError, match=r"x\.np.*has changed while it was being read"):
        fastlstm.score(model, source, "y.npy")
    assert not Path("y.npy").exists()
    with pytest.raises(ValueError, match=r"cannot resume .*source modified was"):
        fastlstm.score(model, source, "y.npy", resume=True)


def test_the_command_does_not_advise_to_resume(model, monkeypatch, unleased, capfd):
    save("x.npy")
    model.save("m.npz")
    at_chunk(monkeypatch, 2, lambda: write_over("x.npy", -X[:50]))
    assert cli.main(["score", "x.npy", "--model", "m.npz", "-o", "y.npy"]) == 1
    printed = capfd.readouterr().err
    assert "has changed" in printed
    assert "--resume" not in printed


def test_an_array_written_over_after_it_was_read_is_an_error(model, monkeypatch, unleased):
    save("x.npy")
    at_chunk(monkeypatch, (N - 1) // 20 + 1, lambda: write_over("x.npy", -X[:50]))
    with pytest.raises(OSError, match=r"x.npy has changed while it was scored: .*restart"):
        fastlstm.score(model, "x.npy", "y.npy")
    assert not Path("y.npy").exists()


@pytest.mark.parametrize("suffix", [".npy", ".zarr", ".h5", ".parquet"])
@pytest.mark.parametrize("destination", ["y.npy", "-"])
def test_every_kind_of_source_is_compared_at_the_end(
    model, monkeypatch, unleased, suffix, destination, capfd
):
    source = save(f"x{suffix}")
    inside = [path for path in Path(source).rglob("*") if path.is_file()]
    touched = (inside or [Path(source)])[0]
    finish = "make_writer" if destination != "-" else "open_stream"
    from fastlstm.scoring import run

    made = getattr(run, finish)

    def later(*arguments: Any) -> Any:
        writer = made(*arguments)
        write, left = writer.write, [N]

        def written(scored: Any) -> None:
            write(scored)
            left[0] -= len(scored.rows)
            if not left[0]:
                os.utime(touched, (1, 1))

        writer.write = written
        return writer

    monkeypatch.setattr(run, finish, later)
    with pytest.raises(OSError, match=r"x\.\w+ has changed while it was (scored|being read)"):
        fastlstm.score(model, source, destination)
    assert not Path("y.npy").exists()


def test_a_folder_that_gets_another_file_is_an_error_and_resumable(model, monkeypatch):
    os.mkdir("data")
    save("data/a.npy")
    save("data/b.npy")
    with monkeypatch.context() as patch:
        at_chunk(patch, 2, lambda: save("data/c.npy"))
        with pytest.raises(OSError, match="data has changed while it was scored: files has"):
            fastlstm.score(model, "data", "y.npy")
    with pytest.raises(ValueError, match="cannot resume"):
        fastlstm.score(model, "data", "y.npy", resume=True)
    os.remove("data/c.npy")
    assert fastlstm.score(model, "data", "y.npy", resume=True).resumed == 2 * N
    assert_same_bits(np.load("y.npy"), model.predict(np.concatenate([X, X])))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
def test_a_file_that_is_cut_short_is_an_error(model, monkeypatch, unleased, suffix):
    """And once it is whole again, the run goes on."""
    source = save(f"x{suffix}")
    whole, status = Path(source).read_bytes(), os.stat(source)
    with monkeypatch.context() as patch:
        at_chunk(patch, 2, lambda: os.truncate(source, 3000))
        with pytest.raises((OSError, ValueError), match=r"x\.(np|h5)"):
            fastlstm.score(model, source, "y.npy")
    assert not Path("y.npy").exists()
    Path(source).write_bytes(whole)
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fastlstm.score(model, source, "y.npy", resume=True).resumed > 0
    assert_same_bits(np.load("y.npy"), model.predict(X))


def test_a_file_that_vanishes_is_an_error(model, monkeypatch):
    save("x.npy")
    at_chunk(monkeypatch, 2, lambda: os.remove("x.npy"))
    with pytest.raises(OSError, match=r"x.npy has vanished|there is no file x.npy"):
        fastlstm.score(model, "x.npy", "y.npy")


@pytest.mark.skipif(not LEASES, reason="other systems do not map files that may shrink")
def test_a_file_cut_short_by_another_process(model, monkeypatch):
    """It waits for the lease, and gets it long before the system would take that away."""
    save("x.npy")
    code = "import os, time; print('begins', flush=True); t = time.time(); "
    code += "os.truncate('x.npy', 3000); print(time.time() - t)"
    others = []
    enter = ledger.Ledger.enter

    def entered(self: Any, entry: Any) -> None:
        if not others:
            command = [sys.executable, "-c", code]
            others.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            assert others[0].stdout.readline() == "begins\n"
        time.sleep(0.05)
        enter(self, entry)

    monkeypatch.setattr(ledger.Ledger, "enter", entered)
    with pytest.raises(OSError, match=r"x.npy .*it has become shorter"):
        fastlstm.score(model, "x.npy", "y.npy")
    waited, _ = others[0].communicate(timeout=60)
    print(f"it waited for {float(waited):.2f} s")
    assert float(waited) < 20


@pytest.mark.skipif(not LEASES, reason="needs leases, which only Linux has")
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_who_would_write_waits_until_no_mapped_page_is_used(model, monkeypatch, suffix):
    """The scores are those of the file as it was: afterwards it is read, not mapped."""
    source = save(f"x{suffix}")
    waits = []

    def try_to_write() -> None:
        try:
            os.close(os.open(source, os.O_WRONLY | os.O_NONBLOCK))
        except BlockingIOError:
            waits.append(True)
        else:
            waits.append(False)

    at_chunk(monkeypatch, 2, try_to_write, again=True)
    fastlstm.score(model, source, "y.npy")
    assert_same_bits(np.load("y.npy"), model.predict(X))
    assert waits[0]
    assert not waits[-1]
    assert len(waits) > 2 * pages.ALIVE
    os.close(os.open(source, os.O_WRONLY | os.O_NONBLOCK))  # nobody has a lease any more


@pytest.mark.skipif(not LEASES, reason="needs leases, which only Linux has")
def test_a_lease_ends_with_an_error_too(model, monkeypatch):
    x = X.copy()
    x[100] = np.nan
    np.save("x.npy", x)
    with pytest.raises(ValueError, match="sequence 100 is bad") as error:
        fastlstm.score(model, "x.npy", "y.npy")
    os.close(os.open("x.npy", os.O_WRONLY | os.O_NONBLOCK))
    del error


@pytest.mark.skipif(not LEASES, reason="needs leases, which only Linux has")
@pytest.mark.parametrize("kind", [".npy", ".npz", "folder", "windows", "ragged"])
def test_who_would_write_need_not_wait_for_results_that_are_held_up(model, monkeypatch, kind):
    """While nothing is written, chunks wait that were read and not scored: behind a full pipe."""
    source = path = save("x.npz" if kind == ".npz" else "x.npy")
    if kind == "folder":
        os.mkdir("data")
        source, path = "data", "data/b.npy"
        np.save("data/a.npy", X[:40])
        np.save(path, X[40:])
    elif kind == "ragged":
        source = path = "r.npz"
        np.savez(path, values=X.reshape(-1, INPUTS), offsets=np.arange(N + 1) * T)

    read, chunks = [], Run._checked_chunks

    def counted(*arguments: Any) -> Any:
        for chunk in chunks(*arguments):
            read.append(chunk)
            yield chunk

    def write_over_it() -> None:
        end = time.monotonic() + 5
        while len(read) < 5:
            assert time.monotonic() < end
            time.sleep(0.01)
        while True:
            try:
                file = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
                break
            except BlockingIOError:
                assert time.monotonic() < end, "it waits although nothing is being scored"
                time.sleep(0.05)
        os.pwrite(file, np.zeros_like(X[:100]).tobytes(), 2048)
        os.close(file)

    monkeypatch.setattr(Run, "_checked_chunks", counted)
    # the run goes on, to show what was scored
    monkeypatch.setattr(Run, "_check_source", lambda run: run.reader.close())
    monkeypatch.setattr(npy.NpyFile, "_check", lambda file: None)
    at_chunk(monkeypatch, 1, write_over_it)
    fastlstm.score(model, source, "y.npy", window=T if kind == "windows" else None)
    # one is being written, two are scored, two wait
    assert_same_bits(np.load("y.npy")[:100], model.predict(X)[:100])
    assert not np.array_equal(np.load("y.npy")[100:], model.predict(X)[100:])


@pytest.mark.skipif(not LEASES, reason="needs leases, which only Linux has")
def test_the_first_file_of_several_is_held_while_its_last_rows_are_scored(model, monkeypatch):
    """A reader is one or two chunks ahead of what is scored."""
    os.mkdir("data")
    np.save("data/a.npy", X[:20])
    np.save("data/b.npy", X)
    held = []

    def try_to_write() -> None:
        try:
            os.close(os.open("data/a.npy", os.O_WRONLY | os.O_NONBLOCK))
        except BlockingIOError:
            held.append(True)
        else:
            held.append(False)

    from fastlstm.scoring import scorer

    compute = scorer.compute

    def computed(*arguments: Any) -> Any:
        try_to_write()
        return compute(*arguments)

    monkeypatch.setattr(scorer, "compute", computed)
    fastlstm.score(model, "data", "y.npy")
    assert held[0]
    assert not held[-1]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("window", [None, 3])
def test_what_cannot_be_mapped_is_read(model, unleased, order, window):
    x = np.asarray(X, order=order)
    np.save("x.npy", x)
    np.savez("x.npz", x=x)
    for source in ("x.npy", "x.npz"):
        fastlstm.score(model, source, f"{source}.npy", window=window)
        expected = X
        if window is not None:
            expected = np.lib.stride_tricks.sliding_window_view(X, window, axis=1)
            expected = expected.transpose(0, 1, 3, 2).reshape(-1, window, INPUTS)
        assert_same_bits(np.load(f"{source}.npy"), model.predict(expected))


def test_a_file_written_to_just_now_is_waited_for(tmp_path):
    """Linux may give two changes within a tick of the clock the same time."""
    (tmp_path / "x").write_bytes(b"1")
    first = fingerprint.fingerprint(str(tmp_path / "x"))
    (tmp_path / "x").write_bytes(b"2")
    os.utime(tmp_path / "x")
    second = fingerprint.fingerprint(str(tmp_path / "x"))
    assert second["modified"] > first["modified"]
    assert not fingerprint.settle(second["modified"])
    assert fingerprint.settle(os.stat(save("y.npy")).st_mtime_ns)


def zarr_options(version: int = 2) -> dict[str, Any]:
    """What makes zarr leave out chunks of nothing but the fill value, in this format if it can."""
    if int(zarr.__version__.partition(".")[0]) >= 3:
        return {"zarr_format": version}
    return {"write_empty_chunks": False}


def sparse(path: str, chunks: tuple[int, ...], version: int, fill: float | None = 0.0) -> str:
    """An array with a few chunks that hold nothing but zeros, and were not written."""
    x = X.copy()
    x[20:40] = 0
    array = zarr.open_array(
        path, mode="w", shape=x.shape, dtype=x.dtype, chunks=chunks, fill_value=fill,
        **zarr_options(version),
    )  # fmt: skip
    array[:] = x
    return path


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("chunks", [(20, T, INPUTS), (10, 2, 1)])
def test_sequences_in_a_missing_chunk_of_zarr_are_bad(model, capsys, version, chunks):
    if version == 3 and int(zarr.__version__.partition(".")[0]) < 3:
        pytest.skip("this zarr does not write format 3")
    source = sparse("x.zarr", chunks, version)
    with pytest.raises(
        ValueError, match=r"sequence 20 is bad: a missing chunk \(fill_missing=True"
    ):
        fastlstm.score(model, source, "y.npy")
    model.save("m.npz")
    assert cli.main(["score", str(source), "--model", "m.npz", "-o", "y.npy", "--restart"]) == 1
    assert "a missing chunk (--fill-missing would score the fill value)" in capsys.readouterr().err
    x = X.copy()
    x[20:40] = 0
    expected = model.predict(x)
    fastlstm.score(model, source, "y.npy", restart=True, fill_missing=True)
    assert_same_bits(np.load("y.npy"), expected)
    summary = fastlstm.score(model, source, "y.npy", on_bad_row="nan")
    expected[20:40] = np.nan
    assert_same_bits(np.load("y.npy"), expected)
    assert summary.bad_rows["count"] == 20


def test_only_what_counts_of_a_missing_chunk_is_bad(model):
    """Padding beyond the lengths may be missing, and windows beside it are sound."""
    x = X.copy()
    x[:, 4:] = 0
    array = zarr.open_array(
        "x.zarr", mode="w", shape=x.shape, dtype=x.dtype, chunks=(N, 4, INPUTS), fill_value=0,
        **zarr_options(),
    )  # fmt: skip
    array[:] = x
    lengths = np.full(N, 4)
    fastlstm.score(model, "x.zarr", "y.npy", lengths=lengths)
    assert_same_bits(np.load("y.npy"), model.predict(x, lengths=lengths))
    lengths[7] = 5
    summary = fastlstm.score(model, "x.zarr", "y.npy", lengths=lengths, on_bad_row="nan")
    assert summary.bad_rows["first"] == [7]
    summary = fastlstm.score(model, "x.zarr", "w.npy", window=3, on_bad_row="skip")
    assert summary.written == 2 * N  # of five windows, two end within the first four steps
    assert_same_bits(np.load("w.npy")[0], model.predict(x[:1, :3])[0])


def test_a_missing_chunk_without_a_fill_value_is_never_filled(model):
    array = zarr.open_array(
        "x.zarr", mode="w", shape=X.shape, dtype=X.dtype, chunks=(20, T, INPUTS), fill_value=None,
        **zarr_options(),
    )  # fmt: skip
    array[:] = X
    os.remove("x.zarr/1.0.0")
    with pytest.raises(ValueError, match="sequence 20 is bad"):
        fastlstm.score(model, "x.zarr", "y.npy", fill_missing=True)


def test_chunks_deleted_while_they_are_scored_are_an_error(model, monkeypatch):
    save("x.zarr")

    def delete() -> None:
        for path in Path("x.zarr").rglob("*"):
            if path.is_file() and path.name[0].isdigit():
                path.unlink()

    at_chunk(monkeypatch, 2, delete)
    with pytest.raises((OSError, ValueError), match=r"is bad|has changed"):
        fastlstm.score(model, "x.zarr", "y.npy")
    assert not Path("y.npy").exists()


@pytest.mark.parametrize("chunks", [(20, T, INPUTS), (20, 2, 1)])
def test_sequences_in_a_chunk_of_hdf5_that_was_never_written_are_bad(model, chunks):
    x = X.copy()
    x[20:40] = 0
    with h5py.File("x.h5", "w") as file:
        dataset = file.create_dataset("x", X.shape, X.dtype, chunks=chunks)
        dataset[:20], dataset[40:] = X[:20], X[40:]
    with pytest.raises(ValueError, match=r"sequence 20 is bad: a missing chunk .*fill_missing"):
        fastlstm.score(model, "x.h5", "y.npy")
    expected = model.predict(x)
    fastlstm.score(model, "x.h5", "y.npy", restart=True, fill_missing=True)
    assert_same_bits(np.load("y.npy"), expected)
    summary = fastlstm.score(model, "x.h5", "y.npy", on_bad_row="nan")
    expected[20:40] = np.nan
    assert_same_bits(np.load("y.npy"), expected)
    assert summary.bad_rows["count"] == 20


def test_fill_missing_is_for_zarr(model):
    with pytest.raises(ValueError, match=r"fill_missing does not apply to \.npy"):
        fastlstm.score(model, save("x.npy"), "y.npy", fill_missing=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_and_devices_are_refused(model):
    os.mkfifo("x.npy")
    os.symlink("/dev/zero", "z.npy")
    save("ok.npy")
    for name in ("x.npy", "z.npy"):
        with pytest.raises(
            ValueError, match=rf"{name} is a pipe or a device.*; to read standard input, give -"
        ):
            fastlstm.score(model, name, "y.npy")
        with pytest.raises(ValueError, match=rf"{name} is a pipe or a device") as error:
            fastlstm.score(model, "ok.npy", "y.npy", lengths=name)
        assert "standard input" not in str(error.value)


HEADERS = {
    "no size": ("|S0", (-1,)),
    "negative": ("<f4", (2, -1)),
    "beyond 64 bits": ("<f4", (2**63,)),
    "product beyond 64 bits": ("<f4", (2**40, 2**40)),
    "empty and beyond": ("<f4", (0, 2**63)),
    "larger than the file": ("<f4", (2**40, 3)),
    "no size, zero rows": ("<V0", (0,)),
    "objects": ("|O", (3,)),
    "many axes": ("<f4", (1,) * 100),
}


@pytest.mark.parametrize(("descr", "shape"), HEADERS.values(), ids=HEADERS)
def test_headers_that_no_array_has(model, descr, shape):
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    header = b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text
    Path("h.npy").write_bytes(header + bytes(800))
    save("ok.npy")
    with pytest.raises(ValueError, match=r"h\.npy: expected"):
        fastlstm.score(model, "h.npy", "y.npy")
    with pytest.raises(ValueError, match=r"h\.npy: expected"):
        fastlstm.score(model, "ok.npy", "y.npy", lengths="h.npy")


@pytest.mark.parametrize("options", [{"window": 2**64}, {"window": 2, "stride": 2**64}])
def test_windows_and_strides_beyond_64_bits_are_refused(model, options):
    with pytest.raises(ValueError, match="to be at most"):
        fastlstm.score(model, save("x.npy"), "y.npy", **options)


def test_a_stride_beyond_every_sequence_gives_one_window_each(model):
    fastlstm.score(model, save("x.npy"), "y.npy", window=2, stride=2**61)
    assert_same_bits(np.load("y.npy"), model.predict(X[:, :2]))


def test_attributes_of_text_are_not_read(model):
    """Damaged text of any length may keep libhdf5 busy for ever."""
    with h5py.File(save("x.h5"), "r+") as file:
        file["x"].attrs["units"] = "m"
        file["x"].attrs["_FillValue"] = "none"
    with pytest.raises(
        ValueError, match="expected the attribute _FillValue to be a number, got text"
    ):
        fastlstm.score(model, "x.h5", "y.npy")
