"""Why an operator is not computed, by its name, and what to do instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["refuse_without_lstm", "why_not"]

_LOOPS: Final = ("Loop", "Scan")
_RECURRENT: Final = {"GRU": "a GRU", "RNN": "a plain recurrent layer", "AttnLSTM": "an AttnLSTM"}
_QUANTISED: Final = {
    "ConvInteger",
    "DequantizeLinear",
    "DynamicQuantizeLSTM",
    "DynamicQuantizeLinear",
    "DynamicQuantizeMatMul",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "QAttention",
    "QGemm",
    "QuantizeLinear",
}
_ATTENTION: Final = {"Attention", "MultiHeadAttention", "GroupQueryAttention"}


def why_not(op: str, attributes: Mapping[str, Any] | None = None) -> str | None:
    """Why an operator is not computed; None if there is nothing special to say."""
    if op in _LOOPS:
        return (
            f"a {op}, which tf2onnx writes for an LSTM that it does not recognise: save the model "
            'itself with Keras, model.save("model.keras"), and load that'
        )
    if op in _RECURRENT:
        return f"{_RECURRENT[op]}: this version computes LSTMs, no other recurrent layers"
    if op in _QUANTISED or op.startswith("QLinear"):
        what = "a quantised LSTM" if "LSTM" in op else "quantised numbers"
        return f"{what}: load the model as it was before it was quantised"
    if op == "ConvTranspose":
        return "a transposed convolution: this version computes convolutions and pooling"
    if op in _ATTENTION:
        return "multi-head attention: this version computes attention of one vector to the steps"
    return None


def refuse_without_lstm(ops: Iterable[str]) -> str:
    """Why a graph of these operators, none of them an LSTM, is refused."""
    ops = set(ops)
    quantised = sorted(op for op in ops if "LSTM" in op)
    for op in (*quantised, *_LOOPS, *_RECURRENT):
        if op in ops:
            return f"there is no LSTM operator in the graph, but {why_not(op)}"
    return "there is no LSTM operator in the graph"
