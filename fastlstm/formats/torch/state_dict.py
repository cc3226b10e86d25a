"""A torch module, or its tensors by name, as a network. Neither needs torch to be imported here.

The weights do not say what a ``forward`` does with them. So the caller names the parts (`Hints`),
and weights or modules that are left over are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.found import Found
from fastlstm.formats.torch.advice import follow_it
from fastlstm.formats.torch.chain import chain_of
from fastlstm.formats.torch.hints import Hints, refuse_decoder
from fastlstm.formats.torch.left_over import Place, names_before, refuse_left_over, which_read
from fastlstm.formats.torch.modules import (
    Piece,
    activation_named,
    check_embedding,
    check_lstm,
    parents_of,
    refuse_in_front,
    refuse_modules,
    tail_of,
)
from fastlstm.formats.torch.names import (
    as_numpy,
    dense_from,
    embedding_from,
    find_lstms,
    find_name,
    layers_from,
    lstm_names,
)
from fastlstm.formats.torch.state import parts_of
from fastlstm.formats.torch.unused import Without, groups_of, ignored_names, in_front
from fastlstm.formats.trust import WrongChoice
from fastlstm.messages import Message, Option, message_of
from fastlstm.network.activations import LINEAR, Activation, as_activations
from fastlstm.network.dense import Dense, as_head
from fastlstm.network.layers import Bidirectional
from fastlstm.network.network import AnyLayer, Network, check_layers

__all__ = ["network_of"]


def network_of(source: Any, hints: Hints) -> Found:
    """The network of a module, or of a mapping of tensors with torch's names.

    Raises
    ------
    WrongChoice
        If it is the hints that do not fit.
    TypeError, ValueError, UnsupportedModelError
        As `fastlstm.from_torch`.
    """
    hints = hints.checked()
    if hints.parts:
        return chain_of(source, hints)
    model = _Model(source, hints)
    model.take_lstms()
    if hints.embedding is not None:
        model.take_embedding(hints.embedding)
    model.take_head()
    model.refuse_the_rest()
    return Found(model.network(), (*model.unused, *model.rest))


class _Model:
    """What a caller has handed over, from which one part after the other is taken."""

    def __init__(self, source: Any, hints: Hints) -> None:
        self.hints = hints
        self.of_cell = as_activations([activation_named(k) for k in hints.activations])
        self.tensors, self.modules = parts_of(source)
        self.parents = {name.rpartition(".")[0] for name in self.modules if name}
        self.left_out = ignored_names(hints.ignored, self.tensors, self.modules)
        self.unused = [name for name in self.tensors if name in self.left_out]
        if self.left_out:
            self.tensors = Without(self.tensors, self.left_out)
            self.modules = {k: v for k, v in self.modules.items() if k not in self.left_out}
        self.used: set[str] = set()  # names of tensors
        self.mine: set[str] = set()  # names of modules
        self.layers: list[AnyLayer] = []
        self.head: Any = hints.head
        self.named: list[Activation | str] = []  # activations of layers that have none themselves

    # --- taking parts -----------------------------------------------------------------------

    def take_lstms(self) -> None:
        """The LSTM, or the chain of them."""
        try:
            self.roots = find_lstms(self.tensors, self.hints.prefix)
            refuse_decoder(self.hints.prefix, self.hints.chain)
        except WrongChoice as error:
            raise WrongChoice(Message(message_of(error), *follow_it(self.modules))) from None
        for root in self.roots:
            check_lstm(self.modules, root)
            self.layers += layers_from(self.tensors, root, self.of_cell)
            self.used.update(lstm_names(self.tensors, root))
            self.mine.add(root.removesuffix("."))
            named = f"LSTM {root.removesuffix('.')!r}" if root else "LSTM"
            _require_whole(lstm_names(self.unused, root), named)
        check_layers(self.layers)
        self.place = Place(
            bottom=self.layers[0],
            top=self.layers[-1],
            both=isinstance(self.layers[-1], Bidirectional),
            before=names_before(self.tensors, self.used),
            modules=self.modules,
        )

    def take_embedding(self, name: str) -> None:
        """The embedding in front."""
        name = name.removesuffix(".")
        full = find_name(self.tensors, f"{name}.weight", self.roots[0], "embedding")
        name = name if full is None else full.removesuffix(".weight")
        check_embedding(self.modules, name)
        self.layers.insert(0, embedding_from(self.tensors, name))
        self.used.add(f"{name}.weight")
        self.mine.add(name)

    def take_head(self) -> None:
        """The dense layers behind, by their names or by their weights."""
        names, head = self.hints.head_names, self.hints.head
        if names is not None:
            tail = self._tail(names)
            self.head = self._denses(tail)
            self.used |= {f"{k.name}.{part}" for k in tail for part in ("weight", "bias")}
        elif isinstance(head, (tuple, list)) and not _are_denses(head):
            self.head = [None if part is None else as_numpy(part) for part in head]
        self.rest = [name for name in self.tensors if name not in self.used]
        if names is None and head is not None:
            others = _others(self.tensors, self.rest, self.head)
            self.mine |= {name.rpartition(".")[0] for name in self.rest if name not in others}
            self.rest = others

    def _tail(self, names: list[str]) -> list[Piece]:
        """The dense layers of these names, with their activations."""
        tail: list[Piece] = []
        seen: set[str] = set()
        for name, hint in zip(names, self._activations(names), strict=True):
            pieces, modules = self._named(name)
            seen |= modules
            if hint is not None and pieces:
                named, own = activation_named(hint), pieces[-1].activation
                if own not in (LINEAR, named):
                    said = f" has the activation {own} already, got "
                    hinted = Option("activation", hint)
                    raise WrongChoice(Message(Option("head", name), said, hinted))
                pieces[-1] = pieces[-1]._replace(activation=named)
                if own == LINEAR:
                    self.named.append(named)
            tail += pieces
        self.mine |= seen
        for part in seen | {piece.name for piece in tail if piece.name is not None}:
            inside = [name for name in self.left_out if name.startswith(f"{part}.")]
            _require_whole(inside, f"head {part!r}")
        return tail

    def _activations(self, names: list[str]) -> Sequence[Any]:
        """The hint for what follows each of the layers of these names."""
        given = self.hints.activation
        hints = [given] if len(names) == 1 else given
        if isinstance(hints, str) or not isinstance(hints, Sequence) or len(hints) != len(names):
            raise WrongChoice(
                Message(
                    Option("head", names),
                    f": expected an activation for each of the {len(names)} layers, such as ",
                    Option("activation", ["relu"] * (len(names) - 1) + [None]),
                    ", got ",
                    "none" if given is None else Option("activation", given),
                )
            )
        return hints

    def _named(self, name: str) -> tuple[list[Piece], set[str]]:
        """A dense layer, or all that is in a module of this name, and the modules in it."""
        root = self.roots[-1]
        module = find_name(self.modules, name, root, "head") if self.modules else None
        if module is not None:
            return tail_of(self.modules, module, self.hints.return_sequences)
        full = find_name(self.tensors, f"{name}.weight", root, "head")
        name = name if full is None else full.removesuffix(".weight")
        return [Piece(name, dense_from)], set()

    def _denses(self, tail: list[Piece]) -> list[Dense]:
        """The layers of a tail."""
        top = self.place.top
        denses: list[Dense] = []
        for piece in tail:
            if piece.name is None or piece.read is None:
                denses.append(_unit(denses[-1] if denses else top, piece.activation))
                continue
            dense = piece.read(self.tensors, piece.name, piece.activation)
            if not denses and self.place.both and dense.input_size * 2 == top.output_size:
                raise UnsupportedModelError(
                    Message(
                        Option("head", piece.name),
                        f" reads {dense.input_size} numbers: one direction alone, or the sum of "
                        f"both. This version computes heads that read the {top.output_size} "
                        "numbers of both",
                    )
                )
            denses.append(dense)
        return denses

    # --- what is left ------------------------------------------------------------------------

    def refuse_the_rest(self) -> None:
        """Refuse weights and modules that no hint names, unless they may be left out."""
        hints = self.hints
        groups = groups_of(self.tensors, self.rest)
        if hints.alone:
            groups = in_front(groups, self.place.bottom.input_size)
        if groups:
            refuse_left_over(groups, hints, self.place)
        if hints.alone:
            owners = {name.rpartition(".")[0] for name in [*self.tensors, *self.unused]}
            known = self.mine | self.parents | owners
            weightless = {name: k for name, k in self.modules.items() if name not in known}
            refuse_in_front(weightless, _behind(self.rest, self.mine))
        else:
            of_head = _hinted(hints.activation) if hints.head_names is None else self.named
            hinted = [*of_head, *_hinted(hints.between)]  # each stands for one module
            refuse_modules(self.modules, self.mine | self.parents, hinted)

    def network(self) -> Network:
        """All of it, as a network."""
        hints, top = self.hints, self.place.top
        try:
            denses = as_head(self.head, top.output_size, top.dtype)
            if hints.head_names is None:
                denses = _with_activation(denses, hints.activation)
            if hints.between is not None:
                if not denses:
                    said = Option("between", hints.between)
                    raise WrongChoice(Message(said, ": there is no head"))
                denses = (_unit(top, hints.between), *denses)
            read = hints.read
            if denses and self.place.both and read is None:
                if not hints.return_sequences:
                    raise WrongChoice(which_read(hints, self.modules))
                read = "last"  # a call that asks for one output gets that of the last step
            return Network.of(
                self.layers, denses, hints.return_sequences, read=read or "final", skip=hints.skip
            )
        except UnsupportedModelError:
            raise
        except ValueError as error:
            raise WrongChoice(message_of(error)) from None


def _require_whole(ignored: Sequence[str], what: str) -> None:
    """Refuse to leave out a part of something that is used."""
    if ignored:
        raise WrongChoice(
            Message(
                Option("ignore", ignored[0]),
                f": this is a part of the {what}, which is used; a layer is computed, or left "
                "out, as a whole",
            )
        )


def _behind(rest: Iterable[str], mine: set[str]) -> set[str]:
    """Modules that hold some of these weights, but not the LSTM: what stands behind it."""
    around = {parent for name in mine for parent in [*parents_of(name), name]}
    return {parent for name in rest for parent in parents_of(name)} - around


def _others(tensors: Mapping[str, Any], names: list[str], head: Any) -> list[str]:
    """The names of tensors that are not those of a head that is given by its weights."""
    parts = head if isinstance(head, (tuple, list)) else [head]
    weights = [k for p in parts for k in (p.weight, p.bias)] if _are_denses(parts) else parts
    values = [np.asarray(k) for k in weights if k is not None]

    def is_one(name: str) -> bool:
        mine = as_numpy(tensors[name])
        return any(k.shape == mine.shape and np.array_equal(k, mine) for k in values)

    return [name for name in names if not is_one(name)]


def _are_denses(parts: Iterable[Any]) -> bool:
    return all(isinstance(part, Dense) for part in parts)


def _unit(before: Any, activation: Any) -> Dense:
    """An activation by itself, of what the layer before gives."""
    unit = np.eye(before.output_size, dtype=before.dtype)
    return Dense(unit, activation=activation_named(activation))


def _with_activation(denses: tuple[Dense, ...], activation: Any) -> tuple[Dense, ...]:
    """A head that is given by its weights, with the activation that was named beside it."""
    if activation is None:
        return denses
    if not denses or denses[-1].activation != LINEAR:
        what = "there is no head" if not denses else f"the head has {denses[-1].activation} already"
        raise WrongChoice(Message(Option("activation", activation), f": {what}"))
    last = denses[-1]
    return (*denses[:-1], Dense(last.weight, last.bias, activation=activation_named(activation)))


def _hinted(activation: Any) -> list[Activation | str]:
    """All activations that a caller has named."""
    if isinstance(activation, (tuple, list)):
        try:
            return [activation_named(activation)]  # a name and its numbers
        except (TypeError, ValueError):
            return [activation_named(part) for part in activation]
    return [activation_named(activation)]
