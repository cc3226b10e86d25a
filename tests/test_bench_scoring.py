"""`python -m bench score`: its files, the scripts, and what is made of it."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from bench_results import cells, result, timed, workload_row

from bench import __main__ as bench
from bench.harness import accuracy, limits, own, resident, run, turns
from bench.harness.engines import ENGINES
from bench.rivals import onnx_runtime
from bench.scoring import command, files, memory, report
from bench.scoring.files import FileWorkload

NPY, PARQUET = (FileWorkload(name, 50, 6, 1, 4, 1, "float32") for name in ("npy_32", "parquet_32"))
EITHER = pytest.mark.parametrize("workload", [NPY, PARQUET], ids=lambda workload: workload.name)


def exact(workload):
    return accuracy.float64_outputs(workload, np.arange(workload.N))


# --- files -------------------------------------------------------------------------------------


@EITHER
def test_the_files_hold_the_input(workload, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "AT_ONCE", 20)
    path = workload.write(tmp_path)
    written = np.load(path)
    np.testing.assert_array_equal(written, workload.inputs())
    assert (written.shape, written.dtype) == ((50, 6, 1), "float32")
    assert written.nbytes == workload.file_bytes
    assert len(np.unique(written)) > 295  # no piece is another one again
    if workload is PARQUET:
        lists = pq.read_table(path.with_suffix(".parquet"))["x"].to_pylist()
        np.testing.assert_array_equal(np.array(lists, "float32"), written[..., 0])
    assert len(list(tmp_path.iterdir())) == (2 if workload is PARQUET else 1)


@EITHER
@pytest.mark.parametrize("size", [1, 7, 33, 100])
def test_chunks_are_the_first_sequences(size, workload, tmp_path):
    path = workload.write(tmp_path)
    pieces = list(workload.with_sequences(33).chunks(path, size))
    assert max(len(piece) for piece in pieces) == min(size, 33)
    np.testing.assert_array_equal(np.concatenate(pieces), workload.inputs()[:33])


def test_a_folder_without_room_is_refused(tmp_path, monkeypatch):
    workload = FileWorkload.named("npy_1", "float32")
    for free, fits in (5.9e9, False), (6.1e9, True):
        monkeypatch.setattr(
            command.shutil, "disk_usage", lambda path, n=free: SimpleNamespace(free=n)
        )
        if fits:
            command.check_space(workload, tmp_path)
        else:
            with pytest.raises(SystemExit, match=r"npy_1 needs 6.0 GB of disk, .* has 5.9 GB"):
                command.check_space(workload, tmp_path)


# --- engines -----------------------------------------------------------------------------------


@EITHER
@pytest.mark.parametrize("label", ["fastlstm, score", "naive script"])
def test_an_engine_writes_the_scores(label, workload, tmp_path):
    workload = replace(workload, dtype="float64")  # other tests of the benchmarks compile that, too
    found = ENGINES[label].build(workload, workload.write(tmp_path), 1).call()
    np.testing.assert_allclose(found, exact(workload), rtol=0, atol=1e-14)
    assert found.shape == (50, 1)


def test_bulk_scoring_reads_the_file_of_its_workload(tmp_path, monkeypatch):
    path, read = PARQUET.write(tmp_path), []

    def score(model, source, destination, **more):
        read.append(source.name)
        np.save(destination, np.zeros(1))

    monkeypatch.setattr(own.fastlstm, "score", score)
    for name in ("fastlstm, score", "fastlstm, score .npy"):
        ENGINES[name].build(PARQUET, path, 1).call()
    assert read == ["x.parquet", "x.npy"]


def test_reading_reads_the_whole_file(tmp_path, monkeypatch):
    path, counts = NPY.write(tmp_path), []
    monkeypatch.setattr(limits, "BUFFER", 100)
    watched = lambda *args, **more: Noted(open(*args, **more), counts)  # noqa: E731, SIM115
    monkeypatch.setattr(limits, "open", watched, raising=False)
    ENGINES["read file"].build(NPY, path, 1).call()
    assert sum(counts) == path.stat().st_size


class Noted:
    """A file that notes how much was read at a time."""

    def __init__(self, file, counts):
        self.file, self.counts = file, counts

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.file.close()

    def readinto(self, buffer):
        self.counts.append(self.file.readinto(buffer))
        return self.counts[-1]


@EITHER
def test_onnx_runtime_scores_chunks(workload, tmp_path, monkeypatch):
    if ENGINES["ONNX Runtime, chunks"].missing():
        pytest.skip("needs onnxruntime: pip install -e '.[bench]'")
    monkeypatch.setattr(onnx_runtime, "CHUNKS", (7, 20))
    monkeypatch.setattr(onnx_runtime, "TRIED", 30)
    call, settings = ENGINES["ONNX Runtime, chunks"].build(workload, workload.write(tmp_path), 1)
    np.testing.assert_allclose(call(), exact(workload), rtol=0, atol=1e-6)
    assert settings in ("1 threads, chunks of 7", "1 threads, chunks of 20")


def test_of_a_long_file_only_some_sequences_are_timed_with_onnx_runtime():
    engine, workload = ENGINES["ONNX Runtime, chunks"], FileWorkload.named("npy_1", "float32")
    assert engine.sequences(workload) == 100_000
    assert engine.sequences(NPY) == 50
    assert ENGINES["fastlstm, score"].sequences(workload) == 10_000_000


@pytest.mark.full
def test_engines_are_compared_on_a_file(tmp_path):
    path, rounds = NPY.write(tmp_path), 2
    names = ("fastlstm, score", "fastlstm", "naive script", "read file")
    engines = [ENGINES[name] for name in names]
    found = turns.time_engines(NPY, engines, 1, rounds, 0.0, path)["engines"]
    for name in names[:3]:
        assert found[name]["checked"] == found[name]["sequences"] == 50
        assert found[name]["max_error"] < 1e-6
        assert len(found[name]["seconds"]) == rounds
    assert "max_error" not in found["read file"]
    assert path.exists()


@pytest.mark.full
@pytest.mark.skipif(not resident.can_measure(), reason="the peak of a process is Linux's to tell")
def test_the_memory_of_a_process(tmp_path):
    workload = FileWorkload.named("npy_32", "float32").with_sequences(200_000)
    path = workload.write(tmp_path)  # 80 MB
    found = memory.peak("naive script", workload, 1, path)
    assert found["peak"] > found["held"] + workload.file_bytes
    path.unlink()
    assert memory.peak("naive script", workload, 1, path)["failed"].startswith("FileNotFound")


# --- goals, tables -----------------------------------------------------------------------------


def rates(name, score=1.0, **others):
    """A stored row; the engines' seconds by name, or what they have instead."""
    labels = {"memory": "fastlstm", "read": "read file", "npy": "fastlstm, score .npy"}
    engines = {"fastlstm, score": score} | {labels.get(k, k): v for k, v in others.items()}
    return workload_row(FileWorkload.named(name, "float32"), engines)


