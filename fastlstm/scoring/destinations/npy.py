"""Results as ``.npy`` files: one for the scores, one beside it for every further field."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.messages import Message, Option
from fastlstm.scoring.chunk import Field, Scored
from fastlstm.scoring.destinations.appended import Appended, known_sizes
from fastlstm.scoring.partial import Partial

__all__ = ["NpyWriter"]

Array = npt.NDArray[Any]


class NpyWriter:
    """Writes arrays (N, width), or (N, T, width) padded with zeros.

    ``scores.npy`` holds the first field; the others lie beside it as ``scores.h_n.npy``. Where
    sequences are of unequal length, what there is of each step comes with ``scores.lengths.npy``.

    Parameters
    ----------
    partial
        Where the files lie meanwhile.
    fields
        What is written; at least one.
    job
        Says what is known of the sequences: `steps`, and of its `reader` whether all are `equal`.

    Raises
    ------
    ValueError
        There are numbers of every step, and it is not known how many steps there are at most.
    """

    def __init__(self, partial: Partial, fields: Sequence[Field], job: Any) -> None:
        self.partial = partial
        steps = job.steps
        stepwise = any(field.stepwise for field in fields)
        if stepwise and steps is None:
            raise ValueError(
                Message(
                    "an array of every step needs to know the longest sequence beforehand, which "
                    "this source does not say: give ",
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
        self.with_lengths = stepwise and not job.reader.equal
        if self.with_lengths:
            self.shapes["lengths"] = np.dtype(np.int64), ()
        self.files: dict[str, Appended] = {}

    def open(self, sizes: Mapping[str, int], written: int) -> None:
        """See `Writer`."""
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
        """See `Writer`."""
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
        """See `Writer`."""
        return {f"{name}.npy": file.size for name, file in self.files.items()}

    def sync(self) -> None:
        """See `Writer`."""
        for file in self.files.values():
            file.sync()

    def cut(self, sizes: Mapping[str, int]) -> None:
        """See `Writer`."""
        for name, file in self.files.items():
            file.cut(sizes[f"{name}.npy"])

    def finish(self, written: int) -> None:
        """See `Writer`: only now the headers say how many sequences there are."""
        for name, (dtype, shape) in self.shapes.items():
            file = self.files[name]
            file.overwrite(npy_header(dtype, (written, *shape)))
            file.sync()
        self.close()

    def targets(self) -> dict[str, Path]:
        """See `Writer`."""
        destination = self.partial.destination
        first, *others = self.shapes
        beside = {
            f"{name}.npy": destination.with_name(f"{destination.stem}.{name}.npy")
            for name in others
        }
        return {**beside, f"{first}.npy": destination}

    def close(self) -> None:
        """See `Writer`."""
        for file in self.files.values():
            file.close()


def npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return the header of an .npy file, which is as long for any number of rows."""
    stream = io.BytesIO()
    described = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(
        stream, {"descr": described, "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


def _unread(scored: Scored) -> list[int]:
    """Return the bad rows of which no step is known: padding would look like a result."""
    return [] if scored.lengths is None else [n for n in scored.bad if not scored.lengths[n]]


def _lengths(scored: Scored) -> npt.NDArray[np.int64]:
    if scored.lengths is not None:
        return scored.lengths
    steps = next(array.shape[1] for array in scored.values.values() if array.ndim == 3)
    return np.full(len(scored.rows), steps)
