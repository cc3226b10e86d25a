"""Where sequences come from: one module per kind of file, all behind `Reader`."""

from __future__ import annotations

import glob
import importlib
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastlstm.messages import Message, Option
from fastlstm.model import LSTM
from fastlstm.scoring.chunk import Reader

__all__ = [
    "MOST_STEPS",
    "OPENERS",
    "Layout",
    "check_count",
    "find_files",
    "open_source",
    "refuse_special",
    "split_inner",
]

# By suffix the module whose `open_reader(paths, layout, model)` reads such files. Several files
# are one source: their sequences follow each other.
OPENERS = {
    ".npy": "npy",
    ".npz": "npz",
    ".parquet": "tables",
    ".pq": "tables",
    ".feather": "tables",
    ".arrow": "tables",
    ".arrows": "tables",
    ".ipc": "tables",
    ".csv": "tables",
    ".csv.gz": "tables",
    ".zarr": "zarr",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
}

MOST_STEPS = 2**62  # a position in a source, and what is added to it, fit into 64 bits


@dataclass(frozen=True)
class Layout:
    """How sequences lie in a source; the words are those of `fastlstm.score`."""

    lengths: Any = None
    column: str | None = None
    id: str | None = None
    time: str | None = None
    features: tuple[str, ...] | None = None
    keep: tuple[str, ...] = ()
    window: int | None = None
    stride: int = 1
    fill_missing: bool = False

    def __post_init__(self) -> None:
        check_count("window", self.window)
        check_count("stride", self.stride)
        if self.stride != 1 and self.window is None:
            raise ValueError(
                Message(
                    Option("stride", self.stride),
                    " says how far windows are apart: give ",
                    Option("window"),
                    " too",
                )
            )
        if self.window is not None and self.lengths is not None:
            raise ValueError(
                Message(
                    "windows are all of one length: ",
                    Option("lengths"),
                    " does not go with ",
                    Option("window"),
                )
            )

    def as_dict(self) -> dict[str, Any]:
        """Return it as what JSON can say."""
        return asdict(self)

    def refuse(self, kind: str, *names: str) -> None:
        """Refuse words that mean nothing for a kind of file.

        Raises
        ------
        ValueError
            One of them was given.
        """
        for name in names:
            given = getattr(self, name)
            if given is not None and not (isinstance(given, tuple) and not given):
                raise ValueError(Message(Option(name), f" says nothing about {kind}"))


def check_count(name: str, value: object) -> None:
    """Refuse an option that is no number of steps, threads and the like; None is none.

    Raises
    ------
    ValueError
        It is no integer, less than 1, or too large.
    """
    if value is None:
        return
    if not isinstance(value, int | np.integer) or value < 1:
        expected = "an integer of 1 or more"
    elif value > MOST_STEPS:
        expected = f"at most {MOST_STEPS}"
    else:
        return
    raise ValueError(Message("expected ", Option(name), f" to be {expected}, got {value!r}"))


def open_source(source: str, layout: Layout, model: LSTM) -> Reader:
    """Open what is to be scored.

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
        It is of a kind that is not read, damaged, or does not fit the layout or the model.
    """
    if source == "-":
        from fastlstm.scoring.sources.stdin import open_stdin

        return open_stdin(layout, model)
    paths = find_files(source)
    suffixes = {_suffix(path) for path in paths}
    if len(suffixes) > 1:
        raise ValueError(f"{source}: expected files of one kind, got {', '.join(sorted(suffixes))}")
    (suffix,) = suffixes
    if suffix not in OPENERS:
        raise ValueError(f"{source}: expected a source ending in {', '.join(OPENERS)}")
    if layout.fill_missing and suffix not in (".zarr", ".h5", ".hdf5"):
        raise ValueError(
            Message(
                Option("fill_missing"),
                f" says nothing about {suffix} files: it is for Zarr and HDF5",
            )
        )
    for path in paths:
        refuse_special(split_inner(path)[0], "; the source - reads standard input")
    module = importlib.import_module(f"{__name__}.{OPENERS[suffix]}")
    reader: Reader = module.open_reader(paths, layout, model)
    return reader


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
        found = sorted(str(p) for p in inside if _suffix(str(p)) in OPENERS)
        if not found:
            raise FileNotFoundError(
                f"{source}: there are no files in it that end in {', '.join(OPENERS)}"
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


def refuse_special(path: str | os.PathLike[str], instead: str = "") -> None:
    """Refuse what is neither a file nor a folder: it may be read only once, or never end.

    Parameters
    ----------
    path
        What was given.
    instead
        What else the message says.

    Raises
    ------
    ValueError
        It is a pipe, a socket or a device.
    """
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ValueError(f"{path} is a pipe or a device: expected a file{instead}")


def split_inner(source: str) -> tuple[str, str | None]:
    """Return the file and what is meant inside it: ``data.h5:/x`` is ``data.h5`` and ``/x``."""
    head, colon, inner = source.rpartition(":")
    if colon and not os.path.exists(source) and Path(head).suffix in (".h5", ".hdf5", ".zarr"):
        return head, inner
    return source, None


def _suffix(path: str) -> str:
    name = Path(split_inner(path)[0])
    suffix = name.suffix.lower()
    return Path(name.stem).suffix.lower() + suffix if suffix == ".gz" else suffix
