"""Networks from PyTorch: a module, or its tensors by name. Imports torch for neither.

Torch names the weights of layer k ``weight_ih_l{k}``, ``weight_hh_l{k}``, ``bias_ih_l{k}`` and
``bias_hh_l{k}``, and orders gates ``i f g o`` as this package does.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastlstm.dense import Dense, as_dense
from fastlstm.errors import UnsupportedModelError
from fastlstm.layers import Layer
from fastlstm.weights import refuse_mask

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["WrongChoice", "build", "from_torch", "head_from", "layers_from"]

Array = npt.NDArray[Any]

PLAIN = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
UNSUPPORTED = {
    "weight_hr": "a projection (proj_size)",
    "peephole_i": "peepholes",
    "peephole_f": "peepholes",
    "peephole_o": "peepholes",
}
DEFAULT_ACTIVATIONS = ("sigmoid", "tanh", "tanh")
# Modules that compute nothing, in eval() mode: beside the LSTM and its head they do no harm.
INERT = re.compile(r"\w*Dropout[123]?d?|Identity|Sequential|ModuleList|ModuleDict")

_LSTM_NAME = re.compile(r"([a-z]+_[a-z]+)_l(0|[1-9][0-9]*)(_reverse)?")
_LSTM_LIKE = re.compile(r"(weight|bias|peephole)_[^.]*")


class WrongChoice(ValueError):
    """The caller's `prefix` or `head` does not fit the tensors, which may be in order."""


def from_torch(
    module_or_state_dict: Any,
    prefix: str = "",
    head: Any = None,
    activations: Sequence[str] = DEFAULT_ACTIVATIONS,
    return_sequences: bool = False,
) -> LSTM:
    """A network from a torch module or from tensors with torch's names.

    Parameters
    ----------
    module_or_state_dict : nn.LSTM, nn.Module or mapping of str to array or tensor
        An `nn.LSTM`, a module that holds one, or a mapping such as its ``state_dict()``. A
        mapping of NumPy arrays needs no torch, and its layers may differ in hidden size.
        ``float16`` and ``bfloat16`` are widened to ``float32``. Batches always come first, and
        dropout is inactive, as in ``eval()`` mode.
    prefix : str, optional
        Where the LSTM is, such as ``"encoder.lstm"``. Needed if there are several, and to take
        just the LSTM and the head from a model that holds more: without it, nothing may be left
        over.
    head : str, Dense, number or (weight, bias), optional
        The dense head, or its name: ``"fc"`` takes ``fc.weight`` and ``fc.bias``.
    activations : sequence of three str
        For gates, candidate and cell output. Only the default is computed by this version.
    return_sequences : bool
        Whether `predict` applies the head at every step unless told otherwise.

    Returns
    -------
    LSTM

    Raises
    ------
    UnsupportedModelError
        For a reverse direction, a projection, peepholes, other activations, a GRU or plain RNN,
        or a dtype that is none of the above. It names the layer and the option. Without a
        `prefix` also for a module that holds more than an LSTM and the `head`, such as a ReLU.
    ValueError
        If the LSTM or the head is missing or ambiguous (the candidates are listed), if there
        are tensors besides the LSTM and the `head` and no `prefix`, or if shapes do not fit.
    TypeError
        If the first argument is none of these, or a weight is masked.
    """
    try:
        return build(module_or_state_dict, prefix, head, activations, return_sequences)
    except WrongChoice as error:
        raise ValueError(str(error)) from None


