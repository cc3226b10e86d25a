"""``.json``, ``.aidax`` and ``.nam`` files, whose content tells which program wrote them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from fastlstm.errors import ModelFormatError
from fastlstm.formats import guitarml, nam, native, rtneural
from fastlstm.formats.containers import json_tensors
from fastlstm.formats.found import Found
from fastlstm.formats.torch.hints import HINTS as TORCH_HINTS
from fastlstm.formats.torch.hints import Hints, refuse_decoder
from fastlstm.formats.torch.state_dict import network_of
from fastlstm.formats.trust import Tensors, naming, numbers, opened, read_json
from fastlstm.messages import Message, separated
from fastlstm.network.network import Network

__all__ = ["HINTS", "contents", "read"]

HINTS: Final = (*TORCH_HINTS, "dtype")

Content = dict[str, Any]

OWN, TORCH = "fastlstm's own", "torch's names"
# Files that describe themselves: the key that only they have, the program that writes them, and the
# function that reads them.
READERS: Final[dict[str, tuple[str, Callable[[Content, npt.DTypeLike], Network]]]] = {
    "in_shape": ("RTNeural", rtneural.network),
    "architecture": ("Neural Amp Modeler", nam.network),
    "model_data": ("GuitarML", guitarml.network),
}


def read(path: Path, **hints: Any) -> Found:
    """Return the network of a JSON file.

    Weights that another program wrote become ``float32``, in which such models are trained and
    run; ``dtype="float64"`` keeps all digits of the file. A file with torch's names is read as
    RTNeural reads it: a chain of LSTMs and one linear dense layer needs no hints, and the network
    gives the outputs of every step unless told otherwise.
    """
    with opened(path) as file:
        with naming(path):
            content = read_json(file)
            key = _key(content)
        return _network(path, content, key, hints)


def _network(path: Path, content: Content, key: str, hints: dict[str, Any]) -> Found:
    if key == OWN:
        with naming(path):
            tensors, metadata = json_tensors(content)
        return native.from_own(path, tensors, metadata, hints)
    dtype = hints.pop("dtype", "float32")
    if dtype not in ("float32", "float64"):
        raise ValueError(f"{path}: expected dtype 'float32' or 'float64', got {dtype!r:.80}")
    if key == TORCH:
        return _by_torchs_names(path, content, dtype, hints)
    whose, read = READERS[key]
    if hints:
        said = f"{path} is a file of {whose}, which describes itself: it does not take "
        raise TypeError(Message(said, *separated(hints)))
    with naming(path):
        return Found(read(content, dtype))


def _by_torchs_names(path: Path, content: Content, dtype: str, hints: dict[str, Any]) -> Found:
    choices = {"prefix", "head", "chain"} & hints.keys()
    chain = rtneural.chain(list(content))
    given = {"prefix", "ignore"} & hints.keys()
    if not given and hints.get("head", chain.get("head")) == chain.get("head"):
        hints = chain | hints
    hints = {"return_sequences": True} | hints
    with naming(path, ValueError):  # the hints may be wrong rather than the file
        refuse_decoder(hints.get("prefix", ""), hints.get("chain"))
    with naming(path, ValueError if choices or not chain else ModelFormatError):
        return network_of(_torch_tensors(content, dtype), Hints(**hints))


def contents(path: Path) -> tuple[str, dict[str, str]]:
    """Return which program wrote a file, and what each of its named tensors is."""
    with opened(path) as file, naming(path):
        content = read_json(file)
        key = _key(content)
        if key == OWN:
            tensors, metadata = json_tensors(content)
            return native.kind_of(metadata), tensors.shapes()
        if key == TORCH:
            return TORCH, _torch_tensors(content, "float32").shapes()
        return f"{READERS[key][0]}'s", {}


def _key(content: Any) -> str:
    """Return which kind of file it is: `OWN`, `TORCH`, or a key of `READERS`.

    Raises
    ------
    ModelFormatError
        If that is not known.
    """
    if not isinstance(content, dict):
        raise ModelFormatError(f"expected a JSON object, got {type(content).__name__}")
    if "fastlstm" in content:
        return OWN
    for key in READERS:
        if key in content:
            return key
    if any("weight_ih" in name for name in content):
        return TORCH
    keys = ", ".join(f"of {whose} ({key!r})" for key, (whose, _) in READERS.items())
    raise ModelFormatError(f"not a network of fastlstm, {keys}, nor tensors with torch's names")


def _torch_tensors(content: Mapping[str, Any], dtype: str) -> Tensors:
    return Tensors(
        content,
        lambda name, values: numbers(name, values, dtype),
        lambda name, values: f"({', '.join(map(str, numbers(name, values, dtype).shape))})",
    )
