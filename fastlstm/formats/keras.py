"""Not yet."""

from __future__ import annotations

from typing import Any

__all__ = ["from_keras", "load"]


def load(path: Any, **options: Any) -> Any:
    raise NotImplementedError


def from_keras(model: Any, **options: Any) -> Any:
    raise NotImplementedError
