"""Not yet."""

from __future__ import annotations

from typing import Any

__all__ = ["load"]


def load(path: Any, **options: Any) -> Any:
    raise NotImplementedError
