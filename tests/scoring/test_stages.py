"""Work side by side: a thread that waits for what never comes."""

from __future__ import annotations

import threading

import pytest

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


def test_what_waits_is_looked_after():
    """Items that are not taken, in order; what was taken is not among them."""
    seen, looked = [], threading.Event()

    def tend(items):
        seen.append([item[0] for item in items])
        for item in items:
            item[0] += 10
        looked.set()

    with stages.ahead(([i] for i in range(5)), tend=tend) as taken:
        first = next(taken)
        assert looked.wait(10)
        assert first == [0]
        rest = list(taken)
    assert seen[0] == [1, 2]
    assert [item[0] % 10 for item in rest] == [1, 2, 3, 4]
    assert rest[0][0] >= 11


@pytest.mark.parametrize("items", [1, 2, 3])
def test_looking_after_that_fails_is_the_end(items):
    called = threading.Event()

    def tend(items):
        called.set()
        raise MemoryError("no copy")

    with stages.ahead(([i] for i in range(items)), tend=tend) as taken:
        if items == 3:
            next(taken)
        assert called.wait(10)
        with pytest.raises(MemoryError, match="no copy"):
            list(taken)
