"""The outputs of an ONNX graph: which of them is the network's, and which steps of it are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.budget import charge
from fastlstm.formats.onnx.flow import Flow
from fastlstm.formats.onnx.plan import Plan, network_from, plan_of
from fastlstm.formats.onnx.tape import Ids, Located, Value, varies
from fastlstm.network.layers import Bidirectional, Layer

__all__ = ["plan_of_outputs"]

Array = npt.NDArray[Any]
DESCRIBING: Final = 200  # steps that it takes to describe one output


def plan_of_outputs(flow: Flow, outputs: Mapping[str, Ids]) -> Plan:
    """The plan of the network of a graph with these outputs, by their names.

    One output is the network's, the first that can be; the others may only be final states, as a
    call of the model gives them.

    Raises
    ------
    UnsupportedModelError
        If it gives something else.
    """
    flaw: UnsupportedModelError | None = None
    rest = _Rest(flow, outputs)
    for name, ids in outputs.items():
        charge(steps=DESCRIBING)
        try:
            value = _output(flow, ids)
            if value.flaw is not None:
                raise UnsupportedModelError(f"the output is {value.flaw}")
            if not value.recurrent:
                raise UnsupportedModelError("there is no LSTM between the input and the output")
            plan = plan_of(value, flow.parts)
            network_from([plan])
        except UnsupportedModelError as error:
            flaw = flaw or type(error)(f"output {name!r}: {error}")
            continue
        other = rest.beside(name, value)
        if other is None:
            _check_starts(flow, value)
            return plan
        flaw = flaw or UnsupportedModelError(
            f"output {other!r}: a second output that is not the final state of its layers, h or "
            f"c; {name!r} is computed: export the model with that output alone"
        )
    assert flaw is not None
    raise flaw


class _Rest:
    """The outputs that are not final states, found once for each stack of LSTM layers."""

    def __init__(self, flow: Flow, outputs: Mapping[str, Ids]) -> None:
        self._flow, self._outputs = flow, outputs
        self._found: dict[Value | None, list[str]] = {}

    def beside(self, name: str, value: Value) -> str | None:
        """The first output besides `name` that is not a final state of the value's layers."""
        if len(self._outputs) == 1:
            return None
        chain = _chain(self._flow, value)
        last = chain[-1] if chain else None
        if last not in self._found:
            self._found[last] = self._no_states(chain)
        return next((other for other in self._found[last] if other != name), None)

    def _no_states(self, chain: list[Value]) -> list[str]:
        """The first two outputs that are not states: one of them may be the network's own."""
        states: dict[tuple[Any, ...], list[Array]] = {}  # by shape and first id
        for state in _states(chain):
            flat = state.squeeze()
            states.setdefault((flat.shape, *flat.flat[:1]), []).append(flat)
        found = []
        for name, ids in self._outputs.items():
            flat = ids.ids.squeeze()
            alike = states.get((flat.shape, *flat.flat[:1]), [])
            charge(steps=5 * (1 + len(alike)), elements=flat.size * len(alike))
            if not flat.size or not any(np.array_equal(flat, state) for state in alike):
                found.append(name)
                if len(found) == 2:
                    break
        return found


def _output(flow: Flow, x: Ids) -> Value:
    """The value that an output is, whatever the order of its axes."""
    if not x.array.size:
        raise UnsupportedModelError("it is empty")
    at = flow.located(x)
    x = Ids(flow.one(x).array, at.value)
    if at.value.flaw is not None:
        return at.value
    x = x.moved(x.array.reshape([k for k in x.shape if k > 1]))
    at = flow.located(x)
    for arranged in _arrangements(flow, x, at):
        return arranged
    raise UnsupportedModelError(
        "the output does not hold sequences, steps and outputs in that order"
    )