def build(
    module_or_state_dict: Any,
    prefix: str = "",
    head: Any = None,
    activations: Sequence[str] = DEFAULT_ACTIVATIONS,
    return_sequences: bool = False,
) -> LSTM:
    """`from_torch`, with errors that tell a wrong choice (`WrongChoice`) from wrong tensors."""
    from fastlstm.model import LSTM

    if tuple(activations) != DEFAULT_ACTIVATIONS:
        raise UnsupportedModelError(
            f"activations={tuple(activations)!r}: this version computes {DEFAULT_ACTIVATIONS} only"
        )
    modules = _modules_of(module_or_state_dict)
    tensors: Mapping[str, Any] = (
        module_or_state_dict.state_dict() if modules else module_or_state_dict
    )
    if isinstance(head, str):
        head = head.removesuffix(".")
        if head in modules and modules[head] != "Linear":
            raise UnsupportedModelError(
                f"head={head!r} is a {modules[head]}: this version computes a Linear only"
            )
    root = _find_lstm(tensors, prefix)
    layers = layers_from(tensors, root)
    name = head if isinstance(head, str) else None
    if name is not None:
        head = head_from(tensors, name)
    elif isinstance(head, (tuple, list)):
        head = [None if part is None else _as_numpy(part) for part in head]
    if not prefix:
        _refuse_rest(tensors, root, name)
        _refuse_modules(modules, root, name)
    try:
        dense = as_dense(head, layers[-1].hidden_size, layers[-1].dtype)
    except ValueError as error:
        raise WrongChoice(str(error)) from None
    return LSTM(layers, head=dense, return_sequences=return_sequences)


def layers_from(tensors: Mapping[str, Any], root: str = "") -> list[Layer]:
    """The layers whose tensors are named ``{root}weight_ih_l0`` and so on.

    Raises
    ------
    UnsupportedModelError
        If a layer has what this version does not compute.
    ValueError
        If a tensor is missing, unknown or does not fit.
    """
    found: dict[int, dict[str, str]] = {}  # layer -> kind of tensor -> full name
    for name in tensors:
        rest = name[len(root) :]
        if not name.startswith(root) or not _LSTM_LIKE.fullmatch(rest):
            continue
        parts = _LSTM_NAME.fullmatch(rest)
        kind, layer, reverse = parts.groups() if parts else ("", "", None)
        if kind in UNSUPPORTED:
            raise UnsupportedModelError(
                f"layer {layer} has {UNSUPPORTED[kind]}, which this version does not compute "
                f"({name})"
            )
        if kind not in PLAIN:
            raise ValueError(f"{name}: not a weight of an LSTM that this version knows")
        if reverse:
            raise UnsupportedModelError(
                f"layer {layer} has a reverse direction (bidirectional), which this version "
                f"does not compute ({name})"
            )
        found.setdefault(int(layer), {})[kind] = name
    return [_layer(tensors, root, k, found.get(k, {})) for k in range(max(found, default=0) + 1)]


def _layer(tensors: Mapping[str, Any], root: str, k: int, names: dict[str, str]) -> Layer:
    for kind in ("weight_ih", "weight_hh"):
        if kind not in names:
            raise ValueError(f"layer {k}: there is no tensor {root}{kind}_l{k}")
    arrays = {kind: _as_array(name, tensors[name]) for kind, name in names.items()}
    _refuse_other_cells(k, names["weight_hh"], arrays["weight_hh"].shape)
    try:
        return Layer(*(arrays.get(kind) for kind in PLAIN))  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"layer {k} ({root}weight_ih_l{k} ...): {error}") from None


def _refuse_other_cells(k: int, name: str, shape: tuple[int, ...]) -> None:
    """GRU and RNN weights bear the same names; the number of gates tells them apart."""
    for gates, cell in ((1, "a plain RNN"), (3, "a GRU")):
        if len(shape) == 2 and shape[1] > 0 and shape[0] == gates * shape[1]:
            raise UnsupportedModelError(
                f"layer {k} is {cell}, not an LSTM: {name} has shape {shape}, "
                f"an LSTM of {shape[1]} hidden units has {(4 * shape[1], shape[1])}"
            )


def head_from(tensors: Mapping[str, Any], name: str) -> Dense:
    """The dense head ``{name}.weight`` and, if there is one, ``{name}.bias``.

    Raises
    ------
    ValueError
        If there is none (the candidates are listed), or more than that.
    """
    mine = [key for key in tensors if key.startswith(f"{name}.")]
    if f"{name}.weight" not in mine:
        others = [key.removesuffix(".weight") for key in tensors if key.endswith(".weight")]
        raise WrongChoice(
            f"head={name!r}: there is no tensor {name}.weight; "
            f"candidates: {_shortened(others) if others else 'none'}"
        )
    if unknown := sorted(set(mine) - {f"{name}.weight", f"{name}.bias"}):
        raise WrongChoice(f"head={name!r}: expected a weight and a bias only, got also {unknown}")
    try:
        return Dense(*(_as_array(key, tensors[key]) for key in sorted(mine, reverse=True)))
    except ValueError as error:
        raise ValueError(f"head={name!r}: {error}") from None


