"""Bulk scoring on the workers of a Dask cluster: the bytes of one machine, whatever happens."""

from __future__ import annotations

import logging
import os
import signal
from copy import deepcopy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dask.distributed import Client, LocalCluster
from scoring_files import MODELS, X

import fastlstm
from fastlstm import cli
from fastlstm.scoring import cluster, run, scorer
from fastlstm.scoring.run import Run
from fastlstm.scoring.sources.layout import Layout

MODEL = MODELS[2]


@pytest.fixture(scope="module")
def client():
    """Two worker processes of one thread each, which compile the kernels that this one does."""

    def few_kernels() -> None:  # inside: workers need not import this module
        import helpers

        from fastlstm.engine.run import engine

        engine.choose_tile = helpers.choose_of_few_tiles

    options = {"n_workers": 2, "threads_per_worker": 1}
    options["dashboard_address"] = "127.0.0.1:0"  # the usual port may be another test run's
    with (
        LocalCluster(silence_logs=logging.CRITICAL, **options) as workers,
        Client(workers) as client,
    ):
        client.run(few_kernels)
        yield client


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """Sequences as an array, as two Zarr-like files, and as five Parquet files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "PIECE_BYTES", 4000)
    np.save("x.npy", X)
    MODEL.save("m.npz")
    Path("tables").mkdir()
    for i, part in enumerate(np.array_split(X, 5)):
        ids = [f"{i}-{n}" for n in range(len(part))]
        pq.write_table(pa.table({"id": ids, "x": part.tolist()}), f"tables/{i}.parquet")
    return tmp_path


CASES = {
    "an array": ("x.npy", "y.npy", {}),
    "every step": ("x.npy", "y.npy", {"return_sequences": True, "state": True}),
    "windows": ("x.npy", "y.npy", {"window": 4, "stride": 2}),
    "tables": ("tables", "y.parquet", {"id": "id"}),
    "tables to text": ("tables/*.parquet", "y.csv", {"id": "id", "return_sequences": True}),
}


@pytest.mark.parametrize(("source", "destination", "options"), CASES.values(), ids=CASES)
def test_the_bytes_are_those_of_one_machine(client, source, destination, options):
    fastlstm.score(MODEL, source, destination, **options)
    expected = Path(destination).read_bytes()
    Path(destination).unlink()
    summary = fastlstm.score(MODEL, source, destination, dask=client, **options)
    assert Path(destination).read_bytes() == expected
    assert summary.sequences == (403 * 3 if "window" in options else 403)


@pytest.mark.parametrize("policy", ["nan", "skip", "error"])
def test_bad_rows_have_their_numbers(client, policy):
    x = X.copy()
    x[[77, 300], 2, 1] = np.nan
    np.save("x.npy", x)
    if policy == "error":
        with pytest.raises(ValueError, match="sequence 77 is bad: NaN or infinity"):
            fastlstm.score(MODEL, "x.npy", "y.npy", dask=client)
        return
    summary = fastlstm.score(MODEL, "x.npy", "y.npy", dask=client, on_bad_row=policy)
    assert summary.bad_rows["first"] == [77, 300]
    scores = np.load("y.npy")
    good = np.delete(MODEL.predict(X), [77, 300], axis=0)
    kept = np.delete(scores, [77, 300], axis=0) if policy == "nan" else scores
    np.testing.assert_array_equal(kept, good)


def dying_once(flag: str) -> None:
    """Have the worker that scores next die of it; the one that comes for it does not."""
    compute = scorer.compute

    def die(*arguments):
        try:
            Path(flag).touch(exist_ok=False)
        except FileExistsError:
            return compute(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")

    scorer.compute = die


@pytest.mark.full
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills a process by SIGKILL")
def test_a_worker_is_killed_in_the_middle(client):
    client.wait_for_workers(2)
    before = set(client.run(os.getpid).values())
    client.run(dying_once, str(Path("flag").absolute()))
    fastlstm.score(MODEL, "x.npy", "y.npy", dask=client)
    assert Path("flag").exists()
    np.testing.assert_array_equal(np.load("y.npy"), MODEL.predict(X))
    client.wait_for_workers(2)
    assert len(before & set(client.run(os.getpid).values())) == 1
    client.restart()  # the other one without what it was told here


@pytest.mark.parametrize("pieces", [1, 4])
def test_an_interrupted_run_goes_on(client, monkeypatch, pieces):
    monkeypatch.setattr(cluster, "PIECE_BYTES", X.nbytes // pieces)
    seen, score_pieces = [], cluster.score_pieces

    def interrupted(*arguments):
        for entry in score_pieces(*arguments):
            if len(seen) == pieces // 2:
                raise KeyboardInterrupt
            seen.append(entry)
            yield entry

    with monkeypatch.context() as patch:
        patch.setattr(run, "score_pieces", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fastlstm.score(MODEL, "x.npy", "y.npy", dask=client)
    summary = fastlstm.score(MODEL, "x.npy", "y.npy", dask=client, resume=True)
    assert (summary.resumed > 0) is (pieces > 1)
    np.testing.assert_array_equal(np.load("y.npy"), MODEL.predict(X))


def test_a_piece_of_many_chunks_is_taken_up_within(client, monkeypatch):
    """Only the local part: chunks that are done are passed over."""
    pieces = [cluster.Piece(str(Path("x.npy").absolute()))]
    layout = Layout()
    scoring = Run(MODEL, "x.npy", "y.npy", layout=layout, wanted=scorer.Wanted(False, False, False))
    with scoring:
        chunks = cluster.score_piece(scoring.scorer, layout, pieces[0]) * 3

    class Local:
        def submit(self, function, *arguments, **options):
            return type(
                "Future", (), {"result": lambda _: deepcopy(chunks), "release": lambda _: None}
            )()

        def nthreads(self):
            return {}

        def cancel(self, futures):
            pass

    every = list(cluster.score_pieces(Local(), scoring.scorer, layout, pieces, None, 0))
    assert [entry[2] for entry in every] == [(0, 1), (0, 2), (1, 0)]
    rest = list(cluster.score_pieces(Local(), scoring.scorer, layout, pieces, [0, 2], 806))
    assert [entry[2] for entry in rest] == [(1, 0)]
    assert rest[0][0].rows[0] == 806


WRONG = {
    "long format": ({"source": "tables", "time": "t"}, ValueError, "cannot be scored on a cluster"),
    "standard input": ({"source": "-"}, ValueError, "cannot read standard input"),
    "no cluster": ({"dask": "tcp://127.0.0.1:1"}, OSError, "Timed out|refused|connect"),
}


@pytest.mark.parametrize(("call", "kind", "message"), WRONG.values(), ids=WRONG)
def test_what_a_cluster_cannot_do_is_refused(client, monkeypatch, call, kind, message):
    import dask

    arguments = {"source": "x.npy", "destination": "y.npy", "dask": client, **call}
    soon = {"distributed.comm.timeouts.connect": "1s"}
    with dask.config.set(soon), pytest.raises(kind, match=message):
        fastlstm.score(MODEL, **arguments)
    assert not Path("y.npy").exists()
    assert not Path("y.npy.partial").exists()


def test_the_command_scores_on_a_cluster(client, capsys):
    address = client.scheduler.address
    command = ["score", "tables", "--model", "m.npz", "-o", "y.npy", "--dask", address]
    assert cli.main(command) == 0
    np.testing.assert_array_equal(np.load("y.npy"), MODEL.predict(X))
    assert "403 sequences" in capsys.readouterr().err
