"""A network as a program: what a thread does with a group of rows, one operation after the other.

    buffer 0        the group's inputs, in place or copied out
    buffers 1, 2 …  what passes between operations, in the thread's own memory

For the outputs of a sequence, a two-layer bidirectional network with a dense head becomes

    walk forward,  0 -> 1       two directions side by side in one buffer, (rows, steps, 2H)
    walk backward, 0 -> 1
    walk forward,  1 -> 2       only what is read at the end, (rows, 2H)
    walk backward, 1 -> 2
    apply dense,   2 -> 1       buffer 1 is free by then

Sequences of different steps have different *axes*: axis 0 has the steps of the inputs, and a
convolution, for example, gives its outputs an axis of their own.

Operations are data: each says which values it reads and which it writes. `lower` has a rule for
every part of a network; `engine.run.operations` has the code of every operation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, singledispatch
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.engine.plan.chain import Both, Link, Stack
from fastlstm.lazy import lazy
from fastlstm.network.activations import LINEAR
from fastlstm.network.convolution import Conv
from fastlstm.network.dense import Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.joints import AddInputs, From, Join
from fastlstm.network.masking import Masking
from fastlstm.network.network import Network, Pointwise
from fastlstm.network.normalisation import Affine, LayerNorm
from fastlstm.network.pointwise import Activate, PReLU, StepSoftmax
from fastlstm.network.pooling import Pool
from fastlstm.network.reading import Read
from fastlstm.network.steps import Flatten, Pad, Repeat, Slice, Unflatten, Upsample
from fastlstm.network.values import referenced
from fastlstm.network.windows import Window

__all__ = [
    "Add",
    "Apply",
    "Axis",
    "Convolve",
    "JoinValues",
    "LookUp",
    "Merge",
    "Operation",
    "PoolWindows",
    "Program",
    "ReduceSteps",
    "SoftmaxOfSteps",
    "Spread",
    "TakeLast",
    "TakeState",
    "TakeSteps",
    "Value",
    "Walk",
]

Integers = npt.NDArray[np.int64]


class Axis(NamedTuple):
    """The steps of some values, given by those of another axis, or by nothing but themselves."""

    below: int | None
    steps: Callable[[Integers], Integers]  # of the sequences with these steps below


class Value(NamedTuple):
    """What an operation reads or writes."""

    buffer: int
    size: int  # K
    axis: int | None  # a vector at every step, (rows, steps, K); None: one a row, (rows, K)
    repeated: bool = False  # the vector of all steps is there once, (rows, K)

    @property
    def every(self) -> bool:
        """Whether there is a vector at every step."""
        return self.axis is not None


@dataclass(frozen=True, eq=False)
class Operation:
    """One thing that is done with a group of rows."""

    reads: tuple[Value, ...]
    writes: Value

    in_place: ClassVar = False  # whether it may write where it reads, number for number


@dataclass(frozen=True, eq=False)
class Walk(Operation):
    """Walk a stack over all steps, and write the outputs of each or those of the last one."""

    stack: Stack
    head: Dense | None = None  # on its outputs, within the kernel
    only_last: bool = False  # walk only the last step of each row


@dataclass(frozen=True, eq=False)
class Merge(Operation):
    """Merge the outputs of two directions: ``sum``, ``mul`` or ``ave``."""

    how: str
    in_place: ClassVar = True


@dataclass(frozen=True, eq=False)
class Apply(Operation):
    """A part that computes with the numbers of a vector, at every step or once."""

    part: Pointwise

    @property
    def in_place(self) -> bool:  # type: ignore[override]
        """Whether it may write where it reads: a dense layer may not."""
        return not isinstance(self.part, Dense)


@dataclass(frozen=True, eq=False)
class Convolve(Operation):
    """A convolution without padding, and what is done with its outputs while they are in the cache.

    Only outputs that `pool` reads are computed; its windows have no padding and do not overlap.
    """

    conv: Conv
    then: tuple[Pointwise, ...] = ()  # parts that write where they read
    pool: Pool | None = None


@dataclass(frozen=True, eq=False)
class PoolWindows(Operation):
    """The ``max`` or ``mean`` of windows of steps, with their padding around them.

    The steps of a mean's windows are counted in sequences of the steps of `axis`.
    """

    pool: Pool
    axis: int


@dataclass(frozen=True, eq=False)
class TakeSteps(Operation):
    """Give each step another place: padding, slices, steps that are repeated."""

    part: Pad | Slice | Upsample | Window
    fill: float = 0.0  # of steps that come from nowhere


@dataclass(frozen=True, eq=False)
class Spread(Operation):
    """Write a vector at every step."""


@dataclass(frozen=True, eq=False)
class LookUp(Operation):
    """The vectors of ids."""

    embedding: Embedding


@dataclass(frozen=True, eq=False)
class ReduceSteps(Operation):
    """The ``max``, ``mean`` or ``sum`` over each row's steps, perhaps each by its own weight.

    The second value that is read is the weights, one number a step.
    """

    how: str


@dataclass(frozen=True, eq=False)
class SoftmaxOfSteps(Operation):
    """Softmax over each row's steps, for every number apart."""

    in_place: ClassVar = True


