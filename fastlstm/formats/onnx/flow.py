"""Where each number of an ONNX graph comes from: every number is replaced by an id.

A graph is followed with a batch of a few sequences of a few steps. The tensors that depend on its
input hold ids: which sequence, which step, which output of which layer. Nodes that move numbers
(Transpose, Reshape, Slice, Concat ...) move the ids, with the corresponding functions of NumPy. A
layer then finds in the ids which steps it reads, and in which order; a permutation that mixes up
axes cannot be mistaken for another one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.budget import charge, lent
from fastlstm.formats.onnx.operator import Operator
from fastlstm.network.activations import LINEAR, Activation
from fastlstm.network.dense import Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.network import AnyLayer

__all__ = ["Flow", "Ids", "PartsBuilt", "Values"]

Array = npt.NDArray[Any]
P = TypeVar("P")

MAX_IDS = (1 << 31) - 1


@dataclass(frozen=True)
class Ids:
    """A tensor that depends on the input: the ids of its numbers."""

    array: Array  # of int32


# Which rows (N, H) of which inputs h and c are at the start; None for zeros or learned ones.
Start = tuple[tuple[str, int] | None, tuple[str, int] | None]


@dataclass(eq=False)
class Values:
    """The K numbers of each sequence at each step, or of each sequence, that a layer gives.

    The id of number k of sequence n at step t is ``first + (n * T + t) * K + k``; there is only
    one step (T = 1) if `read` says what was read of all of them.
    """

    first: int
    N: int
    T: int
    K: int
    layers: tuple[AnyLayer, ...] = ()  # from the input on, at each step
    head: tuple[Dense, ...] = ()  # of what was read
    read: str | None = None  # None: all steps; "cells": the last cell states
    parent: Values | None = None  # before the last layer
    lengths: str | None = None  # the graph's input of them
    states: dict[str, Array] = field(default_factory=dict)  # ids of h and c (D, N, H) at the end
    starts: tuple[Start, ...] = ()  # of each direction, if they are inputs of the graph

    @property
    def ids(self) -> Array:
        """The ids (N, T, K)."""
        size = self.N * self.T * self.K
        with lent(4 * size):
            charge(elements=size)
        ids = np.arange(self.first, self.first + size, dtype=np.int32)
        return ids.reshape(self.N, self.T, self.K)

    @property
    def top(self) -> Layer | Bidirectional | None:
        """The last recurrent layer."""
        found = [k for k in self.layers if isinstance(k, Layer | Bidirectional)]
        return found[-1] if found else None


@dataclass(frozen=True)
class Rows:
    """Rows of K ids as a layer reads them: each from one sequence and step of one source."""

    source: Values
    n: Array  # of each row
    t: Array
    order: Array  # (K,) which numbers of the source


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

    def dense(
        self, weight: Array, bias: Array | None = None, activation: Activation | str = LINEAR
    ) -> Dense:
        """A dense layer."""
        return self.get(
            ("dense", activation),
            (weight, bias),
            lambda: Dense(weight, bias, activation=activation),
        )


def _same(a: Array | None, b: Array | None) -> bool:
    if a is None or b is None or a is b:
        return a is b
    return a.dtype == b.dtype and np.array_equal(a, b)


class Flow:
    """The values that flow through a graph, and the layers between them."""

    def __init__(self, dtype: npt.DTypeLike = np.float32, parts: PartsBuilt | None = None) -> None:
        self.dtype = np.dtype(dtype)  # of the input
        self.parts = PartsBuilt() if parts is None else parts
        self.sources: list[Values] = []
        self.firsts: list[int] = []  # the first id of each
        self.largest = 0  # numbers of one source
        self.joined: dict[tuple[Values, Values], Values] = {}
        self.read: dict[tuple[Values, str], Values] = {}

    def add(self, N: int, T: int, K: int, **about: Any) -> Values:
        """A new source."""
        first = 0
        if self.sources:
            last = self.sources[-1]
            first = last.first + last.N * last.T * last.K
        if first + N * T * K > MAX_IDS:
            raise UnsupportedModelError(f"its tensors hold more than {MAX_IDS} numbers in all")
        source = Values(first, N, T, K, **about)
        self.sources.append(source)
        self.firsts.append(first)
        self.largest = max(self.largest, N * T * K)
        return source

    @property
    def sizes(self) -> str:
        """The sizes with which the graph is followed, for errors."""
        return f"a batch of {self.sources[0].N}, {self.sources[0].T} steps"

    # Reading

    def rows(self, ids: Array) -> Rows:
        """What the last axis of `ids` holds, in each of the rows.

        Raises
        ------
        UnsupportedModelError
            If the rows mix sequences, steps or layers, or hold less than a layer's outputs.
        """
        flat = ids.reshape(-1, ids.shape[-1]) if ids.ndim else ids.reshape(1, 1)
        if not flat.size:
            raise UnsupportedModelError("reads no numbers at all")
        source, n, t, k = self.located(flat)
        if (k != k[0]).any() or (n != n[:, :1]).any():
            raise UnsupportedModelError("reads numbers of several sequences or outputs as one row")
        if not np.array_equal(np.sort(k[0]), np.arange(source.K)):
            raise UnsupportedModelError(
                f"reads {k.shape[1]} of the {source.K} numbers of a layer; this version computes "
                "layers that read each of them once"
            )
        if (t != t[:, :1]).any():
            if not self._ends(source, t, k):
                raise UnsupportedModelError("reads numbers of several steps as one row")
            source, t = self.reading(source, "final"), t * 0
        return Rows(source, n[:, 0], t[:, 0], k[0])

    def located(self, ids: Array) -> tuple[Values, Array, Array, Array]:
        """The source of all ids, and of each the sequence, the step and the number."""
        if not ids.size:
            raise UnsupportedModelError("reads no numbers at all")
        charge(elements=4 * ids.size)
        with lent(4 * ids.nbytes):
            return self._located(ids)

    def _located(self, ids: Array) -> tuple[Values, Array, Array, Array]:
        first, last = (bisect_right(self.firsts, int(k)) - 1 for k in (ids.min(), ids.max()))
        if first == last:
            source = self.sources[first]
            n = ids - source.first
            k = n % source.K
            n //= source.K
            t = n % source.T
            n //= source.T
            return source, n, t, k
        index = np.searchsorted(np.array(self.firsts), ids, side="right") - 1
        charge(steps=len(self.firsts) / 10, elements=20 * ids.size)
        found = [self.sources[i] for i in np.unique(index)]
        if len(found) > 2:
            raise UnsupportedModelError(f"joins the outputs of {len(found)} layers")
        parts = [self.located(ids[index == i]) for i in np.unique(index)]
        source, shifts = self._join(*found)
        n, t, k = (np.empty_like(ids) for _ in range(3))
        for i, (_, n_i, t_i, k_i), shift in zip(np.unique(index), parts, shifts, strict=True):
            at = index == i
            n[at], t[at], k[at] = n_i, t_i, k_i + shift
        return source, n, t, k

    def _join(self, a: Values, b: Values) -> tuple[Values, tuple[int, int]]:
        """Join two layers that read the same, one from each end; say where their numbers begin."""
        tops = [source.layers[-1] if source.layers else None for source in (a, b)]
        same = a.parent is b.parent and a.read == b.read and a.lengths == b.lengths
        directions = [top.direction for top in tops if isinstance(top, Layer)]
        if not same or sorted(directions) != ["forward", "reverse"] or a.head or b.head:
            raise UnsupportedModelError(
                "joins two tensors that are not the two directions of one layer"
            )
        if directions == ["reverse", "forward"]:
            joined, (to_b, to_a) = self._join(b, a)
            return joined, (to_a, to_b)
        if (a, b) not in self.joined:
            layer = Bidirectional(a.layers[-1], b.layers[-1])  # type: ignore[arg-type]
            states = {name: np.concatenate([a.states[name], b.states[name]]) for name in a.states}
            self.joined[a, b] = self.add(
                a.N,
                a.T,
                a.K + b.K,
                layers=(*a.layers[:-1], layer),
                parent=a.parent,
                read=a.read,
                lengths=a.lengths,
                states=states,
                starts=a.starts + b.starts,
            )
        return self.joined[a, b], (0, a.K)

    def _ends(self, source: Values, t: Array, k: Array) -> bool:
        """Whether each direction is read at the step where it ends."""
        if source.read is not None or not isinstance(top := source.top, Bidirectional):
            return False
        if source.layers[-1] is not top or source.lengths is not None:
            return False
        return np.array_equal(t, np.where(k < source.K // 2, source.T - 1, 0))

    def reading(self, source: Values, read: str) -> Values:
        """One vector for each sequence, read from all steps of a source."""
        if (source, read) not in self.read:
            self.read[source, read] = self.add(
                source.N,
                1,
                source.K,
                layers=source.layers,
                parent=source.parent,
                read=read,
                lengths=source.lengths,
                states=source.states,
                starts=source.starts,
            )
        return self.read[source, read]

    # Layers

    def lstm(
        self, ids: Array, operator: Operator, lengths: str | None, starts: tuple[Start, ...]
    ) -> dict[str, Array]:
        """The ids of Y, Y_h and Y_c for those of X."""
        if ids.ndim != 3:
            raise UnsupportedModelError(f"expected X of three axes, got {ids.ndim}")
        x = ids.transpose(1, 0, 2) if operator.batch_first else ids  # (T, N, I)
        rows = self.rows(x)
        source = rows.source
        n, t = rows.n.reshape(x.shape[:2]), rows.t.reshape(x.shape[:2])
        N, T = source.N, source.T
        steps = np.arange(T)[:, None]
        flipped = T > 1 and np.array_equal(t, np.broadcast_to(steps[::-1], (T, N)))
        straight = np.array_equal(t, np.broadcast_to(steps, (T, N)))
        whole = x.shape[:2] == (T, N) and np.array_equal(n, np.broadcast_to(np.arange(N), (T, N)))
        if source.read is not None or not whole or not (straight or flipped):
            raise UnsupportedModelError(
                "expected X to hold all steps of all sequences, in their order or the reverse: "
                f"axes (steps, batch, inputs){' after layout 1' * operator.batch_first}"
            )
        if source.top is not None and source.lengths != lengths:
            raise UnsupportedModelError(
                f"expected the sequence_lens {source.lengths!r} of the layer before, got {lengths}"
            )
        if flipped and lengths is not None:
            raise UnsupportedModelError("steps in reverse order, with sequence_lens")
        layer = self._layer(operator, rows.order, flipped)
        D, H = len(layer.cells), layer.hidden_size
        about = {"layers": (*source.layers, layer), "parent": source, "lengths": lengths}
        top = self.add(N, T, D * H, starts=starts, **about)
        y = top.ids.reshape(N, T, D, H).transpose(1, 2, 0, 3)  # (T, D, N, H)
        if lengths is None:
            ends = [0 if cell.direction == "reverse" else T - 1 for cell in layer.cells]
            h = np.stack([y[end, d] for d, end in enumerate(ends)])
        else:
            h = self.reading(top, "final").ids.reshape(N, D, H).transpose(1, 0, 2)
        c = self.reading(top, "cells").ids.reshape(N, D, H).transpose(1, 0, 2)
        top.states.update(h=h, c=c)
        y = y[::-1] if flipped else y
        if operator.batch_first:
            return {"Y": y.transpose(2, 0, 1, 3), "Y_h": h.swapaxes(0, 1), "Y_c": c.swapaxes(0, 1)}
        return {"Y": y, "Y_h": h, "Y_c": c}

    def _layer(self, operator: Operator, order: Array, flipped: bool) -> Layer | Bidirectional:
        if len(order) != operator.input_size:
            raise UnsupportedModelError(
                f"expected {operator.input_size} inputs as W has, got {len(order)}"
            )
        if flipped and len(operator.directions) == 2:
            raise UnsupportedModelError("a bidirectional operator on steps in reverse order")
        return self.parts.get(
            (*operator.options, flipped),
            (*operator.arrays, order),
            lambda: operator.layer(order, flipped),
        )

    def embedding(self, table: Array, ids: Array) -> Array:
        """The ids of the vectors of a table, for those of the input."""
        rows = self.rows(ids[..., None])
        if rows.source.layers:
            raise UnsupportedModelError("a table that is not read by the input's integers")
        charge(2 * table.nbytes)
        layer = self.parts.get("embedding", (table,), lambda: Embedding(table))
        return self._derived(rows, ids.shape, layer)

    def dense(self, weight: Array, ids: Array) -> Array:
        """The ids of ``x @ weight.T`` over the last axis."""
        rows = self.rows(ids)
        if weight.ndim != 2 or weight.shape[1] != rows.source.K:
            raise UnsupportedModelError(
                f"a product of {rows.source.K} numbers with weights of shape {weight.shape}"
            )
        charge(2 * weight.nbytes)
        layer = self.parts.dense(weight[:, np.argsort(rows.order)])
        return self._derived(rows, ids.shape[:-1], layer)

    def affine(self, ids: Array, scale: Array | None, shift: Array | None) -> Array:
        """The ids of ``scale * x`` or ``x + shift``, given in the shape of ids."""
        rows = self.rows(ids)
        scale, shift = (
            None if values is None else _same_in_all_rows(values, rows) for values in (scale, shift)
        )
        last = _last(rows.source)
        if scale is None and last is not None and last.bias is None and last.activation == LINEAR:
            return self._replacing(rows, ids.shape, self.parts.dense(last.weight, shift))
        if scale is None:
            scale = np.ones(rows.source.K, shift.dtype)  # type: ignore[union-attr]
        charge(24 * rows.source.K**2)  # two, of up to 8 bytes, and one
        layer = self.parts.dense(np.diag(scale), shift)
        return self._derived(rows, ids.shape[:-1], layer, rows.order)

    def activation(self, ids: Array, activation: Activation | str) -> Array:
        """The ids of an activation of each number, or of softmax over the last axis."""
        rows = self.rows(ids)
        last = _last(rows.source)
        if last is not None and last.activation == LINEAR:
            changed = self.parts.dense(last.weight, last.bias, activation)
            return self._replacing(rows, ids.shape, changed)
        dtype = rows.source.layers[-1].dtype if rows.source.layers else self.dtype
        charge(24 * rows.source.K**2)
        unit = self.parts.dense(np.eye(rows.source.K, dtype=dtype), None, activation)
        return self._derived(rows, ids.shape[:-1], unit, rows.order)

    def over_time(self, ids: Array, axis: int, read: str) -> Array:
        """The ids of the largest number, or of the mean, over an axis that holds all steps."""
        source, n, t, k = self.located(np.moveaxis(ids, axis, -1))
        steps = np.arange(source.T)
        whole = source.read is None and t.shape[-1] == source.T
        whole = whole and bool((np.sort(t, -1) == steps).all())
        if not whole or (n != n[..., :1]).any() or (k != k[..., :1]).any():
            raise UnsupportedModelError("reduces an axis other than that of all steps")
        if source.lengths is not None:
            raise UnsupportedModelError(f"a {read} over all steps, with sequence_lens")
        if source.top is None:
            raise UnsupportedModelError(f"a {read} of the input over its steps")
        of_all = self.reading(source, read)
        return np.asarray(of_all.first + n[..., 0] * source.K + k[..., 0])

    def _replacing(self, rows: Rows, shape: tuple[int, ...], layer: Dense) -> Array:
        """The ids of the same numbers, given by another last layer."""
        charge(2 * layer.weight.nbytes)
        source = rows.source
        if source.read is None:
            changed = replace(source, layers=source.layers[:-1], states={})
        else:
            changed = replace(source, head=source.head[:-1], states={})
        return self._derived(replace(rows, source=changed), shape[:-1], layer, rows.order)

    def _derived(
        self,
        rows: Rows,
        shape: tuple[int, ...],
        layer: Dense | Embedding,
        order: Array | None = None,
    ) -> Array:
        """The ids (*shape, K) of a new source: a layer on the rows, its outputs in `order`."""
        source = rows.source
        if source.read == "cells":
            raise UnsupportedModelError("computes with the cell state Y_c")
        K = layer.output_size
        about: dict[str, Any] = {"layers": source.layers, "head": source.head}
        if source.read is None:
            about["layers"] += (layer,)
        else:
            about["head"] += (layer,)
        about |= {"read": source.read, "lengths": source.lengths, "parent": source}
        new = self.add(source.N, source.T, K, **about)
        places = (rows.n * source.T + rows.t)[:, None] * K
        ids = new.first + places + (np.arange(K, dtype=np.int32) if order is None else order)
        return np.asarray(ids.reshape(*shape, K))


def _last(source: Values) -> Dense | None:
    """The dense layer that gives the source, if one does."""
    last = (source.layers if source.read is None else source.head)[-1:]
    return last[0] if last and isinstance(last[0], Dense) else None


def _same_in_all_rows(values: Array, rows: Rows) -> Array:
    """One row (K,) in the source's order, if all are the same."""
    flat = values.reshape(len(rows.n), -1)
    if (flat != flat[:1]).any():
        raise UnsupportedModelError("a constant that differs between sequences or steps")
    return np.ascontiguousarray(flat[0][np.argsort(rows.order)])
