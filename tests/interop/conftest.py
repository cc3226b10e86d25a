"""The tests that need the frameworks: random networks have forms of their own to compile."""

import helpers
import pytest


def pytest_addoption(parser):
    parser.addoption("--networks", type=int, default=40, help="random networks of each kind")
    parser.addoption("--first-network", type=int, default=0, metavar="SEED", help="the first seed")


@pytest.fixture
def seeds(request):
    """The seeds of random networks."""
    first = request.config.getoption("first_network")
    return range(first, first + request.config.getoption("networks"))


@pytest.fixture(autouse=True)
def _every_cell(monkeypatch):
    monkeypatch.setattr(helpers, "EVERY_CELL", True)
