"""Messages about weights that no hint names: what they are, and how to name them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Any, Final, NamedTuple

from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.torch.advice import follow_it
from fastlstm.formats.torch.hints import Hints
from fastlstm.formats.torch.modules import kind_of, parents_of, tail_of
from fastlstm.formats.torch.unused import Group
from fastlstm.formats.trust import WrongChoice
from fastlstm.messages import Line, Message, Option

__all__ = ["Place", "names_before", "refuse_left_over", "which_read"]

Said = list[str | Option | Line]

# What the head of two directions reads, in torch's code.
FINAL: Final = "torch.cat([h_n[-2], h_n[-1]], 1)"
LAST: Final = "out[:, -1]"


class Place(NamedTuple):
    """What stands around the weights that are left over."""

    bottom: Any  # the first layer of the LSTM
    top: Any  # the last one
    both: bool  # whether that has two directions
    before: list[str]  # names of the tensors before the LSTM's, in the order of the file
    modules: Mapping[str, Any]


def which_read(hints: Hints, modules: Mapping[str, Any]) -> Message:
    """Ask what the head of two directions reads, with the torch code that each answer means."""
    return Message(
        "the weights do not say what the head of a bidirectional LSTM reads, and it changes every "
        "number; the code that trained them does: ",
        *_readings(hints),
        " (",
        Option("read", "max"),
        " and ",
        Option("read", "mean"),
        " are those of out over its steps, ",
        Option("return_sequences", True),
        " is fc(out) at every step)",
        *follow_it(modules),
    )


def _readings(hints: Hints, **change: Any) -> Said:
    """A line for each of the two usual answers."""
    final, last = hints.line(**change, read="final"), hints.line(**change, read="last")
    return [final, f" for fc({FINAL}), ", last, f" for fc({LAST})"]


def refuse_left_over(groups: list[Group], hints: Hints, place: Place) -> None:
    """Refuse weights that neither the LSTM nor a hint accounts for: they would be left out.

    Raises
    ------
    UnsupportedModelError, WrongChoice, ValueError
        Always. Which of them depends on whether the model or the hints can be the reason.
    """
    strange = [group for group in groups if group.kind == "other"]
    said: Said = [f"the model holds more than an LSTM{_named(hints)}: {_listed(groups)}"]
    if hints.alone:
        said.append(
            ", which by its sizes may stand in front of the LSTM and change every number. If it "
            "does not (it comes behind, or is of another branch), leave it out by name, with "
        )
    else:
        never = [k for k in strange if re.match("an attention|a 2-D", k.what)]
        if never:
            said.append(f". This version does not compute {_joined(k.name for k in never)}")
        elif strange:
            said += [
                f". The weights of {_joined(k.name for k in strange)} do not say all that they "
                "compute: name all parts of the network in order, with ",
                Option("parts"),
            ]
        elif hints.head is None:
            said += _parts_named(groups, hints, place)
        said.append(
            ". Only weights of another branch, which are not on the way from the inputs to the "
            "outputs, may be left out by name, with "
        )
    said.append(Option("ignore"))
    if not hints.alone:
        said += follow_it(place.modules, [group.what for group in groups])
    if strange and not hints.alone:
        raise UnsupportedModelError(Message(*said))
    # without any hint, the caller has not made a choice yet
    chosen = hints.prefix or hints.ignore or hints.embedding or hints.head is not None
    raise (WrongChoice if chosen else ValueError)(Message(*said))


def _named(hints: Hints) -> str:
    """What the hints name beside the LSTM."""
    heads = hints.head_names
    named = "" if hints.head is None else " and a head"
    named = named if heads is None else f" and the head {', '.join(map(repr, heads))}"
    return named + ("" if hints.embedding is None else f" and the embedding {hints.embedding!r}")


def _listed(groups: list[Group]) -> str:
    more = f" and {len(groups) - 8} more" if len(groups) > 8 else ""
    return ", ".join(map(str, groups[:8])) + more


def _parts_named(groups: list[Group], hints: Hints, place: Place) -> Said:
    """How to name the head and the embedding, if all that is left over can only be these."""
    ways: list[tuple[str | None, list[Group]]] = []  # the embedding, and the dense layers behind
    tables = [k for k in groups if k.kind == "table" and k.inputs == place.bottom.input_size]
    for table in [None, *(tables if hints.embedding is None else ())]:
        heads = [group for group in groups if group is not table]
        if _follow_each_other(heads, place.top.output_size):
            ways.append((None if table is None else table.name, heads))
    if not ways or any(_may_be_in_front(heads, place) for _, heads in ways):
        return [
            ". Dense layers behind the LSTM, each of which reads the one before it, are named by ",
            Option("head"),
            ", an embedding by ",
            Option("embedding"),
        ]
    said: Said = []
    functions: Said = []
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
        reads = heads and place.both and not hints.return_sequences and hints.read is None
        said += [f". If {what}: "]
        said += _readings(hints, **change) if reads else [hints.line(**change)]
    return [*said, *functions]


def _head_named(names: list[str], place: Place) -> tuple[dict[str, Any], Said]:
    """The hints for dense layers of these names, and what else may have to be said of them."""
    functions: Said = [
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
            if [piece.name for piece in tail if piece.name is not None] == names:
                return {"head": parent}, functions
    if len(names) == 1:
        return {"head": names[0]}, functions
    change = {"head": names, "activation": ["relu"] * (len(names) - 1) + [None]}
    return change, [" (with the activations that your code has)"]


def names_before(tensors: Iterable[str], used: set[str]) -> list[str]:
    """The names in front of the LSTM's, unless they are sorted: then their order says nothing."""
    names = list(tensors)
    return [] if names == sorted(names) else list(takewhile(lambda k: k not in used, names))


def _follow_each_other(groups: list[Group], width: int) -> bool:
    """Whether these are dense layers, each of which reads the one before, the first `width`."""
    for group in groups:
        if group.kind not in ("dense", "table") or group.inputs != width:
            return False
        width = group.outputs or 0
    return True


def _may_be_in_front(heads: list[Group], place: Place) -> bool:
    """Whether some of the layers that could be a head could stand in front of the LSTM as well.

    By their sizes some of them do if the network takes as many inputs without them, and by their
    place if they come before it in the file.
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
