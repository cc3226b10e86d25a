"""Models from files and from other frameworks: the public `load` and `from_*`.

Each hands its hints to a reader in `fastlstm.formats`, which gives a network, and wraps that into
an `LSTM`. A new kind of file is a reader there and a line in `READERS`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from fastlstm.check import check_example, check_keras, check_module
from fastlstm.formats import json_models, tensors
from fastlstm.formats.found import Found
from fastlstm.formats.keras import reader as keras
from fastlstm.formats.onnx import reader as onnx
from fastlstm.formats.torch import files as torch
from fastlstm.formats.torch.example import follow
from fastlstm.formats.torch.hints import ACTIVATIONS, Hints
from fastlstm.formats.torch.state_dict import network_of
from fastlstm.formats.trust import WrongChoice
from fastlstm.messages import Message, Option, message_of, separated, spelt
from fastlstm.model import LSTM
from fastlstm.network.reading import How

__all__ = ["READERS", "contents", "from_keras", "from_onnx", "from_torch", "load"]


class Reader(Protocol):
    """A module of `fastlstm.formats` that reads files of some suffixes."""

    @property
    def HINTS(self) -> tuple[str, ...]:
        """The hints of `load` that `read` takes."""

    @property
    def read(self) -> Any:
        """``read(path, **hints)`` gives what was `Found`."""

    def contents(self, path: Path, /) -> tuple[str, dict[str, str]]:
        """Return the kind of a file, and its named tensors."""


# Suffix of a file: what reads it.
READERS: Final[dict[str, Reader]] = {
    ".safetensors": tensors,
    ".npz": tensors,
    ".json": json_models,
    ".aidax": json_models,
    ".nam": json_models,
    ".h5": keras,
    ".hdf5": keras,
    ".keras": keras,
    ".onnx": onnx,
    ".pt": torch,
    ".pth": torch,
    ".ckpt": torch,
    ".pt2": torch,  # which is refused, and why
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
    parts: str | Sequence[str] | None = None,
    node: str | None = None,
    config: Any = None,
    dtype: Literal["float32", "float64"] | None = None,
) -> LSTM:
    """Load a model from a file, whose suffix says what kind of file it is.

    Files of Keras and ONNX, and those that `LSTM.save` wrote, describe their network themselves.
    For files of bare weights, hints do. Nothing that changes numbers is guessed.

    Parameters
    ----------
    path : path
        A file that `LSTM.save` wrote; a ``.safetensors``, ``.npz`` or ``.json`` with torch's
        names of the weights; ``.pt``, ``.pth`` or ``.ckpt`` with a state_dict, a checkpoint, a
        whole module or TorchScript; ``.json`` of RTNeural, AIDA-X or GuitarML; ``.nam`` of
        Neural Amp Modeler; ``.onnx``; ``.keras`` or ``.h5``.
    prefix, head, embedding, activation, activations, between, read, ignore, chain, skip, parts
        For files with torch's names, as in `from_torch`.
    return_sequences : bool, optional
        As in `from_torch`. The default is False, but True for ``.json`` files with torch's names,
        because RTNeural reads them so.
    node : str, optional
        For ``.onnx``: one LSTM operator, as in `from_onnx`.
    config : dict, str or path, optional
        For an ``.h5`` file that holds only weights: the architecture, ``model.to_json()``.
    dtype : {"float32", "float64"}, optional
        For ``.json`` and ``.nam`` files of other programs: the dtype that the numbers are read as;
        ``float32`` by default.

    Returns
    -------
    LSTM
        A model in the dtype of the weights. A saved model is loaded with the same bits.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError
        If a hint is misspelt, or does not apply to files of this kind.
    ValueError
        If a hint is missing or does not fit the file, such as a ``head`` that is not in it, or if
        the suffix is not one of the above.
    ModelFormatError
        If the file is damaged, incomplete, or holds something else.
    UnsupportedModelError
        If this version does not compute the model.
    ImportError
        If a package that is needed to read the file, such as safetensors, is not installed.

    Examples
    --------
    >>> model = load("checkpoint.pt", head="fc", activation="sigmoid")  # doctest: +SKIP
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
        "parts": parts,
        "node": node,
        "config": config,
        "dtype": dtype,
    }
    hints = {name: value for name, value in given.items() if value is not None}
    path = Path(path)
    reader = _reader(path)
    if unknown := [name for name in hints if name not in reader.HINTS]:
        said: list[str | Option] = [f"{path}: a {path.suffix} file does not take "]
        said += [Option(unknown[0]), "; it takes ", *separated(reader.HINTS)]
        raise TypeError(Message(*said))
    return _model(reader.read(path, **hints))


