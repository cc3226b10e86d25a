"""Files that commands read and write, checked before any work is done."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["check_destination", "map_array"]


def check_destination(path: Path, inputs: Iterable[Path | None]) -> None:
    """Refuse a destination that cannot be written or is an input.

    Raises
    ------
    OSError
        If it is a folder, or lies in none.
    ValueError
        If it is one of the inputs.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to")
    for source in inputs:
        if source is not None and path.exists() and source.exists() and path.samefile(source):
            raise ValueError(f"{path} is also an input; name another file to write")


def map_array(path: Path) -> npt.NDArray[Any]:
    """Map an .npy file of numbers into memory.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it holds something else.
    """
    import numpy as np

    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise ValueError(f"{path}: expected an .npy file of numbers: {error}") from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError(f"{path}: expected one array in an .npy file, got an .npz archive")
    return array
