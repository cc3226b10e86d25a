"""Where results go: one module per kind of file, all behind `Writer`."""

from __future__ import annotations

import glob
import importlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fastlstm.scoring.chunk import Field
from fastlstm.scoring.destinations.writer import StreamWriter, Writer
from fastlstm.scoring.partial import Partial
from fastlstm.scoring.sources import split_inner

__all__ = ["WRITERS", "check_destination", "check_targets", "make_writer", "open_stream"]

# Suffixes of destinations: the module and the class that writes them.
WRITERS = {
    ".npy": ("npy", "NpyWriter"),
    ".parquet": ("parquet", "ParquetWriter"),
    ".arrow": ("parquet", "ArrowWriter"),
    ".feather": ("parquet", "ArrowWriter"),
    ".zarr": ("zarr", "ZarrWriter"),
    ".csv": ("csv", "CsvWriter"),
}


def check_destination(destination: str, inputs: Sequence[Any]) -> None:
    """Refuse a destination that cannot be written or is an input, before any work is done.

    Raises
    ------
    ValueError
        It has another suffix than those of `WRITERS`, or is one of `inputs`.
    OSError
        There is no folder for it, or something else stands there.
    """
    if destination == "-":
        return
    path = Path(destination)
    target = Path(os.path.realpath(path))  # of a link: that is what will be written
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
        raise OSError(f"{path} is no regular file")
    for source in inputs:
        if isinstance(source, str | os.PathLike) and _holds(path, os.fspath(source)):
            raise ValueError(f"{path} is also an input; name another file for the scores")
        if isinstance(source, str | os.PathLike) and (
            _joins(path, os.fspath(source)) or _joins(target, os.fspath(source))
        ):
            raise ValueError(
                f"{path} would itself be one of the files of {os.fspath(source)}; write the scores "
                "to another folder"
            )


def check_targets(targets: Iterable[Path], source: str) -> None:
    """Refuse to write any file of the result over the source.

    Raises
    ------
    ValueError
        One of them is the source.
    """
    for path in targets:
        if path.exists() and Path(source).exists() and path.samefile(source):
            raise ValueError(f"{path} would be written beside the scores, and is the source")


def make_writer(partial: Partial, fields: Sequence[Field], job: Any) -> Writer:
    """Return what writes to the destination of a partial result; it is not open yet.

    Parameters
    ----------
    partial, fields
        As in `NpyWriter`.
    job
        The `Job` that says the `suffix` of the destination, and what is known of the sequences:
        `steps`, and of its reader `equal` and `kept`.
    """
    module, name = WRITERS[job.suffix]
    kind = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    writer: Writer = kind(partial, fields, job)
    return writer


def open_stream(fields: Sequence[Field], job: Any) -> StreamWriter:
    """Return what writes CSV to standard output."""
    from fastlstm.scoring.destinations.csv import CsvStream

    return CsvStream(fields, job)


def _check_store(path: Path) -> None:
    """Refuse to replace what is no Zarr store."""
    if path.is_file():
        raise FileExistsError(f"{path} is a file, where a Zarr store, a folder, would be written")
    marks = (".zgroup", ".zarray", "zarr.json")
    if path.is_dir() and any(path.iterdir()) and not any((path / mark).is_file() for mark in marks):
        raise FileExistsError(
            f"{path} is a folder that holds something else than a Zarr store; name another one"
        )


def _holds(path: Path, source: str) -> bool:
    """Whether writing to a path would destroy a source."""
    name = split_inner(source)[0]
    if not path.exists():
        return False
    others = [Path(name)] if os.path.exists(name) else map(Path, glob.glob(name))
    return any(path.samefile(p) or path.resolve() in p.resolve().parents for p in others)


def _joins(path: Path, source: str) -> bool:
    """Whether the folder or glob that was read would hold the path as well, the next time."""
    folder, name = Path(source), split_inner(source)[0]
    if folder.is_dir():
        return folder.suffix != ".zarr" and path.parent.samefile(folder)
    if os.path.exists(name) or not glob.has_magic(name):
        return False
    return Path(os.path.abspath(path)).match(os.path.abspath(name))
