"""The tensors and modules of a model, from a caller or a file, by their full names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.budget import charge
from fastlstm.formats.trust import Tensors

__all__ = ["Holder", "is_option", "parts_of"]

MAX_DEPTH = 16  # of mappings inside of mappings
MAX_NAME = 4096  # letters of a full name
AGAIN = 4  # more steps for each part of what is there twice


def is_option(value: Any) -> bool:
    """Whether an attribute of a module in a file is one of its options, such as a kernel's size."""
    parts = value if isinstance(value, tuple) and len(value) < 8 else (value,)
    return all(isinstance(part, (str, int, float, type(None))) for part in parts)


class Holder:
    """The attributes of a module in a file; its code is never read.

    Parameters
    ----------
    qualified_name : str
        Of its class, such as ``"torch.nn.modules.rnn.LSTM"``; in a TorchScript archive with
        ``"__torch__."`` before it.
    """

    def __init__(self, qualified_name: str) -> None:
        self.qualified_name = qualified_name
        self.original_name = qualified_name.rpartition(".")[2]
        self.attributes: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        value = self.__dict__.get("attributes", {}).get(name, self)
        if not is_option(value):
            raise AttributeError(f"no {name}")
        return value

    def __repr__(self) -> str:
        return f"{self.original_name}()"


def parts_of(source: Any) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """The tensors by their full names, and the modules; a mapping of tensors has none.

    A mapping may hold others, as checkpoints do: then names are joined with dots. What is neither a
    mapping nor a tensor, and a number beside the tensors, is bookkeeping and is left out.

    Raises
    ------
    TypeError
        If it is neither a module nor a mapping with names as keys.
    """
    if isinstance(source, Holder):
        return _flattened({"": source})
    if isinstance(source, Mapping):
        if odd := [name for name in source if not isinstance(name, str)]:
            raise TypeError(f"expected names as keys, got {odd[0]!r}")
        if "pytorch-lightning_version" in source and isinstance(source.get("state_dict"), Mapping):
            return source["state_dict"], {}  # the rest is how it was trained
        nested = not isinstance(source, Tensors) and any(
            isinstance(value, (Mapping, Holder)) for value in source.values()
        )
        return _flattened(source) if nested else (source, {})
    if not (hasattr(source, "named_modules") and hasattr(source, "state_dict")):
        hint = "; files: fastlstm.load(path)" if isinstance(source, str | os.PathLike) else ""
        raise TypeError(
            "expected a torch module or a mapping of names to arrays or tensors, "
            f"got {type(source).__name__}{hint}"
        )
    return source.state_dict(), dict(source.named_modules(remove_duplicate=False))


def _flattened(source: Mapping[Any, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """All tensors and modules in nested mappings, by their dotted names."""
    tensors: dict[str, Any] = {}
    modules: dict[str, Any] = {}
    around = {id(source)}  # what is being visited: a hostile file may hold itself ...
    seen: set[int] = set()  # ... or the same again and again, which costs more than it says

    def visit(items: Mapping[Any, Any], path: list[str], beside: bool = False) -> None:
        charge(memory=100 * len(items), steps=len(items))
        for key, value in items.items():
            if not isinstance(key, str) or key == "_flat_weights":  # an LSTM's, once more
                continue
            here = [*path, key] if key else path
            name = ".".join(here)
            if len(name) > MAX_NAME:
                raise ModelFormatError(f"a name of {len(name)} letters: {name[:40]!r} ...")
            charge(memory=len(name))
            listed = isinstance(value, (list, tuple))
            if listed or isinstance(value, (Mapping, Holder)):
                if id(value) in around:
                    continue
                if len(here) > MAX_DEPTH:
                    if isinstance(value, Holder):
                        raise UnsupportedModelError(
                            f"{name}: expected modules nested at most {MAX_DEPTH} deep"
                        )
                    continue
                if id(value) in seen:
                    charge(steps=AGAIN * _size(value))
                seen.add(id(value))
                around.add(id(value))
                if isinstance(value, Holder):
                    modules[name] = value
                    visit(value.attributes, here)
                elif listed:
                    items = {str(k): item for k, item in enumerate(value)}
                    visit(items, here, beside=True)
                else:
                    visit(value, here)
                around.discard(id(value))
            elif _is_tensor(value) and not (beside and _is_bookkeeping(value)):
                tensors[name] = value

    visit(source, [], beside=True)
    return tensors, modules


def _size(value: Any) -> int:
    return len(value.attributes if isinstance(value, Holder) else value)


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _is_bookkeeping(value: Any) -> bool:
    """A count, a loss, the state of a random generator: what stands beside a state_dict."""
    return "float" not in str(value.dtype) or not value.shape
