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

from fastlstm.errors import UnsupportedModelError
from fastlstm.network import Dense, Layer, as_dense

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["from_torch", "head_from", "layers_from"]

Array = npt.NDArray[Any]

PLAIN = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
UNSUPPORTED = {
    "weight_hr": "a projection (proj_size)",
    "peephole_i": "peepholes",
    "peephole_f": "peepholes",
    "peephole_o": "peepholes",
}
DEFAULT_ACTIVATIONS = ("sigmoid", "tanh", "tanh")

_LSTM_NAME = re.compile(r"([a-z]+_[a-z]+)_l(0|[1-9][0-9]*)(_reverse)?")
_LSTM_LIKE = re.compile(r"(weight|bias|peephole)_[^.]*")


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
        Where the LSTM is, such as ``"encoder.lstm"``. Needed only if there are several.
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
        or a dtype that is none of the above. It names the layer and the option.
    ValueError
        If the LSTM or the head is missing or ambiguous (the candidates are listed), if there
        are tensors that neither `prefix` nor `head` accounts for, or if shapes do not fit.
    TypeError
        If the first argument is none of these.
    """
    from fastlstm.model import LSTM

    if tuple(activations) != DEFAULT_ACTIVATIONS:
        raise UnsupportedModelError(
            f"activations={tuple(activations)!r}: this version computes {DEFAULT_ACTIVATIONS} only"
        )
    tensors = _as_tensors(module_or_state_dict, head)
    root = _find_lstm(tensors, prefix)
    layers = layers_from(tensors, root)
    if not prefix and head is None:
        _refuse_rest(tensors, root)
    if isinstance(head, str):
        head = head_from(tensors, head)
    elif isinstance(head, (tuple, list)):
        head = [None if part is None else _as_numpy(part) for part in head]
    dense = as_dense(head, layers[-1].hidden_size, layers[-1].dtype)
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
    name = name.removesuffix(".")
    mine = [key for key in tensors if key.startswith(f"{name}.")]
    if f"{name}.weight" not in mine:
        others = [key.removesuffix(".weight") for key in tensors if key.endswith(".weight")]
        raise ValueError(
            f"head={name!r}: there is no tensor {name}.weight; "
            f"candidates: {_shortened(others) if others else 'none'}"
        )
    if unknown := sorted(set(mine) - {f"{name}.weight", f"{name}.bias"}):
        raise ValueError(f"head={name!r}: expected a weight and a bias only, got also {unknown}")
    try:
        return Dense(*(_as_array(key, tensors[key]) for key in sorted(mine, reverse=True)))
    except ValueError as error:
        raise ValueError(f"head={name!r}: {error}") from None


def _find_lstm(tensors: Mapping[str, Any], prefix: str) -> str:
    """What the LSTM's tensors begin with: "" or the like of "encoder.lstm."."""
    first = "weight_ih_l0"
    roots = [name.removesuffix(first) for name in tensors if re.search(rf"(^|\.){first}$", name)]
    if prefix:
        root = prefix if prefix.endswith(".") else f"{prefix}."
        if root not in roots:
            raise ValueError(f"prefix={prefix!r}: there is no {root}{first}; {_candidates(roots)}")
        return root
    if len(roots) == 1:
        return roots[0]
    if not roots:
        raise ValueError(
            f"expected the tensors of an LSTM, {first} first, got {_shortened(list(tensors))}"
        )
    raise ValueError(f"expected one LSTM, got {len(roots)}: choose by prefix; {_candidates(roots)}")


def _candidates(roots: list[str]) -> str:
    return f"candidates: {[root.removesuffix('.') for root in roots] or 'none'}"


def _refuse_rest(tensors: Mapping[str, Any], root: str) -> None:
    known = re.compile(re.escape(root) + _LSTM_LIKE.pattern)
    if rest := [name for name in tensors if not known.fullmatch(name)]:
        alone = f", or take the LSTM alone by prefix={root[:-1]!r}" if root else ""
        raise ValueError(
            f"the model holds more than an LSTM: {_shortened(rest)}; name its dense head by "
            f"head='...'{alone}"
        )


def _shortened(names: list[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{names[:limit]}{more}"


def _as_tensors(source: Any, head: Any) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        if odd := [name for name in source if not isinstance(name, str)]:
            raise TypeError(f"expected names as keys, got {odd[0]!r}")
        return source
    if not (hasattr(source, "named_modules") and hasattr(source, "state_dict")):
        raise TypeError(
            "expected a torch module or a mapping of names to arrays or tensors, "
            f"got {type(source).__name__}"
        )
    if isinstance(head, str):
        found = dict(source.named_modules()).get(head)
        if found is not None and type(found).__name__ != "Linear":
            raise UnsupportedModelError(
                f"head={head!r} is a {type(found).__name__}: this version computes a Linear only"
            )
    tensors: Mapping[str, Any] = source.state_dict()
    return tensors


def _as_numpy(value: Any) -> Array:
    torch = sys.modules.get("torch")  # a tensor cannot exist without it
    if torch is not None and isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
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
