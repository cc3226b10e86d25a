"""One LSTM operator of ONNX as a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.floats import widened
from fastlstm.network.activations import STANDARD, Activation
from fastlstm.network.layers import Bidirectional, Layer

__all__ = ["INPUTS", "Operator", "read_operator"]

Array = npt.NDArray[Any]

INPUTS: Final = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
_ATTRIBUTES: Final = {
    "activation_alpha",
    "activation_beta",
    "activations",
    "clip",
    "direction",
    "hidden_size",
    "input_forget",
    "layout",
    "output_sequence",  # of opset 1 only: whether Y is wanted
}
_DIRECTIONS: Final = {
    "forward": ("forward",),
    "reverse": ("reverse",),
    "bidirectional": ("forward", "reverse"),
}
_TURNED: Final = {"forward": "reverse", "reverse": "forward"}
# ONNX's name in small letters, as ONNX Runtime compares it: ours, the numbers that it takes.
_ACTIVATIONS: Final = {
    "affine": ("affine", 2),
    "elu": ("elu", 1),
    "hardsigmoid": ("hard_sigmoid", 2),
    "leakyrelu": ("leaky_relu", 1),
    "relu": ("relu", 0),
    "scaledtanh": ("scaled_tanh", 2),
    "sigmoid": ("sigmoid", 0),
    "softplus": ("softplus", 0),
    "softsign": ("softsign", 0),
    "tanh": ("tanh", 0),
    "thresholdedrelu": ("thresholded_relu", 1),
}
_WITHOUT_DEFAULTS: Final = ("affine", "scaled_tanh", "thresholded_relu")


class Operator(NamedTuple):
    """What an LSTM operator computes; its layer is built when it is known what it reads."""

    weights: Mapping[str, Array]  # W, R and, if it has them, B and P
    starts: Mapping[str, list[Array | None]]  # initial_h and initial_c: a row a direction
    directions: tuple[str, ...]
    activations: tuple[tuple[Activation, Activation, Activation], ...]
    coupled: bool
    clip: float | None
    batch_first: bool  # layout 1: X is (N, T, I)

    @property
    def input_size(self) -> int:
        """I, the inputs of a step."""
        return int(self.weights["W"].shape[-1])

    @property
    def hidden_size(self) -> int:
        """H, the hidden units of a direction."""
        return int(self.weights["R"].shape[-1])

    @property
    def options(self) -> tuple[Any, ...]:
        """All that it is besides its numbers, to compare operators by."""
        named = tuple(self.weights), tuple(self.starts)
        return *named, self.directions, self.activations, self.coupled, self.clip

    @property
    def arrays(self) -> list[Array | None]:
        """Its numbers."""
        return [*self.weights.values(), *(row for rows in self.starts.values() for row in rows)]

    def layer(self, order: Array | None = None, flipped: bool = False) -> Layer | Bidirectional:
        """The operator as a layer.

        Parameters
        ----------
        order : array (I,), optional
            Which number of a step each of its inputs is; by default as they come.
        flipped : bool
            Whether it reads the steps in reverse order.
        """
        back = None if order is None else np.argsort(order)
        cells = [self._cell(d, back, flipped) for d in range(len(self.directions))]
        first, *others = cells
        return Bidirectional(first, others[0]) if others else first

    def _cell(self, d: int, back: Array | None, flipped: bool) -> Layer:
        w_ih, w_hh = (_i_f_g_o(name, self.weights[name][d]) for name in "WR")
        biases: list[Array] = []
        if "B" in self.weights:
            biases = [_i_f_g_o("B", half) for half in np.split(self.weights["B"][d], 2)]
        direction = self.directions[d]
        return Layer(
            w_ih if back is None else w_ih[:, back],
            w_hh,
            *biases,
            peepholes=_peepholes(self.weights["P"][d]) if "P" in self.weights else None,
            h_0=self.starts["initial_h"][d] if "initial_h" in self.starts else None,
            c_0=self.starts["initial_c"][d] if "initial_c" in self.starts else None,
            activations=self.activations[d],
            direction=_TURNED[direction] if flipped else direction,
            coupled=self.coupled,
            clip=self.clip,
        )


def read_operator(
    attributes: Mapping[str, Any],
    weights: Mapping[str, Array],
    state: Mapping[str, Array],
) -> Operator:
    """An LSTM operator from its attributes and its constant inputs.

    Parameters
    ----------
    attributes : mapping
        By ONNX's names.
    weights : mapping
        ``W``, ``R`` and, if the operator has them, ``B`` and ``P``.
    state : mapping
        ``initial_h`` and ``initial_c``, if they are constants.

    Raises
    ------
    UnsupportedModelError
        If the operator is sound but is not computed.
    ModelFormatError
        If it contradicts itself.
    """
    if unknown := attributes.keys() - _ATTRIBUTES:
        raise UnsupportedModelError(f"this version does not know the attributes {sorted(unknown)}")
    direction = attributes.get("direction", "forward")
    if direction not in _DIRECTIONS:
        raise ModelFormatError(f"expected a direction of {list(_DIRECTIONS)}, got {direction!r}")
    directions = _DIRECTIONS[direction]
    batch_first = _flag(attributes, "layout")
    coupled, clip = _flag(attributes, "input_forget"), attributes.get("clip")
    if clip is not None and not clip > 0:
        raise ModelFormatError(f"expected a clip above 0, got {clip!r}")
    D, H = len(directions), _hidden_size(attributes, weights)
    _check_shapes(weights, D, H)
    dtypes = {name: array.dtype for name, array in weights.items()}
    if len(set(dtypes.values())) > 1:
        raise ModelFormatError(f"expected weights of one type, got {dtypes}")
    starts = {name: _rows(name, array, D, H, batch_first) for name, array in state.items()}
    activations = _activations(attributes, D)
    return Operator(weights, starts, directions, activations, coupled, clip, batch_first)


def _flag(attributes: Mapping[str, Any], name: str) -> bool:
    value = attributes.get(name, 0)
    if value not in (0, 1):
        raise ModelFormatError(f"expected {name} to be 0 or 1, got {value!r}")
    return bool(value)


def _hidden_size(attributes: Mapping[str, Any], weights: Mapping[str, Array]) -> int:
    shape = weights["R"].shape
    hidden = attributes.get("hidden_size", shape[-1] if shape else 0)
    if len(shape) != 3 or shape[-1] != hidden or hidden < 1:
        raise ModelFormatError(
            f"R: expected shape (directions, 4H, H) for hidden_size {hidden}, got {shape}"
        )
    return int(hidden)


def _check_shapes(weights: Mapping[str, Array], D: int, H: int) -> None:
    inputs = weights["W"].shape[-1] if weights["W"].ndim else 0
    shapes = {"W": (D, 4 * H, inputs), "R": (D, 4 * H, H), "B": (D, 8 * H), "P": (D, 3 * H)}
    for name, array in weights.items():
        if array.shape != shapes[name]:
            raise ModelFormatError(
                f"{name}: expected shape {shapes[name]} for {D} directions of {H} hidden units, "
                f"got {array.shape}"
            )


def _i_f_g_o(name: str, values: Array) -> Array:
    """Weights whose gates stand in ONNX's order, i o f g."""
    i, o, f, g = widened(name, values).reshape(4, -1, *values.shape[1:])
    return np.concatenate([i, f, g, o])


