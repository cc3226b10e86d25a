"""TensorFlow's `BlockLSTMV2`: the only packaged operator that returns all gates of all steps."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness.engine import Engine, Ready
from bench.harness.ways import time_first
from bench.harness.workload import Workload

Array = npt.NDArray[Any]


def build(workload: Workload, x: Array, threads: int) -> Ready:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    (layer,) = workload.model().layers
    # One matrix, with the gates in the same order (BlockLSTM, without V2, has another).
    weights = np.concatenate([layer.w_ih, layer.w_hh], axis=1).T  # (I + H, 4H)
    zeros = np.zeros((workload.N, workload.H), workload.dtype)
    arguments = {
        "seq_len_max": tf.constant(workload.T, tf.int64),
        "x": tf.constant(time_first(x)),
        "cs_prev": tf.constant(zeros),
        "h_prev": tf.constant(zeros),
        "w": tf.constant(np.ascontiguousarray(weights)),
        "wci": tf.zeros(workload.H, workload.dtype),
        "wcf": tf.zeros(workload.H, workload.dtype),
        "wco": tf.zeros(workload.H, workload.dtype),
        "b": tf.constant(layer.bias),
        "cell_clip": 0.0,
        "use_peephole": False,
    }

    def call() -> Array:
        return tf.raw_ops.BlockLSTMV2(**arguments).h[-1].numpy()

    return Ready(call, f"{threads} threads, time first, eager")


ENGINES = (
    Engine(
        "BlockLSTMV2",
        build,
        enters=("trace",),
        needs=("tensorflow",),
        versions=("tensorflow", "tensorflow-cpu"),  # two packages of one module
        steady=True,
        dtypes=("float32",),
    ),
)
