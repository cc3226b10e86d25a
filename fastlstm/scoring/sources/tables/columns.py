"""Columns of Arrow: checked before use, as plain types, joined, and named in messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.messages import Message

__all__ = [
    "Types",
    "as_one",
    "cast",
    "import_pyarrow",
    "named",
    "number_dtype",
    "numbers",
    "plain",
    "quoted",
    "record_batch",
    "refuse_index",
    "shown",
]

Array = npt.NDArray[Any]
Types = Mapping[str, Any]  # name: pyarrow.DataType

# What pandas calls an index without a name: in CSV, in Parquet, and read back from CSV.
INDEX = ("", "__index_level_0__", "Unnamed: 0")


def import_pyarrow() -> Any:
    """Import pyarrow.

    Raises
    ------
    ImportError
        It is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise ImportError('reading tables needs pyarrow: pip install "fastlstm[arrow]"') from None
    return pyarrow


@contextmanager
def named(path: str) -> Iterator[None]:
    """Have pyarrow's errors name the file.

    Raises
    ------
    ValueError, OSError
        For any error of pyarrow.
    """
    pa = import_pyarrow()
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        kind = OSError if isinstance(error, OSError) else ValueError
        text = f"{path}: cannot be read, it may be damaged: {error}"
        raise (error if str(error).startswith(path) else kind(text)) from None


def cast(data: Any, types: Types, name: str) -> Any:
    """Return some columns of a record batch, with dictionaries and views as plain values.

    All buffers are checked first, since Arrow itself follows any offset in a damaged file.

    Raises
    ------
    ValueError
        A column is damaged, or has another type than in the first file.
    """
    pa = import_pyarrow()
    columns = []
    for column, kind in types.items():
        with named(f"{name}: column {column!r}"):
            array = data.column(column)
            array.validate(full=True)
            if pa.types.is_dictionary(array.type):
                array = array.dictionary_decode()
            if _is_view(array.type):
                array = array.cast(kind)
        if array.type != kind:
            raise ValueError(
                f"{name}: expected column {column!r} of type {kind} as in the first file, got "
                f"{array.type}"
            )
        columns.append(array)
    return record_batch(columns, list(types))


def record_batch(columns: Sequence[Any], names: Sequence[str]) -> Any:
    """Return columns as a record batch."""
    return import_pyarrow().RecordBatch.from_arrays(list(columns), names=list(names))


def as_one(batches: Sequence[Any]) -> Any:
    """Return record batches as one; several are copied."""
    pa = import_pyarrow()
    filled = [batch for batch in batches if batch.num_rows] or list(batches[:1])
    if len(filled) == 1:
        return filled[0]
    arrays = [
        pa.concat_arrays([batch.column(i) for batch in filled])
        for i in range(filled[0].num_columns)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=filled[0].schema)


def plain(schema: Any) -> Any:
    """Return a schema with dictionaries and views as plain types, and without metadata."""
    pa = import_pyarrow()
    fields = []
    for field in schema:
        kind = field.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if _is_view(kind):
            kind = pa.large_string() if str(kind) == "string_view" else pa.large_binary()
        fields.append(pa.field(field.name, kind))
    return pa.schema(fields)


def _is_view(kind: Any) -> bool:
    """Tell whether a type is a view of text or bytes: Polars writes them, pyarrow does little."""
    return str(kind) in ("string_view", "binary_view")


def number_dtype(kind: Any) -> np.dtype[Any] | None:
    """Return NumPy's dtype for a type of numbers, None for another type."""
    kinds = import_pyarrow().types
    if kinds.is_integer(kind) or kinds.is_floating(kind):
        dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
        return dtype
    return None


def numbers(array: Any, dtype: np.dtype[Any]) -> tuple[Array, npt.NDArray[np.bool_] | None]:
    """Return an Arrow array of numbers, with 0 for null, and which are null (None if none is)."""
    null = None
    if array.null_count:
        null = array.is_null().to_numpy(zero_copy_only=False)
        array = array.fill_null(0)
    return array.to_numpy(zero_copy_only=False).astype(dtype, copy=False), null


def refuse_index(name: str, columns: Sequence[str], otherwise: Message) -> None:
    """Refuse to take the index of pandas for an input.

    Parameters
    ----------
    name, columns
        The file, and the columns that would become inputs without having been named.
    otherwise
        What to do if the column is meant.

    Raises
    ------
    ValueError
        One of them looks like an index.
    """
    for column in columns:
        if column in INDEX:
            raise ValueError(
                Message(
                    f"{name}: column {column!r} looks like the index of a pandas data frame, "
                    "which is not an input: write the file without it (index=False), or ",
                    otherwise,
                )
            )


def quoted(column: str) -> str:
    """Return a column's name for a message, in quotes if its blanks would be lost."""
    return column if column and column == column.strip() else repr(column)


def shown(schema: Any) -> str:
    """Return the columns of a table with their types, for a message."""
    names = [f"{quoted(field.name)} ({field.type})" for field in schema]
    more = f", ... ({len(names)} in all)" if len(names) > 20 else ""
    return (", ".join(names[:20]) + more) or "none"
