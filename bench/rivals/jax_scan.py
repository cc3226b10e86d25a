"""JAX: `jit` and `lax.scan` over time, the whole batch, the weights as arguments."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness.engine import Call, Engine, Ready
from bench.harness.ways import fastest_way, time_first
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

    weights = [
        tuple(jnp.asarray(np.ascontiguousarray(a.T)) for a in (k.w_ih, k.w_hh, k.bias))
        for k in workload.model().layers
    ]

    def run(weights: Any, steps: Any, unroll: int) -> Any:
        def step(states: Any, below: Any) -> Any:
            after = []
            for (w_ih, w_hh, bias), (h, c) in zip(weights, states, strict=True):
                z = below @ w_ih + h @ w_hh + bias  # (N, 4H)
                i, f, g, o = jnp.split(z, 4, axis=-1)
                c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
                h = jax.nn.sigmoid(o) * jnp.tanh(c)
                after.append((h, c))
                below = h
            return after, None

        zeros = jnp.zeros((steps.shape[1], workload.H), steps.dtype)
        start = [(zeros, zeros)] * workload.layers
        states, _ = jax.lax.scan(step, start, steps, unroll=unroll)
        return states[-1][0]

    steps = jnp.asarray(time_first(x))

    def way(unroll: int) -> Call:
        compiled = jax.jit(partial(run, unroll=unroll))
        return lambda: np.asarray(compiled(weights, steps))

    best = fastest_way({f"unroll={unroll}": partial(way, unroll) for unroll in (1, 8)})
    return best._replace(settings=f"{threads} cores, time first, {best.settings}")


JAX = ("jax", "jaxlib")
ENGINES = (
    Engine(
        "JAX",
        build,
        enters=("compare", "idle"),
        needs=JAX,
        versions=JAX,
        steady=True,
        dtypes=("float32",),
    ),
)
