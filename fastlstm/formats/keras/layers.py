"""A chain of Keras layers, with their weights, as a network.

Each kind of layer has an entry in `ADDERS`: a function that takes the layer's options and weights,
and adds parts to the network so far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.keras import activations
from fastlstm.formats.keras.cells import RECURRENT, Options, bidirectional, recurrent, wrapped
from fastlstm.formats.keras.graph import KerasLayer, chain, version_of
from fastlstm.formats.keras.stores import Store
from fastlstm.network.activations import LINEAR
from fastlstm.network.dense import Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.masking import Masking
from fastlstm.network.network import Network, Part
from fastlstm.network.reading import Read

__all__ = ["network_of"]

# Layers that compute nothing when a model is used.
INERT: Final = (
    "ActivityRegularization",
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "InputLayer",
    "SpatialDropout1D",
)
POOLING: Final = {"GlobalMaxPooling1D": "max", "GlobalAveragePooling1D": "mean"}
SLICES: Final = ("GetItem", "SlicingOpLambda")  # x[...] in Keras 3 and in Keras 2
ALL: Final = {"start": None, "stop": None, "step": None}


def network_of(config: Any, weights: Store, version: int | None) -> Network:
    """The network that a model's config and weights describe.

    Parameters
    ----------
    config : dict
        As `chain` takes it.
    weights : Store
    version : int, optional
        The major version of the Keras that wrote it.

    Raises
    ------
    UnsupportedModelError
        If a layer or an option is not computed exactly; it is named.
    ModelFormatError
        If the config is damaged, or does not fit the weights.
    """
    if not isinstance(config, dict):
        raise ModelFormatError(f"expected a model's config, got {str(config)[:60]!r}")
    if version is None:  # weights alone; only Keras 3 names the modules and not itself
        version = version_of(config.get("keras_version")) or (3 if "module" in config else None)
    built = _Built(weights, version)
    for layer in chain(config):
        built.add(layer)
    if rest := weights.rest():
        raise ModelFormatError(f"weights that no layer reads: {rest[:8]}")
    return built.network()


class _Built:
    """The network so far, while layer after layer is added."""

    def __init__(self, weights: Store, version: int | None) -> None:
        self.weights, self.version = weights, version
        self.parts: list[Part] = []

    # --- what stands there --------------------------------------------------------------------

    @property
    def sequences(self) -> bool:
        """Whether the network so far gives sequences."""
        return not any(isinstance(part, Read) for part in self.parts)

    @property
    def has_recurrent(self) -> bool:
        """Whether there has been an LSTM."""
        return any(isinstance(part, Layer | Bidirectional) for part in self.parts)

    @property
    def masked(self) -> bool:
        """Whether the network so far gives sequences, of which some steps are masked."""
        marks = (
            isinstance(k, Masking) or getattr(k, "padding_id", None) is not None for k in self.parts
        )
        return self.sequences and any(marks)

    @property
    def last(self) -> Part | None:
        """The last part that computes."""
        found = [part for part in self.parts if not isinstance(part, Masking | Read)]
        return found[-1] if found else None

    def need_sequences(self, layer: KerasLayer) -> None:
        """Refuse a layer that takes sequences where there are none."""
        if not self.sequences:
            raise ModelFormatError(
                f"{layer} needs a sequence, but the layer before it gives one vector"
            )

    def need_recurrent(self, layer: KerasLayer) -> None:
        """Refuse a layer that stands before the first LSTM."""
        if not self.has_recurrent:
            raise UnsupportedModelError(f"{layer} stands before the first LSTM")

    # --- what is done with it -----------------------------------------------------------------

    def add(self, layer: KerasLayer) -> None:
        """Add a layer."""
        if layer.kind in INERT:
            return
        adder = ADDERS.get(layer.kind)
        if adder is None:
            raise UnsupportedModelError(f"{layer}: a {layer.kind} {_why_not(layer.kind)}")
        if layer.kind not in SLICES and layer.arguments:
            raise UnsupportedModelError(f"{layer} is called with more than one argument")
        adder(self, layer)

    def options(self, layer: KerasLayer) -> Options:
        """The options of a layer, none of which may be left over."""
        return Options(str(layer), layer.config, self.version)

    def final(self) -> str:
        """Return how the last step's outputs are read; for a forward layer, they are its state."""
        top = next(k for k in reversed(self.parts) if isinstance(k, Layer | Bidirectional))
        return "final" if isinstance(top, Layer) and top.direction == "forward" else "last"

    def network(self) -> Network:
        """The network of all layers."""
        found = {
            str(k.dtype)
            for k in self.parts
            if isinstance(k, Dense | Embedding | Layer | Bidirectional)
        }
        if len(found) > 1:
            raise UnsupportedModelError(f"layers of different dtypes, {sorted(found)}")
        if not self.has_recurrent:
            raise UnsupportedModelError("the model has no LSTM")
        if not self.sequences:
            return Network(tuple(self.parts))
        places = [i for i, k in enumerate(self.parts) if isinstance(k, Layer | Bidirectional)]
        at = places[-1] + 1  # the dense layers behind are the head, at every step
        parts = (*self.parts[:at], Read(self.final()), *self.parts[at:])
        return Network(parts, return_sequences=True)


