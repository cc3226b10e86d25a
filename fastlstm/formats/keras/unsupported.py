"""Why a layer of Keras is not computed, and what to do about it."""

from __future__ import annotations

from typing import Final

__all__ = ["why_not"]

REASONS: Final = (
    (("GRU", "CuDNNGRU", "SimpleRNN"), "is not computed: this version computes LSTMs, no other "
     "recurrent layers"),
    (("Lambda",), "runs code of its own, which is never run here; build the model again with an "
     "operation of Keras 3 in its place, such as keras.ops.sum(x, axis=1), and give it the weights "
     "with set_weights"),
    (("MultiHeadAttention", "GroupQueryAttention"), "is not computed: attention of every step over "
     "every step is not"),
    (("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), "is not computed: this version computes LSTMs "
     "without convolutions inside"),
    (("UnitNormalization",), "is not computed: nothing here divides by the length of a vector"),
    (("Merge",), "is not computed: it holds models of its own, as Keras 1 wrote them"),
)  # fmt: skip


def why_not(kind: str) -> str:
    """Say why a kind of layer is not computed."""
    for kinds, reason in REASONS:
        if kind in kinds:
            return reason
    if kind.endswith(("2D", "3D")):
        return (
            "is not computed: only sequences (N, steps, numbers) are; compute the part of the "
            "model in front of the LSTM with Keras, and load a model of the rest"
        )
    return "is not computed"
