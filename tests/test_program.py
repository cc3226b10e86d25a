"""A network as a program: which operations, in which order, over which buffers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from networks import NETWORKS, Maker, chain, make_network

from fastlstm import LSTM, reference
from fastlstm.engine.plan import program as module
from fastlstm.engine.plan.chain import make_chain
from fastlstm.engine.plan.program import Apply, Operation, Program, Walk, lower, make_program
from fastlstm.network.joints import Join
from fastlstm.network.network import Network
from fastlstm.network.pointwise import Activate
from fastlstm.network.pooling import Pool
from fastlstm.network.steps import Flatten, Upsample


def program_of(model: LSTM, every: bool = False) -> Program:
    network = model.network
    return make_program(network, make_chain(network.parts), every)


def written(program: Program) -> list[str]:
    """A line an operation: what it is, what it reads and what it writes; a part by its kind."""
    lines = []
    for of in program.operations:
        reads = ", ".join(str(k.buffer) for k in of.reads)
        steps = "T x " if of.writes.every else ""
        name = type(of.part if isinstance(of, Apply) else of).__name__
        lines.append(f"{name} {reads} -> {of.writes.buffer}: {steps}{of.writes.size}")
    return lines


MERGED = ["Walk 0 -> 1: T x 5", "Walk 0 -> 2: T x 5", "Merge 1, 2 -> 1: T x 5"]
PROGRAMS = {
    "a stack and a linear head: one walk": (
        lambda m: LSTM([m.layer(3, 5), m.layer(5, 4)], m.dense(4, 2)),
        ["Walk 0 -> 1: 2"],
        ["Walk 0 -> 1: T x 2"],
    ),
    "two directions side by side": (
        lambda m: LSTM([m.both(3, 5), m.both(10, 7)], m.dense(14, 2)),
        ["Walk 0 -> 1: T x 10"] * 2 + ["Walk 1 -> 2: 14"] * 2 + ["Dense 2 -> 1: 2"],
        ["Walk 0 -> 1: T x 10"] * 2 + ["Walk 1 -> 2: T x 14"] * 2 + ["Dense 2 -> 1: T x 2"],
    ),
    "two directions merged, in the memory of one": (
        lambda m: LSTM([m.both(3, 5, merge="sum"), m.layer(5, 4)]),
        [*MERGED, "Walk 1 -> 3: 4"],
        [*MERGED, "Walk 1 -> 3: T x 4"],
    ),
    "dense layers see the step that is read alone": (
        lambda m: LSTM([m.dense(3, 4), m.layer(4, 5), m.dense(5, 2, "relu")], m.dense(2, 1)),
        ["Dense 0 -> 1: T x 4", "Walk 1 -> 2: 5", "Dense 2 -> 1: 2", "Dense 1 -> 2: 1"],
        ["Dense 0 -> 1: T x 4", "Walk 1 -> 2: T x 5", "Dense 2 -> 1: T x 2", "Dense 1 -> 2: T x 1"],
    ),
    "what is pooled stands at every step": (
        lambda m: LSTM([m.layer(3, 5), m.dense(5, 2)], m.dense(2, 1), read="mean"),
        ["Walk 0 -> 1: T x 5", "Dense 1 -> 2: T x 2", "ReduceSteps 2 -> 1: 2", "Dense 1 -> 2: 1"],
        ["Walk 0 -> 1: T x 5", "Dense 1 -> 2: T x 2", "Dense 2 -> 1: T x 1"],
    ),
    "inputs are added in place": (
        lambda m: LSTM([m.both(3, 5)], m.dense(10, 2), skip=2),
        ["Walk 0 -> 1: 10"] * 2 + ["Dense 1 -> 2: 2", "Add 2, 0 -> 2: 2"],
        ["Walk 0 -> 1: T x 10"] * 2 + ["Dense 1 -> 2: T x 2", "Add 2, 0 -> 2: T x 2"],
    ),
    "a convolution computes only what is pooled": (
        lambda m: chain(
            m.conv(3, 6, 3), m.affine(6), Activate("relu"), Pool("max", 2), m.both(6, 5)
        ),
        ["Convolve 0 -> 1: T x 6"] + ["Walk 1 -> 2: 10"] * 2,
        ["Convolve 0 -> 1: T x 6"] + ["Walk 1 -> 2: T x 10"] * 2,
    ),
    "windows that overlap are pooled apart": (
        lambda m: chain(m.conv(3, 6, 3), Pool("mean", 3, 2), m.both(6, 5)),
        ["Convolve 0 -> 1: T x 6", "PoolWindows 1 -> 2: T x 6"] + ["Walk 2 -> 3: 10"] * 2,
        ["Convolve 0 -> 1: T x 6", "PoolWindows 1 -> 2: T x 6"] + ["Walk 2 -> 3: T x 10"] * 2,
    ),
    "what another part reads is not pooled before": (
        lambda m: chain(
            m.conv(3, 6, 3), Pool("max", 2), Upsample(2), Join("add", (0, 2)), m.layer(6, 5)
        ),
        ["Convolve 0 -> 1: T x 6", "PoolWindows 1 -> 2: T x 6", "TakeSteps 2 -> 3: T x 6",
         "JoinValues 1, 3 -> 2: T x 6", "Walk 2 -> 4: 5"],
        ["Convolve 0 -> 1: T x 6", "PoolWindows 1 -> 2: T x 6", "TakeSteps 2 -> 3: T x 6",
         "JoinValues 1, 3 -> 2: T x 6", "Walk 2 -> 4: T x 5"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_operations(name):
    make, last, every = PROGRAMS[name]
    model = make(Maker(0, "float64"))
    assert written(program_of(model)) == last
    assert written(program_of(model, every=True)) == every


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_read_was_written_by_the_operation_before_and_nobody_since(
    name, every, monkeypatch
):
    """No buffer is given to another value as long as one is read there."""
    model = make_network(name, "float64")
    if name == "embedding, dense":  # which the engine looks up in one
        pytest.skip("the engine has no operation for a dense layer of ids")
    given = []  # the operations with a buffer for each value
    share = module._share_buffers
    monkeypatch.setattr(module, "_share_buffers", lambda of: given.append(of[0]) or share(of))
    program = program_of(model, every)
    (alone,) = given
    holds = {0: 0}
    for before, of in zip(alone, program.operations, strict=True):
        for value, own in zip(of.reads, before.reads, strict=True):
            assert holds[value.buffer] == own.buffer
        beside = isinstance(of, Walk) and of.stack.places == 2
        free = {k.buffer for k in of.reads} if of.in_place else set()
        assert of.writes.buffer not in {k.buffer for k in of.reads} - free
        assert beside or of.writes.buffer != 0
        holds[of.writes.buffer] = before.writes.buffer
    assert len(holds) <= (4 if model.network.usual else 6), "few buffers do for a chain"


def test_a_result_that_walks_write_has_a_buffer_of_its_own():
    """It goes to the caller's array: nothing else may be taken for it."""
    make = Maker(0, "float64")
    layers = [make.layer(3, 5), make.dense(5, 3), make.layer(3, 5), make.dense(5, 3)]
    model = LSTM([*layers, make.layer(3, 5)])
    for every in (False, True):
        *before, top = program_of(model, every).operations
        assert isinstance(top, Walk)
        assert top.writes.buffer not in {of.writes.buffer for of in before}


