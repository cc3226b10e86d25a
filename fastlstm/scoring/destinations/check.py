"""Destinations that must not be written: refused before any work is done."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fastlstm.scoring.destinations.open import WRITERS
from fastlstm.scoring.sources.paths import split_inner

__all__ = ["check_destination", "check_targets"]


def check_destination(destination: str, inputs: Sequence[Any]) -> None:
    """Refuse a destination that cannot be written, or that is or would become an input.

    Raises
    ------
    ValueError
        Its suffix is not one of `WRITERS`, or it is one of `inputs`.
    OSError
        Its folder does not exist, or something that must not be replaced is there.
    """
    if destination == "-":
        return
    path = Path(destination)
    target = Path(os.path.realpath(path))  # what a link leads to is what will be written
    if path.suffix.lower() not in WRITERS:
        raise ValueError(
            f"{path}: expected a destination ending in {', '.join(WRITERS)}, or - for standard "
            "output"
        )
    for where in (path, target):
        if not where.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {where.parent} to write {where.name} to")
    if target.is_symlink():
        raise OSError(f"{path} is a link that leads back to itself")
    if path.suffix.lower() == ".zarr":
        _check_store(path)
    elif path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(f"{path} is not a regular file")
    for source in inputs:
        if isinstance(source, str | os.PathLike) and _holds(path, os.fspath(source)):
            raise ValueError(f"{path} is also an input: name another file for the scores")
        if isinstance(source, str | os.PathLike) and (
            _joins(path, os.fspath(source)) or _joins(target, os.fspath(source))
        ):
            raise ValueError(
                f"{path} would become one of the files of the source {os.fspath(source)}: write "
                "the scores to another folder"
            )


def check_targets(targets: Iterable[Path], source: str) -> None:
    """Refuse to write any file of the result over the source."""
    for path in targets:
        if path.exists() and Path(source).exists() and path.samefile(source):
            raise ValueError(
                f"{path} is the source, and a result beside the scores would be written over it"
            )


def _check_store(path: Path) -> None:
    """Refuse to replace anything but a Zarr store."""
    if path.is_file():
        raise FileExistsError(f"{path} is a file, and a Zarr store is a folder: name another one")
    marks = (".zgroup", ".zarray", "zarr.json")
    if path.is_dir() and any(path.iterdir()) and not any((path / mark).is_file() for mark in marks):
        raise FileExistsError(
            f"{path} is a folder that holds something other than a Zarr store: name another one"
        )


def _holds(path: Path, source: str) -> bool:
    """Tell whether writing to a path would destroy a source."""
    name = split_inner(source)[0]
    if not path.exists():
        return False
    others = [Path(name)] if os.path.exists(name) else map(Path, glob.glob(name))
    return any(path.samefile(p) or path.resolve() in p.resolve().parents for p in others)


def _joins(path: Path, source: str) -> bool:
    """Tell whether the folder or glob of the source would hold the path, too, the next time."""
    folder, name = Path(source), split_inner(source)[0]
    if folder.is_dir():
        return folder.suffix != ".zarr" and path.parent.samefile(folder)
    if os.path.exists(name) or not glob.has_magic(name):
        return False
    return Path(os.path.abspath(path)).match(os.path.abspath(name))
