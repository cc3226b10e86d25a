"""Dense layers, at every step or in the head, and heads in the forms that users write."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fastlstm.network.activations import LINEAR, Activation, as_activation
from fastlstm.network.weights import Weights, as_bias, as_floats, freeze, refuse_mask

__all__ = ["SOFTMAX", "Dense", "as_dense", "as_head"]

Array = npt.NDArray[Any]

SOFTMAX = "softmax"  # over all outputs of a dense layer, so no `Activation`


@dataclass(frozen=True, eq=False, repr=False)
class Dense(Weights):
    """A dense layer: K inputs, O outputs, ``y = activation(weight @ x + bias)``.

    Parameters
    ----------
    weight : array (O, K), float32 or float64
        The weight of each input in each output.
    bias : array (O,), same dtype, optional
        Zeros if left out.
    activation : str, Activation or (name, alpha, beta)
        ``"softmax"``, or one of those that `Activation` lists; ``"linear"`` by default.

    Raises
    ------
    TypeError
        If an array is neither float32 nor float64.
    ValueError
        If shapes or dtypes do not fit together, or a weight is NaN or infinite.
    UnsupportedModelError
        If there is no such activation.

    Examples
    --------
    >>> Dense(np.zeros((1, 8)), activation="sigmoid").input_size
    8
    """

    takes: ClassVar = "either"
    gives: ClassVar = "either"

    weight: Array  # (O, K)
    bias: Array | None = None  # (O,)
    _: KW_ONLY
    activation: Activation | str = LINEAR

    def __post_init__(self) -> None:
        arrays = {"weight": as_floats("weight", self.weight)}
        shape = arrays["weight"].shape
        if len(shape) != 2 or 0 in shape:
            raise ValueError(
                "weight: expected shape (O, K) for O >= 1 outputs and K >= 1 hidden units, "
                f"got {shape}"
            )
        if self.bias is not None:
            arrays["bias"] = as_bias(self.bias, shape[0])
        freeze(self, arrays)
        if self.activation != SOFTMAX:
            object.__setattr__(self, "activation", as_activation(self.activation))

    @property
    def input_size(self) -> int:
        """K, the number of inputs."""
        return int(self.weight.shape[1])

    @property
    def output_size(self) -> int:
        """O, the number of outputs."""
        return int(self.weight.shape[0])

    @property
    def dtype(self) -> np.dtype[Any]:
        """``float32`` or ``float64``."""
        return self.weight.dtype

    def __repr__(self) -> str:
        bias = "" if self.bias is None else ", bias"
        activation = "" if self.activation == LINEAR else f", {self.activation}"
        return f"Dense({self.input_size} -> {self.output_size}{bias}{activation}, {self.dtype})"


def as_head(head: Any, input_size: int, dtype: npt.DTypeLike) -> tuple[Dense, ...]:
    """Return the dense layers of a head, given in any form that users may write.

    Parameters
    ----------
    head
        None, what `as_dense` takes, or a sequence of `Dense`.
    input_size, dtype
        As in `as_dense`.

    Raises
    ------
    TypeError, ValueError
        As `as_dense`.
    """
    stack = isinstance(head, (tuple, list)) and all(isinstance(part, Dense) for part in head)
    denses: list[Dense] = []
    for part in head if stack else [head]:
        dense = as_dense(part, input_size, dtype)
        if dense is not None:
            denses.append(dense)
            input_size = dense.output_size
    return tuple(denses)


def as_dense(head: Any, input_size: int, dtype: npt.DTypeLike) -> Dense | None:
    """Return a dense layer of `dtype` with `input_size` inputs, given in any form users may write.

    Parameters
    ----------
    head : None, Dense, number or (weight, bias)
        ``4.0`` is ``y = 4 * h`` for a single hidden unit. In a pair, `weight` is ``(O, K)``,
        ``(K,)`` for one output or a number for one unit; `bias` is ``(O,)``, a number or None.
    input_size : int
        K, the hidden units of the last layer (of both directions).
    dtype : dtype
        The network's.

    Raises
    ------
    TypeError
        If `head` has another form, or its weights are complex, text or masked.
    ValueError
        If its shape does not fit the network, or a weight is NaN or infinite.
    """
    if head is None:
        return None
    dense = head if isinstance(head, Dense) else _dense_from(head).astype(dtype)
    if dense.dtype != np.dtype(dtype):
        raise ValueError(
            f"head: expected {np.dtype(dtype)} as in the layers, got {dense.dtype}; "
            "convert it with .astype()"
        )
    if dense.input_size != input_size:
        raise ValueError(
            f"head: expected a weight of shape (outputs, {input_size}) for {input_size} hidden "
            f"units, got {dense.weight.shape}"
        )
    return dense


def _dense_from(head: Any) -> Dense:
    """A number or a pair as a float64 `Dense`."""
    if isinstance(head, Real) and not isinstance(head, bool):
        weight, bias = head, None
    elif isinstance(head, (tuple, list)) and len(head) == 2:
        weight, bias = head
    else:
        raise TypeError(
            f"head: expected a Dense, a number or a pair (weight, bias), got {type(head).__name__}"
        )
    try:
        w = _as_float64("weight", weight)  # (O, K), (K,) or ()
        b = None if bias is None else _as_float64("bias", bias).reshape(-1)  # (O,)
        return Dense(w if w.ndim > 1 else w.reshape(1, -1), b)
    except ValueError as error:
        raise ValueError(f"head: {error}") from None


def _as_float64(name: str, value: Any) -> Array:
    refuse_mask(f"head: {name}", value)
    array = np.asarray(value)
    if array.dtype.kind not in "fiubO":  # objects may be numbers, such as fractions
        raise TypeError(f"head: {name}: expected real numbers, got {array.dtype}")
    try:
        return array.astype(np.float64)
    except OverflowError:
        raise ValueError(
            f"{name}: expected a number that fits in float64, got a larger integer"
        ) from None
    except TypeError:  # objects that are not numbers
        raise TypeError(
            f"head: {name}: expected real numbers, got {type(value).__name__}"
        ) from None
