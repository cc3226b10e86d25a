"""A chain of Keras layers, with their weights, as a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.keras import activations
from fastlstm.formats.keras.cells import (
    RECURRENT,
    Options,
    bidirectional,
    recurrent,
)
from fastlstm.formats.keras.graph import Part, chain, version_of
from fastlstm.formats.keras.weights import Source
from fastlstm.network.activations import LINEAR, Activation
from fastlstm.network.dense import Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.layers import Layer
from fastlstm.network.network import AnyLayer

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["build"]

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
READS: Final = {"GlobalMaxPooling1D": "max", "GlobalAveragePooling1D": "mean"}
SLICES: Final = ("GetItem", "SlicingOpLambda")  # x[...] in Keras 3 and in Keras 2
ALL: Final = {"start": None, "stop": None, "step": None}


def build(config: Any, weights: Source, version: int | None) -> LSTM:
    """The network that a model's config and weights describe.

    Parameters
    ----------
    config : dict
        As `chain` takes it.
    weights : Source
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
    builder = _Builder(weights, version)
    for part in chain(config):
        builder.add(part)
    if rest := weights.rest():
        raise ModelFormatError(f"weights that no layer reads: {rest[:8]}")
    return builder.model()


def _why_not(kind: str) -> str:
    """What a layer is that is not computed, and what to do."""
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