def peaks(name, **peak):
    engines = {k.replace("_", " "): {"held": 1, "peak": v} for k, v in peak.items()}
    engines["fastlstm, score"] = engines.pop("score")
    return FileWorkload.named(name, "float32").__dict__ | {"engines": engines}


def found(*rows, memory=()):
    return result("score", scoring=list(rows), scoring_memory=list(memory))


@pytest.mark.parametrize(
    ("row", "wanted", "got", "met"),
    [
        (rates("npy_1", 1.0, memory=0.69, read=0.5), ">= 70%", "69.0%", False),
        (rates("npy_1", 1.0, memory=0.5, read=0.71), ">= 70%", "71.0%", True),
        (rates("npy_32", 1.0, memory=0.89, read=2.0), ">= 90%", "89.0%", False),
        (rates("npy_32", 1.0, memory=0.91, read=0.1), ">= 90%", "91.0%", True),
        (rates("parquet_32", 1.51, npy=1.0), "<= 1.5 x", "1.51 x", False),
        (rates("parquet_32", 1.49, npy=1.0), "<= 1.5 x", "1.49 x", True),
    ],
)
def test_a_rate_has_a_goal(row, wanted, got, met):
    (goal,) = command.goals(found(row))
    assert (goal.wanted, goal.got, goal.met) == (wanted, got, met)


