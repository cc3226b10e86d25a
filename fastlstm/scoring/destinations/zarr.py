"""Results as a Zarr store: a group with an array for each field."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.files import sync_folder
from fastlstm.scoring.chunk import Scored
from fastlstm.scoring.destinations.appended import known_sizes
from fastlstm.scoring.destinations.batches import (
    import_pyarrow,
    leading_columns,
    leading_schema,
    refuse_same,
)
from fastlstm.scoring.destinations.log import Log
from fastlstm.scoring.destinations.npy import NpyWriter, npy_header
from fastlstm.scoring.destinations.writer import Results, Writer
from fastlstm.scoring.partial import Partial

__all__ = ["ZarrWriter"]

Array = npt.NDArray[Any]

CHUNK_BYTES = 2**22  # of a chunk of numbers, decoded
CHUNK_ROWS = 2**16  # of a chunk of a kept column


class ZarrWriter(Writer):
    """Writes ``score`` and every other field (N, width), or (N, T, width) padded with zeros.

    Kept columns, or ``row``, are arrays (N,). The store has format 2, which all versions of Zarr
    read; ``_ARRAY_DIMENSIONS`` tells xarray which arrays share an axis.

    Raises
    ------
    ImportError
        The package zarr or pyarrow is not installed.
    ValueError
        A column cannot be kept, such as one that holds neither numbers nor text; or the most
        steps of a sequence is not known.
    """

    def __init__(self, partial: Partial, results: Results) -> None:
        _import_zarr()
        self.partial = partial
        import_pyarrow("writing .zarr")
        self.schema = leading_schema(results.kept)
        self.arrays = NpyWriter(partial, results)
        refuse_same(self.schema.names, [*self.arrays.shapes])
        for column in self.schema:
            _check(column)
        self.file: Log | None = None

    def open(self, sizes: Mapping[str, int], written: int) -> None:
        names = [*(f"{name}.npy" for name in self.arrays.shapes), "log"]
        known = known_sizes(self.partial.folder, names, sizes)
        of_log = known.pop("log")
        self.arrays.open(known if sizes else {}, written)
        try:
            self.file = Log(self.partial.path("log"), of_log, self.schema, written)
        except BaseException:
            self.arrays.close()
            raise

    @property
    def log(self) -> Log:
        """The log of kept columns, which is open."""
        assert self.file is not None
        return self.file

    def write(self, scored: Scored) -> None:
        import pyarrow as pa

        columns = leading_columns(scored, self.schema)
        for name, column in zip(self.schema.names, columns, strict=True):
            if column.null_count and not pa.types.is_floating(column.type):
                first = scored.rows[int(np.flatnonzero(column.is_null())[0])]
                raise ValueError(
                    f"column {name!r} is null for sequence {first}, which Zarr cannot hold: "
                    "leave the column out, or write .parquet"
                )
        self.arrays.write(scored)
        self.log.append(pa.record_batch(columns, schema=self.schema))

    def sizes(self) -> dict[str, int]:
        return {**self.arrays.sizes(), "log": self.log.size}

    def sync(self) -> None:
        self.arrays.sync()
        self.log.sync()

    def cut(self, sizes: Mapping[str, int]) -> None:
        self.arrays.cut(sizes)
        self.log.cut(sizes["log"])

    def finish(self, written: int) -> None:
        store = Store(self.partial.path("score.zarr"))
        for name, (dtype, shape) in self.arrays.shapes.items():
            dimensions = _dimensions(name, len(shape))
            target = store.array(name, (written, *shape), dtype, dimensions)
            with open(self.partial.path(f"{name}.npy"), "rb") as file:
                file.seek(len(npy_header(dtype, (0, *shape))))
                for first in range(0, written, target.chunks[0]):
                    rows = min(target.chunks[0], written - first)
                    count = rows * int(np.prod(shape, dtype=np.int64))
                    values = np.fromfile(file, dtype, count)
                    target[first : first + rows] = values.reshape(rows, *shape)
        targets = [
            store.array(column.name, (written,), _dtype(column), ["sequence"])
            for column in self.schema
        ]
        first = 0
        for columns in _regrouped(self.log.batches(written)):
            rows = len(columns[0])
            for target, values in zip(targets, columns, strict=True):
                target[first : first + rows] = values
            first += rows
        store.close()

    def targets(self) -> dict[str, Path]:
        return {"score.zarr": self.partial.destination}

    def close(self) -> None:
        self.arrays.close()
        if self.file is not None:
            self.file.close()


class Store:
    """A new Zarr group in place of an older one, made by zarr-python 2 or 3."""

    def __init__(self, path: Path) -> None:
        self.zarr = _import_zarr()
        self.path = path
        self.new = int(self.zarr.__version__.partition(".")[0]) >= 3
        version = {"zarr_format": 2} if self.new else {}
        self.group = self.zarr.open_group(str(path), mode="w", **version)

    def array(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], dimensions: Sequence[str]
    ) -> Any:
        """Return a new array."""
        from numcodecs import VLenUTF8, Zstd

        text = dtype.hasobject
        row_bytes = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
        rows = CHUNK_ROWS if len(shape) == 1 else max(1, CHUNK_BYTES // max(row_bytes, 1))
        options: dict[str, Any] = {
            "shape": shape,
            "chunks": (max(1, min(rows, shape[0])), *(max(1, n) for n in shape[1:])),
            # xarray would read a fill value as NaN
            "fill_value": None,
        }
        # Zstandard gives the same bytes every time, Blosc with threads does not
        codec, attributes = Zstd(level=1), {"_ARRAY_DIMENSIONS": list(dimensions)}
        if self.new:
            return self.group.create_array(
                name,
                dtype=str if text else dtype,
                compressors=codec,
                attributes=attributes,
                config={"write_empty_chunks": True},
                **options,
            )
        array = self.group.create_dataset(
            name,
            dtype=dtype,
            compressor=codec,
            object_codec=VLenUTF8() if text else None,
            write_empty_chunks=True,
            **options,
        )
        array.attrs.update(attributes)
        return array

    def close(self) -> None:
        """Consolidate the metadata, and wait until all is on the disk."""
        version = {"zarr_format": 2} if self.new else {}
        self.zarr.consolidate_metadata(str(self.path), **version)
        for folder, _, names in os.walk(self.path):
            for name in names:
                with open(os.path.join(folder, name), "rb+") as file:
                    os.fsync(file.fileno())
            sync_folder(Path(folder))


def _import_zarr() -> Any:
    try:
        import zarr
    except ImportError:
        raise ImportError('writing .zarr needs a package: pip install "fastlstm[zarr]"') from None
    return zarr


def _check(column: Any) -> None:
    name = column.name
    if not name or name[0] in "._" or "/" in name or "\\" in name:
        raise ValueError(
            f"column {name!r} cannot be kept: {name!r} cannot be the name of a Zarr array; rename "
            "it in the source"
        )
    _dtype(column)


def _dtype(column: Any) -> np.dtype[Any]:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.dtype(object)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
        return dtype
    raise ValueError(
        f"column {column.name!r} cannot be kept in Zarr: expected numbers or text, got {kind}; "
        "leave it out, or write .parquet"
    )


def _dimensions(name: str, axes: int) -> list[str]:
    names = ["output" if name == "score" else f"{name}_unit"]
    return ["sequence", *(["step"] if axes == 2 else []), *(names if axes else [])]


def _regrouped(batches: Iterator[Any]) -> Iterator[list[Array]]:
    """Yield the columns of batches, `CHUNK_ROWS` rows at a time."""
    waiting: list[list[Array]] = []
    rows = 0
    for batch in batches:
        columns = [column.to_numpy(zero_copy_only=False) for column in batch.columns]
        first = 0
        while first < len(batch):
            last = min(len(batch), first + CHUNK_ROWS - rows)
            waiting.append([column[first:last] for column in columns])
            rows, first = rows + last - first, last
            if rows == CHUNK_ROWS:
                yield [np.concatenate(parts) for parts in zip(*waiting, strict=True)]
                waiting, rows = [], 0
    if rows:
        yield [np.concatenate(parts) for parts in zip(*waiting, strict=True)]
