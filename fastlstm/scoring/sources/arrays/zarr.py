"""Arrays in Zarr stores, of format 2 or 3."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from fastlstm.scoring.sources.arrays.stored_in_chunks import ChunkedFile, choose, refuse_packed
from fastlstm.scoring.sources.fingerprint import PATIENCE, settle
from fastlstm.scoring.sources.paths import split_inner

__all__ = ["open_array"]


def open_array(source: str, fill_missing: bool = False) -> ChunkedFile:
    """Open an array.

    Parameters
    ----------
    source
        ``store.zarr`` or ``store.zarr:/path``.
    fill_missing
        Take chunks without a file to hold the fill value: most writers leave such chunks out.
        Otherwise they are missing, since a chunk that was deleted or never copied looks the same.

    Raises
    ------
    ImportError
        The package zarr is not installed.
    ValueError
        It is not a Zarr store, or holds several arrays and `source` names none.
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
    except Exception as error:  # each release of zarr raises different ones
        text = " ".join(str(error).split())
        raise ValueError(
            f"{store}: expected a Zarr store: {type(error).__name__}: {text}"
        ) from None
    if inner is None and len(arrays) > 1:  # coordinates, which xarray writes beside its variables
        arrays = {k: a for k, a in arrays.items() if _dimensions(a) != [k.rpartition("/")[2]]}
    path = choose(store, inner, arrays)
    array: Any = arrays[path]
    name = f"{store}:/{path}" if path else store
    refuse_packed(name, dict(array.attrs))
    key = _keys(array)
    inside = os.path.join(store, path)

    def lacks(at: tuple[int, ...]) -> bool:
        return not os.path.exists(os.path.join(inside, key(at)))

    filled = fill_missing and array.fill_value is not None
    identity = functools.partial(_identity, store, path)
    return ChunkedFile(name, array, identity, lambda: None, None if filled else lacks)


def _keys(array: Any) -> Callable[[tuple[int, ...]], str]:
    """Return the function that gives the file of a chunk, or of a shard, by its coordinates."""
    encode = getattr(getattr(array, "metadata", None), "encode_chunk_key", None)
    if encode is not None:
        key: Callable[[tuple[int, ...]], str] = encode
        return key
    # zarr-python 2
    separator = getattr(array, "_dimension_separator", None) or "."
    return lambda at: separator.join(map(str, at))


def _arrays(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, array in group.arrays():
        yield prefix + name, array
    for name, inside in group.groups():
        yield from _arrays(inside, f"{prefix}{name}/")


def _dimensions(array: Any) -> list[str]:
    names = getattr(array.metadata, "dimension_names", None) if hasattr(array, "metadata") else None
    return list(names or array.attrs.get("_ARRAY_DIMENSIONS", ()))


def _identity(store: str, path: str) -> dict[str, Any]:
    """Return a digest of the names, sizes and times of an array's files, which may be many."""
    for _ in range(PATIENCE):
        identity, newest = _digest(store, path)
        if not settle(newest):
            break
    return identity


def _digest(store: str, path: str) -> tuple[dict[str, Any], int]:
    """Return the identity, and the time of the last change."""
    digest, files, size, newest = hashlib.sha256(), 0, 0, 0
    for folder, folders, names in os.walk(os.path.join(store, path)):
        folders.sort()
        for name in sorted(names):
            status = os.stat(os.path.join(folder, name))
            within = os.path.relpath(os.path.join(folder, name), store)
            digest.update(f"{within} {status.st_size} {status.st_mtime_ns}\n".encode())
            files, size = files + 1, size + status.st_size
            newest = max(newest, status.st_mtime_ns)
    name = os.path.basename(os.path.normpath(store))
    identity = {
        "name": f"{name}:/{path}",
        "files": files,
        "bytes": size,
        "names and times": digest.hexdigest(),
    }
    return identity, newest
