"""The package's own files: a network as named tensors and metadata, and back.

The metadata are ``{"format": "fastlstm", "version": "1", "network": {...}, "tensors": [names]}``.

Version 1 holds forward layers and one linear head, under torch's names (``weight_ih_l0`` ...
``head.bias``), with ``network = {"layers": number, "return_sequences": bool}``. It is written
wherever it suffices, so that older versions of this package read the file.

Version 2 holds every network. Its tensors are named by their place, ``layers.0.w_ih``,
``layers.1.backward.b_hh``, ``head.0.weight``; what ``network`` is then, see
`fastlstm.formats.description`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.files import replaced
from fastlstm.formats.containers import READERS, WRITERS, Metadata
from fastlstm.formats.description import built, described, refuse_unknown
from fastlstm.formats.torch.loader import build
from fastlstm.formats.torch.names import head_from, layers_from
from fastlstm.formats.trust import distrusted, naming, opened
from fastlstm.messages import Message, separated
from fastlstm.network.activations import LINEAR
from fastlstm.network.layers import Layer
from fastlstm.network.network import Network

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["SUFFIXES", "contents", "from_own", "kind_of", "load", "save"]

Array = npt.NDArray[Any]

SUFFIXES: Final = tuple(WRITERS)


# Writing


def save(model: LSTM | Network, path: str | os.PathLike[str]) -> Path:
    """Write a model by the suffix of the path; all or nothing.

    The file appears under its name when it is complete and on the disk, so that a reader or a
    crash never meets half of it.

    Parameters
    ----------
    model : LSTM
    path : path
        Ending in ``.safetensors``, ``.npz`` or ``.json``.

    Returns
    -------
    Path
        Where the model is, for ``load(model.save(path))``.

    Raises
    ------
    ValueError
        If the suffix is another one.
    OSError
        If the file cannot be written there.
    ImportError
        If it is ``.safetensors`` and the package safetensors is missing.
    """
    path = Path(path)
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise ValueError(f"{path}: expected a suffix of {', '.join(SUFFIXES)}")
    if _is_plain(model):
        version, tensors = "1", _plain_tensors(model)
        network: dict[str, Any] = {
            "layers": len(model.layers),
            "return_sequences": model.return_sequences,
        }
    else:
        version = "2"
        network, tensors = described(model)
    metadata = {
        "format": "fastlstm",
        "version": version,
        "network": network,
        "tensors": sorted(tensors),  # so that none is lost unnoticed, nor smuggled in
    }
    with replaced(path) as file:
        write(file, tensors, metadata)
    return path


def _is_plain(model: LSTM | Network) -> bool:
    """Whether version 1 can hold it."""
    options = model.options | {"return_sequences": False}
    return (
        options == {"return_sequences": False, "read": "final", "mask_value": None, "skip": 0}
        and len(model.head) <= 1
        and all(dense.activation == LINEAR for dense in model.head)
        and all(isinstance(layer, Layer) and _is_default(layer) for layer in model.layers)
    )


def _is_default(layer: Layer) -> bool:
    """Whether a layer has nothing but weights and biases."""
    options = [field for field in fields(layer) if field.kw_only]
    given = [(getattr(layer, field.name), field.default) for field in options]
    return all(
        value is default or (default is not None and value == default) for value, default in given
    )


def _plain_tensors(model: LSTM | Network) -> dict[str, Array]:
    named: dict[str, Array | None] = {}
    for k, cell in enumerate(cell for layer in model.recurrent for cell in layer.cells):
        named[f"weight_ih_l{k}"] = cell.w_ih
        named[f"weight_hh_l{k}"] = cell.w_hh
        named[f"bias_ih_l{k}"] = cell.b_ih
        named[f"bias_hh_l{k}"] = cell.b_hh
    for dense in model.head:
        named["head.weight"] = dense.weight
        named["head.bias"] = dense.bias
    return {name: tensor for name, tensor in named.items() if tensor is not None}


# Reading


def load(path: str | os.PathLike[str], **options: Any) -> LSTM:
    """Read a model that `save` wrote, or torch's tensors; see `fastlstm.load`."""
    path = Path(path)
    with opened(path) as file:
        with naming(path), distrusted("the file"):
            tensors, metadata = READERS[path.suffix.lower()](file)
        if metadata is None:
            with naming(path, wrong_choice=ValueError):
                return build(tensors, **options)
        return from_own(path, tensors, metadata, options)


