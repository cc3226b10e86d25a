"""CSV files with a header line, parsed some lines at a time."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastlstm.scoring.sources.tables.columns import Types, import_pyarrow, named
from fastlstm.scoring.sources.tables.table import FileOnDisk, Rows, TableFile

__all__ = ["CsvFile"]

FIRST_BYTES = 2**20  # that tell the types of columns
LEAST_BYTES = 2**14  # that are parsed at a time
UNPARSABLE = "unparsable"
NUMBER = {
    "float": r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:nan|inf|infinity))$",
    "integer": r"^[+-]?\d{1,18}$",
}


class CsvFile(FileOnDisk, TableFile):
    """A CSV file. A section is a block of whole lines; its number is the byte where it begins.

    A row is unparsable if a cell should be a number and is not, or if it has more or fewer cells
    than the header: those cells are null, or all of the row's.

    Raises
    ------
    ValueError
        The first line does not name the columns.
    """

    rows = None
    is_text = True
    sections = "the lines from byte"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        with self._opened() as file, named(path):
            header = next(_blocks(file, 0, LEAST_BYTES), (0, b""))[1]
            line = header[: _end_of_line(header)]
            try:
                names = next(csv.reader(io.StringIO(line.decode("utf-8-sig"), newline="")), [])
            except UnicodeDecodeError:
                raise ValueError(f"{path}: expected CSV in UTF-8") from None
            self.names = [name.strip() for name in names]
            self.begin = len(line)
            self._check_names()
            first = next(_blocks(file, self.begin, FIRST_BYTES), (0, b""))[1]
        with named(path):
            table, _ = self._parse(first, {})
        self.numeric = frozenset(
            name
            for name, column in zip(table.column_names, table.columns, strict=True)
            if _mostly_numbers(column)
        )
        pa = import_pyarrow()
        # text that is not UTF-8 is guessed to be binary: reading the column will refuse it
        kinds = {pa.null(): pa.float64(), pa.binary(): pa.string()}
        self.schema = pa.schema([(f.name, kinds.get(f.type, f.type)) for f in table.schema])

    def _check_names(self) -> None:
        if not self.names or "" in self.names[1:]:
            which = self.names.index("", 1) + 1 if self.names else 1
            raise ValueError(
                f"{self.name}: expected a first line that names the columns, got '' for column "
                f"{which}"
            )
        counted = [str(k) for k in range(len(self.names))]
        if self.names != counted and all(map(_is_number, self.names)):
            raise ValueError(
                f"{self.name}: expected a first line that names the columns, got the numbers "
                f"{', '.join(self.names[:3])} ...: put a header above them"
            )

    def _opened(self) -> Any:
        if self.name.lower().endswith(".gz"):
            return gzip.open(self.name, "rb")
        return open(self.name, "rb")

    def read(self, types: Types, n_bytes: int, section: int, first: int) -> Iterator[Rows]:
        self.check()
        with self._opened() as file:
            blocks = _blocks(file, section or self.begin, max(n_bytes // 2, LEAST_BYTES))
            while True:
                with named(self.name):  # gzip may fail
                    at, block = next(blocks, (0, b""))
                if not block:
                    break
                with named(self.name):
                    data, unparsable = self._converted(block, types)
                rows = data.num_rows
                if rows > first:
                    bad = {k - first: UNPARSABLE for k in unparsable if k >= first}
                    yield Rows(at, first, data.slice(first), bad)
                first = max(first - rows, 0)
        self.check()

    def _converted(self, block: bytes, types: Types) -> tuple[Any, list[int]]:
        """Return the rows of a block, and the numbers of those that could not be parsed."""
        pa = import_pyarrow()
        kinds = {name: _number_kind(kind) for name, kind in types.items()}
        bad: set[int] = set()
        try:
            table, wrong = self._parse(block, types)
        except pa.ArrowInvalid:  # some cell is not a number: find out which
            texts = {n: pa.string() if kinds[n] else kind for n, kind in types.items()}
            table, wrong = self._parse(block, texts)
            columns = {}
            for name, kind in types.items():
                column = table.column(name).combine_chunks()
                if kinds[name]:
                    column, cells = _numbers(column, kind, kinds[name])
                    bad.update(np.flatnonzero(cells).tolist())
                columns[name] = column
            table = pa.table(columns)
        if wrong:  # the parser left them out: null rows take their places
            places = np.zeros(table.num_rows + len(wrong), bool)
            places[wrong] = True
            numbers = np.cumsum(~places) - 1
            table = table.take(pa.array(numbers, mask=places))
            there = np.flatnonzero(~places)
            bad = {int(there[k]) for k in bad} | set(wrong)
        batches = table.combine_chunks().to_batches()
        if not batches:
            batches = [pa.RecordBatch.from_pylist([], schema=table.schema)]
        return batches[0], sorted(bad)

    def _parse(self, block: bytes, types: Types) -> tuple[Any, list[int]]:
        """Return the rows with as many cells as the header, and the numbers of all others."""
        pa = import_pyarrow()
        from pyarrow import csv as reader

        wrong: list[int] = []

        def leave_out(row: Any) -> str:
            wrong.append(row.number - 1)
            return "skip"

        guess = not types
        if not block.strip():
            fields = types or dict.fromkeys(self.names, pa.null())
            return pa.table({n: pa.array([], kind) for n, kind in fields.items()}), []
        table = reader.read_csv(
            pa.BufferReader(block),
            read_options=reader.ReadOptions(
                column_names=self.names, use_threads=False, block_size=len(block) + 1
            ),
            parse_options=reader.ParseOptions(
                newlines_in_values=True, invalid_row_handler=leave_out
            ),
            convert_options=reader.ConvertOptions(
                column_types=None if guess else dict(types),
                include_columns=None if guess else list(types),
                null_values=None if guess else [""],
                strings_can_be_null=not guess,
                quoted_strings_can_be_null=False,
            ),
        )
        return table, wrong


def _mostly_numbers(column: Any) -> bool:
    """Tell whether more than half of the cells of a column of text are numbers."""
    import pyarrow.compute as pc

    if not import_pyarrow().types.is_string(column.type):
        return False
    texts = pc.utf8_trim_whitespace(column)
    good = pc.sum(pc.match_substring_regex(texts, NUMBER["float"])).as_py() or 0
    empty = pc.sum(pc.equal(texts, "")).as_py() or 0
    return bool(2 * good > len(texts) - empty)


def _numbers(texts: Any, kind: Any, form: str) -> tuple[Any, Any]:
    """Return texts as numbers, null where they are not numbers, and which are not."""
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(texts)
    good = pc.match_substring_regex(trimmed, NUMBER[form])
    bad = pc.fill_null(pc.invert(good), False).to_numpy(zero_copy_only=False)
    numbers = pc.utf8_ltrim(pc.if_else(good, trimmed, None), characters="+")
    return pc.cast(numbers, kind), bad


def _number_kind(kind: Any) -> str:
    import pyarrow.types as kinds

    if kinds.is_floating(kind):
        return "float"
    return "integer" if kinds.is_integer(kind) else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _blocks(file: Any, at: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of whole lines from a byte on, about `size` bytes each, and where they begin."""
    file.seek(at)
    left = b""
    while True:
        try:
            more = file.read(size)
        except (EOFError, zlib.error) as error:
            raise OSError(str(error)) from None
        block = left + more
        end = _whole_lines(block) if more else len(block)
        if end:
            yield at, block[:end]
            at += end
        elif not more:
            return
        left = block[end:]


def _whole_lines(block: bytes) -> int:
    """Return where the last whole line ends; a line break in quotes does not end a line."""
    if b'"' not in block:
        end = block.rfind(b"\n") + 1
        return max(end, block.rfind(b"\r", end, len(block) - 1) + 1)
    ends = _line_ends(block)
    return int(ends[-1]) + 1 if len(ends) else 0


def _end_of_line(block: bytes) -> int:
    ends = _line_ends(block)
    return int(ends[0]) + 1 if len(ends) else len(block)


def _line_ends(block: bytes) -> Any:
    """Return where the last characters of all lines are; CR LF is one end, at the LF."""
    characters = np.frombuffer(block, np.uint8)
    inside = np.cumsum(characters == ord('"')) % 2
    ends = characters == ord("\n")
    ends[:-1] |= (characters[:-1] == ord("\r")) & (characters[1:] != ord("\n"))
    return np.flatnonzero(ends & (inside == 0))
