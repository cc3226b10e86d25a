"""Stand-ins for the objects of a pickle, none of which is ever created.

An unknown class is only a name, and its instance a `Stranger` that keeps its state as it is in the
pickle. If that is the state of a torch module, `settled` takes the parameters, buffers and modules
out of it, as ``state_dict()`` does. NumPy's arrays are read like tensors.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.budget import charge
from fastlstm.formats.torch.state import Holder, is_option

__all__ = ["DType", "Named", "Pickled", "Stranger", "Unread", "numpys", "settled"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Named:
    """A function or class that a pickle names."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Stranger:
    """Stands for the object that a call would have made, which is never called."""

    def __init__(self, named: Named, arguments: tuple[Any, ...] = ()) -> None:
        self.named, self.arguments = named, arguments
        self.state: Any = None
        self.items: dict[Any, Any] = {}  # of a class that is a dict too

    def set_state(self, state: Any) -> None:
        """Keep what ``__setstate__`` would get; of attributes and slots, the attributes."""
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[0], dict):
            state = state[0]
        self.state = state

    def __repr__(self) -> str:
        return f"an object of {self.named}"


class Unread:
    """A tensor of a kind that is not read; it raises only if its numbers are asked for."""

    shape = ()

    def __init__(self, what: str, dtype: str = "float32") -> None:
        self.what, self.dtype = what, dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        raise UnsupportedModelError(self.what)

    def __repr__(self) -> str:
        return self.what


# --- NumPy ----------------------------------------------------------------------------------

_NUMBERS: Final = re.compile(r"b1|[iu][1248]|f[248]|c8|c16")


class DType:
    """A dtype in a pickle; `dtype` is None if it is not one of numbers."""

    def __init__(self, text: Any) -> None:
        known = isinstance(text, str) and _NUMBERS.fullmatch(text)
        self.dtype = np.dtype(text) if known else None

    def set_state(self, state: Any) -> None:
        """The byte order is the second of what NumPy keeps."""
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
        if self.dtype is not None and order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


class Pickled:
    """A NumPy array in a pickle; its numbers are read when they are asked for."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self._data: Any = b""
        self._order: Any = "C"

    def set_state(self, state: Any) -> None:
        """Take the shape, the dtype, whether in Fortran's order, and the bytes."""
        if not isinstance(state, tuple) or len(state) < 4:
            raise ModelFormatError("expected the state of an array")
        shape, dtype, fortran, data = state[-4:]
        self.fill(shape, dtype, "F" if fortran is True else "C", data)

    def fill(self, shape: Any, dtype: Any, order: Any, data: Any) -> Pickled:
        """Fill in shape, dtype, order and bytes."""
        shape = (shape,) if isinstance(shape, int) else shape
        if not isinstance(shape, tuple) or len(shape) > 8 or not isinstance(dtype, DType):
            raise ModelFormatError("expected the shape and the dtype of an array")
        if not all(type(k) is int and 0 <= k < 1 << 63 for k in shape):
            raise ModelFormatError("expected lengths of 0 or more")
        self.shape, self._order = shape, order
        if dtype.dtype is not None:  # of text or objects it is no tensor
            self.dtype = dtype.dtype
        self._data = data.encode("latin-1") if isinstance(data, str) else data
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if not isinstance(self._data, (bytes, bytearray)):
            raise ModelFormatError("expected the numbers of an array as bytes")
        size = math.prod(self.shape) * self.dtype.itemsize
        if size != len(self._data) or self._order not in ("C", "F"):
            raise ModelFormatError(
                f"{self.dtype} of shape {self.shape} takes {size} bytes, "
                f"there are {len(self._data)}"
            )
        charge(3 * size)
        array = np.frombuffer(self._data, self.dtype).reshape(self.shape, order=self._order)
        return array if dtype is None else array.astype(dtype)

    def __repr__(self) -> str:
        return f"{self.dtype} ({', '.join(map(str, self.shape))})"


def numpys(name: str, arguments: tuple[Any, ...]) -> Any:
    """What a call of a function of NumPy of this name gives; None if it is not known."""
    if name == "dtype":
        return DType(arguments[0] if arguments else None)
    if name == "_reconstruct":
        return Pickled()
    if name == "_frombuffer" and len(arguments) == 4:
        data, dtype, shape, order = arguments
        return Pickled().fill(shape, dtype, order, data)
    if name == "scalar" and len(arguments) == 2 and isinstance(arguments[0], DType):
        dtype, data = arguments[0].dtype, arguments[1]
        data = data.encode("latin-1") if isinstance(data, str) else data
        if dtype is not None and isinstance(data, bytes) and len(data) == dtype.itemsize:
            return np.frombuffer(data, dtype)[0].item()
    return None


# --- modules --------------------------------------------------------------------------------


def settled(content: Any) -> Any:
    """The content with a `Holder` for each module in it, and a dict for each object that is one.

    Lists and dicts are changed in place.
    """
    made: dict[int, tuple[Stranger, Any]] = {}  # with the stranger, whose id() is taken
    seen: set[int] = set()
    waiting: list[Any] = []

    def settle(value: Any) -> Any:
        if isinstance(value, Stranger):
            if id(value) not in made:
                made[id(value)] = value, _settled(value)
            value = made[id(value)][1]
        inner = value.attributes if isinstance(value, Holder) else value
        if isinstance(inner, (dict, list)) and id(inner) not in seen:
            seen.add(id(inner))
            waiting.append(inner)
        return value

    if isinstance(content, Stranger) and not _is_module(content) and content.state:
        content = content.state if _names(content.state) else content  # what a trainer holds
    content = settle(content)
    while waiting:
        inner = waiting.pop()
        charge(steps=len(inner), memory=100)
        for key in list(inner) if isinstance(inner, dict) else range(len(inner)):
            inner[key] = settle(inner[key])
    return content


def _names(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _is_module(stranger: Stranger) -> bool:
    state = stranger.state
    return _names(state) and all(_names(state.get(k)) for k in ("_parameters", "_modules"))


def _settled(stranger: Stranger) -> Any:
    if not _is_module(stranger):
        return stranger.items or stranger
    state = stranger.state
    # Whatever else a module has, such as tensors that are no parameters, its state_dict lacks.
    attributes = {name: value for name, value in state.items() if is_option(value)}
    buffers, fleeting = state.get("_buffers"), state.get("_non_persistent_buffers_set")
    for named in (state["_parameters"], buffers if _names(buffers) else {}, state["_modules"]):
        attributes.update((name, value) for name, value in named.items() if value is not None)
    for name in fleeting if isinstance(fleeting, list) and fleeting else ():
        attributes.pop(name, None) if isinstance(name, str) else None
    charge(memory=100 * len(attributes), steps=len(attributes))
    holder = Holder(str(stranger.named))
    holder.attributes = attributes
    return holder
