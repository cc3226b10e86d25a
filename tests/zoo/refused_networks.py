"""Networks that stay refused, and the word that the reason has to have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# file: what the message names
REASONS = {
    "gru.keras": "GRU",
    "gru.h5": "GRU",
    "conv2d.keras": r"Conv2D|inputs of shape \(N, 6, 8, 8, 1\)",
    "conv_lstm.keras": r"ConvLSTM2D|inputs of shape \(N, 4, 1, 6, 1\)",
    "multi_head.keras": "MultiHeadAttention",
    "lambda.h5": "Lambda",
    "crf.h5": "CRF",
    "loop.onnx": "Loop",
    "torch_gru.onnx": "GRU",
    "torch_conv2d.onnx": "Conv",
    "torch_quantised.onnx": "quantised",
    "torch_projection.onnx": "initial_c",  # the newer exporter forgets the projection
    "torch_multi_head.onnx": "operator",  # of those that the attention is made of
}


def keras_files(folder: Path) -> None:
    import keras

    L, Input, Sequential = keras.layers, keras.Input, keras.Sequential

    model = Sequential([Input((8, 3)), L.GRU(4, return_sequences=True), L.LSTM(3), L.Dense(1)])
    model.save(folder / "gru.keras")
    model.save(folder / "gru.h5")

    frames = Input((6, 8, 8, 1))
    x = L.TimeDistributed(L.Conv2D(2, 3, activation="relu"))(frames)
    x = L.TimeDistributed(L.MaxPooling2D(2))(x)
    x = L.TimeDistributed(L.Flatten())(x)
    model = keras.Model(frames, L.Dense(2, activation="softmax")(L.LSTM(4)(x)))
    model.save(folder / "conv2d.keras")

    model = Sequential([Input((4, 1, 6, 1)), L.ConvLSTM2D(2, (1, 3)), L.Flatten(), L.Dense(2)])
    model.save(folder / "conv_lstm.keras")

    steps = Input((8, 4))
    h = L.LSTM(4, return_sequences=True)(steps)
    x = L.MultiHeadAttention(num_heads=2, key_dim=3)(h, h)
    x = L.GlobalAveragePooling1D()(x)
    keras.Model(steps, L.Dense(1)(x)).save(folder / "multi_head.keras")

    h = L.LSTM(4, return_sequences=True)(steps)
    x = L.Lambda(lambda x: x**2, output_shape=(8, 4))(h)
    keras.Model(steps, L.Dense(1)(L.LSTM(3)(x))).save(folder / "lambda.h5")

    class CRF(keras.layers.Layer):
        def __init__(self, units: int, **options: Any) -> None:
            super().__init__(**options)
            self.units = units

        def build(self, shape: Any) -> None:
            self.chain_kernel = self.add_weight(shape=(self.units, self.units), name="chain_kernel")

        def call(self, x: Any) -> Any:
            return keras.ops.matmul(x, self.chain_kernel)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.units}

    words = Input((None,), dtype="int32")
    h = L.Bidirectional(L.LSTM(4, return_sequences=True))(L.Embedding(9, 4)(words))
    keras.Model(words, CRF(5, name="crf")(L.Dense(5)(h))).save(folder / "crf.h5")

    loop(folder / "loop.onnx")


def loop(path: Path) -> None:
    """A masked layer, which tf2onnx writes as TensorFlow's loop."""
    import onnx
    import tensorflow as tf
    import tf2onnx
    import tf_keras

    L = tf_keras.layers
    model = tf_keras.Sequential(
        [
            L.Input((8,), dtype="int32"),
            L.Embedding(9, 4, mask_zero=True),
            L.LSTM(3),
            L.Dense(2, activation="softmax"),
        ]
    )
    spec = [tf.TensorSpec([None, 8], "int32", name="x")]
    function = tf.function(lambda x: model(x, training=False))
    graph, _ = tf2onnx.convert.from_function(function, spec, opset=13)
    assert any(node.op_type == "Loop" for node in graph.graph.node)
    onnx.save(graph, path)


def torch_files(folder: Path, strip: Any) -> None:
    import onnx
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from torch import Tensor, nn

    class Gru(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(4, 5, batch_first=True)
            self.lstm = nn.LSTM(5, 3, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.lstm(self.gru(x)[0])[0][:, -1]

    class Frames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3, padding=1)
            self.lstm = nn.LSTM(8, 3, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x.unsqueeze(1)).transpose(1, 2).flatten(2)
            return self.lstm(y)[0][:, -1]

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(4, 4, batch_first=True)
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            h = self.lstm(x)[0]
            return self.attention(h, h, h, need_weights=False)[0].mean(1)

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(4, 5, batch_first=True)
            self.fc = nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.lstm(x)[0][:, -1])

    class Projected(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(4, 7, batch_first=True, proj_size=5)

    torch.manual_seed(3)
    x = torch.randn(2, 7, 4)
    axes = {"x": {0: "batch", 1: "steps"}}
    for name, make in {
        "torch_gru": Gru,
        "torch_conv2d": Frames,
        "torch_multi_head": Heads,
        "torch_quantised": Plain,
        "torch_projection": Projected,
    }.items():
        path = folder / f"{name}.onnx"
        options: dict[str, Any] = {"opset_version": 15, "dynamic_axes": axes, "dynamo": False}
        if make is Projected:
            options = {"dynamo": True, "external_data": False, "verbose": False}
        torch.onnx.export(make().eval(), (x,), path, input_names=["x"], **options)
        if name == "torch_quantised":
            quantize_dynamic(path, path, weight_type=QuantType.QInt8)
        model = onnx.load(path)
        strip(model)
        onnx.save(model, path)
