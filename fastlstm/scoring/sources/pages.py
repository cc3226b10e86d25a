"""Stretches of a file as memory, a few at a time."""

from __future__ import annotations

import errno
import mmap
import os
from collections import deque
from typing import IO

__all__ = ["ALIVE", "MappedPages"]

# Stretches that are in use at once: one is read, one waits, one is scored; and one to spare.
ALIVE = 4
POPULATE_READ = 22  # Linux's MADV_POPULATE_READ, which Python does not name
WILL_NEED = getattr(mmap, "MADV_WILLNEED", None)
GIVE_BACK = getattr(mmap, "MADV_DONTNEED", None)


class MappedPages:
    """A file that is mapped into memory, of which only a few stretches are there at a time.

    Parameters
    ----------
    file, name
        The open file, and what to call it in errors.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.file, self.name = file, name
        self.size = os.fstat(file.fileno()).st_size
        self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self.size else None
        self.taken: deque[tuple[int, int]] = deque()  # from page to page, as bytes

    def take(self, first: int, last: int) -> memoryview:
        """Return bytes first ... last - 1, which stay there until a few more are taken.

        Raises
        ------
        OSError
            The file has become shorter, or cannot be read.
        """
        if last == first:
            return memoryview(b"")
        assert self.map is not None
        while len(self.taken) >= ALIVE:  # whoever still reads them gets them anew
            self._advise(GIVE_BACK, *self.taken.popleft())
        begin = first - first % mmap.PAGESIZE
        end = min(self.size, last + -last % mmap.PAGESIZE)
        self._advise(WILL_NEED, begin, min(self.size, end + (end - begin)))  # and the next ones
        if os.fstat(self.file.fileno()).st_size < last or not self._populate(begin, end):
            raise OSError(f"{self.name} cannot be read up to byte {last:,}: has it become shorter?")
        self.taken.append((begin, end))
        return memoryview(self.map)[first:last]

    def _advise(self, advice: int | None, begin: int, end: int) -> None:
        if advice is not None and self.map is not None:
            self.map.madvise(advice, begin, end - begin)

    def _populate(self, begin: int, end: int) -> bool:
        """Have pages ready; tell whether they can be read, where the system knows."""
        assert self.map is not None
        try:
            self.map.madvise(POPULATE_READ, begin, end - begin)
        except (AttributeError, ValueError):  # no Unix
            return True
        except OSError as error:
            return error.errno == errno.EINVAL  # a Linux before 5.14, or another Unix
        return True
