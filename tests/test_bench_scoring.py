"""`python -m bench score`: its files, the scripts, and what is made of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

# At the end: the package under test is the one that is installed, not the one beside `bench`.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from test_bench_results import cells, stored, timed

from bench import __main__ as bench
from bench import (
    file_engines,
    goals,
    goals_scoring,
    measure,
    options,
    readme,
    report_scoring,
    results,
    scoring,
    scoring_memory,
    scoring_rows,
)
from bench.engines import ENGINES
from bench.memory import RESET
from bench.rivals.onnx_graph import model_bytes
from bench.scoring_rows import SCORING, ScoringRow
from fastlstm import LSTM, Dense

NPY, PARQUET = (ScoringRow(name, 50, 6, 1, 4, 1, "float32") for name in ("npy_32", "parquet_32"))
EITHER = pytest.mark.parametrize("row", [NPY, PARQUET], ids=lambda row: row.name)


def exact(row):
    return measure.float64_outputs(row, np.arange(row.N))


# --- files -------------------------------------------------------------------------------------


@EITHER
def test_the_files_hold_the_input(row, tmp_path, monkeypatch):
    monkeypatch.setattr(scoring_rows, "AT_ONCE", 20)
    path = row.write(tmp_path)
    written = np.load(path)
    np.testing.assert_array_equal(written, row.inputs())
    assert (written.shape, written.dtype) == ((50, 6, 1), "float32")
    assert written.nbytes == row.file_bytes
    assert len(np.unique(written)) > 295  # no piece is another one again
    if row is PARQUET:
        lists = pq.read_table(path.with_suffix(".parquet"))["x"].to_pylist()
        np.testing.assert_array_equal(np.array(lists, "float32"), written[..., 0])
    assert len(list(tmp_path.iterdir())) == (2 if row is PARQUET else 1)


@EITHER
@pytest.mark.parametrize("size", [1, 7, 33, 100])
def test_chunks_are_the_first_sequences(size, row, tmp_path):
    path = row.write(tmp_path)
    source, fewer = path.with_suffix(row.suffix), row.with_sequences(33)
    pieces = list(file_engines.chunks(fewer, source, size))
    assert max(len(piece) for piece in pieces) == min(size, 33)
    np.testing.assert_array_equal(np.concatenate(pieces), row.inputs()[:33])


def test_a_folder_without_room_is_refused(tmp_path, monkeypatch):
    row = ScoringRow.named("npy_1", "float32")
    for free, fits in (5.9e9, False), (6.1e9, True):
        monkeypatch.setattr(
            scoring.shutil, "disk_usage", lambda path, n=free: SimpleNamespace(free=n)
        )
        if fits:
            scoring.check_space(row, tmp_path)
        else:
            with pytest.raises(SystemExit, match=r"npy_1 needs 6.0 GB of disk, .* has 5.9 GB"):
                scoring.check_space(row, tmp_path)


# --- engines -----------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["fastlstm, score", "naive script"])
def test_an_engine_writes_the_scores(engine, tmp_path):
    found = ENGINES[engine].build(NPY, NPY.write(tmp_path), 1).call()
    np.testing.assert_allclose(found, exact(NPY), rtol=0, atol=1e-6)
    assert found.shape == (50, 1)


def test_the_naive_script_reads_parquet(tmp_path):
    found = ENGINES["naive script"].build(PARQUET, PARQUET.write(tmp_path), 1).call()
    np.testing.assert_allclose(found, exact(PARQUET), rtol=0, atol=1e-6)


def test_bulk_scoring_reads_the_file_of_its_row(tmp_path, monkeypatch):
    path, read = PARQUET.write(tmp_path), []

    def score(model, source, destination, **more):
        read.append(source.name)
        np.save(destination, np.zeros(1))

    monkeypatch.setattr(file_engines.fastlstm, "score", score)
    for name in ("fastlstm, score", "fastlstm, score .npy"):
        ENGINES[name].build(PARQUET, path, 1).call()
    assert read == ["x.parquet", "x.npy"]


def test_reading_reads_the_whole_file(tmp_path, monkeypatch):
    path, counts = NPY.write(tmp_path), []
    monkeypatch.setattr(file_engines, "BUFFER", 100)
    watched = lambda *args, **more: Noted(open(*args, **more), counts)  # noqa: E731, SIM115
    monkeypatch.setattr(file_engines, "open", watched, raising=False)
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
def test_onnx_runtime_scores_chunks(row, tmp_path, monkeypatch):
    if ENGINES["ONNX Runtime, chunks"].missing():
        pytest.skip("needs onnxruntime: pip install -e '.[bench]'")
    monkeypatch.setattr(file_engines, "CHUNKS", (7, 20))
    monkeypatch.setattr(file_engines, "TRIED", 30)
    call, settings = ENGINES["ONNX Runtime, chunks"].build(row, row.write(tmp_path), 1)
    np.testing.assert_allclose(call(), exact(row), rtol=0, atol=1e-6)
    assert settings in ("1 threads, chunks of 7", "1 threads, chunks of 20")


def test_a_head_that_is_not_written_is_refused():
    model = NPY.model()
    curved = LSTM(model.layers, Dense(np.ones((1, 4), "f"), np.zeros(1, "f"), activation="tanh"))
    with pytest.raises(NotImplementedError, match="a head with an activation"):
        model_bytes(curved, "N", 6)
    every = LSTM(model.layers, model.head, True)
    with pytest.raises(NotImplementedError, match="anything but the last states"):
        model_bytes(every, "N", 6)


def test_of_a_long_file_only_some_sequences_are_timed_with_onnx_runtime():
    engine, row = ENGINES["ONNX Runtime, chunks"], ScoringRow.named("npy_1", "float32")
    assert engine.sequences(row) == 100_000
    assert engine.sequences(NPY) == 50
    assert ENGINES["fastlstm, score"].sequences(row) == 10_000_000


@pytest.mark.full
def test_engines_are_compared_on_a_file(tmp_path):
    path, rounds = NPY.write(tmp_path), 2
    names = ("fastlstm, score", "fastlstm", "naive script", "read file")
    found = measure.compare(NPY, names, 1, rounds, 0.0, path)["engines"]
    for name in names[:3]:
        assert found[name]["checked"] == found[name]["sequences"] == 50
        assert found[name]["max_error"] < 1e-6
        assert len(found[name]["seconds"]) == rounds
    assert "max_error" not in found["read file"]
    assert path.exists()


@pytest.mark.full
@pytest.mark.skipif(not RESET.exists(), reason="the peak of a process is Linux's to tell")
def test_the_memory_of_a_process(tmp_path):
    row = ScoringRow.named("npy_32", "float32").with_sequences(200_000)
    path = row.write(tmp_path)  # 80 MB
    found = scoring_memory.peak("naive script", row, 1, path)
    assert found["peak"] > found["held"] + row.file_bytes
    path.unlink()
    assert scoring_memory.peak("naive script", row, 1, path)["failed"].startswith("FileNotFound")


# --- goals, tables -----------------------------------------------------------------------------


def rates(name, score=1.0, **others):
    """A stored row; the engines' seconds by name, or what they have instead."""
    row = ScoringRow.named(name, "float32")
    named = {"fastlstm, score": score} | {
        {"memory": "fastlstm", "read": "read file", "npy": "fastlstm, score .npy"}.get(k, k): v
        for k, v in others.items()
    }
    errors = {"checked": 9, "rms_error": 1e-8, "max_error": 1e-7}
    engines = {
        k: timed(v, sequences=row.N, flops=row.flops, **(errors if k != "read file" else {}))
        if isinstance(v, float)
        else v
        for k, v in named.items()
    }
    return row.__dict__ | {"steps": row.steps, "flops": row.flops, "engines": engines}


