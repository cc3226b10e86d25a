"""Opening arrays: what reads them, by the suffix of the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastlstm.scoring.chunk import Reader
from fastlstm.scoring.sources.arrays.hdf5 import open_dataset
from fastlstm.scoring.sources.arrays.npy import NpyFile
from fastlstm.scoring.sources.arrays.npz import open_archive
from fastlstm.scoring.sources.arrays.reader import ArrayReader
from fastlstm.scoring.sources.arrays.several import joined
from fastlstm.scoring.sources.arrays.zarr import open_array
from fastlstm.scoring.sources.layout import Layout
from fastlstm.scoring.sources.model_input import ModelInput
from fastlstm.scoring.sources.paths import suffix_of

__all__ = ["ARRAYS", "open_arrays"]


def _npy(path: str, layout: Layout, model: ModelInput) -> Reader:
    return ArrayReader(NpyFile(path), layout, model)


def _zarr(path: str, layout: Layout, model: ModelInput) -> Reader:
    return ArrayReader(open_array(path, layout.fill_missing), layout, model)


def _hdf5(path: str, layout: Layout, model: ModelInput) -> Reader:
    return ArrayReader(open_dataset(path, layout.fill_missing), layout, model)


ARRAYS: dict[str, Callable[[str, Layout, ModelInput], Reader]] = {
    ".npy": _npy,
    ".npz": open_archive,
    ".zarr": _zarr,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
}


def open_arrays(paths: Sequence[str], layout: Layout, model: ModelInput) -> Reader:
    """Open files of one kind as one source."""
    opener = ARRAYS[suffix_of(paths[0])]
    return joined((opener(path, layout, model) for path in paths), layout)
