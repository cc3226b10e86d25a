"""The weights of a network: validated, frozen, compared by content. Nothing here computes.

Gates are always in the order ``i f g o``: input, forget, candidate cell, output.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from numbers import Real
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fastlstm.tutorial import check_params

__all__ = ["Dense", "Layer", "as_dense", "immutable", "refuse_mask"]

Array = npt.NDArray[Any]
Self = TypeVar("Self", bound="_Weights")


class _Weights:
    """What a frozen dataclass of arrays needs to be a value: equality, hash, pickle, astype."""

    def _arrays(self) -> tuple[Array | None, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]

    @cached_property
    def digest(self) -> bytes:
        """16 bytes that stand for the content: every weight's bits, its shape and its dtype."""
        content = hashlib.blake2b(digest_size=16)
        for array in self._arrays():
            if array is None:
                content.update(b"none;")
            else:
                content.update(f"{array.dtype}{array.shape};".encode())
                content.update(array.data)
        return content.digest()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor: plain pickling would bring the arrays back writeable.
        return type(self), self._arrays()

    def astype(self: Self, dtype: npt.DTypeLike) -> Self:
        """The same weights rounded to another dtype, ``float32`` or ``float64``.

        Raises
        ------
        ValueError
            If a weight is too large for the dtype.
        """
        arrays = self._arrays()
        if arrays[0] is not None and arrays[0].dtype == np.dtype(dtype):
            return self
        with np.errstate(over="ignore"):  # an overflow is reported by the constructor, with a name
            return type(self)(*(None if a is None else a.astype(dtype) for a in arrays))


