"""What `fastlstm trace` writes: tables and drawings."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from fastlstm.calls.trace import Trace
from fastlstm.files import replaced

__all__ = ["check_destination", "draw", "write_table"]

Array = npt.NDArray[Any]
Columns = dict[str, Array]

MOST_PANELS = 36
PANEL = 4.5, 2.8  # inches


def check_destination(path: Path, inputs: Iterable[str], drawn: bool) -> None:
    """Refuse a destination that cannot be written or is an input, before any work is done.

    Parameters
    ----------
    path : Path
    inputs : iterable of str
        Files, folders and globs that the command reads.
    drawn : bool
        Whether it is a drawing, which can never be an input.

    Raises
    ------
    OSError
        If it is a folder, or the folder to write it to does not exist.
    ValueError
        If it is one of the inputs, or would become one.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to")
    for source in inputs:
        if path.exists() and any(path.samefile(file) for file in _files_of(source)):
            raise ValueError(f"{path} is also an input; name another file to write")
        if not drawn and _joins(path, source):
            raise ValueError(
                f"{path} would itself be one of the files of {source}; write it to another folder"
            )


def _files_of(source: str) -> list[str]:
    if os.path.isdir(source):
        return [os.path.join(source, name) for name in os.listdir(source)]
    return [source] if os.path.exists(source) else glob.glob(source)


def _joins(path: Path, source: str) -> bool:
    """Whether a folder or glob that was read would also contain the path next time."""
    if os.path.isdir(source):
        return Path(source).suffix != ".zarr" and path.parent.samefile(source)
    return not os.path.exists(source) and Path(os.path.abspath(path)).match(os.path.abspath(source))


def write_table(
    path: Path, rows: Sequence[int], traces: Iterable[Trace], units: Sequence[int]
) -> None:
    """Write a line for each row, real step and unit.

    Parameters
    ----------
    path : Path
        ``.csv``, ``.npz`` or ``.parquet``; ``-`` is a .csv on standard output.
    rows : sequence of int
    traces : iterable of Trace
        The trace of each row by itself. A .csv file is written row by row; for the others, all
        rows are collected first.
    units : sequence of int

    Raises
    ------
    ImportError
        If `path` is a .parquet file and pyarrow is not installed.
    """
    tables = (_columns(row, trace, units) for row, trace in zip(rows, traces, strict=True))
    if path == Path("-"):
        _write_csv(sys.stdout.write, tables)
        return
    with replaced(path) as file:
        if path.suffix == ".csv":
            _write_csv(lambda text: file.write(text.encode()), tables)
        elif path.suffix == ".npz":
            columns: dict[str, Any] = _joined(tables)
            np.savez(file, **columns)
        else:
            _write_parquet(file, tables)


def draw(path: Path, rows: Sequence[int], traces: Iterable[Trace], units: Sequence[int]) -> None:
    """Draw a panel for each row and unit.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there are too many panels.
    """
    try:
        from matplotlib.figure import Figure  # not pyplot: no window, nothing global
    except ImportError:
        raise ImportError(
            f'a drawing ({path.name}) needs matplotlib: pip install "fastlstm[plot]"'
        ) from None
    panels = len(rows) * len(units)
    if panels > MOST_PANELS:
        raise ValueError(
            f"expected at most {MOST_PANELS} panels in a drawing, got {panels}, {len(rows)} rows "
            f"by {len(units)} units: choose fewer, or write a table"
        )
    size = PANEL[0] * len(units) + 1.6, PANEL[1] * len(rows) + 0.4
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), len(units), squeeze=False)
    for row, trace, across in zip(rows, traces, axes, strict=True):
        for unit, ax in zip(units, across, strict=True):
            trace.plot(unit=unit, ax=ax)
            ax.set_title(f"row {row}, unit {unit}")
            ax.get_legend().remove()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper")
    with replaced(path) as file:
        figure.savefig(file, format=path.suffix[1:])


def _columns(row: int, trace: Trace, units: Sequence[int]) -> Columns:
    """Return the trace of one sequence as columns, in which the unit varies fastest."""
    steps = trace.cell_state.shape[1] if trace.lengths is None else int(trace.lengths[0])
    columns = {
        "row": np.full(steps * len(units), row),
        "step": np.repeat(np.arange(1, steps + 1), len(units)),
        "unit": np.tile(np.asarray(units), steps),
    }
    for name, values in trace.values.items():
        if values.shape == trace.cell_state.shape:  # not the outputs of a projection
            columns[name.lower().replace(" ", "_")] = values[0, :steps][:, units].reshape(-1)
    return columns


def _joined(tables: Iterator[Columns]) -> Columns:
    parts = list(tables)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _write_csv(write: Callable[[str], Any], tables: Iterator[Columns]) -> None:
    """Write each number with the fewest digits that read back to it in its dtype."""
    for k, table in enumerate(tables):
        if k == 0:
            write(",".join(table) + "\n")
        columns = [column.astype(str).tolist() for column in table.values()]
        write("".join(",".join(line) + "\n" for line in zip(*columns, strict=True)))


def _write_parquet(file: IO[bytes], tables: Iterator[Columns]) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ImportError('a .parquet file needs pyarrow: pip install "fastlstm[arrow]"') from None
    parquet.write_table(pyarrow.table(_joined(tables)), file)
