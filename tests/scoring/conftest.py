"""What tests of bulk scoring can ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastlstm.scoring import memory


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder for the files of one test, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small_chunks(monkeypatch) -> None:
    """Chunks of few sequences, so that there are many."""
    monkeypatch.setattr(memory, "MOST_CHUNK", 1 << 10)
