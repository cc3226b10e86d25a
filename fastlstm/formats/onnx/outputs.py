"""The outputs of an ONNX graph as a network: which steps are read, and what is applied to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.budget import charge
from fastlstm.formats.onnx.flow import Flow, Values
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.network import Network

__all__ = ["network_of"]

Array = npt.NDArray[Any]
DESCRIBING: Final = 200  # steps that it takes to describe one output


def network_of(flow: Flow, outputs: Mapping[str, Array]) -> Network:
    """The network of a graph whose outputs are these ids, by their names.

    One output is the network's, the first that can be; the others may only be final states, as a
    call of the model gives them.

    Raises
    ------
    UnsupportedModelError
        If it gives something else.
    """
    flaw: UnsupportedModelError | None = None
    rest = _Rest(outputs)
    for name, ids in outputs.items():
        charge(steps=DESCRIBING)
        try:
            source, network = _network_of_one(flow, ids)
        except UnsupportedModelError as error:
            flaw = flaw or UnsupportedModelError(f"output {name!r}: {error}")
            continue
        other = rest.beside(name, source)
        if other is None:
            _check_starts(source)
            return network
        flaw = flaw or UnsupportedModelError(
            f"output {other!r}: a second output that is not the final state of its layers, h or "
            f"c; {name!r} is computed: export the model with that output alone"
        )
    assert flaw is not None
    raise flaw


class _Rest:
    """The outputs that are not final states, found once for each stack of LSTM layers."""

    def __init__(self, outputs: Mapping[str, Array]) -> None:
        self._outputs = outputs
        self._found: dict[Values | None, list[str]] = {}

    def beside(self, name: str, source: Values) -> str | None:
        """The first output besides `name` that is not a final state of the source's layers."""
        chain = _chain(source)
        last = chain[-1] if chain else None
        if last not in self._found:
            self._found[last] = self._no_states(chain)
        return next((other for other in self._found[last] if other != name), None)

    def _no_states(self, chain: list[Values]) -> list[str]:
        """The first two outputs that are not states: one of them may be the network's own."""
        states: dict[tuple[Any, ...], list[Array]] = {}  # by shape and first id
        for state in _states(chain):
            flat = state.squeeze()
            states.setdefault((flat.shape, *flat.flat[:1]), []).append(flat)
        found = []
        for name, ids in self._outputs.items():
            flat = ids.squeeze()
            alike = states.get((flat.shape, *flat.flat[:1]), [])
            charge(steps=5 * (1 + len(alike)), elements=flat.size * len(alike))
            if not flat.size or not any(np.array_equal(flat, state) for state in alike):
                found.append(name)
                if len(found) == 2:
                    break
        return found


