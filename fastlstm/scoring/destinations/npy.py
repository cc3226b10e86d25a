"""Results as ``.npy`` files: one for the scores, and one beside it for every other field."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.messages import Message, Option
from fastlstm.scoring.chunk import Scored
from fastlstm.scoring.destinations.appended import Appended, known_sizes
from fastlstm.scoring.destinations.writer import Results, Writer
from fastlstm.scoring.partial import Partial

__all__ = ["NpyWriter", "npy_header"]

Array = npt.NDArray[Any]


class NpyWriter(Writer):
    """Writes arrays (N, width), or (N, T, width) padded with zeros.

    ``scores.npy`` holds the first field; the others stand beside it, such as ``scores.h_n.npy``. If
    there are results of every step and sequences differ in length, ``scores.lengths.npy`` holds
    the real length of each row.

    Raises
    ------
    ValueError
        There are results of every step, and the most steps of a sequence is not known.
    """

    def __init__(self, partial: Partial, results: Results) -> None:
        self.partial = partial
        fields, steps = results.fields, results.steps
        stepwise = any(field.stepwise for field in fields)
        if stepwise and steps is None:
            raise ValueError(
                Message(
                    "cannot write results of every step to an array: this source does not say "
                    "how long its longest sequence is; give ",
                    Option("max_steps"),
                    ", or write .parquet",
                )
            )
        self.shapes: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
            field.name: (
                field.dtype,
                (steps, field.width) if field.stepwise and steps is not None else (field.width,),
            )
            for field in fields
        }
        self.with_lengths = stepwise and not results.equal
        if self.with_lengths:
            self.shapes["lengths"] = np.dtype(np.int64), ()
        self.files: dict[str, Appended] = {}

    def open(self, sizes: Mapping[str, int], written: int) -> None:
        names = [f"{name}.npy" for name in self.shapes]
        known = known_sizes(self.partial.folder, names, sizes)
        try:
            for name, (dtype, shape) in self.shapes.items():
                size = known[f"{name}.npy"]
                file = Appended(self.partial.path(f"{name}.npy"), size)
                self.files[name] = file
                header = npy_header(dtype, (0, *shape))
                if not size:
                    file.write(header)
                    continue
                expected = len(header) + written * math.prod(shape) * dtype.itemsize
                if size != expected:
                    raise file.damaged(
                        f"expected the {expected:,} bytes of {written:,} sequences, its journal "
                        f"says {size:,}"
                    )
        except BaseException:
            self.close()
            raise

    def write(self, scored: Scored) -> None:
        values = dict(scored.values)
        if self.with_lengths:
            values["lengths"] = _lengths(scored)
        for name, (dtype, shape) in self.shapes.items():
            array = values[name]
            if len(shape) == 2 and array.shape[1] != shape[0]:
                padded = np.zeros((len(array), *shape), dtype)
                padded[:, : array.shape[1]] = array
                padded[_unread(scored)] = np.nan
                array = padded
            self.files[name].write(np.ascontiguousarray(array))

    def sizes(self) -> dict[str, int]:
        return {f"{name}.npy": file.size for name, file in self.files.items()}

    def sync(self) -> None:
        for file in self.files.values():
            file.sync()

    def cut(self, sizes: Mapping[str, int]) -> None:
        for name, file in self.files.items():
            file.cut(sizes[f"{name}.npy"])

    def finish(self, written: int) -> None:
        # only now is it known how many sequences there are
        for name, (dtype, shape) in self.shapes.items():
            file = self.files[name]
            file.overwrite(npy_header(dtype, (written, *shape)))
            file.sync()
        self.close()

    def targets(self) -> dict[str, Path]:
        destination = self.partial.destination
        first, *others = self.shapes
        beside = {
            f"{name}.npy": destination.with_name(f"{destination.stem}.{name}.npy")
            for name in others
        }
        return {**beside, f"{first}.npy": destination}

    def close(self) -> None:
        for file in self.files.values():
            file.close()


def npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return the header of an .npy file; it has the same length for any number of rows."""
    stream = io.BytesIO()
    described = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(
        stream, {"descr": described, "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


def _unread(scored: Scored) -> list[int]:
    """Return the bad rows without steps, where padding would look like a result."""
    return [] if scored.lengths is None else [n for n in scored.bad if not scored.lengths[n]]


def _lengths(scored: Scored) -> npt.NDArray[np.int64]:
    if scored.lengths is not None:
        return scored.lengths
    steps = next(array.shape[1] for array in scored.values.values() if array.ndim == 3)
    return np.full(len(scored.rows), steps)
