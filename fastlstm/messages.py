"""Messages that name hints: as arguments in Python, as flags on the command line.

A message is text with `Option` and `Line` objects in it. Its string is what Python shows; the
command line shows the same message with flags (`Message.on_command_line`).
"""

from __future__ import annotations

import difflib
import functools
import inspect
import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

__all__ = ["Line", "Message", "Option", "message_of", "nearest", "separated", "spelt"]

P = ParamSpec("P")
R = TypeVar("R")

FROM_TORCH = "fastlstm.from_torch(model, {})"


@dataclass(frozen=True)
class Option:
    """A hint in a message: ``head="fc"`` or ``--head fc``; without a value, only its name."""

    name: str
    value: Any = ...

    def as_argument(self) -> str:
        """As Python writes it."""
        return self.name if self.value is ... else f"{self.name}={_python(self.value)}"

    def as_flag(self) -> str:
        """As the command line writes it."""
        flag = f"--{self.name.replace('_', '-')}"
        if self.value is ... or self.value is True:
            return flag
        values = self.value if isinstance(self.value, (list, tuple)) else [self.value]
        return " ".join([flag, *(_word(value) for value in values)])


@dataclass(frozen=True)
class Line:
    """The caller's own line with corrected hints, ready to paste.

    Parameters
    ----------
    given : mapping
        The hints of the call.
    change : mapping
        The hints to add or replace.
    """

    given: Mapping[str, Any]
    change: Mapping[str, Any]

    def as_call(self, call: str) -> str:
        """As Python writes it; `call` has ``{}`` in place of the hints."""
        hints = {**self.given, **self.change}
        before, _, after = call.rpartition("{}")
        return before + ", ".join(Option(*k).as_argument() for k in hints.items()) + after

    def as_command(self, words: Sequence[str]) -> str:
        """As the command line writes it; `words` is the command that was given."""
        flags = {Option(name).as_flag(): isinstance(v, list) for name, v in self.change.items()}
        kept = " ".join(map(shlex.quote, _without(words, flags)))
        more = " ".join(Option(*item).as_flag() for item in self.change.items())
        return f"fastlstm {kept} {more}"


class Message(str):
    """Text for users, with hints in it.

    Parameters
    ----------
    *parts : str, Option, Line or Message
        What is shown, one after the other.
    call : str, optional
        The Python call that a `Line` shows, with ``{}`` in place of the hints.
    """

    parts: tuple[str | Option | Line, ...]

    def __new__(cls, *parts: str | Option | Line, call: str = FROM_TORCH) -> Message:
        flat: list[str | Option | Line] = []
        for part in parts:
            flat += part.parts if isinstance(part, Message) else [part]
        texts = (
            part.as_argument()
            if isinstance(part, Option)
            else part.as_call(call)
            if isinstance(part, Line)
            else part
            for part in flat
        )
        message = super().__new__(cls, "".join(texts))
        message.parts = tuple(flat)
        return message

    def on_command_line(self, words: Sequence[str]) -> str:
        """Return the text with flags, in answer to a command given as these words."""
        return "".join(
            part.as_flag()
            if isinstance(part, Option)
            else part.as_command(words)
            if isinstance(part, Line)
            else part
            for part in self.parts
        )


def message_of(error: BaseException) -> Message:
    """Return an exception's message, as a `Message` if it has hints in it."""
    first = error.args[0] if len(error.args) == 1 else None
    return first if isinstance(first, Message) else Message(str(error))


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name that was probably meant, if one is close."""
    found = difflib.get_close_matches(name, list(names), 1)
    return found[0] if found else None


def separated(names: Iterable[str]) -> list[str | Option]:
    """Return the names of hints, separated by commas, as parts of a message."""
    parts: list[str | Option] = []
    for name in names:
        parts += [", ", Option(name)]
    return parts[1:]


def spelt(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function refuse arguments that it does not have, and say which was probably meant."""
    names = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def checked(*arguments: P.args, **options: P.kwargs) -> R:
        for name in options:
            if name not in names:
                meant = nearest(name, names)
                hint = f"; did you mean {meant}?" if meant else f"; it takes {', '.join(names)}"
                raise TypeError(f"{function.__name__} takes no argument {name!r}{hint}")
        return function(*arguments, **options)

    return checked


def _python(value: Any) -> str:
    """A value as a reader would type it."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(_python, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_python, value))}{',' * (len(value) == 1)})"
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    return "..."  # weights, an Activation: too long for a line


def _word(value: Any) -> str:
    if value is None:
        return "linear"  # no activation
    return shlex.quote(value) if isinstance(value, str) else _python(value)


def _without(words: Sequence[str], flags: Mapping[str, bool]) -> list[str]:
    """Return a command without some flags; those that are True in `flags` take several values."""
    kept: list[str] = []
    drops = 0
    for word in words:
        if word.startswith("-") and len(word) > 1:
            name, _, value = word.partition("=")
            drops = 0
            if name in flags:
                drops = len(words) if flags[name] else int(not value)
                continue
        elif drops:
            drops -= 1
            continue
        kept.append(word)
    return kept
