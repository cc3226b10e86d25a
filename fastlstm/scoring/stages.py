"""Reading, scoring and writing side by side, each in its own thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

__all__ = ["ahead", "behind"]

Item = TypeVar("Item")

PATIENCE = 2.0  # seconds to wait for a thread that may itself be waiting


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


@contextmanager
def ahead(
    items: Iterable[Item],
    abandon: Callable[[], None] | None = None,
    tend: Callable[[list[Item]], None] | None = None,
) -> Iterator[Iterator[Item]]:
    """Iterate in another thread, one item ahead. Its errors are raised where items are taken.

    At most three items are alive: one being made, one waiting, and the one that was taken last.

    Parameters
    ----------
    items
        What to iterate over.
    abandon
        Called when no more items are wanted: it ends waiting for one that may never come. If the
        thread does not end even so, it is left behind. Without it, making an item must end.
    tend
        Called repeatedly while items wait, with those that were made and not taken; none is taken
        before it returns. If it fails, its error ends the items.
    """
    waiting: queue.Queue[Item | _End] = queue.Queue(maxsize=1)
    stopped = threading.Event()

    def put(item: Item | _End) -> bool:
        nonlocal tend
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return not isinstance(item, _End)
            except queue.Full:
                if tend is None:
                    continue
            try:
                look_after(item, tend)
            except BaseException as error:  # the end has to be delivered all the same
                tend = None
                item = item if isinstance(item, _End) and item.error else _End(error)
        return False

    def look_after(item: Item | _End, tend: Callable[[list[Item]], None]) -> None:
        try:
            earlier = waiting.get_nowait()
        except queue.Empty:  # it was taken just now
            return
        try:
            tend([made for made in (earlier, item) if not isinstance(made, _End)])
        finally:
            waiting.put_nowait(earlier)  # this thread alone puts items there

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    return
            put(_End(None))
        except BaseException as error:  # raised where the items are taken
            put(_End(error))

    def taken() -> Iterator[Item]:
        while True:
            item = waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
            del item

    thread = threading.Thread(target=work, name="fastlstm-read", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        stopped.set()
        if abandon is not None:
            abandon()
        thread.join(None if abandon is None else PATIENCE)


class behind(Generic[Item]):
    """Act on items in another thread, one item behind; a context manager.

    An error there is raised by the next `put`, or at the end. Leaving the context waits until
    all items are done, unless there was an error.
    """

    def __init__(self, act: Callable[[Item], None]) -> None:
        self.act = act
        self.waiting: queue.Queue[Item | _End] = queue.Queue(maxsize=1)
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._work, name="fastlstm-write", daemon=True)

    def put(self, item: Item) -> None:
        """Hand over an item as soon as there is room."""
        while self.error is None:
            try:
                return self.waiting.put(item, timeout=0.1)
            except queue.Full:
                continue
        raise self.error

    def _work(self) -> None:
        while True:
            item = self.waiting.get()
            if isinstance(item, _End):
                return
            if self.error is None:
                try:
                    self.act(item)
                except BaseException as error:  # raised where items come from
                    self.error = error

    def __enter__(self) -> behind[Item]:
        self.thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.waiting.put(_End(None))
        self.thread.join()
        if kind is None and self.error is not None:
            raise self.error
