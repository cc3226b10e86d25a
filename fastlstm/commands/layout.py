"""The options that say how sequences are stored in a source, for the commands that read sources."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from fastlstm.commands.parsers import positive

if TYPE_CHECKING:
    from fastlstm.scoring.sources.layout import Layout

__all__ = ["SOURCE", "add_layout", "given_layout"]

SOURCE = (
    "a file, or a folder or quoted glob of files of one kind: .npy, .npz, .parquet, .feather, "
    ".arrow, .csv, .csv.gz, .zarr, .h5 (FILE.h5:/path); or -, standard input (an Arrow stream or "
    ".npy)"
)


def add_layout(parser: argparse.ArgumentParser, keep: str) -> argparse._ArgumentGroup:
    """Add them to the parser of a command.

    Parameters
    ----------
    parser
        The command's.
    keep
        The help of ``--keep``: what the command does with these columns.
    """
    group = parser.add_argument_group("how the sequences are stored in the source")
    group.add_argument("--lengths", help="an .npy file with the real length of each padded row")
    group.add_argument("--column", help="the column of lists to read, if a table has several")
    group.add_argument("--id", help="the column that says which sequence a row is of")
    group.add_argument(
        "--time", help="with one row for each step: the column that orders the steps"
    )
    group.add_argument(
        "--features",
        nargs="+",
        help="with one row for each step: the columns of the inputs (default: all other columns "
        "of numbers)",
    )
    group.add_argument("--keep", nargs="+", default=[], help=keep)
    group.add_argument(
        "--window", type=positive, help="take every window of this many steps as a sequence"
    )
    group.add_argument(
        "--stride", type=positive, default=1, help="steps between window starts (default: 1)"
    )
    group.add_argument(
        "--fill-missing",
        action="store_true",
        help="Zarr, HDF5: a chunk that is not stored holds the fill value (default: it is missing, "
        "and its sequences are bad rows)",
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
