"""Paths of a source: their suffix, the array that is meant inside a file, and what is no file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["refuse_special", "split_inner", "suffix_of"]


def refuse_special(path: str | os.PathLike[str], instead: str = "") -> None:
    """Refuse a path that is neither a file nor a folder: it may be readable only once, or endless.

    Parameters
    ----------
    path
        What was given.
    instead
        What the message suggests.

    Raises
    ------
    ValueError
        It is a pipe, a socket or a device.
    """
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ValueError(f"{path} is a pipe or a device: expected a file{instead}")


def split_inner(source: str) -> tuple[str, str | None]:
    """Split ``data.h5:/x`` into the file ``data.h5`` and the array ``/x``, or None."""
    head, colon, inner = source.rpartition(":")
    if colon and not os.path.exists(source) and Path(head).suffix in (".h5", ".hdf5", ".zarr"):
        return head, inner
    return source, None


def suffix_of(path: str) -> str:
    """Return the suffix of a source in lower case; of a compressed file, both: ``.csv.gz``."""
    name = Path(split_inner(path)[0])
    suffix = name.suffix.lower()
    return Path(name.stem).suffix.lower() + suffix if suffix == ".gz" else suffix
