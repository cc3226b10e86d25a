"""Convolutions and dense layers as the engine runs them: sums over windows of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.engine import cpu
from fastlstm.engine.kernel.cells import alpha_beta
from fastlstm.engine.kernel.normalise import LOG_SOFTMAX
from fastlstm.engine.kernel.windows import (
    CHUNK,
    FIRST_PANEL,
    OVER_OUTPUTS,
    VECTORS,
    Shape,
    windows_kernel,
)
from fastlstm.engine.plan.packing import pack_rows
from fastlstm.engine.plan.plan import aligned_zeros
from fastlstm.engine.run.normalise_rows import SoftmaxRows
from fastlstm.network.activations import LINEAR, Activation, as_activation
from fastlstm.network.dense import Dense

__all__ = ["DenseRows", "WindowRows"]

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

NO_INTEGERS = np.empty(0, np.int64)


class WindowRows:
    """Weighted sums over windows: from flat numbers to rows (R, O). See `kernel.windows`.

    Parameters
    ----------
    weight (O, taps, I / groups)
        The weights of each output.
    bias (O,)
        Zeros if left out.
    activation
        An activation, or "softmax" or "log_softmax" over the outputs.
    groups
        Into how many groups of neighbours inputs and outputs are divided.
    tap_step
        How many numbers apart the taps of a window are; by default I, then they lie side by side.
    """

    def __init__(
        self,
        weight: Array,
        bias: Array | None = None,
        activation: Activation | str = LINEAR,
        *,
        groups: int = 1,
        tap_step: int | None = None,
    ) -> None:
        self.output_size, self.taps, of_group = weight.shape
        self.groups, self.input_size = groups, groups * of_group
        self.tap_step = self.input_size if tap_step is None else tap_step
        self.dtype = weight.dtype
        self.shape = choose_shape(self.dtype, self.output_size // groups)
        self.softmax: SoftmaxRows | None = None
        if activation in OVER_OUTPUTS and (self.shape.outputs_in_lanes or groups > 1):
            logarithm = activation == LOG_SOFTMAX
            self.softmax = SoftmaxRows(self.output_size, self.dtype, logarithm=logarithm)
            activation = LINEAR
        self.name, numbers = str(activation), [0.0, 0.0]
        if activation not in OVER_OUTPUTS:
            activation = as_activation(activation)
            self.name, numbers = activation.name, [*alpha_beta(activation)]
        size = self.shape.rows
        if self.shape.outputs_in_lanes:
            size = self.shape.vectors * cpu.lanes(self.dtype.name)
        columns = weight.reshape(groups, self.output_size // groups, -1)
        biases = np.zeros(self.output_size, self.dtype) if bias is None else bias
        panels = [
            pack_rows(w, b, size) for w, b in zip(columns, biases.reshape(groups, -1), strict=True)
        ]
        self.panel = aligned_zeros(FIRST_PANEL + sum(panel.size for panel in panels), self.dtype)
        self.panel[: len(numbers)] = numbers
        np.concatenate(panels, out=self.panel[FIRST_PANEL:])

    def compile(self) -> Any:
        """Return the compiled kernel."""
        if self.softmax is not None:
            self.softmax.compile()
        return windows_kernel(self.dtype.name, self.shape, self.name)

    def run(self, values: Array, starts: Integers, out: Array) -> None:
        """Fill `out` from the windows of `values`.

        Parameters
        ----------
        values
            Flat, of the weights' dtype.
        starts (R,)
            Where in `values` each window begins. If it is empty, one window follows the other.
        out (R * O,)
            The outputs.
        """
        of_group, outputs = self.input_size // self.groups, self.output_size // self.groups
        memory, integers = 0, 2 * CHUNK
        if not self.shape.outputs_in_lanes:
            lanes = self.shape.vectors * cpu.lanes(self.dtype.name)
            rows = self.taps * (self.input_size + of_group) + outputs + 3 * lanes + self.shape.rows
            memory, integers = rows * lanes, 2 * lanes
        self.compile()(
            len(out) // self.output_size, self.taps, self.tap_step, of_group, self.groups, outputs,
            self.panel, values, starts, out,
            np.empty(memory, self.dtype), np.empty(integers, np.int64),
        )  # fmt: skip
        if self.softmax is not None:
            self.softmax.run(out, out)


class DenseRows(WindowRows):
    """A dense layer: from rows (R, K) to rows (R, O), each of them a window with one tap."""

    def __init__(self, dense: Dense) -> None:
        super().__init__(dense.weight[:, np.newaxis], dense.bias, dense.activation)

    def run(self, values: Array, out: Array) -> None:  # type: ignore[override]
        """Fill `out` (R * O,) from `values` (R * K,), both of the layer's dtype."""
        super().run(values, NO_INTEGERS, out)


def choose_shape(dtype: Any, outputs: int) -> Shape:
    """Return the layout that suits a number of outputs of a group."""
    lanes = cpu.lanes(dtype)
    if outputs <= lanes:
        return Shape(False, VECTORS, 4 if outputs <= 4 else 8)
    wide, narrow = cpu.simd().window_sums
    padded = [-(-outputs // (lanes * vectors)) * vectors for vectors, _ in (wide, narrow)]
    return Shape(True, *(wide if padded[0] <= padded[1] else narrow))
