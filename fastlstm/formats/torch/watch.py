"""Watching a module's forward while torch traces it: what a trace does not show.

A trace has the operations of one call. It does not have the decisions of the Python code around
them: ``if x.size(1) > 100``, ``range(x.size(1))``, ``x[:, :100]`` of a shorter sequence. Each such
decision is noted here, with the sizes that it was made by; one that was made by the numbers of the
inputs is noted, too.

Packed sequences are traced as if all were of full length, as the padded tensors that they then are:
an exporter does not get further than ``pack_padded_sequence``. What a length means to the network
(a row has the numbers that it has alone) is compared with the module later.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from fastlstm.errors import UnsupportedModelError

__all__ = ["Decision", "watch"]

# What makes a Python value of a tensor.
_LEAVING: Final = {
    *("__bool__", "__complex__", "__contains__", "__float__", "__index__", "__int__", "__len__"),
    *("allclose", "equal", "is_nonzero", "item", "numpy", "tolist", "__array__"),
}
_LARGEST: Final = 1e38  # of float32
_SIZES: Final = {"size", "numel", "nelement", "__len__"}
# What makes as many tensors as an axis is long.
_DIVIDING: Final = {"__iter__", "chunk", "split", "tensor_split", "unbind", "unsafe_split"}


# Pooling over a window: the same over an axis, whose length a trace then does not fix.
_OVER_ALL: Final[dict[str, Callable[[Any], Any]]] = {
    "avg_pool1d": lambda x: x.mean(-1, keepdim=True),
    "max_pool1d": lambda x: x.max(-1, keepdim=True)[0],
}


class Decision(NamedTuple):
    """Something that Python code decided, by values that a trace only has for one call."""

    sizes: frozenset[int] | None  # of axes that it was decided by; None: by numbers of the inputs
    place: str  # in the code


def watch(torch: Any, x: Any, decisions: list[Decision], numbers: dict[float, float]) -> Any:
    """Return a context in which functions of torch are watched.

    Parameters
    ----------
    torch : module
        torch, which is not imported here.
    x : tensor
        The traced input.
    decisions : list of Decision
        What is noted is appended to it.
    numbers : dict
        Gets the numbers that functions are called with, such as an epsilon, by what is left of them
        in float32.
    """
    home = os.path.dirname(torch.__file__) + os.sep
    packed: dict[str, tuple[Callable[..., bool], Callable[..., Any]]] = {
        "_pack_padded_sequence": (_of_tensors, _pack),
        "_pad_packed_sequence": (_of_tensors, _unpack),
        "lstm": (_of_tensors, _lstm_of_packed),
        "empty_like": (_of_order, _constant_like),
        "scatter_": (_of_order, _filled),
        "adaptive_max_pool1d": (_of_one, _largest),
    }

    class Watch(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.data = {id(x)}  # of tensors that depend on the input
            self.sizes: dict[int, frozenset[int]] = {}  # of tensors that are sizes, or made of such
            self.kept: list[Any] = [x]  # so that no id is used again

        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            name = getattr(function, "__name__", "")
            given = list(_tensors(torch, (args, kwargs)))
            for number in (*args, *(kwargs or {}).values()):
                if isinstance(number, float) and abs(number) < _LARGEST:
                    numbers[float(np.float32(number))] = number
            data = any(id(k) in self.data for k in given)
            sizes = frozenset[int]().union(*(self.sizes.get(id(k), ()) for k in given))
            instead = packed.get(name)
            if name in _OVER_ALL and self.over_all(*args, **(kwargs or {})):
                result = _OVER_ALL[name](args[0])
            elif instead is not None and instead[0](torch, data, args):
                result = instead[1](torch, function, *args, **(kwargs or {}))
            else:
                result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Size) or name in _SIZES:
                for size in result if isinstance(result, tuple) else (result,):
                    if isinstance(size, torch.Tensor):
                        self.note_size(size, frozenset([int(size)]))
                    elif name == "__len__":
                        self.decided(frozenset([int(size)]), name)
                return result
            if name in _LEAVING and (data or sizes):
                self.decided(None if data else sizes, name)
            if data and name in _DIVIDING:
                self.decided(frozenset([_divided(torch, *args, **(kwargs or {}))]), name)
            if data and name == "__getitem__" and (cut := _cut(torch, *args)):
                self.decided(cut, name)
            changed = args[:1] if name == "__setitem__" or name[-1:] == "_" != name[-2:-1] else ()
            for tensor in _tensors(torch, (result, changed)):
                if data:
                    self.data.add(id(tensor))
                    self.kept.append(tensor)
                elif sizes:
                    self.note_size(tensor, sizes)
            return result

        def over_all(self, x: Any, size: Any = None, *options: Any, **more: Any) -> bool:
            """Whether the only window of a pooling is as long as the axis is, whatever that is."""
            window = size[0] if isinstance(size, (tuple, list)) and len(size) == 1 else size
            whole = isinstance(window, torch.Tensor) and id(window) in self.sizes
            others = {k: v for k, v in more.items() if v not in (None, False, 0)}
            plain = not options and others in ({}, {"dilation": 1})
            return whole and plain and int(window) == int(x.shape[-1])

        def note_size(self, tensor: Any, sizes: frozenset[int]) -> None:
            self.sizes[id(tensor)] = sizes
            self.kept.append(tensor)

        def decided(self, sizes: frozenset[int] | None, name: str) -> None:
            """Note a decision, unless it is torch's own code that decides."""
            frame = sys._getframe(2)
            while frame.f_back is not None and (
                frame.f_code.co_filename.endswith(os.path.join("torch", "overrides.py"))
                or (frame.f_code.co_filename.startswith(home) and frame.f_code.co_name == name)
            ):
                frame = frame.f_back
            file = frame.f_code.co_filename
            if not file.startswith(home):
                decisions.append(Decision(sizes, f"{os.path.basename(file)}:{frame.f_lineno}"))

    return Watch()


