"""Datasets in HDF5 files."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastlstm.scoring.sources.arrays.stored_in_chunks import (
    PACKING,
    ChunkedFile,
    choose,
    refuse_packed,
)
from fastlstm.scoring.sources.fingerprint import fingerprint
from fastlstm.scoring.sources.paths import split_inner

__all__ = ["open_dataset"]


def open_dataset(source: str, fill_missing: bool = False) -> ChunkedFile:
    """Open a dataset.

    Parameters
    ----------
    source
        ``file.h5`` or ``file.h5:/path``.
    fill_missing
        Take chunks that were never written to hold the fill value, rather than to be missing.

    Raises
    ------
    ImportError
        The package h5py is not installed.
    FileNotFoundError
        A part of a virtual dataset is missing.
    ValueError
        It is not an HDF5 file, or holds several datasets and `source` names none.
    """
    try:
        import h5py
    except ImportError:
        raise ImportError('reading HDF5 needs a package: pip install "fastlstm[hdf5]"') from None
    name, inner = split_inner(source)
    with open(name, "rb"):  # if that is not allowed, the system says it best
        pass
    try:
        file = h5py.File(name, "r")
    except BlockingIOError:
        raise
    except OSError as error:
        raise ValueError(f"{name}: expected an HDF5 file: {error}") from None
    try:
        datasets: dict[str, Any] = {}
        file.visititems(
            lambda key, item: datasets.update(
                {key: item} if isinstance(item, h5py.Dataset) and item.shape is not None else {}
            )
        )
        if inner is None and len(datasets) > 1:  # coordinates of netCDF
            datasets = {k: d for k, d in datasets.items() if not d.is_scale}
        path = choose(name, inner, datasets)
        dataset = datasets[path]
        refuse_packed(f"{name}:/{path}", _packing(f"{name}:/{path}", dataset))
        parts = _parts(name, dataset)
        lacks = None if fill_missing else _lacks(dataset)
    except RuntimeError as error:  # a damaged tree
        file.close()
        raise ValueError(f"{name} is damaged: {error}") from None
    except BaseException:
        file.close()
        raise

    def identity() -> dict[str, Any]:
        others = {f"part {i}": fingerprint(part) for i, part in enumerate(parts)}
        return {**fingerprint(name), "dataset": f"/{path}", **others}

    return ChunkedFile(f"{name}:/{path}", dataset, identity, file.close, lacks)


def _lacks(dataset: Any) -> Callable[[tuple[int, ...]], bool] | None:
    """Return a function that tells whether a chunk was never written; None if all were."""
    if not dataset.chunks or 0 in dataset.shape:
        return None
    sizes = tuple(map(int, dataset.chunks))
    n_chunks = math.prod(-(-n // size) for n, size in zip(dataset.shape, sizes, strict=True))
    if dataset.id.get_num_chunks() >= n_chunks:
        return None

    def lacks(at: tuple[int, ...]) -> bool:
        first = tuple(k * size for k, size in zip(at, sizes, strict=True))
        return dataset.id.get_chunk_info_by_coord(first).byte_offset is None

    return lacks


def _packing(name: str, dataset: Any) -> dict[str, Any]:
    """Return the attributes by which numbers are packed, and read no others.

    Text of variable length is refused: in a damaged file, reading it may never end.
    """
    found = {}
    for key in PACKING:
        if key not in dataset.attrs:
            continue
        if dataset.attrs.get_id(key).dtype.hasobject:
            raise ValueError(f"{name}: expected the attribute {key} to be a number, got text")
        found[key] = dataset.attrs[key]
    return found


def _parts(name: str, dataset: Any) -> list[str]:
    """Return the files that a virtual dataset is made of; HDF5 fills in for missing ones."""
    parts: dict[str, None] = {}
    for part in dataset.virtual_sources() if dataset.is_virtual else ():
        path = Path(name).parent / part.file_name
        if part.file_name == "." or "%" in part.file_name:
            continue
        if not path.exists():
            raise FileNotFoundError(f"{name}:{dataset.name} is made of {path}, which is missing")
        parts[str(path)] = None
    return list(parts)
