"""Models from files and from other frameworks: one module per foreign format.

No file that is read here can execute code, and none is believed before it is checked.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from fastlstm.messages import Message, Option, separated, spelt
from fastlstm.network.reading import How

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["HINTS", "contents", "load"]

# Suffixes of files, and the module that reads them by `load(path, **options)`.
READERS = {
    ".safetensors": "native",
    ".npz": "native",
    ".json": "json_models",
    ".aidax": "json_models",
    ".nam": "json_models",
    ".h5": "keras",
    ".hdf5": "keras",
    ".keras": "keras",
    ".onnx": "onnx",
    ".pt": "torch.files",
    ".pth": "torch.files",
    ".ckpt": "torch.files",
}


# What each of these modules takes, besides the path.
TORCH = (
    "prefix",
    "head",
    "embedding",
    "activation",
    "activations",
    "between",
    "read",
    "return_sequences",
    "ignore",
    "chain",
    "skip",
)
HINTS: dict[str, tuple[str, ...]] = {
    "native": TORCH,
    "torch.files": TORCH,
    "json_models": (*TORCH, "dtype"),
    "keras": ("config",),
    "onnx": ("node",),
}


@spelt
def load(
    path: str | os.PathLike[str],
    *,
    prefix: str | Sequence[str] | None = None,
    head: Any = None,
    embedding: str | None = None,
    activation: Any = None,
    activations: Sequence[Any] | None = None,
    between: Any = None,
    read: How | None = None,
    return_sequences: bool | None = None,
    ignore: str | Sequence[str] | None = None,
    chain: Literal["steps"] | None = None,
    skip: int | None = None,
    node: str | None = None,
    config: Any = None,
    dtype: Literal["float32", "float64"] | None = None,
) -> LSTM:
    """Load a model from a file, by its suffix.

    Files of Keras and ONNX, and those that `LSTM.save` wrote, say themselves what they are. Files
    of bare weights do not: hints say it. Nothing is guessed that changes numbers.

    Parameters
    ----------
    path : path
        A file that `LSTM.save` wrote; a ``.safetensors``, ``.npz`` or ``.json`` with torch's
        names of the weights; ``.pt``, ``.pth`` or ``.ckpt`` with a state_dict, a checkpoint, a
        whole module or TorchScript; ``.json`` of RTNeural, AIDA-X or GuitarML; ``.nam`` of
        Neural Amp Modeler; ``.onnx``; ``.keras`` or ``.h5``.
    prefix, head, embedding, activation, activations, between, read, ignore, chain, skip
        For files with torch's names, as in `from_torch`.
    return_sequences : bool, optional
        Likewise; the default is False, and True for ``.json``, as RTNeural has it.
    node : str, optional
        For ``.onnx``: one LSTM operator, as in `from_onnx`.
    config : dict, str or path, optional
        For a ``.h5`` of weights alone: the architecture, ``model.to_json()``.
    dtype : {"float32", "float64"}, optional
        For ``.json`` and ``.nam`` of others: with how many digits numbers are read; ``float32``
        by default.

    Returns
    -------
    LSTM
        With the weights' dtype. A saved model comes back with the same bits.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError
        If there is no such hint, or files of this kind do not take it.
    ValueError
        If a hint is missing or does not fit the file, such as a ``head`` that is not there.
    ModelFormatError
        If the file is damaged, incomplete, or holds something else.
    UnsupportedModelError
        If the model or the kind of file is one that this version does not read.
    ImportError
        If a package is missing that reads the file, such as safetensors.
    """
    given = {
        "prefix": prefix,
        "head": head,
        "embedding": embedding,
        "activation": activation,
        "activations": activations,
        "between": between,
        "read": read,
        "return_sequences": return_sequences,
        "ignore": ignore,
        "chain": chain,
        "skip": skip,
        "node": node,
        "config": config,
        "dtype": dtype,
    }
    hints = {name: value for name, value in given.items() if value is not None}
    path, reader = _reader(path)
    takes = HINTS[READERS[path.suffix.lower()]]
    if unknown := [name for name in hints if name not in takes]:
        said: list[str | Option] = [f"{path}: a {path.suffix} file does not take "]
        said += [Option(unknown[0]), "; it takes ", *separated(takes)]
        raise TypeError(Message(*said))
    model: LSTM = reader.load(path, **hints)
    return model


def contents(path: str | os.PathLike[str]) -> tuple[str, dict[str, str]]:
    """What kind of file it is, and its tensors by name, as far as they have names.

    Returns
    -------
    kind : str
    tensors : dict of str to str
        Name: dtype and shape.

    Raises
    ------
    FileNotFoundError, ValueError, ModelFormatError, UnsupportedModelError, ImportError
        As `load`.
    """
    path, reader = _reader(path)
    if hasattr(reader, "contents"):
        kind, tensors = reader.contents(path)
        return kind, tensors
    return path.suffix[1:], {}


def _reader(path: str | os.PathLike[str]) -> tuple[Path, ModuleType]:
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.exists():
        raise FileNotFoundError(f"there is no model file {path}")
    if suffix not in READERS:
        raise ValueError(
            f"{path}: expected a model file of kind {', '.join(READERS)}, got {suffix!r}"
        )
    return path, importlib.import_module(f"fastlstm.formats.{READERS[suffix]}")
