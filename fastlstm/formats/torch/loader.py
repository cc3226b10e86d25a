"""Networks from PyTorch: a module, or its tensors by name. Imports torch for neither."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.check import check_module
from fastlstm.formats.torch.modules import (
    Tail,
    activation_named,
    check_embedding,
    check_lstm,
    kind_of,
    parents_of,
    refuse_in_front,
    refuse_modules,
    tail_of,
)
from fastlstm.formats.torch.names import (
    as_numpy,
    embedding_from,
    find_lstms,
    find_name,
    head_from,
    layers_from,
    lstm_names,
)
from fastlstm.formats.torch.state import parts_of
from fastlstm.formats.torch.unused import (
    Group,
    Without,
    groups_of,
    ignored_names,
    in_front,
)
from fastlstm.formats.trust import WrongChoice
from fastlstm.messages import Line, Message, Option, message_of, spelt
from fastlstm.network.activations import LINEAR, Activation, as_activations
from fastlstm.network.dense import Dense, as_head
from fastlstm.network.layers import Bidirectional
from fastlstm.network.network import Network, as_flag, check_layers
from fastlstm.network.reading import READS, How

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["build", "from_torch", "refuse_decoder"]

DEFAULT_ACTIVATIONS = ("sigmoid", "tanh", "tanh")
Names = str | Sequence[str]
# What the head of two directions reads, and the code that it stands for.
FINAL, LAST = "torch.cat([h_n[-2], h_n[-1]], 1)", "out[:, -1]"


@spelt
def from_torch(
    module_or_state_dict: Any,
    prefix: Names = "",
    head: Any = None,
    activations: Sequence[Any] = DEFAULT_ACTIVATIONS,
    return_sequences: bool = False,
    *,
    activation: Any = None,
    between: Any = None,
    embedding: str | None = None,
    read: How | None = None,
    ignore: Names = (),
    chain: Literal["steps"] | None = None,
    skip: int = 0,
    check: Any = None,
) -> LSTM:
    """A network from a torch module or from tensors with torch's names.

    Batches always come first, whatever the module's ``batch_first``, and dropout is inactive, as
    in ``eval()`` mode. What a ``forward`` does with the weights cannot be seen here: the hints say
    it, and `check` compares.

    Parameters
    ----------
    module_or_state_dict : nn.LSTM, nn.LSTMCell, nn.Module or mapping of str to array or tensor
        A module that is or holds an LSTM, or a mapping such as its ``state_dict()``, also inside
        of other mappings, as checkpoints have it. A mapping of NumPy arrays needs no torch, its
        layers may differ in hidden size, and it may hold ``peephole_i_l0``, ``peephole_f_l0``
        and ``peephole_o_l0`` (H,). ``float16`` and ``bfloat16`` are widened to ``float32``.
    prefix : str or sequence of str, optional
        Where the LSTM is, such as ``"encoder.lstm"``; needed if there are several. A list is a
        chain, in which each LSTM reads every step of the one before: ``b(a(x)[0])``. Without a
        `head`, a prefix takes the LSTM (and its `embedding`) alone out of a larger model: what
        comes behind it is left out, and `LSTM.unused` has the names; what may stand in front of
        it, by its sizes or because it has no weights, is refused.
    head : str, sequence of str, Dense, number or (weight, bias), optional
        The dense head, or its name: ``"fc"`` takes ``fc.weight`` and ``fc.bias``. A name of an
        `nn.Sequential` of a module takes its dense layers and activations. Names of several
        layers need an `activation` for each. With a head no weights may be left over.
    activations : sequence of three activations
        Of gates, candidate and cell output; see `Activation`. Torch's own are the default.
    return_sequences : bool
        Whether `predict` applies the head at every step unless told otherwise.
    activation : str, Activation or sequence of them, optional
        Of the head: ``"sigmoid"``, ``"softmax"``, ``("leaky_relu", 0.2)``; of several named dense
        layers a list with one for each, ``["relu", None]``. ``"hardsigmoid"`` is torch's, with
        1/6 and 0.5. Each stands for one activation module of the model.
    between : str or Activation, optional
        An activation between what is read and the head: ``"relu"`` for ``fc(torch.relu(h))``.
    embedding : str, optional
        The name of the `nn.Embedding` in front. Torch masks no id, its ``padding_idx`` neither.
    read : {"final", "last", "max", "mean"}, optional
        What the head reads when there is one output for a sequence. ``"final"`` is ``h_n[-1]``,
        of two directions ``torch.cat([h_n[-2], h_n[-1]], 1)``. ``"last"`` is ``out[:, -1]``:
        the same for one direction, but of two the backward half has read a single step there.
        ``"max"`` and ``"mean"`` are those of ``out`` over the steps. A head of two directions
        needs it, unless it is applied at every step.
    ignore : str or sequence of str, optional
        Modules or weights that are left out, by name: those of another branch, which are not on
        the way from the inputs to the outputs. Whatever is on the way is then not computed. A
        part of a layer that is used cannot be left out.
    chain : {"steps"}, optional
        What each LSTM of a list of prefixes reads of the one before. Every step is meant anyway;
        it has to be said where the names are those of an encoder and a decoder, between which
        most models do something else.
    skip : int
        So many inputs are added to the head's outputs.
    check : array (N, T, I) or tensor, optional
        Inputs (ids (N, T) with an `embedding`) on which the module itself is run, too, in
        ``eval()`` mode: the network has to give its numbers. What is allowed is 16 times the
        error that float32 makes in this network on these inputs (float64 for a module of that).
        The module gets them as they are, or time first where its LSTM has no ``batch_first``,
        and its training mode is as before afterwards. Of several outputs, one has to agree. Take
        some sequences of some steps: after a single step, most choices come to the same.

    Returns
    -------
    LSTM

    Raises
    ------
    UnsupportedModelError
        For a GRU or plain RNN, a class of its own instead of `nn.LSTM`, weight_norm, a
        normalisation, convolution or attention, or a dtype that is none of the above; for a
        module that holds more than an LSTM, its embedding and its head, such as a ReLU that no
        hint names; and if `check` finds other numbers.
    ValueError
        If the LSTM or the head is missing or ambiguous (the candidates are listed), if `read` is
        needed, if weights would be left out, or if shapes do not fit.
    TypeError
        If the first argument is none of these, a weight is masked, or there is no such argument.
    """
    try:
        model = build(
            module_or_state_dict,
            prefix,
            head,
            activations,
            return_sequences,
            activation=activation,
            between=between,
            embedding=embedding,
            read=read,
            ignore=ignore,
            chain=chain,
            skip=skip,
        )
    except WrongChoice as error:
        raise ValueError(message_of(error)) from None
    if check is not None:
        check_module(module_or_state_dict, model, check)
    return model


def build(
    module_or_state_dict: Any,
    prefix: Names = "",
    head: Any = None,
    activations: Sequence[Any] = DEFAULT_ACTIVATIONS,
    return_sequences: bool = False,
    *,
    activation: Any = None,
    between: Any = None,
    embedding: str | None = None,
    read: str | None = None,
    ignore: Names = (),
    chain: str | None = None,
    skip: int = 0,
) -> LSTM:
    """`from_torch`, with errors that tell a wrong choice (`WrongChoice`) from wrong tensors."""
    from fastlstm.model import LSTM

    every = as_flag("return_sequences", return_sequences)
    if read is not None and read not in READS:
        raise WrongChoice(Message(Option("read"), f": expected one of {READS}, got {read!r}"))
    if chain not in (None, "steps"):
        raise WrongChoice(Message(Option("chain"), f': expected "steps", got {chain!r}'))
    for name, value in (("prefix", prefix), ("ignore", ignore), ("embedding", embedding or "")):
        _require_text(name, value, several=name != "embedding")
    of_cell = as_activations([activation_named(k) for k in activations])
    asked = _Asked(
        prefix=prefix if isinstance(prefix, str) else list(prefix),
        head=list(head) if isinstance(head, tuple) and _names_of(head) else head,
        activation=activation,
        between=between,
        embedding=embedding,
        read=read,
        ignore=ignore if isinstance(ignore, str) else list(ignore),
        chain=chain,
        return_sequences=every,
        skip=skip,
    )
    tensors, modules = parts_of(module_or_state_dict)
    parents = {name.rpartition(".")[0] for name in modules if name}
    left_out = ignored_names(asked.ignored, tensors, modules)
    unused = [name for name in tensors if name in left_out]
    if left_out:
        tensors = Without(tensors, left_out)
        modules = {name: k for name, k in modules.items() if name not in left_out}
    roots = find_lstms(tensors, prefix)
    refuse_decoder(asked.prefix, chain)
    used: set[str] = set()
    mine: set[str] = set()
    layers: list[Any] = []
    for root in roots:
        check_lstm(modules, root)
        layers += layers_from(tensors, root, of_cell)
        used.update(lstm_names(tensors, root))
        mine.add(root.removesuffix("."))
        _require_whole(lstm_names(unused, root), f"LSTM {root.removesuffix('.')!r}")
    before = _before(tensors, used)
    check_layers(layers)
    bottom, top = layers[0], layers[-1]
    if embedding is not None:
        embedding = embedding.removesuffix(".")
        full = find_name(tensors, f"{embedding}.weight", roots[0], "embedding")
        name = embedding if full is None else full.removesuffix(".weight")
        check_embedding(modules, name)
        layers.insert(0, embedding_from(tensors, name))
        used.add(f"{name}.weight")
        mine.add(name)
    names = _names_of(head)
    both = isinstance(top, Bidirectional)
    if names is not None:
        tail, of_tail, activations_left = _tail(
            tensors, modules, names, activation, roots[-1], every
        )
        for part in of_tail | {name for name, _ in tail if name is not None}:
            inside = [name for name in left_out if name.startswith(f"{part}.")]
            _require_whole(inside, f"head {part!r}")
        head = _denses(tensors, tail, top)
        mine |= of_tail
        used |= {f"{name}.{part}" for name, _ in tail for part in ("weight", "bias")}
    elif isinstance(head, (tuple, list)) and not _are(head):
        head = [None if part is None else as_numpy(part) for part in head]
    rest = [name for name in tensors if name not in used]
    if names is None and head is not None:
        others = _others(tensors, rest, head)
        mine |= {name.rpartition(".")[0] for name in rest if name not in others}
        rest = others
    groups = groups_of(tensors, rest)
    if asked.alone:
        groups = in_front(groups, bottom.input_size)
    if groups:
        _refuse_rest(groups, asked, _Place(bottom, top, before, modules), both)
    if asked.alone:
        owners = {name.rpartition(".")[0] for name in [*tensors, *unused]}
        known = mine | parents | owners
        weightless = {name: k for name, k in modules.items() if name not in known}
        refuse_in_front(weightless, _behind(rest, mine))
    else:
        hinted = _hinted(activation) if names is None else activations_left
        refuse_modules(modules, mine | parents, [*hinted, *_hinted(between)])
    try:
        denses = as_head(head, top.output_size, top.dtype)
        if names is None:
            denses = _with_activation(denses, activation)
        if between is not None:
            if not denses:
                raise WrongChoice(Message(Option("between", between), ": there is no head"))
            denses = (_unit(top, between), *denses)
        if denses and both and read is None:
            if not every:
                raise WrongChoice(_which_read(asked))
            read = "last"  # a call that asks for one output gets that of the last step
        network = Network.of(layers, denses, every, read=read or "final", skip=skip)
    except UnsupportedModelError:
        raise
    except ValueError as error:
        raise WrongChoice(message_of(error)) from None
    return LSTM.from_network(network, [*unused, *rest])


def _require_text(name: str, value: Any, several: bool) -> None:
    listed = several and isinstance(value, Sequence) and all(isinstance(k, str) for k in value)
    if not isinstance(value, str) and not listed:
        expected = "a name or a list of names" if several else "a name"
        raise TypeError(Message(Option(name), f": expected {expected}, got {value!r:.80}"))


class _Asked(NamedTuple):
    """The hints of a call, for messages."""

    prefix: str | list[str]
    head: Any
    activation: Any
    between: Any
    embedding: str | None
    read: str | None
    ignore: str | list[str]
    chain: str | None
    return_sequences: bool
    skip: int

    @property
    def ignored(self) -> list[str]:
        """The names that are left out."""
        return [self.ignore] if isinstance(self.ignore, str) else self.ignore

    @property
    def alone(self) -> bool:
        """Whether one LSTM is taken, and nothing that follows it."""
        return isinstance(self.prefix, str) and bool(self.prefix) and self.head is None

    def line(self, **change: Any) -> Line:
        """The caller's line with hints changed."""
        given = {name: value for name, value in self._asdict().items() if _is_given(value)}
        return Line(given, change)


