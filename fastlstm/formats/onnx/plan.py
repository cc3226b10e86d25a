"""From the tape to a network: the values that the output needs, as parts in an order.

Products take up the bias and the activation behind them, scalings become one `Affine`. Where the
description of a part depends on the sizes with which the graph was followed, a plan holds a choice;
`network_from` takes what all plans agree on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.budget import charge
from fastlstm.formats.onnx.tape import AtEveryStep, Choice, PartsBuilt, Product, Scale, Value
from fastlstm.network.activations import LINEAR
from fastlstm.network.convolution import Conv
from fastlstm.network.dense import SOFTMAX, Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.joints import From, Join
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.network import Network
from fastlstm.network.normalisation import Affine, LayerNorm
from fastlstm.network.pointwise import Activate
from fastlstm.network.reading import Read
from fastlstm.network.steps import Repeat

__all__ = ["DEPENDS", "Plan", "network_from", "plan_of", "uncertain"]

Array = npt.NDArray[Any]


class Entry(NamedTuple):
    """One part, and the numbers of the entries that it reads; -1 is the input."""

    reads: tuple[int, ...]
    part: Any  # a part, or a choice


class Plan(NamedTuple):
    """A network whose choices are open."""

    entries: tuple[Entry, ...]
    every: bool  # whether it gives a sequence


def plan_of(value: Value, parts: PartsBuilt) -> Plan:
    """The plan of the network that gives a value.

    Raises
    ------
    UnsupportedModelError
        If there is none.
    """
    order = _in_order(value)
    readers: dict[Value, int] = {}
    for k in order:
        for parent in k.parents:
            readers[parent] = readers.get(parent, 0) + 1
    plain = all(_is_usual(k) for k in order) and sum(_is_read(k.part) for k in order) < 2
    entries: list[Entry] = []
    place: dict[Value, int] = {}
    runs: list[list[Value]] = []
    for k in order:
        charge(steps=6)
        if k.part is None:
            place[k] = -1
            continue
        alone = len(k.parents) == 1 and readers[k.parents[0]] == 1 and runs
        if alone and runs[-1][-1] is k.parents[0]:
            runs[-1].append(k)
        else:
            runs.append([k])
    for run in runs:
        reads = tuple(place[k] for k in run[0].parents)
        for part in _tidied([k.part for k in run], run[0], parts, plain):
            entries.append(Entry(reads, part))
            reads = (len(entries) - 1,)
        place[run[-1]] = reads[0] if len(reads) == 1 else len(entries) - 1
    return Plan(tuple(entries), value.every)


def _in_order(value: Value) -> list[Value]:
    """The values that one is made of, each behind those that it reads."""
    order: list[Value] = []
    done: set[Value] = set()
    waiting: list[tuple[Value, bool]] = [(value, False)]
    while waiting:
        at, ready = waiting.pop()
        charge(steps=2)
        if ready:
            order.append(at)
        elif at not in done:
            done.add(at)
            waiting.append((at, True))
            waiting += [(k, False) for k in reversed(at.parents) if k not in done]
    return order


def _is_read(part: Any) -> bool:
    return isinstance(part, Read | Choice)


def _is_usual(value: Value) -> bool:
    """Whether it is of a kind that `Network.of` knows, when scalings are written as products."""
    part = value.part
    if isinstance(part, Choice):
        return not value.every and any(isinstance(k[0], Read) for k in part.alternatives)
    if isinstance(part, Product):
        return part.windows is None
    if isinstance(part, Activate):
        return part.activation != "log_softmax"
    if isinstance(part, Scale):
        return part.center is None
    return part is None or isinstance(part, Read | Layer | Bidirectional | Embedding)


# --- products and scalings ----------------------------------------------------------------------


def _tidied(raw: list[Any], first: Value, built: PartsBuilt, plain: bool) -> list[Any]:
    """Parts for a run of what is on the tape, one behind the other."""
    K = first.parents[0].K if first.parents else 1
    dtype = first.dtype
    found: list[Any] = []
    sizes: list[int] = []
    for part in raw:
        charge(steps=5)
        last = found[-1] if found else None
        if isinstance(part, Product):
            K = len(part.weight)
            found.append(_Open(part.weight, None, LINEAR, part.windows))
        elif isinstance(part, Scale):
            K = next(len(k) for k in (part.center, part.scale, part.shift) if k is not None)
            _scale(found, part, plain, built)
        elif isinstance(part, Activate):
            if isinstance(last, _Open) and last.takes(part.activation):
                found[-1] = last._replace(activation=part.activation)
            elif plain:
                size = sizes[-1] if sizes else K
                charge(24 * size**2)
                found.append(_Open(np.eye(size, dtype=dtype), None, part.activation, None))
            else:
                found.append(part)
        else:
            found.append(part)
        K = getattr(part, "output_size", K)
        sizes.append(K)
        dtype = getattr(getattr(part, "weight", part), "dtype", dtype)
    left = [k for k in found if not isinstance(k, _Scaled) or not k.is_nothing] or found
    return [k.built(built) if isinstance(k, _Open | _Scaled) else k for k in left]


class _Open(NamedTuple):
    """A dense layer or a convolution that may still take up what is behind it."""

    weight: Array
    bias: Array | None
    activation: Any
    windows: tuple[Any, ...] | None

    def takes(self, activation: Any) -> bool:
        """Whether an activation can be its own."""
        if self.activation != LINEAR or activation == "log_softmax":
            return False
        return activation != SOFTMAX or self.windows is None

    def built(self, parts: PartsBuilt) -> Dense | Conv:
        """The part, built once."""
        if self.windows is None:
            return parts.get(
                ("dense", self.activation),
                (self.weight, self.bias),
                lambda: Dense(self.weight, self.bias, activation=self.activation),
            )
        stride, dilation, groups, padding = self.windows
        return parts.get(
            ("conv", self.windows, self.activation),
            (self.weight, self.bias),
            lambda: Conv(
                self.weight,
                self.bias,
                stride=stride,
                dilation=dilation,
                groups=groups,
                padding=padding,
                activation=self.activation,
            ),
        )


class _Scaled(NamedTuple):
    """An `Affine` that may still take up what is behind it."""

    center: Array | None
    scale: Array | None
    shift: Array | None

    @property
    def is_nothing(self) -> bool:
        """Whether every number stays what it is."""
        alone = self.center is None and self.shift is None
        return alone and self.scale is not None and bool((self.scale == 1).all())

    def built(self, parts: PartsBuilt) -> Affine:
        """The part, built once."""
        K, dtype = next((len(k), k.dtype) for k in self if k is not None)
        zeros, ones = np.zeros(K, dtype), np.ones(K, dtype)
        arrays = [
            given if given is not None else other
            for given, other in zip(self, (zeros, ones, zeros), strict=True)
        ]
        return parts.get("affine", arrays, lambda: Affine(*arrays))


def _scale(found: list[Any], part: Scale, plain: bool, built: PartsBuilt) -> None:
    """Put a scaling behind parts, or into the last of them."""
    last = found[-1] if found else None
    only_shift = part.center is None and part.scale is None
    if isinstance(last, LayerNorm) and (norm := _normed(last, part, built)) is not None:
        found[-1] = norm
        return
    if only_shift and isinstance(last, _Open) and last.bias is None and last.activation == LINEAR:
        found[-1] = last._replace(bias=part.shift)
    elif plain:
        scale = part.scale
        if scale is None:
            assert part.shift is not None
            scale = np.ones(len(part.shift), part.shift.dtype)
        charge(24 * len(scale) ** 2)
        found.append(_Open(np.diag(scale), part.shift, LINEAR, None))
    elif isinstance(last, _Scaled) and (merged := _merged(last, part)) is not None:
        found[-1] = merged
    else:
        found.append(_Scaled(part.center, part.scale, part.shift))


def _normed(last: LayerNorm, part: Scale, built: PartsBuilt) -> LayerNorm | None:
    """A normalisation that takes up a scaling, if it has none of its own yet."""
    if part.center is not None or last.shift.any():
        return None
    if part.scale is not None and (last.scale != 1).any():
        return None
    scale = last.scale if part.scale is None else part.scale
    shift = last.shift if part.shift is None else part.shift
    return built.get(
        ("norm", last.epsilon, last.centered),
        (scale, shift),
        lambda: LayerNorm(scale, shift, last.epsilon, centered=last.centered),
    )


def _merged(last: _Scaled, part: Scale) -> _Scaled | None:
    """Two scalings as one, where no number changes its meaning."""
    if part.center is None and part.scale is None:
        return last._replace(shift=part.shift) if last.shift is None else None
    alone = part.center is None and part.shift is None
    if alone and last.center is None and last.shift is None and last.scale is not None:
        return _Scaled(None, last.scale * part.scale, None)
    if part.center is None and last.scale is None and (last.center is None or last.shift is None):
        center = last.center if last.shift is None else -last.shift
        return _Scaled(center, part.scale, part.shift)
    return None


def uncertain(plans: Sequence[Plan]) -> bool:
    """Whether steps are read that one more example may tell apart."""
    return any(
        isinstance(entry.part, Choice)
        and any(not isinstance(k[0], Read) for k in _ways(entry.part))
        for plan in plans
        for entry in plan.entries
    )


# --- networks -----------------------------------------------------------------------------------


def network_from(plans: Sequence[Plan]) -> Network:
    """The network that is right for all examples of sizes.

    Raises
    ------
    UnsupportedModelError
        If there is none.
    """
    first = plans[0]
    parts: list[tuple[Any, ...]] = []
    for i, entry in enumerate(first.entries):
        ways = _ways(entry.part)
        for other in plans[1:]:
            fits = len(other.entries) == len(first.entries) and other.every == first.every
            if not fits or _reads(other.entries[i]) != _reads(entry):
                raise UnsupportedModelError(DEPENDS)
            theirs = _ways(other.entries[i].part)
            charge(steps=5 * len(ways))
            ways = [k for k in ways if any(_alike(k, way) for way in theirs)]
        if not ways:
            raise UnsupportedModelError(f"{DEPENDS} ({_named(entry.part)})")
        parts.append(ways[0])
    if any(len(k.entries) != len(first.entries) for k in plans):
        raise UnsupportedModelError(DEPENDS)
    try:
        return _numbered(first, parts)
    except UnsupportedModelError:
        raise
    except (ValueError, ArithmeticError) as error:
        raise UnsupportedModelError(str(error)) from None


DEPENDS = "what the graph computes depends on the number of sequences or steps"


def _reads(entry: Entry) -> tuple[int, ...]:
    """What an entry reads; a vector that is repeated reads one value, whichever way it is said."""
    repeated = isinstance(_ways(entry.part)[0][0], Repeat)
    return entry.reads[:1] if repeated else entry.reads


def _ways(part: Any) -> list[tuple[Any, ...]]:
    return list(part.alternatives) if isinstance(part, Choice) else [(part,)]


def _alike(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    return len(a) == len(b) and all(x is y or x == y for x, y in zip(a, b, strict=True))


def _named(part: Any) -> str:
    return "which steps are read" if isinstance(part, Choice) else repr(part)


def _numbered(plan: Plan, chosen: list[tuple[Any, ...]]) -> Network:
    """The network of these parts, with `From` where a part does not read the one before it."""
    parts: list[Any] = []
    value = {-1: -1}
    for i, (entry, way) in enumerate(zip(plan.entries, chosen, strict=True)):
        charge(steps=5)
        reads = tuple(value[k] for k in entry.reads)
        first, *others = way
        if isinstance(first, Join):
            parts.append(replace(first, values=reads))
        elif isinstance(first, AtEveryStep):
            below = parts[reads[1]]
            parts.append(From(reads[1]))
            parts.append(Dense(np.zeros((1, below.output_size), below.dtype)))
            parts.append(Join("add", (reads[0], len(parts) - 1)))
        else:
            if reads[0] != len(parts) - 1:
                parts.append(From(reads[0]))
            parts.append(first)
        parts += others
        value[i] = len(parts) - 1
    if not any(isinstance(k, Layer | Bidirectional) for k in parts):
        raise UnsupportedModelError("there is no LSTM between the input and the output")
    usual = (Embedding, Layer, Bidirectional, Dense, Read)
    if plan.every and all(isinstance(k, usual) for k in parts) and not any(map(_is_read, parts)):
        top = max(i for i, k in enumerate(parts) if isinstance(k, Layer | Bidirectional))
        parts.insert(top + 1, Read("final"))
    return Network(tuple(parts), plan.every)
