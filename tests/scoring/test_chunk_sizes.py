"""How large chunks are, so that memory stays bounded and an interruption loses little."""

from __future__ import annotations

import re

import numpy as np
import pytest
from networks import Maker
from scoring_files import MODELS

import fastlstm
from fastlstm.scoring import memory
from fastlstm.scoring.outputs import Wanted
from fastlstm.scoring.run import Run
from fastlstm.scoring.sources.layout import Layout


@pytest.mark.parametrize(
    ("text", "size"),
    [("500MB", 500_000_000), ("1.5 GiB", 3 << 29), (4096, 4096), ("2k", None), ("0", None)],
)
def test_sizes(text, size):
    if size is None:
        with pytest.raises(ValueError, match=re.escape(f"got {text!r}")):
            memory.as_bytes(text)
    else:
        assert memory.as_bytes(text) == size


def test_a_window_of_few_bytes_is_as_much_work_as_any(here):
    np.save("x.npy", np.zeros((2_000_000, 2), "float32"))
    layout = Layout(window=1000)
    wanted = Wanted(False, False, False)
    with fastlstm.scoring.run.Run(
        MODELS[2], "x.npy", "y.npy", layout=layout, wanted=wanted, memory="1GB"
    ) as run:
        per_window = 1000 * MODELS[2]._engine.work_a_step
        assert run.chunk_bytes() / 8 * per_window == pytest.approx(memory.MOST_WORK, rel=0.01)


def test_what_a_chunk_takes_beside_its_results_counts(tmp_path):
    """Final states may come with outputs of every step, windows with their numbers and starts."""
    make = Maker(0, "float32")
    model = fastlstm.LSTM([make.layer(1, 64)], make.dense(64, 1), read="last")
    np.save(tmp_path / "x.npy", np.zeros((3, 100), np.float32))
    np.save(tmp_path / "s.npy", np.zeros(100, np.float32))

    def chunk(name, state, **layout):
        run = Run(
            model,
            tmp_path / name,
            tmp_path / "y.npy",
            layout=Layout(**layout),
            wanted=Wanted(False, state, False),
        )
        with run:
            return run.chunk_bytes()

    assert chunk("x.npy", True) * 64 < 500e6 < chunk("x.npy", False) * 64
    windows = chunk("s.npy", False, window=5) // 4
    assert windows * 3 * (2 * 4 + 4 + 16) < 500e6