def _is_given(value: Any) -> bool:
    if isinstance(value, (str, list, int)):  # a flag is an int, too
        return bool(value)
    return value is not None


def _names_of(head: Any) -> list[str] | None:
    """The names of dense layers in a `head`, None if it holds weights."""
    if isinstance(head, str):
        head = [head]
    if isinstance(head, (tuple, list)) and head and all(isinstance(k, str) for k in head):
        return [name.removesuffix(".") for name in head]
    return None


def refuse_decoder(prefix: Names, chain: str | None) -> None:
    """Refuse an encoder and a decoder as a chain, unless the caller confirms that they are one.

    Raises
    ------
    WrongChoice
        If that is not confirmed, or there is nothing to confirm.
    """
    chained = isinstance(prefix, list) and len(prefix) > 1
    if chain is not None:
        if not chained:
            raise WrongChoice(
                Message(Option("chain"), ": expected a list of several as ", Option("prefix"))
            )
        return
    if chained and re.search("enc.*\n.*dec", "\n".join(prefix), re.IGNORECASE | re.DOTALL):
        raise WrongChoice(
            Message(
                "a list of prefixes is a chain, in which each LSTM reads every step of the one "
                f"before: {_called(prefix)}. A decoder mostly reads something else, such as one "
                "vector again and again, or is given the encoder's state: that is not computed "
                "here. If yours does read every step of the encoder, say so by ",
                Option("chain", "steps"),
            )
        )


