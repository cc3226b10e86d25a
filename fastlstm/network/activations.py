"""Activations by name, with their alpha and beta where they have them. Nothing here computes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Final

from fastlstm.errors import UnsupportedModelError

__all__ = ["LINEAR", "SIGMOID", "STANDARD", "TANH", "Activation", "as_activation", "as_activations"]

# The name of each, and the defaults of the alpha and beta that it takes.
DEFAULTS: Final[dict[str, tuple[float, ...]]] = {
    "affine": (1.0, 0.0),  # alpha x + beta
    "clip": (-1.0, 1.0),  # min(max(x, alpha), beta)
    "elu": (1.0,),  # x if x > 0 else alpha (exp(x) - 1)
    "exp": (),
    "gelu": (),  # x (1 + erf(x / sqrt 2)) / 2
    "gelu_tanh": (),  # x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
    "hard_sigmoid": (0.2, 0.5),  # min(max(alpha x + beta, 0), 1)
    "hard_silu": (),  # x min(max(x / 6 + 1 / 2, 0), 1)
    "leaky_relu": (0.01,),  # x if x >= 0 else alpha x
    "linear": (),
    "log_sigmoid": (),  # -log(1 + exp(-x))
    "mish": (),  # x tanh(log(1 + exp(x)))
    "relu": (),
    "scaled_tanh": (1.0, 1.0),  # alpha tanh(beta x)
    "selu": (),  # scale (x if x > 0 else 1.67326 (exp(x) - 1)), scale 1.05070
    "sigmoid": (),
    "silu": (),  # x sigmoid(x)
    "softplus": (),  # log(1 + exp(x))
    "softsign": (),  # x / (1 + |x|)
    "tanh": (),
    "thresholded_relu": (1.0,),  # x if x > alpha else 0
}


@dataclass(frozen=True)
class Activation:
    """An activation function: its name, and its alpha and beta if it takes them.

    Parameters
    ----------
    name : str
        One of ``affine clip elu exp gelu gelu_tanh hard_sigmoid hard_silu leaky_relu linear
        log_sigmoid mish relu scaled_tanh selu sigmoid silu softplus softsign tanh
        thresholded_relu``.
    alpha, beta : float, optional
        Those of the ONNX operator of the same name, by default with ONNX's values. Note that
        ``hard_sigmoid`` is ``min(max(alpha x + beta, 0), 1)`` with 0.2 and 0.5 by default, while
        Keras 3 and PyTorch use 1/6 and 0.5. ``clip`` limits x to alpha ... beta, by default to
        -1 ... 1.

    Raises
    ------
    UnsupportedModelError
        If there is no such activation.
    ValueError
        If the activation does not take a number that was given, or the number is not finite.

    Examples
    --------
    >>> Activation("hard_sigmoid", 1 / 6, 0.5).numbers
    (0.16666666666666666, 0.5)
    """

    name: str
    alpha: float | None = None
    beta: float | None = None

    def __post_init__(self) -> None:
        if self.name not in DEFAULTS:
            raise UnsupportedModelError(
                f"activation {self.name!r}: this version computes {', '.join(DEFAULTS)}"
            )
        defaults = dict(zip(("alpha", "beta"), DEFAULTS[self.name], strict=False))
        for name in ("alpha", "beta"):
            given = getattr(self, name)
            if given is None:
                given = defaults.get(name)
            elif name not in defaults:
                raise ValueError(f"activation {self.name!r} takes no {name}, got {given!r}")
            elif not isinstance(given, Real) or not math.isfinite(given):
                raise ValueError(
                    f"activation {self.name!r}: expected a finite {name}, got {given!r}"
                )
            object.__setattr__(self, name, None if given is None else float(given))

    @property
    def numbers(self) -> tuple[float, ...]:
        """The alpha and beta that the activation takes: none, one or both."""
        return tuple(k for k in (self.alpha, self.beta) if k is not None)

    def __str__(self) -> str:
        if self.numbers == DEFAULTS[self.name]:
            return self.name
        return f"{self.name}({', '.join(f'{k:g}' for k in self.numbers)})"


SIGMOID, TANH, LINEAR = (Activation(name) for name in ("sigmoid", "tanh", "linear"))
STANDARD = (SIGMOID, TANH, TANH)  # of the gates i f o, the candidate g, and the cell's output


def as_activation(value: Any) -> Activation:
    """Return an `Activation`, given as one, by its name, or as a sequence of name and numbers.

    Raises
    ------
    TypeError
        If it is given in another form.
    UnsupportedModelError, ValueError
        As `Activation`.
    """
    if isinstance(value, Activation):
        return value
    if isinstance(value, str):
        return Activation(value)
    if isinstance(value, (tuple, list)) and 1 <= len(value) <= 3 and isinstance(value[0], str):
        return Activation(*value)
    raise TypeError(
        "expected an activation as its name, (name, alpha), (name, alpha, beta) or an Activation, "
        f"got {value!r}"
    )


def as_activations(values: Any) -> tuple[Activation, Activation, Activation]:
    """Return the three activations of a cell: of its gates, its candidate and its output.

    Raises
    ------
    TypeError, ValueError
        If there are not three, or as `as_activation`.
    """
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) != 3:
        raise ValueError(
            f"expected three activations (gates, candidate, cell output), got {values!r}"
        )
    gates, candidate, output = (as_activation(value) for value in values)
    return gates, candidate, output
