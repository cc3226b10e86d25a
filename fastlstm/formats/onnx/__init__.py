"""Models from ONNX files: one LSTM operator, or a whole graph that is a chain."""

from fastlstm.formats.onnx.loader import contents, from_onnx, load

__all__ = ["contents", "from_onnx", "load"]
