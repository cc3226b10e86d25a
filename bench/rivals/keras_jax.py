"""Keras 3 on its JAX backend: stacked `LSTM` layers of a functional model."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness.engine import Call, Engine, Ready
from bench.harness.ways import fastest_way
from bench.harness.workload import Workload
from bench.rivals.jax_scan import limit_threads

Array = npt.NDArray[Any]


def build(workload: Workload, x: Array, threads: int) -> Ready:
    limit_threads(threads)
    os.environ["KERAS_BACKEND"] = "jax"
    import jax
    import jax.numpy as jnp
    import keras

    model = keras.Sequential([keras.Input((workload.T, workload.I))])
    for k, layer in enumerate(workload.model().layers):
        made = keras.layers.LSTM(workload.H, return_sequences=k < workload.layers - 1)
        model.add(made)
        made.set_weights([layer.w_ih.T, layer.w_hh.T, layer.bias])

    def method() -> Call:
        return lambda: np.asarray(model.predict_on_batch(x))

    def compiled() -> Call:
        fixed = [v.value for v in model.trainable_variables]
        others = [v.value for v in model.non_trainable_variables]
        run = jax.jit(lambda a, b, x: model.stateless_call(a, b, x, training=False)[0])
        batch = jnp.asarray(x)
        return lambda: np.asarray(run(fixed, others, batch))

    return fastest_way(
        {
            f"{threads} cores, predict_on_batch": method,
            f"{threads} cores, stateless_call in jax.jit": compiled,
        }
    )


KERAS = ("keras", "jax", "jaxlib")
ENGINES = (
    Engine("Keras", build, enters=("compare",), needs=KERAS, versions=KERAS, dtypes=("float32",)),
)
