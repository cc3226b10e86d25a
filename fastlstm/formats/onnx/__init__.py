"""Models from ONNX files: one LSTM operator, or a whole graph that is a chain."""
