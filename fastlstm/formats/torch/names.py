"""Tensors with torch's names: which are an LSTM's, a dense layer's, an embedding's.

Torch names the weights of layer k ``weight_ih_l{k}``, ``weight_hh_l{k}``, ``bias_ih_l{k}``,
``bias_hh_l{k}`` and ``weight_hr_l{k}``, those of the backward half with ``_reverse`` behind, and
orders gates ``i f g o`` as this package does. An `nn.LSTMCell` has the same names without the
layer. Peepholes, which torch lacks, are ``peephole_i_l{k}``, ``peephole_f_l{k}`` and
``peephole_o_l{k}``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.floats import widened
from fastlstm.formats.trust import WrongChoice
from fastlstm.messages import Message, Option
from fastlstm.network.activations import STANDARD, Activation
from fastlstm.network.dense import Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.weights import refuse_mask

__all__ = [
    "as_numpy",
    "dense_from",
    "embedding_from",
    "find_lstms",
    "find_name",
    "layers_from",
    "lstm_names",
    "shortened",
]

Array = npt.NDArray[Any]
Cell = dict[str, str]  # kind of a tensor -> its full name

PLAIN: Final = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
PEEPHOLES: Final = ("peephole_i", "peephole_f", "peephole_o")
_KINDS: Final = (*PLAIN, "weight_hr", *PEEPHOLES)

_LSTM_NAME = re.compile(r"([a-z]+_[a-z]+)_l(0|[1-9][0-9]*)(_reverse)?")
_LSTM_LIKE = re.compile(r"(weight|bias|peephole)_[^.]*")
_FIRST = re.compile(r"(?:^|(?<=\.))weight_ih(_l0)?$")
_QUANTISED = re.compile(r"(^|\.)(_all_weight_values|_packed_params|_packed_weights)(\.|$)")
_NORMED = re.compile(r"weight_[ih]h_l\d+(_reverse)?_[gv]$|(^|\.)parametrizations\.")


# --- what is where --------------------------------------------------------------------------


def find_lstms(tensors: Mapping[str, Any], prefix: str | Sequence[str]) -> list[str]:
    """What the names of the chosen LSTMs' tensors begin with: "", or such as "encoder.lstm.".

    Raises
    ------
    ValueError
        If there is none.
    WrongChoice
        If `prefix` names none, or there are several to choose from.
    """
    roots = list(dict.fromkeys(_FIRST.sub("", name) for name in tensors if _FIRST.search(name)))
    if not roots:
        if normed := [name for name in tensors if _NORMED.search(name)]:
            _refuse_norm(normed[0])
        if quantised := [name for name in tensors if _QUANTISED.search(name)]:
            raise UnsupportedModelError(
                f"{quantised[0]}: a quantised LSTM; save the model as it was before quantisation"
            )
        raise ValueError(
            "expected the tensors of an LSTM, weight_ih_l0 first, "
            f"got {shortened([str(name) for name in tensors])}"
        )
    names = [root.removesuffix(".") for root in roots]
    candidates = f"candidates: {names}"
    if not prefix:
        if len(roots) == 1:
            return roots
        raise WrongChoice(
            Message(
                f"expected one LSTM, got {len(roots)}: choose by prefix. ",
                Option("prefix", names[-1]),
                " takes one of them alone; a list such as ",
                Option("prefix", ["a", "b"]),
                " is a chain, in which each reads every step of the one before, b(a(x)[0]), and "
                "nothing else. An autoencoder or a siamese network is not a chain, and is not "
                f"computed as a whole; {candidates}",
            )
        )
    chosen = []
    for part in [prefix] if isinstance(prefix, str) else prefix:
        root = part if part.endswith(".") else f"{part}."
        ends = [k for k in roots if k == root] or [k for k in roots if k.endswith(f".{root}")]
        if len(ends) != 1:
            what = f"there are several {root}" if ends else f"there is no {root}weight_ih_l0"
            raise WrongChoice(Message(Option("prefix", part), f": {what}; {candidates}"))
        chosen += ends
    return chosen


def lstm_names(tensors: Iterable[str], root: str) -> list[str]:
    """The names of all tensors of the LSTM of this root, also of those that are not known."""
    return [
        name
        for name in tensors
        if name.startswith(root) and _LSTM_LIKE.fullmatch(name, len(root)) is not None
    ]


def find_name(names: Iterable[str], name: str, root: str, what: str) -> str | None:
    """The full name of `name`: itself, one near the LSTM, or the only one that ends so.

    Raises
    ------
    WrongChoice
        If several end so.
    """
    names = list(names)
    parents = root.split(".")[:-1]
    near = [".".join([*parents[:depth], name]) for depth in range(len(parents), -1, -1)]
    for full in (name, *near):
        if full in names:
            return full
    ends = [full for full in names if full.endswith(f".{name}")]
    if len(ends) > 1:
        hint = Option(what, name.removesuffix(".weight"))
        raise WrongChoice(Message(hint, f": there are several; candidates: {shortened(ends)}"))
    return ends[0] if ends else None


# --- what it is -----------------------------------------------------------------------------


def layers_from(
    tensors: Mapping[str, Any],
    root: str = "",
    activations: tuple[Activation, Activation, Activation] = STANDARD,
) -> list[Layer | Bidirectional]:
    """The layers whose tensors are named ``{root}weight_ih_l0`` and so on.

    Raises
    ------
    UnsupportedModelError
        If a layer is not an LSTM, or has weights that are not floats.
    ValueError
        If a tensor is missing, unknown or does not fit.
    """
    found: dict[tuple[int, bool], Cell] = {}
    for name in lstm_names(tensors, root):
        rest = name[len(root) :]
        if _NORMED.search(rest):
            _refuse_norm(name)
        parts = _LSTM_NAME.fullmatch(rest)
        kind, layer, reverse = parts.groups() if parts else (rest, "0", None)
        if kind not in (_KINDS if parts else PLAIN):
            raise ValueError(f"{name}: not a weight of an LSTM that this version knows")
        cell = found.setdefault((int(layer), bool(reverse)), {})
        if kind in cell:
            raise ValueError(f"{name}: there is {cell[kind]} too; is it an LSTM or an LSTMCell?")
        cell[kind] = name
    layers: list[Layer | Bidirectional] = []
    for k in range(max((k for k, _ in found), default=0) + 1):
        forward = _layer(tensors, root, k, "", found.get((k, False), {}), activations)
        if (k, True) not in found:
            layers.append(forward)
            continue
        backward = _layer(tensors, root, k, "_reverse", found[k, True], activations)
        try:
            layers.append(Bidirectional(forward, backward))
        except ValueError as error:
            raise ValueError(f"layer {k}: {error}") from None
    return layers


def _layer(
    tensors: Mapping[str, Any],
    root: str,
    k: int,
    reverse: str,
    names: Cell,
    activations: tuple[Activation, Activation, Activation],
) -> Layer:
    peepholes = [kind for kind in PEEPHOLES if kind in names]
    for kind in ("weight_ih", "weight_hh", *(PEEPHOLES if peepholes else ())):
        if kind not in names:
            raise ValueError(f"layer {k}: there is no tensor {root}{kind}_l{k}{reverse}")
    arrays = {kind: _floats(tensors, name) for kind, name in names.items()}
    if "weight_hr" not in names:
        _refuse_other_cells(k, names["weight_hh"], arrays["weight_hh"].shape)
    try:
        return Layer(
            *(arrays.get(kind) for kind in PLAIN),  # type: ignore[arg-type]
            w_hr=arrays.get("weight_hr"),
            peepholes=np.stack([arrays[kind] for kind in peepholes]) if peepholes else None,
            activations=activations,
            direction="reverse" if reverse else "forward",
        )
    except ValueError as error:
        raise ValueError(f"layer {k} ({root}weight_ih_l{k}{reverse} ...): {error}") from None


def _refuse_other_cells(k: int, name: str, shape: tuple[int, ...]) -> None:
    """Refuse a GRU and an RNN, whose weights have the same names: they have fewer gates."""
    for gates, cell in ((1, "a plain RNN"), (3, "a GRU")):
        if len(shape) == 2 and shape[1] > 0 and shape[0] == gates * shape[1]:
            raise UnsupportedModelError(
                f"layer {k} is {cell}, not an LSTM: {name} has shape {shape}, "
                f"an LSTM of {shape[1]} hidden units has {(4 * shape[1], shape[1])}"
            )


def _refuse_norm(name: str) -> None:
    raise UnsupportedModelError(
        f"{name}: weight_norm or another parametrization; remove it from the module first, as "
        "torch.nn.utils.parametrize.remove_parametrizations does"
    )


def dense_from(
    tensors: Mapping[str, Any], name: str, activation: Activation | str = "linear"
) -> Dense:
    """The dense layer ``{name}.weight`` and, if there is one, ``{name}.bias``.

    Raises
    ------
    ValueError
        If there is no such layer (the candidates are listed), or it has other weights, too.
    """
    mine = [key for key in tensors if key.startswith(f"{name}.")]
    if f"{name}.weight" not in mine:
        raise WrongChoice(
            Message(
                Option("head", name),
                f": there is no tensor {name}.weight; candidates: {_candidates(tensors)}",
            )
        )
    if unknown := sorted(set(mine) - {f"{name}.weight", f"{name}.bias"}):
        raise WrongChoice(
            Message(
                Option("head", name), f": expected only a weight and a bias, but also got {unknown}"
            )
        )
    try:
        weight, *bias = (_floats(tensors, key) for key in sorted(mine, reverse=True))
        return Dense(weight, *bias, activation=activation)
    except ValueError as error:
        raise ValueError(Message(Option("head", name), f": {error}")) from None


def embedding_from(tensors: Mapping[str, Any], name: str) -> Embedding:
    """The embedding ``{name}.weight``. Torch masks no id, not even its ``padding_idx``.

    Raises
    ------
    ValueError
        If there is no such embedding, or it has more than a weight.
    """
    mine = [key for key in tensors if key.startswith(f"{name}.")]
    if mine != [f"{name}.weight"]:
        raise WrongChoice(
            Message(
                Option("embedding", name),
                f": expected a tensor {name}.weight alone, got {mine}; "
                f"candidates: {_candidates(tensors)}",
            )
        )
    try:
        return Embedding(_floats(tensors, mine[0]))
    except ValueError as error:
        raise ValueError(Message(Option("embedding", name), f": {error}")) from None


def _floats(tensors: Mapping[str, Any], name: str) -> Array:
    """A tensor as float32 or float64."""
    return widened(name, as_numpy(tensors[name]))


def _candidates(tensors: Iterable[str]) -> str:
    """The names of the layers that have a weight, for an error."""
    others = [name.removesuffix(".weight") for name in tensors if name.endswith(".weight")]
    return shortened(others) if others else "none"


def shortened(names: list[str], limit: int = 8) -> str:
    """A list of names, cut short for an error."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{names[:limit]}{more}"


def as_numpy(value: Any) -> Array:
    """A tensor or array as an array."""
    torch = sys.modules.get("torch")  # a tensor cannot exist without it
    if torch is not None and isinstance(value, torch.Tensor):
        try:
            value = value.detach().cpu()
            value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        except (RuntimeError, TypeError) as error:  # quantized, sparse, without data
            raise UnsupportedModelError(f"expected a dense tensor of floats: {error}") from None
    refuse_mask("weights", value)
    return np.asarray(value)
