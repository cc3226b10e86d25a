"""Opening tables: which file each suffix means, and how sequences lie in its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastlstm.scoring.chunk import Reader
from fastlstm.scoring.sources.layout import Layout
from fastlstm.scoring.sources.model_input import ModelInput
from fastlstm.scoring.sources.paths import suffix_of
from fastlstm.scoring.sources.tables.arrow import ArrowFile
from fastlstm.scoring.sources.tables.columns import import_pyarrow
from fastlstm.scoring.sources.tables.csv import CsvFile
from fastlstm.scoring.sources.tables.lists import ListColumn
from fastlstm.scoring.sources.tables.parquet import ParquetFile
from fastlstm.scoring.sources.tables.row_a_sequence import RowReader, SequenceColumns
from fastlstm.scoring.sources.tables.row_a_step import StepReader
from fastlstm.scoring.sources.tables.table import Table, TableFile
from fastlstm.scoring.sources.tables.wide import WideRows

__all__ = ["TABLES", "open_tables", "reader_of"]

TABLES: dict[str, Callable[[str], TableFile]] = {
    ".parquet": ParquetFile,
    ".pq": ParquetFile,
    ".feather": ArrowFile,
    ".arrow": ArrowFile,
    ".arrows": ArrowFile,
    ".ipc": ArrowFile,
    ".csv": CsvFile,
    ".csv.gz": CsvFile,
}


def open_tables(paths: Sequence[str], layout: Layout, model: ModelInput) -> Reader:
    """Open files of one kind as one table."""
    import_pyarrow()
    opener = TABLES[suffix_of(paths[0])]
    return reader_of(Table([opener(path) for path in paths]), layout, model)


def reader_of(table: Table, layout: Layout, model: ModelInput) -> Reader:
    """Return what reads sequences from a table.

    Raises
    ------
    TypeError, ValueError
        The columns do not fit the layout or the model.
    """
    layout.refuse("a table", "lengths")
    if layout.a_row_is_a_step:
        return StepReader(table, layout, model)
    columns: SequenceColumns
    if table.is_text:
        layout.refuse("a CSV file", "column")
        columns = WideRows(table, layout, model)
    else:
        columns = ListColumn(table, layout, model)
    return RowReader(table, layout, columns)
