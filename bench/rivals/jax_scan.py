"""JAX: `jit` and `lax.scan` over time, the whole batch, the weights as arguments."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness.engine import Call, Engine, Ready
from bench.harness.jax_parts import function, input_layout
from bench.harness.ways import batch_first, fastest_way, laid_out
from bench.harness.workload import Workload

Array = npt.NDArray[Any]


def limit_threads(threads: int) -> None:
    """Give XLA this many cores: it starts as many threads as it finds cores."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:threads])


def build(workload: Workload, x: Array, threads: int) -> Ready:
    limit_threads(threads)
    import jax
    import jax.numpy as jnp

    model = workload.model()
    weights, run = function(model)
    given = jnp.asarray(laid_out(x, input_layout(model)))

    def way(unroll: int) -> Call:
        compiled = jax.jit(partial(run, unroll=unroll))
        return lambda: batch_first(np.asarray(compiled(weights, given)))

    best = fastest_way({f"unroll={unroll}": partial(way, unroll) for unroll in (1, 8)})
    return best._replace(settings=f"{threads} cores, time first, {best.settings}")


JAX = ("jax", "jaxlib")
ENGINES = (
    Engine(
        "JAX",
        build,
        enters=("compare", "idle", "networks"),
        needs=JAX,
        versions=JAX,
        steady=True,
        dtypes=("float32",),
    ),
)
