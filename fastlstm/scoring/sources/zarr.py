"""Arrays in Zarr stores, of format 2 or 3."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

from fastlstm.model import LSTM
from fastlstm.scoring.chunk import Reader
from fastlstm.scoring.sources import Layout, split_inner
from fastlstm.scoring.sources.arrays import ArrayReader
from fastlstm.scoring.sources.chunked import ChunkedFile, choose, refuse_packed
from fastlstm.scoring.sources.several import joined

__all__ = ["open_array", "open_reader"]


def open_reader(paths: Sequence[str], layout: Layout, model: LSTM) -> Reader:
    """Open arrays in Zarr stores, ``store.zarr`` or ``store.zarr:/path``, as one source."""
    return joined((ArrayReader(open_array(path), layout, model) for path in paths), layout)


def open_array(source: str) -> ChunkedFile:
    """Open an array.

    Raises
    ------
    ImportError
        The package zarr is not installed.
    ValueError
        It is no Zarr store, or does not say which array is meant.
    """
    try:
        import zarr
    except ImportError:
        raise ImportError('reading .zarr needs a package: pip install "fastlstm[zarr]"') from None
    store, inner = split_inner(source)
    if not os.path.isdir(store):
        raise ValueError(f"{store}: expected a Zarr store, which is a folder")
    try:
        root = zarr.open(store, mode="r")
        arrays = {"": root} if hasattr(root, "shape") else dict(_arrays(root))
    except PermissionError:
        raise
    except Exception as error:  # every release of zarr has exceptions of its own
        text = " ".join(str(error).split())
        raise ValueError(
            f"{store}: expected a Zarr store: {type(error).__name__}: {text}"
        ) from None
    if inner is None and len(arrays) > 1:  # what xarray writes beside its variables
        arrays = {k: a for k, a in arrays.items() if _dimensions(a) != [k.rpartition("/")[2]]}
    path = choose(store, inner, arrays)
    array, name = arrays[path], f"{store}:/{path}" if path else store
    refuse_packed(name, dict(array.attrs))
    return ChunkedFile(name, array, lambda: _identity(store, path), lambda: None)


def _arrays(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, array in group.arrays():
        yield prefix + name, array
    for name, inside in group.groups():
        yield from _arrays(inside, f"{prefix}{name}/")


def _dimensions(array: Any) -> list[str]:
    names = getattr(array.metadata, "dimension_names", None) if hasattr(array, "metadata") else None
    return list(names or array.attrs.get("_ARRAY_DIMENSIONS", ()))


def _identity(store: str, path: str) -> dict[str, Any]:
    """Return a digest of names, sizes and times of an array's files: there may be very many."""
    digest, files, size = hashlib.sha256(), 0, 0
    for folder, folders, names in os.walk(os.path.join(store, path)):
        folders.sort()
        for name in sorted(names):
            status = os.stat(os.path.join(folder, name))
            within = os.path.relpath(os.path.join(folder, name), store)
            digest.update(f"{within} {status.st_size} {status.st_mtime_ns}\n".encode())
            files, size = files + 1, size + status.st_size
    name = os.path.basename(os.path.normpath(store))
    return {
        "name": f"{name}:/{path}",
        "files": files,
        "bytes": size,
        "names and times": digest.hexdigest(),
    }
