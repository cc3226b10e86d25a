"""Networks from Keras 1, 2 and 3: live models and files. Imports neither Keras nor TensorFlow.

Keras orders gates ``i f c o``, which is this package's ``i f g o``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastlstm.formats.check import check_keras
from fastlstm.formats.keras.files import config_from, open_h5, open_keras
from fastlstm.formats.keras.graph import version_of
from fastlstm.formats.keras.layers import build
from fastlstm.formats.keras.weights import Live
from fastlstm.formats.trust import distrusted, naming, opened
from fastlstm.messages import Message, Option, spelt

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["contents", "from_keras", "load"]

CONFIG = "model.json"  # how messages call a file of model.to_json()


@spelt
def from_keras(model: Any, *, check: Any = None) -> LSTM:
    """A network from a live Keras model, of Keras 3 or of Keras 2 (``tf_keras``).

    The model is a chain of layers, Sequential or functional: Input, Embedding, Masking, LSTM
    (also ``RNN`` of ``LSTMCell``), Bidirectional, Dense, TimeDistributed, activations, dropout
    and the like, GlobalMaxPooling1D, GlobalAveragePooling1D, the last step ``x[:, -1]``, and
    models of these. It computes what the model's ``predict`` does. A stateful layer starts from
    zeros at every call, unless the call gives a state. Inputs that are the ``initial_state`` of a
    layer are the call's `state`, and outputs that are states (``return_state=True``) what a call
    gives as its state; neither counts as an input or an output.

    Parameters
    ----------
    model : keras.Model
        Built, so that it has weights. ``float16`` and ``bfloat16`` are widened to ``float32``.
    check : array (N, T, I), optional
        Inputs (ids (N, T) for an embedding) on which the model itself is run, too, as `predict`
        does: the network has to give its numbers. What is allowed is 16 times the error that
        float32 makes in this network on these inputs.

    Returns
    -------
    LSTM
        It returns sequences if the model does.

    Raises
    ------
    UnsupportedModelError
        If it holds another layer, an option or a graph that this version does not compute
        exactly. The message names the layer and the option. Also if `check` finds other numbers.
    ValueError
        If it has no weights yet, or they are NaN or infinite.
    TypeError
        If it is no Keras model.
    """
    if not all(hasattr(model, name) for name in ("to_json", "layers", "weights")):
        hint = "; files: fastlstm.load(path)" if isinstance(model, str | os.PathLike) else ""
        raise TypeError(f"expected a Keras model, got {type(model).__name__}{hint}")
    # A subclass of a model is in a module of its own; keras or tf_keras is among its bases.
    roots = [base.__module__.partition(".")[0] for base in type(model).__mro__]
    package = next((sys.modules[k] for k in roots if k in ("keras", "tf_keras")), None)
    version = version_of(getattr(package, "__version__", None))
    network = build(json.loads(model.to_json()), Live(model), version)
    if check is not None:
        check_keras(model, network, check)
    return network


def contents(path: Path) -> tuple[str, dict[str, str]]:
    """What kind of file it is, and of what class each of the model's layers is."""
    with opened(path) as file, naming(path), distrusted("the file"):
        saved = (open_keras if path.suffix.lower() == ".keras" else open_h5)(file)
        if saved.config is None:
            return "Keras' weights, without the architecture", {}
        layers = saved.config["config"]  # of an old Sequential the list itself
        layers = layers["layers"] if isinstance(layers, dict) else layers
        names = {str(k["config"]["name"]): str(k["class_name"]) for k in layers}
        return f"a model of Keras {saved.version}", names


def load(path: str | os.PathLike[str], *, config: Any = None) -> LSTM:
    """A network from a ``.keras``, ``.h5`` or ``.hdf5`` file, as `from_keras` says.

    No code of the file is executed. ``hard_sigmoid`` means what it did in the Keras that wrote
    the file: ``0.2 x + 0.5`` in Keras 1 and 2, ``x / 6 + 0.5`` in Keras 3.

    Parameters
    ----------
    path : path
        A ``.keras`` archive; a ``.h5`` of a whole model, written by Keras 1, 2 or 3; or weights
        (``.weights.h5``, or those of ``save_weights``) with the model's `config`.
    config : dict, str or path, optional
        The architecture of a file of weights: ``model.to_json()``, what it holds, or a file of
        it.

    Returns
    -------
    LSTM

    Raises
    ------
    ModelFormatError
        If the file is damaged, incomplete or hostile.
    UnsupportedModelError
        As `from_keras`.
    TypeError, ValueError
        If `config` is missing, or none, or given where the file has its own.
    OSError
        If the file of the `config` is missing or cannot be read.
    """
    path = Path(path)
    architecture = None if config is None else config_from(config)
    with opened(path) as file:
        with naming(path), distrusted("the file"):
            saved = (open_keras if path.suffix.lower() == ".keras" else open_h5)(file)
        if (saved.config is None) is not (architecture is not None):
            if architecture is None:
                what = "give the architecture, what model.to_json() of Keras gives, as a file: "
                said = Message(f"{path} holds weights alone: {what}", Option("config", CONFIG))
            else:
                own = f"{path} holds the model's config itself: "
                said = Message(own, Option("config"), " is for files of weights alone")
            raise ValueError(said)
        with naming(path), distrusted("the model"):
            return build(saved.config or architecture, saved.weights, saved.version)