def _find_lstm(tensors: Mapping[str, Any], prefix: str) -> str:
    """What the LSTM's tensors begin with: "" or the like of "encoder.lstm."."""
    first = "weight_ih_l0"
    roots = [name.removesuffix(first) for name in tensors if re.search(rf"(^|\.){first}$", name)]
    if not roots:
        raise ValueError(
            f"expected the tensors of an LSTM, {first} first, got {_shortened(list(tensors))}"
        )
    if prefix:
        root = prefix if prefix.endswith(".") else f"{prefix}."
        if root not in roots:
            raise WrongChoice(f"prefix={prefix!r}: there is no {root}{first}; {_candidates(roots)}")
        return root
    if len(roots) == 1:
        return roots[0]
    raise WrongChoice(
        f"expected one LSTM, got {len(roots)}: choose by prefix; {_candidates(roots)}"
    )


def _candidates(roots: list[str]) -> str:
    return f"candidates: {[root.removesuffix('.') for root in roots] or 'none'}"


def _refuse_rest(tensors: Mapping[str, Any], root: str, head: str | None) -> None:
    """Refuse tensors besides the LSTM's and the named head's: they would be dropped."""
    lstm = re.compile(re.escape(root) + _LSTM_LIKE.pattern)
    mine = () if head is None else (f"{head}.weight", f"{head}.bias")
    if rest := [name for name in tensors if not lstm.fullmatch(name) and name not in mine]:
        named = "" if head is None else f" and the head {head!r}"
        hint = "" if head is not None else "; name its dense head by head='...'"
        kind = ValueError if head is None else WrongChoice  # a head unnamed: who knows what it is
        raise kind(
            f"the model holds more than an LSTM{named}: {_shortened(rest)}{hint}{_part(root)}"
        )


def _refuse_modules(modules: Mapping[str, str], root: str, head: str | None) -> None:
    """Refuse modules that compute something besides the LSTM and the named head."""
    parents = {name.rpartition(".")[0] for name in modules if name}
    mine = {root.removesuffix("."), head}
    if rest := [
        f"{name} ({kind})"
        for name, kind in modules.items()
        if name not in mine and name not in parents and not INERT.fullmatch(kind)
    ]:
        raise UnsupportedModelError(
            f"the module computes more than an LSTM and a dense head: {_shortened(rest)}"
            f"{_part(root)}"
        )


def _part(root: str) -> str:
    """How to take the LSTM and the head all the same."""
    if not root:  # its names begin with nothing, which is no prefix either
        return "; to drop the rest, pass the tensors of the LSTM and its head only"
    return f"; to take just this LSTM and its head, if any, name it by prefix={root[:-1]!r}"


def _shortened(names: list[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{names[:limit]}{more}"


def _modules_of(source: Any) -> dict[str, str]:
    """The kinds of a module and of all modules in it, by name; {} for a mapping of tensors."""
    if isinstance(source, Mapping):
        if odd := [name for name in source if not isinstance(name, str)]:
            raise TypeError(f"expected names as keys, got {odd[0]!r}")
        return {}
    if not (hasattr(source, "named_modules") and hasattr(source, "state_dict")):
        raise TypeError(
            "expected a torch module or a mapping of names to arrays or tensors, "
            f"got {type(source).__name__}"
        )
    # A TorchScript module's type says nothing, its original_name does.
    return {
        name: str(getattr(module, "original_name", type(module).__name__))
        for name, module in source.named_modules(remove_duplicate=False)
    }


def _as_numpy(value: Any) -> Array:
    torch = sys.modules.get("torch")  # a tensor cannot exist without it
    if torch is not None and isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    refuse_mask("weights", value)
    return np.asarray(value)


def _as_array(name: str, value: Any) -> Array:
    """A tensor or array as float32 or float64; narrower floats are widened to float32."""
    array = _as_numpy(value)
    if array.dtype.name in ("float16", "bfloat16"):
        return array.astype(np.float32)
    if array.dtype.name not in ("float32", "float64"):
        raise UnsupportedModelError(
            f"{name}: expected float64, float32, float16 or bfloat16, got {array.dtype}"
        )
    return array
