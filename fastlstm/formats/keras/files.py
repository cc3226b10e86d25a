"""The files of Keras, read with h5py and nothing else: no Keras, no TensorFlow, no code of theirs.

A file is a stranger: what it claims is compared with what is there before anything is allocated,
and links to elsewhere are not followed.
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError
from fastlstm.formats.archives import MAX_RATIO, MAX_UNCHECKED
from fastlstm.formats.keras.graph import version_of
from fastlstm.formats.keras.hdf5_attributes import Attributes
from fastlstm.formats.keras.weights import Listed, Source, Tree
from fastlstm.formats.trust import parse_json

__all__ = ["Opened", "config_from", "open_h5", "open_keras"]

Array = npt.NDArray[Any]

WEIGHTS: Final = "model.weights.h5"
MAX_CONFIG: Final = 1 << 24  # bytes of a config; a large network's takes a few hundred thousand
DEPTH: Final = 24  # of groups in groups


class Opened(NamedTuple):
    """What a file holds."""

    config: dict[str, Any] | None
    weights: Source
    version: int | None  # the major version of the Keras that wrote it


def open_keras(file: IO[bytes]) -> Opened:
    """A ``.keras`` archive."""
    archive = zipfile.ZipFile(file)
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if info.filename in members:
            raise ModelFormatError(f"{info.filename!r} is there twice")
        members[info.filename] = info

    def read(name: str, limit: int) -> bytes:
        if name not in members:
            raise ModelFormatError(f"no model of Keras: there is no {name}")
        info = members[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelFormatError(f"{name}: expected it stored or deflated")
        if info.file_size > limit:
            raise ModelFormatError(f"refuses to unfold {name} to {info.file_size} bytes")
        return archive.read(info)

    config = parse_json(read("config.json", MAX_CONFIG))
    metadata = parse_json(read("metadata.json", MAX_CONFIG))
    if not isinstance(metadata, dict):
        raise ModelFormatError("expected an object in metadata.json")
    limit = max(MAX_UNCHECKED, MAX_RATIO * os.fstat(file.fileno()).st_size)
    weights = io.BytesIO(read(WEIGHTS, limit))
    return Opened(config, _tree(_H5(weights)), version_of(metadata.get("keras_version")))


def open_h5(file: IO[bytes]) -> Opened:
    """A ``.h5`` file, of a whole model or of weights."""
    h5 = _H5(file)
    config = h5.text(h5.root, "model_config")
    version = version_of(h5.text(h5.root, "keras_version"))
    if "model_weights" not in h5.root and "layers" in h5.root:
        return Opened(None, _tree(h5), version)
    groups = h5.group(h5.root, "model_weights") if "model_weights" in h5.root else h5.root
    if config is None and groups is not h5.root:
        raise ModelFormatError("the file of a whole model lacks its model_config")
    version = version or version_of(h5.text(groups, "keras_version")) or 1
    weights = _listed(h5, groups, named=config is not None)
    return Opened(None if config is None else parse_json(config), weights, version)


def _tree(h5: _H5) -> Source:
    found = dict(h5.datasets(h5.group(h5.root, "layers"), "layers"))
    found |= dict(h5.datasets(h5.root["vars"], "vars")) if "vars" in h5.root else {}
    return Tree(_Arrays(h5, found))


def _listed(h5: _H5, groups: Any, named: bool) -> Source:
    listed: list[tuple[str, Mapping[str, Any]]] = []
    for name in h5.names(groups, "layer_names"):
        group = h5.group(groups, name)
        weights = h5.names(group, "weight_names")
        if len(set(weights)) < len(weights):
            raise ModelFormatError(f"{name}: a weight is named twice")
        if weights:
            datasets = {weight: h5.dataset(group, weight) for weight in weights}
            listed.append((name, _Arrays(h5, datasets)))
    if "top_level_model_weights" in groups:
        group = h5.group(groups, "top_level_model_weights")
        if extra := h5.names(group, "weight_names"):
            raise ModelFormatError(f"weights of no layer: {extra}")
    return Listed(listed, named)


class _Arrays(Mapping[str, Array]):
    """Names to arrays, which are read when they are asked for."""

    def __init__(self, h5: _H5, datasets: dict[str, Any]) -> None:
        self._h5, self._datasets = h5, datasets

    def __getitem__(self, name: str) -> Array:
        return self._h5.array(name, self._datasets[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._datasets)

    def __len__(self) -> int:
        return len(self._datasets)


class _H5:
    """An HDF5 file that is not believed."""

    def __init__(self, file: IO[bytes]) -> None:
        try:
            import h5py
        except ImportError:
            raise ImportError(
                'reading files of Keras needs a package: pip install "fastlstm[keras]"'
            ) from None
        self._h5py = h5py
        self._size = file.seek(0, os.SEEK_END)
        self._limit = max(MAX_UNCHECKED, MAX_RATIO * self._size)
        self._attributes = Attributes(file)
        self._texts: dict[int, dict[str, list[str] | None]] = {}  # of each object, by its address
        file.seek(0)
        self.root = h5py.File(file, "r")

    def _member(self, group: Any, path: str) -> Any:
        for name in path.split("/"):
            if not isinstance(group, self._h5py.Group) or not name or name not in group:
                raise ModelFormatError(f"there is no {path!r} in {group.name}")
            if not isinstance(group.get(name, getlink=True), self._h5py.HardLink):
                raise ModelFormatError(f"{path!r} is a link to elsewhere")
            group = group[name]
        return group

    def group(self, group: Any, path: str) -> Any:
        """A group in a group."""
        found = self._member(group, path)
        if not isinstance(found, self._h5py.Group):
            raise ModelFormatError(f"expected {path!r} to be a group")
        return found

    def dataset(self, group: Any, path: str) -> Any:
        """A dataset in a group."""
        found = self._member(group, path)
        if not isinstance(found, self._h5py.Dataset):
            raise ModelFormatError(f"expected {path!r} to be an array")
        return found

    def datasets(self, group: Any, path: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
        """All datasets in a group and in the groups in it."""
        if depth > DEPTH:
            raise ModelFormatError(f"groups in groups without end: {path}")
        for name in group:
            found, inside = self._member(group, name), f"{path}/{name}"
            if isinstance(found, self._h5py.Group):
                yield from self.datasets(found, inside, depth + 1)
            else:
                yield inside, found

    def array(self, name: str, dataset: Any) -> Array:
        """The numbers of a dataset."""
        if dataset.is_virtual or dataset.external:
            raise ModelFormatError(f"{name}: the numbers are in another file")
        shape, dtype, stored = dataset.shape, dataset.dtype, dataset.id.get_storage_size()
        wide = dtype.kind == "V" and dtype.itemsize == 2
        if wide and self.text(dataset, "dtype") != "bfloat16":
            raise ModelFormatError(f"{name}: expected numbers, got {dtype}")
        if shape is None or (dtype.kind not in "fiub" and not wide):
            raise ModelFormatError(f"{name}: expected numbers, got {dtype}")
        claimed = math.prod(shape) * dtype.itemsize
        chunk = math.prod(dataset.chunks or ()) * dtype.itemsize
        if stored > self._size or (claimed > stored and dataset.chunks is None):
            raise ModelFormatError(
                f"{name}: {dtype} of shape {shape} takes {claimed} bytes, there are {stored}"
            )
        if max(claimed, chunk) > max(MAX_UNCHECKED, MAX_RATIO * stored):
            raise ModelFormatError(
                f"{name}: refuses to unfold {stored} bytes to {max(claimed, chunk)}"
            )
        array = np.asarray(dataset[()])
        if wide:  # the upper half of a float32
            array = (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        return array

    def _attribute(self, holder: Any, name: str) -> list[str] | None:
        address = int(self._h5py.h5o.get_info(holder.id).addr)
        if address not in self._texts:
            self._texts[address] = self._attributes.texts(address)
        found = self._texts[address]
        if name in found and found[name] is None:
            raise ModelFormatError(f"{name}: expected text")
        return found.get(name)

    def text(self, holder: Any, name: str) -> str | None:
        """An attribute that is text; None if there is none."""
        texts = self._attribute(holder, name)
        if texts is not None and len(texts) != 1:
            raise ModelFormatError(f"{name}: expected one text, got {len(texts)}")
        return None if texts is None else texts[0]

    def names(self, holder: Any, name: str) -> list[str]:
        """An attribute that is a list of texts, in one piece or in many."""
        texts = self._attribute(holder, name)
        if texts is not None:
            return texts
        pieces: list[str] = []
        k = 0
        while (texts := self._attribute(holder, f"{name}{k}")) is not None:
            pieces += texts
            k += 1
        return pieces


def config_from(config: Any) -> dict[str, Any]:
    """The architecture as users give it: a dict, JSON text, or the path of a file of that."""
    if isinstance(config, os.PathLike) or (
        isinstance(config, str) and not config.lstrip().startswith("{")
    ):
        config = Path(config).read_text()
    if isinstance(config, str):
        config = json.loads(config)
    if not isinstance(config, dict):
        raise TypeError(f"config: expected the dict of model.to_json(), got {type(config)}")
    return config
