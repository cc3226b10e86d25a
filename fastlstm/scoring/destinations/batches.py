"""Results as Arrow record batches: the columns that are carried along, then the fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.scoring.chunk import Field, Scored

__all__ = [
    "batch_of",
    "import_pyarrow",
    "leading_columns",
    "leading_schema",
    "refuse_same",
    "schema_of",
]

Array = npt.NDArray[Any]


def import_pyarrow(what: str) -> Any:
    """Import pyarrow, which `what` needs.

    Raises
    ------
    ImportError
        It is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise ImportError(f'{what} needs a package: pip install "fastlstm[arrow]"') from None
    return pyarrow


def leading_schema(kept: Any) -> Any:
    """Return the schema of the leading columns: those that are carried along, or else ``row``.

    Categories become their values, since their codes may differ from chunk to chunk.

    Raises
    ------
    ValueError
        A column holds categories inside another type, such as lists.
    """
    import pyarrow as pa

    if kept is None or not len(kept):
        return pa.schema([pa.field("row", pa.int64())])
    columns = []
    for column in kept:
        kind = column.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if "dictionary<" in str(kind):
            raise ValueError(
                f"column {column.name!r} cannot be kept: it holds categories inside {column.type}"
            )
        columns.append(pa.field(column.name, kind))
    return pa.schema(columns)


def leading_columns(scored: Scored, schema: Any) -> list[Any]:
    """Return the leading columns of a chunk."""
    import pyarrow as pa

    if scored.kept is None or not scored.kept.num_columns:
        return [pa.array(scored.rows)]
    return [scored.kept.column(i).cast(schema.field(i).type) for i in range(len(schema))]


def refuse_same(kept: Sequence[str], results: Sequence[str]) -> None:
    """Refuse to keep a column that has the name of a result, or the same column twice."""
    seen = set(results)
    for name in kept:
        if name in seen:
            what = "the name of a result" if name in results else "kept twice"
            raise ValueError(
                f"column {name!r} cannot be kept: it is {what}; rename it in the source"
            )
        seen.add(name)


def schema_of(fields: Sequence[Field], kept: Any) -> Any:
    """Return the schema of results: the leading columns, and a column for each field.

    Parameters
    ----------
    fields
        One number is a column of numbers; several are lists of fixed size. What is written for
        every step is a list of these, one for each real step.
    kept : pyarrow.Schema or None
        What the reader carries along.

    Raises
    ------
    ValueError
        A column cannot be kept.
    """
    import pyarrow as pa

    leading = leading_schema(kept)
    refuse_same(leading.names, [field.name for field in fields])
    columns = []
    for field in fields:
        kind = pa.from_numpy_dtype(field.dtype)
        if field.width != 1:
            kind = pa.list_(kind, field.width)
        columns.append(pa.field(field.name, pa.list_(kind) if field.stepwise else kind))
    return pa.schema([*leading, *columns])


def batch_of(scored: Scored, fields: Sequence[Field], schema: Any) -> Any:
    """Return the results of a chunk as a record batch of the schema."""
    import pyarrow as pa

    leading = leading_columns(scored, pa.schema(list(schema)[: len(schema) - len(fields)]))
    results = [
        _lists(scored, scored.values[field.name])
        if field.stepwise
        else _numbers(scored.values[field.name])
        for field in fields
    ]
    return pa.record_batch([*leading, *results], schema=schema)


def _numbers(values: Array) -> Any:  # (n, width)
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return (
        flat if values.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    )


def _lists(scored: Scored, values: Array) -> Any:  # (n, T, width)
    import pyarrow as pa

    n, steps, width = values.shape
    if scored.lengths is None:
        lengths, real = np.full(n, steps), values.reshape(-1, width)
    else:
        lengths = scored.lengths
        real = values[np.arange(steps) < lengths[:, np.newaxis]]
    offsets = np.zeros(n + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    # a bad row without steps has no place for NaN: it is null rather than an empty list
    missing = np.zeros(n, bool)
    missing[list(scored.bad)] = True
    missing &= lengths == 0
    mask = pa.array(missing) if missing.any() else None
    return pa.ListArray.from_arrays(pa.array(offsets), _numbers(real), mask=mask)
