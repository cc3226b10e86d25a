"""A network of any parts in JAX: `APPLY` has a function for each kind of part.

Recurrent layers are a `lax.scan` over time. Layers that follow each other, with what is applied at
every step between them, share one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.harness.parts import (
    POINTWISE,
    RECURRENT,
    Activate,
    Bidirectional,
    Conv,
    Dense,
    Embedding,
    Join,
    Layer,
    LayerNorm,
    Pool,
    Read,
    Repeat,
    StepSoftmax,
    called,
    reads_final,
)
from bench.harness.ways import STEPS_FIRST, STEPS_SECOND, VECTOR
from fastlstm import LSTM

__all__ = ["function", "input_layout"]

Array = npt.NDArray[Any]
REPEATED = "repeated"  # a vector that stands at every step


class Value(NamedTuple):
    """An array and the order of its axes."""

    array: Any
    layout: str
    steps: int = 0  # of a repeated vector

    def laid_out(self, layout: str) -> Any:
        """The array in another layout; both have the numbers K last."""
        import jax.numpy as jnp

        if self.layout == REPEATED:
            axis = layout.index("T")
            shape = list(self.array.shape)
            shape.insert(axis, self.steps)
            return jnp.broadcast_to(jnp.expand_dims(self.array, axis), shape)
        return self.array if self.layout in (layout, VECTOR) else self.array.swapaxes(0, 1)


class Stack(NamedTuple):
    """Layers, and what is applied at every step between them, that share a scan."""

    parts: tuple[Any, ...]
    final: bool  # nothing is wanted but the last states


def function(model: LSTM) -> tuple[list[Any], Callable[[list[Any], Any, int], Any]]:
    """Weights, and a function of these, ``x`` and how many steps of a loop are unrolled.

    ``x`` is laid out as `input_layout` says; the result, if it has steps, is ``(T, N, K)``.

    Raises
    ------
    NotImplementedError
        This module does not build something that the network has.
    """
    import jax

    parts = called(model)
    first = input_layout(model)
    for part in parts:
        check(part)
    stacks = stacks_of(parts)
    weights = jax.tree.map(jax.numpy.asarray, [weights_of(part) for part in parts])

    def run(weights: list[Any], x: Any, unroll: int) -> Any:
        values: dict[int, Value] = {}
        below, i = Value(x, first), 0
        while i < len(parts):
            if i in stacks:
                stack = stacks[i]
                end = i + len(stack.parts)
                below = scan(stack, weights[i:end], below, unroll)
                i = end - 1
            elif isinstance(parts[i], Bidirectional):
                final = reads_final(parts, i)
                below = both(parts[i], final, weights[i], below, unroll)
            else:
                below = APPLY[type(parts[i])](parts[i], weights[i], below, values)
            values[i] = below
            i += 1
        return below.laid_out(STEPS_FIRST)

    return weights, run


def input_layout(model: LSTM) -> str:
    """The layout that the first part wants: laid out before the timing, it costs nothing."""
    return STEPS_SECOND if isinstance(model.network.parts[0], Conv | Pool) else STEPS_FIRST


def check(part: Any) -> None:
    """Refuse a part that is not built."""
    if not isinstance(part, RECURRENT):
        if type(part) not in APPLY:
            raise NotImplementedError(f"{type(part).__name__} is not built")
        return
    merged = getattr(part, "merge", "concat") != "concat"
    if merged or part.cells[0].direction != "forward" or any(k.clip for k in part.cells):
        raise NotImplementedError(
            "merged directions, a backward direction alone or clipping is not built"
        )


def stacks_of(parts: Sequence[Any]) -> dict[int, Stack]:
    """The stacks by the number of their first part."""
    wanted = {value for part in parts for value in getattr(part, "values", ())}
    found: dict[int, Stack] = {}
    i = 0
    while i < len(parts):
        if isinstance(parts[i], Layer):
            end = i + 1
            top = end
            while top - 1 not in wanted and end < len(parts) and may_share(parts[end]):
                end += 1
                top = end if isinstance(parts[end - 1], Layer) else top
                if end - 1 in wanted:
                    break
            found[i] = Stack(tuple(parts[i:top]), reads_final(tuple(parts), top - 1))
            i = top
        else:
            i += 1
    return found


def may_share(part: Any) -> bool:
    return isinstance(part, (Layer, *POINTWISE))


# --- recurrent layers --------------------------------------------------------------------------


def weights_of(part: Any) -> Any:
    """The arrays of a part, as its function takes them."""
    if isinstance(part, RECURRENT):
        cells = [cell_weights(cell) for cell in part.cells]
        return cells if isinstance(part, Bidirectional) else cells[0]
    if isinstance(part, Dense):
        return {"weight": np.array(part.weight.T)} | bias_of(part)
    if isinstance(part, Conv):
        return {"weight": np.array(part.weight.transpose(1, 2, 0))} | bias_of(part)
    if isinstance(part, LayerNorm):
        return {"scale": part.scale, "shift": part.shift}
    return {"table": part.weight} if isinstance(part, Embedding) else {}


def bias_of(part: Any) -> dict[str, Array]:
    return {} if part.bias is None else {"bias": part.bias}


def cell_weights(cell: Layer) -> dict[str, Array]:
    arrays = {"w_ih": cell.w_ih.T, "w_hh": cell.w_hh.T, "bias": cell.bias}
    arrays |= {} if cell.w_hr is None else {"w_hr": cell.w_hr.T}
    arrays |= {} if cell.peepholes is None else {"peepholes": cell.peepholes}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def step_of(cell: Layer) -> Callable[..., Any]:
    """One step of a cell: weights, the product with its input, and its states to the next."""
    import jax.numpy as jnp

    gate, candidate, output = (activation(a) for a in cell.activations)

    def step(w: Any, product: Any, states: Any) -> Any:
        h, c = states
        z = product + h @ w["w_hh"] + w["bias"]  # (N, 4H)
        i, f, g, o = jnp.split(z, 4, axis=-1)
        peep = w.get("peepholes")  # (3, H): i f o
        if peep is not None:
            i, f = i + peep[0] * c, f + peep[1] * c
        i = gate(i)
        c = (1 - i if cell.coupled else gate(f)) * c + i * candidate(g)
        o = o if peep is None else o + peep[2] * c
        h = gate(o) * output(c)
        return (h @ w["w_hr"] if "w_hr" in w else h), c

    return step


def scan(
    stack: Stack, weights: Sequence[Any], below: Value, unroll: int, reverse: bool = False
) -> Value:
    """The outputs of a stack at every step, or its last states if nothing else is wanted."""
    import jax
    import jax.numpy as jnp

    first = stack.parts[0]
    steps = [step_of(part) if isinstance(part, Layer) else None for part in stack.parts]
    repeated = below.layout == REPEATED
    # The product with a repeated vector is the same at every step.
    product = below.array @ weights[0]["w_ih"] if repeated else None
    sequence = None if repeated else below.laid_out(STEPS_FIRST)
    N = below.array.shape[0] if sequence is None else sequence.shape[1]

    def step(states: Any, x: Any) -> Any:
        after = []
        for part, own, w, state in zip(stack.parts, steps, weights, states, strict=True):
            if own is None:
                x = APPLY[type(part)](part, w, Value(x, VECTOR), {}).array
                after.append(())
                continue
            given = product if repeated and part is first else x @ w["w_ih"]
            after.append(own(w, given, state))
            x = after[-1][0]
        return after, None if stack.final else x

    dtype = first.dtype
    start = [
        (jnp.zeros((N, part.output_size), dtype), jnp.zeros((N, part.hidden_size), dtype))
        if isinstance(part, Layer)
        else ()
        for part in stack.parts
    ]
    length = below.steps if repeated else None
    states, every = jax.lax.scan(
        step, start, sequence, length=length, unroll=unroll, reverse=reverse
    )
    return Value(states[-1][0], VECTOR) if stack.final else Value(every, STEPS_FIRST)


def both(part: Bidirectional, final: bool, weights: Any, below: Value, unroll: int) -> Value:
    import jax.numpy as jnp

    ends = [
        scan(Stack((cell,), final), [w], below, unroll, cell.direction == "reverse")
        for cell, w in zip(part.cells, weights, strict=True)
    ]
    return Value(jnp.concatenate([k.array for k in ends], -1), ends[0].layout)


# --- a function for each other kind of part ----------------------------------------------------


def apply_embedding(part: Embedding, w: Any, x: Value, values: Any) -> Value:
    return Value(w["table"][x.array], x.layout)


def apply_conv(part: Conv, w: Any, x: Value, values: Any) -> Value:
    """Steps second: steps last took twice as long, steps first about the same as this."""
    import jax

    array = x.laid_out(STEPS_SECOND)
    before, after = (int(k[0]) for k in part.window.padded(np.array([array.shape[1]])))
    y = jax.lax.conv_general_dilated(
        array,
        w["weight"],
        (part.stride,),
        [(before, after)],
        rhs_dilation=(part.dilation,),
        dimension_numbers=("NWC", "WIO", "NWC"),
        feature_group_count=part.groups,
    )
    y = y + w["bias"] if "bias" in w else y
    return Value(activation(part.activation)(y), STEPS_SECOND)


def apply_pool(part: Pool, w: Any, x: Value, values: Any) -> Value:
    import jax

    if part.padding != "valid" or part.ceil or part.dilation != 1:
        raise NotImplementedError("padding or dilation of pooling is not built")
    array = x.laid_out(STEPS_SECOND)
    start, combine = (-np.inf, jax.lax.max) if part.how == "max" else (0.0, jax.lax.add)
    first = array.dtype.type(start)
    window, strides = (1, part.size, 1), (1, part.window.stride, 1)
    y = jax.lax.reduce_window(array, first, combine, window, strides, "VALID")
    return Value(y if part.how == "max" else y / part.size, STEPS_SECOND)


def apply_dense(part: Dense, w: Any, x: Value, values: Any) -> Value:
    y = x.array @ w["weight"]
    y = y + w["bias"] if "bias" in w else y
    return x._replace(array=activation(part.activation)(y))


def apply_activate(part: Activate, w: Any, x: Value, values: Any) -> Value:
    return x._replace(array=activation(part.activation)(x.array))


def activation(of: Any) -> Callable[[Any], Any]:
    """A function of arrays whose numbers are last."""
    import jax
    import jax.numpy as jnp

    alpha, beta = getattr(of, "alpha", None), getattr(of, "beta", None)
    known: dict[str, Callable[[Any], Any]] = {
        "hard_sigmoid": lambda x: jnp.clip(alpha * x + beta, 0, 1),
        "linear": lambda x: x,
        "relu": jax.nn.relu,
        "sigmoid": jax.nn.sigmoid,
        "softmax": jax.nn.softmax,
        "tanh": jnp.tanh,
    }
    name = getattr(of, "name", of)
    if name not in known:
        raise NotImplementedError(f"{of} is not built")
    return known[name]


def apply_layer_norm(part: LayerNorm, w: Any, x: Value, values: Any) -> Value:
    import jax
    import jax.numpy as jnp

    apart = x.array - x.array.mean(-1, keepdims=True) if part.centered else x.array
    variance = jnp.square(apart).mean(-1, keepdims=True)
    normal = apart * jax.lax.rsqrt(variance + part.epsilon)
    return x._replace(array=normal * w["scale"] + w["shift"])


def apply_step_softmax(part: StepSoftmax, w: Any, x: Value, values: Any) -> Value:
    import jax

    return Value(jax.nn.softmax(x.laid_out(STEPS_FIRST), axis=0), STEPS_FIRST)


def apply_join(part: Join, w: Any, x: Value, values: Any) -> Value:
    import jax.numpy as jnp

    functions = {"add": jnp.add, "multiply": jnp.multiply}
    if part.how not in functions or len(part.values) != 2 or min(part.values) < 0:
        raise NotImplementedError(f"a Join of {part.how} is not built")
    joined = [values[k] for k in part.values]
    layout = VECTOR if all(k.layout == VECTOR for k in joined) else STEPS_FIRST
    return Value(functions[part.how](*(k.laid_out(STEPS_FIRST) for k in joined)), layout)


def apply_read(part: Read, w: Any, x: Value, values: Any) -> Value:
    import jax.numpy as jnp

    if x.layout == VECTOR:  # the last states, which the recurrent layer has given
        return x
    functions = {"max": jnp.max, "mean": jnp.mean, "sum": jnp.sum}
    array = x.laid_out(STEPS_FIRST)
    read = functions.get(part.how)
    return Value(array[-1] if read is None else read(array, axis=0), VECTOR)


def apply_repeat(part: Repeat, w: Any, x: Value, values: Any) -> Value:
    return Value(x.array, REPEATED, part.n_steps)


APPLY: Final[dict[type, Callable[[Any, Any, Value, Any], Value]]] = {
    Activate: apply_activate,
    Conv: apply_conv,
    Dense: apply_dense,
    Embedding: apply_embedding,
    Join: apply_join,
    LayerNorm: apply_layer_norm,
    Pool: apply_pool,
    Read: apply_read,
    Repeat: apply_repeat,
    StepSoftmax: apply_step_softmax,
}
