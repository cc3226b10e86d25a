"""Opening a source: the files that it stands for, and the reader for their suffix."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from fastlstm.messages import Message, Option
from fastlstm.model import LSTM
from fastlstm.scoring.chunk import Reader
from fastlstm.scoring.sources.arrays.open import ARRAYS, open_arrays
from fastlstm.scoring.sources.layout import Layout
from fastlstm.scoring.sources.model_input import ModelInput
from fastlstm.scoring.sources.paths import refuse_special, split_inner, suffix_of
from fastlstm.scoring.sources.stdin import open_stdin
from fastlstm.scoring.sources.tables.open import TABLES, open_tables

__all__ = ["find_files", "open_source"]

SUFFIXES = (*ARRAYS, *TABLES)
FILLED = (".zarr", ".h5", ".hdf5")  # whose missing chunks may stand for a fill value


def open_source(source: str, layout: Layout, model: LSTM) -> Reader:
    """Open what is to be scored. Several files are one source: their sequences follow each other.

    Parameters
    ----------
    source
        A file, a folder or a glob of files of one kind, ``FILE.h5:/path``, or ``-``.
    layout
        How sequences lie in it.
    model
        What will score them.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is of an unknown kind, damaged, or does not fit the layout or the model.
    """
    takes = ModelInput.of(model)
    if source == "-":
        return open_stdin(layout, takes)
    paths = find_files(source)
    suffixes = {suffix_of(path) for path in paths}
    if len(suffixes) > 1:
        raise ValueError(f"{source}: expected files of one kind, got {', '.join(sorted(suffixes))}")
    (suffix,) = suffixes
    if suffix not in SUFFIXES:
        raise ValueError(f"{source}: expected a source ending in {', '.join(SUFFIXES)}")
    if layout.fill_missing and suffix not in FILLED:
        raise ValueError(
            Message(
                Option("fill_missing"),
                f" does not apply to {suffix} files, only to Zarr and HDF5",
            )
        )
    for path in paths:
        refuse_special(split_inner(path)[0], "; to read standard input, give - as the source")
    return (open_arrays if suffix in ARRAYS else open_tables)(paths, layout, takes)


def find_files(source: str) -> list[str]:
    """Return the files of a source, in the order of their names.

    Raises
    ------
    FileNotFoundError
        There are none.
    """
    path = Path(source)
    if path.is_dir() and path.suffix != ".zarr":
        inside = [p for p in path.iterdir() if not p.name.startswith((".", "_"))]
        found = sorted(str(p) for p in inside if suffix_of(str(p)) in SUFFIXES)
        if not found:
            raise FileNotFoundError(
                f"{source}: no file in this folder ends in {', '.join(SUFFIXES)}"
            )
        return found
    name, inner = split_inner(source)
    if not os.path.exists(name) and glob.has_magic(name):
        found = sorted(glob.glob(name))
        if not found:
            raise FileNotFoundError(f"no file matches {name}")
        return [f if inner is None else f"{f}:{inner}" for f in found]
    if not os.path.exists(name):
        raise FileNotFoundError(f"there is no file {name}")
    return [source]