def contents(path: str | os.PathLike[str]) -> tuple[str, dict[str, str]]:
    """Return the kind of a model file, and its named tensors.

    Returns
    -------
    kind : str
        What kind of file it is, in a few words.
    tensors : dict of str to str
        The dtype and shape of each tensor, by its name.

    Raises
    ------
    FileNotFoundError, ValueError, ModelFormatError, UnsupportedModelError, ImportError
        As `load`.
    """
    path = Path(path)
    return _reader(path).contents(path)


def _reader(path: Path) -> Reader:
    if not path.exists():
        raise FileNotFoundError(f"there is no model file {path}")
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise ValueError(
            f"{path}: expected a model file of kind {', '.join(k for k in READERS if k != '.pt2')}"
            f", got {suffix!r}"
        )
    return READERS[suffix]


def _model(found: Found) -> LSTM:
    return LSTM.from_network(found.network, found.unused)


@spelt
def from_torch(
    module_or_state_dict: Any,
    prefix: str | Sequence[str] = "",
    head: Any = None,
    activations: Sequence[Any] = ACTIVATIONS,
    return_sequences: bool = False,
    *,
    activation: Any = None,
    between: Any = None,
    embedding: str | None = None,
    read: How | None = None,
    ignore: str | Sequence[str] = (),
    chain: Literal["steps"] | None = None,
    skip: int = 0,
    parts: str | Sequence[str] = (),
    check: Any = None,
    example: Any = None,
) -> LSTM:
    """Make a model from a torch module or from tensors with torch's names.

    The model takes ``(N, T, I)`` whatever the module's ``batch_first`` is, and dropout is inactive,
    as in ``eval()`` mode.

    With an `example` of its inputs, a module needs no hints: its own ``forward`` is followed. The
    weights alone do not say what a ``forward`` does with them; the hints say it, and `check`
    compares.

    Parameters
    ----------
    module_or_state_dict : nn.LSTM, nn.LSTMCell, nn.Module or mapping of str to array or tensor
        A module that is or holds an LSTM, or a mapping such as its ``state_dict()``, possibly
        inside other mappings as in checkpoints. A mapping of NumPy arrays needs no torch, its
        layers may differ in hidden size, and it may hold ``peephole_i_l0``, ``peephole_f_l0``
        and ``peephole_o_l0`` (H,). ``float16`` and ``bfloat16`` are widened to ``float32``.
    prefix : str or sequence of str, optional
        Where the LSTM is, such as ``"encoder.lstm"``; needed if there are several. A list is a
        chain, in which each LSTM reads every step of the one before: ``b(a(x)[0])``. Without a
        `head`, a prefix takes the LSTM alone (and its `embedding`) out of a larger model: what
        comes after it is left out, and `LSTM.unused` has the names; anything that may stand in
        front of it, because its sizes fit or because it has no weights, is refused.
    head : str, sequence of str, Dense, number or (weight, bias), optional
        The dense head, or its name: ``"fc"`` takes ``fc.weight`` and ``fc.bias``. The name of an
        `nn.Sequential` takes its dense layers and activations. Names of several layers need an
        `activation` for each. With a head, no weights may be left over.
    activations : sequence of three activations
        Those of gates, candidate and cell output; see `Activation`. The default is torch's own.
    return_sequences : bool
        Whether `predict` applies the head at every step unless the call says otherwise.
    activation : str, Activation or sequence of them, optional
        The activation of the head: ``"sigmoid"``, ``"softmax"``, ``("leaky_relu", 0.2)``; for
        several named dense layers a list with one for each, ``["relu", None]``. ``"hardsigmoid"``
        is torch's, with 1/6 and 0.5. Each stands for one activation module of the model.
    between : str or Activation, optional
        An activation between what is read and the head: ``"relu"`` for ``fc(torch.relu(h))``.
    embedding : str, optional
        The name of the `nn.Embedding` before the LSTM. As in torch, no id is masked, not even
        ``padding_idx``.
    read : {"final", "last", "max", "mean"}, optional
        What the head reads of a sequence. ``"final"`` is ``h_n[-1]``, or
        ``torch.cat([h_n[-2], h_n[-1]], 1)`` for two directions. ``"last"`` is ``out[:, -1]``: the
        same for one direction, but the backward one of two has read only that step. ``"max"`` and
        ``"mean"`` are the maximum and mean of ``out`` over the steps. The head of a bidirectional
        LSTM needs this hint, unless it is applied at every step.
    ignore : str or sequence of str, optional
        Names of modules or weights to leave out: those of another branch, which are not on the way
        from the inputs to the outputs. Leaving out something on the way would change the numbers.
        A part of a layer that is used cannot be left out.
    chain : {"steps"}, optional
        Confirms that in a list of prefixes each LSTM reads every step of the one before. This is
        needed if the names are those of an encoder and a decoder, because most such models do
        something else.
    skip : int
        How many of the inputs are added to the head's outputs.
    parts : sequence of str, optional
        All that is computed, in order, for a model with more than an LSTM and a head:
        ``["conv(stride=1, padding=1, dilation=1, groups=1)", "bn(epsilon=1e-5)", "relu",
        "max_pool(2)", "lstm", "last", "fc"]``. Each is a name of weights, an activation, a pooling
        or what is read; `docs/models.md` has the list. What the weights do not say stands in
        brackets; a whole module says it itself. Takes the place of all other hints but `ignore` and
        `activations`.
    check : array (N, T, I) or tensor, optional
        Inputs (ids (N, T) with an `embedding`) on which the module itself is run as well, in
        ``eval()`` mode. The network has to give the same numbers, up to 16 times the error of
        float32 in this network on these inputs (of float64 for a module in float64). The module
        gets the inputs as they are, or time first if its LSTM does not have ``batch_first``, and
        its training mode is restored afterwards. If it returns several outputs, one of them has to
        agree. Use several sequences of several steps: after a single step, most choices give the
        same result.
    example : array (N, T, I) or tensor, or (x, lengths), optional
        Inputs as the module itself takes them: time first if it does, channels first, ids (N, T),
        or a tuple of padded sequences and their lengths for a ``forward(x, lengths)``. Its
        ``forward`` is then traced by torch's ONNX exporter, in ``eval()`` mode, and the network is
        what it computes, including functions such as ``torch.relu`` and ``out[:, -1]``. The module
        remains as it is. Needs the package onnx, and takes no hint. The network takes any number of
        sequences; it takes any number of steps if the module does, and if no code of the module
        decides by it (``if x.size(1) > 100``), and otherwise that of the example alone. It is
        always compared with the module, as by `check`: on up to 64 sequences of the example, and
        at other sizes.

    Returns
    -------
    LSTM

    Raises
    ------
    UnsupportedModelError
        For a module that is not computed, or does not give the network's numbers; its `example`
        says where. For code of a module that decides by numbers of its inputs. Without an
        `example`, for a GRU or plain RNN, a custom class in place of `nn.LSTM`, weight_norm, an
        attention, a normalisation or convolution that `parts` does not name, or a dtype that is
        not a float of 16, 32 or 64 bits; for a module that holds more than an LSTM, its embedding
        and its head, such as a ReLU that no hint
        names; and if `check` finds other numbers.
    ValueError
        If the LSTM or the head is missing or ambiguous (the candidates are listed), if `read` is
        needed, if weights would be left out, or if shapes do not fit.
    TypeError
        If the first argument is of another type, a weight is masked, or an argument is misspelt;
        if there are hints beside an `example`.
    ImportError
        If the package onnx is needed and not installed.

    Examples
    --------
    >>> model = from_torch(module, example=x)  # doctest: +SKIP
    >>> model = from_torch(module.state_dict(), head="fc")  # doctest: +SKIP
    """
    hints = Hints(
        prefix=prefix,
        head=head,
        activation=activation,
        activations=activations,
        between=between,
        embedding=embedding,
        read=read,
        ignore=ignore,
        chain=chain,
        return_sequences=return_sequences,
        skip=skip,
        parts=parts,
    )
    if example is not None:
        if given := hints.given:
            raise TypeError(
                Message(
                    Option("example"),
                    ": the module's own forward is followed, which takes no hint; got ",
                    *separated(given),
                )
            )
        followed = follow(module_or_state_dict, example)
        model = _model(Found(followed.network))
        check_example(model, followed.runs)
    else:
        try:
            model = _model(network_of(module_or_state_dict, hints))
        except WrongChoice as error:
            raise ValueError(message_of(error)) from None
    if check is not None:
        check_module(module_or_state_dict, model, check)
    return model


