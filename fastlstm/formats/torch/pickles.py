"""Pickles of torch files, read without executing anything.

A pickle is a program for a small machine that can call any function. The machine here knows only
containers, text and numbers; instead of calling a function, it records what would be called.
Python's own unpickler, even if told to refuse functions, would still let a file claim memory and
change objects of this process.
"""

from __future__ import annotations

import pickletools
import sys
from collections.abc import Callable
from typing import Any, Final

from fastlstm.errors import ModelFormatError
from fastlstm.formats.budget import charge, current
from fastlstm.formats.torch.stand_ins import Named, Stranger
from fastlstm.formats.torch.state import Holder

__all__ = ["read_pickle"]

MAX_NAME: Final = 1000  # letters of a module or class
MAX_BITS: Final = 1 << 12  # of a number: the states of random generators have some hundreds
PERSISTENT: Final = Named("", "persistent")

# The types that a state_dict and the bookkeeping of a checkpoint consist of.
_CONTAINERS: Final[dict[Named, Callable[[], Any]]] = {
    Named("collections", "OrderedDict"): dict,
    Named("collections", "defaultdict"): dict,
    Named("collections", "Counter"): dict,
    **{
        Named(module, name): list
        for module in ("builtins", "__builtin__")
        for name in ("set", "frozenset")
    },
}
# Nothing is ever called, whatever its name. But a file that asks to call one of these is an attack
# on anyone who reads it with Python's own unpickler, and its weights deserve no trust either.
_HOSTILE: Final = {
    *("ctypes", "nt", "os", "posix", "pty", "runpy", "subprocess"),
    *(f"builtins.{k}" for k in ("__import__", "compile", "eval", "exec", "input", "open")),
}
_MARK: Final = object()
_KEYS: Final = (str, int, float, bool, bytes, type(None))

Made = Callable[[Named, tuple[Any, ...]], Any]


def read_pickle(file: Any, made: Made = lambda function, arguments: None) -> Any:
    """The content of the pickle that begins here; the file is left behind it.

    Parameters
    ----------
    file : binary file
        That gives no more bytes than it has, whatever is asked for, as `io.BytesIO` does.
    made : callable
        What stands for a call of a function; None if that is not known.

    Returns
    -------
    object
        Of dicts, lists, tuples, text and numbers, `Holder` for objects of TorchScript, what
        `made` returns, and `Stranger` for all other objects. A persistent id is a `Stranger` of
        the name `PERSISTENT`.

    Raises
    ------
    ModelFormatError
        If it is damaged, or names what only an attack would.
    """
    machine = _Machine(made)
    for code, argument, _ in pickletools.genops(file):
        if code.name == "STOP":
            return machine.pop()
        machine.do(code.name, argument)
    raise ModelFormatError("the pickle has no end")


class _Machine:
    """The stack and the memo of a pickle, and what its operations do to them."""

    def __init__(self, made: Made) -> None:
        self._made = made
        self._budget = current()
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise ModelFormatError("the pickle takes more off its stack than it has put there")
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        items = []
        while (item := self._stack.pop()) is not _MARK:  # IndexError: no mark, damaged
            items.append(item)
        return items[::-1]

    def do(self, name: str, argument: Any) -> None:
        self._budget.charge(memory=100, steps=2)
        if name in _VALUES:
            if isinstance(argument, int) and argument.bit_length() > MAX_BITS:
                raise ModelFormatError(f"the pickle has a number of {argument.bit_length()} bits")
            if isinstance(argument, (str, bytes, bytearray, int)):
                self._budget.charge(memory=sys.getsizeof(argument))
            self._stack.append(argument)
        elif (constant := _CONSTANTS.get(name)) is not None:
            self._stack.append(constant())
        elif (operation := _OPERATIONS.get(name)) is not None:
            operation(self, argument)
        else:
            raise ModelFormatError(f"{name} has no place in the pickle of a model")

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

    def _pop_mark(self, argument: Any) -> None:
        self._pop_to_mark()

    def _pop(self, argument: Any) -> None:
        self._stack.pop()

    def _duplicate(self, argument: Any) -> None:
        self._stack.append(self._stack[-1])

    def _persistent(self, argument: Any) -> None:
        identity = self.pop()
        if isinstance(identity, tuple) and len(identity) > 1 and identity[0] == "module":
            self._stack.append(identity[1])  # a class, beside its source
        else:
            self._stack.append(Stranger(PERSISTENT, (identity,)))

    def _global(self, argument: Any) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(_named(module, name))

    def _stack_global(self, argument: Any) -> None:
        name, module = self.pop(), self.pop()
        self._stack.append(_named(module, name))

    def _reduce(self, argument: Any) -> None:
        arguments, function = self.pop(), self.pop()
        self._stack.append(self._called(function, arguments))

    def _new_with_names(self, argument: Any) -> None:
        self.pop()  # the arguments by name
        self._reduce(argument)

    def _object(self, argument: Any) -> None:
        function, *arguments = self._pop_to_mark()
        self._stack.append(self._called(function, tuple(arguments)))

    def _instance(self, argument: Any) -> None:
        arguments = tuple(self._pop_to_mark())
        self._global(argument)
        self._stack.append(self._called(self.pop(), arguments))

    def _called(self, function: Any, arguments: Any) -> Any:
        """What stands for a call."""
        if not isinstance(function, Named) or not isinstance(arguments, tuple):
            raise ModelFormatError("the pickle calls something that is not a function")
        if function.module in ("copyreg", "copy_reg") and arguments:
            kind, *rest = arguments  # it makes an object of a class
            return self._called(kind, tuple(rest) if function.name.startswith("__") else ())
        if function.module.startswith("__torch__"):
            return Holder(str(function))
        if function.module == "torch.jit._pickle":  # lists with the types of their items
            return arguments[0] if arguments else None
        if function == Named("_codecs", "encode"):
            return _encoded(*arguments)
        if function in _CONTAINERS:
            return _container(function, arguments)
        result = self._made(function, arguments)
        return Stranger(function, arguments) if result is None else result

    def _build(self, argument: Any) -> None:
        state, target = self.pop(), self._stack[-1]
        if isinstance(target, Holder):
            if not isinstance(state, dict):
                raise ModelFormatError("the pickle gives a state to something that has none")
            charge(memory=100 * len(state), steps=len(state) / 10)
            target.attributes.update(
                {key: value for key, value in state.items() if isinstance(key, str)}
            )
        elif hasattr(target, "set_state"):
            target.set_state(state)
        elif isinstance(target, (int, str, list, tuple, Named, type(None))):
            # of others it has no meaning here, such as the _metadata of a state_dict
            raise ModelFormatError("the pickle gives a state to something that has none")