def _peepholes(values: Array) -> Array:
    """Peepholes in the order i f o, from ONNX's i o f."""
    i, o, f = widened("P", values).reshape(3, -1)
    return np.stack([i, f, o])


def _rows(name: str, start: Array, D: int, H: int, batch_first: bool) -> list[Array | None]:
    """A constant initial state: for each direction the row that all sequences begin with."""
    if start.ndim == 3 and batch_first:
        start = start.transpose(1, 0, 2)
    if start.ndim != 3 or start.shape[0] != D or start.shape[2] != H or not start.shape[1]:
        raise ModelFormatError(
            f"{name}: expected {D} directions, a batch and {H} hidden units, got {start.shape}"
        )
    if (start != start[:, :1]).any():
        raise UnsupportedModelError(
            f"{name}: a constant with rows that differ over the batch; this version computes a "
            "row that all sequences share, or the state of each call"
        )
    rows = [widened(name, np.ascontiguousarray(start[d, 0])) for d in range(D)]
    return [row if row.any() else None for row in rows]


def _activations(
    attributes: Mapping[str, Any], D: int
) -> tuple[tuple[Activation, Activation, Activation], ...]:
    """The activations of each direction; each takes its alpha and beta off the lists."""
    names: Sequence[str] | None = attributes.get("activations")
    alphas = list(attributes.get("activation_alpha", ()))
    betas = list(attributes.get("activation_beta", ()))
    if names is None and not alphas and not betas:
        return (STANDARD,) * D
    names = ["Sigmoid", "Tanh", "Tanh"] * D if names is None else names
    if len(names) != 3 * D:
        raise ModelFormatError(f"expected {3 * D} activations for {D} directions, got {names}")
    found = []
    for name in names:
        if name.lower() not in _ACTIVATIONS:
            raise UnsupportedModelError(
                f"activation {name!r}: this version computes {', '.join(_ACTIVATIONS)}"
            )
        ours, numbers = _ACTIVATIONS[name.lower()]
        alpha = alphas.pop(0) if numbers > 0 and alphas else None
        beta = betas.pop(0) if numbers > 1 and betas else None
        if ours in _WITHOUT_DEFAULTS and None in (alpha, beta)[:numbers]:
            raise UnsupportedModelError(
                f"activation {name!r} without its alpha or beta: ONNX Runtime takes 0 for them, "
                "but ONNX itself does not say so"
            )
        found.append(Activation(ours, alpha, beta))
    if alphas or betas:
        raise UnsupportedModelError(
            f"activation_alpha {alphas} and activation_beta {betas} are left over: the activations "
            f"{list(names)} do not take them"
        )
    return tuple((found[k], found[k + 1], found[k + 2]) for k in range(0, 3 * D, 3))
