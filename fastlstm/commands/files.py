"""What a command writes to, checked before any work is done."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["check_destination"]


def check_destination(path: Path, inputs: Iterable[Path | None]) -> None:
    """Refuse a destination that cannot be written or is an input.

    Raises
    ------
    OSError
        If it is a folder, or the folder to write it to does not exist.
    ValueError
        If it is one of the inputs.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to")
    for source in inputs:
        if source is not None and path.exists() and source.exists() and path.samefile(source):
            raise ValueError(f"{path} is also an input; name another file to write")