def _network_of_one(flow: Flow, ids: Array) -> tuple[Values, Network]:
    """Where one output comes from, and the network that gives it alone."""
    if not ids.size:
        raise UnsupportedModelError("it is empty")
    source, n, t, k = flow.located(ids)
    top = source.top
    if top is None:
        raise UnsupportedModelError("there is no LSTM between the input and the output")
    for d in range(2):
        if isinstance(top, Bidirectional) and (k // (source.K // 2) == d).all():
            if source.layers[-1] is not top or source.read == "cells" or source.head:
                break
            one = _direction(flow, source, d)
            k = k % (source.K // 2)
            return _network_of_one(flow, one.first + (n * one.T + t) * one.K + k)
    flat = (source.first + (n * source.T + t) * source.K + k).squeeze()
    at = max(i for i, layer in enumerate(source.layers) if layer is top)
    layers, dense = list(source.layers[: at + 1]), source.layers[at + 1 :]
    head, read, every = (*dense, *source.head), "final", False
    if source.read in ("max", "mean"):  # of what dense layers give at every step
        layers, head = list(source.layers), source.head
    direction = None if dense and isinstance(top, Bidirectional) else top
    if source.read is not None:
        if source.read == "cells":
            raise UnsupportedModelError("the output is the cell state Y_c")
        _require(flat, _vectors(source.ids[:, 0], top), "sequences and outputs")
        read = source.read
    elif flat.size == source.N * source.T * source.K and not (source.T == 1 and t.ndim < 3):
        every = True
        if _is_one_of(flat, _sequences(source.ids[:, ::-1], top)) and source.T > 1:
            if not isinstance(top, Layer) or top.direction != "reverse":
                raise UnsupportedModelError("the output's steps are in reverse order")
            layers[-1] = _go_backwards(flow, top)
        else:
            _require(flat, _sequences(source.ids, top), "sequences, steps and outputs")
    else:
        if source.lengths is not None:
            raise UnsupportedModelError(
                "reads one step of Y with sequence_lens: it is zero for shorter sequences"
            )
        read = _read(source, direction, flat)
    try:
        return source, Network.of(layers, head, every, read=read)
    except UnsupportedModelError:
        raise
    except ValueError as error:
        raise UnsupportedModelError(str(error)) from None


def _direction(flow: Flow, source: Values, d: int) -> Values:
    """One direction of a bidirectional layer, as a layer of its own."""
    top = source.layers[-1]
    assert isinstance(top, Bidirectional)
    return flow.add(
        source.N,
        source.T,
        source.K // 2,
        layers=(*source.layers[:-1], top.cells[d]),
        parent=source.parent,
        read=source.read,
        lengths=source.lengths,
        states={name: state[d : d + 1] for name, state in source.states.items()},
        starts=source.starts[d : d + 1],
    )


def _read(source: Values, top: Layer | Bidirectional | None, flat: Array) -> str:
    """Which step of a source was read: ``"final"`` or ``"last"``."""
    ids, half = source.ids, source.K // 2
    final = last = ids[:, -1]
    if isinstance(top, Bidirectional):
        final = np.concatenate([ids[:, -1, :half], ids[:, 0, half:]], -1)
    elif top is not None:
        final = ids[:, 0 if top.direction == "reverse" else -1]
    if top is not None and _is_one_of(flat, _vectors(final, top)):
        return "final"
    if _is_one_of(flat, _vectors(last, top)):
        return "last"
    raise UnsupportedModelError(
        "the output is not one step of all sequences: neither the last, nor that where each "
        "direction ends"
    )


def _vectors(ids: Array, top: Layer | Bidirectional | None) -> Iterator[Array]:
    """Ids (N, K) in all the orders of axes that are accepted."""
    yield ids
    D = 1 if top is None else len(top.cells)
    if ids.shape[1] % D == 0:
        apart = ids.reshape(len(ids), D, -1)
        yield apart
        yield apart.transpose(1, 0, 2)


def _sequences(ids: Array, top: Layer | Bidirectional) -> Iterator[Array]:
    """Ids (N, T, K) in all the orders of axes that are accepted."""
    N, T, K = ids.shape
    yield ids
    yield ids.transpose(1, 0, 2)
    if K % (D := len(top.cells)) == 0:
        apart = ids.reshape(N, T, D, -1)
        yield apart
        yield apart.transpose(1, 2, 0, 3)


def _is_one_of(flat: Array, orders: Iterator[Array]) -> bool:
    return any(np.array_equal(flat, ids.squeeze()) for ids in orders)


def _require(flat: Array, orders: Iterator[Array], what: str) -> None:
    if not _is_one_of(flat, orders):
        raise UnsupportedModelError(f"the output does not hold {what} in that order")


def _go_backwards(flow: Flow, layer: Layer) -> Layer:
    return flow.parts.get(
        ("go_backwards", id(layer)), (), lambda: replace(layer, direction="go_backwards")
    )


def _chain(source: Values) -> list[Values]:
    """The recurrent layers' sources, from the input on."""
    found: list[Values] = []
    at: Values | None = source
    while at is not None:
        charge(steps=0.2)
        if at.states:
            found.append(at)
        at = at.parent
    return found[::-1]


def _states(chain: list[Values]) -> Iterator[Array]:
    """The ids of h_n and of c_n: of all layers, of each, and of each direction of it."""
    layers = [k.states for k in chain]
    for name in ("h", "c"):
        for parts in (layers, *([k] for k in layers)):
            if parts:
                size = sum(k[name].size for k in parts)
                charge(4 * size, steps=10 * len(parts), elements=size)
                together = np.concatenate([k[name] for k in parts])
                yield together
                yield together.transpose(1, 0, 2)
                yield from together


def _check_starts(source: Values) -> None:
    """Refuse initial states that are inputs, but not in the order in which a call takes them."""
    chain = _chain(source)
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
        for layer in source.layers
        if isinstance(layer, Layer | Bidirectional)
        for cell in layer.cells
    )
    if used and learned:
        raise UnsupportedModelError("some initial states are inputs, others are constants")
