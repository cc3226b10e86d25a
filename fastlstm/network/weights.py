"""What all parts of a network share: arrays are validated, frozen and compared by content."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fastlstm.lazy import lazy

__all__ = [
    "Weights",
    "as_array",
    "as_bias",
    "as_floats",
    "freeze",
    "immutable",
    "refuse_mask",
    "require_finite",
]

Array = npt.NDArray[Any]
Self = TypeVar("Self", bound="Weights")


class Weights:
    """Makes a frozen dataclass of arrays a value: equality, hash, pickling and astype."""

    def _fields(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    @lazy
    def digest(self) -> bytes:
        """16 bytes that stand for the content: every weight's bits, its shape and its dtype."""
        content = hashlib.blake2b(digest_size=16)
        for name, value in self._fields().items():
            if isinstance(value, np.ndarray):
                content.update(f"{name}={value.dtype}{value.shape};".encode())
                content.update(value.data)
            elif _are_parts(value):
                content.update(f"{name}={len(value)};".encode())
                for part in value:
                    content.update(f"{type(part).__name__};".encode() + part.digest)
            elif isinstance(value, Weights):
                content.update(f"{name}={type(value).__name__};".encode() + value.digest)
            else:
                content.update(f"{name}={value!r};".encode())
        return content.digest()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor: plain pickling would make the arrays writeable again.
        return _build, (type(self), self._fields())

    def astype(self: Self, dtype: npt.DTypeLike) -> Self:
        """The same weights rounded to another dtype, ``float32`` or ``float64``.

        Raises
        ------
        ValueError
            If a weight is too large for the dtype.
        """
        with np.errstate(over="ignore"):  # an overflow is reported by the constructor, with a name
            converted = {name: _converted(v, dtype) for name, v in self._fields().items()}
        if all(converted[name] is value for name, value in self._fields().items()):
            return self
        return type(self)(**converted)


def _are_parts(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(part, Weights) for part in value)


def _build(kind: type[Weights], values: dict[str, Any]) -> Weights:
    return kind(**values)


def _converted(value: Any, dtype: npt.DTypeLike) -> Any:
    if isinstance(value, np.ndarray):
        return value.astype(dtype, copy=False)
    if _are_parts(value):
        parts = tuple(_converted(part, dtype) for part in value)
        return value if all(a is b for a, b in zip(parts, value, strict=True)) else parts
    return value.astype(dtype) if isinstance(value, Weights) else value


def refuse_mask(name: str, value: Any) -> None:
    """Refuse a masked array, or a list of them: NumPy would use the values under the mask.

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
            f"{name}: expected an array without a mask, because the mask would be lost; "
            "put values in the masked places with .filled()"
        )


def as_array(name: str, value: Any) -> Array:
    """Return `value` as an array, without a copy if it is one.

    Raises
    ------
    TypeError, ValueError
        If it cannot be an array, or is masked; whatever its own conversion raises becomes one of
        these.
    """
    if type(value) is np.ndarray:
        return value
    refuse_mask(name, value)
    try:
        if hasattr(value, "detach"):  # a torch tensor that may ask for gradients
            value = value.detach()
        if hasattr(value, "resolve_neg"):  # one that negates what lies in memory
            value = value.resolve_neg()
        return np.asarray(value)
    except MemoryError:
        raise
    except ValueError as error:  # rows of unequal length
        raise ValueError(f"expected {name} to be an array of numbers: {error}") from None
    except Exception as error:  # torch's bfloat16, a tensor on a GPU, whatever an object raises
        raise TypeError(f"expected {name} to be an array of numbers: {error}") from error


def as_floats(name: str, value: Any) -> Array:
    """Return `value` as an array of finite float32 or float64 numbers, in native byte order."""
    refuse_mask(name, value)
    array = np.asarray(value)
    if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
        raise TypeError(
            f"{name}: expected float32 or float64, got {array.dtype}; convert it with .astype()"
        )
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    require_finite(name, array)
    return array


def as_bias(value: Any, outputs: int) -> Array:
    """Return the biases of a part, one for each of its outputs, as `as_floats` does."""
    bias = as_floats("bias", value)
    if bias.shape != (outputs,):
        raise ValueError(
            f"bias: expected shape ({outputs},) for {outputs} outputs, got {bias.shape}"
        )
    return bias


def require_finite(name: str, array: Array) -> None:
    """Refuse NaN and infinity, and say where.

    Raises
    ------
    ValueError
        If there are some.
    """
    broken = ~np.isfinite(array)
    if broken.any():
        where = tuple(int(k) for k in np.argwhere(broken)[0])
        raise ValueError(
            f"{name}: expected finite weights, got {array[where]} at {list(where)} "
            f"({int(broken.sum())} of {array.size} are NaN or infinite in {array.dtype})"
        )


def immutable(array: Array) -> Array:
    """Return a copy backed by `bytes`: unlike a cleared flag, that can never be made writeable."""
    return np.frombuffer(array.tobytes(), dtype=array.dtype).reshape(array.shape)


def freeze(weights: Weights, arrays: dict[str, Array]) -> None:
    """Give a frozen dataclass immutable copies of its arrays, all of one dtype."""
    dtypes = {name: str(array.dtype) for name, array in arrays.items()}
    if len(set(dtypes.values())) > 1:
        raise ValueError(f"expected weights of one dtype, got {dtypes}")
    for name, array in arrays.items():
        object.__setattr__(weights, name, immutable(array))
