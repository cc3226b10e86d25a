"""The package's own files: a network as named tensors and metadata.

The metadata are ``{"format": "fastlstm", "version": "3", "network": {...}, "tensors": [names]}``;
`fastlstm.formats.description` says what ``network`` holds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.files import replaced
from fastlstm.formats.containers import WRITERS, Metadata
from fastlstm.formats.description import built, described
from fastlstm.formats.found import Found
from fastlstm.formats.trust import naming
from fastlstm.messages import Message, separated
from fastlstm.network.network import Network

__all__ = ["SUFFIXES", "from_own", "kind_of", "save"]

Array = npt.NDArray[Any]

SUFFIXES: Final = tuple(WRITERS)
VERSION: Final = "3"
OLDER: Final = ("1", "2")  # written while the package was not released yet


def save(network: Network, path: str | os.PathLike[str]) -> Path:
    """Write a network in the format that the suffix of the path names, all or nothing.

    The file appears under its name when it is complete and on the disk, so a reader never sees half
    of it, and neither does anyone after a crash. What users see of it is `LSTM.save`.
    """
    path = Path(path)
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise ValueError(f"{path}: expected a suffix of {', '.join(SUFFIXES)}")
    description, tensors = described(network)
    metadata = {
        "format": "fastlstm",
        "version": VERSION,
        "network": description,
        "tensors": sorted(tensors),  # so that a tensor that is lost or added is noticed
    }
    with replaced(path) as file:
        write(file, tensors, metadata)
    return path


def kind_of(metadata: Metadata) -> str:
    """Return what `fastlstm info` calls such a file."""
    return f"fastlstm's own, version {metadata.get('version')!s:.20}"


def from_own(
    path: Path, tensors: Mapping[str, Array], metadata: Metadata, hints: Mapping[str, Any]
) -> Found:
    """The network of a file that `save` has written, from its tensors and metadata.

    Raises
    ------
    TypeError
        If there are hints: such a file describes itself.
    ModelFormatError, UnsupportedModelError
        As `fastlstm.load`.
    """
    if hints:
        said = [f"{path} was saved by fastlstm and takes no hints, got ", *separated(hints)]
        raise TypeError(Message(*said))
    with naming(path):
        if metadata.get("format") != "fastlstm":
            raise ModelFormatError(
                f"expected the format 'fastlstm', got {metadata.get('format')!r:.80}"
            )
        _check_version(metadata.get("version"))
        network = metadata.get("network")
        if not isinstance(network, dict):
            raise ModelFormatError(f"expected a network in the metadata, got {network!r:.80}")
        _require_all(tensors, metadata.get("tensors"))
        return Found(built(network, tensors))


def _check_version(version: Any) -> None:
    if version == VERSION:
        return
    if version in OLDER:
        raise UnsupportedModelError(
            f"this fastlstm reads files of version {VERSION}, got version {version}, which was "
            "written before the first release; save the model again: load what it was made from "
            "and call its save(), or fastlstm convert"
        )
    raise UnsupportedModelError(
        f"this fastlstm reads files of version {VERSION}, got {version!r:.80}; a later fastlstm "
        "wrote it: upgrade"
    )


def _require_all(tensors: Mapping[str, Any], names: Any) -> None:
    """Compare the tensors with the list of them in the metadata."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelFormatError(f"expected a list of tensors in the metadata, got {names!r:.80}")
    if missing := set(names) - tensors.keys():
        raise ModelFormatError(f"tensors are missing: {sorted(missing)}")
    if extra := tensors.keys() - set(names):
        raise ModelFormatError(f"tensors that the metadata do not list: {sorted(extra)}")
