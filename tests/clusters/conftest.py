"""What both clusters score: a model and a folder of Parquet files, one of them without rows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastlstm

ROOT = Path(__file__).resolve().parents[2]
WEATHER = ROOT / "fastlstm" / "data" / "weather_model.npz"
PARTS = 3


@pytest.fixture(scope="session")
def model():
    return fastlstm.load(WEATHER)


@pytest.fixture
def write_table(tmp_path):
    """A function that writes sequences, as lists of an Arrow type, to a folder of files."""

    def write(sequences, kind):
        folder = tmp_path / "sequences"
        folder.mkdir()
        table = pa.table({"id": range(len(sequences)), "x": pa.array(sequences, kind)})
        size = -(-len(sequences) // PARTS)
        for k in range(PARTS + 1):  # the last one is empty
            pq.write_table(table.slice(k * size, size), folder / f"{k}.parquet")
        return folder

    return write


@pytest.fixture
def run_example(tmp_path):
    """A function that runs an example in a process of its own and returns the table it wrote."""

    def run(script, *arguments, **env):
        scores = tmp_path / "scores"
        command = [sys.executable, ROOT / "examples" / script, WEATHER]
        done = subprocess.run(
            [*command, tmp_path / "sequences", scores, *arguments],
            capture_output=True,
            text=True,
            timeout=600,
            env=os.environ | env,
            cwd=tmp_path,  # not the root, where the package's sources are
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return pq.read_table(scores).sort_by("id")

    return run
