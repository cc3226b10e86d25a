"""A network as a program: what a thread does with a group of rows, one operation after the other.

    buffer 0        the group's inputs, in place or copied out
    buffers 1, 2 …  what passes between operations, in the thread's own memory

For the outputs of a sequence, a two-layer bidirectional network with a dense head becomes

    walk forward,  0 -> 1       two directions side by side in one buffer, (rows, steps, 2H)
    walk backward, 0 -> 1
    walk forward,  1 -> 2       only what is read at the end, (rows, 2H)
    walk backward, 1 -> 2
    dense,         2 -> 1       buffer 1 is free by then

Operations are data: each says which values it reads and which it writes. `lower` has a rule for
every part of a network; `engine.run.operations` has the code of every operation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any, ClassVar, NamedTuple

from fastlstm.engine.plan.chain import Both, Link, Stack
from fastlstm.lazy import lazy
from fastlstm.network.activations import LINEAR
from fastlstm.network.dense import Dense
from fastlstm.network.joints import AddInputs
from fastlstm.network.masking import Masking
from fastlstm.network.reading import Read

__all__ = ["Add", "ApplyDense", "Merge", "Operation", "Pool", "Program", "Value", "Walk"]


class Value(NamedTuple):
    """What an operation reads or writes."""

    buffer: int
    size: int  # K
    every: bool  # a vector at every step, (rows, steps, K); or one for each row, (rows, K)


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
class ApplyDense(Operation):
    """A dense layer, at every step or on a vector."""

    dense: Dense


@dataclass(frozen=True, eq=False)
class Pool(Operation):
    """The ``max`` or ``mean`` over each row's steps."""

    how: str


@dataclass(frozen=True, eq=False)
class Add(Operation):
    """Add the first numbers of another value at every step, or of its last step to a vector."""

    in_place: ClassVar = True


@dataclass(frozen=True, eq=False)
class Program:
    """What a thread does with a group of rows."""

    operations: tuple[Operation, ...]

    @lazy
    def result(self) -> Value:
        """The value that the caller gets."""
        return self.operations[-1].writes

    @lazy
    def walks(self) -> tuple[Walk, ...]:
        """The walks among its operations."""
        return tuple(k for k in self.operations if isinstance(k, Walk))

    @lazy
    def whole(self) -> Walk | None:
        """The walk over all steps, if it is the only operation."""
        first = self.operations[0]
        if isinstance(first, Walk) and len(self.operations) == 1 and not first.only_last:
            return first
        return None

    @lazy
    def direct(self) -> bool:
        """Whether walks write the result: they can write it straight into the caller's array."""
        return isinstance(self.operations[-1], Walk)

    @lazy
    def widest(self) -> int:
        """The most numbers that an operation writes for a step; 0 if none of them writes steps."""
        return max((k.writes.size for k in self.operations if k.writes.every), default=0)


def make_program(chain: Sequence[Link], input_size: int, every: bool) -> Program:
    """Return the program for the outputs of every step, or for those of a sequence.

    Parameters
    ----------
    chain
        What `make_chain` returned.
    input_size
        How many numbers are read at a step; 1 for ids.
    every
        Whether the outputs of every step are wanted, without the network's `Read`.
    """
    build = _Builder(input_size)
    links = [k for k in chain if not (every and isinstance(k, Read))]
    links = links if every else _read_early(links)
    for link, behind in zip(links, [*links[1:], None], strict=True):
        read = behind.how if isinstance(behind, Read) else None
        lower(link, build, read)
    return Program(tuple(_share_buffers(_fuse(build.operations))))


def _read_early(links: Sequence[Link]) -> list[Link]:
    """Return the links with a single step read before dense layers rather than after them."""
    at = next((i for i, link in enumerate(links) if isinstance(link, Read)), None)
    if at is None:  # the network gives every step, but the caller wants only one
        at = len(links) - isinstance(links[-1], AddInputs)
        links = [*links[:at], Read(), *links[at:]]
    first, read = at, links[at]
    if isinstance(read, Read) and read.how in ("final", "last"):
        while first and isinstance(links[first - 1], Dense):
            first -= 1
    return [*links[:first], read, *links[first:at], *links[at + 1 :]]