def _require_whole(ignored: Sequence[str], what: str) -> None:
    """Refuse to leave a part of something out that is used."""
    if ignored:
        raise WrongChoice(
            Message(
                Option("ignore", ignored[0]),
                f": is a part of the {what}, which is used; a layer is computed as a whole or "
                "left out as a whole",
            )
        )


def _behind(rest: Iterable[str], mine: set[str]) -> set[str]:
    """Modules that hold some of these weights, but not the LSTM: what stands behind it."""
    around = {parent for name in mine for parent in [*parents_of(name), name]}
    return {parent for name in rest for parent in parents_of(name)} - around


def _called(names: Sequence[str]) -> str:
    """A chain of LSTMs as torch's code has it: ``b(a(x)[0])``."""
    text = "x"
    for name in names:
        text = f"{name.removesuffix('.')}({text})[0]"
    return text.removesuffix("[0]")


def _others(tensors: Mapping[str, Any], names: list[str], head: Any) -> list[str]:
    """The names of tensors that are not those of a head by value."""
    parts = head if isinstance(head, (tuple, list)) else [head]
    weights = [k for part in parts for k in (part.weight, part.bias)] if _are(parts) else parts
    values = [np.asarray(k) for k in weights if k is not None]

    def is_one(name: str) -> bool:
        mine = as_numpy(tensors[name])
        return any(k.shape == mine.shape and np.array_equal(k, mine) for k in values)

    return [name for name in names if not is_one(name)]


