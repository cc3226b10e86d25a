"""Keras' LSTM layers as this package's: options and weights of one layer."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.keras import activations
from fastlstm.formats.keras.graph import KerasLayer, unique_names
from fastlstm.formats.keras.stores import Store
from fastlstm.network.activations import Activation
from fastlstm.network.layers import Bidirectional, Layer

__all__ = ["RECURRENT", "Options", "Recurrent", "bidirectional", "recurrent", "wrapped"]

Array = npt.NDArray[Any]

RECURRENT: Final = ("LSTM", "CuDNNLSTM", "RNN")
WEIGHTS: Final = ("kernel", "recurrent_kernel", "bias")
DTYPES: Final = ("float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16")
# Options that do not change what a trained layer computes.
INERT: Final = re.compile(
    r"\w*_(initializer|regularizer|constraint)|init|inner_init|forget_bias_init|unit_forget_bias"
    r"|name|trainable|batch_size|(batch_)?(input_)?shape|input_(dim|length|dtype|spec)"
    r"|stateful|unroll|implementation|consume_less|use_cudnn|supports_masking"
    r"|(recurrent_)?dropout(_[WU])?|p|rate|noise_shape|seed|sigma|stddev|l1|l2"
)
_NONE: Final = object()


class Options:
    """The options of one layer. Each has to be taken by some code that understands it."""

    def __init__(self, where: str, config: Any, version: int | None) -> None:
        if not isinstance(config, dict):
            raise ModelFormatError(f"{where}: expected a config, got {str(config)[:60]!r}")
        self.where, self.version = where, version
        self._config = dict(config)
        self._check_dtype(self._config.pop("dtype", None))

    def _check_dtype(self, dtype: Any) -> None:
        if isinstance(dtype, dict):
            if dtype.get("class_name") not in ("Policy", "DTypePolicy"):
                raise UnsupportedModelError(f"{self.where}: dtype={dtype.get('class_name')}")
            dtype = dtype["config"]["name"]
        if dtype is not None and dtype not in (*DTYPES, "int32", "int64"):
            raise UnsupportedModelError(f"{self.where}: dtype={dtype!r} is not computed")

    def take(self, *names: str, default: Any = _NONE) -> Any:
        """Return the first of these options that is present, and count it as understood."""
        found = [self._config.pop(name) for name in names if name in self._config]
        if not found and default is _NONE:
            raise ModelFormatError(f"{self.where}: there is no option {names[0]!r}")
        return found[0] if found else default

    def flag(self, name: str, *others: str, default: bool = False) -> bool:
        """Return an option that is true or false."""
        value = self.take(name, *others, default=default)
        if not isinstance(value, bool):
            raise ModelFormatError(
                f"{self.where}: expected {name} to be true or false, got {value!r}"
            )
        return value

    def activation(self, *names: str) -> Activation | str:
        """Return an option that is an activation."""
        where = f"{self.where}, {names[0]}"
        return activations.from_config(self.take(*names), where, self.version)

    def expect(self, name: str, *values: Any) -> None:
        """Refuse an option that has another value than these."""
        value = self.take(name, default=values[0])
        if value not in values:
            raise UnsupportedModelError(f"{self.where}: {name}={value!r} is not computed")

    def refuse_rest(self) -> None:
        """Refuse the options that were not taken, except those that change nothing."""
        for name, value in self._config.items():
            if value is not None and not INERT.fullmatch(name):
                raise UnsupportedModelError(
                    f"{self.where}: the option {name}={str(value)[:60]!r} is not known"
                )


class Recurrent(NamedTuple):
    """A recurrent layer, which may be a stack of cells."""

    layers: list[Layer]  # forward
    return_sequences: bool
    backwards: bool
    zero_masked: bool  # its output is zero at masked steps


def recurrent(
    layer: KerasLayer, kind: str, config: Any, inside: str, weights: Store, version: int | None
) -> Recurrent:
    """An LSTM, or an RNN of LSTMCells, with its weights.

    Parameters
    ----------
    layer : KerasLayer
        The layer of the chain that it is, or that wraps it.
    kind, config
        Its class and options.
    inside : str
        Where it is in the layer: ``"forward_layer"``.
    """
    where = str(layer) if kind == layer.kind else f"{layer}, {kind}"
    options = Options(where, config, version)
    inside = inside and f"{inside}/"
    if kind == "RNN":
        layers = _stack(layer, options, f"{inside}cell", weights)
    elif kind == "CuDNNLSTM":
        layers = [_cudnn(layer, options, inside, weights)]
    else:
        layers = [_cell(layer, options, f"{inside}cell", weights)]
    if options.flag("time_major"):
        raise UnsupportedModelError(
            f"{where}: time_major=True is not computed; sequences come first here"
        )
    options.take("return_state", default=None)  # the graph knows who reads it
    found = Recurrent(
        layers,
        options.flag("return_sequences"),
        options.flag("go_backwards"),
        options.flag("zero_output_for_mask"),
    )
    options.refuse_rest()
    return found


def bidirectional(
    layer: KerasLayer, weights: Store, version: int | None
) -> tuple[Bidirectional, bool]:
    """A Bidirectional wrapper, and whether it returns sequences."""
    options = Options(str(layer), layer.config, version)
    merge = options.take("merge_mode", default="concat")
    if merge is None:
        raise UnsupportedModelError(f"{layer}: merge_mode=None, two outputs, is not computed")
    first = options.take("layer")
    second = options.take("backward_layer", default=None)
    options.take("return_sequences", "return_state", "go_backwards", default=None)
    options.refuse_rest()
    halves = []
    for inside, half in (("forward_layer", first), ("backward_layer", second)):
        kind, config = wrapped(layer, half or first)
        if half is None:
            config = {**config, "go_backwards": not config.get("go_backwards", False)}
        if kind not in RECURRENT:
            raise UnsupportedModelError(f"{layer} of a {kind}: only an LSTM is computed")
        halves.append(recurrent(layer, kind, config, inside, weights, version))
    forward, backward = halves
    if forward.backwards or not backward.backwards:
        raise UnsupportedModelError(
            f"{layer}: go_backwards of its layers is {forward.backwards} and "
            f"{backward.backwards}; only False and True are computed"
        )
    if forward.return_sequences != backward.return_sequences:
        raise ModelFormatError(f"{layer}: only one of its layers returns sequences")
    if len(forward.layers) > 1 or len(backward.layers) > 1:
        raise UnsupportedModelError(f"{layer} of a stack of cells is not computed")
    behind = replace(backward.layers[0], direction="reverse")
    if forward.layers[0].hidden_size != behind.hidden_size:
        raise UnsupportedModelError(f"{layer}: directions of different units are not computed")
    return Bidirectional(forward.layers[0], behind, merge), forward.return_sequences


def wrapped(layer: KerasLayer, entry: Any) -> tuple[str, dict[str, Any]]:
    """The class and the options of a layer that another one wraps.

    Raises
    ------
    ModelFormatError
        If it is not a layer.
    UnsupportedModelError
        If it is not one of Keras' own classes.
    """
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
        raise ModelFormatError(f"{layer}: expected a layer in it, got {str(entry)[:60]!r}")
    if ">" in str(entry.get("registered_name")):
        raise UnsupportedModelError(f"{layer} of a custom {entry['registered_name']!r}")
    return str(entry.get("class_name")), entry["config"]


def _stack(layer: KerasLayer, options: Options, inside: str, weights: Store) -> list[Layer]:
    kind, config = wrapped(layer, options.take("cell"))
    if kind == "LSTMCell":
        entries, places = [(kind, config)], [inside]
    elif kind == "StackedRNNCells":
        stack = Options(f"{layer}, {kind}", config, options.version)
        cells = stack.take("cells")
        stack.expect("reverse_state_order", False)
        stack.refuse_rest()
        entries = [wrapped(layer, cell) for cell in cells]
        places = [f"{inside}/cells/{name}" for name in unique_names([k for k, _ in entries])]
    else:
        raise UnsupportedModelError(f"{layer} of a {kind}: only LSTMCells are computed")
    layers = []
    for (kind, config), place in zip(entries, places, strict=True):
        if kind != "LSTMCell":
            raise UnsupportedModelError(f"{layer} of a {kind}: only LSTMCells are computed")
        of_cell = Options(f"{layer}, {kind}", config, options.version)
        layers.append(_cell(layer, of_cell, place, weights))
        of_cell.refuse_rest()
    return layers


def _cell(layer: KerasLayer, options: Options, inside: str, weights: Store) -> Layer:
    units = options.take("units", "output_dim")
    gates = options.activation("recurrent_activation", "inner_activation")
    candidate = options.activation("activation")
    if isinstance(gates, str) or isinstance(candidate, str):
        raise UnsupportedModelError(
            f"{options.where}: softmax in a cell is not computed, nor is log_softmax"
        )
    names = WEIGHTS if options.flag("use_bias", default=True) else WEIGHTS[:2]
    kernel, recurrent_kernel, *bias = weights.take(layer, inside, names)
    _check_shapes(options.where, kernel, recurrent_kernel, bias, units, len(bias))
    activations = (gates, candidate, candidate)
    return Layer(kernel.T, recurrent_kernel.T, *bias, activations=activations)  # both are i f c o


def _cudnn(layer: KerasLayer, options: Options, inside: str, weights: Store) -> Layer:
    """Keras 2's layer for GPUs: each gate's matrices are laid out as cuDNN wants them."""
    units = options.take("units")
    kernel, recurrent_kernel, bias = weights.take(layer, inside.rstrip("/"), WEIGHTS)
    _check_shapes(options.where, kernel, recurrent_kernel, [bias], units, 2)
    sizes = kernel.shape[0], units
    w_ih = [np.reshape(gate.T, sizes, order="F").T for gate in np.hsplit(kernel, 4)]
    w_hh = np.hsplit(recurrent_kernel, 4)
    return Layer(np.concatenate(w_ih), np.concatenate(w_hh), bias[: 4 * units], bias[4 * units :])


def _check_shapes(
    where: str, kernel: Array, recurrent_kernel: Array, bias: list[Array], units: Any, biases: int
) -> None:
    """Refuse weights that do not fit the number of units."""
    shapes = [a.shape for a in (kernel, recurrent_kernel, *bias)]
    if type(units) is not int or units < 1 or kernel.ndim != 2:
        raise ModelFormatError(f"{where}: expected units >= 1 and a kernel, got {units!r}")
    wanted = [(kernel.shape[0], 4 * units), (units, 4 * units), (4 * units * biases,)]
    if shapes != wanted[: len(shapes)]:
        raise ModelFormatError(f"{where}: {units} units, but weights of shapes {shapes}")
