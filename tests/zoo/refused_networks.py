"""Networks that stay refused, with a reason that names what is not computed."""

from __future__ import annotations

from pathlib import Path


def keras_files(folder: Path) -> None:
    pass


def torch_files(folder: Path) -> None:
    pass
