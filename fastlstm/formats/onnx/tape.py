"""Where each number of an ONNX graph comes from: every number is replaced by its place in a value.

A graph is followed with a batch of a few sequences of a few steps. What it computes is a tape of
*values*: the graph's input, and what each part of a network makes of the values before. A tensor
that depends on the input holds places: which sequence, which step, which number of which value.
Nodes that move numbers (Transpose, Reshape, Slice, Concat ...) move the places, with the
corresponding functions of NumPy. A part then finds in the places which steps it reads, and in which
order; a permutation that mixes up axes cannot be mistaken for another one.

A value is computed for all sequences and all steps, even if a tensor holds only some of its
numbers. The same part of the same values is the same value, so that a dense layer that a graph
applies to each step by itself is one dense layer at every step.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.budget import charge, lent
from fastlstm.network.joints import Join
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.normalisation import LayerNorm
from fastlstm.network.pointwise import Activate, PReLU
from fastlstm.network.reading import Read
from fastlstm.network.steps import Repeat, Unflatten
from fastlstm.network.windows import Window, as_padding

__all__ = [
    "AT_EVERY_STEP",
    "AtEveryStep",
    "Choice",
    "Ids",
    "Located",
    "PartsBuilt",
    "Product",
    "Scale",
    "Tape",
    "TooShort",
    "Value",
    "varies",
]

Array = npt.NDArray[Any]
P = TypeVar("P")

MAX_IDS = (1 << 31) - 1
FEW_STEPS = 3  # that a value must have in an example, so that the first is not the last


class TooShort(UnsupportedModelError):
    """The graph may be computed, but not seen from an example of so few steps."""


# What is on the tape besides parts of networks


@dataclass(eq=False)
class Product:
    """A product with weights; what follows may become its bias and its activation.

    `windows` are the stride, dilation, groups and padding of a convolution.
    """

    weight: Array  # (O, K), or (O, taps, K / groups)
    windows: tuple[Any, ...] | None = None


@dataclass(eq=False)
class Scale:
    """``(x - center) * scale + shift``, of those that are not None."""

    center: Array | None = None  # (K,)
    scale: Array | None = None
    shift: Array | None = None


@dataclass(eq=False)
class Choice:
    """Parts that are the same for an example of sizes; the right ones are so for all of them."""

    alternatives: tuple[tuple[Any, ...], ...]


class AtEveryStep:
    """What puts a vector at every step of another value (see `Flow.repeated`)."""


AT_EVERY_STEP = AtEveryStep()

POINTWISE = Product | Scale | Activate | PReLU | LayerNorm

# Which rows (N, H) of which inputs h and c are at the start; None for zeros or learned ones.
Start = tuple[tuple[str, int] | None, tuple[str, int] | None]


@dataclass(eq=False)
class Value:
    """K numbers of each sequence at each of T steps, or (``every`` is False, T is 1) of each.

    The place of number k of sequence n at step t is ``(n * T + t) * K + k``.
    """

    first: int  # the ids of its places begin here, among those of all values
    N: int
    T: int
    K: int
    every: bool = True
    dtype: Any = np.float32
    parents: tuple[Value, ...] = ()
    part: Any = None  # None: an input of the graph
    origin: str | None = None  # the name of that input, if it is not the data
    recurrent: bool = False  # whether there is an LSTM between the input and this value
    lengths: str | None = None  # the graph's input of them
    flaw: str | None = None  # why it is in no network, as in "the output is ..."
    states: dict[str, Ids] = field(default_factory=dict)  # h and c (D, N, H) at the end
    starts: tuple[Start, ...] = ()  # of each direction, if they are inputs of the graph

    @property
    def size(self) -> int:
        """How many places it has."""
        return self.N * self.T * self.K

    @property
    def pointwise(self) -> bool:
        """Whether it is made of each step of the one value before."""
        windows = isinstance(self.part, Product) and self.part.windows is not None
        return isinstance(self.part, POINTWISE) and not windows

    @property
    def elementwise(self) -> bool:
        """Whether each number is made of the same number of the one value before."""
        if isinstance(self.part, Activate):
            return not isinstance(self.part.activation, str)
        return isinstance(self.part, Scale | PReLU)


@dataclass(frozen=True)
class Ids:
    """A tensor that depends on the input: where each of its numbers comes from."""

    array: Array  # places in a value; or, without one, ids among those of all values
    value: Any  # the `Value`; None if the numbers are of several

    def moved(self, array: Array) -> Ids:
        """Some of its numbers, in another arrangement."""
        return Ids(np.asarray(array), self.value)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor."""
        return self.array.shape

    @property
    def ids(self) -> Array:
        """Ids that are different for the same places of different values."""
        first = 0 if self.value is None else self.value.first
        charge(elements=self.array.size)
        return np.asarray(self.array + np.int64(first))