@spelt
def from_keras(model: Any, *, check: Any = None) -> LSTM:
    """Make a model from a live Keras model, of Keras 3 or of Keras 2 (``tf_keras``).

    The Keras model has to be a chain of layers, Sequential or functional: Input, Embedding,
    Masking, LSTM (also ``RNN`` of ``LSTMCell``), Bidirectional, Dense, TimeDistributed,
    activations, dropout and the like, GlobalMaxPooling1D, GlobalAveragePooling1D, the last step
    ``x[:, -1]``, and models made of these. The result computes what its ``predict`` does. A
    stateful layer starts from zeros at every call, unless the call gives a state. Inputs that are
    the ``initial_state`` of a layer become the `state` of a call, and outputs that are states
    (``return_state=True``) become the state that the call returns; neither counts as an input or
    an output.

    Parameters
    ----------
    model : keras.Model
        A model that has been built, so that it has weights. ``float16`` and ``bfloat16`` are
        widened to ``float32``.
    check : array (N, T, I), optional
        Inputs (ids (N, T) for an embedding) on which the Keras model itself is run as well. The
        network has to give the same numbers, up to 16 times the error of float32 in this network
        on these inputs.

    Returns
    -------
    LSTM
        Its `predict` returns the outputs of every step if the Keras model does.

    Raises
    ------
    UnsupportedModelError
        If it has a layer, an option or a graph that this version does not compute exactly (the
        message names the layer and the option), or if `check` finds other numbers.
    ValueError
        If it has no weights yet, or a weight is NaN or infinite.
    TypeError
        If it is not a Keras model.

    Examples
    --------
    >>> model = from_keras(keras.models.load_model("model.keras"), check=x)  # doctest: +SKIP
    """
    network = _model(keras.from_live(model))
    if check is not None:
        check_keras(model, network, check)
    return network


