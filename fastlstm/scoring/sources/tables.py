"""Tables: a column of lists, one row a sequence (CSV), or one row a step."""

from __future__ import annotations

from collections.abc import Sequence

from fastlstm.model import LSTM
from fastlstm.scoring.chunk import Reader
from fastlstm.scoring.sources import Layout
from fastlstm.scoring.sources.table_files import Table, open_table

__all__ = ["open_reader", "reader_of"]


def open_reader(paths: Sequence[str], layout: Layout, model: LSTM) -> Reader:
    """Open files of one kind as one table."""
    wide = paths[0].lower().endswith((".csv", ".csv.gz"))
    return reader_of(open_table(paths), layout, model, wide)


def reader_of(table: Table, layout: Layout, model: LSTM, wide: bool = False) -> Reader:
    """Return what reads sequences from a table.

    Parameters
    ----------
    table, layout, model
        What is read, how sequences lie in it, and what will score them.
    wide
        Its cells are the steps, if the layout does not say that its rows are.

    Raises
    ------
    TypeError, ValueError
        The columns do not fit the layout or the model.
    """
    layout.refuse("a table", "lengths")
    if layout.time is not None or layout.features is not None:
        from fastlstm.scoring.sources.long import LongReader

        return LongReader(table, layout, model)
    from fastlstm.scoring.sources.rows import RowReader

    if wide:
        from fastlstm.scoring.sources.wide import WideRows

        layout.refuse("a CSV file", "column")
        return RowReader(table, layout, model, WideRows(table, layout, model))
    from fastlstm.scoring.sources.lists import ListColumn

    return RowReader(table, layout, model, ListColumn(table, layout, model))
