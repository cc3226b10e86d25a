"""What tests of several modules can ask for; and a run without a test is no success."""

from __future__ import annotations

import helpers
import pytest

from fastlstm.engine.run import packed


class Ran:
    """Whether any test ran, here or in a worker that reports to this process."""

    def __init__(self) -> None:
        self.any = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.any |= report.when == "call" and not report.skipped

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Skipped all of them: pytest would call that a success."""
        in_worker = hasattr(session.config, "workerinput")
        only_listed = session.config.option.collectonly
        if not (self.any or in_worker or only_listed or session.exitstatus):
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if terminalreporter.config.option.collectonly:
            return
        if not self.any:
            terminalreporter.write_line("No test ran: that is a failure here.", red=True)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Ran())
    helpers.EVERY_CELL = config.option.markexpr.startswith("full")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Take tests that run more cells in the engine into `pytest -m full`."""
    for item in items:
        if helpers.EVERY_CELL and item.get_closest_marker("every_cell"):
            item.add_marker("full")


@pytest.fixture(autouse=True)
def few_kernels(request, monkeypatch):
    """One or two kinds of tile for a form, small ones: compiling takes most of the tests' time.

    All kinds give the same bits, as `test_bits` and `test_kinds_of_network` look at. Tests with
    the marker `usual_tiles` get what the engine chooses.
    """
    if request.node.get_closest_marker("usual_tiles") is None:
        monkeypatch.setattr(packed, "choose_tile", helpers.choose_of_few_tiles)