def _are(parts: Iterable[Any]) -> bool:
    return all(isinstance(part, Dense) for part in parts)


def _tail(
    tensors: Mapping[str, Any],
    modules: Mapping[str, Any],
    names: list[str],
    activation: Any,
    root: str,
    every_step: bool,
) -> tuple[Tail, set[str], list[Activation | str]]:
    """The dense layers of these names with their activations, all modules in them, and the
    activations that are not in these modules but were named.
    """
    hints = [activation] if len(names) == 1 else activation
    if isinstance(hints, str) or not isinstance(hints, Sequence) or len(hints) != len(names):
        example = Option("activation", ["relu"] * (len(names) - 1) + [None])
        given = "none" if activation is None else Option("activation", activation)
        raise WrongChoice(
            Message(
                Option("head", names),
                f": expected an activation for each of the {len(names)} layers, such as ",
                example,
                ", got ",
                given,
            )
        )
    tail: Tail = []
    mine: set[str] = set()
    named_alone: list[Activation | str] = []
    for name, hint in zip(names, hints, strict=True):
        module = find_name(modules, name, root, "head") if modules else None
        if module is not None:
            part, seen = tail_of(modules, module, every_step)
            mine |= seen
        else:
            full = find_name(tensors, f"{name}.weight", root, "head")
            part = [(name if full is None else full.removesuffix(".weight"), LINEAR)]
        if hint is not None and part:
            named, own = activation_named(hint), part[-1][1]
            if own not in (LINEAR, named):
                raise WrongChoice(
                    Message(
                        Option("head", name),
                        f" has the activation {own} already, got ",
                        Option("activation", hint),
                    )
                )
            part[-1] = (part[-1][0], named)
            if own == LINEAR:
                named_alone.append(named)
        tail += part
    return tail, mine, named_alone