def _tensors(torch: Any, value: Any) -> Iterator[Any]:
    """All tensors in the arguments or results of a function."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(torch, part)
    elif isinstance(value, dict):
        yield from _tensors(torch, list(value.values()))
    elif isinstance(value, slice):
        yield from _tensors(torch, (value.start, value.stop, value.step))


def _divided(torch: Any, x: Any, *args: Any, dim: Any = None, **options: Any) -> int:
    """How long the axis is that is divided; 0 if nothing depends on that."""
    axis = dim if dim is not None else next((k for k in args[-1:] if isinstance(k, int)), 0)
    if len(args) == 1 and dim is None and not options and not isinstance(args[0], bool):
        axis = 0 if not isinstance(args[0], int) or x.dim() <= abs(args[0]) else args[0]
    return int(x.shape[axis])


def _cut(torch: Any, x: Any, index: Any) -> frozenset[int]:
    """The lengths of axes of which a slice asks for more than there is."""
    parts = list(index) if isinstance(index, tuple) else [index]
    axes = [k for k in parts if k is not None and not isinstance(k, bool)]
    if any(k is Ellipsis for k in axes):
        at = next(i for i, k in enumerate(axes) if k is Ellipsis)
        axes[at : at + 1] = [0] * (x.dim() - len(axes) + 1)
    found = set()
    for size, part in zip(map(int, x.shape), axes, strict=False):
        if isinstance(part, slice):
            bounds = [int(k) for k in (part.start, part.stop) if k is not None]
            if any(abs(k) > size for k in bounds if k != sys.maxsize):
                found.add(size)
    return frozenset(found)


# Packed sequences of which all have full length: T steps of N sequences, one step after the other.


def _of_tensors(torch: Any, data: bool, args: Any) -> bool:
    return isinstance(args[1], torch.Tensor)


def _of_order(torch: Any, data: bool, args: Any) -> bool:
    """Whether this is about the order of the rows of packed sequences, which is a constant."""
    given = [k for k in args if not isinstance(k, int)]
    ints = [isinstance(k, torch.Tensor) and k.dtype == torch.int64 and k.dim() == 1 for k in given]
    return not data and all(ints) and len(given) in (1, 3)


def _of_one(torch: Any, data: bool, args: Any) -> bool:
    return len(args) == 2 and args[1] in (1, (1,), [1])


def _largest(torch: Any, function: Any, x: Any, size: Any, **options: Any) -> Any:
    return function(x, size, **options) if any(options.values()) else x.max(-1, keepdim=True)[0]


def _constant_like(torch: Any, function: Any, like: Any, **options: Any) -> Any:
    return torch.tensor([0] * len(like.tolist()))


def _filled(torch: Any, function: Any, out: Any, axis: int, order: Any, values: Any) -> Any:
    out.numpy()[order.numpy()] = values.numpy()  # which is not traced
    return out


def _pack(torch: Any, function: Any, x: Any, lengths: Any, batch_first: bool) -> Any:
    x = x.transpose(0, 1) if batch_first else x
    T, N = int(x.shape[0]), int(x.shape[1])
    return x.reshape(T * N, *map(int, x.shape[2:])), torch.full((T,), N, dtype=torch.int64)


def _lstm_of_packed(
    torch: Any, function: Any, data: Any, batch_sizes: Any, state: Any, weights: Any, *options: Any
) -> Any:
    T, rows, size = int(batch_sizes.shape[0]), int(data.shape[0]), int(data.shape[1])
    x = data.reshape(T, rows // T, size)
    output, h, c = function(x, state, weights, *options, False)
    return output.reshape(rows, int(output.shape[-1])), h, c


def _unpack(
    torch: Any,
    function: Any,
    data: Any,
    batch_sizes: Any,
    batch_first: bool,
    padding: float,
    total: Any,
) -> Any:
    T, rows = int(batch_sizes.shape[0]), int(data.shape[0])
    if int(total) > T:
        raise UnsupportedModelError(
            f"pad_packed_sequence with a total_length of {int(total)} for {T} steps"
        )
    padded = data.reshape(T, rows // T, *map(int, data.shape[1:]))
    lengths = torch.full((rows // T,), T, dtype=torch.int64)
    return (padded.transpose(0, 1) if batch_first else padded), lengths