def _arrangements(flow: Flow, x: Ids, at: Located) -> Iterator[Value]:
    value, places = at.value, x.array
    axes = list(range(places.ndim))
    batch = [axis for axis in axes if varies(at.n, axis)]
    if value.N > 1:
        if len(batch) != 1 or places.shape[batch[0]] != value.N:
            raise UnsupportedModelError(
                "the output does not hold sequences, steps and outputs in that order"
            )
        places = np.moveaxis(places, batch[0], 0)
    else:
        places = places[None]
    at = flow.located(x.moved(places))
    over = [axis for axis in range(1, places.ndim) if varies(at.t, axis)]
    rest = [axis for axis in range(1, places.ndim) if axis not in over]
    whole = places.size == value.N * value.T * value.K
    if value.every and value.T == 1 and whole and len(rest) < 2 and x.array.ndim < 3:
        over = []
    if len(over) == 1 and not varies(at.k, *over):
        ordered = places.transpose(0, over[0], *rest)
        if rest and over[0] != 1 and not _directions(value, places, over[0]):
            raise UnsupportedModelError(
                "the output does not hold sequences, steps and outputs in that order"
            )
        yield _sequence(flow, x.moved(ordered.reshape(*ordered.shape[:2], -1)))
        return
    if not over and places.ndim > 2 and not _is_states(value, places) and varies(at.k, 1):
        yield _sequence(flow, x.moved(places.reshape(*places.shape[:2], -1)))
        return
    yield _vector(flow, x.moved(places.reshape(len(places), -1)))


def _directions(value: Value, places: Array, axis: int) -> bool:
    """Whether (N, directions, T, H) are the outputs of a layer, as its operator gives them."""
    return isinstance(value.part, Bidirectional) and places.ndim == 4 and axis == 2


def _is_states(value: Value, places: Array) -> bool:
    """Whether (N, directions, H) are what a layer of two directions gives at its end."""
    part = value.part
    top = value.parents[0].part if value.parents else None
    read = not value.every and isinstance(top, Bidirectional)
    return (read or isinstance(part, Bidirectional)) and places.shape[1] == 2


def _sequence(flow: Flow, x: Ids) -> Value:
    at = flow.located(x)
    value, T = at.value, x.shape[1]
    if isinstance(value.part, Layer) and value.part.direction == "reverse" and T > 1:
        steps = np.broadcast_to(at.t[0, :, 0], (T,)) if not varies(at.t, 0, 2) else None
        if steps is not None and np.array_equal(steps, np.arange(value.T)[::-1]):
            layer = value.part
            turned = flow.parts.get(
                ("go_backwards", id(layer)), (), lambda: replace(layer, direction="go_backwards")
            )
            about = {"starts": value.starts, "states": value.states, "lengths": value.lengths}
            value = flow.derive(value.parents, turned, T, value.K, True, **about)
            x = flow.placed(value, at.n, np.arange(T)[:, None], at.k)
    value, order = flow.sequence(x)
    return flow.selected(value, order)


def _vector(flow: Flow, x: Ids) -> Value:
    value, order = flow.vector(x)
    return flow.selected(value, order)


def _chain(flow: Flow, value: Value) -> list[Value]:
    """The values of recurrent layers, from the input on."""
    found = [k for k in flow.chain(value) if k.states and k.every]
    return sorted(found, key=lambda k: k.first)


def _states(chain: list[Value]) -> Iterator[Array]:
    """The ids of h_n and of c_n: of all layers, of each, and of each direction of it."""
    layers = [k.states for k in chain]
    for name in ("h", "c"):
        for parts in (layers, *([k] for k in layers)):
            if parts:
                size = sum(k[name].array.size for k in parts)
                charge(8 * size, steps=10 * len(parts), elements=size)
                together = np.concatenate([k[name].ids for k in parts])
                yield together
                yield together.transpose(1, 0, 2)
                yield from together


def _check_starts(flow: Flow, value: Value) -> None:
    """Refuse initial states that are inputs, but not in the order in which a call takes them."""
    chain = _chain(flow, value)
    starts = [start for k in chain for start in k.starts]
    if {h[0] for h, _ in starts if h} & {c[0] for _, c in starts if c}:
        raise UnsupportedModelError("one input is the initial state of both h and c")
    used: dict[str, int] = {}
    for h, c in starts:
        for given in (h, c):
            if given is not None:
                name, row = given
                if row != used.get(name, 0):
                    raise UnsupportedModelError(
                        f"the initial states of {name!r} are not in the order of the layers"
                    )
                used[name] = row + 1
    learned = any(
        cell.h_0 is not None or cell.c_0 is not None
        for layer in (k.part for k in chain)
        if isinstance(layer, Layer | Bidirectional)
        for cell in layer.cells
    )
    if used and learned:
        raise UnsupportedModelError("some initial states are inputs, others are constants")
