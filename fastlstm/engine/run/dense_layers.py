"""Dense layers as the engine runs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.engine import cpu
from fastlstm.engine.kernel.cells import alpha_beta
from fastlstm.engine.kernel.dense import VECTORS, dense_kernel
from fastlstm.engine.plan.packing import pack_dense
from fastlstm.network.activations import Activation
from fastlstm.network.dense import SOFTMAX, Dense

Array = npt.NDArray[Any]


class DenseRows:
    """A dense layer as the engine runs it: from rows (R, K) to rows (R, O)."""

    def __init__(self, dense: Dense) -> None:
        self.dense = dense
        self.dtype = dense.dtype
        activation = dense.activation
        self.name, numbers = SOFTMAX, [0.0, 0.0]
        if isinstance(activation, Activation):
            self.name, numbers = activation.name, [*alpha_beta(activation)]
        self.panel = np.concatenate([np.array(numbers, self.dtype), pack_dense(dense)])
        self.lanes = cpu.lanes(self.dtype.name) * VECTORS

    def compile(self) -> Any:
        """Return the compiled kernel."""
        return dense_kernel(self.dtype.name, self.name)

    def run(self, values: Array, out: Array) -> None:
        """Fill `out` (R * O,) from `values` (R * K,), both of the layer's dtype."""
        n_inputs, n_outputs = self.dense.input_size, self.dense.output_size
        blocks = n_inputs + n_outputs + 2 * self.lanes + 4
        scratch = np.empty(blocks * self.lanes, self.dtype)
        lane_table = np.empty(2 * self.lanes, np.int64)
        self.compile()(
            len(out) // n_outputs, n_inputs, n_outputs, self.panel, values, out, scratch, lane_table
        )
