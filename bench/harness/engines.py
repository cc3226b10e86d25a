"""All engines by their labels: fastlstm's own ways, the rivals, the limits.

A rival is a module of `bench/rivals/`, found by looking into that folder.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from importlib import import_module

from bench import rivals
from bench.harness import limits, own
from bench.harness.engine import Engine

__all__ = ["ENGINES", "entrants"]


def rival_engines() -> list[Engine]:
    """The engines of all modules of `bench/rivals/`, in the order of the files' names."""
    names = sorted(module.name for module in pkgutil.iter_modules(rivals.__path__))
    modules = [import_module(f"{rivals.__name__}.{name}") for name in names]
    return [engine for module in modules for engine in module.ENGINES]


def by_label(engines: Iterable[Engine]) -> dict[str, Engine]:
    found: dict[str, Engine] = {}
    for engine in engines:
        if engine.label in found:
            raise ValueError(f"expected one engine of each label, got two called {engine.label!r}")
        found[engine.label] = engine
    return found


ENGINES = by_label([*own.ENGINES, *rival_engines(), *limits.ENGINES])


def entrants(contest: str) -> tuple[str, ...]:
    """The labels of the rivals that enter a contest."""
    return tuple(label for label, engine in ENGINES.items() if contest in engine.enters)
