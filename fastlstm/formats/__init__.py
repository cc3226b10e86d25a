"""Models from files and from other frameworks: one module per foreign format.

No file that is read here can execute code, and none is believed before it is checked.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastlstm.errors import UnsupportedModelError
from fastlstm.formats import native

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["load"]

LATER_SUFFIXES = (".h5", ".keras", ".onnx", ".pt", ".pth")


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
    readable = ", ".join(native.SUFFIXES)
    if suffix in LATER_SUFFIXES:
        raise UnsupportedModelError(
            f"{path}: this version does not read {suffix} files, it reads {readable}; "
            "fastlstm.from_torch takes a torch module or its state_dict()"
        )
    raise ValueError(f"{path}: expected a model file of kind {readable}, got {suffix or 'none'!r}")
