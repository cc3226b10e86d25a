"""Tables in files that follow each other, read as batches of rows that know where they lie."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from fastlstm.messages import Message, Option
from fastlstm.scoring.sources.fingerprint import fingerprint

__all__ = [
    "Address",
    "Batch",
    "Part",
    "Table",
    "TableFile",
    "named",
    "open_table",
    "pyarrow",
    "quoted",
    "refuse_index",
    "shown",
]

# The file's number; in it the row group, the record batch or the byte; and from there the row.
Address = tuple[int, int, int]
Types = Mapping[str, Any]  # name: pyarrow.DataType


class Part(NamedTuple):
    """Rows of one part of a file."""

    part: int
    row: int
    data: Any  # pyarrow.RecordBatch
    unparsable: dict[int, str] = {}  # noqa: RUF012 (never written to)


class TableFile(Protocol):
    """A table in a file."""

    name: str
    schema: Any  # pyarrow.Schema
    rows: int | None  # None if only reading tells
    numeric: frozenset[str]  # columns of text that should be numbers, but for some cells

    def parts(self, types: Types, n_bytes: int, part: int, row: int) -> Iterator[Part]:
        """Yield some columns as these types, about `n_bytes` at a time, from a row on."""

    def identity(self) -> dict[str, Any]:
        """Return what tells the file from another."""


class Batch:
    """Rows that follow each other in a table.

    Parameters
    ----------
    data
        A pyarrow.RecordBatch.
    pieces
        Where the rows lie: the number of the first row of each piece, and its address.
    unparsable
        What is wrong with rows that could not be parsed; their columns are null.
    """

    def __init__(
        self,
        data: Any,
        pieces: Sequence[tuple[int, Address]],
        unparsable: Mapping[int, str] | None = None,
    ) -> None:
        self.data, self.pieces, self.unparsable = data, list(pieces), dict(unparsable or {})

    def __len__(self) -> int:
        return int(self.data.num_rows)

    def address(self, row: int) -> Address:
        """Return where a row lies, or would lie if it is the one after the last."""
        first, (file, part, begin) = next(p for p in reversed(self.pieces) if p[0] <= row)
        return file, part, begin + row - first

    def rest(self, row: int) -> Batch:
        """Return the rows from one on."""
        pieces = [(0, self.address(row))] + [(k - row, at) for k, at in self.pieces if k > row]
        unparsable = {k - row: text for k, text in self.unparsable.items() if k >= row}
        return Batch(self.data.slice(row), pieces, unparsable)

    @classmethod
    def joined(cls, batches: Sequence[Batch]) -> Batch:
        """Return several as one."""
        if len(batches) == 1:
            return batches[0]
        pieces, unparsable, first = [], {}, 0
        for batch in batches:
            pieces += [(first + k, at) for k, at in batch.pieces]
            unparsable.update({first + k: text for k, text in batch.unparsable.items()})
            first += len(batch)
        return cls(as_one([batch.data for batch in batches]), pieces, unparsable)


class Table:
    """Files of one kind as one table.

    Raises
    ------
    ValueError
        A file is none of its kind, or is damaged.
    """

    again = True

    def __init__(self, files: Sequence[TableFile]) -> None:
        self.files = list(files)
        first = self.files[0]
        for file in self.files:
            with named(file.name):
                plain(file.schema)  # decodes the names, which may not be in UTF-8
        self.name, self.schema = first.name, plain(first.schema)
        self.numeric = first.numeric
        rows = [file.rows for file in self.files]
        self.rows = None if None in rows else sum(n or 0 for n in rows)

    def describe(self) -> str:
        """Say in a few words what it is."""
        name = self.name
        if len(self.files) > 1:
            name = f"{len(self.files)} files, the first {name}"
        rows = "" if self.rows is None else f"{self.rows:,} rows of "
        return f"{name}: {rows}{len(self.schema)} columns"

    def identity(self) -> dict[str, Any]:
        """Return what tells these files from changed ones."""
        return {f"file {i}": file.identity() for i, file in enumerate(self.files)}

    def type_of(self, name: str, role: str | Option) -> Any:
        """Return the type of a column that somebody named.

        Raises
        ------
        ValueError
            There is none of that name, or there are several.
        """
        for schema in [self.schema, *(file.schema for file in self.files[1:])]:
            if schema.names.count(name) != 1:
                there = "several columns" if name in schema.names else "no column"
                raise ValueError(
                    Message(
                        f"{self.name}: there is {there} {name!r} (",
                        role,
                        f"); its columns are {shown(schema)}",
                    )
                )
        return self.schema.field(name).type

    def batches(self, types: Types, n_bytes: int, at: Address | None = None) -> Iterator[Batch]:
        """Yield columns as batches of about `n_bytes`, from an address on."""
        file, part, row = at or (0, 0, 0)
        waiting: list[Batch] = []
        size = 0
        for number in range(file, len(self.files)):
            for found in self.files[number].parts(types, n_bytes, part, row):
                if not found.data.num_rows:
                    continue
                address = number, found.part, found.row
                waiting.append(Batch(found.data, [(0, address)], found.unparsable))
                size += found.data.nbytes
                if 2 * size >= n_bytes:
                    whole, waiting, size = Batch.joined(waiting), [], 0
                    yield whole
                    del whole
            part = row = 0
        if waiting:
            yield Batch.joined(waiting)

    def close(self) -> None:
        """Nothing is held open."""


class FileOnDisk:
    """What tables on a disk have in common."""

    numeric: frozenset[str] = frozenset()

    def __init__(self, path: str) -> None:
        self.name = path
        self.status = self._status()
        if not self.status[0]:
            raise ValueError(f"{path}: expected a table, got an empty file")

    def _status(self) -> tuple[int, int]:
        status = os.stat(self.name)
        return status.st_size, status.st_mtime_ns

    def check(self) -> None:
        """Refuse to read a file that is no longer the one that was opened.

        Raises
        ------
        OSError
            It has changed, or vanished.
        """
        if self._status() != self.status:
            raise OSError(f"{self.name} has changed while it was being read")

    def identity(self) -> dict[str, Any]:
        """See `TableFile`."""
        return fingerprint(self.name)


@contextmanager
def named(path: str) -> Iterator[None]:
    """Have errors of pyarrow name the file.

    Raises
    ------
    ValueError, OSError
        As pyarrow found.
    """
    pa = pyarrow()
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        kind = OSError if isinstance(error, OSError) else ValueError
        text = f"{path}: cannot be read, it may be damaged: {error}"
        raise (error if str(error).startswith(path) else kind(text)) from None


def cast(data: Any, types: Types, name: str) -> Any:
    """Return some columns of a record batch, dictionaries and views as plain values.

    All of their buffers are checked before anything in them is used: files may be damaged, and
    Arrow itself follows any offset.

    Raises
    ------
    ValueError
        A column is damaged, or of another type than in the first file.
    """
    pa = pyarrow()
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
    return batch_of(columns, list(types))


def batch_of(columns: Sequence[Any], names: Sequence[str]) -> Any:
    """Return a record batch."""
    return pyarrow().RecordBatch.from_arrays(list(columns), names=list(names))


def as_one(batches: Sequence[Any]) -> Any:
    """Return record batches as one, by a copy."""
    pa = pyarrow()
    filled = [batch for batch in batches if batch.num_rows] or list(batches[:1])
    if len(filled) == 1:
        return filled[0]
    arrays = [
        pa.concat_arrays([batch.column(i) for batch in filled])
        for i in range(filled[0].num_columns)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=filled[0].schema)


def plain(schema: Any) -> Any:
    """Return a schema without dictionaries and views, and without what writers noted beside it."""
    pa = pyarrow()
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
    """Tell whether a type is one of texts that Polars writes, and pyarrow can do little with."""
    return str(kind) in ("string_view", "binary_view")


# How pandas calls an index without a name: in CSV, in Parquet, and read back from CSV.
INDEX = ("", "__index_level_0__", "Unnamed: 0")


def refuse_index(name: str, columns: Sequence[str], otherwise: Message) -> None:
    """Refuse to take a column for inputs that nobody named, if pandas wrote it as its index.

    Parameters
    ----------
    name, columns
        The file, and what would be inputs.
    otherwise
        What to do instead of writing the file without it.

    Raises
    ------
    ValueError
        There is one.
    """
    for column in columns:
        if column in INDEX:
            raise ValueError(
                Message(
                    f"{name}: column {column!r} looks like an index that pandas wrote, which is "
                    "no input: write the file without it (index=False), or ",
                    otherwise,
                )
            )


def quoted(column: str) -> str:
    """Return a column's name as a message shows it: in quotes if it would not be seen."""
    return column if column and column == column.strip() else repr(column)


def shown(schema: Any) -> str:
    """Name the columns of a table with their types."""
    names = [f"{quoted(field.name)} ({field.type})" for field in schema]
    more = f", ... ({len(names)} in all)" if len(names) > 20 else ""
    return (", ".join(names[:20]) + more) or "none"


def pyarrow() -> Any:
    """Import pyarrow.

    Raises
    ------
    ImportError
        It is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise ImportError('reading tables needs pyarrow: pip install "fastlstm[arrow]"') from None
    return pa


def open_table(paths: Sequence[str]) -> Table:
    """Open files by their suffix as one table."""
    pyarrow()
    return Table([_open_file(path) for path in paths])


def _open_file(path: str) -> TableFile:
    lower = path.lower()
    if lower.endswith((".csv", ".csv.gz")):
        from fastlstm.scoring.sources.csv import CsvFile

        return CsvFile(path)
    if lower.endswith((".parquet", ".pq")):
        from fastlstm.scoring.sources.parquet import ParquetFile

        return ParquetFile(path)
    from fastlstm.scoring.sources.arrow import ArrowFile

    return ArrowFile(path)