@dataclass(frozen=True, eq=False)
class TakeLast(Operation):
    """The last real step of each row, or the second value for a row without steps."""


@dataclass(frozen=True, eq=False)
class TakeState(Operation):
    """The hidden states of stacks after their last steps, side by side."""

    stacks: tuple[Stack, ...]


@dataclass(frozen=True, eq=False)
class JoinValues(Operation):
    """Join values: ``add``, ``multiply``, ``concatenate`` or ``dot``."""

    how: str


@dataclass(frozen=True, eq=False)
class Add(Operation):
    """Add the first numbers of another value at every step, or of its last step to a vector."""

    in_place: ClassVar = True


@dataclass(frozen=True, eq=False)
class Program:
    """What a thread does with a group of rows."""

    operations: tuple[Operation, ...]
    result: Value  # what the caller gets
    axes: tuple[Axis, ...]

    @lazy
    def walks(self) -> tuple[Walk, ...]:
        """The walks among its operations."""
        return tuple(k for k in self.operations if isinstance(k, Walk))

    @lazy
    def whole(self) -> Walk | None:
        """The walk over all steps of the inputs, if it is the only operation."""
        first = self.operations[0]
        if not isinstance(first, Walk) or len(self.operations) > 1 or first.only_last:
            return None
        return first if first.reads[0].axis == 0 and self.direct else None

    @lazy
    def direct(self) -> bool:
        """Whether walks write the result: they can write it straight into the caller's array."""
        return isinstance(self.operations[-1], Walk) and self.operations[-1].writes == self.result

    @lazy
    def reads_state(self) -> bool:
        """Whether an operation reads the state after the last step."""
        return any(isinstance(k, TakeState) for k in self.operations)

    def steps(self, lengths: Integers) -> list[Integers]:
        """Return the steps of every axis for sequences of these lengths."""
        return (
            self._equal_steps(int(lengths[0])) if len(lengths) == 1 else _steps(self.axes, lengths)
        )

    @lazy
    def _equal_steps(self) -> Callable[[int], list[Integers]]:
        """The same for one length, kept: every group of rows asks for it."""
        axes = self.axes  # not the program, whose weights would then be freed late
        return lru_cache(maxsize=256)(lambda length: _steps(axes, np.array([length], np.int64)))

    def row_size(self, steps: int) -> int:
        """Return the most numbers that an operation writes for every step of a row."""
        of_axes = self.steps(np.array([steps], np.int64))
        return max(
            (
                k.writes.size * max(int(of_axes[k.writes.axis][0]), 1)
                for k in self.operations
                if k.writes.axis is not None
            ),
            default=0,
        )


def _steps(axes: Sequence[Axis], lengths: Integers) -> list[Integers]:
    found = [lengths]
    for axis in axes[1:]:
        found.append(axis.steps(lengths if axis.below is None else found[axis.below]))
    return found


