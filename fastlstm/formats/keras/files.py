"""The files of Keras, read without Keras, TensorFlow or the HDF5 library."""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import numpy.typing as npt

from fastlstm.errors import ModelFormatError
from fastlstm.formats.archives import MAX_RATIO, MAX_UNCHECKED, read_member
from fastlstm.formats.budget import current
from fastlstm.formats.keras.graph import version_of
from fastlstm.formats.keras.hdf5 import Node, root_of
from fastlstm.formats.keras.stores import Listed, Store, Tree
from fastlstm.formats.trust import parse_json
from fastlstm.messages import Message, Option

__all__ = ["Opened", "config_from", "open_h5", "open_keras"]

Array = npt.NDArray[Any]

WEIGHTS: Final = "model.weights.h5"
MAX_CONFIG: Final = 1 << 24  # bytes of a config; a large network's takes a few hundred thousand


class Opened(NamedTuple):
    """What a file holds."""

    config: dict[str, Any] | None
    weights: Store
    version: int | None  # the major version of the Keras that wrote it


def open_keras(file: IO[bytes]) -> Opened:
    """A ``.keras`` archive."""
    archive = zipfile.ZipFile(file)
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if info.filename in members:
            raise ModelFormatError(f"{info.filename!r} occurs twice")
        members[info.filename] = info

    def read(name: str, limit: int) -> bytes:
        if name not in members:
            raise ModelFormatError(f"not a model of Keras: there is no {name}")
        info = members[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelFormatError(f"{name}: expected it stored or deflated")
        if info.file_size > limit:
            raise ModelFormatError(f"refusing to unpack {name} into {info.file_size} bytes")
        current().grow(max(0, info.file_size - info.compress_size))
        return read_member(archive, info)

    config = parse_json(read("config.json", MAX_CONFIG))
    metadata = parse_json(read("metadata.json", MAX_CONFIG))
    if not isinstance(metadata, dict):
        raise ModelFormatError("expected an object in metadata.json")
    limit = max(MAX_UNCHECKED, MAX_RATIO * os.fstat(file.fileno()).st_size)
    weights = io.BytesIO(read(WEIGHTS, limit))
    return Opened(config, _tree(root_of(weights)), version_of(metadata.get("keras_version")))


def open_h5(file: IO[bytes]) -> Opened:
    """A ``.h5`` file, of a whole model or of weights."""
    root = root_of(file)
    config = root.text("model_config")
    version = version_of(root.text("keras_version"))
    if "model_weights" not in root and _own(root):
        return Opened(None, _tree(root), version)
    groups = root.group("model_weights") if "model_weights" in root else root
    if config is None and groups is not root:
        raise ModelFormatError("the file of a whole model lacks its model_config")
    version = version or version_of(groups.text("keras_version")) or 1
    weights = _listed(groups, named=config is not None)
    return Opened(None if config is None else parse_json(config), weights, version)


def _own(root: Node) -> list[str]:
    """The groups of the model's layers and weights, not those of its optimizer.

    On Windows, Keras names one group ``layers``, backslash, ``lstm``, backslash, ``cell``.
    """
    return [name for name in root.members if re.split(r"[\\/]", name)[0] in ("layers", "vars")]


def _tree(root: Node) -> Store:
    found: dict[str, Node] = {}
    names = _own(root)
    if not any(name.startswith("layers") for name in names):
        raise ModelFormatError("there is no 'layers' in the file of weights")
    seen: set[int | None] = set()
    for name in names:
        for inside, node in root.group(name).arrays(name, seen):
            place = inside.replace("\\", "/")
            if place in found:
                raise ModelFormatError(f"{place!r} occurs twice")
            found[place] = node
    return Tree(_Arrays(found))


def _listed(groups: Node, named: bool) -> Store:
    listed: list[tuple[str, Mapping[str, Any]]] = []
    for name in groups.names("layer_names"):
        group = groups.group(name)
        weights = group.names("weight_names")
        if len(set(weights)) < len(weights):
            raise ModelFormatError(f"{name}: a weight is named twice")
        if weights:
            listed.append((name, _Arrays({k: group.array_at(k) for k in weights})))
    top = "top_level_model_weights"
    if top in groups and (extra := groups.group(top).names("weight_names")):
        raise ModelFormatError(f"weights that belong to no layer: {extra}")
    return Listed(listed, named, groups.text("backend") == "theano")


class _Arrays(Mapping[str, Array]):
    """Names to arrays, which are read when they are asked for."""

    def __init__(self, nodes: dict[str, Node]) -> None:
        self._nodes = nodes

    def __getitem__(self, name: str) -> Array:
        return self._nodes[name].array(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)


def config_from(config: Any) -> dict[str, Any]:
    """The architecture as users give it: a dict, JSON text, or the path of a JSON file."""
    if isinstance(config, os.PathLike) or (
        isinstance(config, str) and not config.lstrip().startswith("{")
    ):
        config = _text_of(Path(config))
    if isinstance(config, str):
        try:
            config = json.loads(config)
        except (ValueError, RecursionError) as error:
            wanted = ": expected JSON as model.to_json() gives it: "
            raise ValueError(Message(Option("config"), f"{wanted}{error}")) from None
    if not isinstance(config, dict):
        what = f": expected the dict of model.to_json(), got {type(config).__name__}"
        raise TypeError(Message(Option("config"), what))
    return config


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        what = f": there is no file {path!s:.200}"
        raise FileNotFoundError(Message(Option("config"), what)) from None
    except ValueError:  # no text, or no path
        what = f": expected a text file of model.to_json(), got {path!s:.200}"
        raise ValueError(Message(Option("config"), what)) from None
    except OSError as error:
        what = f": {error.strerror}: {path!s:.200}"
        raise OSError(Message(Option("config"), what)) from None
