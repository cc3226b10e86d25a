"""TensorFlow's `BlockLSTMV2`: the only packaged operator that returns all gates of all steps."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.built import Built, time_first
from bench.rows import Row

Array = npt.NDArray[Any]


def build(row: Row, x: Array, threads: int) -> Built:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    (layer,) = row.model().layers
    # Its gates are in the same order (those of the first BlockLSTM are not), in one matrix.
    weights = np.concatenate([layer.w_ih, layer.w_hh], axis=1).T  # (I + H, 4H)
    zeros = np.zeros((row.N, row.H), row.dtype)
    arguments = {
        "seq_len_max": tf.constant(row.T, tf.int64),
        "x": tf.constant(time_first(x)),
        "cs_prev": tf.constant(zeros),
        "h_prev": tf.constant(zeros),
        "w": tf.constant(np.ascontiguousarray(weights)),
        "wci": tf.zeros(row.H, row.dtype),
        "wcf": tf.zeros(row.H, row.dtype),
        "wco": tf.zeros(row.H, row.dtype),
        "b": tf.constant(layer.bias),
        "cell_clip": 0.0,
        "use_peephole": False,
    }

    def call() -> Array:
        return tf.raw_ops.BlockLSTMV2(**arguments).h[-1].numpy()

    return Built(call, f"{threads} threads, time first, eager")
