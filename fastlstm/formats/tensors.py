"""``.safetensors`` and ``.npz``: the package's own files, or tensors with torch's names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastlstm.formats.containers import READERS
from fastlstm.formats.found import Found
from fastlstm.formats.native import from_own, kind_of
from fastlstm.formats.torch.hints import HINTS, Hints
from fastlstm.formats.torch.state_dict import network_of
from fastlstm.formats.trust import distrusted, naming, opened

__all__ = ["HINTS", "contents", "read"]


def read(path: Path, **hints: Any) -> Found:
    """The network of such a file; hints are those of `Hints`, for torch's names alone."""
    with opened(path) as file:
        with naming(path), distrusted("the file"):
            tensors, metadata = READERS[path.suffix.lower()](file)
        if metadata is not None:
            return from_own(path, tensors, metadata, hints)
        with naming(path, wrong_choice=ValueError):
            return network_of(tensors, Hints(**hints))


def contents(path: Path) -> tuple[str, dict[str, str]]:
    """Return the kind of a file, and what each of its tensors is."""
    with opened(path) as file, naming(path), distrusted("the file"):
        tensors, metadata = READERS[path.suffix.lower()](file)
        return "tensors" if metadata is None else kind_of(metadata), tensors.shapes()
