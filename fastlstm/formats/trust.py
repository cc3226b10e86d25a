"""Model files are not trusted: how they are opened, and how errors say what is wrong with them.

Each reader is a mapping of names to tensors. Before it allocates anything, it compares what the
file claims with what is there, and it reads only the tensors that are asked for.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.budget import budgeted, charge, lent
from fastlstm.messages import Message, message_of

__all__ = [
    "MAX_JSON",
    "Tensors",
    "WrongChoice",
    "about",
    "distrusted",
    "naming",
    "numbers",
    "opened",
    "parse_json",
    "read_json",
]

Array = npt.NDArray[Any]

MAX_JSON: Final = 1 << 30  # bytes of a .json, which is read as a whole
MAX_AXES: Final = 8  # of a tensor


class WrongChoice(ValueError):
    """The hints do not fit the file, which may itself be in order."""


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A regular file, open for reading; until it is closed, its `budget` holds.

    Raises
    ------
    ModelFormatError
        If it is something else, such as a pipe.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ModelFormatError(f"{path}: expected a regular file, not a device or a pipe")
        with budgeted(status.st_size):
            yield file


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for a writer


@contextmanager
def naming(path: Path, wrong_choice: type[ValueError] = ModelFormatError) -> Iterator[None]:
    """Name the file in every error; a `WrongChoice` becomes a `wrong_choice`."""
    try:
        yield
    except UnsupportedModelError as error:
        raise UnsupportedModelError(about(path, error)) from error
    except WrongChoice as error:
        raise wrong_choice(about(path, error)) from error
    except ValueError as error:
        raise ModelFormatError(about(path, error)) from error
    except _FLAWS as error:
        raise ModelFormatError(f"{path} is damaged: {_flaw(error)}") from error


# What our own code raises for a file that contradicts itself. TypeError is not among them, because
# hints are checked in the same place.
_FLAWS: Final = (LookupError, ArithmeticError, AttributeError, RuntimeError)


def _flaw(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    return str(error) or type(error).__name__


def about(path: Path, error: Exception) -> Message:
    """The message of an error, with the name of its file in front."""
    call = f"fastlstm.load({json.dumps(str(path), ensure_ascii=False)}, {{}})"
    return Message(f"{path}: ", message_of(error), call=call)


@contextmanager
def distrusted(what: str) -> Iterator[None]:
    """Turn whatever zipfile, zlib, json and NumPy raise for a damaged file into one error."""
    try:
        yield
    except (ModelFormatError, UnsupportedModelError, ImportError):
        raise
    except Exception as error:
        raise ModelFormatError(f"{what} is damaged: {_flaw(error)}") from error


def parse_json(text: Any) -> Any:
    """JSON without what Python adds to it: no NaN, no infinity, no name given twice."""
    if not isinstance(text, (str, bytes)):
        raise ModelFormatError(f"expected JSON text, got {text!r}")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ModelFormatError("a name is given twice")
        return found

    def refuse(word: str) -> None:
        raise ModelFormatError(f"expected finite numbers, got {word}")

    charge(_parsed_size(text))
    return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)


def read_json(file: IO[bytes]) -> Any:
    """The content of a JSON file."""
    size = os.fstat(file.fileno()).st_size
    if size > MAX_JSON:
        raise ModelFormatError(
            f"{size} bytes of JSON; expected at most {MAX_JSON}: save large models as "
            ".safetensors or .npz"
        )
    with distrusted("the file"), lent(5 * size):  # as text it may have four bytes a letter
        return parse_json(file.read(size))


def _parsed_size(text: str | bytes) -> int:
    """How many bytes the objects take, at most, that a JSON text stands for."""
    sizes = {",": 32, '"': 32, "[": 96, "{": 240}  # of a number and its place, half a text ...
    letters: Any = ((k if isinstance(text, str) else k.encode(), size) for k, size in sizes.items())
    return sum(size * text.count(letter) for letter, size in letters)


def numbers(name: str, values: Any, dtype: npt.DTypeLike) -> Array:
    """Lists of numbers, as JSON has them, as an array of `dtype`."""
    _require_numbers(name, values)
    try:
        array = np.array(values)
    except (ValueError, OverflowError):
        raise ModelFormatError(f"{name}: the lists of numbers are of unequal length") from None
    if array.dtype.kind not in "fiu":
        raise ModelFormatError(f"{name}: expected lists of numbers")
    charge(2 * array.nbytes)
    with np.errstate(over="ignore"):  # an infinite weight is refused by name later
        return array.astype(dtype)


def _require_numbers(name: str, values: Any, depth: int = 0) -> None:
    """Refuse all else before NumPy sees it: texts would all become as long as the longest."""
    if type(values) in (int, float):
        return
    kinds = set(map(type, values)) if isinstance(values, list) else {None}
    if kinds == {list} and depth < MAX_AXES:
        for inner in values:
            _require_numbers(name, inner, depth + 1)
    elif not kinds <= {int, float}:
        raise ModelFormatError(f"{name}: expected lists of numbers")


class Tensors(Mapping[str, Array]):
    """Tensors by name, each of which is read when it is asked for.

    Parameters
    ----------
    entries : mapping of str to anything
        What `read` takes, beside the name.
    read : callable
        The tensor of a name and its entry.
    shape : callable
        The text of an entry that tells shape and dtype, for people.
    """

    def __init__(
        self,
        entries: Mapping[str, Any],
        read: Callable[[str, Any], Array],
        shape: Callable[[str, Any], str],
    ) -> None:
        self._entries, self._read, self._shape = entries, read, shape

    def __getitem__(self, name: str) -> Array:
        entry = self._entries[name]
        with distrusted(name):
            return self._read(name, entry)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def shapes(self, names: Iterable[str] | None = None) -> dict[str, str]:
        """What each tensor, or each of these names, is, such as ``"float32 (12, 3)"``."""
        found = {}
        for name in self._entries if names is None else names:
            charge(memory=200, steps=5)
            with distrusted(name):
                found[name] = self._shape(name, self._entries[name])
        return found