def contents(path: Path) -> tuple[str, dict[str, str]]:
    """Whose a file is, and what each of its tensors is."""
    with opened(path) as file, naming(path), distrusted("the file"):
        tensors, metadata = READERS[path.suffix.lower()](file)
        if metadata is None:
            return "tensors", tensors.shapes()
        return kind_of(metadata), tensors.shapes()


def kind_of(metadata: Metadata) -> str:
    """What an own file is called."""
    return f"fastlstm's own, version {metadata.get('version')!s:.20}"


def from_own(
    path: Path, tensors: Mapping[str, Array], metadata: Metadata, options: Mapping[str, Any]
) -> LSTM:
    """The network of a file that `save` wrote, from its tensors and metadata.

    Raises
    ------
    TypeError
        If there are options.
    ModelFormatError, UnsupportedModelError
        As `fastlstm.load`.
    """
    if options:
        said = [f"{path} was saved by fastlstm and takes no hints, got ", *separated(options)]
        raise TypeError(Message(*said))
    with naming(path):
        if metadata.get("format") != "fastlstm":
            raise ModelFormatError(
                f"expected the format 'fastlstm', got {metadata.get('format')!r}"
            )
        version = metadata.get("version")
        read = _VERSIONS.get(version) if isinstance(version, str) else None
        if read is None:
            raise UnsupportedModelError(
                f"this fastlstm reads files of version {' and '.join(_VERSIONS)}, "
                f"got {version!r}; a later fastlstm has written it"
            )
        network = metadata.get("network")
        if not isinstance(network, dict):
            raise ModelFormatError(f"expected a network in the metadata, got {network!r}")
        _require_all(tensors, metadata.get("tensors"))
        return read(tensors, network)


def _require_all(tensors: Mapping[str, Any], names: Any) -> None:
    """Compare the tensors with the list of them in the metadata."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelFormatError(f"expected a list of tensors in the metadata, got {names!r}")
    if missing := set(names) - tensors.keys():
        raise ModelFormatError(f"tensors are missing: {sorted(missing)}")
    if extra := tensors.keys() - set(names):
        raise ModelFormatError(f"tensors that the metadata do not list: {sorted(extra)}")


def _read_plain(tensors: Mapping[str, Array], network: dict[str, Any]) -> LSTM:
    """Version 1."""
    from fastlstm.model import LSTM

    refuse_unknown("options", network.keys() - {"layers", "return_sequences"})
    layers, return_sequences = network.get("layers"), network.get("return_sequences")
    if type(layers) is not int or type(return_sequences) is not bool:
        raise ModelFormatError(
            "expected a number of layers and a return_sequences of true or false, "
            f"got {layers!r} and {return_sequences!r}"
        )
    stack = layers_from(tensors)
    if len(stack) != layers:
        raise ModelFormatError(f"expected {layers} layers, found tensors of {len(stack)}")
    head = head_from(tensors, "head") if "head.weight" in tensors else None
    model = LSTM(stack, head=head, return_sequences=return_sequences)
    if not _is_plain(model):
        raise ModelFormatError("expected forward layers without options in a file of version 1")
    if spare := tensors.keys() - _plain_tensors(model).keys():
        raise ModelFormatError(f"unknown tensors {sorted(spare)}")
    return model


_VERSIONS: Final[dict[str, Callable[[Mapping[str, Array], dict[str, Any]], LSTM]]] = {
    "1": _read_plain,
    "2": built,
}
