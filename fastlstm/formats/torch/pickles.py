"""Pickles of torch files, read without executing anything.

A pickle is a program for a small machine that may call any function. This machine knows
containers, text and numbers, and of all functions those few that make up a tensor; it calls
none of them by itself. Python's own unpickler, told to refuse functions, would still let a file
claim memory and change objects of this process.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.torch.state import Holder

__all__ = ["Call", "Named", "read_pickle"]

MAX_STEPS: Final = 200_000  # a tensor takes about twenty, a word of a vocabulary three


class Named(NamedTuple):
    """A function or class that a pickle names."""

    module: str
    name: str


class Call(NamedTuple):
    """What a call of a function would be."""

    function: Named
    arguments: tuple[Any, ...]


# What a state_dict and the bookkeeping of a checkpoint are made of.
_CONTAINERS: Final[dict[Named, Callable[[], Any]]] = {
    Named("collections", "OrderedDict"): dict,
    Named("collections", "defaultdict"): dict,
    Named("collections", "Counter"): dict,
    **{Named(module, "set"): list for module in ("builtins", "__builtin__")},
}
_KNOWN: Final = {
    Named("torch", "Size"),
    Named("torch", "device"),
    Named("torch._utils", "_rebuild_parameter"),
    Named("torch._utils", "_rebuild_tensor_v2"),
    Named("torch.serialization", "_get_layout"),
}
_MARK: Final = object()
_KEYS: Final = (str, int, float, bool, bytes, type(None))


def read_pickle(file: Any, made: Callable[[Call], Any] = lambda call: call) -> Any:
    """The content of the pickle that begins here; the file is left behind it.

    Parameters
    ----------
    file : binary file
        That gives no more bytes than it has, whatever is asked for, as `io.BytesIO` does.
    made : callable
        What stands for a call of a function that makes up tensors.

    Returns
    -------
    object
        Of dicts, lists, tuples, text and numbers, `Holder` for objects of TorchScript, and what
        `made` returns. A persistent id is a `Call` of ``Named("", "persistent")``.

    Raises
    ------
    UnsupportedModelError
        If it names anything that is no part of a state_dict, such as the class of a module.
    ModelFormatError
        If it is damaged.
    """
    machine = _Machine(made)
    for count, (code, argument, _) in enumerate(pickletools.genops(file)):
        if count > MAX_STEPS:
            raise ModelFormatError(f"a pickle of more than {MAX_STEPS} steps is no model's")
        if code.name == "STOP":
            return machine.pop()
        machine.do(code.name, argument)
    raise ModelFormatError("the pickle has no end")


class _Machine:
    """The stack and the memo of a pickle, and what its operations do to them."""

    def __init__(self, made: Callable[[Call], Any]) -> None:
        self._made = made
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise ModelFormatError("the pickle takes more than it has put down")
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        items = []
        while (item := self._stack.pop()) is not _MARK:  # IndexError: no mark, damaged
            items.append(item)
        return items[::-1]

    def do(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self._stack.append(argument)
        elif (constant := _CONSTANTS.get(name)) is not None:
            self._stack.append(constant())
        elif (operation := _OPERATIONS.get(name)) is not None:
            operation(self, argument)
        else:
            raise ModelFormatError(f"{name} is no part of a state_dict's pickle")

    def _nothing(self, argument: Any) -> None:
        pass

    def _put(self, argument: Any) -> None:
        self._memo[argument] = self._stack[-1]

    def _memoize(self, argument: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, argument: Any) -> None:
        self._stack.append(self._memo[argument])

    def _mark(self, argument: Any) -> None:
        self._stack.append(_MARK)

    def _tuple(self, argument: Any) -> None:
        self._stack.append(tuple(self._pop_to_mark()))

    def _tuple_1(self, argument: Any) -> None:
        self._stack.append((self.pop(),))

    def _tuple_2(self, argument: Any) -> None:
        second, first = self.pop(), self.pop()
        self._stack.append((first, second))

    def _tuple_3(self, argument: Any) -> None:
        third, second, first = self.pop(), self.pop(), self.pop()
        self._stack.append((first, second, third))

    def _list(self, argument: Any) -> None:
        self._stack.append(self._pop_to_mark())

    def _dict(self, argument: Any) -> None:
        items = self._pop_to_mark()
        target: dict[Any, Any] = {}
        self._stack.append(target)
        _set_items(target, items)

    def _append(self, argument: Any) -> None:
        item = self.pop()
        _extend(self._stack[-1], [item])

    def _appends(self, argument: Any) -> None:
        items = self._pop_to_mark()
        _extend(self._stack[-1], items)

    def _set_item(self, argument: Any) -> None:
        value, key = self.pop(), self.pop()
        _set_items(self._stack[-1], [key, value])

    def _set_all(self, argument: Any) -> None:
        items = self._pop_to_mark()
        _set_items(self._stack[-1], items)

    def _persistent(self, argument: Any) -> None:
        self._stack.append(Call(Named("", "persistent"), (self.pop(),)))

    def _global(self, argument: Any) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(_named(module, name))

    def _stack_global(self, argument: Any) -> None:
        name, module = self.pop(), self.pop()
        self._stack.append(_named(module, name))

    def _reduce(self, argument: Any) -> None:
        arguments, function = self.pop(), self.pop()
        result = _called(function, arguments)
        self._stack.append(self._made(result) if isinstance(result, Call) else result)

    def _build(self, argument: Any) -> None:
        state = self.pop()
        if isinstance(self._stack[-1], Holder) and isinstance(state, dict):
            self._stack[-1].attributes.update(
                {key: value for key, value in state.items() if isinstance(key, str)}
            )
        elif not (isinstance(self._stack[-1], dict) and isinstance(state, dict)):
            # a state_dict has attributes: its _metadata, of no meaning here
            raise ModelFormatError("the pickle gives a state to what has none")


_Operation = Callable[[_Machine, Any], None]
_OPERATIONS: Final[dict[str, _Operation]] = {
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "ADDITEMS": _Machine._appends,
    "BINPERSID": _Machine._persistent,
    "BUILD": _Machine._build,
    "DICT": _Machine._dict,
    "GLOBAL": _Machine._global,
    "LIST": _Machine._list,
    "MARK": _Machine._mark,
    "NEWOBJ": _Machine._reduce,
    "REDUCE": _Machine._reduce,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_all,
    "STACK_GLOBAL": _Machine._stack_global,
    "TUPLE": _Machine._tuple,
    "TUPLE1": _Machine._tuple_1,
    "TUPLE2": _Machine._tuple_2,
    "TUPLE3": _Machine._tuple_3,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine._put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine._get),
    **dict.fromkeys(("PROTO", "FRAME"), _Machine._nothing),
    "MEMOIZE": _Machine._memoize,
}
_VALUES: Final = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_CONSTANTS: Final[dict[str, Callable[[], Any]]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,
    "EMPTY_TUPLE": tuple,
}


def _set_items(target: Any, items: list[Any]) -> None:
    if not isinstance(target, dict) or len(items) % 2:
        raise ModelFormatError("the pickle sets items of what is no dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if isinstance(key, _KEYS):  # a tuple may be nested too deep to be hashed
            target[key] = value
        elif not isinstance(key, (tuple, Call)):
            raise ModelFormatError("the pickle has a key that cannot be one")


def _extend(target: Any, items: list[Any]) -> None:
    if not isinstance(target, list):
        raise ModelFormatError("the pickle appends to what is no list")
    target += items


def _named(module: Any, name: Any) -> Named:
    if not isinstance(module, str) or not isinstance(name, str):  # its text may have no end
        raise ModelFormatError("the pickle names what has no name")
    named = Named(module, name)
    if (
        named in _CONTAINERS
        or named in _KNOWN
        or named.module.startswith("__torch__")
        or named.module == "torch.jit._pickle"  # lists with the types of their items
        or (named.module == "torch" and named.name.endswith("Storage"))
        or (named.module == "torch" and named.name in _DTYPES)
    ):
        return named
    raise UnsupportedModelError(
        f"it is a pickle of Python objects ({named.module}.{named.name}), and reading those would "
        "execute code; save the tensors alone: torch.save(model.state_dict(), path)"
    )


_DTYPES: Final = {
    *("float16", "float32", "float64", "bfloat16", "half", "float", "double"),
    *("bool", "uint8", "int8", "int16", "int32", "int64", "short", "int", "long"),
}


def _called(function: Any, arguments: Any) -> Any:
    if not isinstance(function, Named) or not isinstance(arguments, tuple):
        raise ModelFormatError("the pickle calls what is no function")
    if function.module.startswith("__torch__"):
        return Holder(f"{function.module}.{function.name}")
    if function.module == "torch.jit._pickle":
        return arguments[0] if arguments else None
    if function in _CONTAINERS:
        made = _CONTAINERS[function]()
        content = arguments[-1] if arguments else None
        if isinstance(content, dict) and isinstance(made, dict):
            made.update(content)
        elif isinstance(content, list) and isinstance(made, list):
            made += content
        elif isinstance(content, list):  # pairs, as Python 2 wrote an OrderedDict
            for pair in content:
                _set_items(made, list(pair))
        return made
    return Call(function, arguments)