def make_program(network: Network, chain: Sequence[Link], every: bool) -> Program:
    """Return the program for the outputs of every step, or for those of a sequence.

    Parameters
    ----------
    network
        The network.
    chain
        What `make_chain` returned for its parts.
    every
        Whether the outputs of every step are wanted, without the network's last `Read`.
    """
    build = _Builder(network)
    links = list(chain)
    if every:
        links = [k for k in links if k.number != network.read_at]
    elif network.shapes[-1].every:  # it gives every step, but one vector is wanted
        at = len(links) - isinstance(links[-1].of, AddInputs)
        links.insert(at, Link(Read(), None))
    links = _read_early(links, build.asked_for)
    ending = max((i for i, k in enumerate(links) if isinstance(k.of, Read)), default=0)
    for i, (link, behind) in enumerate(zip(links, [*links[1:], None], strict=True)):
        alone = link.number not in build.asked_for
        read = behind.of.how if alone and behind and isinstance(behind.of, Read) else None
        if read == "last" and not (network.read == "last" and i + 1 == ending):
            # walked over one step, a reverse direction would have no final state, which calls give
            read = None if getattr(link.of, "out_reversed", isinstance(link.of, Both)) else read
        lower(link.of, build, read)
        build.given[link.number] = build.value, link.of
    result = build.written_out(build.value)
    operations, result = _share_buffers(_fused(build.operations, result))
    return Program(operations, result, tuple(build.axes))


def _read_early(links: Sequence[Link], asked_for: set[int | None]) -> list[Link]:
    """Return the links with single steps read before pointwise parts rather than after them."""
    found: list[Link] = []
    for link in links:
        found.append(link)
        if not (isinstance(link.of, Read) and link.of.how in ("final", "last")):
            continue
        at = len(found) - 1
        while (
            at > 1
            and isinstance(found[at - 1].of, Pointwise)
            and not asked_for & {found[at - 1].number, found[at - 2].number}
        ):
            at -= 1
        if at < len(found) - 1:  # the last of them gives what the read gave
            behind = [k._replace(number=None) for k in found[at:-2]]
            last = found[-2]._replace(number=link.number)
            found[at:] = [link._replace(number=None), *behind, last]
    return found


class _Builder:
    """The operations so far, each of which writes to a buffer of its own."""

    def __init__(self, network: Network) -> None:
        self.inputs = self.value = Value(0, network.input_size, 0)  # the last value
        self.asked_for: set[int | None] = {*referenced(network.parts)}
        self.given: dict[int | None, tuple[Value, Any]] = {-1: (self.inputs, None)}
        self.operations: list[Operation] = []
        self.axes = [Axis(None, lambda lengths: lengths)]
        self.buffers = 1

    def new(self, size: int, axis: int | None) -> Value:
        """Return a value that nothing has been written to yet."""
        self.buffers += 1
        return Value(self.buffers - 1, size, axis)

    def new_axis(self, below: int | None, steps: Callable[[Integers], Integers]) -> int:
        """Return the number of another axis."""
        self.axes.append(Axis(below, steps))
        return len(self.axes) - 1

    def add(self, operation: Operation) -> None:
        """Append an operation, whose value then is the current one."""
        self.operations.append(operation)
        self.value = operation.writes

    def written_out(self, value: Value) -> Value:
        """Return the value with its vectors at every step."""
        if not value.repeated:
            return value
        self.add(Spread((value,), self.new(value.size, value.axis)))
        return self.value

    @property
    def below(self) -> Value:
        """The current value, with its vectors at every step."""
        return self.written_out(self.value)


@singledispatch
def lower(of: Any, build: _Builder, read: str | None) -> None:
    """Append the operations of a part, or of layers that are walked together.

    Parameters
    ----------
    of
        The part of the network, or layers of it.
    build
        The operations so far, and the value that the part reads.
    read
        How a `Read` after it reads its outputs: it need not give any others.
    """
    raise TypeError(f"no operation is known for a {type(of).__name__}")


@lower.register(Stack)
def _(stack: Stack, build: _Builder, read: str | None) -> None:
    axis = None if read in ("final", "last") else build.value.axis
    build.add(_walk(stack, build.value, build.new(stack.output_size, axis), read))


@lower.register(Both)
def _(both: Both, build: _Builder, read: str | None) -> None:
    axis, below = None if read in ("final", "last") else build.value.axis, build.value
    to = build.new(both.output_size, axis)
    build.add(_walk(both.forward, below, to, read))
    if both.merge == "concat":  # side by side
        return build.add(_walk(both.backward, below, to, read))
    other = build.new(both.output_size, axis)
    build.add(_walk(both.backward, below, other, read))
    return build.add(Merge((to, other), build.new(both.output_size, axis), both.merge))


def _walk(stack: Stack, below: Value, to: Value, read: str | None) -> Walk:
    assert below.repeated == stack.repeated
    # in a direction that reads from the end, the last step is the first to be read
    return Walk((below,), to, stack, only_last=read == "last" and stack.out_reversed)