def _why_not(kind: str) -> str:
    """Why a layer is not computed, and what to do about it."""
    if kind == "TFOpLambda":
        return "calls a function of TensorFlow, which is not computed"
    if kind == "Lambda":
        return "runs code of its own, which is never run here; build the model without it"
    if kind in ("GRU", "CuDNNGRU", "SimpleRNN"):
        return "is not computed: this version computes LSTMs, no other recurrent layers"
    if "Conv" in kind:
        return "is not computed: this version computes no convolutions"
    if kind in ("BatchNormalization", "LayerNormalization"):
        return "is not computed: this version computes no normalisation"
    return "is not computed"


# --- one function for each kind of layer ------------------------------------------------------


def _embedding(built: _Built, layer: KerasLayer) -> None:
    options = built.options(layer)
    sizes = options.take("input_dim"), options.take("output_dim")
    masks = options.flag("mask_zero")
    options.expect("sparse", False, True)
    options.refuse_rest()
    if built.parts:
        raise UnsupportedModelError(f"{layer} is computed as the first layer only")
    (table,) = built.weights.take(layer, layer.inside, ["embeddings"])
    if table.shape != sizes:
        raise ModelFormatError(f"{layer}: expected a table of {sizes}, got {table.shape}")
    built.parts.append(Embedding(table, padding_id=0 if masks else None))


def _masking(built: _Built, layer: KerasLayer) -> None:
    options = built.options(layer)
    value = options.take("mask_value")
    options.refuse_rest()
    if built.parts:
        raise UnsupportedModelError(f"{layer} is computed as the first layer only")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ModelFormatError(f"{layer}: expected a number as mask_value, got {value!r:.80}")
    built.parts.append(Masking(float(value)))


def _recurrent(built: _Built, layer: KerasLayer) -> None:
    built.need_sequences(layer)
    found = recurrent(layer, layer.kind, layer.config, "", built.weights, built.version)
    layers = list(found.layers)
    if found.zero_masked and built.masked:
        raise UnsupportedModelError(f"{layer}: zero_output_for_mask=True is not computed")
    if found.backwards:
        layers[0] = replace(layers[0], direction="go_backwards")
    built.parts += layers
    if not found.return_sequences:
        built.parts.append(Read("final"))


def _bidirectional(built: _Built, layer: KerasLayer) -> None:
    built.need_sequences(layer)
    both, sequences = bidirectional(layer, built.weights, built.version)
    built.parts.append(both)
    if not sequences:
        built.parts.append(Read("final"))


