"""Convolution over time."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fastlstm.network.activations import LINEAR, Activation, as_activation
from fastlstm.network.weights import Weights, as_bias, as_floats, freeze
from fastlstm.network.windows import Padding, Window, as_count, as_padding

__all__ = ["Conv"]

Array = npt.NDArray[Any]

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class Conv(Weights):
    """A convolution over time (Keras' ``Conv1D``, torch's ``Conv1d``).

    With I inputs in G groups, output o of group g at step t is::

        y[t, o] = activation(bias[o] + sum over taps j and inputs i of
                             weight[o, j, i] * x[t * stride + j * dilation - before, g * I/G + i])

    where x is zero outside the sequence, and `before` is what the padding puts in front. The terms
    are added in the order of j, then i.

    Parameters
    ----------
    weight : array (O, J, I / G), float32 or float64
        The weights of J taps in each of O outputs. The outputs of a group follow each other.
    bias : array (O,), same dtype, optional
        Zeros if left out.
    stride : int
        How many steps lie between two windows.
    dilation : int
        How many steps lie between two taps.
    groups : int
        G. With as many groups as inputs, the convolution is depthwise.
    padding : {"valid", "same", "causal"} or (before, after)
        How many steps of zeros stand around a sequence: none; as many as it takes to have an output
        for each of its ``stride`` steps, the odd one behind (Keras' and ONNX' ``SAME_UPPER``); all
        of them in front, so that no output reads a later step; or two numbers.
    activation : str, Activation or (name, alpha, beta)
        As in `Dense`, without ``"softmax"``.

    Raises
    ------
    TypeError
        If an array is neither float32 nor float64, or an option is not an integer.
    ValueError
        If shapes, dtypes or options do not fit together, or a weight is NaN or infinite.
    UnsupportedModelError
        If there is no such activation.

    Examples
    --------
    >>> Conv(np.zeros((64, 5, 9)), padding="same").input_size
    9
    """

    takes: ClassVar = "sequence"
    gives: ClassVar = "sequence"

    weight: Array  # (O, J, I / G)
    bias: Array | None = None  # (O,)
    _: KW_ONLY
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    padding: Padding = "valid"
    activation: Activation = LINEAR

    def __post_init__(self) -> None:
        arrays = {"weight": as_floats("weight", self.weight)}
        shape = arrays["weight"].shape
        if len(shape) != 3 or 0 in shape:
            raise ValueError(
                "weight: expected shape (O, J, I / groups) for O >= 1 outputs and J >= 1 taps, "
                f"got {shape}"
            )
        if self.bias is not None:
            arrays["bias"] = as_bias(self.bias, shape[0])
        freeze(self, arrays)
        window = Window(shape[1], self.stride, self.dilation, as_padding(self.padding))
        groups = as_count("groups", self.groups)
        if shape[0] % groups:
            raise ValueError(f"groups: {shape[0]} outputs cannot be divided into {groups} groups")
        for name in ("stride", "dilation", "padding"):
            object.__setattr__(self, name, getattr(window, name))
        object.__setattr__(self, "groups", groups)
        object.__setattr__(self, "activation", as_activation(self.activation))

    @property
    def window(self) -> Window:
        """Which steps an output reads."""
        return Window(self.weight.shape[1], self.stride, self.dilation, self.padding)

    @property
    def input_size(self) -> int:
        """I, the number of inputs."""
        return int(self.weight.shape[2]) * self.groups

    @property
    def output_size(self) -> int:
        """O, the number of outputs."""
        return int(self.weight.shape[0])

    @property
    def dtype(self) -> np.dtype[Any]:
        """``float32`` or ``float64``."""
        return self.weight.dtype

    def steps(self, steps: Integers) -> Integers:
        """Return how many outputs sequences of these steps have."""
        return self.window.steps(steps)

    def __repr__(self) -> str:
        groups = "" if self.groups == 1 else f", groups={self.groups}"
        activation = "" if self.activation == LINEAR else f", {self.activation}"
        sizes = f"{self.input_size} -> {self.output_size}"
        return f"Conv({sizes}, {self.window}{groups}{activation}, {self.dtype})"
