"""Torch modules: their kinds, what their activations compute, and which of them no hint names.

A module is a live one, a TorchScript one, or a `Holder` with the attributes of one in a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.torch.advice import follow_it
from fastlstm.formats.torch.names import dense_from, shortened
from fastlstm.messages import Line, Message, Option
from fastlstm.network.activations import LINEAR, Activation, as_activation
from fastlstm.network.dense import SOFTMAX, Dense

__all__ = [
    "Piece",
    "activation_named",
    "activation_of",
    "check_embedding",
    "check_lstm",
    "is_inert",
    "is_torchs",
    "kind_of",
    "parents_of",
    "refuse_in_front",
    "refuse_modules",
    "tail_of",
]

Modules = Mapping[str, Any]
# Reads a layer from the tensors under a name, with the activation that follows it.
Read = Callable[[Mapping[str, Any], str, Activation | str], Dense]


class Piece(NamedTuple):
    """One piece of what stands behind an LSTM: a layer, or an activation by itself."""

    name: str | None  # of the layer
    read: Read | None
    activation: Activation | str = LINEAR


# Kind of module behind an LSTM: what reads it.
_LAYERS: Final[dict[str, Read]] = {"Linear": dense_from}
# Modules that compute nothing in eval() mode, and so need no hint.
_INERT = re.compile(r"\w*Dropout[123]?d?|Identity|Sequential|ModuleList|ModuleDict")
_HARDSIGMOID: Final = Activation("hard_sigmoid", 1 / 6, 0.5)


def kind_of(module: Any) -> str:
    """The name of a module's class; of a TorchScript module, that of the class it was made from."""
    return str(getattr(module, "original_name", type(module).__name__))


def is_torchs(module: Any) -> bool:
    """Whether its class is torch's own: another of the same name may compute anything."""
    home = getattr(module, "qualified_name", type(module).__module__)
    if str(home).startswith("torch.jit."):  # of what was scripted or traced
        home = module._c._type().qualified_name()
    return str(home).removeprefix("__torch__.").startswith("torch.")


def is_inert(module: Any) -> bool:
    return bool(_INERT.fullmatch(kind_of(module))) and is_torchs(module)


def activation_named(value: Any) -> Activation | str:
    """An activation as a caller of `from_torch` writes it: torch's hardsigmoid has 1/6 and 0.5."""
    if value is None:
        return LINEAR
    if value == "hardsigmoid":
        return _HARDSIGMOID
    return SOFTMAX if value == SOFTMAX else as_activation(value)


def _gelu(module: Any) -> Activation:
    names = {"none": "gelu", "tanh": "gelu_tanh"}
    return Activation(names[module.approximate])


def _softplus(module: Any) -> Activation | None:
    # above the threshold torch takes x, which differs by exp(-20) at most
    return Activation("softplus") if module.beta == 1 and module.threshold >= 20 else None


# Kind: what a module of this kind computes, None if that is something else.
_ACTIVATIONS: Final[dict[str, Callable[[Any], Activation | None]]] = {
    "ELU": lambda module: Activation("elu", module.alpha),
    "GELU": _gelu,
    "Hardsigmoid": lambda module: _HARDSIGMOID,
    "LeakyReLU": lambda module: Activation("leaky_relu", module.negative_slope),
    "ReLU": lambda module: Activation("relu"),
    "SiLU": lambda module: Activation("silu"),
    "Sigmoid": lambda module: Activation("sigmoid"),
    "Softplus": _softplus,
    "Softsign": lambda module: Activation("softsign"),
    "Tanh": lambda module: Activation("tanh"),
}