class Located(NamedTuple):
    """The value of a tensor, and of each number the sequence, the step and the number of it.

    The three can be broadcast to the shape of the tensor.
    """

    value: Value
    n: Array
    t: Array
    k: Array


class PartsBuilt:
    """The parts of a network that have been built, by what they were built from.

    A graph is followed several times. Its parts are built the first time, and found again later as
    long as the numbers that they are built from are the same.
    """

    def __init__(self) -> None:
        self._built: dict[Hashable, list[tuple[Sequence[Array | None], Any]]] = {}

    def get(self, key: Hashable, arrays: Sequence[Array | None], build: Callable[[], P]) -> P:
        """The part of these options and numbers."""
        alike = self._built.setdefault(key, [])
        for before, part in alike:
            if len(before) == len(arrays) and all(map(_same, before, arrays)):
                found: P = part
                return found
        part = build()
        alike.append((arrays, part))
        return part


def _same(a: Array | None, b: Array | None) -> bool:
    if a is None or b is None or a is b:
        return a is b
    return a.dtype == b.dtype and np.array_equal(a, b)


def varies(places: Array, *axes: int) -> bool:
    """Whether one of the arrays of `Located` changes along some axes."""
    for axis in axes:
        if places.shape[axis] > 1 and bool((places != places.take([0], axis)).any()):
            return True
    return False