class _Builder:
    """The operations so far, each of which writes to a buffer of its own."""

    def __init__(self, input_size: int) -> None:
        self.inputs = self.value = Value(0, input_size, True)  # the last value
        self.operations: list[Operation] = []
        self.buffers = 1

    def new(self, size: int, every: bool) -> Value:
        """Return a value that nothing has been written to yet."""
        self.buffers += 1
        return Value(self.buffers - 1, size, every)

    def add(self, operation: Operation) -> None:
        """Append an operation, whose value then is the current one."""
        self.operations.append(operation)
        self.value = operation.writes


@singledispatch
def lower(link: Any, build: _Builder, read: str | None) -> None:
    """Append the operations of a link.

    Parameters
    ----------
    link
        A part of the network, or layers of it that are walked together.
    build
        The operations so far, and the value that the link reads.
    read
        How a `Read` after the link reads its outputs: the link need not give any others.
    """
    raise TypeError(f"no operation is known for a {type(link).__name__}")


@lower.register(Stack)
def _(stack: Stack, build: _Builder, read: str | None) -> None:
    every = read not in ("final", "last")
    build.add(_walk(stack, build.value, build.new(stack.output_size, every), read))


@lower.register(Both)
def _(both: Both, build: _Builder, read: str | None) -> None:
    every, below = read not in ("final", "last"), build.value
    to = build.new(both.output_size, every)
    build.add(_walk(both.forward, below, to, read))
    if both.merge == "concat":  # side by side
        return build.add(_walk(both.backward, below, to, read))
    other = build.new(both.output_size, every)
    build.add(_walk(both.backward, below, other, read))
    return build.add(Merge((to, other), build.new(both.output_size, every), both.merge))


def _walk(stack: Stack, below: Value, to: Value, read: str | None) -> Walk:
    # in a direction that reads from the end, the last step is the first to be read
    return Walk((below,), to, stack, only_last=read == "last" and stack.out_reversed)


@lower.register(Dense)
def _(dense: Dense, build: _Builder, read: str | None) -> None:
    to = build.new(dense.output_size, build.value.every)
    build.add(ApplyDense((build.value,), to, dense))


@lower.register(Read)
def _(reading: Read, build: _Builder, read: str | None) -> None:
    if build.value.every:  # else it came so from a walk
        build.add(Pool((build.value,), build.new(build.value.size, False), reading.how))


@lower.register(AddInputs)
def _(joint: AddInputs, build: _Builder, read: str | None) -> None:
    to = build.new(joint.size, build.value.every)
    build.add(Add((build.value, build.inputs), to))


@lower.register(Masking)
def _(masking: Masking, build: _Builder, read: str | None) -> None:
    """Nothing to do: masked steps were left out before the engine got its inputs."""


def _fuse(operations: list[Operation]) -> list[Operation]:
    """Return a walk and a linear layer as one walk, if there is nothing else to do.

    Elsewhere they are not fused: whether that is faster has not been measured.
    """
    match operations:
        case [Walk(only_last=False) as walk, ApplyDense() as head]:
            if head.dense.activation == LINEAR:
                return [replace(walk, writes=head.writes, head=head.dense)]
    return operations


def _share_buffers(operations: list[Operation]) -> Iterator[Operation]:
    """Yield the operations with as few buffers as possible: one is free after it was last read.

    That keeps a group small enough for the cache.
    """
    last_read = {k.buffer: i for i, of in enumerate(operations) for k in of.reads}
    places: dict[int, int] = {0: 0}  # of values, and their buffers
    free: list[int] = []
    top = operations[-1]
    alone = top.writes.buffer if isinstance(top, Walk) else 0  # written where the caller wants it
    for i, of in enumerate(operations):
        reads = tuple(k._replace(buffer=places[k.buffer]) for k in of.reads)
        ended = [places[k.buffer] for k in of.reads if k.buffer and last_read[k.buffer] == i]
        if of.in_place:
            free[:0], ended = ended, []
        if of.writes.buffer not in places:
            new = not free or of.writes.buffer == alone
            places[of.writes.buffer] = len(set(places.values())) if new else free.pop(0)
        free += ended
        yield replace(of, reads=reads, writes=of.writes._replace(buffer=places[of.writes.buffer]))