_Operation = Callable[[_Machine, Any], None]
_OPERATIONS: Final[dict[str, _Operation]] = {
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "ADDITEMS": _Machine._appends,
    "BINPERSID": _Machine._persistent,
    "BUILD": _Machine._build,
    "DICT": _Machine._dict,
    "DUP": _Machine._duplicate,
    "FROZENSET": _Machine._list,
    "GLOBAL": _Machine._global,
    "INST": _Machine._instance,
    "LIST": _Machine._list,
    "MARK": _Machine._mark,
    "NEWOBJ": _Machine._reduce,
    "NEWOBJ_EX": _Machine._new_with_names,
    "OBJ": _Machine._object,
    "POP": _Machine._pop,
    "POP_MARK": _Machine._pop_mark,
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
    "BYTEARRAY8",
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
    target = target.items if isinstance(target, Stranger) else target
    if not isinstance(target, dict) or len(items) % 2:
        raise ModelFormatError("the pickle sets items of something that is not a dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if isinstance(key, _KEYS):  # a tuple may be nested too deep to be hashed
            target[key] = value
        elif isinstance(key, (list, dict)):
            raise ModelFormatError("the pickle has a key that cannot be one")


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, Stranger):
        return
    if not isinstance(target, list):
        raise ModelFormatError("the pickle appends to something that is not a list")
    target += items


def _named(module: Any, name: Any) -> Named:
    if not isinstance(module, str) or not isinstance(name, str):  # its text may have no end
        raise ModelFormatError("the pickle names a class by something other than text")
    if len(module) + len(name) > MAX_NAME:
        raise ModelFormatError(f"the pickle names a class by more than {MAX_NAME} letters")
    home = module.replace("__builtin__", "builtins")
    if home.partition(".")[0] in _HOSTILE or f"{home}.{name}" in _HOSTILE:
        raise ModelFormatError(
            f"it asks to call {module}.{name}, which no model needs: the file is hostile; nothing "
            "was executed"
        )
    return Named(module, name)


def _encoded(text: Any = None, codec: Any = None) -> bytes:
    """Bytes, as a pickle of protocol 2 has them."""
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise ModelFormatError("expected bytes as text of latin-1")
    charge(memory=len(text))
    return text.encode("latin-1")


def _container(function: Named, arguments: tuple[Any, ...]) -> Any:
    made = _CONTAINERS[function]()
    content = arguments[-1] if arguments else None
    if isinstance(content, (dict, list)):
        charge(memory=100 * len(content), steps=len(content) / 10)
    if isinstance(content, dict) and isinstance(made, dict):
        made.update(content)
    elif isinstance(content, list) and isinstance(made, list):
        made += content
    elif isinstance(content, list):  # pairs, as Python 2 wrote an OrderedDict
        for pair in content:
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise ModelFormatError("expected pairs of a dict")
            _set_items(made, list(pair))
    return made
