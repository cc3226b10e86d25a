"""A stack that reads one vector at every step: the same bits as if it had been written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import assert_same_bits
from networks import Maker

from fastlstm import Layer
from fastlstm.engine.kernel.forms import SEQUENCES, UNITS, possible_kinds
from fastlstm.engine.plan.chain import Stack
from fastlstm.engine.plan.cost import choose_tile, make_tile
from fastlstm.engine.plan.plan import Plan, make_plan
from fastlstm.engine.run.call import NO_INTEGERS, run_kernel

STACKS = {
    "one layer": lambda m: [m.layer(5, 7)],
    "many inputs, three layers": lambda m: [m.layer(67, 9), m.layer(9, 33), m.layer(33, 6)],
    "one number, one unit": lambda m: [m.layer(1, 1)],
    "from the last step to the first": lambda m: [m.layer(5, 7, direction="reverse")],
    "go_backwards": lambda m: [m.layer(5, 7, direction="go_backwards")],
    "projections": lambda m: [m.layer(5, 7, 3), m.layer(3, 6, 2)],
}
ROWS, STEPS = 37, 150


def kind_of(stack: Stack, lanes_hold: str, traced: bool = False):
    dtype = np.dtype(stack.layers[0].dtype).name
    kinds = [k for k in possible_kinds(dtype, stack.form, traced) if k.lanes_hold == lanes_hold]
    return kinds[0]


def stack_of(layers: list[Layer], repeated: bool) -> Stack:
    return Stack(tuple(layers), None, 0, 0, repeated=repeated, norms=(None,) * len(layers))


def results(
    plan: Plan,
    stack: Stack,
    values: np.ndarray,
    starts: np.ndarray = NO_INTEGERS,
    lengths: np.ndarray = NO_INTEGERS,
) -> list[np.ndarray]:
    """Outputs, the final state and gates of a walk that begins with a state."""
    dtype, top, head = values.dtype, stack.layers[-1], int(plan.record["head_outputs"][0])
    rng = np.random.default_rng(3)
    h, c = (sum(getattr(k, f"{name}_size") for k in stack.layers) for name in ("output", "hidden"))
    start = [rng.standard_normal(ROWS * size).astype(dtype) for size in (h, c)]
    end = [np.empty_like(array) for array in start]
    out = np.zeros((ROWS, STEPS, head or top.output_size), dtype)
    to, gates = {"sequence": out}, None
    if not plan.every_step:
        to = {"last": out[:, 0].copy()}
    elif plan.tile.kind.traced:
        gates = np.zeros((5, ROWS, STEPS, top.hidden_size), dtype)
    run_kernel(
        plan, values, ROWS, STEPS, starts=starts, lengths=lengths, start=start, end=end,
        gates=gates, **to,
    )  # fmt: skip
    return [*to.values(), *end, *([] if gates is None else [gates])]


@pytest.mark.parametrize("lanes_hold", [SEQUENCES, UNITS])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, "float32") for name in STACKS if name != "projections"),
        ("many inputs, three layers", "float64"),
        ("projections", "float64"),
    ],
)
def test_the_same_bits_as_written_out(name, dtype, lanes_hold):
    make = Maker(0, dtype)
    layers = STACKS[name](make)
    once, written = (stack_of(layers, repeated) for repeated in (True, False))
    width = layers[0].input_size
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((ROWS, width)).astype(dtype)
    lengths = rng.integers(0, STEPS + 1, ROWS)
    lengths[:4] = STEPS, 0, 1, STEPS
    traced = name == "many inputs, three layers"
    head = make.dense(layers[-1].output_size, 2) if name == "one layer" else None
    kind, other = kind_of(once, lanes_hold, traced), possible_kinds(dtype, written.form, traced)[0]
    if not written.form.scalar:  # whose state is in registers where it is written out
        other = kind_of(written, lanes_hold, traced)
    tile, tile_written = make_tile(kind, ROWS, 1), make_tile(other, ROWS, 1)
    order = rng.permutation(ROWS)
    starts = np.argsort(order).astype(np.int64) * width
    for every_step in (True, False):
        plan = make_plan(once, head, tile, every_step)
        plan_written = make_plan(written, head, tile_written, every_step)
        for uneven in (NO_INTEGERS, lengths):
            steps = np.repeat(vectors, STEPS, 0).ravel()
            expected = results(plan_written, written, steps, lengths=uneven)
            found = results(plan, once, vectors.ravel(), lengths=uneven)
            moved = results(plan, once, vectors[order].ravel(), starts, uneven)
            for actual, elsewhere, true in zip(found, moved, expected, strict=True):
                assert_same_bits(actual, true)
                assert_same_bits(elsewhere, true)


def test_a_nan_stays_in_its_row():
    make = Maker(0, "float32")
    stack = stack_of([make.layer(5, 7)], repeated=True)
    vectors = np.random.default_rng(1).standard_normal((ROWS, 5)).astype("float32")
    plan = make_plan(stack, None, make_tile(kind_of(stack, SEQUENCES), ROWS, 1), True)
    before = results(plan, stack, vectors.ravel())[0]
    vectors[5, 2] = np.nan
    after = results(plan, stack, vectors.ravel())[0]
    assert np.isnan(after[5]).all()
    assert_same_bits(np.delete(after, 5, 0), np.delete(before, 5, 0))


@pytest.mark.usual_tiles
def test_the_cost_has_no_product_with_the_inputs():
    """A form of its own, and a tile that suits the hidden units alone."""
    make = Maker(0, "float32")
    wide, narrow = [make.layer(4000, 32)], [make.layer(1, 32)]
    one = stack_of(wide, repeated=True)
    assert one.form == stack_of(wide, repeated=False).form._replace(repeated=True)
    for n in (1, 5, 40, 1000):
        chosen, expected = (
            choose_tile(stack_of(layers, repeated=True), n, 2, False) for layers in (wide, narrow)
        )
        assert chosen == expected


def test_a_stack_that_is_not_repeated_keeps_its_name():
    """And so the name of its compiled kernel."""
    stack = stack_of([Maker(0, "float32").layer(5, 7)], repeated=False)
    assert "repeated" not in str(stack.form)
    assert "repeated" in str(replace(stack, repeated=True).form)