def peaks(name, **peak):
    engines = {k.replace("_", " "): {"held": 1, "peak": v} for k, v in peak.items()}
    engines["fastlstm, score"] = engines.pop("score")
    return ScoringRow.named(name, "float32").__dict__ | {"engines": engines}


def found(*rows, memory=()):
    return stored("score", scoring=list(rows), scoring_memory=list(memory))


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
    (goal,) = goals.check(found(row))
    assert (goal.wanted, goal.got, goal.met) == (wanted, got, met)


def test_a_share_is_taken_within_each_round():
    row = rates("npy_1", memory=1.0, read=1.0)
    row["engines"]["fastlstm, score"]["seconds"] = [2.0, 20.0, 3.0]
    row["engines"]["fastlstm"]["seconds"] = [1.0, 18.0, None]
    row["engines"]["read file"]["seconds"] = [1.4, 10.0, 3.0]
    assert goals_scoring.share(row, ("fastlstm", "read file")) == pytest.approx(0.8)
    del row["engines"]["read file"]
    assert goals_scoring.share(row, ("fastlstm", "read file")) is None
    assert not goals.check(found(row))


def test_memory_has_a_goal():
    memory = [peaks("npy_1", score=499_000_000), peaks("npy_32", score=500_000_000)]
    one, other = goals.check(found(memory=memory))
    assert (one.got, one.met) == ("499 MB", True)
    assert (other.wanted, other.met) == ("< 500 MB", False)