def activation_of(name: str, module: Any, every_step: bool) -> Activation | str | None:
    """What an activation module computes; None if it is not an activation.

    Raises
    ------
    UnsupportedModelError
        If this version does not compute its options, or they are not known.
    """
    kind = kind_of(module)
    if not is_torchs(module) or (kind != "Softmax" and kind not in _ACTIVATIONS):
        return None
    try:
        if kind == "Softmax":
            # over the outputs: the second of two axes, the last of three
            if module.dim == -1 or module.dim == (2 if every_step else 1):
                return SOFTMAX
        elif (activation := _ACTIVATIONS[kind](module)) is not None:
            return activation
    except AttributeError as error:
        raise UnsupportedModelError(
            Message(
                f"{name} ({kind}): the file does not hold its options ({error}); name the dense "
                "layers by ",
                Option("head"),
                " and the activation of each by ",
                Option("activation"),
            )
        ) from None
    raise UnsupportedModelError(f"{name} is {module}, which this version does not compute")


def tail_of(modules: Modules, name: str, every_step: bool) -> tuple[list[Piece], set[str]]:
    """The pieces of a layer, or of a Sequential of layers and activations, and all its modules.

    Raises
    ------
    UnsupportedModelError
        If there is another module among them.
    """
    kind = kind_of(modules[name])
    if kind in _LAYERS and is_torchs(modules[name]):
        return [Piece(name, _LAYERS[kind])], {name}
    if kind != "Sequential" or not is_torchs(modules[name]):
        raise UnsupportedModelError(
            Message(
                Option("head", name),
                f" is a {kind}: this version computes a {' or '.join(_LAYERS)}, or a Sequential "
                "of these and activations",
                *follow_it(modules, [kind]),
            )
        )
    tail: list[Piece] = []
    seen = {name}
    for child in (k for k in modules if k.rpartition(".")[0] == name and k != name):
        kind = kind_of(modules[child])
        activation = activation_of(child, modules[child], every_step)
        if activation is not None:
            _append(tail, Piece(None, None, activation))
        elif kind in _LAYERS or kind == "Sequential":
            inner, inner_seen = tail_of(modules, child, every_step)
            for piece in inner:
                _append(tail, piece)
            seen |= inner_seen
        elif not is_inert(modules[child]):
            raise UnsupportedModelError(
                Message(
                    f"{child} is a {kind}: behind an LSTM this version computes "
                    f"{', '.join(_LAYERS)} and activations",
                    *follow_it(modules, [kind]),
                )
            )
        seen.add(child)
    return tail, seen


def _append(tail: list[Piece], piece: Piece) -> None:
    """Add a piece; an activation becomes that of the layer before it, if that has none."""
    if piece.name is None and tail and tail[-1].activation == LINEAR:
        tail[-1] = tail[-1]._replace(activation=piece.activation)
    else:
        tail.append(piece)


def check_lstm(modules: Modules, root: str) -> None:
    """Refuse what is not torch's own LSTM or LSTMCell: it may compute anything.

    Raises
    ------
    UnsupportedModelError
        If it is another class.
    """
    module = modules.get(root.removesuffix("."))
    if module is None:
        return
    kind = kind_of(module)
    if kind in ("GRU", "GRUCell", "RNN", "RNNCell"):
        cell = "a GRU" if kind.startswith("GRU") else "a plain RNN"
        raise UnsupportedModelError(f"layer 0 is {cell}, not an LSTM: {root or 'it'} is a {kind}")
    if kind not in ("LSTM", "LSTMCell") or not is_torchs(module):
        raise UnsupportedModelError(
            f"{root.removesuffix('.') or 'the module'} is a {kind}, not torch's nn.LSTM, and may "
            "compute something else; if it does not, pass its state_dict()"
        )


def check_embedding(modules: Modules, name: str) -> None:
    """Refuse an embedding that does more than look up vectors.

    Raises
    ------
    UnsupportedModelError
        If it is another class, such as EmbeddingBag, or has a max_norm.
    """
    if name not in modules:
        return
    kind = kind_of(modules[name])
    if kind != "Embedding" or not is_torchs(modules[name]):
        raise UnsupportedModelError(
            Message(
                Option("embedding", name),
                f" is a {kind}, not torch's nn.Embedding, and may compute something else; if it "
                "does not, pass the module's state_dict()",
            )
        )
    if getattr(modules[name], "max_norm", None) is not None:
        raise UnsupportedModelError(
            Message(Option("embedding", name), " has a max_norm, which is not computed")
        )


