"""A limit on what reading a file may cost, whatever the file says.

A file of a few kilobytes can ask for gigabytes: with one tensor that many names share, a dict that
is copied again and again, a shape that a graph computes. So `opened` gives every file a budget of
memory and of steps, in proportion to its size, and readers call `charge` before they allocate or
loop. When the budget is used up, reading ends with a `ModelFormatError`.

The content of the file itself is not charged, only what is made from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from fastlstm.errors import ModelFormatError

__all__ = ["Budget", "OverBudget", "budgeted", "charge", "current", "lent", "returned"]

MEMORY: Final = 1 << 27  # bytes that any file may take
MEMORY_PER_BYTE: Final = 12  # float16 weights, the worst: read, widened, in layers
STEPS: Final = 400_000  # of about a microsecond
STEPS_PER_BYTE: Final = 1 / 16
ELEMENTS_PER_STEP: Final = 100  # that NumPy works through in a microsecond


class OverBudget(ModelFormatError):
    """Reading the file would take more than a model of its size does."""


class Budget:
    """What may still be spent on reading a file.

    Parameters
    ----------
    content : float
        Bytes that there are to read, unpacked.
    """

    def __init__(self, content: float) -> None:
        self.content = content
        self.ends: dict[str, int] = {}  # of other files, how far they are read
        self.memory = max(MEMORY, MEMORY_PER_BYTE * content)
        self.steps = max(STEPS, STEPS_PER_BYTE * content)

    def grow(self, content: int) -> None:
        """Allow for more bytes to read, such as those that an archive unpacks to."""
        whole = Budget(self.content + content)
        if self is _UNLIMITED:
            return
        self.memory += whole.memory - max(MEMORY, MEMORY_PER_BYTE * self.content)
        self.steps += whole.steps - max(STEPS, STEPS_PER_BYTE * self.content)
        self.content += content

    def grow_to(self, name: str, end: int) -> None:
        """Allow for another file, `name`, read up to `end`; no byte of it counts twice."""
        before = self.ends.get(name, 0)
        self.ends[name] = max(before, end)
        self.grow(self.ends[name] - before)

    def charge(self, memory: int = 0, steps: float = 0, elements: int = 0) -> None:
        """Charge bytes of memory, steps of a microsecond, and elements that NumPy works through.

        Raises
        ------
        OverBudget
            If that is more than what is left.
        """
        self.memory -= memory
        self.steps -= steps + elements / ELEMENTS_PER_STEP
        if self.memory < 0 or self.steps < 0:
            what = "memory" if self.memory < 0 else "steps"
            raise OverBudget(
                f"reading it would take more {what} than any model of its size needs: it is "
                "damaged, or made to do harm"
            )


_current: ContextVar[Budget | None] = ContextVar("budget", default=None)
_UNLIMITED: Final = Budget(float("inf"))  # for what a caller already holds in memory


def current() -> Budget:
    """Return the budget of the file that is being read; a caller's own objects have no limit."""
    return _current.get() or _UNLIMITED


@contextmanager
def budgeted(content: int) -> Iterator[None]:
    """Set a budget for reading a number of bytes."""
    token = _current.set(Budget(content))
    try:
        yield
    finally:
        _current.reset(token)


def charge(memory: int = 0, steps: float = 0, elements: int = 0) -> None:
    """Charge the budget of the file that is being read; see `Budget.charge`."""
    current().charge(memory, steps, elements)


@contextmanager
def returned() -> Iterator[None]:
    """Give back at the end what is charged inside."""
    budget = current()
    before = budget.memory
    try:
        yield
    finally:
        budget.memory = before


@contextmanager
def lent(memory: int) -> Iterator[None]:
    """Charge bytes, and give them back at the end."""
    budget = current()
    budget.charge(memory)
    yield
    budget.memory += memory
