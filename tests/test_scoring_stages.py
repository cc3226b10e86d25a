"""Work side by side: a thread that waits for what never comes."""

from __future__ import annotations

import threading

from fastlstm.scoring import stages


def test_a_reader_that_waits_for_ever_is_left_behind(monkeypatch):
    monkeypatch.setattr(stages, "PATIENCE", 0.05)
    never, abandoned = threading.Event(), []

    def items():
        yield 1
        never.wait()

    with stages.ahead(items(), lambda: abandoned.append(True)) as taken:
        assert next(taken) == 1
    assert abandoned == [True]
    never.set()


def test_a_reader_that_is_told_to_stop_is_waited_for():
    stop, ended = threading.Event(), []

    def items():
        yield 1
        stop.wait()
        ended.append(True)

    with stages.ahead(items(), stop.set) as taken:
        assert next(taken) == 1
    assert ended == [True]