def _is_named(module: Any, hint: Activation | str) -> bool:
    """Whether a module is the activation that the caller has named."""
    kind = kind_of(module)
    if not is_torchs(module):
        return False
    try:
        if kind == "Softmax":
            return hint == SOFTMAX and module.dim != 0
        return kind in _ACTIVATIONS and _ACTIVATIONS[kind](module) == hint
    except AttributeError:  # a file that holds no options: the caller knows them
        name = {"LeakyReLU": "leaky_relu"}.get(kind, kind.lower())
        return name == str(getattr(hint, "name", hint)).removesuffix("_tanh")


def _unnamed(modules: Modules, hinted: Sequence[Activation | str]) -> dict[str, str]:
    """The kinds of the modules that no hint stands for; one hint stands for one module.

    If there are more modules of a kind than hints, it is not known which of them are meant, so the
    result has all of that kind.
    """
    open_hints = list(hinted)
    named: set[int] = set()  # a module may have several names
    rest: dict[str, str] = {}
    for name, module in modules.items():
        if id(module) in named:
            continue
        hint = next((k for k, hint in enumerate(open_hints) if _is_named(module, hint)), None)
        if hint is None:
            rest[name] = kind_of(module)
        else:
            del open_hints[hint]
            named.add(id(module))
    kinds = set(rest.values())
    return {name: kind_of(k) for name, k in modules.items() if kind_of(k) in kinds}


def refuse_modules(modules: Modules, mine: set[str], hinted: Sequence[Activation | str]) -> None:
    """Refuse modules that compute something besides the LSTM and what is `mine`.

    Parameters
    ----------
    modules : mapping
        All of them.
    mine : set of str
        Names that are taken care of, and those of modules that hold others.
    hinted : sequence of activations
        That the caller has named: each stands for one module.

    Raises
    ------
    UnsupportedModelError
        If there are some.
    """
    rest = _unnamed(
        {name: k for name, k in modules.items() if name not in mine and not is_inert(k)}, hinted
    )
    if not rest:
        return
    said: list[str | Option | Line] = [
        f"the module computes more than an LSTM and a dense head: {_listed(rest)}"
    ]
    kinds = [k.lower() for k in rest.values() if k in _ACTIVATIONS or k == "Softmax"]
    if kinds:
        said += [
            ". An activation between LSTM and head is ",
            Option("between", kinds[0]),
            ", one behind the head ",
            Option("activation", kinds[0]),
            "; each such hint stands for one module",
        ]
    said += [
        ". Only modules of another branch, which are not on the way from the inputs to the "
        "outputs, may be left out by name, with ",
        Option("ignore"),
        *follow_it(modules, rest.values()),
    ]
    raise UnsupportedModelError(Message(*said))


def refuse_in_front(modules: Modules, behind: set[str]) -> None:
    """Refuse modules without weights that may stand in front of an LSTM that is taken alone.

    Parameters
    ----------
    modules : mapping
        All of them but those that hold others or have weights, whose sizes are looked at.
    behind : set of str
        Modules that cannot stand in front, nor can anything in them.

    Raises
    ------
    UnsupportedModelError
        If there are some.
    """
    rest = {
        name: kind_of(module)
        for name, module in modules.items()
        if not is_inert(module) and not any(parent in behind for parent in parents_of(name))
    }
    if rest:
        raise UnsupportedModelError(
            Message(
                f"the module holds {_listed(rest)}, which may stand in front of the LSTM and "
                "change every number. If it does not (it comes behind, or is of another branch), "
                "leave it out by name, with ",
                Option("ignore"),
            )
        )


def parents_of(name: str) -> list[str]:
    """The names of the modules around one, outermost first, without the whole model."""
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


def _listed(kinds: Mapping[str, str]) -> str:
    return shortened([f"{name} ({kind})" for name, kind in kinds.items()])