def test_one_step_is_walked_of_a_direction_that_begins_at_the_last():
    make = Maker(0, "float64")
    model = LSTM([make.both(3, 5)], read="last")
    assert [of.only_last for of in program_of(model).walks] == [False, True]
    assert [of.only_last for of in program_of(model, every=True).walks] == [False, False]
    assert program_of(LSTM([make.layer(3, 5, direction="reverse")], read="last")).whole is None


def test_a_part_without_a_rule_is_no_silent_nothing():
    @dataclasses.dataclass
    class Unknown:
        size: int = 3

    with pytest.raises(TypeError, match="no operation is known for a Unknown"):
        lower(Unknown(), None, None)


@pytest.mark.usefixtures("few_kernels")
def test_an_operation_without_code_is_no_silent_nothing():
    from fastlstm.engine.run.operations import execute

    class Unknown(Operation):
        pass

    with pytest.raises(TypeError, match="no code is known for a Unknown"):
        execute(Unknown((), None), None, None)


@pytest.mark.usefixtures("few_kernels")
def test_a_network_without_a_reading_gives_its_final_step():
    from fastlstm.network.network import Network

    make = Maker(0, "float64")
    layers = make.layer(3, 5), make.dense(5, 2)
    x = np.random.default_rng(0).normal(size=(4, 6, 3))
    bare, usual = LSTM.from_network(Network(layers)), LSTM(layers)
    assert (bare.predict(x) == usual.predict(x)).all()


def test_a_dense_layer_on_flattened_steps_is_not_computed_within_the_walk():
    m = Maker(1, "float64")
    parts = (m.layer(3, 5), Flatten(7), m.dense(35, 2))
    model = LSTM.from_network(Network(parts))
    program = make_program(model.network, make_chain(parts), False)
    assert written(program) == ["Walk 0 -> 1: T x 5", "Dense 1 -> 2: 2"]
    x = np.random.default_rng(1).normal(size=(4, 7, 3))
    np.testing.assert_allclose(model.predict(x), reference.predict(model.network, x), rtol=1e-12)


@pytest.mark.parametrize(
    ("pool", "fused"),
    [
        (Pool("max", 2), True),
        (Pool("mean", 3), True),
        (Pool("max", 2, 3, padding=(0, 0)), True),  # every third step is read by none
        (Pool("max", 3, 2), False),
        (Pool("max", 2, dilation=2), False),
        (Pool("max", 2, padding="same"), False),
        (Pool("max", 2, padding=(1, 0)), False),
        (Pool("max", 2, ceil=True), False),
    ],
)
def test_which_pools_are_part_of_a_convolution(pool, fused):
    make = Maker(0, "float64")
    program = program_of(chain(make.conv(3, 6, 3), make.affine(6), pool, make.layer(6, 5)))
    first = program.operations[0]
    assert len(first.then) == 1
    assert (first.pool is pool) == fused
    steps = int(pool.steps(np.array([30]))[0])
    assert program.row_size(32) == 6 * steps if fused else program.row_size(32) >= 6 * 30


@pytest.mark.usefixtures("few_kernels")
def test_a_warm_up_covers_what_is_done_over_steps(monkeypatch):
    """There may be two kernels for it, for few steps and for many."""
    from fastlstm.engine.run import engine

    asked = []
    monkeypatch.setattr(engine, "warm_kernels", lambda dtype, form: None)
    monkeypatch.setattr(engine, "prepare_steps", lambda *of: asked.append((of[0], *of[2:])))
    make_network("attention", "float64")._engine.warmup()
    assert {what for what, *_ in asked} == {"sum", "softmax"}
    assert {steps for _, steps, *_ in asked} == {1, engine.MANY_STEPS}
    assert all(weighted for what, *_, weighted in asked if what == "sum")