def test_a_share_is_taken_within_each_round():
    row = rates("npy_1", memory=1.0, read=1.0)
    row["engines"]["fastlstm, score"]["seconds"] = [2.0, 20.0, 3.0]
    row["engines"]["fastlstm"]["seconds"] = [1.0, 18.0, None]
    row["engines"]["read file"]["seconds"] = [1.4, 10.0, 3.0]
    assert report.share(row, ("fastlstm", "read file")) == pytest.approx(0.8)
    del row["engines"]["read file"]
    assert report.share(row, ("fastlstm", "read file")) is None
    assert not list(command.goals(found(row)))


def test_memory_has_a_goal():
    memory = [peaks("npy_1", score=499_000_000), peaks("npy_32", score=500_000_000)]
    one, other = command.goals(found(memory=memory))
    assert (one.got, one.met) == ("499 MB", True)
    assert (other.wanted, other.met) == ("< 500 MB", False)


def test_the_table_of_scoring():
    wrong = timed(2.0, max_error=0.3, rms_error=0.1, checked=9, sequences=10, flops=1)
    others = {"naive script": 4.0, "ONNX Runtime, chunks": wrong}
    row = rates("npy_1", 2.0, memory=1.0, read=0.5, **others)
    memory = [peaks("npy_1", score=210_000_000, naive_script=4_200_000_000)]
    text = report.overview([row], memory)
    assert cells(text, "| npy_1") == [
        *("npy_1", "`.npy`", "10,000,000 x 100", "1"),
        *("5.00", "2.50", "wrong", "10.0", "20.0", "210", "4,200"),
    ]
    assert "No script was faster" in text
    row["engines"]["naive script"] = {"failed": "MemoryError: no"}
    assert cells(report.overview([row], []), "| npy_1")[5] == "fails"
    assert "failed: MemoryError: no" in report.section([row], [])


def test_losses_are_printed():
    others = {"naive script": 0.5, "ONNX Runtime, chunks": 2.0}
    text = report.overview([rates("npy_32", 1.0, memory=0.1, **others)], [])
    assert "- `npy_32` in float32: naive script is 2.00 x as fast" in text
    assert text.count(" x as fast") == 1  # neither `predict` nor reading is another script


def test_the_section_of_the_readme():
    text = command.readme(
        found(rates("npy_32", **{"naive script": 4.0}), memory=[peaks("npy_32", score=1)])
    )
    assert text.startswith("Measured 2026-01-02 on 2 threads of Some(R) CPU, AVX-512; numpy 2.4. ")
    assert text.endswith("4.00 (`npy_32`) times as fast as the fastest script.")


@pytest.mark.full
def test_a_tiny_run_from_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "QUICK", 2_000)
    folder, path = tmp_path / "files", tmp_path / "results.json"
    folder.mkdir()
    arguments = ["score", "--rows", "npy_32", "--quick", "--threads", "1", "--json", str(path)]
    arguments += ["--engines", "fastlstm, score", "fastlstm", "--folder", str(folder)]
    assert bench.main(arguments) == 0
    assert "| npy_32 |" in capsys.readouterr().out
    stored = json.loads(path.read_text())
    (row,) = stored["scoring"]
    assert row["N"] == 500
    assert row["engines"]["fastlstm, score"]["max_error"] < 1e-6
    (row,) = stored["scoring_memory"]
    assert list(row["engines"]) == (["fastlstm, score"] if resident.can_measure() else [])
    assert not list(folder.iterdir())
