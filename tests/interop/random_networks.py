"""Random chains of the parts that stand around LSTM layers, of Keras and of torch.

Each knows the layers that it drew: `str` of a chain is what a failed test prints.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from zoo.keras_networks import settle as settle_keras
from zoo.torch_networks import settle as settle_torch

L = keras.layers
N = 3


class Draw:
    """Choices of a seed, and the value that the layers so far have given: T steps of K."""

    def __init__(self, kind: int, seed: int) -> None:
        self.seed = seed
        self.rng = np.random.default_rng([seed, kind])
        self.said: list[str] = []
        self.t = int(self.rng.integers(12, 31))
        self.k = int(self.rng.integers(1, 6))
        self.first_t, self.first_k = self.t, self.k
        self.ids = self.coin(0.25)
        self.fixed = False  # whether a layer needs this very number of steps

    def coin(self, chance: float = 0.5) -> bool:
        return bool(self.rng.random() < chance)

    def pick(self, *choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def say(self, text: str) -> None:
        self.said.append(f"{text} -> {self.t} x {self.k}")

    def sequences(self) -> np.ndarray:
        rng = np.random.default_rng([self.seed, 99])
        if self.ids:
            return rng.integers(1, 9, size=(N, self.first_t))
        return rng.normal(size=(N, self.first_t, self.first_k)).astype("float32")

    def window(self) -> tuple[int, int, int, int]:
        """Taps, stride, dilation, and how many steps that takes."""
        taps = self.number(1, min(5, self.t))
        stride, dilation = self.pick((1, 1), (1, 1), (2, 1), (3, 1), (1, 2), (1, 3))
        if (taps - 1) * dilation + 1 > self.t:
            dilation = 1
        return taps, stride, dilation, (taps - 1) * dilation + 1

    def __str__(self) -> str:
        kind = "ids" if self.ids else f"{self.first_k} inputs"
        return f"seed {self.seed}: {self.first_t} steps of {kind}\n   " + "\n   ".join(self.said)


# Keras


class KerasChain(Draw):
    def __init__(self, seed: int) -> None:
        super().__init__(1, seed)
        open_steps = self.coin()
        steps = None if open_steps else self.t
        if self.ids:
            self.input = keras.Input((steps,), dtype="int32")
        else:
            self.input = keras.Input((steps, self.k))
        y = self.input
        if self.ids:
            self.k = self.number(2, 6)
            y = self.put(L.Embedding(9, self.k), y)
        for _ in range(self.number(0, 4)):
            y = self.around(y)
        for layer in range(self.number(1, 2)):
            y = self.recurrent(y)
            for _ in range(self.number(0, 2) if layer == 0 else self.number(0, 1)):
                y = self.around(y)
        self.open_steps = open_steps
        y = self.read(y)
        for _ in range(self.number(0, 2)):
            self.k = self.number(2, 5)
            activation = self.pick("tanh", "sigmoid", "softmax", "elu", None)
            y = self.put(L.Dense(self.k, activation=activation), y)
            if self.coin(0.3):
                y = self.put(self.pick(L.BatchNormalization, L.LayerNormalization)(), y)
        self.model = settle_keras(keras.Model(self.input, y), seed)

    def put(self, layer: Any, y: Any, *more: Any) -> Any:
        config = {
            name: value
            for name, value in layer.get_config().items()
            if name
            in (
                *("filters", "kernel_size", "strides", "padding", "dilation_rate", "groups"),
                *("pool_size", "size", "cropping", "activation", "units", "n", "epsilon"),
                *("depth_multiplier", "target_shape", "merge_mode", "scale", "offset"),
                *("return_sequences", "go_backwards", "use_bias", "alpha", "max_value", "dims"),
            )
        }
        y = layer(y, *more)
        self.say(f"{type(layer).__name__} {config}")
        return y

    def around(self, y: Any) -> Any:
        kinds = [self.conv, self.conv, self.pool, self.norm, self.act, self.dense, self.moved]
        return self.pick(*kinds)(y)

    def conv(self, y: Any) -> Any:
        taps, stride, dilation, span = self.window()
        padding = self.pick("valid", "same", "causal")
        kind = self.pick("Conv1D", "Conv1D", "SeparableConv1D", "DepthwiseConv1D")
        if kind != "Conv1D" and padding == "causal":
            padding = "same"
        if stride > 1 and taps == 1 and kind != "Conv1D":
            stride = 1
        if padding == "valid":
            self.t = (self.t - span) // stride + 1
        else:
            self.t = -(-self.t // stride)
        options = {
            "strides": stride,
            "padding": padding,
            "dilation_rate": dilation,
            "use_bias": self.coin(0.8),
            "activation": self.pick(None, "relu", "tanh"),
        }
        if kind == "DepthwiseConv1D":
            multiplier = self.number(1, 2)
            self.k *= multiplier
            return self.put(L.DepthwiseConv1D(taps, depth_multiplier=multiplier, **options), y)
        groups = self.pick(1, self.k) if kind == "Conv1D" else 1
        self.k = groups * self.number(1, 3) if groups > 1 else self.number(1, 7)
        if kind == "Conv1D":
            return self.put(L.Conv1D(self.k, taps, groups=groups, **options), y)
        return self.put(L.SeparableConv1D(self.k, taps, depth_multiplier=2, **options), y)

    def pool(self, y: Any) -> Any:
        size = self.number(1, min(3, self.t))
        stride = self.pick(None, 1, 2)
        padding = self.pick("valid", "same")
        step = stride or size
        self.t = (self.t - size) // step + 1 if padding == "valid" else -(-self.t // step)
        kind = self.pick(L.MaxPooling1D, L.AveragePooling1D)
        return self.put(kind(size, strides=stride, padding=padding), y)

    def norm(self, y: Any) -> Any:
        kind = self.number(0, 3)
        if kind == 0:
            return self.put(L.LayerNormalization(epsilon=self.pick(1e-3, 1e-5)), y)
        if kind == 1:
            return self.put(L.Rescaling(scale=0.7, offset=-0.2), y)
        if kind == 2:
            return self.put(L.Normalization(axis=-1), y)
        options = {"center": self.coin(0.8), "scale": self.coin(0.8)}
        return self.put(L.BatchNormalization(epsilon=self.pick(1e-3, 1e-5), **options), y)

    def act(self, y: Any) -> Any:
        return self.put(
            self.pick(
                L.ReLU(),
                L.ReLU(6.0),
                L.LeakyReLU(),
                L.ELU(0.8),
                L.PReLU(shared_axes=[1]),
                L.Softmax(),
                *(L.Activation(a) for a in ("gelu", "silu", "selu", "softplus", "mish", "tanh")),
                *(L.Activation(a) for a in ("exponential", "log_softmax", "hard_silu")),
            ),
            y,
        )

    def dense(self, y: Any) -> Any:
        self.k = self.number(1, 6)
        layer = L.Dense(self.k, activation=self.pick("relu", "tanh", None))
        return self.put(L.TimeDistributed(layer) if self.coin() else layer, y)

    def moved(self, y: Any) -> Any:
        kind = self.number(0, 4)
        if kind == 0:
            before, after = self.number(0, 3), self.number(0, 3)
            self.t += before + after
            return self.put(L.ZeroPadding1D((before, after)), y)
        if kind == 1 and self.t > 6:
            before, after = self.number(0, 2), self.number(0, 2)
            self.t -= before + after
            return self.put(L.Cropping1D((before, after)), y)
        if kind == 2 and self.t < 30:
            self.t *= 2
            return self.put(L.UpSampling1D(2), y)
        if kind == 3 and self.t > 6:
            step = self.number(1, 3)
            start = self.number(0, 2)
            self.t = len(range(start, self.t, step))
            self.say(f"[:, {start}::{step}]")
            return y[:, start::step]
        return self.put(self.pick(L.Dropout(0.3), L.SpatialDropout1D(0.2), L.GaussianNoise(0.1)), y)

    def recurrent(self, y: Any, sequences: bool = True) -> Any:
        units = self.number(1, 6)
        layer = L.LSTM(units, return_sequences=sequences, use_bias=self.coin(0.9))
        self.k = units
        if self.coin(0.4):
            merge = self.pick("concat", "concat", "sum", "ave")
            self.k *= 2 if merge == "concat" else 1
            layer = L.Bidirectional(layer, merge_mode=merge)
        return self.put(layer, y)

    def read(self, y: Any) -> Any:
        kind = self.pick("every", "final", "max", "mean", "last", "flatten", "attention", "repeat")
        if kind in ("flatten",) and self.open_steps:
            kind = "final"
        if kind == "every":
            return y
        if kind in ("max", "mean"):
            layer = L.GlobalMaxPooling1D if kind == "max" else L.GlobalAveragePooling1D
            return self.put(layer(), y)
        if kind == "last":
            self.say("[:, -1]")
            return y[:, -1]
        if kind == "flatten":
            self.k *= self.t
            return self.put(L.Flatten(), y)
        if kind == "attention":
            score = self.put(L.Dense(1, activation=self.pick("tanh", None)), y)
            weights = self.put(L.Softmax(axis=1), score)
            if self.coin():
                context = self.put(L.Multiply(), [y, weights])
                return self.put(L.GlobalAveragePooling1D(), context)
            context = self.put(L.Dot(axes=1), [weights, y])
            return self.put(L.Reshape((self.k,)), context)
        y = self.recurrent(y, sequences=False)
        if kind == "final":
            return y
        self.t = self.number(2, 6)
        if self.coin():
            y = self.put(L.RepeatVector(self.t), y)
        else:
            k = self.number(1, 4)
            y = self.put(L.Dense(self.t * k), y)
            self.k = k
            y = self.put(L.Reshape((self.t, k)), y)
        return self.recurrent(y)


# torch


class TorchChain(Draw, nn.Module):
    """A module whose forward is a list of steps, each of which takes and gives (N, T, K)."""

    def __init__(self, seed: int) -> None:
        nn.Module.__init__(self)
        Draw.__init__(self, 2, seed)
        self.held = nn.ModuleList()
        self.steps: list[Callable[[Any], Any]] = []
        if self.ids:
            self.k = self.number(2, 6)
            self.put(nn.Embedding(9, self.k))
        for _ in range(self.number(0, 4)):
            self.around()
        for layer in range(self.number(1, 2)):
            self.recurrent()
            for _ in range(self.number(0, 2) if layer == 0 else self.number(0, 1)):
                self.around()
        self.read()
        for _ in range(self.number(0, 2)):
            out = self.number(2, 5)
            layer = nn.Linear(self.k, out, bias=self.coin(0.8))
            self.k = out
            self.put(layer)
            if self.coin(0.7):
                self.put(
                    self.pick(
                        nn.ELU(),
                        nn.Sigmoid(),
                        nn.Softmax(-1),
                        nn.LogSoftmax(-1),
                        nn.LayerNorm(out),
                    )
                )
        settle_torch(self, seed)

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x

    def put(self, module: nn.Module, channels: bool = False) -> None:
        """A module, on (N, K, T) if it has channels."""
        self.held.append(module)
        if not channels:
            self.steps.append(module)
        elif self.coin():
            self.steps.append(lambda x: module(x.transpose(1, 2)).transpose(1, 2))
        else:
            self.steps.append(lambda x: module(x.permute(0, 2, 1)).permute(0, 2, 1))
        self.say(str(module))

    def step(self, text: str, function: Callable[[Any], Any]) -> None:
        self.steps.append(function)
        self.say(text)

    def around(self) -> None:
        kinds = [self.conv, self.conv, self.pool, self.norm, self.act, self.dense, self.moved]
        self.pick(*kinds)()

    def conv(self) -> None:
        taps, stride, dilation, span = self.window()
        padding: Any = self.pick(0, self.number(0, 3), "same")
        mode = self.pick("zeros", "zeros", "zeros", "replicate", "reflect")
        if padding == "same":
            stride = 1
        else:
            padding = min(padding, self.t - 1)
            self.t = (self.t + 2 * padding - span) // stride + 1
        groups = self.pick(1, 1, self.k)
        out = groups * self.number(1, 3) if groups > 1 else self.number(1, 7)
        options: dict[str, Any] = {"padding": padding, "dilation": dilation, "groups": groups}
        options |= {"stride": stride, "padding_mode": mode, "bias": self.coin(0.8)}
        layer = nn.Conv1d(self.k, out, taps, **options)
        self.k = out
        self.put(layer, channels=True)
        if self.coin(0.4):
            self.put(nn.BatchNorm1d(out, eps=self.pick(1e-5, 1e-3)), channels=True)
        if self.coin(0.4):
            self.step("relu", F.relu)

    def pool(self) -> None:
        size = self.number(1, min(3, self.t))
        stride = self.pick(size, 1, 2)
        padding = self.number(0, size // 2)
        ceil = self.coin(0.3)
        if self.coin():
            layer: nn.Module = nn.MaxPool1d(size, stride, padding, ceil_mode=ceil)
        else:
            counts = self.coin()
            layer = nn.AvgPool1d(size, stride, padding, ceil_mode=ceil, count_include_pad=counts)
        self.t = layer(torch.zeros(1, 1, self.t)).shape[-1]
        self.put(layer, channels=True)

    def norm(self) -> None:
        kind = self.number(0, 2)
        if kind == 0:
            self.put(nn.LayerNorm(self.k, eps=self.pick(1e-5, 1e-3)))
        elif kind == 1:
            self.put(nn.BatchNorm1d(self.k, affine=self.coin(0.8)), channels=True)
        else:
            scale, shift = float(self.rng.uniform(0.5, 2)), float(self.rng.normal())
            self.step(f"(x - {shift}) / {scale}", lambda x: (x - shift) / scale)

    def act(self) -> None:
        kinds: list[nn.Module] = [nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.1), nn.ELU(0.8), nn.PReLU()]
        kinds += [nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.SELU(), nn.Softplus(), nn.Mish()]
        kinds += [nn.Tanh(), nn.Sigmoid(), nn.Hardtanh(), nn.Hardswish(), nn.Softsign()]
        kinds += [nn.Hardsigmoid(), nn.LogSigmoid(), nn.Softmax(-1), nn.LogSoftmax(-1)]
        if self.coin(0.2):
            self.step("clamp", lambda x: torch.clamp(x, -0.5, 1.5))
        elif self.coin(0.1):
            self.step("exp", lambda x: torch.exp(torch.clamp(x, max=2.0)))
        else:
            self.put(self.pick(*kinds))

    def dense(self) -> None:
        out = self.number(1, 6)
        layer = nn.Linear(self.k, out)
        self.k = out
        self.put(layer)

    def moved(self) -> None:
        kind = self.number(0, 4)
        if kind == 0:
            before, after = self.number(0, 3), self.number(0, 3)
            mode = self.pick("constant", "replicate", "reflect")
            self.t += before + after
            self.step(
                f"pad {before} {after} {mode}",
                lambda x: F.pad(x.transpose(1, 2), (before, after), mode=mode).transpose(1, 2),
            )
        elif kind == 1 and self.t > 6:
            start, stop, step = self.number(0, 2), self.pick(None, -1, -2), self.number(1, 3)
            self.t = len(range(self.t)[start:stop:step])
            self.step(f"[:, {start}:{stop}:{step}]", lambda x: x[:, start:stop:step])
        elif kind == 2 and self.t < 30:
            self.t *= 2
            self.put(nn.Upsample(scale_factor=2), channels=True)
        elif kind == 3:
            self.step("flip", lambda x: x.flip(1))
        else:
            self.put(nn.Dropout(0.3))

    def lstm(self, layers: int = 1) -> nn.LSTM:
        units, both = self.number(1, 6), self.coin(0.4)
        options = {"bidirectional": both, "bias": self.coin(0.9), "batch_first": True}
        lstm = nn.LSTM(self.k, units, layers, **options)
        self.k = units * (2 if both else 1)
        self.held.append(lstm)
        return lstm

    def recurrent(self) -> None:
        lstm = self.lstm(self.number(1, 2))
        self.step(str(lstm), lambda x: lstm(x)[0])

    def read(self) -> None:
        kinds = ("every", "final", "max", "mean", "last", "flatten", "tail", "adaptive")
        kind = self.pick(*kinds, "linear", "additive", "dot", "repeat", "repeat")
        if kind == "final" or kind == "repeat":
            lstm = self.lstm(self.number(1, 2))
            if lstm.bidirectional:
                self.step(f"final of {lstm}", lambda x: torch.cat(tuple(lstm(x)[1][0][-2:]), 1))
            else:
                self.step(f"final of {lstm}", lambda x: lstm(x)[1][0][-1])
            if kind == "repeat":
                self.repeat()
        elif kind == "max":
            self.step("max", lambda x: x.max(1).values)
        elif kind == "mean":
            self.step("mean", lambda x: x.mean(dim=1))
        elif kind == "last":
            self.step("last", lambda x: x[:, -1])
        elif kind == "tail" and self.t > 4:
            self.t = 3
            self.step("[:, -3:]", lambda x: x[:, -3:, :])
        elif kind == "flatten":
            self.fixed = True
            self.k *= self.t
            self.step("flatten", lambda x: x.reshape(x.size(0), -1))
        elif kind == "adaptive":
            layer = self.pick(nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d)(1)
            self.step(str(layer), lambda x: layer(x.transpose(1, 2)).squeeze(-1))
        elif kind in ("linear", "additive"):
            self.attention(kind == "additive")
        elif kind == "dot":
            lstm = nn.LSTM(self.k, 5, batch_first=True)
            self.k = 5
            self.held.append(lstm)

            def dot(x: Tensor) -> Tensor:
                out, (h, _) = lstm(x)
                weights = torch.softmax(torch.bmm(out, h[-1].unsqueeze(2)).squeeze(2), 1)
                return torch.bmm(out.transpose(1, 2), weights.unsqueeze(2)).squeeze(2)

            self.step("attention with the last state", dot)

    def attention(self, additive: bool) -> None:
        w, v = nn.Linear(self.k, 4), nn.Linear(4 if additive else self.k, 1, bias=not additive)
        self.held.append(v)
        if additive:
            self.held.append(w)
        product = self.coin()

        def pooled(x: Tensor) -> Tensor:
            weights = torch.softmax(v(torch.tanh(w(x)) if additive else x), dim=1)
            if product:
                return torch.bmm(weights.transpose(1, 2), x).squeeze(1)
            return (weights * x).sum(1)

        self.step(f"attention, additive {additive}, by bmm {product}", pooled)

    def repeat(self) -> None:
        t = self.t = self.number(2, 6)
        kind = self.pick("repeat", "expand", "linear")
        if kind == "repeat":
            self.step("repeat", lambda x: x.unsqueeze(1).repeat(1, t, 1))
        elif kind == "expand":
            self.step("expand", lambda x: x.unsqueeze(1).expand(-1, t, -1))
        else:
            k = self.number(1, 4)
            layer = nn.Linear(self.k, t * k)
            self.k = k
            self.put(layer)
            self.step("view", lambda x: x.view(-1, t, k))
        self.recurrent()
