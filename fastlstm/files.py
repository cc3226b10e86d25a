"""Writing files all or nothing."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["replaced", "sync_folder"]


@contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that replaces `path` once all of it is written.

    It appears under its name when it is complete and on the disk, so a reader never sees half of
    it, and neither does anyone after a crash. It takes on the permissions of a file that it
    replaces.

    Raises
    ------
    OSError
        If something other than a file is there: a folder, a device, a link to itself.
    """
    path = Path(os.path.realpath(path))  # a link stays a link
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    mode = _mode_of(path)
    private = 0o666 if mode is None else mode  # from the first byte on
    try:
        with open(part, "xb", opener=lambda name, flags: os.open(name, flags, private)) as file:
            if mode is not None:
                os.chmod(part, mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut, if the system can promise that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except (PermissionError, IsADirectoryError):  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mode_of(path: Path) -> int | None:
    """Return the permissions of the file that will be replaced, None if there is none."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "expected a regular file to replace", str(path))
    return stat.S_IMODE(mode) & 0o777
