"""Models from files and from other frameworks: one module per foreign format.

No file that is read here can execute code, and none is believed before it is checked.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastlstm.formats import native

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["load"]

# Suffixes of foreign files, and the module that reads them by `load(path, **options)`.
FOREIGN = {
    ".h5": "keras",
    ".hdf5": "keras",
    ".keras": "keras",
    ".onnx": "onnx",
    ".pt": "torch_files",
    ".pth": "torch_files",
}


def load(path: str | os.PathLike[str], **options: Any) -> LSTM:
    """Load a model from a file, by its suffix: ``.safetensors``, ``.npz`` or ``.json``.

    Parameters
    ----------
    path : path
        A file that `LSTM.save` wrote, or a ``.safetensors`` or ``.npz`` with torch's names of
        the weights.
    **options
        For torch's names: the arguments of `from_torch`, such as ``prefix`` and ``head``.

    Returns
    -------
    LSTM
        With the weights' dtype. A saved model comes back with the same bits.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If an option does not fit the file, such as a ``head`` that is not there.
    ModelFormatError
        If the file is damaged, incomplete, or holds something else.
    UnsupportedModelError
        If the model or the kind of file is one that this version does not read.
    ImportError
        If ``.safetensors`` is to be read and the package safetensors is missing.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in native.SUFFIXES:
        return native.load(path, **options)
    if not path.exists():
        raise FileNotFoundError(f"there is no model file {path}")
    if suffix not in FOREIGN:
        readable = ", ".join((*native.SUFFIXES, *FOREIGN))
        raise ValueError(f"{path}: expected a model file of kind {readable}, got {suffix!r}")
    reader = importlib.import_module(f"fastlstm.formats.{FOREIGN[suffix]}")
    model: LSTM = reader.load(path, **options)
    return model
