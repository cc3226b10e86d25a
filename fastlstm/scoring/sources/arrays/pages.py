"""Stretches of a file mapped into memory, a few at a time, while no program can cut it short.

Mapped pages cost almost nothing to read: 0.005 s of processor time for 1 GB that the system has
cached, where reading into buffers takes 0.4 s (Xeon at 2.8 GHz, Linux 6.18). But reading a mapped
page that is no longer in the file ends the process with SIGBUS. So a file is mapped only where the
system keeps it from shrinking: on Windows, which always does, and on Linux under a lease. A lease
makes others wait before they write to the file or cut it short, but not for ever; chunks that are
still waiting to be scored are therefore copied when somebody waits (`Chunk.detach`).
"""

from __future__ import annotations

import errno
import mmap
import os
import signal
from collections import deque
from collections.abc import Callable
from typing import IO, Any

__all__ = ["ALIVE", "MappedPages"]

# Stretches in use at once: one is read, one waits, one is scored; and one to spare.
ALIVE = 4
POPULATE_READ = 22  # Linux's MADV_POPULATE_READ, which Python does not name
WILL_NEED = getattr(mmap, "MADV_WILLNEED", None)
GIVE_BACK = getattr(mmap, "MADV_DONTNEED", None)


class MappedPages:
    """A mapped file, of which only a few stretches take memory at a time.

    Once somebody wants to write to the file it is mapped no longer, and `take` returns None.

    Parameters
    ----------
    opener
        Opens the file for reading, anew at each call: a lease belongs to one open descriptor.
    name
        What messages call it.
    """

    def __init__(self, opener: Callable[[], IO[bytes]], name: str) -> None:
        self.name = name
        self.file = opener()
        self.size = os.fstat(self.file.fileno()).st_size
        self.map: mmap.mmap | None = None
        self.leased = False
        self.taken: deque[tuple[int, int]] = deque()  # first and last byte, of whole pages
        try:
            if os.name == "nt":
                self.map = self._mapped()
            elif self.size and _lease(self.file.fileno()):
                self.leased = True
                self.map = self._mapped()
        except BaseException:
            self.close()
            raise

    def _mapped(self) -> mmap.mmap | None:
        return mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ) if self.size else None

    def take(self, first: int, last: int) -> memoryview | None:
        """Return bytes first ... last - 1, valid until a few more are taken.

        None if the file may change, so that they have to be read.

        Raises
        ------
        OSError
            The file has become shorter, or cannot be read.
        """
        if last == first:
            return memoryview(b"")
        while len(self.taken) >= ALIVE:  # done with
            self._advise(GIVE_BACK, *self.taken.popleft())
        if self.map is None:
            return None
        if self.wanted:
            # the writer waits until the stretches that were taken are done with
            self.taken.append((0, 0))
            if not any(end for _, end in self.taken):
                self.close()
            return None
        begin = first - first % mmap.PAGESIZE
        end = min(self.size, last + -last % mmap.PAGESIZE)
        self._advise(WILL_NEED, begin, min(self.size, end + (end - begin)))  # and the next ones
        if os.fstat(self.file.fileno()).st_size < last or not self._populate(begin, end):
            raise OSError(f"{self.name} cannot be read up to byte {last:,}: has it become shorter?")
        self.taken.append((begin, end))
        if self.wanted:  # making them ready may have outlasted the lease
            return None
        return memoryview(self.map)[first:last]

    @property
    def wanted(self) -> bool:
        """Whether another program waits to write to the file, or waited until the lease ran out."""
        return self.leased and _broken(self.file.fileno())

    def _advise(self, advice: int | None, begin: int, end: int) -> None:
        if advice is not None and self.map is not None and end > begin:
            self.map.madvise(advice, begin, end - begin)

    def _populate(self, begin: int, end: int) -> bool:
        """Load pages; tell whether they can be read, where the system can say."""
        assert self.map is not None
        try:
            self.map.madvise(POPULATE_READ, begin, end - begin)
        except (AttributeError, ValueError):  # no Unix
            return True
        except OSError as error:
            return error.errno == errno.EINVAL  # a Linux before 5.14
        return True

    def close(self) -> None:
        """Let others write to the file; what was taken must no longer be read."""
        if self.leased:
            _end_lease(self.file.fileno())  # the mapping keeps the descriptor open after close()
        self.leased, self.map = False, None
        self.file.close()


def _lease(descriptor: int) -> bool:
    """Make others wait before they write to a file; tell whether the system granted it.

    It does not if the file is somebody else's, is being written to, or lies on a file system
    without leases, such as NFS. Only Linux has leases.
    """
    try:
        import fcntl

        # the usual signal that somebody waits, SIGIO, would end the process; SIGURG does nothing
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, 0)  # and is sent to nobody
    except (ImportError, AttributeError, OSError):
        return False
    return True


def _broken(descriptor: int) -> bool:
    """Tell whether somebody waits for the end of a lease, or the system has ended it."""
    import fcntl

    held: Any = fcntl.fcntl(descriptor, fcntl.F_GETLEASE)
    return bool(held != fcntl.F_RDLCK)


def _end_lease(descriptor: int) -> None:
    import fcntl

    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:  # the system has ended it
        return
