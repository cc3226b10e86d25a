"""The options that say how sequences lie in a source, of the commands that read any."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from fastlstm.commands.parsers import positive

if TYPE_CHECKING:
    from fastlstm.scoring.sources.layout import Layout

__all__ = ["SOURCE", "add_layout", "given_layout"]

SOURCE = (
    "a file, a folder or a quoted glob of files of one kind: .npy, .npz, .parquet, .feather, "
    ".arrow, .csv, .csv.gz, .zarr, .h5 (FILE.h5:/path); - for standard input (an Arrow stream or "
    ".npy)"
)


def add_layout(parser: argparse.ArgumentParser, keep: str) -> argparse._ArgumentGroup:
    """Add them to the parser of a command.

    Parameters
    ----------
    parser
        The command's.
    keep
        What the command does with the columns of ``--keep``.
    """
    group = parser.add_argument_group("how the sequences lie in the source")
    group.add_argument("--lengths", help="real length of each padded row: an .npy file")
    group.add_argument("--column", help="the column of lists, if a table has several")
    group.add_argument("--id", help="the column that tells sequences apart")
    group.add_argument("--time", help="one row a step: the column that orders a sequence")
    group.add_argument("--features", nargs="+", help="one row a step: the columns of the inputs")
    group.add_argument("--keep", nargs="+", default=[], help=keep)
    group.add_argument("--window", type=positive, help="score every stretch of so many steps")
    group.add_argument("--stride", type=positive, default=1, help="windows so far apart (1)")
    group.add_argument(
        "--fill-missing",
        action="store_true",
        help="Zarr, HDF5: chunks that are not there hold the fill value, and are not missing",
    )
    return group


def given_layout(options: argparse.Namespace) -> Layout:
    """Return what the options say."""
    from fastlstm.scoring.sources.layout import Layout

    return Layout(
        lengths=options.lengths,
        column=options.column,
        id=options.id,
        time=options.time,
        features=None if options.features is None else tuple(options.features),
        keep=tuple(options.keep),
        window=options.window,
        stride=options.stride,
        fill_missing=options.fill_missing,
    )