class _Builder:
    """The network so far, while layer after layer is added."""

    def __init__(self, weights: Source, version: int | None) -> None:
        self._weights, self._version = weights, version
        self._layers: list[AnyLayer] = []
        self._behind: list[Dense] = []  # the dense layers since the last recurrent one
        self._read: str | None = None  # None while there are sequences
        self._mask_value: float | None = None
        self._begun = False

    @property
    def _masked(self) -> bool:
        first = self._layers[0] if self._layers else None
        embedded = isinstance(first, Embedding) and first.padding_id is not None
        return self._read is None and (embedded or self._mask_value is not None)

    @property
    def _last(self) -> AnyLayer | None:
        return (*self._layers, *self._behind)[-1] if self._layers or self._behind else None

    def add(self, part: Part) -> None:
        """Add a layer."""
        if part.kind in INERT:
            return
        adders: dict[str, Callable[[Part], None]] = {
            "Bidirectional": self._add_recurrent,
            "Dense": self._add_dense,
            "Embedding": self._add_embedding,
            "Flatten": self._add_flatten,
            "Masking": self._add_masking,
            "Reshape": self._add_reshape,
            "TimeDistributed": self._add_inside,
            "TimeDistributedDense": self._add_dense,
            **dict.fromkeys(activations.LAYERS, self._add_activation),
            **dict.fromkeys(RECURRENT, self._add_recurrent),
            **dict.fromkeys(READS, self._add_pooling),
            **dict.fromkeys(SLICES, self._add_last_step),
        }
        if part.kind not in adders:
            raise UnsupportedModelError(f"{part}: a {part.kind} {_why_not(part.kind)}")
        if part.kind not in SLICES and part.arguments:
            raise UnsupportedModelError(f"{part} is called with more than one argument")
        adders[part.kind](part)
        self._begun = True

    def model(self) -> LSTM:
        """The network."""
        from fastlstm.model import LSTM

        every = self._read is None
        found = {str(layer.dtype) for layer in (*self._layers, *self._behind)}
        if len(found) > 1:
            raise UnsupportedModelError(f"layers of different dtypes, {sorted(found)}")
        if not any(not isinstance(layer, (Dense, Embedding)) for layer in self._layers):
            raise UnsupportedModelError("the model has no LSTM")
        return LSTM(
            self._layers,
            self._behind,
            every,
            read=self._final() if every else str(self._read),
            mask_value=self._mask_value,
        )

    def _options(self, part: Part) -> Options:
        return Options(str(part), part.config, self._version)

    def _final(self) -> str:
        """How the outputs of the last step are read: at a forward layer, they are its state."""
        top = next(k for k in reversed(self._layers) if not isinstance(k, Dense))
        return "final" if isinstance(top, Layer) and top.direction == "forward" else "last"

    def _need_sequences(self, part: Part) -> None:
        if self._read is not None:
            raise ModelFormatError(f"{part} needs sequences, but the layers before it end them")

    def _need_recurrent(self, part: Part) -> None:
        if not any(not isinstance(layer, (Dense, Embedding)) for layer in self._layers):
            raise UnsupportedModelError(f"{part} stands before the first LSTM")

    def _add_embedding(self, part: Part) -> None:
        options = self._options(part)
        sizes = options.take("input_dim"), options.take("output_dim")
        masks = options.flag("mask_zero")
        options.expect("sparse", False, True)
        options.refuse_rest()
        if self._begun:
            raise UnsupportedModelError(f"{part} is computed as the first layer only")
        (table,) = self._weights.take(part, "", ["embeddings"])
        if table.shape != sizes:
            raise ModelFormatError(f"{part}: expected a table of {sizes}, got {table.shape}")
        self._layers.append(Embedding(table, padding_id=0 if masks else None))

    def _add_masking(self, part: Part) -> None:
        options = self._options(part)
        value = options.take("mask_value")
        options.refuse_rest()
        if self._begun:
            raise UnsupportedModelError(f"{part} is computed as the first layer only")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ModelFormatError(f"{part}: expected a number as mask_value, got {value!r}")
        self._mask_value = float(value)

    def _add_recurrent(self, part: Part) -> None:
        self._need_sequences(part)
        added: list[AnyLayer]
        if part.kind == "Bidirectional":
            both, sequences = bidirectional(part, self._weights, self._version)
            added = [both]
        else:
            found = recurrent(part, part.kind, part.config, "", self._weights, self._version)
            sequences, added = found.return_sequences, list(found.layers)
            if found.zero_masked and self._masked:
                raise UnsupportedModelError(f"{part}: zero_output_for_mask=True is not computed")
            if found.backwards:
                added[0] = replace(found.layers[0], direction="go_backwards")
        self._layers += [*self._behind, *added]
        self._behind = []
        self._read = None if sequences else "final"

    def _add_dense(self, part: Part) -> None:
        self._append_dense(part, part.config, "")

    def _append_dense(self, part: Part, config: Any, inside: str) -> None:
        options = Options(str(part), config, self._version)
        units = options.take("units", "output_dim")
        activation = options.activation("activation")
        names = ["kernel", "bias"][: 1 + options.flag("use_bias", "bias", default=True)]
        options.refuse_rest()
        kernel, *bias = self._weights.take(part, inside, names)
        if kernel.ndim != 2 or [kernel.shape[1:], *(b.shape for b in bias)] != [(units,)] * len(
            names
        ):
            raise ModelFormatError(
                f"{part}: {units} units, but weights of shapes {[a.shape for a in (kernel, *bias)]}"
            )
        self._behind.append(Dense(kernel.T, *bias, activation=activation))

    def _add_activation(self, part: Part) -> None:
        self._append_activation(part, part.kind, part.config)

    def _append_activation(self, part: Part, kind: str, config: Any) -> None:
        entry = {"class_name": kind, "config": config}
        activation = activations.from_config(entry, str(part), self._version)
        if kind == "Softmax" and self._masked:
            raise UnsupportedModelError(f"{part} with a mask is not computed")
        self._activate(part, activation)

    def _activate(self, part: Part, activation: Activation | str) -> None:
        if activation == LINEAR:
            return
        before = self._behind[-1] if self._behind else None
        if before is None or before.activation != LINEAR:
            raise UnsupportedModelError(
                f"{part}: an activation is computed behind a Dense without one, not behind "
                f"{self._last}"
            )
        self._behind[-1] = replace(before, activation=activation)

    def _add_inside(self, part: Part) -> None:
        """A TimeDistributed: what it wraps is applied at every step, as it is here anyway."""
        self._need_sequences(part)
        options = self._options(part)
        inner = options.take("layer")
        options.refuse_rest()
        if not isinstance(inner, dict) or not isinstance(inner.get("config"), dict):
            raise ModelFormatError(f"{part}: expected a layer in it")
        kind, config = inner.get("class_name"), inner["config"]
        if ">" in str(inner.get("registered_name")):
            raise UnsupportedModelError(f"{part} of a custom {inner['registered_name']!r}")
        if kind in INERT:
            return
        if kind == "Dense":
            self._append_dense(part, config, "layer")
        elif kind in activations.LAYERS:
            self._append_activation(part, kind, config)
        else:
            raise UnsupportedModelError(f"{part} of a {kind} is not computed")

    def _add_pooling(self, part: Part) -> None:
        self._need_sequences(part)
        self._need_recurrent(part)
        options = self._options(part)
        options.expect("keepdims", False)
        options.expect("data_format", "channels_last")
        options.refuse_rest()
        self._end(READS[part.kind])

    def _add_last_step(self, part: Part) -> None:
        self._need_sequences(part)
        self._need_recurrent(part)
        items = [
            item["config"] if isinstance(item, dict) and "config" in item else item
            for item in (part.arguments[0] if len(part.arguments) == 1 else [])
        ]
        if items not in ([ALL, -1], [ALL, -1, ALL]):
            raise UnsupportedModelError(f"{part}: only the last step, x[:, -1], is computed")
        self._end(self._final())

    def _end(self, read: str) -> None:
        self._layers += self._behind
        self._behind = []
        self._read = read

    def _add_flatten(self, part: Part) -> None:
        if self._read is None:
            raise UnsupportedModelError(f"{part} of the outputs of all steps is not computed")

    def _add_reshape(self, part: Part) -> None:
        size = self._last.output_size if self._last is not None else 0
        if self._read is None or part.config.get("target_shape") not in ([-1], [size]):
            shape = part.config.get("target_shape")
            raise UnsupportedModelError(f"{part}: target_shape={shape!r} is not computed")
