"""Not yet."""

from __future__ import annotations

from typing import Any

__all__ = ["from_onnx", "load"]


def load(path: Any, **options: Any) -> Any:
    raise NotImplementedError


def from_onnx(path_or_model: Any, **options: Any) -> Any:
    raise NotImplementedError