def _dense(built: _Built, layer: KerasLayer) -> None:
    options = built.options(layer)
    units = options.take("units", "output_dim")
    activation = options.activation("activation")
    names = ["kernel", "bias"][: 1 + options.flag("use_bias", "bias", default=True)]
    options.refuse_rest()
    kernel, *bias = built.weights.take(layer, layer.inside, names)
    shapes = [a.shape for a in (kernel, *bias)]
    if kernel.ndim != 2 or [shapes[0][1:], *shapes[1:]] != [(units,)] * len(names):
        raise ModelFormatError(f"{layer}: {units} units, but weights of shapes {shapes}")
    built.parts.append(Dense(kernel.T, *bias, activation=activation))


def _activation(built: _Built, layer: KerasLayer) -> None:
    entry = {"class_name": layer.kind, "config": layer.config}
    activation = activations.from_config(entry, str(layer), built.version)
    if layer.kind == "Softmax" and built.masked:
        raise UnsupportedModelError(f"{layer} with a mask is not computed")
    if activation == LINEAR:
        return
    before = built.parts[-1] if built.parts else None
    if not isinstance(before, Dense) or before.activation != LINEAR:
        raise UnsupportedModelError(
            f"{layer}: an activation is computed only after a Dense layer that has none, not "
            f"after {built.last}"
        )
    built.parts[-1] = replace(before, activation=activation)


def _time_distributed(built: _Built, layer: KerasLayer) -> None:
    """What it wraps is applied at every step, as it is here anyway."""
    built.need_sequences(layer)
    options = built.options(layer)
    kind, config = wrapped(layer, options.take("layer"))
    options.refuse_rest()
    if kind not in (*INERT, *AT_EVERY_STEP):
        raise UnsupportedModelError(f"{layer} of a {kind} is not computed")
    built.add(layer._replace(kind=kind, config=config, inside="layer"))


def _pooling(built: _Built, layer: KerasLayer) -> None:
    built.need_sequences(layer)
    built.need_recurrent(layer)
    options = built.options(layer)
    options.expect("keepdims", False)
    options.expect("data_format", "channels_last")
    options.refuse_rest()
    built.parts.append(Read(POOLING[layer.kind]))


def _last_step(built: _Built, layer: KerasLayer) -> None:
    built.need_sequences(layer)
    built.need_recurrent(layer)
    items = [
        item["config"] if isinstance(item, dict) and "config" in item else item
        for item in (layer.arguments[0] if len(layer.arguments) == 1 else [])
    ]
    if items not in ([ALL, -1], [ALL, -1, ALL]):
        raise UnsupportedModelError(f"{layer}: only the last step, x[:, -1], is computed")
    built.parts.append(Read(built.final()))


def _flatten(built: _Built, layer: KerasLayer) -> None:
    if built.sequences:
        raise UnsupportedModelError(f"{layer} of the outputs of all steps is not computed")


def _reshape(built: _Built, layer: KerasLayer) -> None:
    size = built.last.output_size if isinstance(built.last, Dense | Layer | Bidirectional) else 0
    shape = layer.config.get("target_shape")
    if built.sequences or shape not in ([-1], [size]):
        raise UnsupportedModelError(f"{layer}: target_shape={shape!r:.80} is not computed")


# Kind of layer: what adds it.
ADDERS: Final[dict[str, Callable[[_Built, KerasLayer], None]]] = {
    "Bidirectional": _bidirectional,
    "Dense": _dense,
    "Embedding": _embedding,
    "Flatten": _flatten,
    "Masking": _masking,
    "Reshape": _reshape,
    "TimeDistributed": _time_distributed,
    "TimeDistributedDense": _dense,
    **dict.fromkeys(activations.LAYERS, _activation),
    **dict.fromkeys(POOLING, _pooling),
    **dict.fromkeys(RECURRENT, _recurrent),
    **dict.fromkeys(SLICES, _last_step),
}
AT_EVERY_STEP: Final = ("Dense", *activations.LAYERS)  # what a TimeDistributed may wrap