def test_the_table_of_scoring():
    wrong = timed(2.0, max_error=0.3, rms_error=0.1, checked=9, sequences=10, flops=1)
    others = {"naive script": 4.0, "ONNX Runtime, chunks": wrong}
    row = rates("npy_1", 2.0, memory=1.0, read=0.5, **others)
    memory = [peaks("npy_1", score=210_000_000, naive_script=4_200_000_000)]
    text = report_scoring.overview([row], memory)
    assert cells(text, "| npy_1") == [
        *("npy_1", "`.npy`", "10,000,000 x 100", "1"),
        *("5.00", "2.50", "wrong", "10.0", "20.0", "210", "4,200"),
    ]
    assert "Neither script was faster" in text
    row["engines"]["naive script"] = {"failed": "MemoryError: no"}
    assert cells(report_scoring.overview([row], []), "| npy_1")[5] == "fails"
    assert "failed: MemoryError: no" in report_scoring.section([row], [])


def test_losses_are_printed():
    others = {"naive script": 0.5, "ONNX Runtime, chunks": 2.0}
    text = report_scoring.overview([rates("npy_32", 1.0, memory=0.1, **others)], [])
    assert "- `npy_32`: naive script is 2.00 x as fast" in text
    assert text.count(" x as fast") == 1  # neither `predict` nor reading is another script


def test_the_readme_has_a_section_of_it(tmp_path, monkeypatch):
    document, path = tmp_path / "README.md", tmp_path / "found.json"
    document.write_text("before\n<!-- scoring: begin -->\nold\n<!-- scoring: end -->\nafter\n")
    monkeypatch.setattr(readme, "README", document)
    memory = [peaks("npy_32", score=600_000_000)]
    results.write(found(rates("npy_32", memory=0.95), memory=memory), path)
    for _ in range(2):  # the second time it is the same
        assert bench.main(["readme", str(path)]) == 0
        text = document.read_text()
        assert text.startswith("before\n<!-- scoring: begin -->\nMeasured 2026-01-02")
        assert text.endswith(
            "own 2 goals for these figures, 1 are met, but not:\n\n"
            "- npy_32: peak memory of the process: 600 MB, wanted < 500 MB\n"
            "<!-- scoring: end -->\nafter\n"
        )
        assert "### Memory" in path.with_suffix(".md").read_text()


@pytest.mark.full
def test_a_tiny_run_from_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(options, "QUICK", 2_000)
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
    assert list(row["engines"]) == (["fastlstm, score"] if RESET.exists() else [])
    assert not list(folder.iterdir())
    assert set(scoring.ENGINES) <= set(ENGINES)
    assert set(scoring.ENGINES) == set(report_scoring.HEADERS)


def test_parts_that_were_measured_again_replace_those_before():
    old = found(rates("npy_1"), rates("npy_32"), memory=[peaks("npy_1", score=1)])
    new = stored("score", scoring=[rates("npy_1", 7.0)])
    merged = results.update(new, old)
    assert [row["name"] for row in merged["scoring"]] == list(SCORING)[:2]
    assert merged["scoring"][0]["engines"]["fastlstm, score"]["median"] == 7.0
    assert merged["scoring_memory"] == old["scoring_memory"]
