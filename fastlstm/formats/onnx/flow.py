"""What tensors of an ONNX graph are to the parts that read them: sequences, vectors, rows.

The places of a tensor's numbers (see `tape`) say which steps of which value it holds. What is not a
whole value becomes parts by itself: some steps are a `Slice`, steps again and again an `Upsample`
or a `Pad`, one vector at every step a `Repeat`, a vector in pieces an `Unflatten`, the numbers of
several steps in one row a `Flatten`, numbers of several values in one row a `Join`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.budget import charge
from fastlstm.formats.onnx.operator import Operator
from fastlstm.formats.onnx.tape import (
    AT_EVERY_STEP,
    Choice,
    Ids,
    Located,
    Product,
    Scale,
    Start,
    Tape,
    TooShort,
    Value,
    varies,
)
from fastlstm.network.joints import Join
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.pointwise import Activate, PReLU
from fastlstm.network.reading import Read
from fastlstm.network.steps import Flatten, Pad, Repeat, Slice, Unflatten, Upsample

__all__ = ["Flow", "Rows"]

Array = npt.NDArray[Any]

MANY_STEPS = 6  # one of so many is one of any number
DEEPEST = 8  # joints of joints, in front of which a step is read


class Rows(NamedTuple):
    """A tensor whose last axis holds numbers of one value, in each row of one sequence and step."""

    value: Value
    n: Array  # (..., 1), or what can be broadcast to the rows
    t: Array
    order: Array  # (K',) which numbers of the value


class Flow(Tape):
    """The tape, and how tensors are read from it."""

    # --- tensors of several values -----------------------------------------------------------

    def located(self, x: Ids) -> Located:
        """Where the numbers of a tensor come from, as in `Tape.located`, of joined values too."""
        return super().located(self.one(x))

    def concatenated(self, tensors: Sequence[Ids], join: Callable[..., Array]) -> Ids:
        """Tensors side by side, as `join` puts their arrays."""
        if len({id(x.value) for x in tensors}) == 1:
            return Ids(join([x.array for x in tensors]), tensors[0].value)
        charge(memory=8 * sum(x.array.size for x in tensors))
        return Ids(join([x.ids for x in tensors]), None)

    def one(self, x: Ids) -> Ids:
        """The same tensor as places of one value: what it holds is joined, if need be.

        Raises
        ------
        UnsupportedModelError
            If that is not computed.
        """
        if x.value is not None:
            return x
        if not x.array.size:
            raise TooShort("reads no numbers at all")
        charge(steps=len(self.firsts) / 10, elements=20 * x.array.size)
        index = np.searchsorted(np.array(self.firsts), x.array, side="right") - 1
        axes = [axis for axis in range(index.ndim) if varies(index, axis)]
        if not axes:
            value = self.values[int(index.flat[0])]
            return Ids(np.asarray(x.array - value.first, np.int32), value)
        if len(axes) > 1:
            raise UnsupportedModelError(
                f"joins the outputs of {len(np.unique(index))} layers along several axes"
            )
        (axis,) = axes
        line = np.moveaxis(index, axis, 0).reshape(index.shape[axis], -1)[:, 0]
        ends = [0, *(np.flatnonzero(np.diff(line)) + 1).tolist(), len(line)]
        pieces: list[Ids] = []
        for begin, end in pairwise(ends):
            value = self.values[int(line[begin])]
            charge(steps=20 + len(pieces) / 20)
            places = x.array.take(range(begin, end), axis) - value.first
            pieces.append(Ids(np.asarray(places, np.int32), value))
        return self._side_by_side(pieces, axis)

    def _side_by_side(self, pieces: list[Ids], axis: int) -> Ids:
        """Numbers of several values next to each other, along an axis."""
        found = [super(Flow, self).located(x) for x in pieces]
        values = list(dict.fromkeys(at.value for at in found))
        if pair := self._two_directions(values):
            joined, shifts = pair
            ids = [self.placed(joined, a.n, a.t, a.k + shifts[a.value]).array for a in found]
            return Ids(np.concatenate(ids, axis), joined)
        if any(varies(at.n, axis) for at in found):
            raise UnsupportedModelError("puts sequences of several layers one after the other")
        if any(varies(at.t, axis) for at in found):
            raise UnsupportedModelError("puts steps of several layers one after the other")
        found = self._of_the_same_steps([_first(at, axis) for at in found], found)
        values = list(dict.fromkeys(at.value for at in found))
        sizes = [k.K for k in values]
        shift = dict(zip(values, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))
        value = values[0]
        if len(values) > 1:
            value = self.joined("concatenate", values, sum(sizes))
        t = next((at.t for at in found if at.value.every), np.zeros_like(found[0].t))
        t = _first_of(t, axis)
        ids = []
        for at, x in zip(found, pieces, strict=True):
            placed = self.placed(value, at.n, t, at.k + shift[at.value])
            ids.append(np.broadcast_to(placed.array, x.shape))
        return Ids(np.concatenate(ids, axis), value)

    def _of_the_same_steps(self, contexts: list[Located], found: list[Located]) -> list[Located]:
        """The same tensors of sequences whose steps agree, and of vectors."""
        first = contexts[0].n
        if any(not _equal(first, at.n) for at in contexts):
            raise UnsupportedModelError("joins numbers of different sequences")
        along = [at for at in contexts if at.value.every]
        alone = all(_is_one_step(at) for at in found)
        agree = all(_equal(along[0].t, at.t) and along[0].value.T == at.value.T for at in along[1:])
        if alone and (len(along) < len(contexts) or not agree):
            return [self._at_its_step(at) for at in found]
        if all(_equal(along[0].t, at.t) and along[0].value.T == at.value.T for at in along[1:]):
            return found
        fixed = [_is_one_step(at) for at in found]
        moving = [at for at, alone in zip(contexts, fixed, strict=True) if not alone]
        first_t = moving[0].t
        if all(_equal(first_t, k.t) and moving[0].value.T == k.value.T for k in moving[1:]):
            return [self._at_its_step(at) if k else at for at, k in zip(found, fixed, strict=True)]
        axes = {i for at in moving for i in range(at.t.ndim) if varies(at.t, i)}
        lengths = {max(at.t.shape) for at in moving}
        if len(axes) > 1 or len(lengths) > 1:
            raise UnsupportedModelError("joins different steps of several layers")
        return [
            self._at_its_step(at) if k else self.only_steps(at, *axes)
            for at, k in zip(found, fixed, strict=True)
        ]

    def only_steps(self, at: Located, axis: int) -> Located:
        """A tensor as numbers of a value that has only the steps that stand along an axis."""
        line = at.t[tuple(slice(None) if i == axis else 0 for i in range(at.t.ndim))]
        shape = [-1 if i == axis else 1 for i in range(at.t.ndim)]
        return Located(self.steps(at.value, line), at.n, np.arange(len(line)).reshape(shape), at.k)

    def _at_its_step(self, at: Located) -> Located:
        """A tensor that holds one step of a value, as numbers of a vector."""
        if not at.value.every:
            return at
        return Located(self.step(at.value, int(at.t.flat[0])), at.n, np.zeros_like(at.t), at.k)

    def joined(self, how: str, values: Sequence[Value], K: int) -> Value:
        """A joint of values of the same steps."""
        every = any(k.every for k in values)
        T = max((k.T for k in values if k.every), default=1)
        join = self.part(Join, how, tuple(range(len(values))))
        return self.derive(values, join, T, K, every)

    def _two_directions(self, values: list[Value]) -> tuple[Value, dict[Value, int]] | None:
        """Two layers that read the same, one from each end, and where their numbers begin."""
        if len(values) != 2:
            return None
        a, b = values
        same = a.parents == b.parents and a.lengths == b.lengths
        if isinstance(a.part, Read) and a.part is b.part and not (a.flaw or b.flaw):
            below = self._two_directions([*a.parents, *b.parents])
            if below is None:
                return None
            joined, shifts = below
            return self.reading(joined, a.part.how), {k: shifts[k.parents[0]] for k in values}
        cells = [k.part for k in values]
        if not same or not all(isinstance(k, Layer) for k in cells):
            return None
        directions = [k.direction for k in cells]
        if sorted(directions) != ["forward", "reverse"] or a.K != b.K:
            return None
        if directions == ["reverse", "forward"]:
            a, b = b, a
        if cells[0].hidden_size != cells[1].hidden_size or cells[0].dtype != cells[1].dtype:
            return None
        layer = self.parts.get(
            ("both", id(a.part), id(b.part)), (), lambda: Bidirectional(a.part, b.part)
        )
        states = {}
        for name in a.states:
            both = [k.states[name] for k in (a, b)]
            states[name] = self.concatenated(both, np.concatenate)
        value = self.derive(
            a.parents,
            layer,
            a.T,
            a.K + b.K,
            True,
            states=states,
            starts=a.starts + b.starts,
            lengths=a.lengths,
        )
        return value, {a: 0, b: a.K}

    # --- whole values ------------------------------------------------------------------------

    def sequence(self, x: Ids) -> tuple[Value, Array]:
        """A tensor (N, T', K') as a value: its number k is number ``order[k]`` of the value.

        Raises
        ------
        UnsupportedModelError
            If it is not a sequence that this version computes from the values.
        """
        at = self.located(x)
        N, T, K = x.shape
        value, t, k = at.value, at.t, at.k
        self._check_sequences(at, N)
        if varies(k, 0) or varies(t, 0):
            raise UnsupportedModelError("reads other steps or numbers of each sequence")
        if value.every and not varies(t, 1, 2) and max(T, value.T) > 1:
            if T == 1 and not self.exact and value.T < MANY_STEPS:
                raise TooShort(f"it does not run for {self.sizes}: one step is left")
            value, t = self.step(value, int(t.flat[0])), np.zeros_like(t)
        if value.every and (varies(t, 2) or varies(k, 1)):
            place = t[:1] * value.K + k[:1]  # in a row of all steps
            value, k = self.flat(value), place
            t = np.zeros_like(t)
            self.regrouped = self.regrouped or varies(k, 1)
        if value.every:
            steps = np.broadcast_to(t[0, :, 0], (T,))
            return self.steps(value, steps), self._line(k, K)
        if not varies(k, 1):
            return self.repeated(value, T), self._line(k, K)
        charge(elements=4 * T * K)
        pieces = np.broadcast_to(k[0], (T, K))
        order = pieces[0] if pieces[0].max() < K else np.arange(K)
        if not np.array_equal(pieces, np.arange(T)[:, None] * K + order) or T * K != value.K:
            value, order = self.selected(value, pieces.ravel()), np.arange(K)
        part = self.part(Unflatten, T)
        return self.derive([value], part, T, K, True), order

    def vector(self, x: Ids) -> tuple[Value, Array]:
        """A tensor (N, K') as a value, as in `sequence`."""
        rows = self.rows(x)
        self._check_sequences(Located(rows.value, rows.n, rows.t, rows.order), len(x.array))
        if varies(rows.t, 0):
            raise UnsupportedModelError("reads another step of each sequence")
        return self.step(rows.value, int(rows.t.flat[0])), rows.order

    def _check_sequences(self, at: Located, N: int) -> None:
        straight = np.arange(at.value.N).reshape((-1,) + (1,) * (at.n.ndim - 1))
        first = at.n.reshape(len(at.n), -1)[:, :1].reshape((-1,) + (1,) * (at.n.ndim - 1))
        mixed = at.value.N != N or varies(at.n, *range(1, at.n.ndim))
        if mixed or not _equal(first, straight):
            raise UnsupportedModelError(
                "expected all sequences, in their order, along an axis of their own"
            )

    @staticmethod
    def _line(k: Array, K: int) -> Array:
        return np.broadcast_to(k[(0,) * (k.ndim - 1)], (K,))

    def rows(self, x: Ids) -> Rows:
        """A tensor (..., K') as rows of numbers of one value.

        Raises
        ------
        UnsupportedModelError
            If the rows mix sequences, or differ in which numbers they hold.
        """
        if not x.array.ndim:
            x = x.moved(x.array.reshape(1))
        at = self.located(x)
        value, n, t, k = at
        last = x.array.ndim - 1
        others = range(last)
        if varies(n, last):
            raise UnsupportedModelError("reads numbers of several sequences or outputs as one row")
        n = n[..., :1]
        if varies(t, last):
            if (read := self.final(at)) is not None:
                return self._complete(Rows(read, n, t[..., :1] * 0, self._line(k, x.shape[-1])))
            if varies(t, *others) or varies(k, *others):
                raise UnsupportedModelError(
                    "reads numbers of several sequences, steps or outputs as one row"
                )
            place = (t * value.K + k)[(0,) * last]
            value, t = self.flat(value), np.zeros_like(t)
            return self._complete(Rows(value, n, t[..., :1], np.broadcast_to(place, x.shape[-1:])))
        if varies(k, *others):
            pieces = self._pieces(x, at)
            if pieces is None:
                raise UnsupportedModelError(
                    "reads numbers of several sequences or outputs as one row"
                )
            return pieces
        return self._complete(Rows(value, n, t[..., :1], self._line(k, x.shape[-1])))

    def _complete(self, rows: Rows) -> Rows:
        """The same rows of a value that has no other numbers."""
        K = rows.value.K
        if len(rows.order) == K and np.array_equal(np.sort(rows.order), np.arange(K)):
            return rows
        return rows._replace(
            value=self.selected(rows.value, rows.order), order=np.arange(len(rows.order))
        )

    def _pieces(self, x: Ids, at: Located) -> Rows | None:
        """Rows that are pieces of a vector: the steps of a sequence that is made of it."""
        last = x.array.ndim - 1
        along = [axis for axis in range(last) if varies(at.k, axis)]
        batch = [axis for axis in range(last) if varies(at.n, axis)]
        if len(along) != 1 or len(batch) > 1 or along == batch:
            return None
        if batch == [] and at.value.N > 1:
            return None
        (s,) = along
        places = x.array
        for axis in range(last):
            if axis not in (s, *batch) and places.shape[axis] > 1:
                return None
        first = np.moveaxis(places, s, -2).reshape(-1, places.shape[s], places.shape[-1])
        value, order = self.sequence(Ids(first, self.one(x).value))
        shape = [1] * x.array.ndim
        shape[s] = places.shape[s]
        steps = np.arange(places.shape[s]).reshape(shape)
        return self._complete(Rows(value, at.n[..., :1], steps, order))

    def final(self, at: Located) -> Value | None:
        """The vector of the steps where directions end, if those are read; else None."""
        if not self._ends(at):
            return None
        return self.hoisted(at.value, lambda below: self.reading(below, "final"))

    def _ends(self, at: Located) -> bool:
        """Whether each direction is read at the step where it ends."""
        value = at.value
        while value.elementwise and value.flaw is None:
            charge(steps=1)
            value = value.parents[0]
        if not isinstance(value.part, Bidirectional) or value.lengths is not None:
            return False
        return _equal(at.t, np.where(at.k < value.K // 2, value.T - 1, 0))

    # --- parts that tensors are, without an operator -----------------------------------------

    def flat(self, value: Value) -> Value:
        """All steps of a value in one row."""
        if not value.every:
            return value
        if isinstance(value.part, Unflatten):
            return value.parents[0]
        return self.derive([value], self.part(Flatten, value.T), 1, value.T * value.K, False)

    def repeated(self, value: Value, T: int) -> Value:
        """A vector at every step: of a fixed number, or of as many as another value has."""
        part = self.part(Repeat, T)
        if not self.exact and self.values[0].T == T:
            for like in self.chain(value):
                if isinstance(like.part, Layer | Bidirectional) and like.T == T:
                    ways = self.choice((part,), (AT_EVERY_STEP,))
                    return self.derive([value, like], ways, T, value.K, True)
        return self.derive([value], part, T, value.K, True)

    def step(self, value: Value, t: int, depth: int = 0) -> Value:
        """One step of a value: where it is read before other parts, these compute a vector."""
        if not value.every:
            return value
        if _repeats(value.part):
            return value.parents[0]

        def read(below: Value) -> Value:
            if not below.every:
                return below
            if isinstance(below.part, Join) and depth < DEEPEST and below.flaw is None:
                read = [self.step(k, t, depth + 1) for k in below.parents]
                return self.derive(read, below.part, 1, below.K, False)
            ways: list[tuple[Any, ...]] = []
            top, T = below.part, below.T
            last = self.part(Read, "last")
            ends = T - 1
            if isinstance(top, Layer) and top.direction == "reverse":
                ends = 0
            if isinstance(top, Layer) and t == ends:
                ways.append((self.part(Read, "final"),))
            if t == T - 1:
                ways.append((last,))
            for start, stop in ((t, t + 1), (t - T, t - T + 1 or None)):
                ways.append((self.part(Slice, start, stop), last))
            about = {}
            if ways[0][0].how == "final" if isinstance(ways[0][0], Read) else False:
                about = {"states": below.states, "starts": below.starts}
            return self.derive([below], self.choice(*ways), 1, below.K, False, **about)

        return self.hoisted(value, read)

    def steps(self, value: Value, steps: Array) -> Value:
        """Some steps of a value, in any order that is a part of a network."""
        T, places = value.T, np.asarray(steps)
        if np.array_equal(places, np.arange(T)):
            return value
        if (places == places[0]).all() and len(places) > 1:
            return self.repeated(self.step(value, int(places[0])), len(places))
        ways: list[tuple[Any, ...]] = []
        stride = int(places[1] - places[0]) if len(places) > 1 else 1
        if stride and np.array_equal(places, places[0] + stride * np.arange(len(places))):
            charge(steps=20 * abs(stride), elements=4 * abs(stride) * T)
            for part in _slices(int(places[0]), stride, len(places), T):
                if np.array_equal(np.arange(T)[slice(*part)], places):
                    ways.append((self.part(Slice, *part),))
        times = len(places) // T
        if len(places) % T == 0 and np.array_equal(places, np.repeat(np.arange(T), times)):
            ways.append((self.part(Upsample, times),))
        real = np.flatnonzero(np.diff(places) == 1)
        if not ways and len(real) and len(places) > T:
            for mode, name in (("edge", "edge"), ("reflect", "reflect")):
                for before in range(len(places) - T + 1):
                    after = len(places) - T - before
                    charge(steps=2, elements=len(places))
                    if mode == "reflect" and max(before, after) >= T:
                        continue
                    if np.array_equal(np.pad(np.arange(T), (before, after), mode), places):  # type: ignore[call-overload]
                        ways.append((self.part(Pad, before, after, name),))
        if not ways:
            shown = ", ".join(str(k) for k in places[:8].tolist())
            raise UnsupportedModelError(
                f"reads the steps {shown}{' ...' if len(places) > 8 else ''} of {T}, in an order "
                "that this version does not compute"
            )
        if len(places) < (1 if self.exact else 2):
            raise TooShort(f"it does not run for {self.sizes}: one step is left")
        return self.derive([value], self.choice(*ways), len(places), value.K, True)

    def selected(self, value: Value, order: Array) -> Value:
        """Some numbers of each step, in any order: a product with zeros and ones, if need be."""
        order = np.asarray(order)
        passed: list[Value] = []
        while True:
            K = value.K
            charge(steps=5, elements=order.size)
            if np.array_equal(order, np.arange(K)):
                break
            if (half := self._half(value, order)) is not None:
                value, order = half, order % half.K
            elif value.elementwise and value.flaw is None:
                passed.append(value)
                value = value.parents[0]
            else:
                value = self._one_hot(value, order)
                break
        for k in reversed(passed):
            value = self.applied(value, self._ordered(k.part, order), len(order))
        return value

    def _one_hot(self, value: Value, order: Array) -> Value:
        dense = isinstance(value.part, Product) and value.part.windows is None
        if dense and value.flaw is None:
            charge(memory=8 * len(order) * value.part.weight.shape[1])
            weight = value.part.weight[order]
            return self.applied(value.parents[0], self.product(weight), len(order))
        charge(memory=8 * len(order) * value.K, elements=len(order) * value.K)
        weight = np.zeros((len(order), value.K), value.dtype)
        weight[np.arange(len(order)), order] = 1
        return self.applied(value, self.product(weight), len(order))

    def _ordered(self, part: Any, order: Array) -> Any:
        """An elementwise part of some numbers."""
        if isinstance(part, Activate):
            return part
        if isinstance(part, PReLU):
            slope = part.slope[order]
            return self.parts.get("prelu", (slope,), lambda: PReLU(slope))
        arrays = (part.center, part.scale, part.shift)
        return self.scale(*(None if k is None else k[order] for k in arrays))

    def _half(self, value: Value, order: Array) -> Value | None:
        """One direction of a bidirectional layer, if these are numbers of it alone."""
        of, read = value, None
        if isinstance(value.part, Read) and value.part.how in ("final", "max", "mean", "sum"):
            of, read = value.parents[0], value.part.how
        if not isinstance(of.part, Bidirectional) or value.K < 2 or value.flaw:
            return None
        H = value.K // 2
        d = int(order[0]) // H
        if not (np.asarray(order) // H == d).all():
            return None
        found = self.derive(
            of.parents,
            of.part.cells[d],
            of.T,
            H,
            True,
            lengths=of.lengths,
            states={k: x.moved(x.array[d : d + 1]) for k, x in of.states.items()},
            starts=of.starts[d : d + 1],
        )
        return found if read is None else self.reading(found, read)

    # --- LSTM --------------------------------------------------------------------------------

    def lstm(
        self, x: Ids, operator: Operator, lengths: str | None, starts: tuple[Start, ...]
    ) -> dict[str, Ids]:
        """Y, Y_h and Y_c for X."""
        if x.array.ndim != 3:
            raise UnsupportedModelError(f"expected X of three axes, got {x.array.ndim}")
        axes = (0, 1, 2) if operator.batch_first else (1, 0, 2)
        x = x.moved(x.array.transpose(axes)) if x.value else Ids(x.array.transpose(axes), None)
        at = self.located(x)
        if x.shape[0] != at.value.N:
            raise UnsupportedModelError(
                "expected X to hold all sequences, in their order: axes (steps, batch, inputs)"
                f"{' after layout 1' * operator.batch_first}"
            )
        flipped = len(operator.directions) == 1 and _is_reversed(at, x.shape[1])
        if flipped:
            x = x.moved(x.array[:, ::-1]) if x.value else Ids(x.array[:, ::-1], None)
        value, order = self.sequence(x)
        rows = self._complete(Rows(value, at.n, at.t, order))
        value, order = rows.value, rows.order
        if value.recurrent and value.lengths != lengths:
            raise UnsupportedModelError(
                f"expected the sequence_lens {value.lengths!r} of the layer before, got {lengths}"
            )
        if lengths is not None and flipped:
            raise UnsupportedModelError("steps in reverse order, with sequence_lens")
        if lengths is not None and any(_moves(k.part) for k in self.chain(value)):
            raise UnsupportedModelError(
                "sequence_lens of an LSTM whose steps are not those of the graph's input"
            )
        if len(order) != operator.input_size:
            raise UnsupportedModelError(
                f"expected {operator.input_size} inputs as W has, got {len(order)}"
            )
        layer = self.parts.get(
            (*operator.options, flipped),
            (*operator.arrays, order),
            lambda: operator.layer(order, flipped),
        )
        N, T, D, H = value.N, value.T, len(layer.cells), layer.hidden_size
        about = {"starts": starts, "lengths": lengths}
        top = self.derive([value], layer, T, D * H, True, **about)
        y = self.whole(top).array.reshape(N, T, D, H).transpose(1, 2, 0, 3)  # (T, D, N, H)
        if lengths is None:
            ends = [0 if cell.direction == "reverse" else T - 1 for cell in layer.cells]
            h = Ids(np.stack([y[end, d] for d, end in enumerate(ends)]), top)
        else:
            h = self._of_directions(self.reading(top, "final"), D)
        cells = self.part(Read, "last")
        flaw = "the cell state Y_c"
        of_cells = ("cells", top)
        if of_cells not in self._made:
            self._made[of_cells] = self.add(
                N,
                1,
                D * H,
                every=False,
                parents=(top,),
                part=cells,
                flaw=flaw,
                recurrent=True,
                lengths=lengths,
                starts=starts,
            )
        c = self._of_directions(self._made[of_cells], D)
        top.states.update(h=h, c=c)
        y = y[::-1] if flipped else y
        if operator.batch_first:
            turned = {"Y": y.transpose(2, 0, 1, 3), "h": h.array.swapaxes(0, 1)}
            return {
                "Y": Ids(turned["Y"], top),
                "Y_h": h.moved(turned["h"]),
                "Y_c": c.moved(c.array.swapaxes(0, 1)),
            }
        return {"Y": Ids(y, top), "Y_h": h, "Y_c": c}

    def _of_directions(self, value: Value, D: int) -> Ids:
        places = self.whole(value).array
        return Ids(places.reshape(value.N, D, -1).transpose(1, 0, 2), value)


def _repeats(part: Any) -> bool:
    return isinstance(part.alternatives[0][0] if isinstance(part, Choice) else part, Repeat)


def _is_one_step(at: Located) -> bool:
    return not at.value.every or bool((at.t == at.t.flat[0]).all())


def _moves(part: Any) -> bool:
    if isinstance(part, Choice | Flatten | Repeat | Unflatten):
        return True
    windows = isinstance(part, Product) and part.windows is not None
    return windows or (hasattr(part, "steps") and not isinstance(part, Scale))


def _is_reversed(at: Located, T: int) -> bool:
    value, t = at.value, at.t
    if not value.every or value.T != T or T < 2 or varies(t, 0, 2):
        return False
    return np.array_equal(t[0, :, 0], np.arange(T)[::-1])


def _slices(start: int, stride: int, count: int, T: int) -> list[tuple[int | None, ...]]:
    """Ways to say which steps these are, the likeliest first."""
    last = start + stride * (count - 1)
    step = None if stride == 1 else stride
    starts: list[int | None]
    stops: list[int | None]
    beyond = range(1, abs(stride) + 1)  # how far the end may be behind the last one
    if stride > 0:
        starts = [None] if start == 0 else []
        starts += [start - T, start] if last == T - 1 else [start, start - T]
        stops = [None] if last + stride >= T else []
        stops += [last + k for k in beyond]
        stops += [last + k - T for k in beyond if last + k < T]
    else:
        starts = [None] if start == T - 1 else []
        starts += [start, start - T]
        stops = [None] if last + stride < 0 else []
        stops += [last - k for k in beyond if last >= k]
        stops += [last - k - T for k in beyond]
    return [(a, b, step) for a in starts for b in stops]


def _equal(a: Array, b: Array) -> bool:
    """Whether two arrays are the same when they are broadcast."""
    charge(elements=max(a.size, b.size))
    try:
        return bool((a == b).all())
    except ValueError:
        return False


def _first_of(places: Array, axis: int) -> Array:
    return places.take([0], axis)


def _first(at: Located, axis: int) -> Located:
    return Located(at.value, *(_first_of(k, axis) for k in at[1:]))