def _denses(tensors: Mapping[str, Any], tail: Tail, top: Any) -> list[Dense]:
    """The layers of a tail."""
    denses: list[Dense] = []
    for name, activation in tail:
        if name is None:
            denses.append(_unit(denses[-1] if denses else top, activation))
            continue
        dense = head_from(tensors, name, activation)
        if (
            not denses
            and isinstance(top, Bidirectional)
            and dense.input_size * 2 == top.output_size
        ):
            raise UnsupportedModelError(
                Message(
                    Option("head", name),
                    f" reads {dense.input_size} numbers, so one direction alone or the sum of "
                    f"both: this version computes heads that read both, {top.output_size} numbers",
                )
            )
        denses.append(dense)
    return denses


def _unit(before: Any, activation: Any) -> Dense:
    """An activation by itself, of what the layer before gives."""
    unit = np.eye(before.output_size, dtype=before.dtype)
    return Dense(unit, activation=activation_named(activation))


def _with_activation(denses: tuple[Dense, ...], activation: Any) -> tuple[Dense, ...]:
    """A head by value whose last layer has the activation that was named beside it."""
    if activation is None:
        return denses
    if not denses or denses[-1].activation != LINEAR:
        what = "there is no head" if not denses else f"the head has {denses[-1].activation}"
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


# --- what a caller has to say ---------------------------------------------------------------


def _which_read(asked: _Asked) -> Message:
    """That a head of two directions may read several things, and what each is in torch."""
    return Message(
        "what the head of a bidirectional LSTM reads is not in the weights, and changes every "
        "number; the code that trained them says it: ",
        *_readings(asked),
        ". (",
        Option("read", "max"),
        " and ",
        Option("read", "mean"),
        " are those of out over its steps, ",
        Option("return_sequences", True),
        " is fc(out) at every step; nothing else is computed.)",
    )


def _readings(asked: _Asked, **change: Any) -> list[str | Option | Line]:
    """A line for each of what the head of two directions mostly reads."""
    final, last = asked.line(**change, read="final"), asked.line(**change, read="last")
    return [final, f" for fc({FINAL}), ", last, f" for fc({LAST})"]


class _Place(NamedTuple):
    """What stands around the weights that are left over."""

    bottom: Any  # layer of the LSTM
    top: Any
    before: list[str]  # names of tensors before the LSTM's, in the order of the file
    modules: Mapping[str, Any]


def _refuse_rest(groups: list[Group], asked: _Asked, place: _Place, both: bool) -> None:
    """Refuse weights besides those of the LSTM and of what is named: they would be left out."""
    listed = ", ".join(map(str, groups[:8]))
    more = f" and {len(groups) - 8} more" if len(groups) > 8 else ""
    heads = _names_of(asked.head)
    named = "" if asked.head is None else " and a head"
    named = named if heads is None else f" and the head {', '.join(map(repr, heads))}"
    named += "" if asked.embedding is None else f" and the embedding {asked.embedding!r}"
    said: list[str | Option | Line] = [f"the model holds more than an LSTM{named}: {listed}{more}"]
    strange = [group for group in groups if group.kind == "other"]
    if asked.alone:
        said.append(
            ", which by its sizes may stand in front of the LSTM and change every number. If it "
            "does not (it comes behind, or is of another branch), leave it out by name, with "
        )
    else:
        if strange:
            said.append(f". This version does not compute {_joined(k.name for k in strange)}")
        elif asked.head is None:
            said += _parts_named(groups, asked, place, both)
        said.append(
            ". Only weights of another branch, which are not on the way from the inputs to the "
            "outputs, may be left out by name, with "
        )
    said.append(Option("ignore"))
    # without any hint, who knows what it is
    chosen = asked.prefix or asked.ignore or asked.embedding or asked.head is not None
    wrong = WrongChoice if chosen else ValueError
    raise (UnsupportedModelError if strange and not asked.alone else wrong)(Message(*said))