class Tape:
    """The tape: the values that flow through a graph.

    Parameters
    ----------
    dtype
        Of the input.
    parts : PartsBuilt, optional
        Parts that were built before.
    exact : bool
        Whether the number of steps is the model's own, not an example.
    """

    def __init__(
        self,
        dtype: npt.DTypeLike = np.float32,
        parts: PartsBuilt | None = None,
        exact: bool = True,
    ) -> None:
        self.dtype = np.dtype(dtype)
        self.exact = exact
        self.integers = False  # whether the input holds integers
        self.parts = PartsBuilt() if parts is None else parts
        self.values: list[Value] = []
        self.firsts: list[int] = []  # the first id of each
        self.largest = 0  # places of one value
        self.regrouped = False  # whether steps became other steps on the way
        self._made: dict[tuple[Any, ...], Value] = {}
        self._bases: dict[int, Array] = {}  # 0, 1, 2 ...: tensors are views of them, if they can

    def add(self, N: int, T: int, K: int, **about: Any) -> Value:
        """A new value."""
        first = self.values[-1].first + self.values[-1].size if self.values else 0
        if first + N * T * K > MAX_IDS:
            raise UnsupportedModelError(f"its tensors hold more than {MAX_IDS} numbers in all")
        charge(memory=400, steps=10)
        value = Value(first, N, T, K, **{"dtype": self.dtype, **about})
        self.values.append(value)
        self.firsts.append(first)
        self.largest = max(self.largest, value.size)
        return value

    @property
    def sizes(self) -> str:
        """The sizes with which the graph is followed, for errors."""
        return f"a batch of {self.values[0].N}, {self.values[0].T} steps"

    # --- places ------------------------------------------------------------------------------

    def _base(self, size: int) -> Array:
        for there, base in self._bases.items():
            if there >= size:
                return base
        there = max(1 << 14, 1 << (size - 1).bit_length())
        charge(memory=4 * there, elements=there)
        self._bases[there] = np.arange(there, dtype=np.int32)
        return self._bases[there]

    def whole(self, value: Value) -> Ids:
        """All of a value (N, T, K)."""
        base = self._base(value.size)
        return Ids(base[: value.size].reshape(value.N, value.T, value.K), value)

    def located(self, x: Ids) -> Located:
        """Where the numbers of a tensor come from.

        Raises
        ------
        UnsupportedModelError
            If there are none.
        """
        value, places = x.value, x.array
        assert value is not None, "only `Flow` joins values"
        if not places.size:
            raise TooShort("reads no numbers at all")
        charge(steps=10)
        found = self._by_strides(value, places)
        if found is not None:
            return found
        charge(elements=2 * places.size)
        with lent(4 * places.nbytes):
            n, k = np.divmod(places, value.K)
            n, t = np.divmod(n, value.T)
        return Located(value, n, t, k)

    def _by_strides(self, value: Value, places: Array) -> Located | None:
        """The same without looking at the numbers, for a view of a base."""
        address = places.__array_interface__["data"][0]
        for base in self._bases.values():
            start = (address - base.__array_interface__["data"][0]) // 4
            if 0 <= start < base.size:
                break
        else:
            return None
        T, K = value.T, value.K
        begin = (start // K // T, start // K % T, start % K)
        found = [np.full((1,) * places.ndim, k) for k in begin]
        low, high = list(begin), list(begin)
        size: int
        for axis, (size, stride) in enumerate(zip(places.shape, places.strides, strict=True)):
            step = stride // 4
            if size == 1 or step == 0:
                continue
            if step % (T * K) == 0:
                which, step = 0, step // (T * K)
            elif step % K == 0:
                which, step = 1, step // K
            else:
                which = 2
            shape = [1] * places.ndim
            shape[axis] = size
            charge(elements=size)
            found[which] = found[which] + (np.arange(size) * step).reshape(shape)
            low[which] += min(0, step * (size - 1))
            high[which] += max(0, step * (size - 1))
        limits = (value.N, T, K)
        if min(low) < 0 or any(h >= limit for h, limit in zip(high, limits, strict=True)):
            return None
        return Located(value, *found)

    def placed(self, value: Value, n: Any, t: Any, k: Any) -> Ids:
        """The tensor of these sequences, steps and numbers of a value."""
        n, t, k = (np.asarray(a) for a in (n, t, k))
        shape = np.broadcast_shapes(n.shape, t.shape, k.shape)
        start, strides = 0, [0] * len(shape)
        for places, weight in ((n, value.T * value.K), (t, value.K), (k, 1)):
            line = self._as_line(places, len(shape))
            if line is None:
                size = int(np.prod(shape, dtype=object))
                with lent(24 * size):
                    charge(4 * size, elements=3 * size)
                    found = (n * value.T + t) * value.K + k
                return Ids(np.asarray(found, np.int32), value)
            start += line[0] * weight
            strides = [a + b * weight for a, b in zip(strides, line[1], strict=True)]
        base = self._base(value.size)
        view = np.ndarray(shape, base.dtype, base, 4 * start, tuple(4 * k for k in strides))
        return Ids(view, value)

    @staticmethod
    def _as_line(places: Array, ndim: int) -> tuple[int, list[int]] | None:
        """Where places begin, and how far they go along each axis, if that is the same anywhere."""
        if places.size > 1 << 12 and places.ndim > 1 and sum(k > 1 for k in places.shape) > 1:
            return None
        charge(elements=places.size)
        places = places.reshape((1,) * (ndim - places.ndim) + places.shape)
        start, strides = int(places.flat[0]), [0] * ndim
        line = np.full((1,) * ndim, start)
        size: int
        for axis, size in enumerate(places.shape):
            if size > 1:
                at = [0] * ndim
                at[axis] = 1
                strides[axis] = int(places[tuple(at)]) - start
                shape = [1] * ndim
                shape[axis] = size
                line = line + (np.arange(size) * strides[axis]).reshape(shape)
        return (start, strides) if np.array_equal(line, places) else None

    # --- values made of others ---------------------------------------------------------------

    def derive(
        self, parents: Sequence[Value], part: Any, T: int, K: int, every: bool, **about: Any
    ) -> Value:
        """What a part makes of values; the same value if it has been made before.

        Raises
        ------
        TooShort
            If it has fewer steps than can be told apart.
        UnsupportedModelError
            If a parent is in no network, or has lengths that would change.
        """
        key = (*parents, part)
        charge(steps=8)
        if key in self._made:
            return self._made[key]
        for parent in parents:
            if parent.flaw is not None and about.get("flaw") is None:
                raise UnsupportedModelError(f"computes with {parent.flaw}")
            if parent.origin is not None:
                raise UnsupportedModelError(f"computes with the {parent.origin}")
        changed = T != parents[0].T and not isinstance(part, Repeat | Unflatten)
        if every and changed and (1 if self.exact else FEW_STEPS) > T:
            raise TooShort(f"it does not run for {self.sizes}: {T} steps are left")
        lengths = {k.lengths for k in parents} - {None}
        if lengths and not isinstance(part, POINTWISE | Layer | Bidirectional):
            final = isinstance(part, Read) and part.how in ("final", "cells")
            if not final and not isinstance(part, Join):
                name = "a step of Y" if isinstance(part, Choice) else f"{type(part).__name__} of Y"
                name = f"a {part.how} over all steps" if isinstance(part, Read) else name
                raise UnsupportedModelError(
                    f"{name}, with sequence_lens: Y is zero for the steps past a sequence's end"
                )
        kept = {
            "parents": tuple(parents),
            "part": part,
            "every": every,
            "dtype": getattr(getattr(part, "weight", part), "dtype", parents[0].dtype),
            "recurrent": any(k.recurrent for k in parents)
            or isinstance(part, Layer | Bidirectional),
            "lengths": next(iter(lengths), None),
        }
        value = self.add(parents[0].N, T, K, **{**kept, **about})
        self._made[key] = value
        return value

    def applied(self, value: Value, part: Any, K: int | None = None, **about: Any) -> Value:
        """What a part that keeps steps makes of a value."""
        return self.derive([value], part, value.T, K or value.K, value.every, **about)

    def moving(self, value: Value, part: Any, K: int | None = None) -> Value:
        """What a part that changes the number of steps makes of a value."""
        if not value.every:
            raise UnsupportedModelError(f"{type(part).__name__} of a vector")
        T = int(part.steps(np.array([value.T]))[0])
        if T < 1:
            raise TooShort(f"it does not run for {self.sizes}: no step is left")
        return self.derive([value], part, T, K or value.K, True)

    def windowed(self, value: Value, part: Product) -> Value:
        """What a convolution makes of a value."""
        assert part.windows is not None
        stride, dilation, _, padding = part.windows
        window = Window(part.weight.shape[1], stride, dilation, as_padding(padding))
        T = int(window.steps(np.array([value.T]))[0])
        if T < 1:
            raise TooShort(f"it does not run for {self.sizes}: no step is left")
        return self.derive([value], part, T, len(part.weight), True)

    def reading(self, value: Value, how: str) -> Value:
        """One vector for each sequence, read from all steps of a value."""
        if not value.every:
            return value
        part = self.parts.get(("read", how), (), lambda: Read(how))
        about = {"states": value.states, "starts": value.starts} if how == "final" else {}
        return self.derive([value], part, 1, value.K, False, **about)

    def part(self, kind: Callable[..., P], *options: Any, **named: Any) -> P:
        """A part that has no weights."""
        key = (kind.__name__, options, tuple(named.items())) if hasattr(kind, "__name__") else kind
        return self.parts.get(key, (), lambda: kind(*options, **named))

    def product(self, weight: Array, windows: tuple[Any, ...] | None = None) -> Product:
        """A product, found again by its weights."""
        charge(memory=2 * weight.nbytes)
        return self.parts.get(("product", windows), (weight,), lambda: Product(weight, windows))

    def scale(
        self,
        center: Array | None = None,
        scale: Array | None = None,
        shift: Array | None = None,
    ) -> Scale:
        """A scaling, found again by its numbers."""
        arrays = (center, scale, shift)
        return self.parts.get("scale", arrays, lambda: Scale(*arrays))

    def choice(self, *alternatives: tuple[Any, ...]) -> Choice:
        """A choice, found again by its alternatives."""
        key = ("choice", tuple(tuple(id(k) for k in parts) for parts in alternatives))
        return self.parts.get(key, (), lambda: Choice(alternatives))

    def hoisted(self, value: Value, make: Callable[[Value], Value], stop: Any = None) -> Value:
        """Apply something to what pointwise parts read, and the parts to that.

        Parameters
        ----------
        value, make
            The value, and what is made of the one in front of all pointwise parts.
        stop : callable, optional
            Whether a value is not passed.
        """
        passed: list[Value] = []
        while value.pointwise and value.flaw is None and not (stop and stop(value)):
            passed.append(value)
            value = value.parents[0]
        charge(steps=3 * len(passed))
        found = make(value)
        for k in reversed(passed):
            found = self.applied(found, k.part, k.K)
        return found

    def chain(self, value: Value) -> Iterator[Value]:
        """The values that one is made of, from itself down, each once."""
        waiting, seen = [value], {value}
        while waiting:
            at = waiting.pop()
            charge(steps=1)
            yield at
            for parent in at.parents:
                if parent not in seen:
                    seen.add(parent)
                    waiting.append(parent)
