"""RTNeural's files: a Keras network layer by layer, or a chain of layers with torch's names.

In the former, a kernel is (inputs, outputs) and the gates of an LSTM are ``i f c o``. RTNeural
fills in zeros for missing weights and drops superfluous ones; here both are errors.

AIDA-X extends the former by a gain in dB on the signal (the first input), a skip connection that
adds the input to the output, and a gain on the sum. Its files contain ``input_batch`` and
``output_batch``, the outputs for it from the first step on, with both gains at 0 dB and all other
inputs 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm import reference
from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.torch.names import lstm_names
from fastlstm.formats.trust import numbers
from fastlstm.network.activations import LINEAR
from fastlstm.network.dense import Dense
from fastlstm.network.layers import Layer
from fastlstm.network.network import Network

__all__ = ["chain", "network"]

Array = npt.NDArray[Any]

NAMED: Final = {"gru": "a GRU", "conv1d": "a convolution", "conv2d": "a convolution"}
ACTIVATIONS: Final = ("tanh", "relu", "sigmoid", "softmax", "elu")
TEST: Final = ("input_batch", "output_batch")
MODEL_KEYS: Final = {"in_shape", "layers", "in_skip", "in_gain", "out_gain", *TEST}
LAYER_KEYS: Final = {"type", "name", "activation", "shape", "weights"}
TESTED: Final = 4096  # steps of a test; AIDA-X' own have 2048
MAX_CHANNELS: Final = 64  # of AIDA-X; its own networks have up to 3 inputs and 1 output
TOLERANCE: Final = 1e-5  # of outputs up to 1: the networks are float32
METADATA: Final = {"samplerate", "sample_rate", "esr", "version"}  # numbers about the training


def network(content: Mapping[str, Any], dtype: npt.DTypeLike) -> Network:
    """The network of a parsed file. It gives the outputs of every step, as RTNeural does.

    ``in_gain``, ``in_skip`` and ``out_gain`` are those of AIDA-X, and its test is computed. Text
    and nested objects are about the model and are ignored.

    Raises
    ------
    ModelFormatError
        If sizes do not fit together, or the network does not give the outputs that the file has.
    UnsupportedModelError
        If a layer is not an LSTM, a dense layer or an activation.
    """
    _check_settings(content)
    layers = _layers(content, dtype)
    skip = content.get("in_skip", 0)
    if skip not in (0, 1):
        raise UnsupportedModelError(f"in_skip: expected 0 or 1, got {skip!r:.80}")
    found = _network(layers, int(skip))
    if any(name in content for name in TEST):
        _compare(found, *(content.get(name) for name in TEST))
    before, behind = (_gain(content, name) for name in ("in_gain", "out_gain"))
    if before == behind == 1:
        return found
    if skip:
        raise UnsupportedModelError(
            "in_skip adds the input to the output, and in_gain or out_gain are not 0 dB: "
            f"got {content.get('in_gain', 0)!r:.80} and {content.get('out_gain', 0)!r:.80}"
        )
    if max(found.input_size, found.output_size) > MAX_CHANNELS:
        raise UnsupportedModelError(
            "in_gain and out_gain are not computed for a network of "
            f"{found.input_size} inputs and {found.output_size} outputs"
        )
    if before != 1:
        scale = np.eye(found.input_size, dtype=found.dtype)
        scale[0, 0] = before
        layers.insert(0, Dense(scale))
    if behind != 1:
        unit = np.eye(found.output_size, dtype=found.dtype)
        layers.append(Dense(unit * found.dtype.type(behind)))
    return _network(layers, 0)


def _network(layers: Sequence[Layer | Dense], skip: int) -> Network:
    """Layers that are applied at every step; the dense ones behind the last LSTM are the head."""
    last = max((k for k, layer in enumerate(layers) if isinstance(layer, Layer)), default=-1)
    return Network.of(layers[: last + 1], layers[last + 1 :], return_sequences=True, skip=skip)


def _layers(content: Mapping[str, Any], dtype: npt.DTypeLike) -> list[Layer | Dense]:
    size = _last(content["in_shape"], "in_shape")
    if not isinstance(content.get("layers"), list):
        raise ModelFormatError("expected a list of layers")
    layers: list[Layer | Dense] = []
    for k, item in enumerate(content["layers"]):
        if not isinstance(item, dict) or not isinstance(item.get("type"), str):
            raise ModelFormatError(f"layer {k}: expected an object with a type")
        kind, what = item["type"], f"layer {k} ({item['type']})"
        units = _last(item.get("shape"), what)
        if kind == "activation":
            if units != size or not layers:
                raise ModelFormatError(f"{what}: expected {size} outputs, got {units}")
            layers[-1] = _activated(what, layers[-1], item)
            continue
        if kind not in LAYERS:
            named = NAMED.get(kind, f"a {kind!r:.40}")
            raise UnsupportedModelError(
                f"{what} is {named}: this version computes only LSTM and dense layers"
            )
        if unknown := sorted(item.keys() - LAYER_KEYS):
            raise UnsupportedModelError(f"{what}: this version does not know the options {unknown}")
        layers.append(LAYERS[kind](what, item, size, units, dtype))
        size = units
    return layers


def _gain(content: Mapping[str, Any], name: str) -> float:
    """Return a gain in dB as a factor; for AIDA-X, -90 dB and less is silence."""
    gain = content.get(name, 0)
    if type(gain) not in (int, float) or not abs(gain) < 1000:
        raise ModelFormatError(f"{name}: expected a gain in dB, got {gain!r:.80}")
    return float(10 ** (gain / 20)) if gain > -90 else 0.0


def _compare(network: Network, inputs: Any, outputs: Any) -> None:
    """Compute the first steps of a file's test, which do not depend on the later ones."""
    x, wanted = (numbers(k, v, network.dtype) for k, v in zip(TEST, (inputs, outputs), strict=True))
    if x.ndim != 1 or x.shape != wanted.shape:
        raise ModelFormatError(
            f"expected input_batch and output_batch of one length, got {x.shape} and {wanted.shape}"
        )
    if not x.size:
        return
    if network.input_size > MAX_CHANNELS:
        raise UnsupportedModelError(
            f"input_batch is not computed for a network of {network.input_size} inputs"
        )
    tested = max(1, TESTED // len(network.layers))  # a bounded number of turns of the loop
    x, wanted = x[:tested], wanted[:tested]
    steps = np.zeros((1, len(x), network.input_size), network.dtype)
    steps[0, :, 0] = x
    y = reference.predict(network, steps, return_sequences=True)[0, :, 0]
    error = np.max(abs(y - wanted))
    if not error <= TOLERANCE * max(1, np.max(abs(wanted))):
        raise ModelFormatError(
            f"the network gives other outputs for input_batch than output_batch has: up to "
            f"{error:.3g} apart, of outputs up to {np.max(abs(wanted)):.3g}; "
            "the weights or the test belong to another network"
        )


def chain(names: Sequence[str]) -> dict[str, Any]:
    """The hints that a file with torch's names gives by the order of its tensors.

    RTNeural computes only chains, and a state_dict has the layers in their order. So LSTMs read
    one another, and a dense layer at the end, if there is one, reads the last.

    Parameters
    ----------
    names : sequence of str
        Of all tensors, in the order of the file.

    Returns
    -------
    dict
        ``prefix`` and ``head``, if the file needs them; empty if it is not a chain.
    """
    roots = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    lstms = [root for root in roots if f"{root}.weight_ih_l0".lstrip(".") in names]
    rest = [root for root in roots if root not in lstms]
    if not lstms or len(rest) > 1 or roots != lstms + rest:
        return {}
    known = {name for k in lstms for name in lstm_names(names, f"{k}.".lstrip("."))}
    if any(name not in known and name.rpartition(".")[0] not in rest for name in names):
        return {}
    hints: dict[str, Any] = {"head": rest[0]} if rest else {}
    return hints if len(lstms) == 1 else hints | {"prefix": lstms}


def _check_settings(content: Mapping[str, Any]) -> None:
    for name in content.keys() - MODEL_KEYS - METADATA:
        if not isinstance(content[name], (str, dict, type(None))):
            raise UnsupportedModelError(f"{name}: the meaning of this option is not known")


def _lstm(
    what: str, item: Mapping[str, Any], inputs: int, units: int, dtype: npt.DTypeLike
) -> Layer:
    if item.get("activation", "") not in ("", "tanh"):
        raise UnsupportedModelError(f"{what}: activation {item['activation']!r:.80}, not tanh")
    shapes = ((inputs, 4 * units), (units, 4 * units), (4 * units,))
    kernel, recurrent, *bias = _weights(what, item, shapes, units, dtype)
    return Layer(kernel.T, recurrent.T, *bias)


def _dense(
    what: str, item: Mapping[str, Any], inputs: int, units: int, dtype: npt.DTypeLike
) -> Dense:
    kernel, *bias = _weights(what, item, ((inputs, units), (units,)), units, dtype)
    dense = Dense(kernel.T, *bias)
    return _activated(what, dense, item) if item.get("activation") else dense


# Type of layer: what reads it, of its name, item, inputs, units and dtype.
LAYERS: Final[dict[str, Callable[..., Layer | Dense]]] = {
    "dense": _dense,
    "lstm": _lstm,
    "time-distributed-dense": _dense,
}


def _activated(what: str, layer: Layer | Dense, item: Mapping[str, Any]) -> Dense:
    name = item.get("activation")
    if name not in ACTIVATIONS:
        raise UnsupportedModelError(
            f"{what}: activation {name!r:.80}; this version computes {', '.join(ACTIVATIONS)}"
        )
    if not isinstance(layer, Dense) or layer.activation != LINEAR:
        raise UnsupportedModelError(f"{what}: expected a dense layer without activation before it")
    return Dense(layer.weight, layer.bias, activation=name)


def _weights(
    what: str,
    item: Mapping[str, Any],
    shapes: tuple[tuple[int, ...], ...],
    units: int,
    dtype: npt.DTypeLike,
) -> list[Array]:
    """The arrays of a layer; the last, its bias, may be missing."""
    lists = item.get("weights")
    if not isinstance(lists, list) or len(lists) not in (len(shapes) - 1, len(shapes)):
        raise ModelFormatError(f"{what}: expected {len(shapes)} arrays of weights")
    arrays = [numbers(what, values, dtype) for values in lists]
    for array, shape in zip(arrays, shapes, strict=False):
        if array.shape != shape:
            raise ModelFormatError(
                f"{what}: declares {units} units, for which weights of shape {shape} are "
                f"expected, but carries {array.shape}"
            )
    return [np.ascontiguousarray(array) for array in arrays]


def _last(shape: Any, what: str) -> int:
    """The number of values of a step, from a Keras shape."""
    if not isinstance(shape, list) or not shape or type(shape[-1]) is not int or shape[-1] < 1:
        raise ModelFormatError(f"{what}: expected a shape that ends in a number, got {shape!r:.80}")
    return shape[-1]
