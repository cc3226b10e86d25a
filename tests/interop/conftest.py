"""The tests that need the frameworks: random networks have forms of their own to compile."""

import helpers
import pytest


@pytest.fixture(autouse=True)
def _every_cell(monkeypatch):
    monkeypatch.setattr(helpers, "EVERY_CELL", True)
