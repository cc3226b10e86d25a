"""``.json`` and ``.nam`` files: whose they are, by what is in them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastlstm.errors import ModelFormatError
from fastlstm.formats import guitarml, nam, native, rtneural
from fastlstm.formats.containers import json_tensors
from fastlstm.formats.torch.loader import build, refuse_decoder
from fastlstm.formats.trust import Tensors, naming, numbers, opened, read_json
from fastlstm.messages import Message, separated

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["contents", "load"]

OWN, RTNEURAL, TORCH = "fastlstm's own", "RTNeural's", "torch's names"
GUITARML, NAM = "GuitarML's", "Neural Amp Modeler's"


def load(path: str | os.PathLike[str], **options: Any) -> LSTM:
    """Read a model in JSON; see `fastlstm.load`.

    Weights of others than this package become ``float32``, in which those models are trained and
    run; ``dtype="float64"`` takes all digits that the file has. A file with torch's names is
    RTNeural's: a chain of LSTMs and one linear dense layer needs no hints, and it gives the
    outputs of every step unless told otherwise.
    """
    path = Path(path)
    with opened(path) as file:
        with naming(path):
            content = read_json(file)
            kind = _kind(content)
        return _built(path, content, kind, options)


def _built(path: Path, content: Any, kind: str, options: dict[str, Any]) -> LSTM:
    if kind == OWN:
        with naming(path):
            tensors, metadata = json_tensors(content)
        return native.from_own(path, tensors, metadata, options)
    dtype = options.pop("dtype", "float32")
    if dtype not in ("float32", "float64"):
        raise ValueError(f"{path}: expected dtype 'float32' or 'float64', got {dtype!r}")
    if kind == TORCH:
        choices = {"prefix", "head", "chain"} & options.keys()
        hints = rtneural.chain(list(content))
        given = {"prefix", "ignore"} & options.keys()
        if not given and options.get("head", hints.get("head")) == hints.get("head"):
            options = hints | options
        options = {"return_sequences": True} | options
        with naming(path, ValueError):  # the caller has to say it, the file may be in order
            refuse_decoder(options.get("prefix", ""), options.get("chain"))
        with naming(path, ValueError if choices or not hints else ModelFormatError):
            return build(_torch_tensors(content, dtype), **options)
    if options:
        who = kind.removesuffix("'s")
        said = f"{path} is a file of {who} and says itself what it is: it does not take "
        raise TypeError(Message(said, *separated(options)))
    with naming(path):
        if kind == RTNEURAL:
            return rtneural.network(content, dtype)
        if kind == NAM:
            return nam.network(content, dtype)
        return guitarml.network(content, dtype)


def contents(path: Path) -> tuple[str, dict[str, str]]:
    """Whose a file is, and what each of its tensors is, where they have names."""
    with opened(path) as file, naming(path):
        content = read_json(file)
        kind = _kind(content)
        if kind == OWN:
            tensors, metadata = json_tensors(content)
            return native.kind_of(metadata), tensors.shapes()
        if kind == TORCH:
            return kind, _torch_tensors(content, "float32").shapes()
        return kind, {}


def _kind(content: Any) -> str:
    """Whose file it is.

    Raises
    ------
    ModelFormatError
        If that is not known.
    """
    if not isinstance(content, dict):
        raise ModelFormatError(f"expected a JSON object, got {type(content).__name__}")
    if "fastlstm" in content:
        return OWN
    if "in_shape" in content:
        return RTNEURAL
    if "architecture" in content:
        return NAM
    if "model_data" in content:
        return GUITARML
    if any("weight_ih" in name for name in content):
        return TORCH
    raise ModelFormatError(
        "not a network of fastlstm, of RTNeural ('in_shape'), of Neural Amp Modeler "
        "('architecture'), of GuitarML ('model_data'), nor tensors with torch's names"
    )


def _torch_tensors(content: Mapping[str, Any], dtype: str) -> Tensors:
    return Tensors(
        content,
        lambda name, values: numbers(name, values, dtype),
        lambda name, values: f"({', '.join(map(str, numbers(name, values, dtype).shape))})",
    )
