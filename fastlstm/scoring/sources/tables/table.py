"""Tables in files that follow each other, read as batches of rows that know where they lie.

`Table.batches` is where a table becomes batches: everything that finds sequences in a table reads
through it, and resumes at an `Address` that it gave.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from fastlstm.messages import Message, Option
from fastlstm.scoring.sources.fingerprint import fingerprint
from fastlstm.scoring.sources.tables.columns import (
    Types,
    as_one,
    named,
    number_dtype,
    plain,
    shown,
)

__all__ = ["Address", "Batch", "FileOnDisk", "Rows", "Table", "TableFile"]

# Where a row lies: the number of its file; of the section of that file (a row group, a record
# batch, or the byte where a block of lines begins); and of the row in the section.
Address = tuple[int, int, int]


class Rows(NamedTuple):
    """Rows of one section of a file."""

    section: int
    first: int  # number of the first of them in the section
    data: Any  # pyarrow.RecordBatch
    unparsable: dict[int, str] = {}  # noqa: RUF012 (never written to)


class TableFile(Protocol):
    """A table in a file, which is read section by section."""

    name: str
    schema: Any  # pyarrow.Schema
    rows: int | None  # None if only reading tells
    is_text: bool = False  # its types are guessed from the first lines
    numeric: frozenset[str] = frozenset()  # columns of text that hold mostly numbers
    sections: str  # what its sections are called

    def read(self, types: Types, n_bytes: int, section: int, first: int) -> Iterator[Rows]:
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
        """Return where a row lies, or where the one after the last would."""
        begin, (file, section, first) = next(p for p in reversed(self.pieces) if p[0] <= row)
        return file, section, first + row - begin

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
        A file is damaged.
    """

    again = True  # it can be read a second time

    def __init__(self, files: Sequence[TableFile]) -> None:
        self.files = list(files)
        first = self.files[0]
        for file in self.files:
            with named(file.name):
                plain(file.schema)  # decodes the names, which may not be UTF-8
        self.name, self.schema = first.name, plain(first.schema)
        self.is_text, self.numeric = first.is_text, first.numeric
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
        """Return the type of a column.

        Parameters
        ----------
        name
            The column.
        role
            The option that names it, or what it is for.

        Raises
        ------
        ValueError
            No column has that name, or several have.
        """
        for schema in [self.schema, *(file.schema for file in self.files[1:])]:
            if schema.names.count(name) != 1:
                there = "are several columns" if name in schema.names else "is no column"
                raise ValueError(
                    Message(
                        f"{self.name}: there {there} {name!r} (",
                        role,
                        f"); its columns are {shown(schema)}",
                    )
                )
        return self.schema.field(name).type

    def is_numeric(self, field: Any) -> bool:
        """Tell whether a column (a pyarrow.Field) holds numbers, or text that mostly is numbers."""
        return number_dtype(field.type) is not None or field.name in self.numeric

    def place(self, address: Address) -> str:
        """Return what a message calls the place of a row."""
        file, section, row = address
        return f"row {row} of {self.files[file].sections} {section}"

    def batches(self, types: Types, n_bytes: int, at: Address | None = None) -> Iterator[Batch]:
        """Yield columns as batches of about `n_bytes`, from an address on."""
        file, section, row = at or (0, 0, 0)
        waiting: list[Batch] = []
        size = 0
        for number in range(file, len(self.files)):
            for rows in self.files[number].read(types, n_bytes, section, row):
                if not rows.data.num_rows:
                    continue
                address = number, rows.section, rows.first
                waiting.append(Batch(rows.data, [(0, address)], rows.unparsable))
                size += rows.data.nbytes
                if 2 * size >= n_bytes:
                    whole, waiting, size = Batch.joined(waiting), [], 0
                    yield whole
                    del whole
            section = row = 0
        if waiting:
            yield Batch.joined(waiting)


class FileOnDisk:
    """What all tables on a disk have in common: a name, and a size and time that must not change.

    Raises
    ------
    ValueError
        The file is empty.
    """

    def __init__(self, path: str) -> None:
        self.name = path
        self.status = self._status()
        if not self.status[0]:
            raise ValueError(f"{path}: expected a table, got an empty file")

    def _status(self) -> tuple[int, int]:
        status = os.stat(self.name)
        return status.st_size, status.st_mtime_ns

    def check(self) -> None:
        """Raise an error if the file is no longer the one that was opened.

        Raises
        ------
        OSError
            It has changed, or vanished.
        """
        if self._status() != self.status:
            raise OSError(f"{self.name} has changed while it was being read")

    def identity(self) -> dict[str, Any]:
        return fingerprint(self.name)