@spelt
def from_onnx(path_or_model: Any, node: str | None = None) -> LSTM:
    """Make a model from an ONNX file or model: the whole graph, or one LSTM operator of it.

    The model takes ``(N, T, I)`` and gives ``(N, T, outputs)``, whatever the order of the
    graph's axes (ONNX's own is ``(T, N, I)``). An input ``sequence_lens`` becomes the `lengths` of
    a call, and inputs ``initial_h`` and ``initial_c`` its `state`; a constant initial state becomes
    the learned one. Past each length the outputs are zero, while ONNX may apply a dense layer to
    zeros there.

    A whole graph has to be a chain from one input to one output: an embedding, dense layers and
    activations around stacked LSTM operators of one or two directions, then the last step, the
    final states, the maximum or mean over the steps, or all steps. Further outputs may be final
    states, of one layer, of all, or of one direction; a call of the model returns them. Operators
    that only move numbers, such as Transpose, Reshape, Slice and Concat, may be used in any way
    that keeps sequences, steps and outputs in order. A graph that runs only for a batch of 1 is
    computed for each sequence by itself.

    Parameters
    ----------
    path_or_model : path or onnx.ModelProto
        The file or model. Data in other files is read if they are in the model's folder or below.
    node : str, optional
        The name of an LSTM node, or of one of its outputs. Only that operator is taken, with the
        constants that it needs.

    Returns
    -------
    LSTM
        Weights in ``float16`` and ``bfloat16`` are widened to ``float32``.

    Raises
    ------
    UnsupportedModelError
        If the graph is not such a chain, or an option is not computed; the node is named.
    ModelFormatError
        If the file is damaged, or the graph contradicts itself.
    ValueError
        If there is no such `node`, or there are several; the LSTM nodes are listed.
    TypeError
        If the first argument is neither a path nor a model.
    ImportError
        If the package onnx is not installed.

    Examples
    --------
    >>> model = from_onnx("model.onnx")  # doctest: +SKIP
    """
    if isinstance(path_or_model, (str, os.PathLike)):
        return _model(onnx.read(Path(path_or_model), node=node))
    return _model(onnx.from_model(path_or_model, node))