def _parts_named(
    groups: list[Group], asked: _Asked, place: _Place, both: bool
) -> list[str | Option | Line]:
    """How to name the head and the embedding, if all that is left over can be these only."""
    ways: list[tuple[str | None, list[Group]]] = []  # the embedding, and the dense layers behind
    tables = [k for k in groups if k.kind == "table" and k.inputs == place.bottom.input_size]
    for table in [None, *(tables if asked.embedding is None else ())]:
        heads = [group for group in groups if group is not table]
        if _follow_each_other(heads, place.top.output_size):
            ways.append((None if table is None else table.name, heads))
    if not ways or any(_may_be_in_front(heads, place) for _, heads in ways):
        return [
            ". Dense layers behind the LSTM, in which each reads the one before, are named by ",
            Option("head"),
            ", an embedding by ",
            Option("embedding"),
        ]
    said: list[str | Option | Line] = []
    functions: list[str | Option | Line] = []
    for embedding, heads in ways:
        change: dict[str, Any] = {} if embedding is None else {"embedding": embedding}
        if heads:
            of_head, functions = _head_named([group.name for group in heads], place)
            change |= of_head
        if len(ways) > 1:
            what = f"{embedding} is the embedding" if embedding else "that is the head"
        elif len(change) > 1:
            what = "these are its parts"
        else:
            what = "that is the head" if heads else "that is the embedding"
        reads = heads and both and not asked.return_sequences and asked.read is None
        said += [f". If {what}: "]
        said += _readings(asked, **change) if reads else [asked.line(**change)]
    return [*said, *functions]


def _head_named(
    names: list[str], place: _Place
) -> tuple[dict[str, Any], list[str | Option | Line]]:
    """The hints for dense layers of these names, and what else may have to be said of them."""
    functions: list[str | Option | Line] = [
        ". Weights do not say which functions stand in front of a head and behind it: add ",
        Option("between", "relu"),
        " or ",
        Option("activation", "sigmoid"),
        ", as your code has it",
    ]
    for parent in reversed(parents_of(names[0])):
        if kind_of(place.modules.get(parent)) == "Sequential":
            try:
                tail, _ = tail_of(place.modules, parent, False)
            except UnsupportedModelError:
                break
            if [name for name, _ in tail if name is not None] == names:
                return {"head": parent}, functions
    if len(names) == 1:
        return {"head": names[0]}, functions
    change = {"head": names, "activation": ["relu"] * (len(names) - 1) + [None]}
    return change, [" (with the activations that your code has)"]


def _before(tensors: Iterable[str], used: set[str]) -> list[str]:
    """The names before those of the LSTM, unless they are sorted: then their order says nothing."""
    names = list(tensors)
    return [] if names == sorted(names) else list(takewhile(lambda k: k not in used, names))


def _follow_each_other(groups: list[Group], width: int) -> bool:
    """Whether these are dense layers of which each reads the one before, the first `width`."""
    for group in groups:
        if group.kind not in ("dense", "table") or group.inputs != width:
            return False
        width = group.outputs or 0
    return True


def _may_be_in_front(heads: list[Group], place: _Place) -> bool:
    """Whether some of the layers that could be a head could stand in front of the LSTM as well.

    By their sizes some of them do if the network takes as many inputs without them, and if they
    are before it in the file.
    """
    size = place.bottom.input_size
    for k, group in enumerate(heads):
        if group.outputs == size:
            if any(first.inputs == size for first in heads[: k + 1]):
                return True
            if any(name.startswith(f"{group.name}.") for name in place.before):
                return True
    return False


def _joined(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
