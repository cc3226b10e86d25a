"""Models from files and from other frameworks: one module per foreign format.

No file that is read here can execute code, and none is believed before it is checked.
"""

from __future__ import annotations

import importlib
import inspect
import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["contents", "load"]

# Suffixes of files, and the module that reads them by `load(path, **options)`.
READERS = {
    ".safetensors": "native",
    ".npz": "native",
    ".json": "json_models",
    ".nam": "json_models",
    ".h5": "keras",
    ".hdf5": "keras",
    ".keras": "keras",
    ".onnx": "onnx",
    ".pt": "torch.files",
    ".pth": "torch.files",
    ".ckpt": "torch.files",
}


def load(path: str | os.PathLike[str], **options: Any) -> LSTM:
    """Load a model from a file, by its suffix.

    Parameters
    ----------
    path : path
        A file that `LSTM.save` wrote; a ``.safetensors``, ``.npz`` or ``.json`` with torch's
        names of the weights; ``.pt``, ``.pth`` or ``.ckpt`` with a state_dict, a checkpoint, a
        whole module or TorchScript; ``.json`` of RTNeural or GuitarML; ``.nam`` of Neural Amp
        Modeler; ``.onnx``; ``.keras`` or ``.h5``.
    **options
        Hints where the file does not say itself what it is. For torch's names the arguments of
        `from_torch`, such as ``prefix``, ``head`` and ``activation``.

    Returns
    -------
    LSTM
        With the weights' dtype. A saved model comes back with the same bits.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError
        If an option is one that files of this kind do not take.
    ValueError
        If an option does not fit the file, such as a ``head`` that is not there.
    ModelFormatError
        If the file is damaged, incomplete, or holds something else.
    UnsupportedModelError
        If the model or the kind of file is one that this version does not read.
    ImportError
        If a package is missing that reads the file, such as safetensors.
    """
    path, reader = _reader(path)
    takes = inspect.signature(reader.load).parameters
    hints = [name for name in takes if name not in ("path", "options")]
    if "options" not in takes and (unknown := sorted(options.keys() - {*hints})):
        raise TypeError(
            f"{path}: a {path.suffix} file takes no option {', '.join(unknown)}; "
            f"options: {', '.join(hints) or 'none'}"
        )
    model: LSTM = reader.load(path, **options)
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
