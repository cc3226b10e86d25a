"""Standard input as a source: in a process of its own, or as bytes in place of it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from helpers import assert_same_bits
from table_sources import Read, make_embedding_model, make_model

import fastlstm

SCORE = """
import sys, fastlstm
options = eval(sys.argv[3])
fastlstm.score(sys.argv[1], "-", sys.argv[2], **options)
"""

# The first results cannot be written, while the second ones are waited for.
FULL = """
import fastlstm.scoring.memory as memory, fastlstm.scoring.scorer as scorer
memory.MOST_CHUNK = 20_000
def compute(*arguments):
    raise OSError(28, "No space left on device")
scorer.compute = compute
"""


class Pipe(io.RawIOBase):
    """Bytes that come as through a pipe: a few at a time, and once."""

    def __init__(self, data, piece=7):
        self.data, self.piece = data, piece

    def readable(self):
        return True

    def readinto(self, buffer):
        n = min(len(buffer), self.piece, len(self.data))
        buffer[:n], self.data = self.data[:n], self.data[n:]
        return n


@pytest.fixture
def pipe(monkeypatch):
    def put(data, piece=7):
        buffer = io.BufferedReader(Pipe(data, piece), 16)
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=buffer))

    return put


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def stream(table, rows=5):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue()


def score_in_process(folder, model, data, **options):
    """Score bytes on the standard input of a process of its own: a pipe cannot be sought in."""
    path = model.save(folder / "model.npz")
    arguments = [str(path), str(folder / "y.npy"), repr(options)]
    subprocess.run([sys.executable, "-c", SCORE, *arguments], input=data, check=True)
    return np.load(folder / "y.npy")


def test_npy_through_a_pipe(tmp_path):
    model, x = make_model(), np.random.default_rng(0).normal(size=(30_000, 9)).astype("f4")
    assert_same_bits(score_in_process(tmp_path, model, npy(x)), model.predict(x))


@pytest.mark.parametrize("size", [1, 100, 10_000])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "i2"])
def test_npy(pipe, size, dtype):
    model, x = make_model(2), (np.random.default_rng(1).normal(size=(20, 6, 2)) * 9).astype(dtype)
    pipe(npy(x))
    read = Read("-", model, size)
    assert_same_bits(read.scores, model.predict(x))
    assert not read.reader.again
    for window, stride in ((3, 1), (2, 2), (1, 4)):
        pipe(npy(x))
        read = Read("-", model, size, window=window, stride=stride)
        parts = [row[k : k + window] for row in x for k in range(0, 7 - window, stride)]
        assert_same_bits(read.scores, model.predict(np.array(parts)))


@pytest.mark.parametrize(("window", "stride"), [(None, 1), (5, 1), (4, 2), (2, 9)])
def test_npy_of_one_series(pipe, window, stride):
    model, x = make_model(), np.random.default_rng(2).normal(size=100).astype("f4")
    pipe(npy(x))
    read = Read("-", model, 60, window=window, stride=stride)
    starts = range(0, 100 - window + 1, stride) if window else [0]
    assert_same_bits(
        read.scores, model.predict(np.array([x[k : k + (window or 100)] for k in starts]))
    )


def test_npy_of_ids(pipe):
    model, x = make_embedding_model(), np.random.default_rng(3).integers(0, 7, (9, 4))
    pipe(npy(x))
    assert_same_bits(Read("-", model, 50).scores, model.predict(x))


@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_arrow_stream(pipe, size):
    model, x = make_model(), np.random.default_rng(4).normal(size=(30, 4)).astype("f4")
    table = pa.table({"who": range(30), "x": x.tolist()})
    pipe(stream(table))
    read = Read("-", model, size, id="who")
    assert_same_bits(read.scores, model.predict(x.astype("f8")))
    assert read.kept == [{"who": n} for n in range(30)]
    assert read.reader.count is None
    assert not read.reader.again


def test_arrow_stream_of_polars(pipe):
    model, x = make_model(), np.random.default_rng(4).normal(size=(30, 4))
    sink = io.BytesIO()
    pl.DataFrame({"x": x.tolist()}).write_ipc_stream(sink)
    pipe(sink.getvalue(), 1000)
    assert_same_bits(Read("-", model).scores, model.predict(x))


@pytest.mark.parametrize("size", [1, 200])
def test_arrow_stream_in_long_format(pipe, size):
    model, x = make_model(), np.random.default_rng(5).normal(size=(6, 5))
    who, when = np.repeat(np.arange(6), 5), np.tile(np.arange(5), 6)
    table = pa.table({"who": who, "when": when, "x": x.reshape(-1)})
    shuffled = [5 * n + k for n in range(6) for k in (3, 1, 0, 4, 2)]
    for rows in (range(30), shuffled):
        pipe(stream(table.take(list(rows))))
        assert_same_bits(Read("-", model, size, id="who", time="when").scores, model.predict(x))
    pipe(stream(table))
    read = Read("-", model, size, id="who", time="when", window=3)
    windows = np.array([row[k : k + 3] for row in x for k in range(3)])
    assert_same_bits(read.scores, model.predict(windows))
    pipe(stream(table.take(shuffled)))
    with pytest.raises(ValueError, match="rows sorted by 'when' in each sequence"):
        Read("-", model, size, id="who", time="when", window=3)
    pipe(stream(table.take([*range(1, 30), 0])))
    with pytest.raises(ValueError, match="an id in column 'who' comes again"):
        Read("-", model, size, id="who", time="when")


@pytest.mark.parametrize(
    "data", [b"", b"a,b\n1,2\n", b"PAR1" + bytes(20), b"\x93NUM", b"ARROW1\0\0"]
)
def test_what_is_neither(pipe, data):
    pipe(data)
    with pytest.raises(ValueError, match=r"expected an Arrow stream or an \.npy file, got"):
        Read("-", make_model())


def test_a_stream_that_ends_too_soon(pipe):
    x = np.random.default_rng(6).normal(size=(30, 4))
    for data in (npy(x), stream(pa.table({"x": x.tolist()}))):
        for part in (data[: len(data) // 2], data[:20]):
            pipe(part)
            with pytest.raises((ValueError, OSError), match="standard input"):
                Read("-", make_model(), 100)


def test_an_array_in_fortrans_order(pipe):
    pipe(npy(np.asfortranarray(np.ones((3, 4)))))
    with pytest.raises(ValueError, match="expected an array in C order"):
        Read("-", make_model())


def test_a_terminal(monkeypatch):
    buffer = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=buffer))
    with pytest.raises(ValueError, match="is a terminal"):
        Read("-", make_model())


def test_it_cannot_be_resumed(pipe, tmp_path):
    pipe(npy(np.ones((3, 4))))
    with pytest.raises(ValueError, match="cannot be read a second time"):
        fastlstm.score(make_model(), "-", tmp_path / "y.npy", resume=True)


def test_a_writer_that_dies_between_two_batches(tmp_path):
    """Without its mark a stream looks whole, and is not. Both come through a pipe."""
    x = np.random.default_rng(8).normal(size=(10, 2))
    table = pa.table({"s": x.tolist()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=5)
    whole = sink.getvalue().to_pybytes()
    make_model().save(tmp_path / "m.npz")
    command = [sys.executable, "-m", "fastlstm", "score", "-", "--model", "m.npz", "-o", "y.csv"]
    for data, code in ((whole, 0), (whole[:-8], 1)):
        (tmp_path / "x.arrows").write_bytes(data)
        run = subprocess.run(command, input=data, cwd=tmp_path, capture_output=True, timeout=300)
        assert run.returncode == code
        if code == 0:
            scores = np.loadtxt(tmp_path / "y.csv", "f4", delimiter=",", skiprows=1)[:, 1:]
            assert_same_bits(scores, make_model().predict(x))
    assert b"ended without the mark of a complete Arrow stream" in run.stderr
    with pytest.raises(OSError, match=r"x.arrows ended without the mark"):
        fastlstm.score(make_model(), tmp_path / "x.arrows", tmp_path / "z.csv")


@pytest.mark.skipif(os.name != "posix", reason="closes descriptors in a shell")
def test_closed_standard_streams_are_told(tmp_path):
    make_model().save(tmp_path / "m.npz")
    np.save(tmp_path / "x.npy", np.zeros((3, 4), np.float32))
    command = f'"{sys.executable}" -m fastlstm score %s --model m.npz -o %s'
    for source, destination, closed, code, text in (
        ("-", "y.npy", "<&-", 1, b"error: standard input is closed"),
        ("x.npy", "-", ">&-", 1, b"error: standard output is closed"),
        ("x.npy", "y.npy", ">&-", 0, b"3 sequences"),
    ):
        line = f"{command % (source, destination)} {closed}"
        run = subprocess.run(line, shell=True, cwd=tmp_path, stderr=subprocess.PIPE, timeout=300)
        assert run.returncode == code
        assert text in run.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot ask a pipe whether it is empty")
def test_an_error_does_not_wait_for_input_that_never_comes(tmp_path):
    """The process ends, too: no thread holds a lock of standard input."""
    model = make_model()
    x = np.ones((2000, 9), np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), 9)
    data = stream(pa.table({"x": lists}), 500)[:30_000]
    path = model.save(tmp_path / "model.npz")
    code = FULL + SCORE
    arguments = [str(path), str(tmp_path / "y.npy"), repr({})]
    run = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert run.stdin is not None
    run.stdin.write(data)
    run.stdin.flush()  # and it stays open
    try:
        assert run.wait(timeout=60) == 1
        assert b"No space left" in run.stderr.read().splitlines()[-1]
    finally:
        run.kill()
        run.stdin.close()
        run.stderr.close()


@pytest.mark.parametrize("shape", [(-1,), (2**63,), (3, 2**62)])
def test_headers_that_no_array_has(pipe, tmp_path, shape):
    text = repr({"descr": "|S0", "fortran_order": False, "shape": shape}).encode()
    pipe(b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text)
    with pytest.raises(ValueError, match="standard input: expected"):
        fastlstm.score(make_model(), "-", tmp_path / "y.npy")


@pytest.mark.parametrize("version", [(2, 0), (3, 0), (9, 9)])
def test_versions_of_headers_as_in_a_file(pipe, tmp_path, version):
    model = make_model(1)
    x = np.arange(6, dtype="float32").reshape(2, 3)
    text = repr({"descr": "<f4", "fortran_order": False, "shape": x.shape}).encode()
    data = b"\x93NUMPY" + bytes(version) + len(text).to_bytes(4, "little") + text + x.tobytes()
    (tmp_path / "x.npy").write_bytes(data)
    for source in ("-", str(tmp_path / "x.npy")):
        pipe(data)
        if version == (2, 0):
            fastlstm.score(model, source, tmp_path / "y.npy")
            continue
        with pytest.raises(ValueError, match=rf"expected an \.npy file .*version .*{version[0]}"):
            fastlstm.score(model, source, tmp_path / "y.npy")