@dataclass(frozen=True, eq=False, repr=False)
class Layer(_Weights):
    """One LSTM layer: I inputs, H hidden units, one direction.

    The arrays are copied and cannot be written to. Equal content means equal and the same hash.

    Parameters
    ----------
    w_ih : array (4H, I), float32 or float64
        Weights of the inputs, gates ``i f g o`` from the top.
    w_hh : array (4H, H), same dtype
        Weights of the hidden state.
    b_ih, b_hh : array (4H,), same dtype, optional
        Biases. The cell adds their sum, see `bias`.

    Raises
    ------
    TypeError
        If an array is neither float32 nor float64.
    ValueError
        If shapes or dtypes do not fit together, or a weight is NaN or infinite.
    """

    w_ih: Array  # (4H, I) gates i f g o
    w_hh: Array  # (4H, H)
    b_ih: Array | None = None  # (4H,)
    b_hh: Array | None = None  # (4H,)

    def __post_init__(self) -> None:
        w_ih, w_hh = _as_floats("w_ih", self.w_ih), _as_floats("w_hh", self.w_hh)
        if w_hh.ndim != 2 or w_hh.shape[0] != 4 * w_hh.shape[1] or w_hh.size == 0:
            raise ValueError(
                "w_hh: expected shape (4H, H) for H >= 1 hidden units, gates i f g o, "
                f"got {w_hh.shape}"
            )
        rows, hidden = w_hh.shape
        if w_ih.ndim != 2 or w_ih.shape[0] != rows or w_ih.size == 0:
            raise ValueError(
                f"w_ih: expected shape ({rows}, I) for {hidden} hidden units and I >= 1 inputs, "
                f"got {w_ih.shape}"
            )
        arrays = {"w_ih": w_ih, "w_hh": w_hh}
        for name in ("b_ih", "b_hh"):
            if (bias := getattr(self, name)) is not None:
                arrays[name] = _as_floats(name, bias)
                if arrays[name].shape != (rows,):
                    raise ValueError(
                        f"{name}: expected shape ({rows},) for {hidden} hidden units, "
                        f"got {arrays[name].shape}"
                    )
        _freeze(self, arrays)
        _require_finite("b_ih + b_hh", self.bias)

    @classmethod
    def from_gates(cls, params: Mapping[str, Sequence[float]]) -> Layer:
        """The tutorial's cell as a float64 layer of one input and one unit.

        Parameters
        ----------
        params : mapping
            ``(w_x, w_h, b)`` for ``"forget"``, ``"input"``, ``"cell"`` and ``"output"``.
        """
        gates = check_params(params)
        i_f_g_o = [gates[name] for name in ("input", "forget", "cell", "output")]
        w_x, w_h, b = np.array(i_f_g_o, dtype=np.float64).T
        return cls(w_x[:, None], w_h[:, None], b)

    @property
    def input_size(self) -> int:
        """I, the number of inputs."""
        return int(self.w_ih.shape[1])

    @property
    def hidden_size(self) -> int:
        """H, the number of hidden units."""
        return int(self.w_hh.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """``float32`` or ``float64``."""
        return self.w_ih.dtype

    @cached_property
    def bias(self) -> Array:
        """``b_ih + b_hh`` ``(4H,)``, rounded once; zeros if there are none."""
        total = np.zeros(len(self.w_hh), self.dtype)
        with np.errstate(over="ignore"):  # an overflow is refused by the constructor
            for part in (self.b_ih, self.b_hh):
                if part is not None:
                    total += part
        return immutable(total)

    def __repr__(self) -> str:
        biases = "".join(f", {n}" for n in ("b_ih", "b_hh") if getattr(self, n) is not None)
        return f"Layer({self.input_size} -> {self.hidden_size}{biases}, {self.dtype})"


@dataclass(frozen=True, eq=False, repr=False)
class Dense(_Weights):
    """A dense head: K hidden units in, O outputs, ``y = weight @ h + bias``.

    Parameters
    ----------
    weight : array (O, K), float32 or float64
    bias : array (O,), same dtype, optional

    Raises
    ------
    TypeError
        If an array is neither float32 nor float64.
    ValueError
        If shapes or dtypes do not fit together, or a weight is NaN or infinite.
    """

    weight: Array  # (O, K)
    bias: Array | None = None  # (O,)

    def __post_init__(self) -> None:
        arrays = {"weight": _as_floats("weight", self.weight)}
        shape = arrays["weight"].shape
        if len(shape) != 2 or 0 in shape:
            raise ValueError(
                "weight: expected shape (O, K) for O >= 1 outputs and K >= 1 hidden units, "
                f"got {shape}"
            )
        if self.bias is not None:
            arrays["bias"] = _as_floats("bias", self.bias)
            if arrays["bias"].shape != shape[:1]:
                raise ValueError(
                    f"bias: expected shape ({shape[0]},) for {shape[0]} outputs, "
                    f"got {arrays['bias'].shape}"
                )
        _freeze(self, arrays)

    @property
    def input_size(self) -> int:
        """K, the number of hidden units that the head reads."""
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
        return f"Dense({self.input_size} -> {self.output_size}{bias}, {self.dtype})"


def as_dense(head: Any, hidden_size: int, dtype: npt.DTypeLike) -> Dense | None:
    """A head as users write it, as a `Dense` of `dtype` that reads `hidden_size` units.

    Parameters
    ----------
    head : None, Dense, number or (weight, bias)
        ``4.0`` is ``y = 4 * h`` for a single hidden unit. In a pair, `weight` is ``(O, H)``,
        ``(H,)`` for one output or a number for one unit; `bias` is ``(O,)``, a number or None.
    hidden_size : int
        H, the hidden units of the last layer.
    dtype : dtype
        The network's.

    Raises
    ------
    TypeError
        If `head` is none of these, or its weights are complex, text or masked.
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
    if dense.input_size != hidden_size:
        raise ValueError(
            f"head: expected a weight of shape (outputs, {hidden_size}) for {hidden_size} hidden "
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
        w = _as_float64("weight", weight)  # (O, H), (H,) or ()
        b = None if bias is None else _as_float64("bias", bias).reshape(-1)  # (O,)
        return Dense(w if w.ndim > 1 else w.reshape(1, -1), b)
    except ValueError as error:
        raise ValueError(f"head: {error}") from None


def _as_float64(name: str, value: Any) -> Array:
    refuse_mask(f"head: {name}", value)
    array = np.asarray(value)
    if array.dtype.kind not in "fiubO":  # objects may be numbers, such as fractions
        raise TypeError(f"head: {name}: expected real numbers, got {array.dtype}")
    return array.astype(np.float64)


def refuse_mask(name: str, value: Any) -> None:
    """Refuse a masked array, or a list of them: NumPy would go on with the masked values.

    Raises
    ------
    TypeError
        If it is one.
    """
    if type(value) is np.ndarray:
        return
    items = (value, *value) if isinstance(value, (list, tuple)) else (value,)
    if any(isinstance(item, np.ma.MaskedArray) for item in items):
        raise TypeError(
            f"{name}: expected an array without a mask, the mask would be lost; "
            "choose values for what is masked with .filled()"
        )


def _as_floats(name: str, value: Any) -> Array:
    """`value` as an array of native float32 or float64, finite."""
    refuse_mask(name, value)
    array = np.asarray(value)
    if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
        raise TypeError(
            f"{name}: expected float32 or float64, got {array.dtype}; convert it with .astype()"
        )
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    _require_finite(name, array)
    return array


def _require_finite(name: str, array: Array) -> None:
    broken = ~np.isfinite(array)
    if broken.any():
        where = tuple(int(k) for k in np.argwhere(broken)[0])
        raise ValueError(
            f"{name}: expected finite weights, got {array[where]} at {list(where)} "
            f"({int(broken.sum())} of {array.size} are NaN or infinite in {array.dtype})"
        )


def immutable(array: Array) -> Array:
    """A copy on top of `bytes`: unlike a cleared flag, that cannot be made writeable again."""
    return np.frombuffer(array.tobytes(), dtype=array.dtype).reshape(array.shape)


def _freeze(weights: _Weights, arrays: dict[str, Array]) -> None:
    dtypes = {name: str(array.dtype) for name, array in arrays.items()}
    if len(set(dtypes.values())) > 1:
        raise ValueError(f"expected weights of one dtype, got {dtypes}")
    for name, array in arrays.items():
        object.__setattr__(weights, name, immutable(array))
