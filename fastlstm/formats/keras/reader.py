"""Models of Keras 1, 2 and 3, live or in files. Imports neither Keras nor TensorFlow.

Keras orders gates ``i f c o``, which is this package's ``i f g o``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from fastlstm.formats.found import Found
from fastlstm.formats.keras.files import Opened, config_from, open_h5, open_keras
from fastlstm.formats.keras.graph import version_of
from fastlstm.formats.keras.stores import Live
from fastlstm.formats.keras.walk import network_of
from fastlstm.formats.trust import distrusted, naming, opened
from fastlstm.messages import Message, Option

__all__ = ["HINTS", "contents", "from_live", "read"]

HINTS: Final = ("config",)
OPENERS: Final = {".keras": open_keras, ".h5": open_h5, ".hdf5": open_h5}
CONFIG: Final = "model.json"  # what messages call a file of model.to_json()


def from_live(model: Any) -> Found:
    """The network of a live model, of Keras 3 or of Keras 2 (``tf_keras``).

    Raises
    ------
    TypeError
        If it is not a Keras model.
    ValueError, UnsupportedModelError
        As `fastlstm.from_keras`.
    """
    if not all(hasattr(model, name) for name in ("to_json", "layers", "weights")):
        hint = "; files: fastlstm.load(path)" if isinstance(model, str | os.PathLike) else ""
        raise TypeError(f"expected a Keras model, got {type(model).__name__}{hint}")
    # A subclass of a model is in a module of its own; keras or tf_keras is among its bases.
    roots = [base.__module__.partition(".")[0] for base in type(model).__mro__]
    package = next((sys.modules[k] for k in roots if k in ("keras", "tf_keras")), None)
    version = version_of(getattr(package, "__version__", None))
    return Found(network_of(json.loads(model.to_json()), Live(model), version))


def read(path: Path, *, config: Any = None) -> Found:
    """The network of a file. No code in it is executed.

    ``hard_sigmoid`` means what it did in the Keras that wrote the file: ``0.2 x + 0.5`` in Keras 1
    and 2, ``x / 6 + 0.5`` in Keras 3.

    Parameters
    ----------
    path : Path
        A ``.keras`` archive; a ``.h5`` of a whole model, of Keras 1, 2 or 3; or weights
        (``.weights.h5``, or those of ``save_weights``) with the model's `config`.
    config : dict, str or path, optional
        The architecture of a file of weights: ``model.to_json()``, what it holds, or a file of
        it.

    Raises
    ------
    ModelFormatError
        If the file is damaged, incomplete or hostile.
    UnsupportedModelError
        As `fastlstm.from_keras`.
    TypeError, ValueError
        If `config` is missing, is not an architecture, or is given for a file that has its own.
    OSError
        If the file of the `config` is missing or cannot be read.
    """
    architecture = None if config is None else config_from(config)
    with opened(path) as file:
        with naming(path), distrusted("the file"):
            saved = OPENERS[path.suffix.lower()](file)
        _check_config(path, saved, architecture is not None)
        with naming(path), distrusted("the model"):
            return Found(network_of(saved.config or architecture, saved.weights, saved.version))


def _check_config(path: Path, saved: Opened, given: bool) -> None:
    """Refuse a file of weights without a config, and a file of a whole model with one."""
    if saved.config is None and not given:
        what = "give the architecture, the text of Keras' model.to_json(), as a file: "
        said = f"{path} holds weights alone: {what}"
        raise ValueError(Message(said, Option("config", CONFIG)))
    if saved.config is not None and given:
        said = f"{path} holds the model's config itself: "
        raise ValueError(Message(said, Option("config"), " is for files of weights alone"))


def contents(path: Path) -> tuple[str, dict[str, str]]:
    """What kind of file it is, and the class of each of the model's layers."""
    with opened(path) as file, naming(path), distrusted("the file"):
        saved = OPENERS[path.suffix.lower()](file)
        if saved.config is None:
            return "Keras' weights, without the architecture", {}
        layers = saved.config["config"]  # of an old Sequential the list itself
        layers = layers["layers"] if isinstance(layers, dict) else layers
        names = {str(k["config"]["name"]): str(k["class_name"]) for k in layers}
        return f"a model of Keras {saved.version}", names