@lower.register(Dense)
@lower.register(Affine)
@lower.register(LayerNorm)
@lower.register(Activate)
@lower.register(PReLU)
def _(part: Pointwise, build: _Builder, read: str | None) -> None:
    below, activation = build.value, getattr(part, "activation", None)
    if activation == LINEAR and isinstance(part, Activate):
        return
    to = build.new(getattr(part, "output_size", below.size), below.axis)
    build.add(Apply((below,), to._replace(repeated=below.repeated), part))


@lower.register(Embedding)
def _(embedding: Embedding, build: _Builder, read: str | None) -> None:
    below = build.value
    build.add(LookUp((below,), build.new(embedding.output_size, below.axis), embedding))


@lower.register(Conv)
def _(conv: Conv, build: _Builder, read: str | None) -> None:
    below = build.below
    steps = build.new_axis(below.axis, conv.steps)
    _pad(conv.window, 0.0, build)
    build.add(Convolve((build.value,), build.new(conv.output_size, steps), conv))


@lower.register(Pool)
def _(pool: Pool, build: _Builder, read: str | None) -> None:
    below = build.below
    assert below.axis is not None
    steps = build.new_axis(below.axis, pool.steps)
    _pad(pool.window, -np.inf if pool.how == "max" else 0.0, build)
    build.add(PoolWindows((build.value,), build.new(below.size, steps), pool, below.axis))


def _pad(window: Window, fill: float, build: _Builder) -> None:
    if window.pads:
        below = build.value
        axis = build.new_axis(below.axis, lambda steps: steps + sum(window.padded(steps)))
        build.add(TakeSteps((below,), build.new(below.size, axis), window, fill))


@lower.register(Pad)
@lower.register(Slice)
@lower.register(Upsample)
def _(part: Pad | Slice | Upsample, build: _Builder, read: str | None) -> None:
    below = build.below
    axis = build.new_axis(below.axis, part.steps)
    build.add(TakeSteps((below,), build.new(below.size, axis), part))


@lower.register(Flatten)
def _(part: Flatten, build: _Builder, read: str | None) -> None:
    """Nothing to do: the steps follow each other already."""
    below = build.below
    build.value = Value(below.buffer, below.size * part.n_steps, None)


@lower.register(Unflatten)
def _(part: Unflatten, build: _Builder, read: str | None) -> None:
    """Nothing to do either."""
    below = build.value
    axis = build.new_axis(None, part.steps)
    build.value = Value(below.buffer, below.size // part.n_steps, axis)


@lower.register(Repeat)
def _(part: Repeat, build: _Builder, read: str | None) -> None:
    """Nothing to do yet: a walk reads the vector itself, others have it written out."""
    axis = build.new_axis(None, part.steps)
    build.value = build.value._replace(axis=axis, repeated=True)


@lower.register(StepSoftmax)
def _(part: StepSoftmax, build: _Builder, read: str | None) -> None:
    below = build.below
    build.add(SoftmaxOfSteps((below,), build.new(below.size, below.axis)))


@lower.register(Read)
def _(reading: Read, build: _Builder, read: str | None) -> None:
    if not build.value.every:  # it came so from a walk
        return
    number = next((k for k, (value, _) in build.given.items() if value == build.value), None)
    below = build.below
    if reading.how not in ("final", "last"):
        return build.add(ReduceSteps((below,), build.new(below.size, None), reading.how))
    final = _final(number, build)
    if reading.how == "final" and final is not None:
        return None
    values = (below,) if final is None else (below, final)
    return build.add(TakeLast(values, build.new(below.size, None)))


def _final(number: int | None, build: _Builder) -> Value | None:
    """Return a value at the steps where its directions end; None if it has no directions."""
    _, of = build.given.get(number, (None, None))
    if isinstance(of, Stack | Both):
        return _final_state(of, build)
    if isinstance(of, From):
        return _final(of.value, build)
    if not isinstance(of, Pointwise) or number is None or _final(number - 1, build) is None:
        return None
    lower(of, build, None)
    return build.value


def _final_state(of: Stack | Both, build: _Builder) -> Value:
    """Return the hidden states after the last step of each direction, as its outputs are."""
    stacks = (of,) if isinstance(of, Stack) else (of.forward, of.backward)
    if isinstance(of, Both) and of.merge != "concat":
        values = []
        for stack in stacks:
            build.add(TakeState((), build.new(stack.output_size, None), (stack,)))
            values.append(build.value)
        build.add(Merge(tuple(values), build.new(of.output_size, None), of.merge))
    else:
        build.add(TakeState((), build.new(of.output_size, None), stacks))
    return build.value


@lower.register(From)
def _(joint: From, build: _Builder, read: str | None) -> None:
    build.value, _ = build.given[joint.value]


@lower.register(Join)
def _(join: Join, build: _Builder, read: str | None) -> None:
    values = tuple(build.written_out(build.given[k][0]) for k in join.values)
    axis = next((k.axis for k in values if k.axis is not None), None)
    sizes = [k.size for k in values]
    size = {"concatenate": sum(sizes), "dot": 1}.get(join.how, max(sizes))
    build.add(JoinValues(values, build.new(size, axis), join.how))


@lower.register(AddInputs)
def _(joint: AddInputs, build: _Builder, read: str | None) -> None:
    to = build.new(joint.size, build.value.axis)
    build.add(Add((build.value, build.inputs), to))


@lower.register(Masking)
def _(masking: Masking, build: _Builder, read: str | None) -> None:
    """Nothing to do: masked steps were left out before the engine got its inputs."""


def _fused(operations: list[Operation], result: Value) -> tuple[list[Operation], Value]:
    """Return operations, of which some have become one with the next, and the result.

    A walk and a linear layer are not fused if there is more to do: whether that is faster has not
    been measured.
    """
    match operations:
        case [Walk(only_last=False) as walk, Apply(part=Dense() as head) as apply]:
            if head.activation == LINEAR and apply.reads == (walk.writes,):
                return [replace(walk, writes=operations[1].writes, head=head)], result
    found: list[Operation] = []
    readers = [k.buffer for of in operations for k in of.reads] + [result.buffer]
    for of in operations:
        match found[-1:], of:
            case [JoinValues(how="multiply", reads=(values, weights)) as join], ReduceSteps(
                how="sum"
            ) if of.reads == (join.writes,) and readers.count(join.writes.buffer) == 1:
                if values.size < weights.size:
                    values, weights = weights, values
                if weights.size == 1 and weights.axis is not None and values.axis is not None:
                    found[-1] = replace(of, reads=(values, weights))
                    continue
            case [Convolve(pool=None) as convolve], _ if (
                of.reads == (convolve.writes,) and readers.count(convolve.writes.buffer) == 1
            ):
                match of:
                    case Apply(in_place=True):
                        then = (*convolve.then, of.part)
                        found[-1] = replace(convolve, writes=of.writes, then=then)
                        continue
                    case PoolWindows() if _apart(of.pool.window):
                        found[-1] = replace(convolve, writes=of.writes, pool=of.pool)
                        continue
        found.append(of)
    return found, result


def _apart(window: Window) -> bool:
    """Whether windows read nothing but real steps, side by side, and none of them twice."""
    return not window.pads and window.dilation == 1 and window.stride >= window.size


def _share_buffers(fused: tuple[list[Operation], Value]) -> tuple[tuple[Operation, ...], Value]:
    """Return operations with as few buffers as possible: one is free after it was last read.

    That keeps a group small enough for the cache.
    """
    operations, result = fused
    last_read = {k.buffer: i for i, of in enumerate(operations) for k in of.reads}
    last_read[result.buffer] = len(operations)
    places: dict[int, int] = {0: 0}  # of values, and their buffers
    free: list[int] = []
    found: list[Operation] = []
    top = operations[-1]
    alone = top.writes.buffer if isinstance(top, Walk) else 0  # written where the caller wants it
    for i, of in enumerate(operations):
        reads = tuple(k._replace(buffer=places[k.buffer]) for k in of.reads)
        read = dict.fromkeys(k.buffer for k in of.reads)
        ended = [places[k] for k in read if k and last_read[k] == i]
        if of.in_place:
            free[:0], ended = ended, []
        if of.writes.buffer not in places:
            new = not free or of.writes.buffer == alone
            places[of.writes.buffer] = len(set(places.values())) if new else free.pop(0)
        free += ended
        found.append(
            replace(of, reads=reads, writes=of.writes._replace(buffer=places[of.writes.buffer]))
        )
    return tuple(found), result._replace(buffer=places[result.buffer])
